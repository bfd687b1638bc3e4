"""The small U-Net: its tree, where it looks, and what it refuses."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.models.networks import draw_variables, shapes
from vidgan_jax.models.unet import UNet, check_halvings, most_levels
from vidgan_jax.types import BATCH_STATS

NETWORK = UNet(5, (4, 6, 8))


def test_the_tree_of_parameters() -> None:
    found = shapes(NETWORK, jnp.zeros((1, 8, 12, 3)))
    channels = {"down_0": (3, 4), "down_1": (4, 6), "down_2": (6, 8)}
    channels |= {"up_1": (8 + 6, 6), "up_0": (6 + 4, 4)}
    assert set(found) == {*channels, "conv_logit"}
    for name, (before, after) in channels.items():
        for i, c_in in enumerate((before, after)):
            assert found[name][f"conv_{i}"]["kernel"].shape == (3, 3, c_in, after)
            assert set(found[name][f"conv_{i}"]) == {"kernel"}
            assert found[name][f"bn_{i}"]["scale"].shape == (after,)
    assert found["conv_logit"]["kernel"].shape == (1, 1, 4, 5)
    assert found["conv_logit"]["bias"].shape == (5,)


def test_the_default_has_about_half_a_million_parameters() -> None:
    found = shapes(UNet(10), jnp.zeros((1, 64, 64, 3)))
    assert 0.4e6 < sum(leaf.size for leaf in jax.tree.leaves(found)) < 0.7e6


def test_every_pixel_gets_logits_that_its_neighbours_move_and_other_images_do_not() -> None:
    images = np.random.default_rng(0).uniform(-1, 1, (2, 8, 12, 3)).astype(np.float32)
    variables = jax.jit(NETWORK.init)(jax.random.key(0), images)
    changed = images.copy()
    changed[0, 3, 5] += 1
    apply = jax.jit(NETWORK.apply)
    before, after = (np.asarray(apply(variables, x)) for x in (images, changed))
    assert before.shape == (2, 8, 12, 5)
    difference = np.abs(after - before).max(axis=-1)
    np.testing.assert_allclose(difference[1], 0, atol=1e-6)
    assert difference[0, 3, 5] > 1e-3
    assert (difference[0] > 1e-6).mean() > 0.5  # the lowest level sees nearly everything


def test_running_statistics_move_in_training_only() -> None:
    images = np.random.default_rng(1).uniform(-1, 1, (2, 4, 4, 3)).astype(np.float32)
    network = UNet(2, (2, 3))
    variables = draw_variables(network, images)
    assert isinstance(network.apply(variables, images), jax.Array)
    _, changed = network.apply(variables, images, mutable=[BATCH_STATS])
    for before, after in zip(
        jax.tree.leaves(variables[BATCH_STATS]), jax.tree.leaves(changed[BATCH_STATS]), strict=True
    ):
        assert not np.allclose(before, after)


def test_levels() -> None:
    assert [most_levels(size) for size in (1, 2, 6, 40, 64, 63)] == [1, 2, 2, 4, 7, 1]
    check_halvings((1, 40, 8, 3), most_levels(8))


@pytest.mark.parametrize("shape", [(1, 8, 10, 3), (1, 6, 8, 3), (2, 4, 8, 8, 3), (8, 8, 3)])
def test_images_that_cannot_be_halved_are_refused(shape: tuple[int, ...]) -> None:
    text = r"must be \[b, h, w, c\] with h and w multiples of 4: a U-Net of 3 levels"
    with pytest.raises(ValueError, match=text):
        shapes(NETWORK, jnp.zeros(shape))

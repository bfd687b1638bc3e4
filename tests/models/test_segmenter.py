"""The large segmenter: PyTorch's logits, its parameters, its training mode."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

from tests.models.networks import shapes
from tests.models.segmenters import TINY, tiny_variables, torch_tiny, variables_of
from tests.reference_torch import segmenter as reference
from vidgan_jax.models.segmenter import DEEP_LOGITS, Decoder, Encoder, Segmenter, network_of
from vidgan_jax.types import BATCH_STATS, OUTPUTS


@functools.partial(jax.jit, static_argnums=0)
def both_logits(network: Segmenter, variables: Any, images: jax.Array) -> Any:
    logits, changed = network.apply(variables, images, mutable=[OUTPUTS])
    return logits, changed[OUTPUTS][DEEP_LOGITS]


def draw(*shape: int) -> np.ndarray:
    """In [0, 1]."""
    return np.random.default_rng(shape).uniform(size=shape).astype(np.float32)


def differences(
    network: Segmenter, variables: Any, theirs: reference.Segmenter, images: np.ndarray
) -> list[float]:
    """Of both heads' logits, at most; they must be of one shape and of some size."""
    found = both_logits(network, variables, 2 * images - 1)
    largest = []
    for ours, wanted in zip(found, theirs.logits(images), strict=True):
        assert ours.shape == wanted.shape
        assert wanted.std() > 0.1
        largest.append(float(np.abs(ours - wanted).max()))
    return largest


@pytest.mark.parametrize("size", [(61, 83), (5, 9)])
def test_logits_are_pytorchs(size: tuple[int, int]) -> None:
    """The second head's, too; of 8×11 and 1×2 positions, which the pyramid does not divide."""
    assert max(differences(TINY, tiny_variables(), torch_tiny(), draw(2, *size, 3))) < 1e-4


@pytest.mark.slow
def test_logits_of_the_whole_network_are_pytorchs() -> None:
    torch.manual_seed(1)
    network, theirs = Segmenter(), reference.Segmenter()
    images = draw(1, 304, 200, 3)
    assert max(differences(network, variables_of(network, theirs), theirs, images)) < 1e-4


def test_the_encoder_has_as_many_parameters_as_the_public_one() -> None:
    found = shapes(Encoder(), jnp.zeros((1, 32, 32, 3)))
    assert sum(leaf.size for leaf in jax.tree.leaves(found)) == 23_631_808
    assert found["conv_3"]["kernel"].shape == (3, 3, 64, 128)
    assert found["layer3_5"]["conv_2"]["kernel"].shape == (3, 3, 256, 256)
    assert found["layer4_0"]["conv_shortcut"]["kernel"].shape == (1, 1, 1024, 2048)


def test_the_network_is_read_from_its_parameters() -> None:
    assert network_of(tiny_variables()["params"]) == TINY
    whole = shapes(Segmenter(), jnp.zeros((1, 32, 32, 3)))
    assert network_of(whole) == Segmenter()
    assert whole["decoder"]["conv_join"]["kernel"].shape == (3, 3, 2048 + 4 * 512, 512)
    for lacks in ("encoder", "decoder"):
        with pytest.raises(ValueError, match=f"lacks '{lacks}' and so is no segmenter"):
            network_of({k: v for k, v in whole.items() if k != lacks})


def test_training_moves_statistics_drops_channels_and_reaches_all_parameters() -> None:
    """Of the decoder, which has all that is special in training."""
    decoder = Decoder(num_classes=3, features=6)
    features = draw(2, 5, 3, 4), draw(2, 5, 3, 8)
    variables = jax.jit(decoder.init)(jax.random.key(0), *features)
    assert set(variables) == {"params", BATCH_STATS}

    @jax.jit
    def take(params: Any, key: jax.Array) -> Any:
        def loss(params: Any) -> Any:
            given, rngs = {**variables, "params": params}, {"dropout": key}
            heads, changed = decoder.apply(given, *features, mutable=[BATCH_STATS], rngs=rngs)
            return jnp.mean(jnp.square(heads[0])) + 0.4 * jnp.mean(jnp.square(heads[1])), changed

        return jax.value_and_grad(loss, has_aux=True)(params)

    (value, changed), grads = take(variables["params"], jax.random.key(0))
    assert all(np.abs(leaf).max() > 0 for leaf in jax.tree.leaves(grads))
    before, after = (jax.tree.leaves(tree[BATCH_STATS]) for tree in (variables, changed))
    assert not any(np.allclose(a, b) for a, b in zip(before, after, strict=True))
    values = {float(take(variables["params"], jax.random.key(n))[0][0]) for n in range(9)}
    assert float(value) in values
    assert len(values) > 1  # which channels are dropped is the key's


def test_evaluation_and_initial_values_are_without_outputs() -> None:
    images = jnp.zeros((1, 16, 16, 3))
    assert set(jax.eval_shape(TINY.init, jax.random.key(0), images)) == {"params", BATCH_STATS}
    logits: Any = jax.eval_shape(TINY.apply, tiny_variables(), images)
    assert logits.shape == (1, 2, 2, 5)


@pytest.mark.parametrize("shape", [(16, 16, 3), (1, 16, 16, 1), (1, 0, 16, 3), (1, 2, 16, 16, 3)])
def test_images_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"must be \[b, h, w, 3\], none of them 0"):
        shapes(TINY, jnp.zeros(shape))

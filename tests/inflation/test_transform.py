"""Inflation of parameter trees: the ResNet GAN, a user's own network, and what is refused."""

from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from flax import traverse_util

from vidgan_jax.inflation import PROFILES, inflate_params
from vidgan_jax.layers import Conv, Dense, avg_pool
from vidgan_jax.models.resnet import ResnetDiscriminator, ResnetGenerator
from vidgan_jax.train.passes import forward

BATCH, SIZE, Z_DIM = 2, 16, 6
WIDTHS: dict[str, Any] = {"size": SIZE, "features": 4, "max_features": 8}


def random_params(module: nn.Module, *inputs: Any, seed: int = 0) -> Any:
    """Parameters drawn from a normal: biases and all, so that nothing is hidden by a zero."""
    shapes = jax.eval_shape(module.init, jax.random.key(0), *inputs)["params"]
    rng = np.random.default_rng(seed)
    return jax.tree.map(lambda s: rng.normal(0, 0.3, s.shape).astype(np.float32), shapes)


def shapes_of(module: nn.Module, *inputs: Any) -> Any:
    return jax.eval_shape(module.init, jax.random.key(0), *inputs)["params"]


def relative_error(got: jax.Array, want: jax.Array) -> float:
    got64, want64 = np.asarray(got, np.float64), np.asarray(want, np.float64)
    return float(np.linalg.norm(got64 - want64) / np.linalg.norm(want64))


def leaf_of(tree: Any, path: tuple[str, ...]) -> np.ndarray:
    return traverse_util.flatten_dict(tree)[path]


def stills(images: jax.Array, frames: int) -> jax.Array:
    return jnp.repeat(images[:, None], frames, axis=1)


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize(("frames", "time_stages"), [(8, (0,)), (8, (0, 1)), (6, (1,)), (5, ())])
def test_generator_makes_the_still_clip_of_its_image(
    profile: str, frames: int, time_stages: tuple[int, ...]
) -> None:
    z = jax.random.normal(jax.random.key(1), (BATCH, Z_DIM))
    g2 = ResnetGenerator(**WIDTHS)
    g3 = ResnetGenerator(**WIDTHS, num_frames=frames, time_stages=time_stages)
    params = random_params(g2, z)
    inflated = inflate_params(params, shapes_of(g3, z), profile=profile)
    images, clips = forward(g2, {"params": params}, z), forward(g3, {"params": inflated}, z)
    chex.assert_shape(clips, (BATCH, frames, SIZE, SIZE, 3))
    assert relative_error(clips, stills(images, frames)) < 1e-5


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize(("frames", "time_stages"), [(8, (0,)), (8, (0, 1)), (5, ())])
def test_discriminator_gives_a_still_clip_its_image_s_logit(
    profile: str, frames: int, time_stages: tuple[int, ...]
) -> None:
    x = jax.random.uniform(jax.random.key(1), (BATCH, SIZE, SIZE, 3), minval=-1)
    d = ResnetDiscriminator(**WIDTHS, time_stages=time_stages)
    params = random_params(d, x)
    clips = stills(x, frames)
    inflated = inflate_params(params, shapes_of(d, clips), profile=profile)
    want, got = forward(d, {"params": params}, x), forward(d, {"params": inflated}, clips)
    assert relative_error(got, want) < 1e-5


def test_every_activation_is_the_image_s() -> None:
    """Not the output alone: layer by layer, over time."""
    x = jax.random.uniform(jax.random.key(1), (BATCH, SIZE, SIZE, 3), minval=-1)
    d = ResnetDiscriminator(**WIDTHS)
    params = random_params(d, x)
    inflated = inflate_params(params, shapes_of(d, stills(x, 8)))

    def activations(p: Any, inputs: jax.Array) -> Any:
        _, state = d.apply({"params": p}, inputs, capture_intermediates=True)
        return state["intermediates"]

    def compare(image: jax.Array, clip: jax.Array) -> None:
        want = image if clip.ndim == image.ndim else stills(image, clip.shape[1])
        assert relative_error(clip, want) < 1e-5

    jax.tree.map(compare, activations(params, x), activations(inflated, stills(x, 8)))


def test_a_moving_clip_is_seen_as_moving() -> None:
    """The contract is about still clips; others must not be judged as their average."""
    x = jax.random.uniform(jax.random.key(1), (BATCH, 8, SIZE, SIZE, 3), minval=-1)
    d = ResnetDiscriminator(**WIDTHS)
    params = random_params(d, x[:, 0])
    inflated = inflate_params(params, shapes_of(d, x), profile="central")
    moving = forward(d, {"params": inflated}, x)
    frozen = forward(d, {"params": inflated}, stills(x[:, 0], 8))
    assert relative_error(moving, frozen) > 1e-3


def test_temporal_noise_is_unseen_by_still_clips_and_felt_by_moving_ones() -> None:
    x = jax.random.uniform(jax.random.key(1), (BATCH, 8, SIZE, SIZE, 3), minval=-1)
    d = ResnetDiscriminator(**WIDTHS)
    params = random_params(d, x[:, 0])
    plain = inflate_params(params, shapes_of(d, x))
    noisy = inflate_params(params, shapes_of(d, x), temporal_noise=0.5)
    chex.assert_trees_all_equal(noisy, inflate_params(params, shapes_of(d, x), temporal_noise=0.5))
    for path, kernel in traverse_util.flatten_dict(noisy).items():
        if kernel.ndim == 5 and len(kernel) > 1:
            np.testing.assert_allclose(kernel.sum(0), leaf_of(params, path), atol=1e-5)
            spread = (kernel - kernel.mean(0)).std() / leaf_of(plain, path).std()
            assert 0.25 < spread < 0.6  # of the std 0.5, the mean over three taps taken off
    still = stills(x[:, 0], 8)
    want = forward(d, {"params": params}, x[:, 0])
    assert relative_error(forward(d, {"params": noisy}, still), want) < 1e-5
    # A clip and its reverse are alike to equal taps, not to noisy ones.
    there, back = (forward(d, {"params": noisy}, clip) for clip in (x, x[:, ::-1]))
    assert relative_error(there, back) > 1e-3
    there, back = (forward(d, {"params": plain}, clip) for clip in (x, x[:, ::-1]))
    np.testing.assert_allclose(there, back, rtol=1e-3)


def test_negative_temporal_noise_is_refused() -> None:
    with pytest.raises(ValueError, match=r"temporal_noise \(=-1\) must be at least 0"):
        inflate_params({}, {}, temporal_noise=-1)


class UserNetwork(nn.Module):
    """A user's own network of any rank: strided, of uneven kernels, a dense layer at its end."""

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        time = x.ndim - 4
        x = jax.nn.relu(Conv(4, (5,) * time + (3, 5), name="wide")(x))
        x = jax.nn.relu(Conv(6, 3, (1,) * time + (2, 2), name="strided")(x))
        x = avg_pool(x, (1,) * time + (3, 3), (1,) * time + (2, 2))
        return Dense(3, name="end")(x.reshape(x.shape[0], -1))


@pytest.mark.parametrize("profile", PROFILES)
def test_a_user_s_own_network(profile: str) -> None:
    x = jax.random.normal(jax.random.key(1), (BATCH, 12, 8, 3))
    params = random_params(UserNetwork(), x)
    clips = stills(x, 4)
    inflated = inflate_params(params, shapes_of(UserNetwork(), clips), profile=profile)
    want = forward(UserNetwork(), {"params": params}, x)
    assert relative_error(forward(UserNetwork(), {"params": inflated}, clips), want) < 1e-5


def test_the_tree_is_as_wanted_and_the_source_untouched() -> None:
    z = jnp.zeros((1, Z_DIM))
    params = random_params(ResnetGenerator(**WIDTHS), z)
    before = jax.tree.map(np.copy, params)
    target = shapes_of(ResnetGenerator(**WIDTHS, num_frames=8), z)
    inflated = inflate_params(params, target)
    chex.assert_trees_all_equal_shapes_and_dtypes(inflated, target)
    chex.assert_trees_all_equal(params, before)


KERNEL = np.ones((3, 3, 2, 4), np.float32)


@pytest.mark.parametrize(
    ("params", "target", "message"),
    [
        (
            {"a": {"kernel": KERNEL}},
            {"b": {"kernel": (3, 3, 3, 2, 4)}},
            "a/kernel.*2D network only",
        ),
        ({}, {"b": {"kernel": (3, 3, 3, 2, 4)}}, r"b/kernel \(3, 3, 3, 2, 4\) is in the 3D"),
        ({"a": {"kernel": KERNEL}}, {"a": {"kernel": (3, 3, 3, 2, 5)}}, "a/kernel: no rule"),
        ({"a": {"kernel": KERNEL}}, {"a": {"kernel": (3, 5, 3, 2, 4)}}, "a/kernel: no rule"),
        ({"a": {"bias": np.ones(4)}}, {"a": {"bias": (8,)}}, r"a/bias: no rule turns \(4,\)"),
        (
            {"a": {"kernel": np.ones((4, 6))}},
            {"a": {"kernel": (8, 12)}},
            r"a/kernel: no rule turns \(4, 6\) \(2D\) into \(8, 12\)",
        ),
    ],
)
def test_what_no_rule_fits_is_refused(params: Any, target: Any, message: str) -> None:
    shapes = jax.tree.map(
        lambda s: jax.ShapeDtypeStruct(s, jnp.float32), target, is_leaf=lambda s: type(s) is tuple
    )
    with pytest.raises(ValueError, match=message):
        inflate_params(params, shapes)


def test_unknown_profile_is_refused() -> None:
    with pytest.raises(ValueError, match=r"profile \(='mean'\) must be one of average, central"):
        inflate_params({}, {}, profile="mean")


@pytest.mark.slow
@pytest.mark.parametrize("profile", PROFILES)
def test_the_contract_at_full_size(profile: str) -> None:
    """The thesis's networks, 128×128 and 8 frames: 62 and 188 million parameters."""
    z = jax.random.normal(jax.random.key(1), (1, 256))
    g2, g3 = ResnetGenerator(size=128), ResnetGenerator(size=128, num_frames=8)
    gen = jax.jit(g2.init)(jax.random.key(0, impl="rbg"), z)["params"]
    images = jax.jit(g2.apply)({"params": gen}, z)
    gen_3d = inflate_params(gen, shapes_of(g3, z), profile=profile)
    clips = jax.jit(g3.apply)({"params": gen_3d}, z)
    assert relative_error(clips, stills(images, 8)) < 1e-5
    d = ResnetDiscriminator(size=128)
    disc = jax.jit(d.init)(jax.random.key(2, impl="rbg"), images)["params"]
    disc_3d = inflate_params(disc, shapes_of(d, clips), profile=profile)
    want = jax.jit(d.apply)({"params": disc}, images)
    got = jax.jit(d.apply)({"params": disc_3d}, stills(images, 8))
    assert relative_error(got, want) < 1e-5
    assert sum(x.size for x in jax.tree.leaves((gen_3d, disc_3d))) == 102_593_603 + 85_817_409

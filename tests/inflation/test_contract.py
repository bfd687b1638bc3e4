"""The contract: on still clips a 3D network computes what its 2D origin does, in any mode."""

from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from flax import traverse_util
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.inflation.cases import Layer, as_still, draw_variables, relative_error, run, stills
from vidgan_jax.inflation import (
    PROFILES,
    inflate_params,
    inflate_variables,
    target_of,
    temporal_weights,
)
from vidgan_jax.layers import Conv, ConvTranspose
from vidgan_jax.losses.adversarial import hinge_fake, hinge_real
from vidgan_jax.models.dcgan import DcganDiscriminator, DcganGenerator, Layout
from vidgan_jax.models.resnet import ResnetDiscriminator, ResnetGenerator
from vidgan_jax.models.vgan import VganGenerator
from vidgan_jax.types import SPECTRAL

TOLERANCE = 1e-5
BATCH, FRAMES = 3, 5
IMAGES = np.random.default_rng(1).standard_normal((BATCH, 6, 5, 4), np.float32)
PROFILE = pytest.mark.parametrize("profile", PROFILES)
TRAINING = pytest.mark.parametrize("training", [False, True], ids=["inference", "training"])


def check(
    flat: nn.Module,
    moving: nn.Module,
    inputs_2d: Any,
    inputs_3d: Any,
    **how: Any,
) -> None:
    """Holds a pair of networks to the contract, in both modes and beyond an update.

    With noise over time the 3D kernels have singular vectors of their own, which move in their own
    way as long as the 2D ones have not settled: then at inference only.
    """
    noisy = bool(how.get("temporal_noise"))
    variables = draw_variables(flat, inputs_2d)
    target = target_of(moving, inputs_3d)
    inflated = inflate_variables(variables, target, **how)
    chex.assert_trees_all_equal_shapes_and_dtypes(inflated, target.variables)
    for training in (False,) if noisy else (False, True):
        want = run(flat, variables, inputs_2d, training=training)
        got = run(moving, inflated, inputs_3d, training=training)
        assert relative_error(got.output, as_still(want.output, got.output)) < TOLERANCE
    if not noisy:
        # Training mode has moved statistics and singular vectors, the same way in both networks.
        after = inflate_variables(want.collections, target, **how)
        chex.assert_trees_all_close(got.collections, after, rtol=1e-4, atol=1e-5)


@settings(max_examples=25, deadline=None, derandomize=True)
@given(
    kind=st.sampled_from(["conv", "conv_transpose"]),
    time=st.integers(1, 5),
    space=st.integers(1, 4),
    time_stride=st.integers(1, 3),
    space_stride=st.integers(1, 3),
    frames=st.integers(1, 6),
    norm=st.sampled_from(["", "batch", "instance"]),
    spectral_norm=st.booleans(),
    profile=st.sampled_from(list(PROFILES)),
)
def test_convolutions_of_any_width_and_stride(
    kind: str,
    time: int,
    space: int,
    time_stride: int,
    space_stride: int,
    frames: int,
    norm: str,
    spectral_norm: bool,
    profile: str,
) -> None:
    if kind == "conv_transpose":  # no wider strides than kernels
        time, space = max(time, time_stride), max(space, space_stride)
    layer = Layer(
        kind,
        (time, space, space),
        (time_stride, space_stride, space_stride),
        spectral_norm,
        norm,
    )
    check(layer, layer, IMAGES, stills(IMAGES, frames), profile=profile)


@PROFILE
@pytest.mark.parametrize("spectral_norm", [False, True])
def test_dense_layers_at_both_ends_of_time(profile: str, spectral_norm: bool) -> None:
    end = Layer("dense_end", spectral_norm=spectral_norm)
    check(end, end, IMAGES, stills(IMAGES, FRAMES), profile=profile)
    latents = IMAGES[:, 0, 0]
    start = Layer("dense_start", spectral_norm=spectral_norm)
    moving = start.clone(frames=FRAMES)
    check(start, moving, latents, latents, profile=profile)


def networks() -> dict[str, tuple[nn.Module, nn.Module, nn.Module, nn.Module]]:
    """2D and 3D generators and discriminators by name; 8 frames of 16×16."""
    flat = Layout(16, features=4, max_features=8)
    moving = Layout(16, 8, features=4, max_features=8, time_stages=(0, 1))
    long = Layout(16, 8, features=4, max_features=8, time_stages=(1,))
    widths: dict[str, Any] = {"size": 16, "features": 4, "max_features": 8, "spectral_norm": True}
    g2, d2 = DcganGenerator(flat), DcganDiscriminator(flat)
    return {
        "dcgan": (g2, DcganGenerator(moving), d2, DcganDiscriminator(moving)),
        "dcgan of 4 base frames": (g2, DcganGenerator(long), d2, DcganDiscriminator(long)),
        "vgan": (VganGenerator(flat), VganGenerator(moving), d2, DcganDiscriminator(moving)),
        "resnet with spectral norm": (
            ResnetGenerator(**widths),
            ResnetGenerator(**widths, num_frames=8),
            ResnetDiscriminator(**widths),
            ResnetDiscriminator(**widths),
        ),
    }


@PROFILE
@pytest.mark.parametrize("noise", [0.0, 0.5], ids=["", "noise"])
@pytest.mark.parametrize("name", networks())
def test_whole_networks(name: str, noise: float, profile: str) -> None:
    g2, g3, d2, d3 = networks()[name]
    z = np.random.default_rng(2).standard_normal((4, 6), np.float32)
    images = np.random.default_rng(3).uniform(-1, 1, (4, 16, 16, 3)).astype(np.float32)
    check(g2, g3, z, z, profile=profile, temporal_noise=noise)
    check(d2, d3, images, stills(images, 8), profile=profile, temporal_noise=noise)


@TRAINING
def test_every_activation_of_every_layer(training: bool) -> None:
    g2, g3, d2, d3 = networks()["dcgan"]
    z = np.random.default_rng(2).standard_normal((4, 6), np.float32)
    images = np.random.default_rng(3).uniform(-1, 1, (4, 16, 16, 3)).astype(np.float32)
    for flat, moving, inputs, clips in ((g2, g3, z, z), (d2, d3, images, stills(images, 8))):
        variables = draw_variables(flat, inputs)
        inflated = inflate_variables(variables, target_of(moving, clips))

        def activations(module: nn.Module, variables: Any, inputs: Any) -> Any:
            names = ["batch_stats", SPECTRAL] if training else []
            _, state = module.apply(
                variables, inputs, mutable=[*names, "intermediates"], capture_intermediates=True
            )
            return traverse_util.flatten_dict(state["intermediates"])

        want, got = activations(flat, variables, inputs), activations(moving, inflated, clips)
        assert want.keys() == got.keys()
        assert len(want) >= 5
        for path, ((image,), (clip,)) in {p: (want[p], got[p]) for p in want}.items():
            assert relative_error(clip, as_still(image, clip)) < TOLERANCE, path


def test_equal_logits_are_equal_losses() -> None:
    """The image's and the still clip's, so 3D training starts at the 2D scores."""
    _, _, d2, d3 = networks()["dcgan"]
    images = np.random.default_rng(3).uniform(-1, 1, (4, 16, 16, 3)).astype(np.float32)
    variables = draw_variables(d2, images)
    inflated = inflate_variables(variables, target_of(d3, stills(images, 8)))
    want = run(d2, variables, images, training=False).output
    got = run(d3, inflated, stills(images, 8), training=False).output
    for loss in (hinge_real, hinge_fake):
        np.testing.assert_allclose(loss(got), loss(want), rtol=1e-5, atol=1e-6)


# --- spectral norm


SPECTRAL_KINDS = {
    "conv": Layer("conv", (3, 3, 3), norm=""),
    "strided": Layer("conv", (4, 4, 4), (2, 2, 2)),
    "transposed": Layer("conv_transpose", (4, 4, 4), (2, 2, 2)),
    "uneven": Layer("conv_transpose", (3, 4, 4), (2, 2, 2)),
    "rows": Layer("dense_end"),
}


def converged(layer: nn.Module, inputs: Any) -> Any:
    """Variables after so many updates that σ has settled."""
    variables = draw_variables(layer, inputs)
    update = jax.jit(lambda v: {**v, **layer.apply(v, inputs, mutable=[SPECTRAL])[1]})
    for _ in range(200):
        variables = update(variables)
    return variables


@PROFILE
@pytest.mark.parametrize("kind", SPECTRAL_KINDS)
def test_singular_vectors_are_those_of_the_3d_kernel(kind: str, profile: str) -> None:
    """Against numpy's decomposition; and further iterations stay where they are."""
    layer, clips = SPECTRAL_KINDS[kind], stills(IMAGES, FRAMES)
    variables = converged(layer, IMAGES)
    inflated = inflate_variables(variables, target_of(layer, clips), profile=profile)
    kernel = inflated["params"]["layer"]["kernel"]
    state = inflated[SPECTRAL]["layer"]
    left, sigmas, right = np.linalg.svd(kernel.reshape(-1, kernel.shape[-1]).astype(np.float64))
    sign = np.sign(right[0] @ state["u"])
    np.testing.assert_allclose(state["u"], sign * right[0], atol=1e-3)
    np.testing.assert_allclose(state["v"].reshape(-1), sign * left[:, 0], atol=1e-3)
    matrix = kernel.reshape(-1, kernel.shape[-1])
    sigma = state["v"].reshape(-1) @ matrix @ state["u"]
    np.testing.assert_allclose(sigma, sigmas[0], rtol=1e-5)
    after = run(layer, inflated, clips, training=True).collections[SPECTRAL]["layer"]
    np.testing.assert_allclose(after["u"], state["u"], atol=1e-4)
    np.testing.assert_allclose(
        np.asarray(after["v"]).reshape(-1) @ matrix @ after["u"], sigmas[0], rtol=1e-5
    )
    np.testing.assert_array_equal(after["gain"], state["gain"])


@pytest.mark.parametrize(("width", "stride"), [(3, 1), (4, 1), (5, 1), (4, 2)])
def test_the_thesis_is_off_by_the_norm_of_the_profile(width: int, stride: int) -> None:
    """√T too strong for an averaged convolution of T taps, as `mode` "thesis" does it."""
    kind = "conv" if stride == 1 else "conv_transpose"
    layer = Layer(kind, (width, 3, 3), (stride, 1, 1))
    variables = draw_variables(layer, IMAGES)
    variables["params"]["layer"]["bias"] *= 0
    clips = stills(IMAGES, FRAMES)
    inflated = inflate_variables(variables, target_of(layer, clips), mode="thesis")
    want = run(layer, variables, IMAGES, training=False).output
    got = run(layer, inflated, clips, training=False).output
    factor = 1 / np.linalg.norm(temporal_weights("average", width, stride))
    if stride == 1:
        np.testing.assert_allclose(factor, width**0.5)
    assert relative_error(got, factor * as_still(want, got)) < TOLERANCE
    np.testing.assert_array_equal(
        inflated[SPECTRAL]["layer"]["gain"], variables[SPECTRAL]["layer"]["gain"]
    )


def test_the_thesis_is_right_without_spectral_norm_and_for_odd_central_profiles() -> None:
    clips = stills(IMAGES, FRAMES)
    for layer, profile in (
        (Layer("conv", spectral_norm=False), "average"),
        (Layer("conv", (5, 3, 3)), "central"),
    ):
        variables = draw_variables(layer, IMAGES)
        both = [
            inflate_variables(variables, target_of(layer, clips), profile=profile, mode=mode)
            for mode in ("thesis", "exact")
        ]
        chex.assert_trees_all_equal(*both)


def test_noise_over_time_has_its_own_singular_vectors() -> None:
    """σ of a noisy kernel is larger; the gain makes up for it, now and after more iterations."""
    layer, clips = Layer("conv"), stills(IMAGES, FRAMES)
    variables = converged(layer, IMAGES)
    inflated = inflate_variables(variables, target_of(layer, clips), temporal_noise=1.0)
    want = run(layer, variables, IMAGES, training=False).output
    for _ in range(3):
        got = run(layer, inflated, clips, training=True)
        inflated = got.collections
        assert relative_error(got.output, as_still(want, got.output)) < 1e-3
    kernel = np.asarray(inflated["params"]["layer"]["kernel"])
    sigma = np.linalg.norm(kernel.reshape(-1, kernel.shape[-1]), 2)
    flat = np.asarray(variables["params"]["layer"]["kernel"])
    ratio = sigma / np.linalg.norm(flat.reshape(-1, flat.shape[-1]), 2)
    gains = [v[SPECTRAL]["layer"]["gain"] for v in (inflated, variables)]
    np.testing.assert_allclose(gains[0] / gains[1], ratio, rtol=1e-3)


# --- what is refused


class ZeroPadded(nn.Module):
    """A user's network with flax's own convolution."""

    width: int = 3
    padding: str = "SAME"
    transposed: bool = False

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        widths = (self.width, 3, 3)[5 - x.ndim :]
        kind = nn.ConvTranspose if self.transposed else nn.Conv
        return kind(4, widths, padding=self.padding, name="flaxs")(x)


def test_layers_that_see_zeros_beyond_the_ends_are_refused() -> None:
    clips = jnp.zeros((1, 5, 6, 6, 3))
    with pytest.raises(ValueError, match=r"flaxs is flax's nn\.Conv, which sees zeros"):
        target_of(ZeroPadded(), clips)
    with pytest.raises(ValueError, match=r"nn\.ConvTranspose.*vidgan_jax\.layers\.ConvTranspose"):
        target_of(ZeroPadded(transposed=True), clips)
    images = IMAGES[..., :3]
    for fine in (ZeroPadded(width=1), ZeroPadded(padding="VALID"), ZeroPadded(padding="CIRCULAR")):
        check(fine, fine, images, stills(images, FRAMES))


class CalledByName(nn.Module):
    """A transposed convolution whose input is a keyword."""

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        return ConvTranspose(4, 4, 2, name="up")(x=x)


def test_strides_are_found_however_a_layer_is_called() -> None:
    assert target_of(CalledByName(), stills(IMAGES, 3)).strides == {("up",): 2}
    check(CalledByName(), CalledByName(), IMAGES, stills(IMAGES, 3))


def test_collections_must_agree() -> None:
    normed, plain = Layer("conv", norm="batch"), Layer("conv")
    variables = draw_variables(plain, IMAGES)
    with pytest.raises(ValueError, match="the 2D variables lack the collection 'batch_stats'"):
        inflate_variables(variables, target_of(normed, stills(IMAGES, 2)))
    with pytest.raises(ValueError, match=r"mode \(='exactly'\) must be one of exact, thesis"):
        inflate_variables(variables, target_of(plain, stills(IMAGES, 2)), mode="exactly")


def test_targets_that_are_none() -> None:
    """Of the other function, or of images."""
    plain = Layer("conv")
    variables = draw_variables(plain, IMAGES)
    shapes = jax.eval_shape(plain.init, jax.random.key(0), stills(IMAGES, 2))
    with pytest.raises(ValueError, match=r"type dict; make it by target_of\(module, clip\)"):
        inflate_variables(variables, shapes)
    with pytest.raises(ValueError, match="give it, and all variables, to inflate_variables"):
        inflate_params(variables["params"], target_of(plain, stills(IMAGES, 2)))
    with pytest.raises(ValueError, match="no parameter of the target has time"):
        inflate_variables(variables, target_of(plain, IMAGES))


class Wide(nn.Module):
    """Of more channels in 3D."""

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        return Conv(2 * x.ndim, spectral_norm=True, name="layer")(x)


def test_a_leaf_without_a_rule_is_told_with_its_shapes() -> None:
    variables = draw_variables(Wide(), IMAGES)
    with pytest.raises(ValueError, match=r"layer/kernel: no rule turns \(3, 3, 4, 8\) \(2D\) into"):
        inflate_variables(variables, target_of(Wide(), stills(IMAGES, 2)))


@pytest.mark.slow
@PROFILE
def test_dcgan_at_full_size(profile: str) -> None:
    """The thesis's: 128×128, 32 frames, 14 and 56 million parameters."""
    flat, moving = Layout(128), Layout(128, 32, time_stages=(0, 1, 2, 3, 4))
    z = np.random.default_rng(2).standard_normal((2, 64), np.float32)
    images = np.random.default_rng(3).uniform(-1, 1, (2, 128, 128, 3)).astype(np.float32)
    for one, other, inputs, clips in (
        (DcganGenerator(flat), DcganGenerator(moving), z, z),
        (DcganDiscriminator(flat), DcganDiscriminator(moving), images, stills(images, 32)),
    ):
        variables = jax.jit(one.init)(jax.random.key(0, impl="rbg"), inputs)
        inflated = inflate_variables(variables, target_of(other, clips), profile=profile)
        for training in (False, True):
            want = run(one, variables, inputs, training=training).output
            got = run(other, inflated, clips, training=training).output
            assert relative_error(got, as_still(want, got)) < TOLERANCE

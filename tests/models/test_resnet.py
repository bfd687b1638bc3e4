"""The ResNet GAN: its parameters, its refusals, and its equality with PyTorch's."""

import functools
from collections.abc import Sequence
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

from tests.models.networks import Z_DIM, SmallGan, draw_params, shapes, small_gan
from tests.reference_torch import derivatives, weights
from vidgan_jax.inflation import inflate_variables, target_of
from vidgan_jax.losses.penalties import r1_penalty
from vidgan_jax.models.resnet import (
    LAYOUTS,
    ResnetBlock,
    ResnetDiscriminator,
    ResnetGenerator,
    plan,
)
from vidgan_jax.models.stages import base_frames
from vidgan_jax.train.plan import count
from vidgan_jax.types import PyTree

RANKS = pytest.mark.parametrize("num_frames", [0, 4], ids=["image", "clip"])


def draw(*shape: int) -> np.ndarray:
    return np.random.default_rng(shape).standard_normal(shape, np.float32)


def relative_error(ours: Any, expected: torch.Tensor) -> float:
    """‖ours − expected‖ / ‖expected‖ over all elements."""
    wanted = expected.detach().numpy()
    assert np.linalg.norm(wanted) > 0
    return float(np.linalg.norm(np.asarray(ours) - wanted) / np.linalg.norm(wanted))


# --- parameters


@pytest.mark.parametrize(
    ("num_frames", "generator", "discriminator", "printed_m"),
    [(0, 33_261_251, 29_067_969, (33.3, 29.1)), (8, 102_593_603, 85_817_409, (102.7, 85.8))],
)
def test_sizes_are_the_thesiss(
    num_frames: int, generator: int, discriminator: int, printed_m: tuple[float, float]
) -> None:
    """Exact counts of the documented layout; within 0.1 M of the thesis's table 4.2 as printed."""
    time = (num_frames,) if num_frames else ()
    counts = [
        count(shapes(ResnetGenerator(128, num_frames), jnp.zeros((1, 256)))),
        count(shapes(ResnetDiscriminator(128), jnp.zeros((1, *time, 128, 128, 3)))),
    ]
    assert counts == [generator, discriminator]
    # 102.6 is printed as 102.7, since the thesis's code appends a constant to z.
    np.testing.assert_allclose(np.round(np.divide(counts, 1e6), 1), printed_m, atol=0.101)


@RANKS
def test_parameter_trees(num_frames: int) -> None:
    """Channels are 8, 8, 4 from 4×4 to 16×16; in 3D, kernels have one more axis, no other name."""
    gan = small_gan(num_frames)
    k, point = ((3, 3, 3), (1, 1, 1)) if num_frames else ((3, 3), (1, 1))
    base = 2 if num_frames else 1

    def conv(i: int, o: int) -> dict[str, tuple[int, ...]]:
        return {"kernel": (*k, i, o), "bias": (o,)}

    def skip(i: int, o: int) -> dict[str, tuple[int, ...]]:
        return {"kernel": (*point, i, o)}

    generator = {
        "fc": {"kernel": (Z_DIM, base * 16 * 8), "bias": (base * 16 * 8,)},
        "block_0": {"conv_0": conv(8, 8), "conv_1": conv(8, 8)},
        "block_1": {"conv_0": conv(8, 4), "conv_1": conv(4, 4), "conv_s": skip(8, 4)},
        "block_2": {"conv_0": conv(4, 4), "conv_1": conv(4, 4)},
        "conv_img": conv(4, 3),
    }  # fmt: skip
    discriminator = {
        "conv_img": conv(3, 4),
        "block_2": {"conv_0": conv(4, 4), "conv_1": conv(4, 4)},
        "block_1": {"conv_0": conv(4, 4), "conv_1": conv(4, 8), "conv_s": skip(4, 8)},
        "block_0": {"conv_0": conv(8, 8), "conv_1": conv(8, 8)},
        "fc": {"kernel": (base * 16 * 8, 1), "bias": (1,)},
    }  # fmt: skip
    for expected, params in ((generator, gan.gen_params), (discriminator, gan.disc_params)):
        as_arrays = jax.tree.map(
            lambda shape: jax.ShapeDtypeStruct(shape, jnp.float32),
            expected,
            is_leaf=lambda x: isinstance(x, tuple),
        )
        chex.assert_trees_all_equal_shapes_and_dtypes(params, as_arrays)


@pytest.mark.parametrize(
    ("num_frames", "time_stages"), [(0, (0,)), (2, ()), (4, (1,)), (8, (0, 2)), (6, (0,))]
)
def test_shapes_of_outputs(num_frames: int, time_stages: tuple[int, ...]) -> None:
    """Frames in, one logit out, whichever stages double time; float32."""
    generator = ResnetGenerator(32, num_frames, 4, 8, time_stages)
    discriminator = ResnetDiscriminator(32, 4, 8, time_stages)
    key, z = jax.random.key(0), jnp.zeros((2, Z_DIM))
    frames, _ = jax.eval_shape(generator.init_with_output, key, z)
    logits, _ = jax.eval_shape(discriminator.init_with_output, key, frames)
    chex.assert_shape(frames, (2, *((num_frames,) if num_frames else ()), 32, 32, 3))
    chex.assert_shape(logits, (2,))
    chex.assert_type([frames, logits], jnp.float32)


def test_channels_of_colour_are_a_choice() -> None:
    generator = ResnetGenerator(8, features=4, max_features=8, channels=1)
    frames, _ = jax.eval_shape(generator.init_with_output, jax.random.key(0), jnp.zeros((2, Z_DIM)))
    chex.assert_shape(frames, (2, 8, 8, 1))


def test_base_frames() -> None:
    assert base_frames(8, 5, (0,)) == 4
    assert base_frames(32, 5, (0, 1, 4)) == 4
    assert base_frames(5, 5, ()) == 5
    assert base_frames(0, 5, (9,)) == 0  # images have no time to double


# --- the public code's layouts; test_convert_gan_stability.py has their equality with PyTorch's

# Layout → out channels of all blocks at 64·features, generator's from the small end, then the
# discriminator's from full resolution; the small end's size of 128×128 frames.
WIDTHS_OF_BLOCKS = {
    "resnet": ([16, 8, 4, 2, 1, 1], [1, 2, 4, 8, 16, 32], 4),
    "resnet2": (
        [16, 16, 16, 16, 8, 8, 4, 4, 2, 2, 1, 1],
        [1, 2, 2, 4, 4, 8, 8, 16, 16, 16, 16, 16],
        4,
    ),
    "resnet3": ([16, 16, 8, 4, 2, 1], [2, 4, 8, 16, 16, 32], 2),
    "resnet4": ([16, 16, 8, 4, 2, 1, 1], [1, 1, 2, 4, 8, 16, 16], 2),
}


def test_layouts_are_the_public_codes() -> None:
    assert list(LAYOUTS) == list(WIDTHS_OF_BLOCKS)
    for name, (gen, disc, base) in WIDTHS_OF_BLOCKS.items():
        blocks, small_end = plan(name, 128)
        assert [w for widths in blocks.gen for w in widths] == gen, name
        assert [w for widths in blocks.disc for w in widths] == disc, name
        assert blocks.start == (32 if name in ("resnet", "resnet3") else 16), name
        assert small_end == base, name
        assert len(blocks.gen) == len(blocks.disc) == blocks.stages + 1, name
        assert base << blocks.stages == 128, name


@pytest.mark.parametrize("layout", list(LAYOUTS))
@pytest.mark.parametrize("num_frames", [0, 8], ids=["image", "clip"])
def test_layouts_make_frames_and_logits(layout: str, num_frames: int) -> None:
    """With classes; time doubles in the first stage and in the last but one."""
    how: Any = {"layout": layout, "num_classes": 3, "time_stages": (0, 4)}
    generator = ResnetGenerator(128, num_frames, 2, 16, embed_dim=6, **how)
    discriminator = ResnetDiscriminator(128, 2, 16, **how)
    key, z, cond = jax.random.key(0), jnp.zeros((2, Z_DIM)), jnp.array([0, 2])
    frames, _ = jax.eval_shape(generator.init_with_output, key, z, cond)
    logits, variables = jax.eval_shape(discriminator.init_with_output, key, frames, cond)
    chex.assert_shape(frames, (2, *((num_frames,) if num_frames else ()), 128, 128, 3))
    chex.assert_shape(logits, (2,))
    kernel = variables["params"]["conv_img"]["kernel"].shape
    width = 7 if layout in ("resnet3", "resnet4") else 3
    assert kernel == (*((3,) if num_frames else ()), width, width, 3, 2)
    assert max(leaf.shape[-1] for leaf in jax.tree.leaves(variables["params"])) <= 16


def test_layouts_inflate() -> None:
    """The one with stages without blocks, 7×7 kernels and classes: the same on still clips."""
    how: Any = {"layout": "resnet3", "num_classes": 2}
    z, cond = jnp.asarray(draw(2, Z_DIM)), jnp.array([1, 0])
    image, clip = ResnetGenerator(64, 0, 1, 4, embed_dim=3, **how), (1, 2, 64, 64, 3)
    video, judge = (
        ResnetGenerator(64, 2, 1, 4, embed_dim=3, **how),
        ResnetDiscriminator(64, 1, **how),
    )

    def inflated(module: Any, target: Any, inputs: Any, x: Any) -> Any:
        variables = {"params": draw_params(module, *inputs)}
        return variables, inflate_variables(variables, target_of(target, x, cond[:1]))

    before, after = inflated(image, video, (z, cond), z[:1])
    stills = jax.jit(image.apply)(before, z, cond)
    frames = jax.jit(video.apply)(after, z, cond)
    chex.assert_trees_all_close(frames, jnp.stack([stills] * 2, axis=1), rtol=1e-5, atol=1e-6)
    assert float(jnp.std(stills)) > 0.01

    before, after = inflated(judge, judge, (stills, cond), jnp.zeros(clip))
    logits = jax.jit(judge.apply)(before, stills, cond)
    chex.assert_trees_all_close(jax.jit(judge.apply)(after, frames, cond), logits, rtol=1e-5)


# --- classes


def class_gan(layout: str, num_classes: int) -> tuple[ResnetGenerator, ResnetDiscriminator]:
    how: Any = {"layout": layout, "num_classes": num_classes}
    return ResnetGenerator(8, 0, 2, 4, embed_dim=3, **how), ResnetDiscriminator(8, 2, 4, **how)


def test_a_class_is_its_embedding_and_its_logit() -> None:
    """Rows of other classes change nothing; nor does the length of an embedding."""
    generator, discriminator = class_gan("resnet", 3)
    z, cond = jnp.asarray(draw(2, Z_DIM)), jnp.array([2, 0])
    params = draw_params(generator, z, cond)
    assert params["embedding"].shape == (3, 3)
    assert params["fc"]["kernel"].shape == (Z_DIM + 3, 4 * 4 * 4)
    frames = _apply(generator, params, z, cond)
    other = {**params, "embedding": params["embedding"] * np.array([[3], [-1], [0.5]], np.float32)}
    chex.assert_trees_all_close(_apply(generator, other, z, cond), frames, rtol=1e-5, atol=1e-6)
    assert float(jnp.max(jnp.abs(_apply(generator, params, z, cond[::-1]) - frames))) > 1e-3

    weights_of_disc = draw_params(discriminator, frames, cond)
    each = [_apply(discriminator, weights_of_disc, frames, jnp.full(2, i)) for i in range(3)]
    logits = _apply(discriminator, weights_of_disc, frames, cond)
    np.testing.assert_array_equal(logits, [each[2][0], each[0][1]])


def test_the_only_class_needs_no_name() -> None:
    generator, discriminator = class_gan("resnet", 1)
    z, zeros = jnp.asarray(draw(2, Z_DIM)), jnp.zeros(2, jnp.int32)
    params = draw_params(generator, z)
    frames = _apply(generator, params, z)
    np.testing.assert_array_equal(_apply(generator, params, z, zeros), frames)
    params = draw_params(discriminator, frames)
    logits = _apply(discriminator, params, frames)
    np.testing.assert_array_equal(_apply(discriminator, params, frames, zeros), logits)


# --- equality with PyTorch, values and gradients


@functools.cache
def _generator_and_gradients(num_frames: int) -> Any:
    def run(params: PyTree, z: jax.Array, toward: jax.Array) -> Any:
        apply = functools.partial(_apply, small_gan(num_frames).generator)
        frames, pullback = jax.vjp(apply, params, z)
        return frames, *pullback(toward)

    return jax.jit(run)


@functools.cache
def _discriminator_and_gradients(num_frames: int) -> Any:
    """Logits, the logits' sum's gradient at the input, R1, the gradient of R1's sum at weights."""

    def run(params: PyTree, x: jax.Array) -> Any:
        apply = functools.partial(_apply, small_gan(num_frames).discriminator)
        logits, pullback = jax.vjp(functools.partial(apply, params), x)

        def penalty(params: PyTree) -> tuple[jax.Array, jax.Array]:
            each = r1_penalty(functools.partial(apply, params), x)
            return each.sum(), each

        gradient, each = jax.grad(penalty, has_aux=True)(params)
        return logits, pullback(jnp.ones_like(logits))[0], each, gradient

    return jax.jit(run)


def _apply(module: Any, params: PyTree, *inputs: jax.Array) -> jax.Array:
    return module.apply({"params": params}, *inputs)


@RANKS
def test_generator_is_pytorchs(num_frames: int) -> None:
    gan = small_gan(num_frames)
    z, toward = draw(3, Z_DIM), draw(3, *gan.example_shape)
    frames, dparams, dz = _generator_and_gradients(num_frames)(gan.gen_params, z, toward)

    reference, z_torch = gan.torch_generator(), torch.from_numpy(z).requires_grad_()
    frames_torch = reference(z_torch)
    frames_torch.backward(torch.from_numpy(toward))
    assert z_torch.grad is not None
    assert relative_error(frames, frames_torch) < 1e-5
    assert relative_error(dz, z_torch.grad) < 1e-5
    _check_gradients(dparams, reference)


@RANKS
def test_discriminator_is_pytorchs(num_frames: int) -> None:
    """R1 included, and R1's gradient, through the whole network: the second order."""
    gan = small_gan(num_frames)
    x = np.tanh(draw(3, *gan.example_shape))
    logits, dx, penalties, dparams = _discriminator_and_gradients(num_frames)(gan.disc_params, x)

    reference, x_torch = gan.torch_discriminator(), torch.from_numpy(x).requires_grad_()
    logits_torch = reference(x_torch)
    (dx_torch,) = torch.autograd.grad(logits_torch.sum(), x_torch)
    assert relative_error(logits, logits_torch) < 1e-5
    assert relative_error(dx, dx_torch) < 1e-5
    penalties_torch = derivatives.r1(reference, x_torch)
    penalties_torch.sum().backward()
    assert relative_error(penalties, penalties_torch) < 1e-5
    _check_gradients(dparams, reference)


def _check_gradients(ours: PyTree, reference: torch.nn.Module) -> None:
    """Compares gradients with respect to every weight; none at all counts as 0."""
    gradients = weights.as_torch(ours)
    for name, parameter in weights.named_parameters(reference).items():
        if parameter.grad is None or not parameter.grad.any():
            assert not gradients[name].any(), name
        else:
            assert relative_error(gradients[name], parameter.grad) < 2e-5, name


# --- other properties


@RANKS
def test_generator_does_not_mix_examples(num_frames: int) -> None:
    """An example's frames depend on its own latent: neither on its neighbours nor on its place."""
    gan = small_gan(num_frames)
    run, toward = (
        _generator_and_gradients(num_frames),
        np.zeros((3, *gan.example_shape), np.float32),
    )
    z = draw(3, Z_DIM)
    frames = run(gan.gen_params, z, toward)[0]
    _check_independence(lambda z: run(gan.gen_params, z, toward)[0], z, frames)
    assert float(jnp.max(jnp.abs(frames))) < 1
    assert float(jnp.std(frames)) > 0.01


@RANKS
def test_discriminator_does_not_mix_examples(num_frames: int) -> None:
    """Its logit, nor its R1, which sums over a batch rely on."""
    gan = small_gan(num_frames)
    x = np.tanh(draw(3, *gan.example_shape))
    run = functools.partial(_discriminator_and_gradients(num_frames), gan.disc_params)
    for part in (0, 2):
        _check_independence(lambda x, i=part: run(x)[i], x, run(x)[part])


def _check_independence(run: Any, inputs: np.ndarray, outputs: jax.Array) -> None:
    order = np.array([2, 0, 1])
    chex.assert_trees_all_close(run(inputs[order]), outputs[order], rtol=1e-5, atol=1e-6)
    others = inputs.copy()
    others[1:] = -2 * others[1:] + 0.5
    changed = run(others)
    chex.assert_trees_all_close(changed[0], outputs[0], rtol=1e-5, atol=1e-6)
    assert float(jnp.max(jnp.abs(changed[1:] - outputs[1:]))) > 1e-3


@RANKS
def test_a_block_without_weights_is_its_skip(num_frames: int) -> None:
    """Zero kernels leave the identity, and a bias of 1 behind them adds 0.1."""
    x = jnp.asarray(draw(2, *((num_frames,) if num_frames else ()), 4, 4, 3))
    block = ResnetBlock(3)
    params = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape), shapes(block, x))
    np.testing.assert_array_equal(_apply(block, params, x), x)
    params["conv_1"]["bias"] = jnp.ones(3)
    np.testing.assert_allclose(_apply(block, params, x), x + 0.1, rtol=1e-6)


def test_the_scale_of_initial_kernels_reaches_every_layer() -> None:
    """Kernels are four times as large with 16 times the variance, biases as they are."""

    def modules(scale: float) -> list[Any]:
        layout = {"size": 8, "features": 2, "max_features": 4, "init_scale": scale}
        return [ResnetGenerator(**layout), ResnetDiscriminator(**layout)]  # type: ignore[arg-type]

    inputs = [jnp.zeros((1, Z_DIM)), jnp.zeros((1, 8, 8, 3))]

    @functools.partial(jax.jit, static_argnums=1)
    def init(key: jax.Array, scale: float) -> Any:
        return [m.init(key, x)["params"] for m, x in zip(modules(scale), inputs, strict=True)]

    key = jax.random.key(0, impl="rbg")
    small, large = init(key, 0.25), init(key, 4.0)
    for (path, a), b in zip(jax.tree.leaves_with_path(small), jax.tree.leaves(large), strict=True):
        factor = 4 if path[-1].key == "kernel" else 1
        np.testing.assert_allclose(b, factor * a, rtol=1e-6, err_msg=str(path))


# --- refusals


@pytest.mark.parametrize("size", [0, 4, 12, 20, 48, 100, -8])
def test_sizes_refused(size: int) -> None:
    with pytest.raises(ValueError, match=rf"size \(={size}\) must be 8, 16, 32, 64, 128"):
        shapes(ResnetGenerator(size), jnp.zeros((1, Z_DIM)))


@pytest.mark.parametrize(
    ("num_frames", "time_stages", "text"),
    [
        (7, (0,), r"num_frames \(=7\) must be a multiple of 2, since 1 time stages double it"),
        (6, (0, 1), r"num_frames \(=6\) must be a multiple of 4"),
        (8, (0, 0), r"time_stages \(=\(0, 0\)\) must be different numbers from 0 to 1"),
        (8, (2,), r"time_stages \(=\(2,\)\) must be different numbers from 0 to 1"),
        (8, (-1,), r"time_stages \(=\(-1,\)\) must be"),
    ],
)
def test_frames_and_time_stages_refused(
    num_frames: int, time_stages: Sequence[int], text: str
) -> None:
    with pytest.raises(ValueError, match=text):
        shapes(ResnetGenerator(16, num_frames, time_stages=time_stages), jnp.zeros((1, Z_DIM)))


def test_discriminator_refuses_frames_of_another_size() -> None:
    with pytest.raises(ValueError, match=r"\(1, 8, 16, 3\) must have frames of 16×16"):
        shapes(ResnetDiscriminator(16), jnp.zeros((1, 8, 16, 3)))
    with pytest.raises(ValueError, match="must have frames of 8×8"):
        shapes(ResnetDiscriminator(8), jnp.zeros((1, 4, 16, 16, 3)))


@RANKS
def test_conditions_are_refused(num_frames: int) -> None:
    gan: SmallGan = small_gan(num_frames)
    cond = jnp.zeros((1, 16, 16), jnp.uint8)
    with pytest.raises(ValueError, match="unconditional"):
        shapes(gan.generator, jnp.zeros((1, Z_DIM)), cond)
    with pytest.raises(ValueError, match="unconditional"):
        shapes(gan.discriminator, jnp.zeros((1, *gan.example_shape)), cond)


@pytest.mark.parametrize(
    ("layout", "size", "text"),
    [
        ("resnet5", 128, "layout .='resnet5'. must be one of resnet, resnet2, resnet3, resnet4"),
        (
            "resnet2",
            48,
            r"size \(=48\) must be a multiple of 32 with the layout 'resnet2'",
        ),
        ("resnet3", 32, r"size \(=32\) must be a multiple of 64"),
        ("resnet4", 0, r"size \(=0\) must be a multiple of 64"),
        ("resnet", 48, r"size \(=48\) must be 8, 16, 32"),
    ],
)
def test_layouts_refused(layout: str, size: int, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        shapes(ResnetGenerator(size, layout=layout), jnp.zeros((1, Z_DIM)))
    with pytest.raises(ValueError, match=text):
        shapes(ResnetDiscriminator(size, layout=layout), jnp.zeros((1, 128, 128, 3)))


def test_classes_refused() -> None:
    z, x = jnp.zeros((2, Z_DIM)), jnp.zeros((2, 8, 8, 3))
    for network, inputs in zip(class_gan("resnet", 3), (z, x), strict=True):
        with pytest.raises(ValueError, match=r"has 3 classes: it takes each example's.* 0 to 2"):
            shapes(network, inputs)
        with pytest.raises(ValueError, match=r"classes \(3,\) int32 must be one .* 2 examples"):
            shapes(network, inputs, jnp.zeros(3, jnp.int32))
        with pytest.raises(ValueError, match=r"classes \(2,\) float32 must be one whole"):
            shapes(network, inputs, jnp.zeros(2))
    with pytest.raises(ValueError, match=r"embed_dim \(=0\) must be at least 1 with num_classes"):
        shapes(ResnetGenerator(8, num_classes=1), z)

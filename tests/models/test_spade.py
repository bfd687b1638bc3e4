"""SPADE's generator and encoder: parameters, equality with PyTorch in both modes, refusals."""

import dataclasses
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

from tests.models.networks import draw_variables, shapes
from tests.models.spade_cases import (
    FULL,
    NUM,
    PLAIN,
    apply,
    check_collections,
    check_gradients,
    draw,
    draw_cond,
    one_hot,
    relative_error,
)
from tests.reference_torch import spade as reference
from tests.reference_torch import weights
from vidgan_jax.layers.labels import LabelChannels, pyramid, read_label_map
from vidgan_jax.layers.plain_labels import apply_plainly
from vidgan_jax.models.patchgan import SpadeDiscriminator
from vidgan_jax.models.spade import SpadeBlock, SpadeEncoder, SpadeGenerator, SpadeNorm
from vidgan_jax.train.plan import count
from vidgan_jax.types import BATCH_STATS, SPECTRAL

Z_DIM, SIZE, BATCH, HIDDEN = 6, 16, 3, 6
IMAGE = SpadeGenerator(PLAIN, SIZE, features=4, max_features=8, label_features=HIDDEN)


def example_shape(num_frames: int, size: int = SIZE) -> tuple[int, ...]:
    return (*((num_frames,) if num_frames else ()), size, size, 3)


# --- parameters

# Rows of the thesis's table 4.2 as printed, in millions: generator, discriminator, encoder; then
# the exact counts of the documented layout. A row without "vae" has no encoder.
TABLE_4_2: dict[str, tuple[tuple[float, ...], tuple[int, ...]]] = {
    "image_small": ((12.5, 1.7), (12_530_163, 1_697_922)),
    "image_small_vae": ((12.5, 1.7, 1.3), (12_530_163, 1_697_922, 1_293_744)),
    "image_mid": ((35.2, 1.7), (35_184_867, 1_697_922)),
    "image_mid_vae": ((35.2, 1.7, 3.1), (35_184_867, 1_697_922, 3_075_424)),
    "video_small": ((19.5, 5.1), (19_477_331, 5_093_506)),
    "video_small_vae": ((19.5, 5.1, 1.8), (19_477_331, 5_093_506, 1_783_056)),
    "video_mid": ((70.3, 5.1), (70_303_651, 5_093_506)),
    "video_mid_vae": ((70.3, 5.1, 5.0), (70_303_651, 5_093_506, 5_030_944)),
}


@pytest.mark.parametrize("row", TABLE_4_2)
def test_sizes_are_the_thesiss(row: str) -> None:
    """128×128 pixels, clips of 8 frames, 182 label channels, latents of 256 numbers."""
    printed_m, exact = TABLE_4_2[row]
    num_frames = 8 if "video" in row else 0
    features = 16 if "small" in row else 32
    labels = LabelChannels(182)
    encoder = SpadeEncoder(128, num_frames, features)
    generator = SpadeGenerator(
        labels,
        128,
        num_frames,
        features,
        16 * features,
        middle_blocks=1 if "small" in row else 2,
        encoder=encoder if "vae" in row else None,
    )
    cond, frames = (
        jnp.zeros((1, 128, 128), jnp.uint8),
        jnp.zeros((1, *example_shape(num_frames, 128))),
    )
    of_gen = dict(shapes(generator, jnp.zeros((1, 256)), cond))
    of_encoder = of_gen.pop("encoder", {})
    counts = [
        count(of_gen),
        count(shapes(SpadeDiscriminator(labels, 128, num_frames), frames, cond)),
        count(of_encoder),
    ]
    if not of_encoder:
        counts.pop()
    assert tuple(counts) == exact
    np.testing.assert_allclose(np.divide(counts, 1e6), printed_m, atol=0.1)


def of_block(fin: int, fout: int, time: tuple[int, ...], n: int = NUM) -> dict[str, Any]:
    """Shapes of a block's parameters; `time`: its kernels' width over time."""
    middle = min(fin, fout)

    def norm(channels: int) -> dict[str, Any]:
        return {
            "mlp_shared": {"kernel": (3, 3, n, HIDDEN), "bias": (HIDDEN,)},
            "mlp_gamma": {"kernel": (3, 3, HIDDEN, channels), "bias": (channels,)},
            "mlp_beta": {"kernel": (3, 3, HIDDEN, channels), "bias": (channels,)},
        }

    leaves = {
        "norm_0": norm(fin),
        "conv_0": {"kernel": (*time, 3, 3, fin, middle), "bias": (middle,)},
        "norm_1": norm(middle),
        "conv_1": {"kernel": (*time, 3, 3, middle, fout), "bias": (fout,)},
    }
    if fin != fout:
        leaves["norm_s"] = norm(fin)
        leaves["conv_s"] = {"kernel": (*time[:0], *(1,) * len(time), 1, 1, fin, fout)}
    return leaves


@pytest.mark.parametrize("num_frames", [0, 8])
def test_variables(num_frames: int) -> None:
    """What touches the label map is the same at both ranks; other kernels have one more axis.

    Spectral norm is of the blocks' and the encoder's convolutions, batch norm learns nothing.
    """
    clip = num_frames > 0
    time, base_frames = ((3,), 2) if clip else ((), 1)
    encoder = SpadeEncoder(SIZE, num_frames, 4, Z_DIM, (0, 1))
    module = dataclasses.replace(IMAGE, num_frames=num_frames, encoder=encoder)
    z, cond = jnp.zeros((2, Z_DIM)), jnp.zeros((2, SIZE, SIZE), jnp.uint8)
    found = jax.eval_shape(module.init, jax.random.key(0), z, cond)
    end = 16 * 8 * base_frames
    expected = {
        "fc": {"kernel": (Z_DIM, end), "bias": (end,)},
        "head": of_block(8, 8, time),
        "middle_0": of_block(8, 8, time),
        "middle_1": of_block(8, 8, time),
        "up_0": of_block(8, 4, time),
        "conv_img": {"kernel": (*time, 3, 3, 4, 3), "bias": (3,)},
        "encoder": {
            "conv_0": {"kernel": (*time, 3, 3, 3, 4)},
            "conv_1": {"kernel": (*time, 3, 3, 4, 8)},
            "fc_mu": {"kernel": (end, Z_DIM), "bias": (Z_DIM,)},
            "fc_var": {"kernel": (end, Z_DIM), "bias": (Z_DIM,)},
        },
    }
    assert jax.tree.map(lambda leaf: leaf.shape, found["params"]) == expected
    chex.assert_type(jax.tree.leaves(found), jnp.float32)
    blocks = ("head", "middle_0", "middle_1", "up_0")
    assert set(found) == {"params", BATCH_STATS, SPECTRAL}
    assert set(found[BATCH_STATS]) == set(blocks)
    assert {*found[BATCH_STATS]["up_0"]} == {"norm_0", "norm_1", "norm_s"}
    assert set(found[BATCH_STATS]["head"]["norm_0"]["bn"]) == {"mean", "var"}
    assert {name: set(of) for name, of in found[SPECTRAL].items()} == {
        **{name: {"conv_0", "conv_1"} for name in blocks[:-1]},
        "up_0": {"conv_0", "conv_1", "conv_s"},
        "encoder": {"conv_0", "conv_1"},
    }
    bare = dataclasses.replace(module, spectral_norm=False, batch_norm=False, encoder=None)
    assert set(jax.eval_shape(bare.init, jax.random.key(0), z, cond)) == {"params"}


# Names of blocks with their channels from the small end up, in units of 64, at 256×256 pixels: the
# public code's num_upsampling_layers "normal", "more", "most"; the thesis's small one, at 128×128.
LAYOUTS: dict[str, tuple[dict[str, Any], dict[str, float]]] = {
    "normal": (
        {"size": 256, "base_size": 8},
        {"head": 16, "middle_0": 16, "middle_1": 16, "up_0": 8, "up_1": 4, "up_2": 2, "up_3": 1},
    ),
    "more": (
        {"size": 256, "middle_upsampling": True},
        {"head": 16, "middle_0": 16, "middle_1": 16, "up_0": 8, "up_1": 4, "up_2": 2, "up_3": 1},
    ),
    "most": (
        {"size": 256, "base_size": 2, "middle_upsampling": True, "features": 32},
        {
            "head": 16,
            "middle_0": 16,
            "middle_1": 16,
            "up_0": 8,
            "up_1": 4,
            "up_2": 2,
            "up_3": 1,
            "up_4": 0.5,
        },
    ),
    "small": (
        {"size": 128, "middle_blocks": 1, "features": 16, "max_features": 256},
        {"head": 4, "middle_1": 4, "up_0": 2, "up_1": 1, "up_2": 0.5, "up_3": 0.25},
    ),
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_layouts(name: str) -> None:
    how, expected = LAYOUTS[name]
    size = how["size"]
    module = SpadeGenerator(PLAIN, label_features=2, start="labels", **how)
    cond = jnp.zeros((1, size, size), jnp.uint8)
    frames, found = jax.eval_shape(
        module.init_with_output, jax.random.key(0), jnp.zeros((1, 1)), cond
    )
    chex.assert_shape(frames, (1, size, size, 3))
    blocks = {k: v for k, v in found["params"].items() if k not in ("fc", "conv_img")}
    widths = {k: v["conv_1"]["kernel"].shape[-1] / 64 for k, v in blocks.items()}
    assert widths == expected


@pytest.mark.parametrize(
    ("size", "num_frames", "time_stages"), [(8, 0, ()), (64, 0, ()), (8, 3, ()), (32, 8, (0, 2))]
)
def test_shapes_of_outputs(size: int, num_frames: int, time_stages: tuple[int, ...]) -> None:
    module = SpadeGenerator(PLAIN, size, num_frames, 2, 4, time_stages, label_features=2)
    key, z, cond = jax.random.key(0), jnp.zeros((2, 1)), jnp.zeros((2, size, size), jnp.int32)
    frames, _ = jax.eval_shape(module.init_with_output, key, z, cond)
    chex.assert_shape(frames, (2, *example_shape(num_frames, size)))
    chex.assert_type(frames, jnp.float32)


# --- equality with PyTorch


@dataclasses.dataclass(frozen=True)
class Case:
    """A generator, and what PyTorch's is built of.

    Attributes:
      module: ours.
      base: positions at the small end, time first.
      blocks: names, channels, factors of the upsampling before each.
      style: size of the frames that the encoder is given; 0 for none.
      instances: the condition has ids of instances.
    """

    module: SpadeGenerator
    base: tuple[int, ...]
    blocks: tuple[tuple[str, int, tuple[int, ...]], ...]
    style: int = 0
    instances: bool = False


_MORE = dataclasses.replace(
    IMAGE, base_size=2, middle_upsampling=True, features=2, start="labels", labels=FULL
)
CASES = {
    "image, VAE": Case(
        dataclasses.replace(IMAGE, encoder=SpadeEncoder(SIZE, 0, 4, Z_DIM)),
        (4, 4),
        (
            ("head", 8, (1, 1)),
            ("middle_0", 8, (2, 2)),
            ("middle_1", 8, (1, 1)),
            ("up_0", 4, (2, 2)),
        ),
        style=SIZE,
    ),
    "image of instances, more upsamplings, from labels": Case(
        _MORE,
        (2, 2),
        (
            ("head", 8, (1, 1)),
            ("middle_0", 8, (2, 2)),
            ("middle_1", 4, (2, 2)),
            ("up_0", 2, (2, 2)),
        ),
        instances=True,
    ),
    "image, small and bare": Case(
        dataclasses.replace(IMAGE, middle_blocks=1, batch_norm=False, spectral_norm=False),
        (4, 4),
        (("head", 8, (1, 1)), ("middle_1", 8, (2, 2)), ("up_0", 4, (2, 2))),
    ),
    "clip, small, VAE of larger frames": Case(
        dataclasses.replace(
            IMAGE,
            num_frames=4,
            middle_blocks=1,
            time_stages=(1,),
            encoder=SpadeEncoder(8, 4, 4, Z_DIM, (0,)),
        ),
        (2, 4, 4),
        (("head", 8, (1, 1, 1)), ("middle_1", 8, (1, 2, 2)), ("up_0", 4, (2, 2, 2))),
        style=SIZE,
    ),
    "clip from labels": Case(
        dataclasses.replace(IMAGE, size=8, num_frames=4, time_stages=(0,), start="labels"),
        (2, 4, 4),
        (("head", 8, (1, 1, 1)), ("middle_0", 4, (2, 2, 2)), ("middle_1", 4, (1, 1, 1))),
    ),
}


def inputs_of(case: Case) -> tuple[np.ndarray, ...]:
    module = case.module
    cond = draw_cond(BATCH, module.size, instances=case.instances)
    inputs = (draw(BATCH, Z_DIM), cond)
    if not case.style:
        return inputs
    return (*inputs, np.tanh(draw(BATCH, *example_shape(module.num_frames, case.style))))


def torch_encoder(module: SpadeEncoder) -> reference.Encoder:
    return reference.Encoder(
        size=module.size,
        nf=module.features,
        z_dim=module.z_dim,
        frames=module.num_frames,
        time_stages=module.time_stages if module.num_frames else (),
        spectral=module.spectral_norm,
    )


def torch_generator(case: Case) -> reference.Generator:
    module = case.module
    return reference.Generator(
        z_dim=Z_DIM,
        base=case.base,
        blocks=case.blocks,
        labels=module.labels.count,
        hidden=HIDDEN,
        start=module.start,
        batch_norm=module.batch_norm,
        spectral=module.spectral_norm,
        encoder=None if module.encoder is None else torch_encoder(module.encoder),
    )


@pytest.mark.parametrize("name", CASES)
def test_generators_are_pytorchs(name: str) -> None:
    """In training with gradients, and in inference with what that training left behind."""
    case = CASES[name]
    module, inputs = case.module, inputs_of(case)
    variables = draw_variables(module, *inputs)
    theirs = torch_generator(case)
    weights.load(theirs, variables["params"], variables)
    theirs.double()
    z, *style = (torch.from_numpy(x).double() for x in (inputs[0], *inputs[2:]))
    toward = draw(BATCH, *example_shape(module.num_frames, module.size))

    @jax.jit
    def train(variables: Any) -> Any:
        def run(params: Any) -> Any:
            return apply(module, {**variables, "params": params}, *inputs, training=True)

        frames, pullback, after = jax.vjp(run, variables["params"], has_aux=True)
        return frames, after, pullback(jnp.asarray(toward))[0]

    frames, after, gradients = train(variables)
    expected = theirs(z, one_hot(inputs[1], module.labels), *style)
    expected.backward(torch.from_numpy(toward).double())
    assert relative_error(frames, expected.detach()) < 1e-5
    assert float(jnp.max(jnp.abs(frames))) < 1
    check_gradients(theirs, gradients)
    outputs = after.pop("outputs", {})
    check_collections(theirs, after)
    theirs.eval()
    assert set(outputs) == ({"posterior"} if case.style else set())
    if case.style:
        found = outputs["posterior"]
        with torch.no_grad():  # at rest, and with the spectral vectors of that training
            mean, log_variance = theirs.encoder(*style)
        assert relative_error(found["mean"], mean) < 1e-5
        assert relative_error(found["log_variance"], log_variance) < 1e-5

    variables = {"params": variables["params"], **after}
    frames, _ = jax.jit(lambda v: apply(module, v, *inputs, training=False))(variables)
    with torch.no_grad():
        expected = theirs(z, one_hot(inputs[1], module.labels), *style)
    assert relative_error(frames, expected) < 1e-5


@pytest.mark.parametrize(
    ("num_frames", "size", "time_stages"), [(0, 16, ()), (0, 32, ()), (4, 16, (0, 1)), (4, 8, ())]
)
def test_encoders_are_pytorchs(num_frames: int, size: int, time_stages: tuple[int, ...]) -> None:
    """Of frames of 16×16, resized or not; with gradients, spectral vectors at rest."""
    module = SpadeEncoder(size, num_frames, 3, Z_DIM, time_stages)
    frames = np.tanh(draw(BATCH, *example_shape(num_frames)))
    variables = draw_variables(module, frames)
    theirs = torch_encoder(module)
    weights.load(theirs, variables["params"], variables)
    theirs.double().eval()
    toward = draw(2, BATCH, Z_DIM)

    @jax.jit
    def run(params: Any) -> Any:
        def moments(params: Any) -> jax.Array:
            return jnp.stack(module.apply({**variables, "params": params}, frames))  # type: ignore[arg-type]

        y, pullback = jax.vjp(moments, params)
        return y, pullback(jnp.asarray(toward))[0]

    moments, gradients = run(variables["params"])
    expected = torch.stack(theirs(torch.from_numpy(frames).double()))
    expected.backward(torch.from_numpy(toward).double())
    assert relative_error(moments, expected.detach()) < 1e-5
    check_gradients(theirs, gradients)


@pytest.mark.parametrize("axes", [(8, 8), (3, 8, 8)])
@pytest.mark.parametrize("batch_norm", [True, False])
def test_norms_are_pytorchs(axes: tuple[int, ...], batch_norm: bool) -> None:
    """In training, with all gradients: of parameters and of data."""
    module = SpadeNorm(HIDDEN, batch_norm)
    x, cond = draw(BATCH, *axes, 4), draw_cond(BATCH, SIZE, instances=True)
    maps = pyramid(read_label_map(jnp.asarray(cond), FULL, SIZE, BATCH), (8,))
    variables = draw_variables(module, x, maps)
    theirs = reference.Norm(4, FULL.count, HIDDEN, batch_norm)
    weights.load(theirs, variables["params"], variables)
    theirs.double()
    toward = draw(*x.shape)

    @jax.jit
    def run(params: Any, x: Any) -> Any:
        def norm(params: Any, x: Any) -> Any:
            return apply(module, {**variables, "params": params}, x, maps, training=True)

        y, pullback, after = jax.vjp(norm, params, x, has_aux=True)
        return y, after, pullback(jnp.asarray(toward))

    y, after, (gradients, dx) = run(variables["params"], x)
    x_torch = torch.from_numpy(x).double().requires_grad_()
    expected = theirs(x_torch.movedim(-1, 1), one_hot(cond, FULL).movedim(-1, 1)).movedim(1, -1)
    expected.backward(torch.from_numpy(toward).double())
    assert relative_error(y, expected.detach()) < 1e-5
    assert x_torch.grad is not None
    assert relative_error(dx, x_torch.grad) < 1e-5
    check_gradients(theirs, gradients)
    check_collections(theirs, after)


def test_one_scale_and_shift_for_all_frames() -> None:
    """Where data is normalised to 0, a norm's result is β: of the map alone, in every frame."""
    module, x = SpadeNorm(HIDDEN, batch_norm=False), np.zeros((2, 3, 8, 8, 4), np.float32)
    cond = jnp.asarray(draw_cond(2, 8))
    maps = pyramid(read_label_map(cond, PLAIN, 8, 2), (8,))
    variables = draw_variables(module, x, maps)
    y: Any = jax.jit(module.apply)(variables, x, maps)
    assert float(jnp.std(y)) > 0.1
    np.testing.assert_array_equal(y, jnp.broadcast_to(y[:, :1], y.shape))


def test_generator_is_the_plain_one() -> None:
    """One-hot maps at full resolution, resized for each layer: same frames, same gradients."""
    module, case = _MORE, CASES["image of instances, more upsamplings, from labels"]
    z, cond = inputs_of(case)
    variables = draw_variables(module, z, cond)
    labels = read_label_map(jnp.asarray(cond), FULL, SIZE, BATCH)

    @jax.jit
    def both(params: Any) -> Any:
        def ours(params: Any) -> jax.Array:
            chosen = {**variables, "params": params}
            return jnp.sum(jnp.sin(apply(module, chosen, z, cond, training=True)[0]))

        def plain(params: Any) -> jax.Array:
            chosen = {**variables, "params": params}
            return jnp.sum(jnp.sin(apply_plainly(module, chosen, labels, z, cond)[0]))

        return jax.value_and_grad(ours)(params), jax.value_and_grad(plain)(params)

    found, expected = both(variables["params"])
    chex.assert_trees_all_close(found, expected, rtol=1e-4, atol=1e-4)


# --- latents and styles


def test_without_a_style_a_latent_is_used_as_it_is() -> None:
    """A generator with an encoder then is the one without, and gives no posterior."""
    with_encoder = CASES["image, VAE"].module
    z, cond, style = inputs_of(CASES["image, VAE"])
    variables = draw_variables(with_encoder, z, cond)
    assert "encoder" in variables["params"]
    run = jax.jit(apply, static_argnums=0, static_argnames="training")
    frames, after = run(with_encoder, variables, z, cond, training=False)
    assert "outputs" not in after
    plain, _ = run(IMAGE, variables, z, cond, training=False)
    np.testing.assert_array_equal(frames, plain)
    # A style of no variance and of this mean is the same latent.
    encoder = variables["params"]["encoder"]
    for name, value in (("fc_mu", z[0]), ("fc_var", -100.0)):
        encoder[name]["kernel"] = encoder[name]["kernel"] * 0
        encoder[name]["bias"] = encoder[name]["bias"] * 0 + value
    styled, after = run(with_encoder, variables, z * 7, cond, style, training=False)
    wanted, _ = run(IMAGE, variables, np.tile(z[:1], (BATCH, 1)), cond, training=False)
    np.testing.assert_allclose(styled, wanted, rtol=1e-5, atol=1e-5)
    posterior = after["outputs"]["posterior"]
    np.testing.assert_allclose(posterior["mean"], np.tile(z[:1], (BATCH, 1)))
    np.testing.assert_allclose(posterior["log_variance"], np.full((BATCH, Z_DIM), -100.0))


# --- refusals

COND = jnp.zeros((2, SIZE, SIZE), jnp.uint8)
Z = jnp.zeros((2, Z_DIM))


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"size": 12}, r"size \(=12\) must be 8, 16, 32, 64, 128, …: base_size \(=4\) · 2ⁿ"),
        ({"size": 4}, r"size \(=4\) must be 8, 16"),
        ({"base_size": 5}, r"size \(=16\) must be 10, 20, 40"),
        ({"base_size": 32}, r"size \(=16\) must be 64, 128"),
        ({"base_size": 0}, r"base_size \(=0\) must be at least 1"),
        ({"start": "noise"}, r"start \(='noise'\) must be one of dense, labels"),
        ({"middle_blocks": 3}, r"middle_blocks \(=3\) must be 2, or 1 without middle_0"),
        ({"middle_blocks": 0}, r"middle_blocks \(=0\) must be 2, or 1"),
        ({"middle_upsampling": True, "middle_blocks": 1}, "middle_upsampling needs both middle"),
        ({"middle_upsampling": True, "base_size": 8}, r"size \(=16\) at least 4 · base_size \(=8"),
        ({"num_frames": 6}, r"num_frames \(=6\) must be a multiple of 4"),
        ({"num_frames": 8, "time_stages": (0, 2)}, r"time_stages \(=\(0, 2\)\) must be different"),
    ],
)
def test_layouts_refused(changes: dict[str, Any], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        shapes(dataclasses.replace(IMAGE, **changes), Z, COND)


def test_missing_and_other_conditions_are_refused() -> None:
    with pytest.raises(ValueError, match=r"needs a label map: give cond, ids of classes \[b, 16,"):
        shapes(IMAGE, Z)
    with pytest.raises(ValueError, match=r"cond \(2, 8, 8\) must be \(2, 16, 16\)"):
        shapes(IMAGE, Z, COND[:, ::2, ::2])
    with pytest.raises(ValueError, match=r"cond \(1, 16, 16\) must be \(2, 16, 16\)"):
        shapes(IMAGE, Z, COND[:1])


def test_styles_refused() -> None:
    frames = jnp.zeros((2, *example_shape(0)))
    with pytest.raises(ValueError, match="style is of no use to a generator without an encoder"):
        shapes(IMAGE, Z, COND, frames)
    of_images = CASES["image, VAE"].module
    with pytest.raises(ValueError, match=r"style \(2, 4, 16, 16, 3\) must be images"):
        shapes(of_images, Z, COND, jnp.zeros((2, *example_shape(4))))
    with pytest.raises(ValueError, match=r"z \(2, 7\) must be of the shape .* \(2, 6\)"):
        shapes(of_images, jnp.zeros((2, 7)), COND, frames)
    of_clips = CASES["clip, small, VAE of larger frames"].module
    with pytest.raises(ValueError, match=r"style \(2, 3, 16, 16, 3\) must be clips of 4 frames"):
        shapes(of_clips, Z, COND, jnp.zeros((2, *example_shape(3))))
    with pytest.raises(ValueError, match=r"style \(2, 16, 16, 3\) must be clips of 4 frames"):
        shapes(of_clips, Z, COND, frames)
    with pytest.raises(ValueError, match=r"size \(=12\) must be 8, 16"):
        shapes(SpadeEncoder(12), frames)
    with pytest.raises(ValueError, match=r"num_frames \(=6\) must be a multiple of 4"):
        shapes(SpadeEncoder(16, 6, time_stages=(0, 1)), jnp.zeros((2, *example_shape(6))))


def test_a_block_without_its_resolution_is_refused() -> None:
    maps = pyramid(read_label_map(COND, PLAIN, SIZE, 2), (4, 16))
    with pytest.raises(ValueError, match="no label map of 8×8 among those of 4, 16"):
        shapes(SpadeBlock(4), jnp.zeros((2, 8, 8, 4)), maps)

"""DCGAN: its parameters, its equality with PyTorch's in both modes, its refusals."""

import dataclasses
import functools
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

from tests.models.networks import draw_variables, shapes
from tests.reference_torch import dcgan as reference
from tests.reference_torch import weights
from vidgan_jax.models.dcgan import DcganDiscriminator, DcganGenerator, Layout
from vidgan_jax.train.plan import count
from vidgan_jax.types import BATCH_STATS, SPECTRAL, PyTree

Z_DIM = 5
IMAGE = Layout(16, features=4, max_features=6)
# Four frames of two: the second stage, 8×8 to 16×16, doubles time.
CLIP = dataclasses.replace(IMAGE, num_frames=4, time_stages=(1,))
RANKS = pytest.mark.parametrize("layout", [IMAGE, CLIP], ids=["image", "clip"])
# Both norms at both ranks; none of them, which leaves biases everywhere.
LAYOUTS = {
    "image": IMAGE,
    "clip": CLIP,
    "bare image": dataclasses.replace(IMAGE, batch_norm=False, spectral_norm=False),
}


def example_shape(layout: Layout) -> tuple[int, ...]:
    return (*((layout.num_frames,) if layout.num_frames else ()), layout.size, layout.size, 3)


def draw(*shape: int) -> np.ndarray:
    return np.random.default_rng(shape).standard_normal(shape, np.float32)


def relative_error(ours: Any, expected: Any) -> float:
    """‖ours - expected‖ / ‖expected‖ over all elements."""
    wanted = np.asarray(expected, np.float64)
    assert np.shape(ours) == wanted.shape
    assert np.linalg.norm(wanted) > 0
    return float(np.linalg.norm(np.asarray(ours, np.float64) - wanted) / np.linalg.norm(wanted))


# --- parameters

# Rows of the thesis's table 4.2 as printed, in millions: generator, discriminator; then the exact
# counts of the documented layout. (The ResNet's rows are in test_resnet.py.)
TABLE_4_2 = {
    "dcgan_image": ((7.5, 7.0), (7_477_123, 6_960_897)),
    "dcgan_video": ((28.3, 27.8), (28_326_787, 27_810_561)),
}


@pytest.mark.parametrize("row", TABLE_4_2)
def test_sizes_are_the_thesiss(row: str) -> None:
    """128×128 pixels, clips of 32 frames, latents of 64 numbers; all stages double time."""
    printed_m, exact = TABLE_4_2[row]
    layout = Layout(128)
    if row == "dcgan_video":
        layout = Layout(128, 32, time_stages=(0, 1, 2, 3, 4))
    frames = jnp.zeros((1, *example_shape(layout)))
    counts = (
        count(shapes(DcganGenerator(layout), jnp.zeros((1, 64)))),
        count(shapes(DcganDiscriminator(layout), frames)),
    )
    assert counts == exact
    np.testing.assert_allclose(np.divide(counts, 1e6), printed_m, atol=0.1)


def expected_variables(layout: Layout) -> tuple[Any, Any]:
    """Shapes of all variables of `LAYOUTS`, written out: generator's and discriminator's."""
    clip = layout.num_frames > 0
    base, still, moving = (
        ((2, 4, 4), (3, 4, 4), (4, 4, 4)) if clip else ((4, 4), (4, 4), (4, 4))
    )  # from 1×1 to 4×4, 4×4 to 8×8, 8×8 to 16×16

    def network(
        kernels: dict[str, tuple[int, ...]], norms: dict[str, int], biased: set[str]
    ) -> Any:
        params: Any = {name: {"kernel": shape} for name, shape in kernels.items()}
        for name in biased if layout.batch_norm else kernels:
            params[name]["bias"] = kernels[name][-1:]
        variables = {"params": params}
        if layout.batch_norm:
            params |= {name: {"scale": (c,), "bias": (c,)} for name, c in norms.items()}
            stats = {name: {"mean": (c,), "var": (c,)} for name, c in norms.items()}
            variables[BATCH_STATS] = stats
        if layout.spectral_norm:
            vectors = {
                name: {"u": shape[-1:], "v": shape[:-1], "gain": ()}
                for name, shape in kernels.items()
            }
            variables[SPECTRAL] = vectors
        return variables

    generator = network(
        {
            "trunk/deconv_0": (*base, Z_DIM, 6),
            "trunk/deconv_1": (*still, 6, 4),
            "deconv_img": (*moving, 4, 3),
        },
        {"trunk/bn_0": 6, "trunk/bn_1": 4},
        {"deconv_img"},
    )
    discriminator = network(
        {"conv_1": (*moving, 3, 4), "conv_0": (*still, 4, 6), "conv_logit": (*base, 6, 1)},
        {"bn_0": 6},
        {"conv_logit"},
    )
    return generator, discriminator


@pytest.mark.parametrize("batch_norm", [True, False])
@pytest.mark.parametrize("spectral_norm", [True, False])
@RANKS
def test_variables(layout: Layout, spectral_norm: bool, batch_norm: bool) -> None:
    """Channels are 6, 4 from 4×4 to 8×8; in 3D, kernels have one more axis, no other name.

    With batch norm only a network's last layer has a bias, without it all have.
    """
    layout = dataclasses.replace(layout, spectral_norm=spectral_norm, batch_norm=batch_norm)
    inputs = jnp.zeros((2, Z_DIM)), jnp.zeros((2, *example_shape(layout)))
    modules = DcganGenerator(layout), DcganDiscriminator(layout)
    for module, x, expected in zip(modules, inputs, expected_variables(layout), strict=True):
        found = jax.eval_shape(module.init, jax.random.key(0), x)
        flat = {
            f"{collection}/{'/'.join(part.key for part in path)}": leaf
            for collection, tree in found.items()
            for path, leaf in jax.tree.leaves_with_path(tree)
        }
        wanted = {
            f"{collection}/{path}/{name}": shape
            for collection, tree in expected.items()
            for path, leaves in tree.items()
            for name, shape in leaves.items()
        }
        assert {path: leaf.shape for path, leaf in flat.items()} == wanted
        chex.assert_type(list(flat.values()), jnp.float32)


@pytest.mark.parametrize(
    ("size", "num_frames", "time_stages"),
    [
        (8, 0, ()),
        (32, 0, ()),
        (64, 0, ()),
        (128, 0, ()),
        (8, 3, ()),
        (32, 8, (0, 2)),
        (64, 6, (3,)),
        (128, 32, (0, 1, 2, 3, 4)),
    ],
)
def test_shapes_of_outputs(size: int, num_frames: int, time_stages: tuple[int, ...]) -> None:
    """Frames in, one logit out, whichever stages double time; float32."""
    layout = Layout(size, num_frames, 2, 8, time_stages)
    key, z = jax.random.key(0), jnp.zeros((2, Z_DIM))
    frames, _ = jax.eval_shape(DcganGenerator(layout).init_with_output, key, z)
    logits, _ = jax.eval_shape(DcganDiscriminator(layout).init_with_output, key, frames)
    chex.assert_shape(frames, (2, *example_shape(layout)))
    chex.assert_shape(logits, (2,))
    chex.assert_type([frames, logits], jnp.float32)


def test_layout() -> None:
    assert Layout(128).stages == [512, 512, 256, 128, 64]
    assert Layout(16, features=4, max_features=100).stages == [8, 4]
    assert Layout(128).base == (4, 4)
    assert Layout(128, 32, time_stages=(0, 1, 2, 3, 4)).base == (1, 4, 4)
    assert CLIP.base == (2, 4, 4)
    assert [CLIP.widths(i) for i in (0, 1)] == [(3, 4, 4), (4, 4, 4)]
    assert [CLIP.strides(i) for i in (0, 1)] == [(1, 2, 2), (2, 2, 2)]
    assert (IMAGE.widths(0), IMAGE.strides(0)) == ((4, 4), (2, 2))


def test_channels_of_colour_are_a_choice() -> None:
    generator = DcganGenerator(Layout(8, features=2), channels=1)
    frames, _ = jax.eval_shape(generator.init_with_output, jax.random.key(0), jnp.zeros((2, Z_DIM)))
    chex.assert_shape(frames, (2, 8, 8, 1))


@pytest.mark.parametrize("scale", [0.0, 2.0])
def test_initial_values(scale: float) -> None:
    """The DCGAN's own: normal, deviation 0.02, scales of batch norm around 1, its biases 0.

    Or of another scale, in every layer; a transposed one sees a quarter of its taps at a time.
    """
    layout = Layout(8, features=16, init_scale=scale, spectral_norm=False)
    generator, discriminator = DcganGenerator(layout), DcganDiscriminator(layout)

    @jax.jit
    def init(key: jax.Array) -> Any:
        frames = jnp.zeros((1, 8, 8, 3))
        return generator.init(key, jnp.zeros((1, 40))), discriminator.init(key, frames)

    seen = 0
    for variables in init(jax.random.key(0, impl="rbg")):
        for path, leaf in jax.tree.leaves_with_path(variables["params"]):
            layer, name = path[-2].key, path[-1].key
            if layer.startswith("bn"):
                around = (1, 0.02) if name == "scale" else (0, 0)
                np.testing.assert_allclose(np.mean(leaf), around[0], atol=0.02)
                np.testing.assert_allclose(np.std(leaf), around[1], atol=0.012)
            if name == "kernel":
                share = {"deconv_0": 16, "deconv_img": 4}.get(layer, 1)
                fan_in = np.prod(leaf.shape[:-1]) / share
                deviation = np.sqrt(scale / fan_in) if scale else 0.02
                np.testing.assert_allclose(np.std(leaf), deviation, rtol=0.08)
                # A normal distribution goes on where a uniform one ends.
                assert (np.abs(leaf).max() > 2 * deviation) == (scale == 0)
                seen += 1
    assert seen == 4


# --- equality with PyTorch, values and gradients


@dataclasses.dataclass(frozen=True)
class Result:
    """Of one pass of a network.

    Attributes:
      output: frames or logits.
      collections: after it.
      gradients: with respect to parameters and input; of generators, which nothing differentiates
        in inference, in training only.
    """

    output: jax.Array
    collections: Any
    gradients: tuple[PyTree, jax.Array] | None


@functools.cache
def network(name: str, kind: str) -> tuple[Any, Any, np.ndarray, np.ndarray]:
    """A network, its variables, an input and a direction for its output."""
    layout = LAYOUTS[name]
    if kind == "generator":
        module: Any = DcganGenerator(layout)
        x, toward = draw(3, Z_DIM), draw(3, *example_shape(layout))
    else:
        module = DcganDiscriminator(layout)
        x, toward = np.tanh(draw(3, *example_shape(layout))), draw(3)
    return module, draw_variables(module, x), x, toward


def torch_network(name: str, kind: str) -> Any:
    layout = LAYOUTS[name]
    how: dict[str, Any] = {
        "size": layout.size,
        "nf": layout.features,
        "nf_max": layout.max_features,
        "frames": layout.num_frames,
        "time_stages": layout.time_stages,
        "batch_norm": layout.batch_norm,
        "spectral": layout.spectral_norm,
    }
    if kind == "generator":
        return reference.Generator(z_dim=Z_DIM, **how)
    return reference.Discriminator(**how)


@functools.cache
def _compiled(name: str, kind: str, training: bool) -> Any:
    module, variables, _, _ = network(name, kind)
    mutable = [key for key in variables if key != "params"] if training else []

    @jax.jit
    def run(variables: Any, x: Any, toward: Any) -> Any:
        def apply(params: Any, x: Any) -> Any:
            return module.apply({**variables, "params": params}, x, mutable=mutable)

        if kind == "generator" and not training:
            return *apply(variables["params"], x), None
        y, pullback, after = jax.vjp(apply, variables["params"], x, has_aux=True)
        return y, after, pullback(toward)

    return run


def run(name: str, kind: str, variables: Any, x: Any, toward: Any, training: bool) -> Result:
    y, after, gradients = _compiled(name, kind, training)(variables, x, toward)
    assert set(after) == (set(variables) - {"params"} if training else set())
    return Result(y, {**variables, **after}, gradients)


@pytest.mark.parametrize("kind", ["generator", "discriminator"])
@pytest.mark.parametrize("name", LAYOUTS)
def test_networks_are_pytorchs(name: str, kind: str) -> None:
    """In training, and in inference with what that training left behind."""
    _, variables, x, toward = network(name, kind)
    theirs = torch_network(name, kind)
    weights.load(theirs, variables["params"], variables)
    theirs.double()
    for training in (True, False):
        result = run(name, kind, variables, x, toward, training)
        theirs.train(training).zero_grad()
        x_torch = torch.from_numpy(x).double().requires_grad_()
        y_torch = theirs(x_torch)
        y_torch.backward(torch.from_numpy(toward).double())
        assert relative_error(result.output, y_torch.detach()) < 1e-5
        if result.gradients is not None:
            dparams, dx = result.gradients
            assert relative_error(dx, x_torch.grad) < 1e-4
            gradients = weights.as_torch(dparams, weights.transposed(theirs))
            for key, parameter in weights.named_parameters(theirs).items():
                assert relative_error(gradients[key], parameter.grad) < 1e-4, key
        states = weights.collections_as_torch(result.collections)
        for key, buffer in weights.named_collections(theirs).items():
            assert relative_error(states[key], buffer) < 1e-5, key
        variables = {"params": variables["params"], **result.collections}


@pytest.mark.parametrize("kind", ["generator", "discriminator"])
@pytest.mark.parametrize("name", ["image", "clip"])
def test_examples_mix_in_training_only(name: str, kind: str) -> None:
    """An example's result is its own where running statistics count; its place never matters."""
    _, variables, x, toward = network(name, kind)
    others = x.copy()
    others[1:] = x[:0:-1] * 0.5 + 0.25
    for training in (True, False):
        outputs = run(name, kind, variables, x, toward, training).output
        changed = run(name, kind, variables, others, toward, training).output
        moved = run(name, kind, variables, x[::-1], toward, training).output[::-1]
        chex.assert_trees_all_close(moved, outputs, rtol=1e-4, atol=1e-5)
        assert (float(jnp.max(jnp.abs(changed[0] - outputs[0]))) > 1e-4) == training
        if kind == "generator":
            assert float(jnp.max(jnp.abs(outputs))) < 1
            assert float(jnp.std(outputs)) > 0.01


# --- refusals


@pytest.mark.parametrize("size", [0, 4, 12, 20, 48, 100, -8])
def test_sizes_refused(size: int) -> None:
    with pytest.raises(ValueError, match=rf"size \(={size}\) must be 8, 16, 32, 64, 128"):
        shapes(DcganGenerator(Layout(size)), jnp.zeros((1, Z_DIM)))


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
    num_frames: int, time_stages: tuple[int, ...], text: str
) -> None:
    layout = Layout(16, num_frames, 2, time_stages=time_stages)
    with pytest.raises(ValueError, match=text):
        shapes(DcganGenerator(layout), jnp.zeros((1, Z_DIM)))
    with pytest.raises(ValueError, match=text):
        shapes(DcganDiscriminator(layout), jnp.zeros((1, num_frames, 16, 16, 3)))


def test_discriminator_refuses_frames_of_another_size() -> None:
    with pytest.raises(ValueError, match=r"\(1, 8, 16, 3\) must have frames of 16×16"):
        shapes(DcganDiscriminator(IMAGE), jnp.zeros((1, 8, 16, 3)))
    with pytest.raises(ValueError, match="must have frames of 16×16"):
        shapes(DcganDiscriminator(CLIP), jnp.zeros((1, 4, 8, 8, 3)))


def test_discriminator_refuses_other_frames_than_its_layouts() -> None:
    """As its docstring says: also where they can be halved often enough, and an image."""
    with pytest.raises(ValueError, match=r"must be clips of 4 frames"):
        shapes(DcganDiscriminator(CLIP), jnp.zeros((1, 8, 16, 16, 3)))
    with pytest.raises(ValueError, match=r"must be clips of 4 frames"):
        shapes(DcganDiscriminator(CLIP), jnp.zeros((1, 16, 16, 3)))


@RANKS
def test_conditions_are_refused(layout: Layout) -> None:
    cond = jnp.zeros((1, 16, 16), jnp.uint8)
    with pytest.raises(ValueError, match="unconditional"):
        shapes(DcganGenerator(layout), jnp.zeros((1, Z_DIM)), cond)
    with pytest.raises(ValueError, match="unconditional"):
        shapes(DcganDiscriminator(layout), jnp.zeros((1, *example_shape(layout))), cond)

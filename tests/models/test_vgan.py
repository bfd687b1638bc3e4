"""VGAN's two streams: each against PyTorch, their composition, and what is handed out beside it."""

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from flax import traverse_util

from tests.models.networks import draw_variables, shapes
from tests.reference_torch import dcgan as reference
from tests.reference_torch import weights
from vidgan_jax.models.dcgan import DcganGenerator, Layout
from vidgan_jax.models.vgan import VganGenerator
from vidgan_jax.train.plan import count
from vidgan_jax.types import BATCH_STATS, OUTPUTS, SPECTRAL

Z_DIM = 5
IMAGE = Layout(8, features=4)
CLIP = dataclasses.replace(IMAGE, num_frames=4, time_stages=(0,))
RANKS = pytest.mark.parametrize("layout", [IMAGE, CLIP], ids=["image", "clip"])
TRAINING = (BATCH_STATS, SPECTRAL)


@functools.cache
def network(layout: Layout) -> tuple[VganGenerator, Any, np.ndarray]:
    """A generator, its variables, latents."""
    module = VganGenerator(layout)
    z = np.random.default_rng(0).standard_normal((3, Z_DIM), np.float32)
    return module, draw_variables(module, z), z


@functools.partial(jax.jit, static_argnums=(0, 3))
def run(
    module: VganGenerator, variables: Any, z: Any, mutable: tuple[str, ...]
) -> tuple[jax.Array, Any]:
    return module.apply(variables, z, mutable=list(mutable))


def streams_of(layout: Layout, *mutable: str) -> tuple[jax.Array, dict[str, jax.Array]]:
    """Frames and streams, with what else may change."""
    frames, changed = run(*network(layout), (*mutable, OUTPUTS))
    assert set(changed) == {*mutable, OUTPUTS}
    assert set(changed[OUTPUTS]) == {"streams"}
    return frames, changed[OUTPUTS]["streams"]


def relative_error(ours: Any, expected: Any) -> float:
    """‖ours - expected‖ / ‖expected‖ over all elements."""
    wanted = np.asarray(expected, np.float64)
    assert np.shape(ours) == wanted.shape
    return float(np.linalg.norm(np.asarray(ours, np.float64) - wanted) / np.linalg.norm(wanted))


# --- the composition


@RANKS
@pytest.mark.parametrize("mutable", [(), TRAINING], ids=["inference", "training"])
def test_frames_are_composed_of_the_streams(layout: Layout, mutable: tuple[str, ...]) -> None:
    """`m⊙f + (1-m)⊙b`: a mask in (0, 1) for all colours, one background for all frames."""
    frames, streams = streams_of(layout, *mutable)
    time = (4,) if layout.num_frames else ()
    expected = {
        "mask": (3, *time, 8, 8, 1),
        "foreground": (3, *time, 8, 8, 3),
        "background": (3, *(1,) * len(time), 8, 8, 3),
    }
    assert {name: leaf.shape for name, leaf in streams.items()} == expected
    chex.assert_type([frames, *streams.values()], jnp.float32)
    m, f, b = (np.asarray(streams[name], np.float64) for name in expected)
    np.testing.assert_allclose(frames, m * f + (1 - m) * b, rtol=1e-5, atol=1e-6)
    assert 0 < m.min() < m.max() < 1
    for stream in (f, b, np.asarray(frames)):
        assert np.abs(stream).max() < 1
        assert np.std(stream) > 0.01


def test_nothing_moves_behind_a_closed_mask() -> None:
    """Where the mask is 0 everywhere, a clip is its background, still; where 1, its foreground."""
    module, variables, z = network(CLIP)
    for bias, stream in ((-200.0, "background"), (200.0, "foreground")):
        mask = {**variables["params"]["deconv_mask"], "bias": np.full(1, bias, np.float32)}
        closed = {**variables, "params": {**variables["params"], "deconv_mask": mask}}
        frames, changed = run(module, closed, z, (OUTPUTS,))
        expected = jnp.broadcast_to(changed[OUTPUTS]["streams"][stream], frames.shape)
        np.testing.assert_allclose(frames, expected, atol=1e-6)
        movement = float(jnp.max(jnp.abs(frames[:, 1:] - frames[:, :-1])))
        assert movement < 1e-6 if stream == "background" else movement > 0.01


# --- the streams


@RANKS
def test_streams_are_pytorchs(layout: Layout) -> None:
    """The foreground is a DCGAN's, the background one of images; the mask has but its own end."""
    _, variables, z = network(layout)
    _, streams = streams_of(layout)
    clip = {"frames": layout.num_frames, "time_stages": layout.time_stages}
    moving = {"trunk": "trunk"}
    for stream, how, parts in (
        ("foreground", clip, moving | {"deconv_img": "deconv_foreground"}),
        (
            "mask",
            clip | {"channels": 1, "activation": torch.sigmoid},
            moving | {"deconv_img": "deconv_mask"},
        ),
        ("background", {}, {"trunk": "background/trunk", "deconv_img": "background/deconv_img"}),
    ):
        module = reference.Generator(
            z_dim=Z_DIM,
            size=8,
            nf=4,
            nf_max=512,
            **how,  # type: ignore[arg-type]
        ).eval()
        own = {collection: _pick(tree, parts) for collection, tree in variables.items()}
        weights.load(module, own["params"], own)
        expected = module.double()(torch.from_numpy(z).double()).detach().numpy()
        if stream == "background" and layout.num_frames:
            expected = expected[:, None]
        assert relative_error(streams[stream], expected) < 1e-5, stream


def _pick(tree: Any, parts: Mapping[str, str]) -> Any:
    """A smaller tree: names and the subtrees, by their paths, that they get."""
    picked = {}
    for path, leaf in traverse_util.flatten_dict(tree, sep="/").items():
        for name, whence in parts.items():
            if path.startswith(f"{whence}/"):
                picked[f"{name}{path.removeprefix(whence)}"] = leaf
    return traverse_util.unflatten_dict(picked, sep="/")


# --- what is handed out beside the frames


@RANKS
def test_streams_are_only_for_those_who_ask(layout: Layout) -> None:
    """Nothing is kept at initialisation; asking adds no operation, and changes no frame."""
    module, variables, z = network(layout)
    found = jax.eval_shape(module.init, jax.random.key(0), z)
    assert set(found) == {"params", BATCH_STATS, SPECTRAL}
    asked, _ = streams_of(layout)
    for mutable in ((), (BATCH_STATS,)):
        frames, changed = run(module, variables, z, mutable)
        assert OUTPUTS not in changed
        if not mutable:
            chex.assert_trees_all_equal(frames, asked)

    def operations(mutable: tuple[str, ...]) -> tuple[int, int]:
        jaxpr = jax.make_jaxpr(lambda v, z: module.apply(v, z, mutable=list(mutable)))
        program = jaxpr(variables, z).jaxpr
        return len(program.eqns), len(program.outvars)

    without, with_streams = operations(()), operations((OUTPUTS,))
    assert with_streams[0] == without[0]
    assert (without[1], with_streams[1]) == (1, 4)


def test_asking_twice_gives_the_latest() -> None:
    """What an earlier call has left in the collection is replaced, not appended to."""
    module, variables, z = network(IMAGE)
    _, first = run(module, variables, z, (OUTPUTS,))
    again = {**variables, OUTPUTS: jax.tree.map(jnp.zeros_like, first[OUTPUTS])}
    _, second = run(module, again, z, (OUTPUTS,))
    chex.assert_trees_all_equal(second, first)


# --- parameters


@pytest.mark.parametrize("size", [16, 128])
def test_images_and_clips_have_the_same_parameters_by_name(size: int) -> None:
    """Background's and all; kernels of the moving stream have one more axis."""
    flat = Layout(size, features=4, max_features=8)
    moving = dataclasses.replace(flat, num_frames=8, time_stages=(0, 1))
    z = jnp.zeros((1, Z_DIM))
    of_image, of_clip = (
        traverse_util.flatten_dict(shapes(VganGenerator(layout), z), sep="/")
        for layout in (flat, moving)
    )
    assert set(of_clip) == set(of_image)
    for name, leaf in of_image.items():
        grows = name.endswith("kernel") and not name.startswith("background")
        assert of_clip[name].shape[int(grows) :] == leaf.shape
    ends = {name.split("/")[0] for name in of_clip}
    assert ends == {"trunk", "deconv_foreground", "deconv_mask", "background"}
    background = traverse_util.flatten_dict(shapes(DcganGenerator(flat), z), sep="/")
    found = {n.removeprefix("background/"): s for n, s in of_clip.items() if "background" in n}
    assert found == background


def test_size_of_the_whole() -> None:
    """A DCGAN of clips, one of images, and the mask's layer: 64·4·4·4 weights and a bias."""
    layout = Layout(128, 32, time_stages=(0, 1, 2, 3, 4))
    total = count(shapes(VganGenerator(layout), jnp.zeros((1, 64))))
    assert total == 28_326_787 + 7_477_123 + 64 * 4**3 + 1


@RANKS
def test_shapes_of_outputs(layout: Layout) -> None:
    frames = jax.eval_shape(lambda: run(*network(layout), ())[0])
    chex.assert_shape(frames, (3, *((4,) if layout.num_frames else ()), 8, 8, 3))
    grey = VganGenerator(layout, channels=1)
    frames, _ = jax.eval_shape(grey.init_with_output, jax.random.key(0), jnp.zeros((2, Z_DIM)))
    assert frames.shape[-1] == 1


# --- refusals


@RANKS
def test_conditions_are_refused(layout: Layout) -> None:
    with pytest.raises(ValueError, match="unconditional"):
        shapes(VganGenerator(layout), jnp.zeros((1, Z_DIM)), jnp.zeros((1, 8, 8), jnp.uint8))


def test_layouts_are_refused() -> None:
    z = jnp.zeros((1, Z_DIM))
    with pytest.raises(ValueError, match=r"size \(=12\) must be 8, 16, 32, 64, 128"):
        shapes(VganGenerator(Layout(12)), z)
    with pytest.raises(ValueError, match=r"num_frames \(=7\) must be a multiple of 2"):
        shapes(VganGenerator(Layout(8, 7, time_stages=(0,))), z)
    with pytest.raises(ValueError, match=r"time_stages \(=\(1,\)\) must be different numbers"):
        shapes(VganGenerator(Layout(8, 8, time_stages=(1,))), z)

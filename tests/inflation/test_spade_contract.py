"""The contract for SPADE: on still clips its 3D networks compute what their 2D origins do."""

import dataclasses
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import traverse_util

from tests.inflation.cases import as_still, draw_variables, relative_error, stills
from vidgan_jax.inflation import PROFILES, inflate_variables, target_of
from vidgan_jax.layers.labels import LabelChannels
from vidgan_jax.models.spade import SpadeDiscriminator, SpadeEncoder, SpadeGenerator
from vidgan_jax.types import OUTPUTS

TOLERANCE = 1e-5
BATCH, FRAMES, SIZE, Z_DIM = 3, 4, 16, 5
LABELS = LabelChannels(4, dont_care=True, edges=True)
# What touches the label map alone.
LABEL_BRANCH = ("mlp_shared", "mlp_gamma", "mlp_beta")

_RNG = np.random.default_rng(0)
Z = _RNG.standard_normal((BATCH, Z_DIM), np.float32)
COND = _RNG.integers(0, 6, (BATCH, SIZE // 4, SIZE // 4)).repeat(4, axis=1).repeat(4, axis=2)
IMAGES = _RNG.uniform(-1, 1, (BATCH, SIZE, SIZE, 3)).astype(np.float32)

_FLAT = SpadeGenerator(
    LABELS, SIZE, features=4, max_features=6, label_features=4, middle_blocks=1, time_stages=(1,)
)
_PATCHES = SpadeDiscriminator(LABELS, SIZE, features=4, layers=2)


def _moving(module: Any) -> Any:
    """The 3D network."""
    changes: dict[str, Any] = {"num_frames": FRAMES}
    if encoder := getattr(module, "encoder", None):
        changes["encoder"] = _moving(encoder)
    return dataclasses.replace(module, **changes)


# A 2D network and its inputs; what has as many axes as images is a still clip to the 3D one.
NETWORKS: dict[str, tuple[Any, tuple[Any, ...]]] = {
    # Two frames at the small end; the encoder halves time once, too.
    "generator with encoder": (
        dataclasses.replace(_FLAT, encoder=SpadeEncoder(SIZE, 0, 3, Z_DIM, (0,))),
        (Z, COND, IMAGES),
    ),
    "generator from labels": (
        dataclasses.replace(_FLAT, start="labels", batch_norm=False, middle_blocks=2),
        (Z, COND),
    ),
    "discriminator": (_PATCHES, (IMAGES, COND)),
    "discriminator, padded": (
        dataclasses.replace(_PATCHES, padding=2, last_stride=1),
        (IMAGES, COND),
    ),
    "encoder": (SpadeEncoder(8, 0, 3, Z_DIM, (0,)), (IMAGES,)),
}


def still(inputs: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(stills(x, FRAMES) if x.ndim == 4 else x for x in inputs)


def apply(module: Any, variables: Any, inputs: Any, training: bool) -> tuple[Any, Any]:
    """Everything that a network gives, and its collections after it."""
    moving = [name for name in variables if name != "params"] if training else []

    @jax.jit
    def run(variables: Any, inputs: Any) -> Any:
        return module.apply(variables, *inputs, mutable=[*moving, OUTPUTS])

    result, after = run(variables, inputs)
    after = dict(after)
    return (result, after.pop(OUTPUTS, {})), {**variables, **after}


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("name", NETWORKS)
def test_networks(name: str, profile: str) -> None:
    """Results, posterior and features, in both modes; statistics and vectors move alike."""
    flat, inputs = NETWORKS[name]
    moving, clips = _moving(flat), still(inputs)
    variables = draw_variables(flat, *inputs)
    target = target_of(moving, *clips)
    inflated = inflate_variables(variables, target, profile=profile)
    chex.assert_trees_all_equal_shapes_and_dtypes(inflated, target.variables)
    for training in (False, True):
        want, after = apply(flat, variables, inputs, training)
        got, after_3d = apply(moving, inflated, clips, training)
        chex.assert_trees_all_equal_structs(got, want)
        for image, clip in zip(*map(jax.tree.leaves, (want, got)), strict=True):
            assert float(jnp.std(image)) > 1e-3
            assert relative_error(clip, as_still(image, clip)) < TOLERANCE
    expected = inflate_variables(after, target, profile=profile)
    chex.assert_trees_all_close(after_3d, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["generator with encoder", "generator from labels"])
def test_what_sees_the_map_alone_stays_as_it_is(name: str) -> None:
    """Bit for bit: the label branches, and the first layer where it convolves the map."""
    flat, inputs = NETWORKS[name]
    variables = draw_variables(flat, *inputs)
    inflated = inflate_variables(variables, target_of(_moving(flat), *still(inputs)))
    before, after = (traverse_util.flatten_dict(v["params"]) for v in (variables, inflated))
    branch = [path for path in before if path[-2] in LABEL_BRANCH]
    if flat.start == "labels":
        branch += [("fc", "kernel"), ("fc", "bias")]
    assert len(branch) >= 2 * 3 * 6
    for path in branch:
        np.testing.assert_array_equal(after[path], before[path])
    kernels = [path for path in before if path[-1] == "kernel" and path not in branch]
    assert all(after[path].ndim == 5 for path in kernels if before[path].ndim == 4)


def test_every_activation_of_every_layer() -> None:
    """What the generator's modules give, in training: images' in each frame, or one for all."""
    flat, inputs = NETWORKS["generator with encoder"]
    variables = draw_variables(flat, *inputs)
    moving, clips = _moving(flat), still(inputs)
    inflated = inflate_variables(variables, target_of(moving, *clips))

    def activations(module: Any, variables: Any, inputs: Any) -> Any:
        names = [name for name in variables if name != "params"]

        @jax.jit
        def run(variables: Any, inputs: Any) -> Any:
            _, state = module.apply(
                variables, *inputs, mutable=[*names, "intermediates"], capture_intermediates=True
            )
            return state["intermediates"]

        return traverse_util.flatten_dict(run(variables, inputs))

    want, got = activations(flat, variables, inputs), activations(moving, inflated, clips)
    assert want.keys() == got.keys()
    assert len(want) > 40
    for path, of_image in want.items():
        of_map = not set(path).isdisjoint(LABEL_BRANCH)
        for image, clip in zip(jax.tree.leaves(of_image), jax.tree.leaves(got[path]), strict=True):
            assert (clip.ndim == image.ndim) == (of_map or image.ndim < 4), path
            expected = as_still(image, clip)
            if path[0] == "fc":  # all frames of the small end in one vector
                expected = jnp.tile(image, clip.shape[1] // image.shape[1])
            assert relative_error(clip, expected) < TOLERANCE, path

"""Moments of optimisers: what training the 3D network on still clips would have gathered."""

from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen as nn

from tests.inflation.cases import Layer, draw_variables, relative_error, stills
from vidgan_jax.inflation import inflate_moments, inflate_variables, target_of
from vidgan_jax.train.state import moments_of, with_moments

IMAGES = np.random.default_rng(1).standard_normal((3, 6, 5, 4), np.float32)


def gradients(module: nn.Module, variables: Any, inputs: Any, frames: int = 0) -> Any:
    """Of a loss that is the mean over frames."""
    rest = {name: value for name, value in variables.items() if name != "params"}

    def loss(params: Any) -> jax.Array:
        output = jnp.asarray(module.apply({"params": params, **rest}, inputs))
        still = output.mean(axis=1) if frames and output.ndim == 5 else output
        return jnp.sum(jnp.sin(3 * still))

    return jax.grad(loss)(variables["params"])


def assert_close(got: Any, want: Any) -> None:
    """Leaf by leaf, to the accuracy of gradients."""
    chex.assert_trees_all_equal_shapes(got, want)
    for g, w in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
        assert relative_error(g, w) < 1e-4


@pytest.mark.parametrize(
    "layer",
    [
        Layer("conv", (3, 3, 3), spectral_norm=False),
        Layer("conv", (4, 3, 3), (2, 1, 1), spectral_norm=False),
        Layer("conv", (3, 3, 3), spectral_norm=True),
        Layer("conv_transpose", (4, 4, 4), (2, 2, 2), spectral_norm=False),
        Layer("conv_transpose", (4, 4, 4), (2, 2, 2), spectral_norm=True),
        Layer("dense_end"),
    ],
    ids=["conv", "strided", "spectral", "transposed", "spectral transposed", "rows"],
)
def test_gradients_on_still_clips_are_the_inflated_gradients(layer: Layer) -> None:
    """A tap has the 2D kernel's gradient, one of a phase its share: not the kernel's 1/T."""
    variables, clips = draw_variables(layer, IMAGES), stills(IMAGES, 4)
    target = target_of(layer, clips)
    flat = gradients(layer, variables, IMAGES)
    want = gradients(layer, inflate_variables(variables, target), clips, frames=4)
    moments = {"mu": flat, "nu": jax.tree.map(jnp.square, flat), "count": 3}
    got = inflate_moments(moments, variables["params"], target)
    assert_close(got["mu"], want)
    squares = jax.tree.map(jnp.square, want)
    assert_close(got["nu"], squares)
    assert got["count"] == 3


def test_columns_share_the_gradient_of_what_they_repeat() -> None:
    latents, start = IMAGES[:, 0, 0], Layer("dense_start", spectral_norm=False)
    moving = start.clone(frames=4)
    variables, target = draw_variables(start, latents), target_of(moving, latents)
    flat = gradients(start, variables, latents)
    want = gradients(moving, inflate_variables(variables, target), latents, frames=4)
    got = inflate_moments({"nu": jax.tree.map(jnp.square, flat)}, variables["params"], target)
    squares = jax.tree.map(jnp.square, want)
    assert_close(got["nu"], squares)


PARAMS = {"layer": {"kernel": jnp.ones((3, 3, 2, 4)), "bias": jnp.ones(4)}}


@pytest.mark.parametrize(
    ("optimizer", "kept"),
    [
        (optax.adam(optax.linear_schedule(1, 0, 9)), {"mu", "nu", "count"}),
        (optax.rmsprop(0.1), {"nu"}),
    ],
)
def test_moments_are_found_and_put_back(
    optimizer: optax.GradientTransformation, kept: set[str]
) -> None:
    """Schedules start anew: their count is no moment."""
    _, state = optimizer.update(PARAMS, optimizer.init(PARAMS), PARAMS)
    moments = moments_of(state)
    assert kept <= moments.keys() <= {"mu", "nu", "count"}
    fresh = optimizer.init(PARAMS)
    filled = with_moments(fresh, moments)
    chex.assert_trees_all_equal_structs(filled, fresh)
    chex.assert_trees_all_equal(moments_of(filled), moments)
    assert filled[1] == fresh[1]
    with pytest.raises(ValueError, match=r"set config\.init\.opt_state=False"):
        with_moments(fresh, {"trace": moments["nu"]})


def test_an_optimiser_without_moments() -> None:
    assert moments_of(optax.sgd(0.1).init(PARAMS)) == {}

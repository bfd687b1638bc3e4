"""Spectral norm against an SVD and PyTorch's; when the singular vectors move, and what stays."""

import functools
import itertools
from collections.abc import Callable
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from flax import linen as nn
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.models.networks import draw_variables
from tests.reference_torch import derivatives, weights
from tests.reference_torch import layers as reference
from vidgan_jax.layers import Conv, ConvTranspose, Dense
from vidgan_jax.layers.spectral import spectral_normalize
from vidgan_jax.types import BATCH_STATS, SPECTRAL

UPDATE, FROZEN = (SPECTRAL,), ()
MODES = pytest.mark.parametrize("mutable", [UPDATE, FROZEN], ids=["update", "frozen"])

# Our layer, the shape of its input, PyTorch's layer.
Case = tuple[Any, tuple[int, ...], Callable[[], torch.nn.Module]]
LAYERS: dict[str, Case] = {
    "image": (
        Conv(4, spectral_norm=True),
        (2, 5, 4, 3),
        lambda: reference.Conv(3, 4, (3, 3), spectral=True),
    ),
    "clip": (
        Conv(4, (2, 3, 3), (1, 2, 2), spectral_norm=True),
        (2, 3, 5, 4, 3),
        lambda: reference.Conv(3, 4, (2, 3, 3), (1, 2, 2), spectral=True),
    ),
    "logit": (
        Conv(1, (2, 4, 4), padding="valid", spectral_norm=True),
        (2, 2, 4, 4, 3),
        lambda: torch.nn.utils.spectral_norm(torch.nn.Conv3d(3, 1, (2, 4, 4))),
    ),
    "transposed image": (
        ConvTranspose(4, spectral_norm=True),
        (2, 3, 2, 3),
        lambda: reference.ConvTranspose(3, 4, (4, 4), (2, 2), spectral=True),
    ),
    "transposed clip": (
        ConvTranspose(4, (3, 4, 4), (1, 2, 2), spectral_norm=True),
        (2, 2, 3, 2, 3),
        lambda: reference.ConvTranspose(3, 4, (3, 4, 4), (1, 2, 2), spectral=True),
    ),
    "dense": (
        Dense(4, spectral_norm=True),
        (2, 5),
        lambda: torch.nn.utils.spectral_norm(torch.nn.Linear(5, 4)),
    ),
}
NAMES = pytest.mark.parametrize("name", LAYERS)
SOME = pytest.mark.parametrize("name", ["image", "transposed clip", "dense"])


def draw(shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    return np.random.default_rng([seed, *shape]).standard_normal(shape, np.float32)


def relative_error(ours: Any, expected: Any) -> float:
    """‖ours - expected‖ / ‖expected‖ over all elements."""
    wanted = np.asarray(expected, np.float64)
    assert np.shape(ours) == wanted.shape
    return float(np.linalg.norm(np.asarray(ours, np.float64) - wanted) / np.linalg.norm(wanted))


@functools.cache
def case(name: str) -> tuple[Any, Any, np.ndarray]:
    """A layer, its variables (vectors near, not at, their goals), an input."""
    layer, shape, _ = LAYERS[name]
    x = draw(shape)
    return layer, draw_variables(layer, x), x


@functools.partial(jax.jit, static_argnums=(0, 3))
def run(layer: Any, variables: Any, x: Any, mutable: tuple[str, ...]) -> tuple[jax.Array, Any]:
    return layer.apply(variables, x, mutable=list(mutable))


@functools.partial(jax.jit, static_argnums=0)
def without_norm(layer: Any, kernel: Any, bias: Any, x: Any) -> jax.Array:
    """The same layer with this kernel, as it is."""
    plain = layer.clone(spectral_norm=False)
    return plain.apply({"params": {"kernel": kernel, "bias": bias}}, x)


@functools.partial(jax.jit, static_argnums=(0, 3))
def train(layer: Any, variables: Any, x: Any, updates: int) -> Any:
    """The collection after so many updates."""

    def update(state: Any, _: None) -> tuple[Any, None]:
        _, after = layer.apply({**variables, SPECTRAL: state}, x, mutable=[SPECTRAL])
        return after[SPECTRAL], None

    return jax.lax.scan(update, variables[SPECTRAL], length=updates)[0]


def as_matrix(kernel: Any) -> np.ndarray:
    """Output channels are columns; float64."""
    return np.asarray(kernel, np.float64).reshape(-1, kernel.shape[-1])


def sigma_of(kernel: Any) -> float:
    return float(np.linalg.svd(as_matrix(kernel), compute_uv=False)[0])


def estimate(state: Any, kernel: Any) -> float:
    """`vᵀ·W·u`."""
    v, u = (np.asarray(state[name], np.float64).ravel() for name in "vu")
    return float(v @ as_matrix(kernel) @ u)


def iterated(state: Any, kernel: Any) -> dict[str, np.ndarray]:
    """One power iteration, as in algorithm 1 of the paper: v from u, u from v."""
    matrix = as_matrix(kernel)
    v = matrix @ np.asarray(state["u"], np.float64)
    v /= np.linalg.norm(v)
    u = matrix.T @ v
    u /= np.linalg.norm(u)
    return {"u": u, "v": v.reshape(np.shape(state["v"])), "gain": np.ones(())}


# --- equality with PyTorch


@NAMES
@MODES
def test_spectral_norm_is_pytorchs(name: str, mutable: tuple[str, ...]) -> None:
    """Values, gradients, and the vectors after an update, of which PyTorch's come from ours."""
    layer, variables, x = case(name)

    @jax.jit
    def everything(variables: Any, x: Any, toward: Any) -> Any:
        def apply(params: Any, x: Any) -> Any:
            return layer.apply({**variables, "params": params}, x, mutable=list(mutable))

        y, pullback, after = jax.vjp(apply, variables["params"], x, has_aux=True)
        return y, after, pullback(toward)

    toward = draw(jax.eval_shape(lambda: run(layer, variables, x, FROZEN)[0]).shape, seed=1)
    y, after, (dparams, dx) = everything(variables, x, toward)

    module = LAYERS[name][2]().train(bool(mutable))
    weights.load(module, variables["params"], variables)
    module.double()
    x_torch = torch.from_numpy(x).double().requires_grad_()
    y_torch = module(x_torch.movedim(-1, 1)).movedim(1, -1)
    y_torch.backward(torch.from_numpy(toward).double())
    assert relative_error(y, y_torch.detach()) < 1e-6
    assert relative_error(dx, x_torch.grad) < 1e-6
    gradients = weights.as_torch(dparams, weights.transposed(module))
    for key, parameter in weights.named_parameters(module).items():
        assert relative_error(gradients[key], parameter.grad) < 1e-5, key
    states = weights.collections_as_torch(after if mutable else variables)
    for key, buffer in weights.named_collections(module).items():
        assert relative_error(states[key], buffer) < 1e-6, key


def test_r1_through_spectral_norm_is_pytorchs() -> None:
    """The gradient of a penalty on the gradient: there, σ is differentiated twice."""
    layer, variables, x = case("image")

    @jax.jit
    @jax.grad
    def gradient(params: Any) -> jax.Array:
        def critic(x: Any) -> jax.Array:
            return jnp.sum(jnp.tanh(layer.apply({**variables, "params": params}, x)))

        return jnp.sum(jnp.square(jax.grad(critic)(x)))

    module = LAYERS["image"][2]().eval()
    weights.load(module, variables["params"], variables)
    module.double()

    def critic(x: torch.Tensor) -> torch.Tensor:
        return module(x.movedim(-1, 1)).tanh().flatten(1).sum(1)

    derivatives.r1(critic, torch.from_numpy(x).double()).sum().backward()
    gradients = weights.as_torch(gradient(variables["params"]))
    for key, parameter in weights.named_parameters(module).items():
        assert relative_error(gradients[key], parameter.grad) < 1e-5, key


# --- what the layer computes with


@NAMES
def test_frozen_layers_use_the_stored_vectors(name: str) -> None:
    """As they are, good or bad; and leave them. Another collection's training does not matter."""
    layer, variables, x = case(name)
    kernel, bias = variables["params"]["kernel"], variables["params"]["bias"]
    sigma = estimate(variables[SPECTRAL], kernel)
    assert abs(sigma - sigma_of(kernel)) > 1e-3 * sigma
    expected = without_norm(layer, kernel / np.float32(sigma), bias, x)
    y, after = run(layer, variables, x, FROZEN)
    assert relative_error(y, expected) < 1e-6
    assert after == {}
    other, after = run(layer, variables, x, (BATCH_STATS,))
    chex.assert_trees_all_equal(other, y)
    assert not after


@NAMES
def test_an_update_is_one_iteration(name: str) -> None:
    """The output is of the new vectors already; the kernel and the gain stay."""
    layer, variables, x = case(name)
    kernel, bias = variables["params"]["kernel"], variables["params"]["bias"]
    expected = iterated(variables[SPECTRAL], kernel)
    before = jax.tree.map(np.copy, variables)
    y, after = run(layer, variables, x, ("params", SPECTRAL))
    chex.assert_trees_all_close(dict(after[SPECTRAL]), expected, rtol=1e-5, atol=1e-6)
    chex.assert_trees_all_equal(after["params"], before["params"])
    chex.assert_trees_all_equal(variables, before)
    by_new = without_norm(layer, kernel / np.float32(estimate(expected, kernel)), bias, x)
    assert relative_error(y, by_new) < 1e-6
    for vector in "uv":
        np.testing.assert_allclose(np.linalg.norm(after[SPECTRAL][vector]), 1, rtol=1e-6)


@NAMES
def test_sigma_converges_tracks_a_change_and_freezes(name: str) -> None:
    layer, variables, x = case(name)
    kernel, bias = variables["params"]["kernel"], variables["params"]["bias"]
    state = train(layer, variables, x, 300)
    np.testing.assert_allclose(estimate(state, kernel), sigma_of(kernel), rtol=1e-5)
    y, _ = run(layer, {**variables, SPECTRAL: state}, x, FROZEN)
    expected = without_norm(layer, kernel / np.float32(sigma_of(kernel)), bias, x)
    assert relative_error(y, expected) < 1e-5

    # Another kernel: one iteration helps, many arrive.
    changed = draw(kernel.shape, seed=7)
    after: Any = {**variables, "params": {"kernel": changed, "bias": bias}, SPECTRAL: state}
    sigma, gaps = sigma_of(changed), []
    for updates in (0, 1, 300):
        now = train(layer, after, x, updates) if updates else state
        gaps.append(sigma - abs(estimate(now, changed)))
    assert gaps[0] > 0.1 * sigma
    assert gaps[1] < 0.9 * gaps[0]
    assert abs(gaps[2]) < 1e-5 * sigma

    # Frozen, it goes on with what it has.
    y, _ = run(layer, after, x, FROZEN)
    expected = without_norm(layer, changed / np.float32(estimate(state, changed)), bias, x)
    assert relative_error(y, expected) < 1e-4


@SOME
def test_the_gain_multiplies(name: str) -> None:
    """By the kernel's side of the layer, bias apart; no gradient reaches it."""
    layer, variables, x = case(name)
    bias, state = variables["params"]["bias"], variables[SPECTRAL]
    louder = {**variables, SPECTRAL: {**state, "gain": np.float32(2.5)}}
    for mutable in (UPDATE, FROZEN):
        y, _ = run(layer, variables, x, mutable)
        y_louder, after = run(layer, louder, x, mutable)
        assert relative_error(y_louder - bias, 2.5 * (y - bias)) < 1e-6
        if mutable:
            assert float(after[SPECTRAL]["gain"]) == 2.5

    @jax.jit
    @jax.grad
    def slope(gain: jax.Array) -> jax.Array:
        return layer.apply({**variables, SPECTRAL: {**state, "gain": gain}}, x).sum()

    assert float(slope(jnp.ones(()))) == 0


@SOME
@MODES
def test_the_kernels_scale_does_not_matter(name: str, mutable: tuple[str, ...]) -> None:
    """Nor to the vectors; so the gradient is at right angles to the kernel."""
    layer, variables, x = case(name)
    params = variables["params"]

    @jax.jit
    def both(scale: jax.Array) -> Any:
        def loss(kernel: jax.Array) -> Any:
            scaled = {**variables, "params": {**params, "kernel": kernel}}
            y, after = layer.apply(scaled, x, mutable=list(mutable))
            return jnp.sum(jnp.square(y)), (y, after)

        kernel = scale * params["kernel"]
        (_, aux), gradient = jax.value_and_grad(loss, has_aux=True)(kernel)
        return aux, jnp.vdot(gradient, kernel), jnp.linalg.norm(gradient) * jnp.linalg.norm(kernel)

    once, _, _ = both(jnp.ones(()))
    for scale in (1e-3, 30.0):
        again, product, lengths = both(jnp.asarray(scale))
        chex.assert_trees_all_close(again, once, rtol=1e-5, atol=1e-5)
        assert abs(float(product)) < 1e-5 * float(lengths)


# --- the start


class Normalized(nn.Module):
    """A kernel and what becomes of it."""

    shape: tuple[int, ...]

    @nn.compact
    def __call__(self) -> jax.Array:
        init = nn.initializers.normal(1.0)
        return spectral_normalize(self, self.param("kernel", init, self.shape))


@NAMES
def test_the_state_at_the_start(name: str) -> None:
    """Vectors of the kernel's shape, near their goals already; the gain is 1."""
    layer, _, x = case(name)
    variables = jax.jit(layer.init)(jax.random.key(0, impl="rbg"), x)
    kernel, state = variables["params"]["kernel"], variables[SPECTRAL]
    shapes = {"u": kernel.shape[-1:], "v": kernel.shape[:-1], "gain": ()}
    assert {key: leaf.shape for key, leaf in state.items()} == shapes
    chex.assert_type(list(state.values()), jnp.float32)
    assert float(state["gain"]) == 1
    assert 0.98 * sigma_of(kernel) < estimate(state, kernel) < 1.00001 * sigma_of(kernel)
    plain = layer.clone(spectral_norm=False)
    assert set(jax.eval_shape(plain.init, jax.random.key(0), x)) == {"params"}


@settings(max_examples=6, deadline=None, derandomize=True)
@given(st.lists(st.integers(1, 4), min_size=0, max_size=3), st.integers(1, 5), st.integers(1, 6))
def test_any_shape_converges_from_below(widths: list[int], c_in: int, c_out: int) -> None:
    """`vᵀ·W·u` never falls and never exceeds σ; the result is the kernel over it."""
    layer = Normalized((*widths, c_in, c_out))

    @jax.jit
    def start_and_updates(key: jax.Array) -> Any:
        first, variables = layer.init_with_output(key)

        def update(state: Any, _: None) -> Any:
            y, after = layer.apply({**variables, SPECTRAL: state}, mutable=[SPECTRAL])
            return after[SPECTRAL], (y, after[SPECTRAL])

        return variables, first, jax.lax.scan(update, variables[SPECTRAL], length=6)[1]

    key = jax.random.key(sum(widths) + c_out, impl="rbg")
    variables, first, (results, states) = start_and_updates(key)
    kernel = np.asarray(variables["params"]["kernel"])
    seen = [(first, variables[SPECTRAL])]
    seen += [(results[i], jax.tree.map(lambda leaf, i=i: leaf[i], states)) for i in range(6)]
    estimates = [estimate(state, kernel) for _, state in seen]
    assert all(b > a * (1 - 1e-6) for a, b in itertools.pairwise(estimates))
    assert 0.7 * sigma_of(kernel) < estimates[0]
    assert estimates[-1] < sigma_of(kernel) * (1 + 1e-6)
    for (result, state), sigma in zip(seen, estimates, strict=True):
        np.testing.assert_allclose(result, kernel / sigma, rtol=1e-5, atol=1e-6)
        for vector in "uv":
            np.testing.assert_allclose(np.linalg.norm(state[vector]), 1, rtol=1e-6)


def test_variables_without_the_state_are_refused() -> None:
    """By name: flax itself would ask for a random key."""
    layer = Dense(3, spectral_norm=True)
    params = {"kernel": jnp.ones((2, 3)), "bias": jnp.ones(3)}
    with pytest.raises(ValueError, match=r"lack spectral/.* the state of spectral norm"):
        layer.apply({"params": params}, jnp.ones((1, 2)))

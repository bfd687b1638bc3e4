"""Batch and instance norm against PyTorch; which statistics count, on any number of devices."""

import functools
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

from vidgan_jax.layers import BatchNorm, InstanceNorm
from vidgan_jax.train import sharding
from vidgan_jax.types import BATCH_STATS

C = 3
TIME = pytest.mark.parametrize("time", [(), (2,)], ids=["image", "clip"])
PARAMS = {"scale": np.array([1.5, -0.5, 0.7], np.float32), "bias": np.array([0, 1, -2], np.float32)}
STATS = {"mean": np.array([0.5, -1, 2], np.float32), "var": np.array([0.5, 1, 4], np.float32)}
VARIABLES: dict[str, Any] = {"params": PARAMS, BATCH_STATS: STATS}


def draw(*shape: int) -> np.ndarray:
    """Channels of means and deviations of their own."""
    deviation, mean = np.array([[1, 2, 0.5], [3, 0, -1]], np.float32)
    return draw_normal(*shape, seed=0) * deviation + mean


def draw_normal(*shape: int, seed: int = 1) -> np.ndarray:
    return np.random.default_rng([seed, *shape]).standard_normal((*shape, C), np.float32)


def relative_error(ours: Any, expected: Any) -> float:
    """‖ours - expected‖ / ‖expected‖ over all elements."""
    wanted = np.asarray(expected, np.float64)
    assert np.shape(ours) == wanted.shape
    return float(np.linalg.norm(np.asarray(ours, np.float64) - wanted) / np.linalg.norm(wanted))


@functools.partial(jax.jit, static_argnums=0)
def in_training(layer: BatchNorm, variables: Any, x: Any) -> tuple[jax.Array, Any]:
    return layer.apply(variables, x, mutable=[BATCH_STATS])


@functools.partial(jax.jit, static_argnums=(0, 4))
def values_and_gradients(
    layer: Any, variables: Any, x: Any, toward: Any, mutable: tuple[str, ...]
) -> tuple[jax.Array, Any, Any, jax.Array]:
    """Output, collections afterwards, gradients with respect to parameters and input."""
    params = variables.get("params", {})

    def run(params: Any, x: jax.Array) -> tuple[jax.Array, Any]:
        return layer.apply({**variables, "params": params}, x, mutable=list(mutable))

    y, pullback, after = jax.vjp(run, params, x, has_aux=True)
    return y, after, *pullback(toward)


def torch_batch_norm(rank: int, **how: Any) -> torch.nn.Module:
    """With our variables, in float64."""
    kind = torch.nn.BatchNorm2d if rank == 2 else torch.nn.BatchNorm3d
    layer = kind(C, **how).double()
    if layer.affine:
        layer.weight.data = torch.from_numpy(PARAMS["scale"]).double()
        layer.bias.data = torch.from_numpy(PARAMS["bias"]).double()
    layer.running_mean = torch.from_numpy(STATS["mean"]).double()
    layer.running_var = torch.from_numpy(STATS["var"]).double()
    return layer


def run_torch(layer: torch.nn.Module, x: np.ndarray, toward: np.ndarray) -> tuple[Any, Any]:
    """Output and gradient with respect to the input; those of parameters are the layer's."""
    x_torch = torch.from_numpy(x).double().requires_grad_()
    y = layer(x_torch.movedim(-1, 1)).movedim(1, -1)
    y.backward(torch.from_numpy(toward).double())
    return y.detach(), x_torch.grad


# --- batch norm is PyTorch's


@TIME
@pytest.mark.parametrize("mutable", [(BATCH_STATS,), ()], ids=["training", "inference"])
def test_batch_norm_is_pytorchs(time: tuple[int, ...], mutable: tuple[str, ...]) -> None:
    """Values, all gradients, running statistics, in both modes."""
    x, toward = draw(4, *time, 3, 5), draw_normal(4, *time, 3, 5)
    y, after, dparams, dx = values_and_gradients(BatchNorm(), VARIABLES, x, toward, mutable)
    reference = torch_batch_norm(len(time) + 2).train(bool(mutable))
    y_torch, dx_torch = run_torch(reference, x, toward)
    assert relative_error(y, y_torch) < 1e-6
    assert relative_error(dx, dx_torch) < 1e-5
    assert relative_error(dparams["scale"], reference.weight.grad) < 1e-5
    assert relative_error(dparams["bias"], reference.bias.grad) < 1e-5
    if not mutable:
        assert after == {}
        return
    # PyTorch keeps the unbiased variance, so its share of the new one is n/(n-1) times ours.
    n = x.size // C
    kept = 0.9 * STATS["var"]
    unbiased = np.asarray(reference.running_var)
    assert relative_error(after[BATCH_STATS]["mean"], reference.running_mean) < 1e-6
    assert relative_error(after[BATCH_STATS]["var"], kept + (unbiased - kept) * (n - 1) / n) < 1e-6
    assert relative_error(after[BATCH_STATS]["var"], unbiased) > 1e-4


def test_momentum_epsilon_and_affine_are_choices() -> None:
    x, toward = draw(2, 2, 3, 2), draw_normal(2, 2, 3, 2)
    layer = BatchNorm(momentum=0.75, epsilon=0.5, use_affine=False)
    assert set(jax.eval_shape(layer.init, jax.random.key(0), x)) == {BATCH_STATS}
    variables = {BATCH_STATS: STATS}
    y, after, _, dx = values_and_gradients(layer, variables, x, toward, (BATCH_STATS,))
    reference = torch_batch_norm(3, momentum=0.25, eps=0.5, affine=False)
    y_torch, dx_torch = run_torch(reference, x, toward)
    assert relative_error(y, y_torch) < 1e-6
    assert relative_error(dx, dx_torch) < 1e-5
    assert relative_error(after[BATCH_STATS]["mean"], reference.running_mean) < 1e-6


# --- which statistics count


@TIME
def test_the_batchs_statistics_count_where_they_are_kept(time: tuple[int, ...]) -> None:
    """Mutable: mean 0 and variance 1, whatever was stored; not mutable: the stored ones.

    Who drops the changed collection has used the batch's statistics and moved nothing.
    """
    x = draw(4, *time, 3, 5)
    layer = BatchNorm(use_affine=False, epsilon=0.0)
    y, dropped = in_training(layer, {BATCH_STATS: STATS}, x)
    axes = tuple(range(x.ndim - 1))
    np.testing.assert_allclose(np.mean(y, axes), np.zeros(C), atol=1e-6)
    np.testing.assert_allclose(np.var(y, axes), np.ones(C), rtol=1e-5)

    variables = {BATCH_STATS: {name: jnp.asarray(leaf) for name, leaf in STATS.items()}}
    before = jax.device_get(variables)
    stored: Any = layer.apply(variables, x)
    expected = (x - STATS["mean"]) / np.sqrt(STATS["var"])
    np.testing.assert_allclose(stored, expected, rtol=1e-5, atol=1e-6)
    again, _ = in_training(layer, variables, x)
    chex.assert_trees_all_equal(again, y)
    chex.assert_trees_all_equal(variables, before)
    assert float(jnp.max(jnp.abs(dropped[BATCH_STATS]["mean"] - STATS["mean"]))) > 0.1


def test_running_statistics_approach_those_of_the_data() -> None:
    """From 0 and 1 by a tenth of the way each time."""
    x, layer = draw(4, 3, 5), BatchNorm()
    variables: Any = jax.device_get(jax.jit(layer.init)(jax.random.key(0), x))
    mean, var = x.mean((0, 1, 2)), x.var((0, 1, 2))
    for updates in range(1, 4):
        _, changed = in_training(layer, variables, x)
        variables = {**variables, **changed}
        left = 0.9**updates
        expected = {"mean": (1 - left) * mean, "var": left + (1 - left) * var}
        chex.assert_trees_all_close(variables[BATCH_STATS], expected, rtol=1e-5)


@TIME
def test_initialisation_moves_no_statistics(time: tuple[int, ...]) -> None:
    x = draw(4, *time, 3, 5)
    y, variables = jax.jit(BatchNorm().init_with_output)(jax.random.key(0), x)
    expected: Any = {
        "params": {"scale": jnp.ones(C), "bias": jnp.zeros(C)},
        BATCH_STATS: {"mean": jnp.zeros(C), "var": jnp.ones(C)},
    }
    chex.assert_trees_all_equal(variables, expected)
    chex.assert_trees_all_equal_shapes_and_dtypes(variables, expected)
    assert y.shape == x.shape


def test_initial_scales_are_a_choice() -> None:
    layer = BatchNorm(scale_init=lambda key, shape: jax.random.uniform(key, shape) + 7)
    scale = layer.init(jax.random.key(0), draw(1, 2, 2))["params"]["scale"]
    assert 7 < float(scale.min()) < float(scale.max()) < 8


def test_a_still_clips_statistics_are_its_images() -> None:
    image = draw(4, 3, 5)
    clip = np.repeat(image[:, None], 4, axis=1)
    y_image, after_image = in_training(BatchNorm(), VARIABLES, image)
    y_clip, after_clip = in_training(BatchNorm(), VARIABLES, clip)
    chex.assert_trees_all_close(after_clip, after_image, rtol=1e-6)
    still = np.repeat(np.asarray(y_image)[:, None], 4, axis=1)
    np.testing.assert_allclose(y_clip, still, rtol=1e-5, atol=1e-5)


def test_a_large_mean_costs_no_digits() -> None:
    """E[x²] - E[x]² would leave nothing of a variance of 1 beside a mean of 4000."""
    x = draw(8, 3, 5) + np.float32(4000)
    y, _ = in_training(BatchNorm(), {"params": PARAMS, BATCH_STATS: STATS}, x)
    exact = x.astype(np.float64)
    normal = (exact - exact.mean((0, 1, 2))) / np.sqrt(exact.var((0, 1, 2)) + 1e-5)
    assert relative_error(y, normal * PARAMS["scale"] + PARAMS["bias"]) < 1e-3


def test_statistics_of_a_sharded_batch_are_global() -> None:
    """Eight devices, each with two examples of a mean and a spread of its own, against one.

    Output, gradients and running statistics.
    """
    x = draw(16, 2, 3, 2)
    x = x * np.linspace(0.5, 2, 16, dtype=np.float32)[:, None, None, None, None]
    x += np.repeat(np.arange(8, dtype=np.float32), 2)[:, None, None, None, None]
    toward = draw_normal(16, 2, 3, 2)
    results = []
    for devices in (1, 8):
        mesh = sharding.make_mesh(devices)
        whole, split = sharding.replicated(mesh), sharding.batch_sharding(mesh)
        run = jax.jit(
            lambda v, x, toward: values_and_gradients(BatchNorm(), v, x, toward, (BATCH_STATS,)),
            in_shardings=(whole, split, split),
            out_shardings=(split, whole, whole, split),
        )
        placed = jax.device_put((VARIABLES, x, toward), (whole, split, split))
        result = run(*placed)
        assert len(result[0].addressable_shards) == devices
        assert result[0].addressable_shards[0].data.shape[0] == 16 // devices
        results.append(jax.device_get(result))
    chex.assert_trees_all_close(*results, rtol=1e-5, atol=1e-5)
    axes = tuple(range(x.ndim - 1))
    exact = x.astype(np.float64)
    after = {"mean": exact.mean(axes), "var": exact.var(axes)}
    expected = {name: 0.9 * STATS[name] + 0.1 * batch for name, batch in after.items()}
    for _, found, *_ in results:
        chex.assert_trees_all_close(dict(found[BATCH_STATS]), expected, rtol=1e-6)


# --- instance norm


@TIME
def test_instance_norm_is_pytorchs(time: tuple[int, ...]) -> None:
    """Values and gradients; there is nothing to learn or to store."""
    x, toward = draw(3, *time, 3, 5), draw_normal(3, *time, 3, 5)
    assert jax.eval_shape(InstanceNorm().init, jax.random.key(0), x) == {}
    y, _, _, dx = values_and_gradients(InstanceNorm(), {}, x, toward, ())
    kind = torch.nn.InstanceNorm3d if time else torch.nn.InstanceNorm2d
    y_torch, dx_torch = run_torch(kind(C), x, toward)
    assert relative_error(y, y_torch) < 1e-6
    assert relative_error(dx, dx_torch) < 1e-5


def test_instance_norms_epsilon_is_a_choice() -> None:
    x = draw(2, 3, 5)
    reference = torch.nn.InstanceNorm2d(C, eps=0.5)
    y_torch, _ = run_torch(reference, x, x)
    assert relative_error(InstanceNorm(epsilon=0.5).apply({}, x), y_torch) < 1e-6


def test_instance_norm_keeps_examples_apart_and_stills_still() -> None:
    image = draw(3, 3, 5)
    clip = np.repeat(image[:, None], 4, axis=1)
    run = jax.jit(lambda x: InstanceNorm().apply({}, x))
    alone, still = run(image[:1]), run(clip)
    np.testing.assert_allclose(run(image)[:1], alone, rtol=1e-5, atol=1e-6)
    frames = np.repeat(np.asarray(run(image))[:, None], 4, axis=1)
    np.testing.assert_allclose(still, frames, rtol=1e-5, atol=1e-5)


# --- precision


def test_statistics_of_bfloat16_are_float32() -> None:
    """The result has the input's type, and is the float32 result rounded."""
    x = jnp.asarray(draw(4, 3, 5) + np.float32(20), jnp.bfloat16)
    precise = x.astype(jnp.float32)
    for mutable in ((BATCH_STATS,), ()):
        low, after_low, *_ = values_and_gradients(BatchNorm(), VARIABLES, x, x, mutable)
        high, after_high, *_ = values_and_gradients(
            BatchNorm(), VARIABLES, precise, precise, mutable
        )
        assert low.dtype == jnp.bfloat16
        np.testing.assert_allclose(low.astype(jnp.float32), high, rtol=2**-7, atol=1e-4)
        chex.assert_trees_all_equal_shapes_and_dtypes(after_low, after_high)
        chex.assert_trees_all_close(after_low, after_high, rtol=1e-6)
    run = jax.jit(lambda x: InstanceNorm().apply({}, x))
    assert run(x).dtype == jnp.bfloat16
    np.testing.assert_allclose(run(x).astype(jnp.float32), run(precise), rtol=2**-7, atol=1e-4)

"""Initial values: uniform in ±1/√fan_in, as PyTorch draws them."""

import functools
import math
from collections.abc import Callable

import jax
import numpy as np
import pytest
import torch
from flax import linen as nn

from tests.reference_torch.weights import as_torch
from vidgan_jax.layers import Conv, Dense

# Our layer, the shape of its input, PyTorch's layer, fan_in. So many features that a bias, too, is
# a sample worth looking at.
LAYERS: dict[str, tuple[nn.Module, tuple[int, ...], Callable[[], torch.nn.Module], int]] = {
    "dense": (Dense(4000), (1, 8), lambda: torch.nn.Linear(8, 4000), 8),
    "image": (Conv(4000), (1, 4, 4, 2), lambda: torch.nn.Conv2d(2, 4000, 3), 9 * 2),
    "clip": (
        Conv(4000, (2, 3, 3)),
        (1, 2, 4, 4, 2),
        lambda: torch.nn.Conv3d(2, 4000, (2, 3, 3)),
        18 * 2,
    ),
}


@pytest.mark.parametrize("name", LAYERS)
def test_initial_values_are_distributed_as_pytorchs(name: str) -> None:
    """Bounds, variance and quantiles; kernels and biases are not drawn alike."""
    layer, shape, make_reference, fan_in = LAYERS[name]
    bound = 1 / math.sqrt(fan_in)
    samples = as_torch(_initial_values(layer, shape))
    torch.manual_seed(0)
    for kind, theirs in make_reference().named_parameters():
        ours = samples[kind]
        assert ours.shape == theirs.shape
        assert 0.99 * bound < float(ours.abs().max()) <= bound
        np.testing.assert_allclose(ours.std(), bound / math.sqrt(3), rtol=0.04)
        levels = np.linspace(0.1, 0.9, 9)
        found, expected = (np.quantile(s.detach().numpy(), levels) for s in (ours, theirs))
        np.testing.assert_allclose(found, expected, atol=0.08 * bound)
    correlation = np.corrcoef(samples["weight"].flatten(1)[:, 0], samples["bias"])[0, 1]
    assert abs(correlation) < 0.1


@pytest.mark.parametrize("time", [(), (2,)])
def test_the_scale_of_kernels_is_a_choice(time: tuple[int, ...]) -> None:
    """Variance · fan_in is the scale, of kernels only."""
    layers = [(Conv(4000, 1, init_scale=2.0), (1, *time, 4, 4, 8)), (Dense(4000, 2.0), (1, 8))]
    for layer, shape in layers:
        samples = _initial_values(layer, shape)
        np.testing.assert_allclose(np.var(samples["kernel"]) * 8, 2, rtol=0.05)
        np.testing.assert_allclose(np.var(samples["bias"]) * 8, 1 / 3, rtol=0.05)


def _initial_values(layer: nn.Module, shape: tuple[int, ...]) -> dict[str, np.ndarray]:
    init = functools.partial(layer.init, jax.random.key(0, impl="rbg"))
    return jax.jit(lambda x: init(x)["params"])(np.zeros(shape, np.float32))

"""Initial values: uniform in ±1/√fan_in, as PyTorch draws them, or normal, as DCGAN's."""

import functools
import math
from collections.abc import Callable

import jax
import numpy as np
import pytest
import torch
from flax import linen as nn

from tests.reference_torch.weights import as_torch
from vidgan_jax.layers import Conv, ConvTranspose, Dense
from vidgan_jax.layers.initializers import DCGAN_STDDEV, kernel

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


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (Conv(2000, 2, init_scale=0), (1, 4, 4, 2)),
        (ConvTranspose(1000, 2, init_scale=0), (1, 2, 2, 2, 1)),
        (Dense(1000, 0), (1, 8)),
    ],
    ids=["image", "transposed clip", "dense"],
)
def test_a_scale_of_0_is_dcgans(layer: nn.Module, shape: tuple[int, ...]) -> None:
    """Kernels are normal, of deviation 0.02 whatever their fan_in; biases stay uniform."""
    samples = _initial_values(layer, shape)
    assert DCGAN_STDDEV == 0.02
    levels = np.linspace(0.05, 0.95, 19)
    normal = np.random.default_rng(0).normal(0, 0.02, 10**6)
    found, expected = (np.quantile(s, levels) for s in (samples["kernel"], normal))
    np.testing.assert_allclose(found, expected, atol=0.06 * 0.02)
    assert np.abs(samples["kernel"]).max() > 3 * 0.02
    assert np.abs(samples["bias"]).max() > 0.3


@pytest.mark.parametrize("time", [(), (2,)], ids=["image", "clip"])
def test_transposed_convolutions_count_the_taps_that_an_output_sees(time: tuple[int, ...]) -> None:
    """One in ∏ strides; so the output's variance is the scale times the input's, as in others."""
    widths, strides = ((3, 4, 4), (1, 2, 2)) if time else ((4, 4), (2, 2))
    fan_in = np.prod(widths) * 8 / 4
    samples = _initial_values(
        ConvTranspose(500, widths, strides, init_scale=2.0), (1, *time, 2, 2, 8)
    )
    np.testing.assert_allclose(np.var(samples["kernel"]) * fan_in, 2, rtol=0.03)
    assert 0.9 / fan_in**0.5 < np.abs(samples["bias"]).max() <= 1 / fan_in**0.5


def test_share_of_a_kernels_taps() -> None:
    """Half the taps seen: twice the variance. The normal values of scale 0 have none to change."""
    key, shape = jax.random.key(0), (4, 4, 3, 5)
    whole, half = kernel(1 / 3)(key, shape), kernel(1 / 3, share=0.5)(key, shape)
    np.testing.assert_allclose(half, whole * np.sqrt(2), rtol=1e-6)
    np.testing.assert_array_equal(kernel(0, share=0.5)(key, shape), kernel(0)(key, shape))


def _initial_values(layer: nn.Module, shape: tuple[int, ...]) -> dict[str, np.ndarray]:
    init = functools.partial(layer.init, jax.random.key(0, impl="rbg"))
    return jax.jit(lambda x: init(x)["params"])(np.zeros(shape, np.float32))

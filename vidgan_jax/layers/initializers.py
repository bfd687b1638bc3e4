"""Initial values of kernels and biases."""

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp

Initializer = Callable[..., jax.Array]

# Variance · fan_in of kernels uniform in ±1/√fan_in: how PyTorch's convolutions and linear layers
# start, with which the code bases that the thesis builds on were tuned.
PYTORCH_SCALE = 1 / 3


def kernel_uniform(scale: float) -> Initializer:
    """An initialiser of kernels, uniform with variance `scale` / fan_in.

    `PYTORCH_SCALE` is PyTorch's; 2 keeps the variance through ReLUs (He et al. 2015,
    arXiv:1502.01852, equation 10).
    """
    return jax.nn.initializers.variance_scaling(scale, "fan_in", "uniform")


def bias_uniform(fan_in: int) -> Initializer:
    """An initialiser of biases, uniform in ±1/√`fan_in`, as PyTorch's."""
    bound = fan_in**-0.5

    def init(key: jax.Array, shape: Sequence[int], dtype: jnp.dtype = jnp.float32) -> jax.Array:
        return jax.random.uniform(key, tuple(shape), dtype, -bound, bound)

    return init

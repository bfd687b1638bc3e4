"""Initial values of kernels and biases."""

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp

Initializer = Callable[..., jax.Array]

# Variance · fan_in of kernels uniform in ±1/√fan_in: how PyTorch's convolutions and linear layers
# start, with which the code bases that the thesis builds on were tuned.
PYTORCH_SCALE = 1 / 3

# Standard deviation of DCGAN's initial kernels: Radford, Metz, Chintala 2015, arXiv:1511.06434,
# section 4.
DCGAN_STDDEV = 0.02


def kernel(scale: float, *, share: float = 1.0) -> Initializer:
    """An initialiser of kernels.

    Args:
      scale: variance · fan_in of uniform values: `PYTORCH_SCALE`, or 2, which keeps the variance
        through ReLUs (He et al. 2015, arXiv:1502.01852, equation 10); 0 for normal values of
        deviation `DCGAN_STDDEV`.
      share: of a kernel's taps that an output sees; below 1 in transposed convolutions.
    """
    if scale == 0:
        return jax.nn.initializers.normal(DCGAN_STDDEV)
    return jax.nn.initializers.variance_scaling(scale / share, "fan_in", "uniform")


def bias_uniform(fan_in: int) -> Initializer:
    """An initialiser of biases, uniform in ±1/√`fan_in`, as PyTorch's."""
    bound = fan_in**-0.5

    def init(key: jax.Array, shape: Sequence[int], dtype: jnp.dtype = jnp.float32) -> jax.Array:
        return jax.random.uniform(key, tuple(shape), dtype, -bound, bound)

    return init

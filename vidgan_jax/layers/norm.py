"""Normalisation over batch or positions, for images and clips from one code.

A network is told by its collections how to normalise: where `batch_stats` may change (training),
batch norm uses the batch; where it may not, it uses the running statistics. Whoever wants the
batch's statistics without moving the running ones drops the changed collection.
"""

import jax
import jax.numpy as jnp
from flax import linen as nn

from vidgan_jax.layers.initializers import Initializer
from vidgan_jax.types import BATCH_STATS


def moments(x: jax.Array, axes: tuple[int, ...]) -> tuple[jax.Array, jax.Array]:
    """Mean and (biased) variance over `axes`, kept with length 1, in float32."""
    x = x.astype(jnp.float32)
    mean = jnp.mean(x, axes, keepdims=True)
    # The second pass costs little, E[x²] - E[x]² would cost digits.
    return mean, jnp.mean(jnp.square(x - mean), axes, keepdims=True)


class BatchNorm(nn.Module):
    """Each channel to mean 0 and variance 1 over batch and positions, then a learned affine map.

    The mean over a sharded batch is the mean over all devices' parts: under `jit` there is one
    global batch, so statistics are synchronised without more words.

    The running mean and variance, the latter biased, follow as `momentum · old + (1 - momentum) ·
    batch's`. (PyTorch's `momentum` is 1 minus ours, and its running variance is n/(n-1) times the
    batch's; ours of a still clip equals its image's.)

    Attributes:
      momentum: of the running statistics.
      epsilon: added to the variance.
      use_affine: learn `scale` and `bias`.
      scale_init: initial values of `scale`.

    Source: Ioffe, Szegedy 2015, arXiv:1502.03167.
    """

    momentum: float = 0.9
    epsilon: float = 1e-5
    use_affine: bool = True
    scale_init: Initializer = nn.initializers.ones

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps float `[b, *axes, c]` to the same shape and dtype; statistics are float32."""
        shape = (x.shape[-1],)
        running_mean = self.variable(BATCH_STATS, "mean", jnp.zeros, shape, jnp.float32)
        running_var = self.variable(BATCH_STATS, "var", jnp.ones, shape, jnp.float32)
        if self.is_mutable_collection(BATCH_STATS):
            mean, var = moments(x, tuple(range(x.ndim - 1)))
            if not self.is_initializing():
                for running, batch in ((running_mean, mean), (running_var, var)):
                    kept = self.momentum * running.value
                    running.value = kept + (1 - self.momentum) * batch.reshape(shape)
        else:
            mean, var = running_mean.value, running_var.value
        y = (x.astype(jnp.float32) - mean) * jax.lax.rsqrt(var + self.epsilon)
        if self.use_affine:
            y = y * self.param("scale", self.scale_init, shape)
            y = y + self.param("bias", nn.initializers.zeros, shape)
        return y.astype(x.dtype)


class InstanceNorm(nn.Module):
    """Each channel of each example to mean 0 and variance 1 over all its positions, time included.

    Attributes:
      epsilon: added to the variance.

    Source: Ulyanov, Vedaldi, Lempitsky 2016, arXiv:1607.08022.
    """

    epsilon: float = 1e-5

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps float `[b, *axes, c]` to the same shape and dtype; statistics are float32."""
        mean, var = moments(x, tuple(range(1, x.ndim - 1)))
        y = (x.astype(jnp.float32) - mean) * jax.lax.rsqrt(var + self.epsilon)
        return y.astype(x.dtype)

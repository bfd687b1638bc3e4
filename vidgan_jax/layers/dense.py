"""A dense layer with the package's initial values."""

import jax
from flax import linen as nn

from vidgan_jax.layers import initializers


class Dense(nn.Module):
    """Affine map of the last axis.

    Attributes:
      features: output channels.
      init_scale: variance · fan_in of the initial kernel.
    """

    features: int
    init_scale: float = initializers.PYTORCH_SCALE

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps float `[..., c]` to `[..., features]`."""
        shape = (x.shape[-1], self.features)
        kernel = self.param("kernel", initializers.kernel_uniform(self.init_scale), shape)
        bias = self.param("bias", initializers.bias_uniform(shape[0]), (self.features,))
        return x @ kernel + bias

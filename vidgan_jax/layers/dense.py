"""A dense layer with the package's initial values."""

import jax
from flax import linen as nn

from vidgan_jax.layers import initializers
from vidgan_jax.layers.spectral import spectral_normalize


class Dense(nn.Module):
    """Affine map of the last axis.

    Attributes:
      features: output channels.
      init_scale: of the initial kernel, see `vidgan_jax.layers.initializers.kernel`.
      spectral_norm: divide the kernel by its spectral norm.
    """

    features: int
    init_scale: float = initializers.PYTORCH_SCALE
    spectral_norm: bool = False

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps float `[..., c]` to `[..., features]`, computed in the dtype of the data."""
        shape = (x.shape[-1], self.features)
        kernel = self.param("kernel", initializers.kernel(self.init_scale), shape)
        if self.spectral_norm:
            kernel = spectral_normalize(self, kernel)
        bias = self.param("bias", initializers.bias_uniform(shape[0]), (self.features,))
        return (x @ kernel.astype(x.dtype) + bias).astype(x.dtype)

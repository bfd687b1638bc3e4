"""Convolution of images with holes between the kernel's taps: it sees far at full resolution."""

import jax
from flax import linen as nn
from jax import lax

from vidgan_jax.layers import initializers
from vidgan_jax.layers.native_conv import IMAGES


class DilatedConv(nn.Module):
    """Convolution of images that keeps the size; its taps stand `dilation` pixels apart.

    Beyond the edges are zeros. There is no bias: batch norm, which has one, is meant to follow.

    Attributes:
      features: output channels.
      kernel_size: taps along each axis, an odd number.
      dilation: pixels from tap to tap; 1 for an ordinary convolution.
      init_scale: of the initial kernel, see `vidgan_jax.layers.initializers.kernel`.
    """

    features: int
    kernel_size: int = 3
    dilation: int = 2
    init_scale: float = initializers.PYTORCH_SCALE

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps float `[b, h, w, c]` to `[b, h, w, features]`, computed in that dtype.

        Raises:
          ValueError: not images, an even kernel or a dilation below 1.
        """
        if x.ndim != 4 or self.kernel_size % 2 == 0 or self.dilation < 1:
            raise ValueError(
                f"data {x.shape}, kernel_size (={self.kernel_size}) and dilation "
                f"(={self.dilation}) must be [b, h, w, c], an odd number, and at least 1"
            )
        shape = (self.kernel_size, self.kernel_size, x.shape[-1], self.features)
        kernel = self.param("kernel", initializers.kernel(self.init_scale), shape)
        beyond = self.kernel_size // 2 * self.dilation
        return lax.conv_general_dilated(
            x,
            kernel.astype(x.dtype),
            (1, 1),
            [(beyond, beyond)] * 2,
            rhs_dilation=(self.dilation,) * 2,
            dimension_numbers=IMAGES,
        )

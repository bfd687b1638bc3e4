"""A small U-Net: images to a class for each pixel.

Source: Ronneberger, Fischer, Brox 2015, arXiv:1505.04597; here with convolutions that keep the
size, batch norm, mean pooling, and nearest neighbours on the way up.
"""

import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp
from flax import linen as nn

from vidgan_jax.layers import BatchNorm, Conv, avg_pool, upsample_nearest
from vidgan_jax.layers.initializers import PYTORCH_SCALE

_HE_SCALE = 2.0  # keeps the variance through ReLUs


class ConvPair(nn.Module):
    """Twice convolution, batch norm, ReLU.

    Attributes:
      features: output channels.
    """

    features: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps float `[b, h, w, c]` to `[b, h, w, features]`."""
        for i in range(2):
            conv = Conv(self.features, use_bias=False, init_scale=_HE_SCALE, name=f"conv_{i}")
            x = jax.nn.relu(BatchNorm(name=f"bn_{i}")(conv(x)))
        return x


class UNet(nn.Module):
    """Images to logits of classes, pixel by pixel; any size that can be halved often enough.

    On the way down each level has half the resolution of the one before, on the way up it sees
    that level's features beside what comes from below.

    Attributes:
      num_classes: logits of a pixel.
      features: channels of each level, from full resolution down.
    """

    num_classes: int
    features: Sequence[int] = (24, 48, 64, 96)

    @nn.compact
    def __call__(self, images: jax.Array) -> jax.Array:
        """Maps images in [-1, 1], float `[b, h, w, c]`, to logits `[b, h, w, num_classes]`.

        Raises:
          ValueError: not images, or a height or width that can't be halved for every level.
        """
        levels = len(self.features)
        check_halvings(images.shape, levels)
        x, skips = images, []
        for i, channels in enumerate(self.features):
            if i:
                skips.append(x)
                x = avg_pool(x, (2, 2), (2, 2))
            x = ConvPair(channels, name=f"down_{i}")(x)
        for i in reversed(range(levels - 1)):
            x = jnp.concatenate([upsample_nearest(x, 2), skips[i]], axis=-1)
            x = ConvPair(self.features[i], name=f"up_{i}")(x)
        return Conv(self.num_classes, 1, init_scale=PYTORCH_SCALE, name="conv_logit")(x)


def check_halvings(shape: Sequence[int], levels: int) -> None:
    """Refuses images that a U-Net of so many levels can't take.

    Raises:
      ValueError: `shape` is not `[b, h, w, c]`, or h or w is no multiple of 2^(levels - 1).
    """
    factor = 1 << (levels - 1)
    if len(shape) != 4 or any(n % factor or n == 0 for n in shape[1:3]):
        raise ValueError(
            f"images of shape {list(shape)} must be [b, h, w, c] with h and w multiples of "
            f"{factor}: a U-Net of {levels} levels halves them {levels - 1} times"
        )


def most_levels(size: int) -> int:
    """Levels that a U-Net can have at most for images of `size`×`size`, down to 1×1."""
    return 1 + int(math.log2(size & -size))

"""VGG19's convolutional part, whose features compare frames as an eye would, roughly.

Source: Simonyan, Zisserman 2014, arXiv:1409.1556, table 1, column E. The weights are a file that
users give, see `vidgan_jax.convert`.
"""

import jax
from flax import linen as nn

from vidgan_jax.layers import Conv

# (number of convolutions, channels) of each block; a 2×2 max-pool stands before all but the first.
# Of the last one only the first convolution is there: nothing looks at the others.
BLOCKS = ((2, 64), (2, 128), (4, 256), (4, 512), (1, 512))
MIN_SIZE = 1 << (len(BLOCKS) - 1)


class Vgg19Features(nn.Module):
    """Frames to the features after the first convolution of each of VGG19's five blocks.

    Frames go in as they come, in [-1, 1], without the mean and deviation of ImageNet that the
    weights were trained with: the public code of SPADE does so, and its weight of the loss is for
    that. Convolutions `conv1_1`, `conv1_2`, … `conv5_1` are 3×3 and padded by zeros.
    """

    @nn.compact
    def __call__(self, frames: jax.Array) -> tuple[jax.Array, ...]:
        """Maps frames to relu1_1, relu2_1, relu3_1, relu4_1, relu5_1.

        Args:
          frames: float in [-1, 1], images `[b, h, w, 3]`, or clips `[b, t, h, w, 3]`, whose frames
            are looked at one by one.

        Returns:
          Five float arrays `[b, [t,] h/s, w/s, c]`, never negative; s is 1, 2, 4, 8, 16 (rounded
          down) and c is 64, 128, 256, 512, 512.

        Raises:
          ValueError: another rank, not three channels, or frames below 16×16.
        """
        if frames.ndim not in (4, 5) or frames.shape[-1] != 3:
            raise ValueError(f"frames {frames.shape} must be [b, h, w, 3] or [b, t, h, w, 3]")
        if min(frames.shape[-3:-1]) < MIN_SIZE:
            raise ValueError(
                f"frames {frames.shape} must be at least {MIN_SIZE}×{MIN_SIZE}: VGG19 halves them "
                "four times; set loss.vgg_weight to 0 for smaller ones"
            )
        x = frames.reshape(-1, *frames.shape[-3:])
        features = []
        for i, (convolutions, channels) in enumerate(BLOCKS, start=1):
            if i > 1:
                x = nn.max_pool(x, (2, 2), (2, 2))
            for j in range(1, convolutions + 1):
                x = jax.nn.relu(Conv(channels, name=f"conv{i}_{j}")(x))
                if j == 1:
                    features.append(x.reshape(*frames.shape[:-3], *x.shape[1:]))
        return tuple(features)

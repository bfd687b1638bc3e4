"""The ResNet GAN of "GAN stability", for images and clips from one code.

Source: Mescheder, Geiger, Nowozin 2018, arXiv:1801.04406; its video form: Egan 2019 (MIT thesis),
figures 3-4 to 3-6. Residual blocks with a 0.1 branch, no normalisation layers. A *stage* is a
doubling of resolution, counted from the 4×4 end in both networks; `time_stages` names those that
double (generator) or halve (discriminator) time as well.
"""

import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp
from flax import linen as nn

from vidgan_jax.layers import Conv, Dense, avg_pool, upsample_nearest
from vidgan_jax.layers.initializers import PYTORCH_SCALE

BASE_SIZE = 4
_BRANCH_SCALE = 0.1


def activation(x: jax.Array) -> jax.Array:
    """LeakyReLU with slope 0.2."""
    return jax.nn.leaky_relu(x, 0.2)


def stage_features(size: int, features: int, max_features: int) -> list[int]:
    """Channels at 4×4, 8×8, … `size`×`size`: doubled with each halving, up to `max_features`.

    Raises:
      ValueError: `size` is not 4·2ⁿ with n > 0.
    """
    stages = (size // BASE_SIZE).bit_length() - 1
    if stages < 1 or BASE_SIZE << stages != size:
        raise ValueError(f"size (={size}) must be 8, 16, 32, 64, 128, …")
    return [min(features << (stages - i), max_features) for i in range(stages + 1)]


def base_frames(num_frames: int, stages: int, time_stages: Sequence[int]) -> int:
    """Frames at the 4×4 end of a network of clips; 0 for images.

    Raises:
      ValueError: a time stage that the network lacks or that is named twice, or frames that can't
        be halved that often.
    """
    if num_frames == 0:
        return 0
    if len(set(time_stages)) != len(time_stages) or not set(time_stages) <= set(range(stages)):
        raise ValueError(
            f"time_stages (={tuple(time_stages)}) must be different numbers from 0 to {stages - 1}"
        )
    base, rest = divmod(num_frames, 1 << len(time_stages))
    if rest or base == 0:
        raise ValueError(
            f"num_frames (={num_frames}) must be a multiple of {1 << len(time_stages)}, since "
            f"{len(time_stages)} time stages double it"
        )
    return base


class ResnetBlock(nn.Module):
    """`skip(x) + 0.1 · conv_1(act(conv_0(act(x))))`, hidden width `min(in, out)`.

    Attributes:
      features: output channels; where they differ from the input's, the skip is a 1×1 convolution.
      init_scale: variance · fan_in of initial kernels.
    """

    features: int
    init_scale: float = PYTORCH_SCALE

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps float `[b, *axes, c]` to `[b, *axes, features]`."""
        hidden = min(x.shape[-1], self.features)
        scale = self.init_scale
        dx = Conv(hidden, init_scale=scale, name="conv_0")(activation(x))
        dx = Conv(self.features, init_scale=scale, name="conv_1")(activation(dx))
        if x.shape[-1] != self.features:
            x = Conv(self.features, 1, use_bias=False, init_scale=scale, name="conv_s")(x)
        return x + _BRANCH_SCALE * dx


class ResnetGenerator(nn.Module):
    """Latents to images or clips in (-1, 1).

    Attributes:
      size: height and width of the output, 4·2ⁿ pixels.
      num_frames: frames of the output; 0 for images.
      features: channels at full resolution.
      max_features: most channels anywhere.
      time_stages: upsamplings that double time too, 0 the first (4×4 to 8×8). Clips only.
      channels: colour channels.
      init_scale: variance · fan_in of initial kernels.
    """

    size: int
    num_frames: int = 0
    features: int = 64
    max_features: int = 1024
    time_stages: Sequence[int] = (0,)
    channels: int = 3
    init_scale: float = PYTORCH_SCALE

    @nn.compact
    def __call__(self, z: jax.Array, cond: jax.Array | None = None) -> jax.Array:
        """Maps latents float `[b, z]` to `[b, size, size, c]`, or `[b, t, size, size, c]`.

        Raises:
          ValueError: a condition was given; this network has no use for one.
        """
        _refuse_condition(cond)
        widths = stage_features(self.size, self.features, self.max_features)
        stages = len(widths) - 1
        frames = base_frames(self.num_frames, stages, self.time_stages)
        scale = self.init_scale
        axes = ((frames,) if frames else ()) + (BASE_SIZE, BASE_SIZE)
        x = Dense(math.prod(axes) * widths[0], scale, name="fc")(z)
        x = x.reshape(z.shape[0], *axes, widths[0])
        for i in range(stages):
            x = ResnetBlock(widths[i + 1], scale, name=f"block_{i}")(x)
            x = upsample_nearest(x, _scales(x.ndim - 2, i in self.time_stages))
        x = ResnetBlock(self.features, scale, name=f"block_{stages}")(x)
        return jnp.tanh(Conv(self.channels, init_scale=scale, name="conv_img")(activation(x)))


class ResnetDiscriminator(nn.Module):
    """Images or clips to one logit each: the generator mirrored.

    Attributes:
      size: height and width of the input, 4·2ⁿ pixels.
      features: channels at full resolution.
      max_features: most channels anywhere.
      time_stages: poolings that halve time too, 0 the last (8×8 to 4×4). Clips only.
      init_scale: variance · fan_in of initial kernels.
    """

    size: int
    features: int = 64
    max_features: int = 1024
    time_stages: Sequence[int] = (0,)
    init_scale: float = PYTORCH_SCALE

    @nn.compact
    def __call__(self, x: jax.Array, cond: jax.Array | None = None) -> jax.Array:
        """Maps frames in [-1, 1], `[b, size, size, c]` or `[b, t, size, size, c]`, to logits `[b]`.

        Raises:
          ValueError: the input has another size, its frames can't be halved as often as
            `time_stages` says, or a condition was given.
        """
        _refuse_condition(cond)
        if x.shape[-3:-1] != (self.size, self.size):
            raise ValueError(f"input {x.shape} must have frames of {self.size}×{self.size}")
        widths = stage_features(self.size, self.features, self.max_features)
        stages = len(widths) - 1
        base_frames(x.shape[1] if x.ndim == 5 else 0, stages, self.time_stages)  # refuses others
        scale = self.init_scale
        x = Conv(self.features, init_scale=scale, name="conv_img")(x)
        x = ResnetBlock(self.features, scale, name=f"block_{stages}")(x)
        for i in reversed(range(stages)):
            scales = _scales(x.ndim - 2, i in self.time_stages)
            # Width 3 in space; over time just the frames that become one.
            window = (*scales[:-2], 3, 3)
            x = ResnetBlock(widths[i], scale, name=f"block_{i}")(avg_pool(x, window, scales))
        x = activation(x).reshape(x.shape[0], -1)
        return Dense(1, scale, name="fc")(x)[:, 0]


def _scales(rank: int, in_time: bool) -> tuple[int, ...]:
    """Factors of a stage, one for each axis."""
    return ((2 if in_time else 1),) * (rank - 2) + (2, 2)


def _refuse_condition(cond: jax.Array | None) -> None:
    if cond is not None:
        raise ValueError("the ResNet GAN is unconditional: it takes no label map")

"""The ResNet GAN of "GAN stability", for images and clips from one code.

Source: Mescheder, Geiger, Nowozin 2018, arXiv:1801.04406; its video form: Egan 2019 (MIT thesis),
figures 3-4 to 3-6. Residual blocks with a 0.1 branch, no normalisation layers.
"""

import functools
import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp
from flax import linen as nn

from vidgan_jax.layers import Conv, Dense, avg_pool, upsample_nearest
from vidgan_jax.layers.initializers import PYTORCH_SCALE
from vidgan_jax.models.stages import (
    BASE_SIZE,
    base_frames,
    check_size,
    num_stages,
    refuse_condition,
    scales,
)

_BRANCH_SCALE = 0.1


def activation(x: jax.Array) -> jax.Array:
    """LeakyReLU with slope 0.2."""
    return jax.nn.leaky_relu(x, 0.2)


def stage_features(size: int, features: int, max_features: int) -> list[int]:
    """Channels at 4×4, 8×8, … `size`×`size`: doubled with each halving, up to `max_features`.

    Raises:
      ValueError: `size` is not 4·2ⁿ with n > 0.
    """
    stages = num_stages(size)
    return [min(features << (stages - i), max_features) for i in range(stages + 1)]


class ResnetBlock(nn.Module):
    """`skip(x) + 0.1 · conv_1(act(conv_0(act(x))))`, hidden width `min(in, out)`.

    Attributes:
      features: output channels; where they differ from the input's, the skip is a 1×1 convolution.
      init_scale: of initial kernels, see `vidgan_jax.layers.initializers.kernel`.
      spectral_norm: of all convolutions.
    """

    features: int
    init_scale: float = PYTORCH_SCALE
    spectral_norm: bool = False

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps float `[b, *axes, c]` to `[b, *axes, features]`."""
        hidden = min(x.shape[-1], self.features)
        scale, sn = self.init_scale, self.spectral_norm
        conv = functools.partial(Conv, init_scale=scale, spectral_norm=sn)
        dx = conv(hidden, name="conv_0")(activation(x))
        dx = conv(self.features, name="conv_1")(activation(dx))
        if x.shape[-1] != self.features:
            x = conv(self.features, 1, use_bias=False, name="conv_s")(x)
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
      init_scale: of initial kernels, see `vidgan_jax.layers.initializers.kernel`.
      spectral_norm: of all layers.
    """

    size: int
    num_frames: int = 0
    features: int = 64
    max_features: int = 1024
    time_stages: Sequence[int] = (0,)
    channels: int = 3
    init_scale: float = PYTORCH_SCALE
    spectral_norm: bool = False

    @nn.compact
    def __call__(self, z: jax.Array, cond: jax.Array | None = None) -> jax.Array:
        """Maps latents float `[b, z]` to `[b, size, size, c]`, or `[b, t, size, size, c]`.

        Raises:
          ValueError: a condition was given; this network has no use for one.
        """
        refuse_condition(cond)
        widths = stage_features(self.size, self.features, self.max_features)
        stages = len(widths) - 1
        frames = base_frames(self.num_frames, stages, self.time_stages)
        scale, sn = self.init_scale, self.spectral_norm
        axes = ((frames,) if frames else ()) + (BASE_SIZE, BASE_SIZE)
        x = Dense(math.prod(axes) * widths[0], scale, sn, name="fc")(z)
        x = x.reshape(z.shape[0], *axes, widths[0])
        for i in range(stages):
            x = ResnetBlock(widths[i + 1], scale, sn, name=f"block_{i}")(x)
            x = upsample_nearest(x, scales(x.ndim - 2, i in self.time_stages))
        x = ResnetBlock(self.features, scale, sn, name=f"block_{stages}")(x)
        to_frames = Conv(self.channels, init_scale=scale, spectral_norm=sn, name="conv_img")
        return jnp.tanh(to_frames(activation(x)))


class ResnetDiscriminator(nn.Module):
    """Images or clips to one logit each: the generator mirrored.

    Attributes:
      size: height and width of the input, 4·2ⁿ pixels.
      features: channels at full resolution.
      max_features: most channels anywhere.
      time_stages: poolings that halve time too, 0 the last (8×8 to 4×4). Clips only.
      init_scale: of initial kernels, see `vidgan_jax.layers.initializers.kernel`.
      spectral_norm: of all layers.
    """

    size: int
    features: int = 64
    max_features: int = 1024
    time_stages: Sequence[int] = (0,)
    init_scale: float = PYTORCH_SCALE
    spectral_norm: bool = False

    @nn.compact
    def __call__(self, x: jax.Array, cond: jax.Array | None = None) -> jax.Array:
        """Maps frames in [-1, 1], `[b, size, size, c]` or `[b, t, size, size, c]`, to logits `[b]`.

        Raises:
          ValueError: the input has another size, its frames can't be halved as often as
            `time_stages` says, or a condition was given.
        """
        refuse_condition(cond)
        check_size(x, self.size)
        widths = stage_features(self.size, self.features, self.max_features)
        stages = len(widths) - 1
        base_frames(x.shape[1] if x.ndim == 5 else 0, stages, self.time_stages)  # refuses others
        scale, sn = self.init_scale, self.spectral_norm
        x = Conv(self.features, init_scale=scale, spectral_norm=sn, name="conv_img")(x)
        x = ResnetBlock(self.features, scale, sn, name=f"block_{stages}")(x)
        for i in reversed(range(stages)):
            factors = scales(x.ndim - 2, i in self.time_stages)
            # Width 3 in space; over time just the frames that become one.
            window = (*factors[:-2], 3, 3)
            x = ResnetBlock(widths[i], scale, sn, name=f"block_{i}")(avg_pool(x, window, factors))
        x = activation(x).reshape(x.shape[0], -1)
        return Dense(1, scale, sn, name="fc")(x)[:, 0]

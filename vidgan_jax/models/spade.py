"""SPADE's generator, for images and clips from one code: from a label map, of any style.

Source: Park, Liu, Wang, Zhu 2019, arXiv:1903.07291, section 3 and appendix A; its video form: Egan
2019 (MIT thesis), 3.3.3 and figures 3-7, 3-10 and 3-11. There the main path is 3D and all that
touches the label map stays 2D: one scale and shift for all frames.
"""

import functools
import math
from collections.abc import Mapping, Sequence

import jax
import jax.numpy as jnp
from flax import linen as nn

from vidgan_jax.layers import (
    BatchNorm,
    Conv,
    Dense,
    InstanceNorm,
    conv,
    initializers,
    upsample_nearest,
)
from vidgan_jax.layers.initializers import PYTORCH_SCALE
from vidgan_jax.layers.labels import LabelChannels, LabelConv, LabelMap, pyramid, read_label_map
from vidgan_jax.layers.precision import enter, leave
from vidgan_jax.models.patchgan import SpadeDiscriminator
from vidgan_jax.models.remat import run_block
from vidgan_jax.models.spade_encoder import SpadeEncoder
from vidgan_jax.models.stages import base_frames, scales
from vidgan_jax.types import OUTPUTS

__all__ = [
    "STARTS",
    "LabelChannels",
    "SpadeBlock",
    "SpadeDiscriminator",
    "SpadeEncoder",
    "SpadeGenerator",
    "SpadeNorm",
]

STARTS = ("dense", "labels")

Pyramid = Mapping[int, LabelMap]


def activation(x: jax.Array) -> jax.Array:
    """LeakyReLU with slope 0.2."""
    return jax.nn.leaky_relu(x, 0.2)


class SpadeNorm(nn.Module):
    """Normalisation whose scale and shift at each position come from the label map there.

    Attributes:
      label_features: channels between the label map and scale and shift.
      batch_norm: of the batch; of each example otherwise (instance norm). Both without parameters.
      init_scale: of initial kernels, see `vidgan_jax.layers.initializers.kernel`.

    Source: arXiv:1903.07291, equations 1 to 3 and figure 3.
    """

    label_features: int = 128
    batch_norm: bool = True
    init_scale: float = PYTORCH_SCALE

    @nn.compact
    def __call__(self, x: jax.Array, maps: Pyramid) -> jax.Array:
        """Maps float `[b, [t,] h, w, c]` to the same shape; `maps` holds the map of h×h."""
        shared = LabelConv(self.label_features, self.init_scale, x.dtype, name="mlp_shared")
        size = x.shape[-2]
        if size not in maps:
            known = ", ".join(map(str, maps))
            raise ValueError(
                f"there is no label map of {size}×{size} among those of {known} pixels"
            )
        seen = jax.nn.relu(shared(maps[size]))
        build = functools.partial(_ConvPart, x.shape[-1], seen.shape[-1], self.init_scale)
        parts = [build(name=name) for name in ("mlp_gamma", "mlp_beta")]
        # One convolution: of few channels each, two take up to 1.7 times as long.
        kernel = jnp.concatenate([part.kernel for part in parts], axis=-1)
        both = conv(seen, kernel.astype(seen.dtype))
        halves = zip(parts, jnp.split(both, 2, axis=-1), strict=True)
        gamma, beta = (part(half) for part, half in halves)
        if x.ndim == 5:  # the same for all frames
            gamma, beta = gamma[:, None], beta[:, None]
        norm = BatchNorm(use_affine=False, name="bn") if self.batch_norm else InstanceNorm()
        return norm(x) * (1 + gamma) + beta


class _ConvPart(nn.Module):
    """One of several 3×3 convolutions of the same data, whose caller computes them as one.

    Attributes:
      features: output channels.
      in_features: input channels.
      init_scale: of the initial kernel, see `vidgan_jax.layers.initializers.kernel`.
    """

    features: int
    in_features: int
    init_scale: float

    def setup(self) -> None:
        """Makes `kernel` `[3, 3, in_features, features]` and `bias`."""
        shape = (3, 3, self.in_features, self.features)
        self.kernel = self.param("kernel", initializers.kernel(self.init_scale), shape)
        bias_init = initializers.bias_uniform(9 * self.in_features)
        self.bias = self.param("bias", bias_init, (self.features,))

    def __call__(self, y: jax.Array) -> jax.Array:
        """Adds the bias to the kernel's part of the result."""
        return (y + self.bias).astype(y.dtype)


class SpadeBlock(nn.Module):
    """`skip(x) + conv_1(act(norm_1(conv_0(act(norm_0(x))))))`, hidden width `min(in, out)`.

    Attributes:
      features: output channels; where they differ from the input's, the skip is `conv_s(norm_s(x))`
        with a 1×1 convolution.
      label_features: see `SpadeNorm`.
      batch_norm: likewise.
      spectral_norm: of the convolutions.
      init_scale: of initial kernels, see `vidgan_jax.layers.initializers.kernel`.
    """

    features: int
    label_features: int = 128
    batch_norm: bool = True
    spectral_norm: bool = True
    init_scale: float = PYTORCH_SCALE

    @nn.compact
    def __call__(self, x: jax.Array, maps: Pyramid) -> jax.Array:
        """Maps float `[b, *axes, c]` to `[b, *axes, features]`."""
        hidden = min(x.shape[-1], self.features)
        layer = functools.partial(
            Conv, init_scale=self.init_scale, spectral_norm=self.spectral_norm
        )
        norm = functools.partial(SpadeNorm, self.label_features, self.batch_norm, self.init_scale)
        dx = layer(hidden, name="conv_0")(activation(norm(name="norm_0")(x, maps)))
        dx = layer(self.features, name="conv_1")(activation(norm(name="norm_1")(dx, maps)))
        if x.shape[-1] != self.features:
            to_features = layer(self.features, 1, use_bias=False, name="conv_s")
            x = to_features(norm(name="norm_s")(x, maps))
        return x + dx


def _upsampled(block: SpadeBlock, x: jax.Array, maps: Pyramid, factors: Sequence[int]) -> jax.Array:
    """A block of upsampled data: with remat, the small ones are kept."""
    return block(upsample_nearest(x, factors), maps)


class SpadeGenerator(nn.Module):
    """Label maps to images or clips in (-1, 1).

    Attributes:
      labels: what the channels of the label map are.
      size: height and width of the output, `base_size`·2ⁿ pixels.
      num_frames: frames of the output; 0 for images.
      features: channels at full resolution.
      max_features: most channels anywhere.
      time_stages: upsamplings that double time too, 0 the first. Clips only.
      base_size: height and width before the first upsampling.
      middle_blocks: between the first and the next upsampling: 2, or 1 without `middle_0`.
      middle_upsampling: another upsampling between those two.
      start: "dense", which makes the small end of a latent; "labels", which convolves the label
        map there and leaves latents alone.
      label_features: channels between the label map and scale and shift.
      batch_norm: batch norm where SPADE normalises; instance norm otherwise.
      spectral_norm: of the blocks' convolutions.
      init_scale: of initial kernels, see `vidgan_jax.layers.initializers.kernel`.
      encoder: of real examples to latents (VAE); None for none.
      channels: colour channels.
      dtype: that the network computes in, "bfloat16"; None for that of the data.
      remat: the backward pass computes the blocks' insides anew, see `run_block`.
    """

    labels: LabelChannels
    size: int
    num_frames: int = 0
    features: int = 64
    max_features: int = 1024
    time_stages: Sequence[int] = (0, 1)
    base_size: int = 4
    middle_blocks: int = 2
    middle_upsampling: bool = False
    start: str = "dense"
    label_features: int = 128
    batch_norm: bool = True
    spectral_norm: bool = True
    init_scale: float = 0.0
    encoder: SpadeEncoder | None = None
    channels: int = 3
    dtype: str | None = None
    remat: bool = False

    @nn.compact
    def __call__(
        self, z: jax.Array, cond: jax.Array | None = None, style: jax.Array | None = None
    ) -> jax.Array:
        """Makes frames.

        Args:
          z: latents float `[b, z]`.
          cond: ids, see `vidgan_jax.layers.labels.read_label_map`.
          style: frames in [-1, 1], `[b, [t,] h, w, c]`, only where there is an encoder: z is then
            noise, and the latent is the encoder's mean + deviation · z. Its `mean` and
            `log_variance`, float `[b, z]`, go to `posterior` in the collection `outputs`, where the
            caller makes that mutable.

        Returns:
          `[b, size, size, c]`, or `[b, t, size, size, c]`.

        Raises:
          ValueError: the label map is missing or of another size, `style` has no encoder to go
            to, or attributes don't go together.
        """
        widths = self._widths()
        frames = base_frames(self.num_frames, len(widths) - 1, self.time_stages)
        labels = read_label_map(cond, self.labels, self.size, z.shape[0])
        maps = pyramid(labels, (self.base_size << i for i in range(len(widths))))
        z = enter(self._encode(z, style), self.dtype)
        x = self._begin(z, maps[self.base_size], frames, widths[0])
        stage = 0
        for name, upsampled, features in self._blocks(widths):
            factors = (1,) * (x.ndim - 2)
            if upsampled:
                factors = scales(x.ndim - 2, stage in self.time_stages)
                stage += 1
            block = SpadeBlock(
                features,
                self.label_features,
                self.batch_norm,
                self.spectral_norm,
                self.init_scale,
                name=name,
            )
            run = functools.partial(_upsampled, factors=factors)
            x = run_block(run, block, x, maps, remat=self.remat)
        to_frames = Conv(self.channels, init_scale=self.init_scale, name="conv_img")
        return jnp.tanh(leave(to_frames(activation(x))))

    def _widths(self) -> list[int]:
        """Channels from the small end up, one number for each resolution."""
        if self.start not in STARTS:
            raise ValueError(f"start (={self.start!r}) must be one of {', '.join(STARTS)}")
        if self.middle_blocks not in (1, 2):
            raise ValueError(
                f"middle_blocks (={self.middle_blocks}) must be 2, or 1 without middle_0"
            )
        if self.base_size < 1:
            raise ValueError(f"base_size (={self.base_size}) must be at least 1")
        stages = max(self.size // self.base_size, 1).bit_length() - 1
        if stages < 1 or self.base_size << stages != self.size:
            sizes = ", ".join(str(self.base_size << i) for i in range(1, 6))
            raise ValueError(
                f"size (={self.size}) must be {sizes}, …: base_size (={self.base_size}) · 2ⁿ"
            )
        if self.middle_upsampling and (self.middle_blocks != 2 or stages < 2):
            raise ValueError(
                f"middle_upsampling needs both middle blocks (middle_blocks={self.middle_blocks}) "
                f"and two upsamplings: size (={self.size}) at least 4 · base_size "
                f"(={self.base_size})"
            )
        return [min(self.features << (stages - i), self.max_features) for i in range(stages + 1)]

    def _blocks(self, widths: Sequence[int]) -> list[tuple[str, bool, int]]:
        """Each block's name, whether an upsampling stands before it, its channels."""
        blocks = [("head", False, widths[0])]
        if self.middle_blocks == 2:
            blocks.append(("middle_0", True, widths[1]))
        begun = 2 if self.middle_upsampling else 1
        blocks.append(
            ("middle_1", self.middle_blocks == 1 or self.middle_upsampling, widths[begun])
        )
        rest = widths[begun + 1 :]
        return [*blocks, *((f"up_{i}", True, width) for i, width in enumerate(rest))]

    def _begin(self, z: jax.Array, labels: LabelMap, frames: int, width: int) -> jax.Array:
        """The small end, `[b, [t,] base, base, width]`."""
        axes = ((frames,) if frames else ()) + (self.base_size, self.base_size)
        if self.start == "dense":
            x = Dense(math.prod(axes) * width, self.init_scale, name="fc")(z)
            return x.reshape(z.shape[0], *axes, width)
        x = LabelConv(width, self.init_scale, z.dtype, name="fc")(labels)
        return jnp.broadcast_to(x[:, None], (x.shape[0], *axes, width)) if frames else x

    def _encode(self, z: jax.Array, style: jax.Array | None) -> jax.Array:
        """The latent."""
        if self.encoder is None:
            if style is not None:
                raise ValueError("style is of no use to a generator without an encoder; leave it")
            return z
        if style is None:
            if self.is_initializing():  # the encoder's variables are part of all
                axes = (self.num_frames,) if self.num_frames else ()
                shape = (z.shape[0], *axes, self.size, self.size, self.channels)
                self.encoder(jnp.zeros(shape, z.dtype))
            return z
        mean, log_variance = self.encoder(style)
        if z.shape != mean.shape:
            raise ValueError(
                f"z {z.shape} must be of the shape of the encoder's latents {mean.shape}"
            )
        if not self.is_initializing():
            posterior = {"mean": mean, "log_variance": log_variance}
            self.sow(OUTPUTS, "posterior", posterior, init_fn=dict, reduce_fn=lambda _, new: new)
        return mean + jnp.exp(0.5 * log_variance) * z

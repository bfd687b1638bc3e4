"""DCGAN, for images and clips from one code; of clips it is VGAN's one-stream network.

Source: Radford, Metz, Chintala 2015, arXiv:1511.06434; Vondrick, Pirsiavash, Torralba 2016,
arXiv:1609.02612, section 3; Egan 2019 (MIT thesis), 3.3.1 and figures 3-2 and 3-3, which adds
spectral normalisation. Both networks are strided convolutions only, 4 wide. Stages are counted as
`vidgan_jax.models.stages` says; those that don't double time have kernels 3 wide over it.
"""

import dataclasses
import functools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
from flax import linen as nn

from vidgan_jax.layers import BatchNorm, Conv, ConvTranspose
from vidgan_jax.layers.initializers import DCGAN_STDDEV
from vidgan_jax.layers.precision import enter, leave
from vidgan_jax.models.remat import run_block
from vidgan_jax.models.stages import (
    BASE_SIZE,
    base_frames,
    check_size,
    num_stages,
    refuse_condition,
    scales,
)


@dataclasses.dataclass(frozen=True)
class Layout:
    """Sizes and kinds of a network's layers, the same for both players.

    Attributes:
      size: height and width of examples, 4·2ⁿ pixels.
      num_frames: frames of examples; 0 for images.
      features: channels at half the resolution.
      max_features: most channels anywhere.
      time_stages: stages that double time too. Clips only.
      init_scale: of initial kernels, see `vidgan_jax.layers.initializers.kernel`.
      batch_norm: after every layer but the generator's last, the discriminator's first and last.
      spectral_norm: of every layer.
      dtype: that the layers compute in, "bfloat16"; None for that of the data.
      remat: the backward pass computes the stages' insides anew, see `run_block`.
    """

    size: int
    num_frames: int = 0
    features: int = 64
    max_features: int = 512
    time_stages: tuple[int, ...] = ()
    init_scale: float = 0.0
    batch_norm: bool = True
    spectral_norm: bool = True
    dtype: str | None = None
    remat: bool = False

    @property
    def stages(self) -> list[int]:
        """Channels at the 4×4 end of each stage: at 4×4, 8×8, … half of `size`.

        Raises:
          ValueError: `size` is not 4·2ⁿ with n > 0.
        """
        stages = num_stages(self.size)
        return [min(self.features << (stages - 1 - i), self.max_features) for i in range(stages)]

    @property
    def base(self) -> tuple[int, ...]:
        """Positions at the 4×4 end: `(4, 4)`, or `(t, 4, 4)`.

        Raises:
          ValueError: the frames can't be halved as often as `time_stages` says.
        """
        frames = base_frames(self.num_frames, len(self.stages), self.time_stages)
        return ((frames,) if frames else ()) + (BASE_SIZE, BASE_SIZE)

    def widths(self, stage: int) -> tuple[int, ...]:
        """Kernel widths of a stage's layer, one for each axis."""
        time = (4 if stage in self.time_stages else 3,) * (len(self.base) - 2)
        return (*time, 4, 4)

    def strides(self, stage: int) -> tuple[int, ...]:
        """Strides of a stage's layer, one for each axis."""
        return scales(len(self.base), stage in self.time_stages)


def up(layout: Layout, stage: int, channels: int, name: str, *, use_bias: bool) -> ConvTranspose:
    """The generator's layer that ends a stage; -1 is the one that makes the 4×4 end."""
    return ConvTranspose(
        channels,
        # That one spreads a single position, each tap to a place of its own.
        layout.base if stage < 0 else layout.widths(stage),
        layout.base if stage < 0 else layout.strides(stage),
        use_bias=use_bias,
        init_scale=layout.init_scale,
        spectral_norm=layout.spectral_norm,
        name=name,
    )


def _batch_norm(name: str) -> BatchNorm:
    """With scales that start around 1, as the DCGAN's authors' code has them."""

    def around_one(key: jax.Array, shape: Sequence[int]) -> jax.Array:
        return 1 + DCGAN_STDDEV * jax.random.normal(key, tuple(shape))

    return BatchNorm(scale_init=around_one, name=name)


class DcganTrunk(nn.Module):
    """All of the generator but its last layer: latents to features at half the resolution."""

    layout: Layout

    @nn.compact
    def __call__(self, z: jax.Array) -> jax.Array:
        """Maps latents float `[b, z]` to `[b, [t,] size/2, size/2, features]`, in its dtype."""
        z = enter(z, self.layout.dtype)
        x = z.reshape(z.shape[0], *(1,) * len(self.layout.base), z.shape[-1])
        for i in range(len(self.layout.stages)):
            stage = functools.partial(DcganTrunk._stage, i=i)
            x = run_block(stage, self, x, remat=self.layout.remat)
        return x

    def _stage(self, x: jax.Array, i: int) -> jax.Array:
        normalised = self.layout.batch_norm
        channels = self.layout.stages[i]
        x = up(self.layout, i - 1, channels, f"deconv_{i}", use_bias=not normalised)(x)
        return jax.nn.relu(_batch_norm(f"bn_{i}")(x) if normalised else x)


class DcganGenerator(nn.Module):
    """Latents to images or clips in (-1, 1).

    Attributes:
      layout: of the layers.
      channels: colour channels.
    """

    layout: Layout
    channels: int = 3

    @nn.compact
    def __call__(self, z: jax.Array, cond: jax.Array | None = None) -> jax.Array:
        """Maps latents float `[b, z]` to `[b, size, size, c]`, or `[b, t, size, size, c]`.

        Raises:
          ValueError: a condition was given; this network has no use for one.
        """
        refuse_condition(cond)
        x = DcganTrunk(self.layout, name="trunk")(z)
        last = len(self.layout.stages) - 1
        to_frames = up(self.layout, last, self.channels, "deconv_img", use_bias=True)
        return jnp.tanh(leave(to_frames(x)))


class DcganDiscriminator(nn.Module):
    """Images or clips to one logit each: the generator mirrored, LeakyReLU with slope 0.2.

    Attributes:
      layout: of the layers.
    """

    layout: Layout

    @nn.compact
    def __call__(self, x: jax.Array, cond: jax.Array | None = None) -> jax.Array:
        """Maps frames in [-1, 1], `[b, size, size, c]` or `[b, t, size, size, c]`, to logits `[b]`.

        Raises:
          ValueError: the input is not of the layout's size and frames, or a condition was given.
        """
        refuse_condition(cond)
        layout = self.layout
        check_size(x, layout.size)
        if (x.shape[1] if x.ndim == 5 else 0) != layout.num_frames:
            kind = f"be clips of {layout.num_frames} frames" if layout.num_frames else "be images"
            raise ValueError(f"input {x.shape} must {kind}")
        last = len(layout.stages) - 1
        x = enter(x, layout.dtype)
        for i in reversed(range(last + 1)):
            stage = functools.partial(DcganDiscriminator._stage, i=i)
            x = run_block(stage, self, x, remat=layout.remat)
        to_logit = Conv(
            1,
            layout.base,
            init_scale=layout.init_scale,
            spectral_norm=layout.spectral_norm,
            padding="valid",
            name="conv_logit",
        )
        return leave(to_logit(x)).reshape(x.shape[0])

    def _stage(self, x: jax.Array, i: int) -> jax.Array:
        layout = self.layout
        x = Conv(
            layout.stages[i],
            layout.widths(i),
            layout.strides(i),
            use_bias=not layout.batch_norm,
            init_scale=layout.init_scale,
            spectral_norm=layout.spectral_norm,
            name=f"conv_{i}",
        )(x)
        if layout.batch_norm and i != len(layout.stages) - 1:
            x = _batch_norm(f"bn_{i}")(x)
        return jax.nn.leaky_relu(x, 0.2)

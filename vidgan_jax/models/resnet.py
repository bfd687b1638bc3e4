"""The ResNet GAN of "GAN stability", for images and clips from one code.

Source: Mescheder, Geiger, Nowozin 2018, arXiv:1801.04406; its video form: Egan 2019 (MIT thesis),
figures 3-4 to 3-6. Residual blocks with a 0.1 branch, no normalisation layers. The paper's public
code has four layouts, which its trained weights are of; `LAYOUTS` holds them.
"""

import dataclasses
import functools
import math
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
from flax import linen as nn

from vidgan_jax.layers import Conv, Dense, avg_pool, upsample_nearest
from vidgan_jax.layers.initializers import PYTORCH_SCALE
from vidgan_jax.layers.precision import enter, leave
from vidgan_jax.models.remat import run_block
from vidgan_jax.models.stages import (
    base_frames,
    check_size,
    num_stages,
    refuse_condition,
    scales,
)

_BRANCH_SCALE = 0.1


@dataclasses.dataclass(frozen=True)
class Layout:
    """Where the blocks are. Widths are multiples of the channels at full resolution.

    Attributes:
      start: channels that the generator's dense layer makes at the small end.
      gen: output channels of the generator's blocks at each resolution, from the small end up;
        between two resolutions is an upsampling.
      disc: of the discriminator's, from full resolution down; between two is a pooling.
      image_kernel: width of the convolutions that end at and begin with colours.
      unit_embedding: a class's embedding is divided by its length.
    """

    start: int
    gen: tuple[tuple[int, ...], ...]
    disc: tuple[tuple[int, ...], ...]
    image_kernel: int = 3
    unit_embedding: bool = True

    @property
    def stages(self) -> int:
        """Doublings of resolution."""
        return len(self.gen) - 1


def _doubling(size: int) -> Layout:
    """The paper's: one block at each resolution from 4×4, which changes the width for the next."""
    widths = [1 << i for i in range(num_stages(size) + 1)]
    return Layout(
        start=widths[-1],
        gen=tuple((w,) for w in (*widths[-2::-1], 1)),
        disc=tuple((w,) for w in widths),
    )


_RESNET_2 = Layout(
    start=16,
    gen=((16, 16), (16, 16), (8, 8), (4, 4), (2, 2), (1, 1)),
    disc=((1, 2), (2, 4), (4, 8), (8, 16), (16, 16), (16, 16)),
)
_RESNET_3 = Layout(
    start=32,
    gen=((16,), (16,), (8,), (4,), (2,), (1,), ()),
    disc=((), (2,), (4,), (8,), (16,), (16,), (32,)),
    image_kernel=7,
    unit_embedding=False,
)
_RESNET_4 = Layout(
    start=16,
    gen=((16,), (16,), (8,), (4,), (2,), (1,), (1,)),
    disc=((1,), (1,), (2,), (4,), (8,), (16,), (16,)),
    image_kernel=7,
    unit_embedding=False,
)

# The public code's name → the layout for frames of a size. The first is the paper's, and the
# thesis's; the others double a fixed number of times, to whatever size that makes.
LAYOUTS: dict[str, Callable[[int], Layout]] = {
    "resnet": _doubling,
    "resnet2": lambda size: _RESNET_2,
    "resnet3": lambda size: _RESNET_3,
    "resnet4": lambda size: _RESNET_4,
}


def plan(layout: str, size: int) -> tuple[Layout, int]:
    """The blocks for frames of a size, and the size at the small end.

    Raises:
      ValueError: an unknown layout, or a size that it can't make.
    """
    if layout not in LAYOUTS:
        raise ValueError(f"layout (={layout!r}) must be one of {', '.join(LAYOUTS)}")
    blocks = LAYOUTS[layout](size)
    factor = 1 << blocks.stages
    if size < factor or size % factor:
        raise ValueError(
            f"size (={size}) must be a multiple of {factor} with the layout {layout!r}, which "
            f"doubles {blocks.stages} times"
        )
    return blocks, size // factor


def block_names(resolution: int, number: int) -> list[str]:
    """Names of the blocks at a resolution, counted from the small end in both networks."""
    if number == 1:
        return [f"block_{resolution}"]
    return [f"block_{resolution}_{i}" for i in range(number)]


def activation(x: jax.Array) -> jax.Array:
    """LeakyReLU with slope 0.2."""
    return jax.nn.leaky_relu(x, 0.2)


class ResnetBlock(nn.Module):
    """`skip(x) + 0.1 · conv_1(act(conv_0(act(x))))`, hidden width `min(in, out)`.

    Attributes:
      features: output channels; where they differ from the input's, the skip is a 1×1 convolution.
      init_scale: of initial kernels, see `vidgan_jax.layers.initializers.kernel`.
      spectral_norm: of all convolutions.
      upsampling: x is upsampled before, by nearest neighbour, so many times along all axes, or
        along each. Activations and 1×1 convolutions are done before that all the same, which
        makes no difference but to the work, and the first convolution with it.
    """

    features: int
    init_scale: float = PYTORCH_SCALE
    spectral_norm: bool = False
    upsampling: int | Sequence[int] = 1

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps float `[b, *axes, c]` to `[b, *(axes · upsampling), features]`."""
        hidden = min(x.shape[-1], self.features)
        scale, sn = self.init_scale, self.spectral_norm
        conv = functools.partial(Conv, init_scale=scale, spectral_norm=sn)
        dx = conv(hidden, upsampling=self.upsampling, name="conv_0")(activation(x))
        dx = conv(self.features, name="conv_1")(activation(dx))
        if x.shape[-1] != self.features:
            x = conv(self.features, 1, use_bias=False, name="conv_s")(x)
        return upsample_nearest(x, self.upsampling) + _BRANCH_SCALE * dx


class ResnetGenerator(nn.Module):
    """Latents, and classes where there are any, to images or clips in (-1, 1).

    Attributes:
      size: height and width of the output, pixels: 4·2ⁿ with the layout "resnet".
      num_frames: frames of the output; 0 for images.
      features: channels at full resolution.
      max_features: most channels anywhere.
      time_stages: upsamplings that double time too, 0 the first (4×4 to 8×8). Clips only.
      channels: colour channels.
      init_scale: of initial kernels, see `vidgan_jax.layers.initializers.kernel`.
      spectral_norm: of all layers.
      layout: a name of `LAYOUTS`.
      num_classes: classes, chosen by an embedding beside the latent; 0 for none.
      embed_dim: length of a class's embedding.
      dtype: that the layers compute in, "bfloat16"; None for that of the data.
      remat: the backward pass computes the blocks' insides anew, see `run_block`.
    """

    size: int
    num_frames: int = 0
    features: int = 64
    max_features: int = 1024
    time_stages: Sequence[int] = (0,)
    channels: int = 3
    init_scale: float = PYTORCH_SCALE
    spectral_norm: bool = False
    layout: str = "resnet"
    num_classes: int = 0
    embed_dim: int = 0
    dtype: str | None = None
    remat: bool = False

    @nn.compact
    def __call__(self, z: jax.Array, cond: jax.Array | None = None) -> jax.Array:
        """Maps latents float `[b, z]` to `[b, size, size, c]`, or `[b, t, size, size, c]`.

        Args:
          z: latents.
          cond: each example's class, int `[b]`, from 0; None for the only one there is.

        Raises:
          ValueError: an impossible size, or frames that can't be doubled as often as `time_stages`
            says; a condition without classes, or none with several.
        """
        blocks, base = plan(self.layout, self.size)
        frames = base_frames(self.num_frames, blocks.stages, self.time_stages)
        scale, sn = self.init_scale, self.spectral_norm
        axes = ((frames,) if frames else ()) + (base, base)
        width = _width(blocks.start, self)
        z = enter(self._with_class(z, cond, unit=blocks.unit_embedding), self.dtype)
        x = Dense(math.prod(axes) * width, scale, sn, name="fc")(z)
        x = x.reshape(z.shape[0], *axes, width)
        rank, factors = x.ndim - 2, (1,) * (x.ndim - 2)
        for i, multiples in enumerate(blocks.gen):
            for name, multiple in zip(block_names(i, len(multiples)), multiples, strict=True):
                block = ResnetBlock(_width(multiple, self), scale, sn, factors, name=name)
                x = run_block(ResnetBlock.__call__, block, x, remat=self.remat)
                factors = (1,) * rank
            if i < blocks.stages:
                # Left to the layer that follows, which has less to do before it.
                factors = scales(rank, i in self.time_stages)
        to_frames = Conv(
            self.channels,
            (3, *(blocks.image_kernel,) * 2)[-rank:],
            init_scale=scale,
            spectral_norm=sn,
            upsampling=factors,
            name="conv_img",
        )
        return jnp.tanh(leave(to_frames(activation(x))))

    def _with_class(self, z: jax.Array, cond: jax.Array | None, *, unit: bool) -> jax.Array:
        """Latents with their class's embedding behind them, `[b, z + embed_dim]`."""
        if not self.num_classes:
            refuse_condition(cond)
            return z
        if self.embed_dim < 1:
            raise ValueError(
                f"embed_dim (={self.embed_dim}) must be at least 1 with num_classes "
                f"(={self.num_classes})"
            )
        shape = (self.num_classes, self.embed_dim)
        table = self.param("embedding", nn.initializers.normal(1.0), shape)
        embedded = table[class_ids(cond, self.num_classes, z.shape[0])]
        if unit:
            embedded = embedded / jnp.linalg.norm(embedded, axis=-1, keepdims=True)
        return jnp.concatenate([z, embedded], axis=-1)


class ResnetDiscriminator(nn.Module):
    """Images or clips to one logit each, their class's where there are any: the generator mirrored.

    Attributes:
      size: height and width of the input, pixels: 4·2ⁿ with the layout "resnet".
      features: channels at full resolution.
      max_features: most channels anywhere.
      time_stages: poolings that halve time too, 0 the last (8×8 to 4×4). Clips only.
      init_scale: of initial kernels, see `vidgan_jax.layers.initializers.kernel`.
      spectral_norm: of all layers.
      layout: a name of `LAYOUTS`.
      num_classes: classes, each with a logit of its own; 0 for none.
      dtype: that the layers compute in, "bfloat16"; None for that of the data.
      remat: the backward pass computes the blocks' insides anew, see `run_block`.
    """

    size: int
    features: int = 64
    max_features: int = 1024
    time_stages: Sequence[int] = (0,)
    init_scale: float = PYTORCH_SCALE
    spectral_norm: bool = False
    layout: str = "resnet"
    num_classes: int = 0
    dtype: str | None = None
    remat: bool = False

    @nn.compact
    def __call__(self, x: jax.Array, cond: jax.Array | None = None) -> jax.Array:
        """Maps frames in [-1, 1], `[b, size, size, c]` or `[b, t, size, size, c]`, to logits `[b]`.

        Args:
          x: frames.
          cond: each example's class, int `[b]`, from 0; None for the only one there is.

        Raises:
          ValueError: an impossible size, input of another, or frames that can't be halved as often
            as `time_stages` says; a condition without classes, or none with several.
        """
        blocks, _ = plan(self.layout, self.size)
        check_size(x, self.size)
        # Refuses others.
        base_frames(x.shape[1] if x.ndim == 5 else 0, blocks.stages, self.time_stages)
        scale, sn = self.init_scale, self.spectral_norm
        kernel = (3, *(blocks.image_kernel,) * 2)[-(x.ndim - 2) :]
        from_frames = Conv(
            self.features, kernel, init_scale=scale, spectral_norm=sn, name="conv_img"
        )
        x = from_frames(enter(x, self.dtype))
        for i, multiples in zip(reversed(range(len(blocks.disc))), blocks.disc, strict=True):
            if i < blocks.stages:
                factors = scales(x.ndim - 2, i in self.time_stages)
                # Width 3 in space; over time just the frames that become one.
                x = avg_pool(x, (*factors[:-2], 3, 3), factors)
            for name, multiple in zip(block_names(i, len(multiples)), multiples, strict=True):
                block = ResnetBlock(_width(multiple, self), scale, sn, name=name)
                x = run_block(ResnetBlock.__call__, block, x, remat=self.remat)
        x = activation(x).reshape(x.shape[0], -1)
        logits = leave(Dense(max(1, self.num_classes), scale, sn, name="fc")(x))
        if not self.num_classes:
            refuse_condition(cond)
            return logits[:, 0]
        ids = class_ids(cond, self.num_classes, x.shape[0])
        return jnp.take_along_axis(logits, ids[:, None], axis=1)[:, 0]


def class_ids(cond: jax.Array | None, num_classes: int, batch_size: int) -> jax.Array:
    """Each example's class, int `[b]`; the only one where none is told.

    Raises:
      ValueError: none is told and there are several; or not one whole number an example.
    """
    if cond is None:
        if num_classes > 1:
            raise ValueError(
                f"this GAN has {num_classes} classes: it takes each example's, a whole number from "
                f"0 to {num_classes - 1}"
            )
        return jnp.zeros((batch_size,), jnp.int32)
    if cond.shape != (batch_size,) or not jnp.issubdtype(cond.dtype, jnp.integer):
        raise ValueError(
            f"classes {cond.shape} {cond.dtype} must be one whole number for each of the "
            f"{batch_size} examples"
        )
    return cond


def _width(multiple: int, network: ResnetGenerator | ResnetDiscriminator) -> int:
    """Channels of so many times the features, up to the most there may be."""
    return min(multiple * network.features, network.max_features)

"""A large segmenter: a dilated ResNet-50 whose features are also seen in means over large parts.

Sources: ResNet by He et al. 2015, arXiv:1512.03385; its strides made dilations by Yu, Koltun,
Funkhouser 2017, arXiv:1705.09914; the pyramid and the second head of Zhao et al. 2016,
arXiv:1612.01105; all of it on ADE20K by Zhou et al. 2016, arXiv:1608.05442, whose weights
`vidgan_jax.convert` reads.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jax import lax

from vidgan_jax.layers import BatchNorm, Conv, conv, initializers
from vidgan_jax.layers.dilated import DilatedConv
from vidgan_jax.layers.resize import adaptive_avg_pool, linear_weights
from vidgan_jax.types import BATCH_STATS, OUTPUTS

EXPANSION = 4  # a block's output channels by its inner ones
DEEP_LOGITS = "deep_logits"
# Of each layer of blocks: stride of the first block, its dilation, dilation of the others.
_LAYERS = ((1, 1, 1), (2, 1, 1), (1, 1, 2), (1, 2, 4))
_BINS = (1, 2, 3, 6)
_DROPOUT = 0.1
_HE_SCALE = 2.0  # keeps the variance through ReLUs
# ImageNet's, of RGB in [0, 1].
_MEAN = (0.485, 0.456, 0.406)
_DEVIATION = (0.229, 0.224, 0.225)


class Bottleneck(nn.Module):
    """Three convolutions, 1×1, 3×3, 1×1, beside a shortcut.

    Attributes:
      features: inner channels; `EXPANSION` times as many come out.
      strides: of the 3×3 convolution, and of the shortcut.
      dilation: of the 3×3 convolution; above 1 with stride 1 only.
    """

    features: int
    strides: int = 1
    dilation: int = 1

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps float `[b, h, w, c]` to `[b, ⌈h/strides⌉, ⌈w/strides⌉, EXPANSION·features]`."""
        out = EXPANSION * self.features
        shortcut = x
        if self.strides > 1 or x.shape[-1] != out:
            shortcut = _conv_bn(x, out, 1, self.strides, name="shortcut")
        y = jax.nn.relu(_conv_bn(x, self.features, 1, name="1"))
        if self.dilation > 1:
            y = DilatedConv(self.features, 3, self.dilation, _HE_SCALE, name="conv_2")(y)
            y = BatchNorm(name="bn_2")(y)
        else:
            y = _conv_bn(y, self.features, 3, self.strides, name="2")
        y = _conv_bn(jax.nn.relu(y), out, 1, name="3")
        return jax.nn.relu(y + shortcut)


class Encoder(nn.Module):
    """ResNet with three 3×3 convolutions in front, whose later layers are dilated.

    Attributes:
      stem: channels of the first three convolutions.
      blocks: number of blocks of the four layers.
      features: inner channels of the first layer's blocks; each layer has twice as many.
    """

    stem: Sequence[int] = (64, 64, 128)
    blocks: Sequence[int] = (3, 4, 6, 3)
    features: int = 64

    @nn.compact
    def __call__(self, x: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Maps float `[b, h, w, 3]` to what the last two layers see, an eighth of the size.

        Returns:
          float `[b, ⌈h/8⌉, ⌈w/8⌉, 16·features]`, and one with `32·features`.
        """
        for i, channels in enumerate(self.stem, start=1):
            x = jax.nn.relu(_conv_bn(x, channels, 3, 2 if i == 1 else 1, name=str(i)))
        x = nn.max_pool(x, (3, 3), (2, 2), ((1, 1), (1, 1)))
        seen = []
        layers = zip(self.blocks, _LAYERS, strict=True)
        for i, (number, (strides, first, others)) in enumerate(layers):
            for j in range(number):
                x = Bottleneck(
                    self.features << i,
                    1 if j else strides,
                    others if j else first,
                    name=f"layer{i + 1}_{j}",
                )(x)
            seen.append(x)
        return seen[-2], seen[-1]


class PyramidConv(nn.Module):
    """A 3×3 convolution of features beside coarse ones, which are interpolated to their size.

    The interpolated ones are never made: convolution and interpolation are both linear, so the
    few coarse positions are multiplied by the kernel, and its taps interpolated, each shifted as it
    sees. With the public sizes that saves half of the largest convolution, a fifth of the network.

    Attributes:
      features: output channels.
    """

    features: int

    @nn.compact
    def __call__(self, x: jax.Array, coarse: Sequence[jax.Array]) -> jax.Array:
        """Maps float `[b, h, w, c]` and some `[b, n, n, c']` to `[b, h, w, features]`."""
        channels = [part.shape[-1] for part in (x, *coarse)]
        shape = (3, 3, sum(channels), self.features)
        kernel = self.param("kernel", initializers.kernel(_HE_SCALE), shape).astype(x.dtype)
        of_x, *of_coarse = jnp.split(kernel, np.cumsum(channels)[:-1], axis=2)
        y = conv(x, of_x)
        for part, its_kernel in zip(coarse, of_coarse, strict=True):
            y = y + _conv_interpolated(part, its_kernel, x.shape[1:3])
        return y


class Decoder(nn.Module):
    """From the encoder's features to logits; a second head makes some from its earlier layer.

    Attributes:
      num_classes: logits of a position.
      features: channels of each part of the pyramid, and of what it is joined to.
    """

    num_classes: int
    features: int = 512

    @nn.compact
    def __call__(self, earlier: jax.Array, last: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Maps the encoder's results to logits and the second head's, `[b, h, w, num_classes]`."""
        coarse = []
        for i, bins in enumerate(_BINS):
            y = _conv_bn(adaptive_avg_pool(last, bins), self.features, 1, name=f"pool_{i}")
            coarse.append(jax.nn.relu(y))
        y = PyramidConv(self.features, name="conv_join")(last, coarse)
        y = jax.nn.relu(BatchNorm(name="bn_join")(y))
        deep = jax.nn.relu(_conv_bn(earlier, self.features, 3, name="deep"))
        return self._logits(y, "logit"), self._logits(deep, "deep_logit")

    def _logits(self, x: jax.Array, name: str) -> jax.Array:
        is_training = self.is_mutable_collection(BATCH_STATS) and not self.is_initializing()
        # Whole channels, since neighbouring positions tell nearly the same.
        dropout = nn.Dropout(_DROPOUT, broadcast_dims=(1, 2), name=f"dropout_{name}")
        x = dropout(x, deterministic=not is_training)
        return Conv(self.num_classes, 1, name=f"conv_{name}")(x)


class Segmenter(nn.Module):
    """Images to logits of classes, at an eighth of the resolution.

    The second head's logits, which help in training (by a weight of 0.4 beside the first), are
    sown as `DEEP_LOGITS` where `OUTPUTS` may change. In training, which is where `BATCH_STATS` may,
    channels are dropped by the random numbers called "dropout".

    Attributes:
      num_classes: logits of a position.
      stem: see `Encoder`.
      blocks: likewise.
      features: likewise.
      head_features: `features` of the `Decoder`.
    """

    num_classes: int = 150
    stem: Sequence[int] = (64, 64, 128)
    blocks: Sequence[int] = (3, 4, 6, 3)
    features: int = 64
    head_features: int = 512

    @nn.compact
    def __call__(self, images: jax.Array) -> jax.Array:
        """Maps RGB images in [-1, 1] to logits.

        Args:
          images: float `[b, h, w, 3]`, of any size.

        Returns:
          float `[b, ⌈h/8⌉, ⌈w/8⌉, num_classes]`.

        Raises:
          ValueError: another shape.
        """
        if images.ndim != 4 or images.shape[-1] != 3 or 0 in images.shape:
            raise ValueError(f"images {images.shape} must be [b, h, w, 3], none of them 0")
        mean, deviation = (jnp.asarray(of, images.dtype) for of in (_MEAN, _DEVIATION))
        x = (images - (2 * mean - 1)) / (2 * deviation)
        encoder = Encoder(self.stem, self.blocks, self.features, name="encoder")
        decoder = Decoder(self.num_classes, self.head_features, name="decoder")
        logits, deep = decoder(*encoder(x))
        if not self.is_initializing():
            self.sow(OUTPUTS, DEEP_LOGITS, deep, init_fn=dict, reduce_fn=lambda _, new: new)
        return logits


def network_of(params: Mapping[str, Any]) -> Segmenter:
    """The network that parameters are of.

    Args:
      params: the collection, with leaves that have `shape`.

    Raises:
      ValueError: they are of another network.
    """
    try:
        encoder, decoder = params["encoder"], params["decoder"]
        names = [name.split("_")[0] for name in encoder]
        return Segmenter(
            num_classes=decoder["conv_logit"]["bias"].shape[0],
            stem=tuple(encoder[f"conv_{i}"]["kernel"].shape[-1] for i in (1, 2, 3)),
            blocks=tuple(names.count(f"layer{i}") for i in (1, 2, 3, 4)),
            features=encoder["layer1_0"]["conv_1"]["kernel"].shape[-1],
            head_features=decoder["conv_join"]["kernel"].shape[-1],
        )
    except KeyError as error:
        raise ValueError(f"the network lacks {error} and so is no segmenter") from error


def _conv_bn(
    x: jax.Array, features: int, kernel_size: int, strides: int = 1, *, name: str
) -> jax.Array:
    """A convolution without bias, `conv_NAME`, and batch norm, `bn_NAME`."""
    convolve = Conv(
        features, kernel_size, strides, use_bias=False, init_scale=_HE_SCALE, name=f"conv_{name}"
    )
    return BatchNorm(name=f"bn_{name}")(convolve(x))


def _conv_interpolated(coarse: jax.Array, kernel: jax.Array, size: Sequence[int]) -> jax.Array:
    """`[b, n, n, c]`, interpolated to `size`, by a 3×3 kernel: `[b, h, w, features]`."""
    rows, columns = (
        _seen_by_taps(linear_weights(n, out)).astype(coarse.dtype)
        for n, out in zip(coarse.shape[1:3], size, strict=True)
    )
    given = jnp.einsum("bpqc,ijcf->bijpqf", coarse, kernel)
    y = jnp.einsum("ihp,bijpqf->bhjqf", rows, given, precision=lax.Precision.HIGHEST)
    return jnp.einsum("jwq,bhjqf->bhwf", columns, y, precision=lax.Precision.HIGHEST)


def _seen_by_taps(weights: np.ndarray) -> np.ndarray:
    """`[out, n]` → `[3, out, n]`: of the position before, at and behind each; zeros beyond."""
    padded = np.pad(weights, ((1, 1), (0, 0)))
    return np.stack([padded[i : i + len(weights)] for i in range(3)])

"""SPADE's discriminator, for images and clips from one code: patches judged at several scales.

Source: Park, Liu, Wang, Zhu 2019, arXiv:1903.07291, appendix A; Wang et al. 2018 (pix2pixHD),
arXiv:1711.11585, section 3.2; Isola et al. 2017 (PatchGAN), arXiv:1611.07004, section 3.2.2; its
video form: Egan 2019 (MIT thesis), 3.3.3 and figure 3-8.
"""

import functools

import jax
from flax import linen as nn

from vidgan_jax.layers import Conv, InstanceNorm, avg_pool
from vidgan_jax.layers.conv import Padding
from vidgan_jax.layers.labels import (
    LabelChannels,
    LabelledConv,
    LabelMap,
    pool_labels,
    read_label_map,
)
from vidgan_jax.layers.precision import enter, leave
from vidgan_jax.models.remat import run_block
from vidgan_jax.types import OUTPUTS

_WIDTH = 4
_TIME_WIDTH = 3
_MAX_FEATURES = 512

Features = tuple[jax.Array, ...]


def _axes(rank: int, time: int, space: int) -> tuple[int, ...]:
    """One number for each axis."""
    return (time,) * (rank - 2) + (space, space)


class PatchDiscriminator(nn.Module):
    """One scale.

    Attributes:
      features: channels after the first layer, doubled with each one more.
      layers: before the logits.
      last_stride: of the last of them; of the others it is 2.
      padding: of all, as for `vidgan_jax.layers.conv`.
      spectral_norm: of all but the first and the logits'.
      init_scale: of initial kernels, see `vidgan_jax.layers.initializers.kernel`.
      remat: the backward pass computes the layers' insides anew, see `run_block`.
    """

    features: int
    layers: int
    last_stride: int
    padding: Padding
    spectral_norm: bool
    init_scale: float
    remat: bool

    @nn.compact
    def __call__(self, x: jax.Array, labels: LabelMap | jax.Array) -> tuple[jax.Array, Features]:
        """Maps frames and a label map to logits `[b, [t,] h', w']` and each layer's activations."""
        features = []
        for i in range(self.layers):
            layer = functools.partial(PatchDiscriminator._layer, i=i)
            x = run_block(layer, self, x, labels, remat=self.remat)
            features.append(x)
        widths = _axes(x.ndim - 2, _TIME_WIDTH, _WIDTH)
        to_logits = Conv(
            1, widths, init_scale=self.init_scale, padding=self.padding, name="conv_logit"
        )
        return to_logits(x)[..., 0], tuple(features)

    def _layer(self, x: jax.Array, labels: LabelMap | jax.Array, i: int) -> jax.Array:
        rank, scale, padding = x.ndim - 2, self.init_scale, self.padding
        widths = _axes(rank, _TIME_WIDTH, _WIDTH)
        width = min(self.features << i, max(_MAX_FEATURES, self.features))
        stride = self.last_stride if i == self.layers - 1 else 2
        if i == 0:
            first = LabelledConv(width, widths, stride, scale, padding, name="conv_0")
            return jax.nn.leaky_relu(first(x, labels), 0.2)
        x = Conv(
            width,
            widths,
            _axes(rank, 1, stride),
            use_bias=False,
            init_scale=scale,
            spectral_norm=self.spectral_norm,
            padding=padding,
            name=f"conv_{i}",
        )(x)
        return jax.nn.leaky_relu(InstanceNorm(name=f"norm_{i}")(x), 0.2)


class SpadeDiscriminator(nn.Module):
    """Images or clips and their label maps to logits of patches, at several scales.

    Each scale sees what the one before it sees, average-pooled to half of that: frames in time as
    well. Where the caller makes the collection `outputs` mutable, it gets `features`: for each
    scale the activations of each layer before the logits.

    Attributes:
      labels: what the channels of the label map are.
      size: height and width of the input, pixels.
      num_frames: frames of clips; 0 for images.
      features: channels after the first layer, doubled with each one more.
      layers: before the logits.
      scales: copies of the network.
      last_stride: of the last layer before the logits; of the others it is 2.
      padding: zeros on each side in space of every convolution; 0 for as many as "same" has.
      spectral_norm: of all layers but the first and the logits'.
      init_scale: of initial kernels, see `vidgan_jax.layers.initializers.kernel`.
      dtype: that the network computes in, "bfloat16"; None for that of the data.
      remat: the backward pass computes the layers' insides anew, see `run_block`.
    """

    labels: LabelChannels
    size: int
    num_frames: int = 0
    features: int = 64
    layers: int = 3
    scales: int = 2
    last_stride: int = 2
    padding: int = 0
    spectral_norm: bool = True
    init_scale: float = 0.0
    dtype: str | None = None
    remat: bool = False

    @nn.compact
    def __call__(self, x: jax.Array, cond: jax.Array | None = None) -> tuple[jax.Array, ...]:
        """Maps frames in [-1, 1] and their label maps to logits, one array for each scale.

        Args:
          x: float `[b, size, size, c]` or `[b, t, size, size, c]`.
          cond: ids, see `vidgan_jax.layers.labels.read_label_map`.

        Returns:
          float `[b, h', w']` or `[b, t', h', w']` each.

        Raises:
          ValueError: frames or label maps are not of the network's size, or not as many.
        """
        self._check(x)
        labels: LabelMap | jax.Array = read_label_map(cond, self.labels, self.size, x.shape[0])
        x = enter(x, self.dtype)
        rank, logits, features = x.ndim - 2, [], []
        for i in range(self.scales):
            if i:
                x = avg_pool(x, (3,) * rank, (2,) * rank, count_padding=False)
                labels = pool_labels(labels)
            patches = PatchDiscriminator(
                self.features,
                self.layers,
                self.last_stride,
                self.padding or "same",
                self.spectral_norm,
                self.init_scale,
                self.remat,
                name=f"scale_{i}",
            )
            of_scale, activations = patches(x, labels)
            logits.append(leave(of_scale))
            features.append(activations)
        if not self.is_initializing():
            self.sow(
                OUTPUTS,
                "features",
                tuple(features),
                init_fn=tuple,
                reduce_fn=lambda _, new: new,
            )
        return tuple(logits)

    def _check(self, x: jax.Array) -> None:
        for name in ("layers", "scales", "last_stride"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} (={getattr(self, name)}) must be at least 1")
        axes = ((self.num_frames,) if self.num_frames else ()) + (self.size, self.size)
        if x.shape[1:-1] != axes:
            kind = f"clips of {self.num_frames} frames" if self.num_frames else "images"
            raise ValueError(f"input {x.shape} must be {kind} of {self.size}×{self.size}")

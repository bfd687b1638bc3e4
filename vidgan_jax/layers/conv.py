"""Convolution of any rank, and its transpose: zeros around in space, end frames repeated in time.

An axis order of `b [t] *space c` throughout; a clip has exactly one more axis than an image, the
leading one of time. Zero padding in time would dim the first and last frames (a factor of ⅔ for
each 3-tap layer) and so break inflation, see `vidgan_jax.inflation`. How each platform computes it:
`vidgan_jax.layers.lowering`.
"""

import math
from collections.abc import Sequence
from typing import Literal

import jax
from flax import linen as nn

from vidgan_jax.layers import initializers, lowering
from vidgan_jax.layers.geometry import Geometry
from vidgan_jax.layers.spectral import spectral_normalize

Padding = Literal["same", "valid"] | int
_SPATIAL_AXES = 2


def per_axis(value: int | Sequence[int], rank: int, name: str) -> tuple[int, ...]:
    """One number for each axis: an int stands for all of them.

    Raises:
      ValueError: a sequence of another length than `rank`, or a number below 1.
    """
    values = (value,) * rank if isinstance(value, int) else tuple(value)
    if len(values) != rank or any(v < 1 for v in values):
        raise ValueError(
            f"{name} (={value}) must be one positive number, or {rank} of them, for data of rank "
            f"{rank} (time first)"
        )
    return values


def conv(
    x: jax.Array, kernel: jax.Array, strides: int | Sequence[int] = 1, padding: Padding = "same"
) -> jax.Array:
    """Convolves an image or a clip.

    With "same" padding the output has `ceil(size / stride)` positions: an axis of kernel width k is
    padded by (k-1)//2 in front and k//2 behind (stride 1), by zeros in space and by the end frames
    in time. With "valid" nothing is padded; with a number, so many zeros stand on each side in
    space, and time is padded as with "same".

    Args:
      x: float `[b, *axes, c_in]`; two axes of space, or time and two axes of space.
      kernel: float `[*widths, c_in, c_out]`.
      strides: for all axes, or one for each.
      padding: "same", "valid", or zeros on each side.

    Returns:
      float `[b, *axes', c_out]`.

    Raises:
      ValueError: the ranks of `x` and `kernel`, or their channels, disagree; another padding.
    """
    rank = _check_fit(x, kernel)
    widths = kernel.shape[:rank]
    pads = pads_of(widths, padding)
    time = pads[0] if rank > _SPATIAL_AXES else (0, 0)
    strides = per_axis(strides, rank, "strides")
    geometry = Geometry(x.shape[1:-1], widths, strides, time, tuple(pads[-_SPATIAL_AXES:]))
    return lowering.conv(geometry, x, kernel)


def pads_of(widths: Sequence[int], padding: Padding) -> list[tuple[int, int]]:
    """How far a kernel's axes are padded in front and behind, see `conv`.

    Raises:
      ValueError: `padding` is none.
    """
    if padding not in ("same", "valid") and not (isinstance(padding, int) and padding >= 0):
        raise ValueError(
            f"padding (={padding!r}) must be 'same' or 'valid', or zeros on each side, from 0"
        )
    pads = [(0, 0) if padding == "valid" else ((k - 1) // 2, k // 2) for k in widths]
    if isinstance(padding, int):
        pads[-_SPATIAL_AXES:] = [(padding, padding)] * _SPATIAL_AXES
    return pads


def _check_fit(x: jax.Array, kernel: jax.Array) -> int:
    """The rank of the data."""
    rank = x.ndim - 2
    if rank not in (2, 3) or kernel.ndim != rank + 2 or kernel.shape[-2] != x.shape[-1]:
        raise ValueError(
            f"data {x.shape} and kernel {kernel.shape} do not fit: [b, *axes, c_in] and "
            "[*widths, c_in, c_out] with 2 axes (image) or 3 (clip) wanted"
        )
    return rank


def conv_transpose(x: jax.Array, kernel: jax.Array, strides: int | Sequence[int] = 1) -> jax.Array:
    """The transposed convolution: every axis comes out `stride` times as long.

    `y[s·i + j - crop] += x[i] · kernel[j]` along each axis, where `crop = (k - s + 1) // 2`: the
    ends beyond the output are cut off. (It is PyTorch's with `padding = crop` and `output_padding =
    2·crop - k + s`.) In time the clip goes on beyond its ends with its first and last frame.

    Args:
      x: float `[b, *axes, c_in]`; two axes of space, or time and two axes of space.
      kernel: float `[*widths, c_in, c_out]`.
      strides: for all axes, or one for each; none above the kernel's width.

    Returns:
      float `[b, *(axes · strides), c_out]`.

    Raises:
      ValueError: ranks or channels of `x` and `kernel` disagree; a stride above the kernel's width,
        which would leave holes.
    """
    rank = _check_fit(x, kernel)
    strides = per_axis(strides, rank, "strides")
    widths = kernel.shape[:rank]
    if any(s > k for s, k in zip(strides, widths, strict=True)):
        raise ValueError(
            f"strides (={strides}) must not be above the kernel's widths {widths}: some positions "
            "of the output would see no input"
        )
    return lowering.conv_transpose(spreading(x.shape[1:-1], widths, strides), x, kernel)


def conv_upsampled(x: jax.Array, kernel: jax.Array, factors: int | Sequence[int]) -> jax.Array:
    """`conv` with "same" padding of data whose every position is repeated `factors` times.

    On CPUs the upsampled data are never made: their neighbours are equal, so the kernel's entries
    that see equal ones are added up, and what is left is a transposed convolution. For 3×3×3 and
    factors of 2 that multiplies 8 times for each output instead of 27.

    Args:
      x: float `[b, *axes, c_in]`; two axes of space, or time and two axes of space.
      kernel: float `[*widths, c_in, c_out]`.
      factors: for all axes, or one for each (time first).

    Returns:
      float `[b, *(axes · factors), c_out]`.

    Raises:
      ValueError: the ranks of `x` and `kernel`, or their channels, disagree.
    """
    rank = _check_fit(x, kernel)
    factors = per_axis(factors, rank, "factors")
    widths = tuple(k + f - 1 for k, f in zip(kernel.shape[:rank], factors, strict=True))
    return lowering.conv_upsampled(spreading(x.shape[1:-1], widths, factors), x, kernel)


def spreading(size: Sequence[int], widths: Sequence[int], strides: Sequence[int]) -> Geometry:
    """Of a transposed convolution of data of a size; it is that of its gradient."""
    axes = list(zip(size, widths, strides, strict=True))
    pads = [((k - s + 1) // 2, (k - s) // 2) for _, k, s in axes]
    time = pads[0] if len(axes) > _SPATIAL_AXES else (0, 0)
    out = tuple(n * s for n, _, s in axes)
    return Geometry(out, tuple(widths), tuple(strides), time, tuple(pads[-_SPATIAL_AXES:]))


class Conv(nn.Module):
    """Convolution of the rank that its input has.

    Attributes:
      features: output channels.
      kernel_size: width along every axis, or one for each axis (time first).
      strides: likewise.
      use_bias: add a bias for each output channel.
      init_scale: of the initial kernel, see `vidgan_jax.layers.initializers.kernel`.
      spectral_norm: divide the kernel by its spectral norm.
      padding: "same", "valid" or a number, see `conv`.
      upsampling: repeat every position so many times before, see `conv_upsampled`; for all axes, or
        one number for each. Then strides are 1 and padding is "same".
    """

    features: int
    kernel_size: int | Sequence[int] = 3
    strides: int | Sequence[int] = 1
    use_bias: bool = True
    init_scale: float = initializers.PYTORCH_SCALE
    spectral_norm: bool = False
    padding: Padding = "same"
    upsampling: int | Sequence[int] = 1

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps float `[b, *axes, c]` to `[b, *axes', features]`, computed in that dtype."""
        widths = per_axis(self.kernel_size, x.ndim - 2, "kernel_size")
        shape = (*widths, x.shape[-1], self.features)
        kernel = self.param("kernel", initializers.kernel(self.init_scale), shape)
        if self.spectral_norm:
            kernel = spectral_normalize(self, kernel)
        kernel = kernel.astype(x.dtype)
        if max(per_axis(self.upsampling, x.ndim - 2, "upsampling")) > 1:
            y = conv_upsampled(x, kernel, self.upsampling)
        else:
            y = conv(x, kernel, self.strides, self.padding)
        if self.use_bias:
            bias_init = initializers.bias_uniform(math.prod(shape[:-1]))
            y = y + self.param("bias", bias_init, (self.features,))
        return y.astype(x.dtype)


class ConvTranspose(nn.Module):
    """Transposed convolution of the rank that its input has; see `conv_transpose`.

    Attributes:
      features: output channels.
      kernel_size: width along every axis, or one for each axis (time first).
      strides: likewise; none above the kernel's width.
      use_bias: add a bias for each output channel.
      init_scale: of the initial kernel, see `vidgan_jax.layers.initializers.kernel`.
      spectral_norm: divide the kernel by its spectral norm.
    """

    features: int
    kernel_size: int | Sequence[int] = 4
    strides: int | Sequence[int] = 2
    use_bias: bool = True
    init_scale: float = initializers.PYTORCH_SCALE
    spectral_norm: bool = False

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps float `[b, *axes, c]` to `[b, *(axes · strides), features]`, as `Conv` does."""
        rank = x.ndim - 2
        widths = per_axis(self.kernel_size, rank, "kernel_size")
        # An output sees one in ∏s of the kernel's taps.
        phases = math.prod(per_axis(self.strides, rank, "strides"))
        shape = (*widths, x.shape[-1], self.features)
        kernel = self.param("kernel", initializers.kernel(self.init_scale, share=1 / phases), shape)
        if self.spectral_norm:
            kernel = spectral_normalize(self, kernel)
        y = conv_transpose(x, kernel.astype(x.dtype), self.strides)
        if self.use_bias:
            fan_in = max(1, math.prod(shape[:-1]) // phases)
            y = y + self.param("bias", initializers.bias_uniform(fan_in), (self.features,))
        return y.astype(x.dtype)

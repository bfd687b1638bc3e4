"""Convolution of any rank, and its transpose: zeros around in space, end frames repeated in time.

An axis order of `b [t] *space c` throughout; a clip has exactly one more axis than an image, the
leading one of time. Zero padding in time would dim the first and last frames (a factor of ⅔ for
each 3-tap layer) and so break inflation, see `vidgan_jax.inflation`.
"""

import functools
import itertools
import math
import operator
from collections.abc import Sequence
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax import lax

from vidgan_jax.layers import initializers
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


def pad_time(x: jax.Array, before: int, after: int) -> jax.Array:
    """Repeats the first frame `before` and the last one `after` times; `x` is `[b, t, ...]`."""
    if before == 0 and after == 0:
        return x
    first = jnp.broadcast_to(x[:, :1], (x.shape[0], before, *x.shape[2:]))
    last = jnp.broadcast_to(x[:, -1:], (x.shape[0], after, *x.shape[2:]))
    return jnp.concatenate([first, x, last], axis=1)


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
    strides = per_axis(strides, rank, "strides")
    pads = pads_of(kernel.shape[:rank], padding)
    if rank > _SPATIAL_AXES:
        x = pad_time(x, *pads[0])
    return _conv(x, kernel, strides, pads[-_SPATIAL_AXES:])


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


def _conv(
    x: jax.Array, kernel: jax.Array, strides: Sequence[int], padding: Sequence[tuple[int, int]]
) -> jax.Array:
    """Padded by zeros in space as told, not at all in time."""
    if x.ndim - 2 == _SPATIAL_AXES:
        return _conv_2d(x, kernel, strides, padding)
    return lax.platform_dependent(
        x,
        kernel,
        cpu=functools.partial(_conv_3d_by_taps, strides=strides, padding=padding),
        default=functools.partial(_conv_3d, strides=strides, padding=[(0, 0), *padding]),
    )


def _conv_2d(
    x: jax.Array, kernel: jax.Array, strides: Sequence[int], padding: Sequence[tuple[int, int]]
) -> jax.Array:
    return lax.conv_general_dilated(
        x, kernel, strides, padding, dimension_numbers=("NHWC", "HWIO", "NHWC")
    )


def _conv_3d(
    x: jax.Array, kernel: jax.Array, strides: Sequence[int], padding: Sequence[tuple[int, int]]
) -> jax.Array:
    return lax.conv_general_dilated(
        x, kernel, strides, padding, dimension_numbers=("NDHWC", "DHWIO", "NDHWC")
    )


def _conv_3d_by_taps(
    x: jax.Array, kernel: jax.Array, strides: Sequence[int], padding: Sequence[tuple[int, int]]
) -> jax.Array:
    """A sum over the kernel's temporal taps of 2D convolutions, frames in the batch; time "valid".

    XLA's own 3D convolution is slow on CPUs: a whole ResNet step (4 clips of 8·64·64, 16 to 128
    channels) took 8.5 s with it and 2.2 s so, on two cores with jax 0.10.2.
    """
    frames = (x.shape[1] - kernel.shape[0]) // strides[0] + 1

    def tap(i: int) -> jax.Array:
        seen = x[:, i : i + (frames - 1) * strides[0] + 1 : strides[0]]
        return _conv_2d(seen.reshape(-1, *x.shape[2:]), kernel[i], strides[1:], padding)

    y = functools.reduce(operator.add, map(tap, range(kernel.shape[0])))
    return y.reshape(x.shape[0], frames, *y.shape[1:])


class _Phases(NamedTuple):
    """Neighbouring output phases of one axis that see the same inputs.

    Output `s·m + r`, for each phase r, sees the inputs `m + first` … `m + first + taps - 1`, the
    one at `m + d` through the kernel's entry `r + crop - s·d`.
    """

    first: int
    taps: int
    phases: list[int]


def _axis_phases(width: int, stride: int) -> list[_Phases]:
    """The phases of an axis in order; no tap of a kernel is in two of them, none is left out."""
    crop = (width - stride + 1) // 2
    groups: list[_Phases] = []
    for phase in range(stride):
        last = (phase + crop) // stride
        first = -((width - 1 - phase - crop) // stride)
        if groups and groups[-1][:2] == (first, last - first + 1):
            groups[-1].phases.append(phase)
        else:
            groups.append(_Phases(first, last - first + 1, [phase]))
    return groups


def _phase_taps(kernel: jax.Array, axis: int, group: _Phases, stride: int) -> jax.Array:
    """Cuts a group's taps out: the axis becomes `[phases, taps]`, taps in the inputs' order."""
    crop = (kernel.shape[axis] - stride + 1) // 2
    cut = []
    for phase in group.phases:
        lowest = phase + crop - stride * (group.first + group.taps - 1)
        highest = lowest + stride * (group.taps - 1)
        taps = lax.slice_in_dim(kernel, lowest, highest + 1, stride, axis)
        cut.append(jnp.flip(taps, axis))
    return jnp.stack(cut, axis)


def conv_transpose(x: jax.Array, kernel: jax.Array, strides: int | Sequence[int] = 1) -> jax.Array:
    """The transposed convolution: every axis comes out `stride` times as long.

    `y[s·i + j - crop] += x[i] · kernel[j]` along each axis, where `crop = (k - s + 1) // 2`: the
    ends beyond the output are cut off. (It is PyTorch's with `padding = crop` and `output_padding =
    2·crop - k + s`.) In time the clip goes on beyond its ends with its first and last frame.

    Output positions fall into `s` phases, and each phase is a small convolution of `x` with every
    `s`-th tap. They are computed as such: nothing is multiplied by the zeros between dilated
    inputs, nothing is computed beyond the ends and cut off, and phases that see the same inputs
    are one convolution. (XLA's dilated one took 15 to 60 times as long on two CPU cores, jax
    0.10.2, kernels of 4×4×4 with stride 2.)

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
    groups = [_axis_phases(k, s) for k, s in zip(widths, strides, strict=True)]
    before = [max(0, *(-g.first for g in axis)) for axis in groups]
    after = [max(0, *(g.first + g.taps - 1 for g in axis)) for axis in groups]
    if rank > _SPATIAL_AXES:
        x = pad_time(x, before[0], after[0])
    space = list(zip(before, after, strict=True))[-_SPATIAL_AXES:]
    padded = jnp.pad(x, ((0, 0),) * (rank - 1) + (*space, (0, 0)))
    sizes = [n - b - a for n, b, a in zip(padded.shape[1:-1], before, after, strict=True)]

    def phase(*chosen: _Phases) -> jax.Array:
        """`[b, *axes, *phases, c_out]` of one group of phases along each axis."""
        window, taps = padded, kernel
        for axis, group in enumerate(chosen):
            start = before[axis] + group.first
            window = lax.slice_in_dim(
                window, start, start + sizes[axis] + group.taps - 1, 1, 1 + axis
            )
            # Axes before this one are two each by now.
            taps = _phase_taps(taps, 2 * axis, group, strides[axis])
        # [r0, k0, r1, k1, …, i, o] → [k0, k1, …, i, r0, r1, …, o]
        order = (*range(1, 2 * rank, 2), 2 * rank, *range(0, 2 * rank, 2), 2 * rank + 1)
        taps = taps.transpose(order)
        phases = taps.shape[rank + 1 :]
        flat = taps.reshape(*taps.shape[: rank + 1], math.prod(phases))
        y = _conv(window, flat, (1,) * rank, [(0, 0)] * _SPATIAL_AXES)
        return y.reshape(*y.shape[:-1], *phases)

    def gather(*chosen: _Phases) -> jax.Array:
        """Joins the phases of the axes that `chosen` leaves open."""
        if len(chosen) == rank:
            return phase(*chosen)
        parts = [gather(*chosen, group) for group in groups[len(chosen)]]
        return jnp.concatenate(parts, axis=1 + rank + len(chosen))

    y = gather()
    # [b, n0, n1, …, s0, s1, …, o] → [b, n0, s0, n1, s1, …, o]
    pairs = itertools.chain.from_iterable((1 + i, 1 + rank + i) for i in range(rank))
    y = y.transpose(0, *pairs, 1 + 2 * rank)
    return y.reshape(x.shape[0], *(n * s for n, s in zip(sizes, strides, strict=True)), y.shape[-1])


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
    """

    features: int
    kernel_size: int | Sequence[int] = 3
    strides: int | Sequence[int] = 1
    use_bias: bool = True
    init_scale: float = initializers.PYTORCH_SCALE
    spectral_norm: bool = False
    padding: Padding = "same"

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps float `[b, *axes, c]` to `[b, *axes', features]`."""
        widths = per_axis(self.kernel_size, x.ndim - 2, "kernel_size")
        shape = (*widths, x.shape[-1], self.features)
        kernel = self.param("kernel", initializers.kernel(self.init_scale), shape)
        if self.spectral_norm:
            kernel = spectral_normalize(self, kernel)
        y = conv(x, kernel, self.strides, self.padding)
        if self.use_bias:
            bias_init = initializers.bias_uniform(math.prod(shape[:-1]))
            y = y + self.param("bias", bias_init, (self.features,))
        return y


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
        """Maps float `[b, *axes, c]` to `[b, *(axes · strides), features]`."""
        rank = x.ndim - 2
        widths = per_axis(self.kernel_size, rank, "kernel_size")
        # An output sees one in ∏s of the kernel's taps.
        phases = math.prod(per_axis(self.strides, rank, "strides"))
        shape = (*widths, x.shape[-1], self.features)
        kernel = self.param("kernel", initializers.kernel(self.init_scale, share=1 / phases), shape)
        if self.spectral_norm:
            kernel = spectral_normalize(self, kernel)
        y = conv_transpose(x, kernel, self.strides)
        if self.use_bias:
            fan_in = max(1, math.prod(shape[:-1]) // phases)
            y = y + self.param("bias", initializers.bias_uniform(fan_in), (self.features,))
        return y

"""Convolution of any rank: zeros around in space, the end frames repeated in time.

An axis order of `b [t] *space c` throughout; a clip has exactly one more axis than an image, the
leading one of time. Zero padding in time would dim the first and last frames (a factor of ⅔ for
each 3-tap layer) and so break inflation, see `vidgan_jax.inflate`.
"""

import functools
import math
import operator
from collections.abc import Sequence

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax import lax

from vidgan_jax.layers import initializers

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


def conv(x: jax.Array, kernel: jax.Array, strides: int | Sequence[int] = 1) -> jax.Array:
    """Convolves an image or a clip, "same" padding: the output has `ceil(size / stride)` positions.

    An axis of kernel width k is padded by (k-1)//2 in front and k//2 behind (stride 1), by zeros in
    space and by the end frames in time.

    Args:
      x: float `[b, *axes, c_in]`; two axes of space, or time and two axes of space.
      kernel: float `[*widths, c_in, c_out]`.
      strides: for all axes, or one for each.

    Returns:
      float `[b, *axes', c_out]`.

    Raises:
      ValueError: the ranks of `x` and `kernel`, or their channels, disagree.
    """
    rank = x.ndim - 2
    if rank not in (2, 3) or kernel.ndim != rank + 2 or kernel.shape[-2] != x.shape[-1]:
        raise ValueError(
            f"data {x.shape} and kernel {kernel.shape} do not fit: [b, *axes, c_in] and "
            "[*widths, c_in, c_out] with 2 axes (image) or 3 (clip) wanted"
        )
    strides = per_axis(strides, rank, "strides")
    padding = [((k - 1) // 2, k // 2) for k in kernel.shape[:rank]]
    if rank == _SPATIAL_AXES:
        return _conv_2d(x, kernel, strides, padding)
    x = pad_time(x, *padding[0])
    return lax.platform_dependent(
        x,
        kernel,
        cpu=functools.partial(_conv_3d_by_taps, strides=strides, padding=padding[1:]),
        default=functools.partial(_conv_3d, strides=strides, padding=[(0, 0), *padding[1:]]),
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


class Conv(nn.Module):
    """Convolution with "same" padding, of the rank that its input has.

    Attributes:
      features: output channels.
      kernel_size: width along every axis, or one for each axis (time first).
      strides: likewise.
      use_bias: add a bias for each output channel.
      init_scale: variance · fan_in of the initial kernel.
    """

    features: int
    kernel_size: int | Sequence[int] = 3
    strides: int | Sequence[int] = 1
    use_bias: bool = True
    init_scale: float = initializers.PYTORCH_SCALE

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps float `[b, *axes, c]` to `[b, *axes', features]`."""
        widths = per_axis(self.kernel_size, x.ndim - 2, "kernel_size")
        shape = (*widths, x.shape[-1], self.features)
        kernel_init = initializers.kernel_uniform(self.init_scale)
        y = conv(x, self.param("kernel", kernel_init, shape), self.strides)
        if self.use_bias:
            bias_init = initializers.bias_uniform(math.prod(shape[:-1]))
            y = y + self.param("bias", bias_init, (self.features,))
        return y

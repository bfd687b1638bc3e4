"""Changing resolution without weights, for images and clips."""

import functools
import math
from collections.abc import Sequence

import jax
import numpy as np
from flax import linen as nn
from jax import lax

from vidgan_jax.layers import native_conv
from vidgan_jax.layers.conv import per_axis
from vidgan_jax.layers.precision import leave


def upsample_nearest(x: jax.Array, factors: int | Sequence[int]) -> jax.Array:
    """Repeats every position `factors` times along each axis.

    Args:
      x: `[b, *axes, c]`.
      factors: for all axes, or one for each (time first).

    Returns:
      `[b, *(axes · factors), c]`.
    """
    return native_conv.upsample(x, per_axis(factors, x.ndim - 2, "factors"))


def avg_pool(
    x: jax.Array, window: Sequence[int], strides: Sequence[int], *, count_padding: bool = True
) -> jax.Array:
    """Mean over windows; odd ones are centred and reach beyond the edge.

    An odd window k is padded by (k-1)//2 on both sides, an even one is not. Counted, the padding is
    zeros; these would dim the end frames of a clip, so windows over time must be even then. Not
    counted, a window at the edge is the mean of what it sees.

    Args:
      x: `[b, *axes, c]`.
      window: width along each axis, time first.
      strides: likewise.
      count_padding: whether positions beyond the edge are zeros, or nothing.

    Returns:
      `[b, *axes', c]`, in the dtype of `x`; the sums are float32 at least.

    Raises:
      ValueError: not one window and stride an axis, or an odd window wider than 1 over time whose
        padding counts.
    """
    rank = x.ndim - 2
    window, strides = per_axis(window, rank, "window"), per_axis(strides, rank, "strides")
    if count_padding and rank == 3 and window[0] > 1 and window[0] % 2:
        raise ValueError(
            f"window over time (={window[0]}) must be 1 or even; zeros would dim the ends. "
            "count_padding=False leaves them out"
        )
    padding = [(_beyond(k),) * 2 for k in window]
    total = nn.pool(leave(x), 0.0, lax.add, window, strides, padding)
    if count_padding:
        return (total / math.prod(window)).astype(x.dtype)
    axes = zip(x.shape[1:-1], window, strides, strict=True)
    counts = functools.reduce(np.multiply.outer, (seen_by_windows(*axis) for axis in axes))
    return (total / counts[..., None].astype(total.dtype)).astype(x.dtype)


def seen_by_windows(size: int, window: int, stride: int) -> np.ndarray:
    """How many positions of an axis each window sees, what lies beyond its ends not counted.

    Args:
      size: of the axis.
      window: its width; padded as `avg_pool` does.
      stride: from window to window.

    Returns:
      int `[windows]`.
    """
    starts = np.arange(-_beyond(window), size + _beyond(window) - window + 1, stride)
    return np.minimum(starts + window, size) - np.maximum(starts, 0)


def _beyond(window: int) -> int:
    """How far windows reach beyond each end of an axis."""
    return (window - 1) // 2 * (window % 2)

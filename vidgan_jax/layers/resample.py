"""Changing resolution without weights, for images and clips."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from flax import linen as nn

from vidgan_jax.layers.conv import per_axis


def upsample_nearest(x: jax.Array, factors: int | Sequence[int]) -> jax.Array:
    """Repeats every position `factors` times along each axis.

    Args:
      x: `[b, *axes, c]`.
      factors: for all axes, or one for each (time first).

    Returns:
      `[b, *(axes · factors), c]`.
    """
    for axis, factor in enumerate(per_axis(factors, x.ndim - 2, "factors"), start=1):
        if factor > 1:
            x = jnp.repeat(x, factor, axis=axis)
    return x


def avg_pool(x: jax.Array, window: Sequence[int], strides: Sequence[int]) -> jax.Array:
    """Mean over windows; odd windows are centred, their zeros beyond the edge counted in space.

    An odd window k is padded by (k-1)//2 zeros on both sides. Zeros would dim the end frames of a
    clip, so windows over time must be even: nothing is padded there.

    Args:
      x: `[b, *axes, c]`.
      window: width along each axis, time first.
      strides: likewise.

    Returns:
      `[b, *axes', c]`.

    Raises:
      ValueError: not one window and stride an axis, or an odd window wider than 1 over time.
    """
    rank = x.ndim - 2
    window, strides = per_axis(window, rank, "window"), per_axis(strides, rank, "strides")
    if rank == 3 and window[0] > 1 and window[0] % 2:
        raise ValueError(
            f"window over time (={window[0]}) must be 1 or even; zeros would dim the ends"
        )
    padding = [((k - 1) // 2 * (k % 2),) * 2 for k in window]
    return nn.avg_pool(x, window, strides, padding, count_include_pad=True)

"""Images to another size, as matrix products along their rows and columns."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax


def linear_weights(size: int, out: int, *, antialias: bool = False) -> np.ndarray:
    """The matrix that interpolates an axis linearly; the outer edges of both sizes coincide.

    (PyTorch calls that `align_corners=False`.)

    Args:
      size: positions of the axis.
      out: wanted ones.
      antialias: where `out` is smaller, every position is a mean over all that it stands for, as
        Pillow computes it; else of the two nearest ones, as PyTorch does.

    Returns:
      float64 `[out, size]`, whose rows sum up to 1.
    """
    step = size / out
    reach = max(step, 1.0) if antialias else 1.0
    centres = (np.arange(out) + 0.5) * step
    # The ends stand for what would lie beyond them.
    centres = np.clip(centres, 0.5, size - 0.5) if reach == 1 else centres
    distances = np.abs(np.arange(size) + 0.5 - centres[:, None])
    weights = np.maximum(0.0, 1.0 - distances / reach)
    return weights / weights.sum(axis=1, keepdims=True)


def mean_weights(size: int, bins: int) -> np.ndarray:
    """The matrix that takes means over bins, which overlap where `size` doesn't divide by them.

    Args:
      size: positions of the axis.
      bins: number i reaches from ⌊i·size/bins⌋ to ⌈(i + 1)·size/bins⌉, without the latter. There
        may be more of them than positions.

    Returns:
      float64 `[bins, size]`, whose rows sum up to 1.
    """
    weights = np.zeros((bins, size))
    for i in range(bins):
        start, end = i * size // bins, -(-(i + 1) * size // bins)
        weights[i, start:end] = 1 / (end - start)
    return weights


def apply_weights(x: jax.Array, weights: np.ndarray, axis: int) -> jax.Array:
    """Multiplies an axis of images by a matrix.

    Args:
      x: float `[b, h, w, c]`.
      weights: `[out, h]` or `[out, w]`.
      axis: 1 for the rows' number, 2 for the columns'.

    Returns:
      `[b, out, w, c]` or `[b, h, out, c]`, in the dtype of `x`.
    """
    equation = {1: "oh,bhwc->bowc", 2: "ow,bhwc->bhoc"}[axis]
    return jnp.einsum(equation, weights.astype(x.dtype), x, precision=lax.Precision.HIGHEST)


def resize_bilinear(x: jax.Array, size: Sequence[int]) -> jax.Array:
    """Interpolates images without antialiasing, see `linear_weights`.

    Args:
      x: float `[b, h, w, c]`.
      size: wanted height and width.
    """
    for axis, out in enumerate(size, start=1):
        x = apply_weights(x, linear_weights(x.shape[axis], out), axis)
    return x


def adaptive_avg_pool(x: jax.Array, bins: int) -> jax.Array:
    """Means of images over `bins`×`bins` parts, whatever the size; see `mean_weights`.

    Args:
      x: float `[b, h, w, c]`.
      bins: along each axis.

    Returns:
      `[b, bins, bins, c]`.
    """
    for axis in (1, 2):
        x = apply_weights(x, mean_weights(x.shape[axis], bins), axis)
    return x

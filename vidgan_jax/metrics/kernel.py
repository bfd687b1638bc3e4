"""Kernel distance between two sets of features: the squared maximum mean discrepancy, unbiased.

The kernel is k(x, y) = (x·y / d + 1)³, of d features; it tells distributions apart by their means,
covariances and third moments. Of Inception's features the distance is the KID.

Unlike the Fréchet distance its expectation doesn't depend on how many examples there are, and is 0
for draws from one source; so it is meaningful for few examples, and single values may be below 0.

Source: Bińkowski, Sutherland, Arbel, Gretton 2018, arXiv:1801.01401, section 4; Gretton et al.
2012, "A kernel two-sample test", equation 3.
"""

import numpy as np

from vidgan_jax.metrics.sets import as_features, check_dims, draw_order

_MIN_EXAMPLES = 2
# Of a block of values of the kernel, 32 MiB of float64 at most: larger ones are slower, for they
# leave the caches. The distance's last digits depend on both.
_BLOCK_VALUES = 2**22
_BLOCK_ROWS = 256


def kernel_distance(a: np.ndarray, b: np.ndarray) -> float:
    """Squared maximum mean discrepancy of all examples: its unbiased estimate.

    The sets may be of different sizes. Values of the kernel are summed block by block, so memory
    grows with the number of examples, not with its square; time does with its square.

    Args:
      a: features `[n, d]`, any real dtype, n > 1.
      b: `[m, d]`, m > 1.

    Returns:
      In float64; may be negative.

    Raises:
      ValueError: another rank, different d, fewer than 2 examples, or values that are not finite.
    """
    return _distance(*_checked(a, b))


def kernel_distance_subsets(
    a: np.ndarray, b: np.ndarray, *, num_subsets: int = 100, subset_size: int = 1000, seed: int = 0
) -> tuple[float, float]:
    """Kernel distance as published, over random subsets of the examples.

    Each subset is drawn without replacement, from both sets anew. Subsets overlap, so the standard
    deviation is of one subset's distance; it is not the error of their mean, which hardly differs
    from `kernel_distance`.

    Args:
      a: features `[n, d]`, any real dtype, n > 1.
      b: `[m, d]`, m > 1.
      num_subsets: as many.
      subset_size: examples of each set in a subset, above 1; cut to the size of the smaller set.
      seed: of the draw, from 0. The same seed draws the same subsets, whatever NumPy's version.

    Returns:
      Mean and (population) standard deviation over the subsets, float64; the mean may be negative.

    Raises:
      ValueError: as of `kernel_distance`, or `num_subsets` or `subset_size` too small.
    """
    a, b = _checked(a, b)
    if num_subsets < 1:
        raise ValueError(f"num_subsets (={num_subsets}) must be at least 1; 100 is usual")
    if subset_size < _MIN_EXAMPLES:
        raise ValueError(
            f"subset_size (={subset_size}) must be at least {_MIN_EXAMPLES}; 1000 is usual"
        )
    size = min(subset_size, len(a), len(b))
    bits = np.random.PCG64(seed)
    distances = [
        _distance(a[draw_order(bits, len(a))[:size]], b[draw_order(bits, len(b))[:size]])
        for _ in range(num_subsets)
    ]
    return float(np.mean(distances)), float(np.std(distances))


def _checked(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    a, b = as_features(a, "features"), as_features(b, "features compared with")
    check_dims(a, b, "the two sets")
    if min(len(a), len(b)) < _MIN_EXAMPLES:
        raise ValueError(
            f"a kernel distance needs at least {_MIN_EXAMPLES} examples of each set, got {len(a)}"
            f" and {len(b)}"
        )
    return a, b


def _distance(a: np.ndarray, b: np.ndarray) -> float:
    return _mean_within(a) + _mean_within(b) - 2 * _mean_between(a, b)


def _mean_within(a: np.ndarray) -> float:
    """Mean of k(x, y) over pairs of different examples, each of which is computed once."""
    n, total = len(a), 0.0
    rows = _rows(n)
    for first in range(0, n, rows):
        values = _kernel(a[first : first + rows], a[first:])
        size = len(values)
        np.fill_diagonal(values, 0)  # k(x, x): the square at the left begins at the same example
        total += float(values[:, :size].sum() + 2 * values[:, size:].sum())
    return total / (n * (n - 1))


def _mean_between(a: np.ndarray, b: np.ndarray) -> float:
    rows = _rows(len(b))
    sums = (_kernel(a[i : i + rows], b).sum() for i in range(0, len(a), rows))
    return float(sum(sums)) / (len(a) * len(b))


def _rows(columns: int) -> int:
    return max(1, min(_BLOCK_ROWS, _BLOCK_VALUES // columns))


def _kernel(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """k of every x `[n, d]` and y `[m, d]`, float64 `[n, m]`."""
    base = x @ y.T
    base /= x.shape[1]
    base += 1
    values = base * base
    values *= base
    return values

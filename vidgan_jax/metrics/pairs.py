"""Pairs of a set's members: how much they differ, how many are equal."""

import numpy as np

_AT_ONCE = 2**22  # values


def total_differences(values: np.ndarray) -> np.ndarray:
    """Σ |a − b| over all pairs of a set, of each column; exactly 0 where all are equal.

    Sorted, the i-th of n values (from 0) is the larger one of i pairs and the smaller one of
    n − 1 − i: no pair need be formed, so sets of any size are summed as a whole.

    Args:
      values: `[n, d]`, integers or floats.

    Returns:
      float64 `[d]`, of n (n − 1) / 2 pairs; exact for integers of up to 32 bits below 2⁵³.
    """
    n, dim = values.shape
    totals = np.zeros(dim)
    exact: type[np.generic] = np.int64 if values.dtype.kind in "iu" else np.float64
    weights = np.arange(1 - n, n, 2).astype(exact)
    step = max(1, _AT_ONCE // max(1, n))
    for start in range(0, dim if n else 0, step):
        columns = values[:, start : start + step].astype(exact)
        totals[start : start + step] = weights @ np.sort(columns - columns[:1], axis=0)
    return totals


def num_pairs(n: int) -> int:
    """Pairs of different members of a set of n."""
    return n * (n - 1) // 2


def first_equals(keys: np.ndarray) -> np.ndarray:
    """The number of the first row that equals each row, int `[n]`; keys `[n, d]`."""
    _, first, of = np.unique(keys, axis=0, return_index=True, return_inverse=True)
    return first[of.reshape(-1)]


def num_equal_pairs(keys: np.ndarray) -> int:
    """Pairs of different members of a set whose keys `[n, d]` are equal."""
    _, counts = np.unique(keys, axis=0, return_counts=True)
    return int(sum(num_pairs(int(count)) for count in counts))

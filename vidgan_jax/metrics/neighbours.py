"""Squared distances between examples, block by block: fast, and decided exactly.

‖x‖² + ‖y‖² − 2 x·y is a matrix product, a hundred times faster than sums of squared differences,
but of near examples it has few right digits: copies are at a distance of 10⁻⁸ ‖x‖ or so, and of two
equal distances either may come out smaller. Its error has a bound, however. So the product is taken
first, and where the bound leaves a question open, which is seldom, the sum answers it. What comes
out is what the sums alone would give, and the same for any size of the blocks, any BLAS, any number
of threads.
"""

import hashlib
from collections.abc import Iterator

import numpy as np

# Distances, or differences of features, held at once: 32 MiB of float64. More would be slower, for
# they leave the caches.
_BLOCK_VALUES = 2**22
_BLOCK_ROWS = 256

_UNIT_ROUNDOFF = 2.0**-53


class Block:
    """Squared distances of some examples from all others.

    Attributes:
      rows: where the examples are in their set.
    """

    def __init__(self, pairs: "Pairs", rows: slice, products: np.ndarray) -> None:
        self.rows = rows
        self._pairs = pairs
        self._products = products  # distances up to an error of `pairs.slack`

    def within(self, limits: np.ndarray) -> np.ndarray:
        """Whether squared distances are at most `limits`.

        Args:
          limits: squared, too; float64 `[r, 1]`, one of each row, or `[m]`, of each of the others.

        Returns:
          bool `[r, m]`.
        """
        slack = self._pairs.slack
        certain = self._products <= limits - 2 * slack
        x, y = np.nonzero((self._products <= limits + 2 * slack) ^ certain)
        if len(x):
            open_limits = np.broadcast_to(limits, certain.shape)[x, y]
            certain[x, y] = self._pairs.sums(x + self.rows.start, y) <= open_limits
        return certain

    def nearest(self, k: int) -> np.ndarray:
        """Of a set's distances from itself: those from the k-th other example, float64 `[r]`."""
        distances = self._products.copy()
        own = np.arange(len(distances))
        distances[own, own + self.rows.start] = np.inf
        kth = np.partition(distances, k - 1, axis=1)[:, k - 1, None]
        # All that could be the k-th: each of two products may be wrong by the slack.
        x, y = np.nonzero(distances <= kth + 3 * self._pairs.slack)
        distances[x, y] = self._pairs.sums(x + self.rows.start, y)
        return np.partition(distances, k - 1, axis=1)[:, k - 1]


class Pairs:
    """All pairs of an example of one set with one of another, or of the same.

    Args:
      x: float64 `[n, d]`, finite.
      y: `[m, d]`.
    """

    def __init__(self, x: np.ndarray, y: np.ndarray) -> None:
        self._x, self._y = x, y
        # Rounding is relative to the norms: those about the centre are the smallest.
        centre = (x.mean(axis=0) + y.mean(axis=0)) / 2
        self._x_centred = x - centre
        self._y_centred = self._x_centred if y is x else y - centre
        self._x_squares = np.sum(self._x_centred**2, axis=1)
        self._y_squares = np.sum(self._y_centred**2, axis=1)
        self._x_copies, self._y_copies = _number_copies(x, y)
        # A sum of d products is wrong by at most d roundings of the sum of their sizes (Higham
        # 2002, "Accuracy and stability of numerical algorithms", section 3.1): all three sums
        # together, here, of (‖x‖ + ‖y‖)²; so is the sum of squared differences. A few more are of
        # centring and adding up.
        largest = np.sqrt(self._x_squares.max()) + np.sqrt(self._y_squares.max())
        self.slack = float(2 * (x.shape[1] + 10) * _UNIT_ROUNDOFF * largest**2)

    def blocks(self) -> Iterator[Block]:
        """Blocks of successive examples of `x` with all of `y`."""
        size = max(1, min(_BLOCK_ROWS, _BLOCK_VALUES // len(self._y)))
        for first in range(0, len(self._x), size):
            rows = slice(first, min(first + size, len(self._x)))
            products = (-2 * self._x_centred[rows]) @ self._y_centred.T
            products += self._x_squares[rows, None]
            products += self._y_squares
            yield Block(self, rows, products)

    def sums(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Sums of squared differences of pairs.

        Args:
          x: numbers of examples of `x`, int64 `[p]`.
          y: of `y`, as many.

        Returns:
          float64 `[p]`; 0 of copies.
        """
        found = np.zeros(len(x))
        (differ,) = np.nonzero(self._x_copies[x] != self._y_copies[y])
        size = max(1, _BLOCK_VALUES // self._x.shape[1])
        for first in range(0, len(differ), size):
            some = differ[first : first + size]
            differences = self._x[x[some]] - self._y[y[some]]
            found[some] = np.sum(differences * differences, axis=1)
        return found


def squared_radii(features: np.ndarray, k: int) -> np.ndarray:
    """Squared distance of each example from its k-th neighbour in the set, itself not counted.

    Args:
      features: float64 `[n, d]`, finite.
      k: from 1 to n − 1.

    Returns:
      float64 `[n]`.
    """
    return np.concatenate([block.nearest(k) for block in Pairs(features, features).blocks()])


def _number_copies(*sets: np.ndarray) -> list[np.ndarray]:
    """For each set a number for each example, int64 `[n]`: copies have the same one.

    A generator that has collapsed makes thousands of copies, with millions of pairs.
    """
    numbers: dict[bytes, int] = {}
    found = []
    for features in sets:
        digests = (hashlib.blake2b(row.tobytes(), digest_size=16).digest() for row in features)
        found.append(np.array([numbers.setdefault(key, len(numbers)) for key in digests]))
    return found

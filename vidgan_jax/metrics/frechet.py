"""Fréchet distance between two sets of features, each taken for a Gaussian.

Source: Heusel et al. 2017, arXiv:1706.08500, equation 6; Dowson, Landau 1982 for Gaussians.
"""

import dataclasses

import numpy as np


@dataclasses.dataclass(frozen=True)
class Gaussian:
    """What a set of features is reduced to.

    Attributes:
      mean: float64 `[d]`.
      covariance: float64 `[d, d]`, unbiased (divided by n - 1).
      count: examples that both were estimated from.
    """

    mean: np.ndarray
    covariance: np.ndarray
    count: int

    @property
    def dim(self) -> int:
        """Length of a feature vector."""
        return len(self.mean)


class Statistics:
    """Mean and covariance of features that come batch by batch, in float64.

    Batches are merged by their means and scatter matrices, so that nothing is lost where a mean is
    large beside its spread, and how the examples are split into batches changes rounding only.

    Source: Chan, Golub, LeVeque 1982, "Updating formulae and a pairwise algorithm for computing
    sample variances".
    """

    def __init__(self) -> None:
        self._count = 0
        self._mean = np.zeros(0)
        self._scatter = np.zeros((0, 0))

    def add(self, features: np.ndarray) -> None:
        """Takes a batch.

        Args:
          features: `[n, d]`, any real dtype; n may be 0.

        Raises:
          ValueError: not of rank 2, of another length than those before, or not finite.
        """
        features = np.asarray(features, np.float64)
        if features.ndim != 2:
            raise ValueError(f"features must be of shape [n, d], got {list(features.shape)}")
        n, dim = features.shape
        if self._count and dim != len(self._mean):
            raise ValueError(f"features have {dim} dimensions, those before {len(self._mean)}")
        if not np.isfinite(features).all():
            bad = int((~np.isfinite(features).all(axis=1)).sum())
            raise ValueError(f"features of {bad} of {n} examples are not finite")
        if n == 0:
            return
        mean = features.mean(axis=0)
        centred = features - mean
        scatter = centred.T @ centred
        if self._count:
            total = self._count + n
            shift = mean - self._mean
            scatter += self._scatter + np.outer(shift, shift) * (self._count * n / total)
            mean = self._mean + shift * (n / total)
        self._count, self._mean, self._scatter = self._count + n, mean, scatter

    def gaussian(self) -> Gaussian:
        """Mean and covariance of all that was added.

        Raises:
          ValueError: fewer than two examples.
        """
        if self._count < 2:
            raise ValueError(f"a covariance needs at least 2 examples, got {self._count}")
        return Gaussian(self._mean.copy(), self._scatter / (self._count - 1), self._count)


def fit(features: np.ndarray) -> Gaussian:
    """The Gaussian of features `[n, d]`, n > 1, that are all there at once."""
    statistics = Statistics()
    statistics.add(features)
    return statistics.gaussian()


def frechet_distance(a: Gaussian, b: Gaussian) -> float:
    """‖μ₁ − μ₂‖² + Tr(Σ₁ + Σ₂ − 2 (Σ₁Σ₂)^½): 0 where both are equal, never negative or complex.

    With Σ = F Fᵀ the eigenvalues of Σ₁Σ₂ are the squared singular values of F₁ᵀF₂, so the root's
    trace is their sum: no root of a matrix that isn't symmetric, no loss of half the digits, and
    singular covariances (fewer examples than dimensions) are nothing special.

    From n examples it is too large by about as much as two draws of n from the same source are
    apart (Chong, Forsyth 2020, arXiv:1911.07023): compare values of equal counts only.

    Args:
      a: of d dimensions.
      b: of as many.

    Returns:
      In squared units of the features.

    Raises:
      ValueError: different dimensions.
    """
    if a.dim != b.dim:
        raise ValueError(f"the Gaussians have {a.dim} and {b.dim} dimensions; they must agree")
    shift = a.mean - b.mean
    cross = np.linalg.svd(_factor(a.covariance).T @ _factor(b.covariance), compute_uv=False).sum()
    traces = np.trace(a.covariance) + np.trace(b.covariance)
    return max(0.0, float(shift @ shift + traces - 2 * cross))


def _factor(covariance: np.ndarray) -> np.ndarray:
    """F with F Fᵀ = Σ; eigenvalues below 0, which only rounding makes, count as 0."""
    values, vectors = np.linalg.eigh(covariance)
    return vectors * np.sqrt(np.clip(values, 0, None))

"""The Fréchet distance: closed forms, another way to compute it, what batches may not change."""

import numpy as np
import pytest
import scipy.linalg
import torch
from numpy.typing import ArrayLike

from vidgan_jax.metrics.frechet import Gaussian, Statistics, fit, frechet_distance


def gaussian(mean: ArrayLike, covariance: ArrayLike) -> Gaussian:
    return Gaussian(np.asarray(mean, float), np.asarray(covariance, float), count=100)


def random_gaussian(dim: int, seed: int, rank: int | None = None) -> Gaussian:
    rng = np.random.default_rng(seed)
    factor = rng.normal(size=(dim, rank or 2 * dim))
    return gaussian(rng.normal(size=dim), factor @ factor.T / factor.shape[1])


def rotation(dim: int, seed: int) -> np.ndarray:
    return np.linalg.qr(np.random.default_rng(seed).normal(size=(dim, dim)))[0]


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [((0, 1), (0, 1), 0), ((0, 1), (3, 1), 9), ((0, 1), (0, 2), 1), ((1, 3), (-1, 0.5), 4 + 6.25)],
)
def test_in_one_dimension(a: tuple[float, float], b: tuple[float, float], expected: float) -> None:
    """(μ₁ − μ₂)² + (σ₁ − σ₂)²."""
    (mean_a, std_a), (mean_b, std_b) = a, b
    one, other = gaussian([mean_a], [[std_a**2]]), gaussian([mean_b], [[std_b**2]])
    assert frechet_distance(one, other) == pytest.approx(expected, abs=1e-12)


def test_commuting_covariances() -> None:
    """In their common axes it is the sum of the one-dimensional distances."""
    variances = np.array([[4.0, 1, 0.25, 0], [1, 9, 0.25, 0.49]])
    means = np.array([[0.0, 1, 2, 3], [1.0, 1, 0, 3]])
    expected = np.sum(np.diff(means, axis=0) ** 2 + np.diff(np.sqrt(variances), axis=0) ** 2)
    q = rotation(4, seed=0)
    one, other = (
        gaussian(q @ mean, q @ np.diag(variance) @ q.T)
        for mean, variance in zip(means, variances, strict=True)
    )
    assert frechet_distance(one, other) == pytest.approx(expected)


@pytest.mark.parametrize("rank", [None, 3])
def test_equal_gaussians_are_at_distance_0_and_shifts_count_squared(rank: int | None) -> None:
    one = random_gaussian(20, seed=1, rank=rank)
    shift = np.random.default_rng(2).normal(size=20)
    assert 0 <= frechet_distance(one, one) < 1e-12
    shifted = gaussian(one.mean + shift, one.covariance)
    assert frechet_distance(one, shifted) == pytest.approx(shift @ shift)


@pytest.mark.parametrize("seed", range(3))
def test_against_the_general_eigenvalues_of_the_product(seed: int) -> None:
    """Tr (Σ₁Σ₂)^½ by roots of the eigenvalues of Σ₁Σ₂, which isn't symmetric."""
    one, other = random_gaussian(12, 2 * seed), random_gaussian(12, 2 * seed + 1)
    product = torch.from_numpy(one.covariance @ other.covariance)
    root = torch.linalg.eigvals(product).sqrt().sum()
    traces = np.trace(one.covariance) + np.trace(other.covariance)
    expected = ((one.mean - other.mean) ** 2).sum() + traces - 2 * root.real.item()
    assert abs(root.imag.item()) < 1e-9
    assert frechet_distance(one, other) == pytest.approx(expected, rel=1e-9)
    assert frechet_distance(other, one) == pytest.approx(expected, rel=1e-9)


def test_against_the_published_formula() -> None:
    """Of features, with SciPy's root of a matrix, as the code of FID's authors takes it."""
    rng = np.random.default_rng(5)
    a, b = rng.normal(size=(60, 9)), rng.normal(0.3, 1.5, size=(50, 9)) @ rotation(9, seed=6)
    covariances = [np.cov(features, rowvar=False) for features in (a, b)]
    root = np.real(scipy.linalg.sqrtm(covariances[0] @ covariances[1]))
    shift = a.mean(axis=0) - b.mean(axis=0)
    expected = shift @ shift + np.trace(sum(covariances) - 2 * root)
    assert frechet_distance(fit(a), fit(b)) == pytest.approx(expected, rel=1e-9)


def test_rotations_change_nothing_and_scales_count_squared() -> None:
    one, other, q = random_gaussian(8, 1), random_gaussian(8, 2), rotation(8, 3)
    distance = frechet_distance(one, other)
    turned, scaled = (
        [gaussian(m @ g.mean, m @ g.covariance @ m.T) for g in (one, other)]
        for m in (q, 3 * np.eye(8))
    )
    assert frechet_distance(*turned) == pytest.approx(distance)
    assert frechet_distance(*scaled) == pytest.approx(9 * distance)


def test_singular_covariances() -> None:
    """Fewer examples than dimensions: the same as in the plane that all of them lie in."""
    rng = np.random.default_rng(0)
    plane = rotation(50, seed=1)[:, :2]
    flat = [rng.normal(size=(10, 2)) * (1, 3), rng.normal(size=(12, 2)) + 1]
    expected = frechet_distance(*map(fit, flat))
    assert frechet_distance(*(fit(f @ plane.T) for f in flat)) == pytest.approx(expected)


def test_draws_of_one_source_are_near_and_nearer_the_larger_they_are() -> None:
    rng = np.random.default_rng(0)
    distances = [
        frechet_distance(fit(rng.normal(size=(n, 10))), fit(rng.normal(size=(n, 10))))
        for n in (30, 300, 3000)
    ]
    assert distances[0] > 5 * distances[1] > 25 * distances[2] > 0


@pytest.mark.parametrize("sizes", [(40,), (1,) * 40, (3, 0, 17, 20)])
def test_batches_change_nothing(sizes: tuple[int, ...]) -> None:
    features = np.random.default_rng(0).normal(size=(40, 6)).astype(np.float32)
    statistics = Statistics()
    for part in np.split(features, np.cumsum(sizes)[:-1]):
        statistics.add(part)
    found = statistics.gaussian()
    assert found.count == 40
    assert found.mean.dtype == found.covariance.dtype == np.float64
    np.testing.assert_allclose(found.mean, features.astype(float).mean(0), rtol=1e-13, atol=1e-14)
    np.testing.assert_allclose(found.covariance, np.cov(features.astype(float).T), rtol=1e-12)


def test_a_large_mean_does_not_drown_the_spread() -> None:
    features = np.random.default_rng(0).normal(size=(64, 3))
    statistics = Statistics()
    for part in np.split(features + 1e7, 8):
        statistics.add(part)
    np.testing.assert_allclose(statistics.gaussian().covariance, np.cov(features.T), rtol=1e-6)


def test_a_gaussian_stays_when_more_is_added() -> None:
    statistics = Statistics()
    statistics.add(np.eye(3))
    before = statistics.gaussian()
    kept = before.mean.copy()
    statistics.add(np.ones((5, 3)))
    np.testing.assert_array_equal(before.mean, kept)


def test_mistakes() -> None:
    statistics = Statistics()
    with pytest.raises(ValueError, match="at least 2 examples, got 0"):
        statistics.gaussian()
    statistics.add(np.zeros((1, 3)))
    with pytest.raises(ValueError, match="at least 2 examples, got 1"):
        statistics.gaussian()
    with pytest.raises(ValueError, match=r"shape \[n, d\], got \[3\]"):
        statistics.add(np.zeros(3))
    with pytest.raises(ValueError, match="have 4 dimensions, those before 3"):
        statistics.add(np.zeros((2, 4)))
    with pytest.raises(ValueError, match="features of 2 of 3 examples are not finite"):
        statistics.add(np.array([[0, np.nan, 0], [1, 1, 1], [np.inf, 0, 0]]))
    with pytest.raises(ValueError, match="have 2 and 3 dimensions; they must agree"):
        frechet_distance(random_gaussian(2, 0), random_gaussian(3, 0))

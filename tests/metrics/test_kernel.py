"""The kernel distance: explicit sums, closed forms of moments, another implementation."""

import itertools

import numpy as np
import pytest
from sklearn.metrics.pairwise import polynomial_kernel

from vidgan_jax.metrics import kernel
from vidgan_jax.metrics.kernel import kernel_distance, kernel_distance_subsets
from vidgan_jax.metrics.sets import draw_order


def draw(n: int, d: int, seed: int = 0, *, shift: float = 0.0, scale: float = 1.0) -> np.ndarray:
    return np.random.default_rng(seed).normal(shift, scale, (n, d))


def by_moments(a: np.ndarray, b: np.ndarray) -> float:
    """By (s + 1)³ = s³ + 3 s² + 3 s + 1: sums over pairs are products of sums of x, x⊗x, x⊗x⊗x."""
    d = a.shape[1]

    def moments(x: np.ndarray) -> list[np.ndarray]:
        return [x.sum(0), np.einsum("ni,nj->ij", x, x), np.einsum("ni,nj,nk->ijk", x, x, x)]

    def pairs(x: np.ndarray, y: np.ndarray) -> float:
        first, second, third = map(np.vdot, moments(x), moments(y))
        return float(len(x) * len(y) + 3 * first / d + 3 * second / d**2 + third / d**3)

    def within(x: np.ndarray) -> float:
        own = np.sum((np.sum(x**2, axis=1) / d + 1) ** 3)
        return float((pairs(x, x) - own) / (len(x) * (len(x) - 1)))

    return within(a) + within(b) - 2 * pairs(a, b) / (len(a) * len(b))


@pytest.mark.parametrize(("n", "m"), [(7, 7), (9, 5), (2, 3)])
def test_against_explicit_loops(n: int, m: int) -> None:
    a, b = draw(n, 6), draw(m, 6, 1, shift=0.5)

    def k(x: np.ndarray, y: np.ndarray) -> float:
        return (sum(float(p * q) for p, q in zip(x, y, strict=True)) / 6 + 1) ** 3

    within = [np.mean([k(x, y) for x, y in itertools.permutations(s, 2)]) for s in (a, b)]
    between = np.mean([k(x, y) for x, y in itertools.product(a, b)])
    assert kernel_distance(a, b) == pytest.approx(sum(within) - 2 * between, rel=1e-12)


@pytest.mark.parametrize("values", [1, 100, 4000, 2**22])
def test_blocks_change_nothing(values: int, monkeypatch: pytest.MonkeyPatch) -> None:
    a, b = draw(300, 5), draw(70, 5, 1, scale=1.5)
    monkeypatch.setattr(kernel, "_BLOCK_VALUES", values)
    assert kernel_distance(a, b) == pytest.approx(by_moments(a, b), rel=1e-11)
    assert kernel_distance(b, a) == pytest.approx(by_moments(a, b), rel=1e-11)


def test_against_scikit_learn() -> None:
    a, b = draw(40, 16), draw(30, 16, 1, shift=0.2)
    within = [polynomial_kernel(x, degree=3, coef0=1) for x in (a, b)]
    means = [(x.sum() - np.trace(x)) / (len(x) * (len(x) - 1)) for x in within]
    expected = sum(means) - 2 * polynomial_kernel(a, b, degree=3, coef0=1).mean()
    assert kernel_distance(a, b) == pytest.approx(expected, rel=1e-11)


@pytest.mark.parametrize("n", [10, 40])
@pytest.mark.parametrize(
    ("shift", "scale", "expected"),
    [
        # Of each moment, ‖difference‖² times its share in the kernel. Of d = 8 features:
        (0.0, 1.0, 0.0),
        # 3/d² ‖(s² − 1) I‖² with s² = 2
        (0.0, 2**0.5, 3 / 8),
        # The mean is (c, …, c) with c = ½: 3/d · d c², 3/d² · (d c²)²; of third moments c³ in all
        # places, and c once more where two of three are equal (three times where all are):
        (0.5, 1.0, 0.75 + 0.1875 + (336 / 64 + 168 * 25 / 64 + 8 * 169 / 64) / 512),
    ],
)
def test_expected_distances_of_gaussians_whatever_the_number_of_examples(
    n: int, shift: float, scale: float, expected: float
) -> None:
    found = np.array(
        [
            kernel_distance(draw(n, 8, 2 * i), draw(n, 8, 2 * i + 1, shift=shift, scale=scale))
            for i in range(400)
        ]
    )
    error = found.std() / len(found) ** 0.5
    assert error < 0.05
    assert abs(found.mean() - expected) < 3.5 * error
    if not expected:
        assert 0.2 < np.mean(found < 0) < 0.8


def test_the_mean_over_subsets_is_the_distance_and_its_spread_that_of_draws() -> None:
    a, b = draw(500, 8), draw(400, 8, 1, shift=0.5)
    mean, std = kernel_distance_subsets(a, b, num_subsets=200, subset_size=50)
    assert abs(mean - kernel_distance(a, b)) < 3.5 * std / 200**0.5
    draws = [
        kernel_distance(draw(50, 8, 2 * i), draw(50, 8, 2 * i + 1, shift=0.5)) for i in range(200)
    ]
    assert std == pytest.approx(np.std(draws), rel=0.25)


def test_subsets_are_drawn_by_the_seed_without_replacement() -> None:
    a, b = draw(30, 4), draw(20, 4, 1, shift=1)
    found = kernel_distance_subsets(a, b, num_subsets=3, subset_size=10, seed=5)
    assert found == kernel_distance_subsets(a, b, num_subsets=3, subset_size=10, seed=5)
    assert found != kernel_distance_subsets(a, b, num_subsets=3, subset_size=10, seed=6)
    bits = np.random.PCG64(5)
    distances = [
        by_moments(a[draw_order(bits, 30)[:10]], b[draw_order(bits, 20)[:10]]) for _ in range(3)
    ]
    assert found == pytest.approx((np.mean(distances), np.std(distances)))


def test_subsets_are_cut_to_the_examples_there_are() -> None:
    """Then all of the smaller set is in each subset, in another order."""
    a, b = draw(12, 4), draw(12, 4, 1, shift=1)
    mean, std = kernel_distance_subsets(a, b, num_subsets=5)
    assert mean == pytest.approx(kernel_distance(a, b), rel=1e-12)
    assert std < 1e-12
    for one, other in ((a, b[:9]), (a[:9], b)):
        cut = kernel_distance_subsets(one, other, num_subsets=5)
        assert cut == kernel_distance_subsets(one, other, num_subsets=5, subset_size=9)
        assert cut[1] > 1e-3


def test_orders_are_permutations_that_never_change() -> None:
    """Recorded, of a stream that NumPy promises."""
    bits = np.random.PCG64(0)
    orders = [draw_order(bits, 8).tolist() for _ in range(2)]
    assert orders == [[3, 2, 1, 6, 0, 7, 4, 5], [3, 5, 7, 0, 6, 2, 4, 1]]
    assert sorted(draw_order(bits, 1000)) == list(range(1000))


def test_places_in_orders_are_equally_likely() -> None:
    bits = np.random.PCG64(1)
    orders = np.array([draw_order(bits, 4) for _ in range(4000)])
    counts = np.array([(orders == i).sum(axis=0) for i in range(4)])
    assert np.abs(counts - 1000).max() < 5 * (4000 * 3 / 16) ** 0.5


def test_float32_features_are_summed_in_float64() -> None:
    a, b = draw(50, 8).astype(np.float32), draw(50, 8, 1).astype(np.float32)
    assert kernel_distance(a, b) == kernel_distance(a.astype(float), b.astype(float))


def test_mistakes() -> None:
    a = draw(5, 3)
    with pytest.raises(ValueError, match=r"features must be of shape \[n, d\], d > 0; got \[5\]"):
        kernel_distance(a[:, 0], a)
    with pytest.raises(ValueError, match=r"compared with must be of shape .* got \[5, 0\]"):
        kernel_distance(a, a[:, :0])
    with pytest.raises(ValueError, match="the two sets have 3 and 2 features an example"):
        kernel_distance(a, a[:, :2])
    with pytest.raises(ValueError, match="at least 2 examples of each set, got 5 and 1"):
        kernel_distance(a, a[:1])
    with pytest.raises(ValueError, match="features of 1 of 5 examples are not finite"):
        kernel_distance(np.where(np.eye(5, 3, -4), np.nan, a), a)
    with pytest.raises(ValueError, match=r"num_subsets \(=0\) must be at least 1"):
        kernel_distance_subsets(a, a, num_subsets=0)
    with pytest.raises(ValueError, match=r"subset_size \(=1\) must be at least 2"):
        kernel_distance_subsets(a, a, subset_size=1)

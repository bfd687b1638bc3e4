"""Precision, recall, density, coverage: by hand, closed forms, another implementation."""

import dataclasses
import math

import numpy as np
import prdc
import pytest

from vidgan_jax.metrics.precision_recall import PrecisionRecall, precision_recall


def draw(n: int, d: int, seed: int, shift: float = 0.0, scale: float = 1.0) -> np.ndarray:
    return np.random.default_rng(seed).normal(shift, scale, (n, d))


def on_a_line(*places: float) -> np.ndarray:
    return np.array(places)[:, None]


@pytest.mark.parametrize("k", [1, 3, 6])
def test_equal_sets(k: int) -> None:
    """Each example lies in its own ball, and in k of others' on average: those of k neighbours."""
    features = draw(50, 4, seed=0)
    found = precision_recall(features, features.copy(), k=k)
    assert found == PrecisionRecall(precision=1, recall=1, density=(k + 1) / k, coverage=1)
    assert precision_recall(features, features[::-1], k=k) == found


def test_copies_of_one_example() -> None:
    """All balls have radius 0, and each holds all the other set."""
    real, fake = np.full((7, 3), 0.1), np.full((5, 3), 0.1)
    assert precision_recall(real, fake, k=2) == PrecisionRecall(1, 1, 7 / 2, 1)


def test_sets_far_apart() -> None:
    found = precision_recall(draw(30, 4, 0), draw(20, 4, 1, shift=100))
    assert found == PrecisionRecall(0, 0, 0, 0)


def test_by_hand() -> None:
    """k = 1: the reals' balls are [-1, 1], [0, 2], [1, 3] and [2, 8]; two fakes' are [5, 7] and
    [6, 8], and that of the outlier is [7, 33].
    """
    real = on_a_line(0, 1, 2, 5)
    found = precision_recall(real, on_a_line(6, 7, 20), k=1)
    assert found == PrecisionRecall(precision=2 / 3, recall=1 / 4, density=2 / 3, coverage=1 / 4)
    # Fakes crowd where reals do: 1 lies in three closed balls, 0.5 and 1.5 in two. Their own are
    # [0, 1], [0.5, 1.5] and [1, 2].
    found = precision_recall(real, on_a_line(0.5, 1, 1.5), k=1)
    assert found == PrecisionRecall(precision=1, recall=3 / 4, density=7 / 3, coverage=3 / 4)


def test_k_counts_neighbours_not_the_example() -> None:
    """k = 2: the reals' balls are [-3, 3], [-1, 3] and [0, 6]."""
    found = precision_recall(on_a_line(0, 1, 3), on_a_line(-2, 5.5, 50, 80), k=2)
    assert found.precision == 2 / 4
    assert found.density == (1 + 1) / (2 * 4)
    assert found.coverage == 2 / 3


@pytest.mark.parametrize("k", [1, 3, 5])
@pytest.mark.parametrize(("n", "m"), [(60, 60), (80, 40)])
def test_against_prdc(n: int, m: int, k: int) -> None:
    """The code of density's and coverage's authors."""
    for d, shift, scale in ((2, 0.0, 1.0), (5, 0.5, 0.7), (20, 0.2, 1.0)):
        real, fake = draw(n, d, seed=d), draw(m, d, seed=d + 1, shift=shift, scale=scale)
        found = dataclasses.asdict(precision_recall(real, fake, k=k))
        assert found == pytest.approx(prdc.compute_prdc(real, fake, nearest_k=k), rel=1e-12)
        assert 0 < found["precision"] + found["recall"] < 2


@pytest.mark.parametrize(("n", "m", "k"), [(40, 40, 3), (30, 60, 1)])
def test_expected_density_and_coverage_of_one_source(n: int, m: int, k: int) -> None:
    """By ranks alone: of a real's distances to n - 1 reals and m fakes any order is as likely."""
    draws = [precision_recall(draw(n, 3, 2 * i), draw(m, 3, 2 * i + 1), k=k) for i in range(300)]
    covered = 1 - math.comb(n - 1, k) / math.comb(n - 1 + m, k)
    for found, expected in (
        ([draw.density for draw in draws], 1),
        ([draw.coverage for draw in draws], covered),
    ):
        assert abs(np.mean(found) - expected) < 3.5 * np.std(found) / len(draws) ** 0.5


def test_fakes_and_reals_in_turn() -> None:
    """Precision and recall are one measure, with the sets changed over."""
    real, fake = draw(50, 3, 0), draw(40, 3, 1, scale=0.5)
    one, other = precision_recall(real, fake), precision_recall(fake, real)
    assert (one.precision, one.recall) == (other.recall, other.precision)
    assert one.recall < one.precision  # fakes of half the spread


def test_moved_and_scaled_together() -> None:
    """Even where what is common to all features is a billion times what they tell."""
    real, fake = (np.round(draw(40, 3, seed), 3) for seed in (0, 1))
    expected = precision_recall(real, fake)
    assert precision_recall(2.0**-20 * real, 2.0**-20 * fake) == expected
    moved = precision_recall(1000 * real + 2.0**40, 1000 * fake + 2.0**40)
    assert moved == precision_recall(np.round(1000 * real), np.round(1000 * fake))


def test_mistakes() -> None:
    a = draw(5, 3, 0)
    with pytest.raises(ValueError, match=r"features of reals must be of shape \[n, d\].* \[5\]"):
        precision_recall(a[:, 0], a)
    with pytest.raises(ValueError, match="features of fakes of 1 of 5 examples are not finite"):
        precision_recall(a, np.where(np.eye(5, 3, -4), np.inf, a))
    with pytest.raises(ValueError, match="real and fake have 3 and 2 features an example"):
        precision_recall(a, a[:, :2])
    with pytest.raises(ValueError, match=r"k \(=0\) must be at least 1"):
        precision_recall(a, a, k=0)
    with pytest.raises(ValueError, match=r"5 real examples have no neighbour number 5 \(k\)"):
        precision_recall(a, draw(6, 3, 1), k=5)
    with pytest.raises(ValueError, match=r"3 fake examples have no neighbour number 3 \(k\)"):
        precision_recall(a, a[:3])

"""Neighbours: bit for bit those of sums of squared differences, which products alone can't tell."""

import numpy as np
import pytest

from vidgan_jax.metrics import neighbours
from vidgan_jax.metrics.neighbours import Pairs, squared_radii


def squared_distances(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.array([[np.sum((p - q) ** 2) for q in y] for p in x])


def radii_of(distances: np.ndarray, k: int) -> np.ndarray:
    others = distances + np.diag(np.full(len(distances), np.inf))
    return np.sort(others, axis=1)[:, k - 1]


def within(x: np.ndarray, y: np.ndarray, limits: np.ndarray) -> np.ndarray:
    blocks = Pairs(x, y).blocks()
    return np.concatenate(
        [b.within(limits[b.rows] if limits.shape[1:] else limits) for b in blocks]
    )


def far_lattice(n: int, seed: int) -> np.ndarray:
    """Points of a lattice of width 0.1, far from 0: many ties, rounded unequally, and copies."""
    places = np.random.default_rng(seed).integers(0, 3, (n, 3))
    return 1e5 + 0.1 * places


def far_cluster(n: int, seed: int) -> np.ndarray:
    """All but one point in a ball so small beside its distance that products see only rounding."""
    points = 1 + 1e-9 * np.random.default_rng(seed).normal(size=(n, 3))
    points[0] = -100
    return points


KINDS = {
    "spread": lambda n, seed: np.random.default_rng(seed).normal(size=(n, 3)),
    "lattice": far_lattice,
    "cluster": far_cluster,
}


@pytest.mark.parametrize("values", [1, 200, 2**22])
@pytest.mark.parametrize("kind", KINDS)
def test_what_products_leave_open_is_decided_by_sums(
    kind: str, values: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    x, y = KINDS[kind](40, 0), KINDS[kind](30, 1)
    monkeypatch.setattr(neighbours, "_BLOCK_VALUES", values)
    for k in (1, 3, 29):
        np.testing.assert_array_equal(squared_radii(x, k), radii_of(squared_distances(x, x), k))
        of_x, of_y = squared_radii(x, k), squared_radii(y, k)
        distances = squared_distances(x, y)
        np.testing.assert_array_equal(within(x, y, of_x[:, None]), distances <= of_x[:, None])
        np.testing.assert_array_equal(within(x, y, of_y), distances <= of_y)


def test_the_examples_above_need_more_than_products() -> None:
    """Else the test of them could not fail."""
    for make in (far_lattice, far_cluster):
        x, y = make(40, 0), make(30, 1)
        squares = np.sum(x**2, axis=1)[:, None] + np.sum(y**2, axis=1)
        radii = radii_of(squared_distances(x, x), 3)[:, None]
        assert ((squares - 2 * x @ y.T <= radii) != (squared_distances(x, y) <= radii)).any()


def test_the_bound_of_the_products_error_holds() -> None:
    for kind, make in KINDS.items():
        x, y = make(40, 0), make(30, 1)
        pairs = Pairs(x, y)
        (block,) = pairs.blocks()
        error = np.abs(block._products - squared_distances(x, y)).max()
        assert error <= pairs.slack, kind
        assert pairs.slack < 1e-10 * max(1, squared_distances(x, y).max()), kind


def test_copies_are_not_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    """A collapsed generator's: of millions of pairs no difference is computed."""
    x = np.tile(np.random.default_rng(0).normal(size=7), (50, 1))
    np.testing.assert_array_equal(squared_radii(x, 3), np.zeros(50))
    pairs = Pairs(x, x.copy())
    monkeypatch.setattr(pairs, "_x", np.full((50, 7), np.nan))
    numbers = np.arange(50)
    np.testing.assert_array_equal(pairs.sums(numbers, numbers[::-1]), np.zeros(50))

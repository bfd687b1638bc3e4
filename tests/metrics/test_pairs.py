"""Pairs of a set's members: sums over all of them, and equal ones."""

import itertools

import numpy as np
import pytest

from vidgan_jax.metrics import pairs

RNG = np.random.default_rng(0)


@pytest.mark.parametrize(
    "values",
    [
        RNG.integers(0, 256, (23, 5)).astype(np.uint8),
        RNG.integers(-9, 9, (8, 3)),
        RNG.normal(size=(30, 4)).astype(np.float32),
        1e6 + RNG.normal(size=(30, 2)),
    ],
    ids=["bytes", "integers", "floats", "far from zero"],
)
def test_total_differences_are_those_of_all_pairs(values: np.ndarray) -> None:
    exact = values.astype(np.float64)
    expected = sum(np.abs(a - b) for a, b in itertools.combinations(exact, 2))
    np.testing.assert_allclose(pairs.total_differences(values), expected, rtol=1e-12)


def test_equal_values_differ_by_nothing_at_all() -> None:
    values = np.repeat(RNG.normal(size=(1, 50)), 7, axis=0)
    assert not pairs.total_differences(values).any()
    assert not pairs.total_differences(values[:1]).any()
    assert pairs.total_differences(values[:0]).tolist() == [0] * 50


def test_equal_rows() -> None:
    keys = np.array([[1, 2], [3, 4], [1, 2], [5, 6], [1, 2], [3, 4]], np.uint8)
    assert pairs.first_equals(keys).tolist() == [0, 1, 0, 3, 0, 1]
    assert pairs.num_equal_pairs(keys) == 3 + 1
    assert pairs.num_equal_pairs(keys[:2]) == 0


def test_number_of_pairs() -> None:
    assert [pairs.num_pairs(n) for n in (0, 1, 2, 5)] == [0, 0, 1, 10]

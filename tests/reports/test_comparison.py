"""Comparisons over seeds: spreads, curves, pairs, and whether anything follows."""

import pytest

from tests.reports.points import POINTS, make_points
from vidgan_jax.reports import comparison


def test_spread() -> None:
    s = comparison.spread([1, 2, 6])
    assert (s.mean, s.low, s.high, s.num) == (3, 1, 6, 3)
    assert s.std == pytest.approx((((-2) ** 2 + 1 + 9) / 2) ** 0.5)
    assert comparison.spread([4.0]).std is None
    with pytest.raises(ValueError, match="at least one value"):
        comparison.spread([])


def test_values_and_steps() -> None:
    assert comparison.values_at(POINTS, "clips", "scratch", 20) == {0: 40, 1: 50}
    assert comparison.values_at(POINTS, "clips", "scratch", 0) == {}
    assert comparison.steps_of(POINTS) == [0, 10, 20]
    assert comparison.steps_of(POINTS, "scratch") == [10, 20]
    assert comparison.common_steps(POINTS) == [10, 20]


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        ((0, 10, 20), {0: (2 + 2 + 2 + 1) / 4, 1: (2 + 3 + 3 + 2) / 4, 2: (2 + 4 + 4 + 6) / 4}),
        ((0, 20), {0: 1.5, 1: 2, 2: 4}),
        ((20,), {0: 1, 1: 2, 2: 6}),
        ((), {}),
    ],
)
def test_the_area_is_the_mean_height(steps: tuple[int, ...], expected: dict[int, float]) -> None:
    assert comparison.areas(POINTS, "frames", "average", steps) == pytest.approx(expected)


def test_unequal_distances_of_steps_are_weighed() -> None:
    points = make_points({"average": {0: [4], 1: [0], 10: [0]}})
    assert comparison.areas(points, "frames", "average", [0, 1, 10]) == {0: pytest.approx(0.2)}


def test_a_seed_that_lacks_a_step_has_no_area() -> None:
    assert comparison.areas(POINTS, "frames", "scratch", [10, 20]) == {0: 6, 1: 5.5}


def test_pairs_are_compared_by_seeds_that_both_have() -> None:
    values = {s: comparison.values_at(POINTS, "frames", s, 20) for s in ("scratch", "average")}
    (pair,) = comparison.paired(values)
    assert (pair.better, pair.worse) == ("average", "scratch")
    assert pair.differences == {0: 3, 1: 3}
    assert pair.separated
    assert pair.chance == 0.5


def test_the_better_one_has_the_smaller_mean_even_if_most_seeds_are_against_it() -> None:
    values = {s: comparison.values_at(POINTS, "frames", s, 20) for s in ("average", "central")}
    (pair,) = comparison.paired(values)
    assert (pair.better, pair.worse) == ("average", "central")  # means are equal: 3
    assert pair.differences == {0: 1, 1: 1, 2: -2}
    assert pair.in_favour == 2
    assert not pair.separated
    assert pair.chance == 0.25


def test_of_one_seed_nothing_follows() -> None:
    (pair,) = comparison.paired({"a": {0: 1.0}, "b": {0: 2.0}})
    assert (pair.better, pair.separated, pair.chance) == ("a", False, 1)


def test_starts_without_a_seed_in_common_are_no_pair() -> None:
    assert comparison.paired({"a": {0: 1.0}, "b": {1: 2.0}, "c": {}}) == []


def test_ranking_is_by_means_and_leaves_out_what_has_none() -> None:
    assert comparison.ranking({"a": {0: 3.0}, "b": {}, "c": {0: 1.0, 1: 2.0}}) == ["c", "a"]


def test_numbers_for_json() -> None:
    found = comparison.numbers(POINTS)
    assert list(found) == ["frames", "clips"]
    assert list(found["frames"]) == ["step 10", "step 20", "area"]
    spreads = found["clips"]["step 20"]["spreads"]
    assert spreads["central"] == {"mean": 30, "std": 10, "low": 20, "high": 40, "num": 3}
    pairs = {(p["better"], p["worse"]): p for p in found["frames"]["step 10"]["pairs"]}
    assert pairs[("average", "scratch")]["differences"] == {0: 6, 1: 3, 2: 3}
    assert pairs[("average", "scratch")]["separated"]

"""Observations on disk: what is joined does not depend on where a run was stopped."""

from pathlib import Path

import numpy as np
import pytest

from vidgan_jax.evaluation import parts
from vidgan_jax.evaluation.measure import Observation
from vidgan_jax.evaluation.parts import Observations, digest

RNG = np.random.default_rng(0)
PARTS = [
    Observation(
        rows={"features": RNG.standard_normal((n, 3)).astype(np.float32)},
        sums={
            "counts": RNG.integers(0, 9, (2, 2)),
            # In another order, or grouped in another way, these add up to something else.
            "total": RNG.standard_normal(2) * 10.0 ** RNG.integers(-8, 8, 2),
        },
    )
    for n in (4, 4, 4, 4, 1)
]


def add(kept: Observations, observations: list[Observation]) -> None:
    for observation in observations:
        kept.add(observation, len(observation.rows["features"]))


def equal(one: Observation, other: Observation) -> bool:
    trees = [{**o.rows, **o.sums} for o in (one, other)]
    assert list(trees[0]) == list(trees[1])
    return all(
        trees[0][k].dtype == trees[1][k].dtype and np.array_equal(trees[0][k], trees[1][k])
        for k in trees[0]
    )


def test_they_are_joined_in_their_order(tmp_path: Path) -> None:
    kept = Observations(tmp_path / "whole")
    add(kept, PARTS)
    assert kept.num == 17
    joined = kept.joined()
    rows = np.concatenate([part.rows["features"] for part in PARTS])
    np.testing.assert_array_equal(joined.rows["features"], rows)
    np.testing.assert_array_equal(joined.sums["counts"], sum(p.sums["counts"] for p in PARTS))
    total = np.zeros(2)
    for part in PARTS:
        total = total + part.sums["total"]
    np.testing.assert_array_equal(joined.sums["total"], total)


@pytest.mark.parametrize("stops", [(1,), (2, 3), (1, 2, 3, 4), (4,)])
def test_a_run_that_was_stopped_has_the_same_bit_for_bit(
    tmp_path: Path, stops: tuple[int, ...]
) -> None:
    whole = Observations(tmp_path / "whole")
    add(whole, PARTS)
    for start, end in zip((0, *stops), (*stops, len(PARTS)), strict=True):
        kept = Observations(tmp_path / "stopped")
        assert kept.num == 4 * start
        add(kept, PARTS[start:end])
        kept.write()
    again = Observations(tmp_path / "stopped")
    assert again.num == 17
    assert equal(again.joined(), whole.joined())


def test_what_was_not_written_is_done_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parts, "_WRITE_EVERY_S", 1e9)
    kept = Observations(tmp_path)
    add(kept, PARTS[:2])
    kept.write()
    add(kept, PARTS[2:4])
    assert Observations(tmp_path).num == 8  # killed here


def test_a_file_without_those_before_it_is_not_taken(tmp_path: Path) -> None:
    for first in range(3):
        kept = Observations(tmp_path)
        add(kept, PARTS[first : first + 1])
        kept.write()
    (tmp_path / "00000004-00000008.npz").unlink()
    (tmp_path / "00000008-00000012.npz.tmp").write_bytes(b"cut")
    assert Observations(tmp_path).num == 4


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    kept = Observations(tmp_path)
    add(kept, PARTS[:1])
    kept.write()
    (path,) = tmp_path.iterdir()
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(ValueError, match=r"00000000-00000004\.npz is damaged; remove it"):
        Observations(tmp_path)


def test_the_digest_is_of_all_that_it_is_given() -> None:
    assert digest({"a": 1, "b": [2]}) == digest({"b": [2], "a": 1})
    assert len({digest(d) for d in ({"a": 1}, {"a": 2}, {"b": 1}, {"a": [1]})}) == 4

"""Scores of several runs: what was not measured alike is never compared."""

import copy
import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from vidgan_jax.reports.scoring import Scored, score_tables


@dataclasses.dataclass(frozen=True)
class Report:
    """As the engine has them, so far as tables look at it."""

    step: int
    manifest: Mapping[str, Any]
    headline: Mapping[str, float]
    folder: Path = Path("folder")


class Smaller:
    """All scores are shown as they are; the smallest is the best."""

    def cell(self, key: str, value: float | None) -> str:
        return "–" if value is None else f"{value:g}"

    def best(self, key: str, values: Mapping[int, float]) -> list[int]:
        if key == "motion":
            return []
        return [i for i, value in values.items() if value == min(values.values())]


MANIFEST: dict[str, Any] = {
    "version": 1,
    "code": "0.1.0+a",
    "libraries": {"jax": "1"},
    "device": "cpu",
    "checkpoint": {"step": 3, "ema": True, "generator_sha256": "a"},
    "protocol": {"name": "relative", "num": 8, "deviations": {}},
    "batch_size": 8,
    "data": {"checksum": "c", "split": "train"},
}


def scored(name: str, headline: Mapping[str, float], step: int = 3, **changes: Any) -> Scored:
    """Fields of the manifest are named with two underscores: `data__split`."""
    manifest = copy.deepcopy(MANIFEST)
    for field, value in changes.items():
        *above, last = field.split("__")
        section = manifest
        for part in above:
            section = section[part]
        section[last] = value
    return Scored(name, Report(step, manifest, headline))


def test_the_best_of_what_was_measured_alike_stands_out() -> None:
    """Another checkpoint, code or machine is no other measure."""
    one = scored("a", {"FID": 3.0, "motion": 1.0})
    other = scored(
        "b",
        {"FID": 2.0, "motion": 0.5, "KID": 9.0},
        step=5,
        code="0.1.0+b",
        batch_size=4,
        checkpoint__generator_sha256="b",
        libraries__jax="2",
    )
    (table,) = score_tables([one, other], Smaller())
    assert table.title == "protocol relative"
    assert table.columns == ["score", "a, step 3", "b, step 5"]
    assert table.rows == [["FID", "3", "2"], ["motion", "1", "0.5"], ["KID", "–", "9"]]
    assert table.best == {(0, 2)}  # of KID there is nothing to compare with
    assert "the best of each row is marked" in table.caption


@pytest.mark.parametrize(
    ("field", "value", "row"),
    [
        ("protocol__num", 16, ["protocol.num", "8", "16"]),
        ("data__checksum", "d", ["data.checksum", "c", "d"]),
        ("data__split", "validation", ["data.split", "train", "validation"]),
        ("version", 2, ["version", "1", "2"]),
        ("maps", {"num": 3}, ["maps.num", "–", "3"]),
        ("checkpoint__ema", False, ["averaged generator", "true", "false"]),
    ],
)
def test_other_measures_are_told_and_nothing_is_the_best(
    field: str, value: Any, row: list[str]
) -> None:
    two = [scored("a", {"FID": 3.0}), scored("b", {"FID": 2.0}, **{field: value})]
    (table,) = score_tables(two, Smaller())
    assert table.rows == [row, ["FID", "3", "2"]]
    assert table.best == frozenset()
    assert table.caption.startswith(f"Not measured alike: {row[0]} differ")


def test_each_protocol_has_its_table() -> None:
    first = scored("a", {"FID": 3.0})
    other = scored("a", {"FVD": 9.0}, protocol__name="fvd")
    tables = score_tables([first, other, scored("b", {"FID": 4.0})], Smaller())
    assert [table.title for table in tables] == ["protocol relative", "protocol fvd"]
    assert [table.columns[1:] for table in tables] == [["a, step 3", "b, step 3"], ["a, step 3"]]
    assert [sorted(table.best) for table in tables] == [[(0, 1)], []]
    assert tables[1].caption == ""


def test_no_scores_no_tables() -> None:
    assert score_tables([], Smaller()) == []

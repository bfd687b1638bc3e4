"""Curves of evaluations: every line is drawn, names keep their colours, images have none."""

from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.reports.test_figures import colours_of
from tests.runs import names
from vidgan_jax.reports import curves, figures
from vidgan_jax.reports.curves import Line, Panel

FIRST, SECOND, THIRD, *_ = figures.COLOURS


def size_of(path: Path) -> tuple[int, int]:
    with Image.open(path) as image:
        return image.size


def panel(**lines: Line) -> Panel:
    return Panel("score", "step", "larger is better", lines)


def test_a_name_has_one_colour_in_all_panels(tmp_path: Path) -> None:
    up, down = Line([1, 2, 3], [0.0, 1.0, 2.0]), Line([1, 2, 3], [2.0, None, 0.0])
    both, one = panel(a=up, b=Line([1, 3], [5.0, 6.0])), panel(b=up)
    curves.draw(tmp_path / "both.png", [both], title="")
    curves.draw(tmp_path / "more.png", [one, both, panel(c=down)], title="", marked=True)
    assert {FIRST, SECOND} <= colours_of(tmp_path / "both.png")
    assert THIRD not in colours_of(tmp_path / "both.png")
    assert {FIRST, SECOND} <= colours_of(tmp_path / "more.png")
    assert names(tmp_path) == ["both.png", "more.png"]


def test_a_histogram_is_drawn_by_its_edges(tmp_path: Path) -> None:
    shares = Line([0.0, 0.5, 1.0, 4.0], [0.25, 0.5, 0.25])
    curves.draw(tmp_path / "a.png", [panel(a=shares)], title="")
    assert FIRST in colours_of(tmp_path / "a.png")


def test_more_names_than_colours_differ_in_their_strokes() -> None:
    styles = curves._styles(marked=True)
    found = [next(styles) for _ in range(3 * len(figures.COLOURS))]
    assert len({(style["color"], style["ls"]) for style in found}) == len(found)


def test_four_panels_are_two_rows(tmp_path: Path) -> None:
    one = panel(a=Line([1, 2], [1.0, 2.0]))
    for num in (3, 4):
        curves.draw(tmp_path / f"{num}.png", [one] * num, title="")
    (width, height), (same, higher) = size_of(tmp_path / "3.png"), size_of(tmp_path / "4.png")
    assert same == width
    assert higher > 1.5 * height


def test_nothing_to_draw_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="panels is empty"):
        curves.draw(tmp_path / "a.png", [], title="")
    assert not names(tmp_path)


def agreement(*, by_frame: bool) -> dict[str, Any]:
    def side(first: float) -> dict[str, Any]:
        curve = [first, None, first / 2] if by_frame else None
        return {"accuracy_by_frame": curve, "mean_iou_by_frame": None}

    return {"generated": side(0.5), "real": side(1.0)}


def test_agreement_is_drawn_over_time_in_per_cent(tmp_path: Path) -> None:
    (found,) = curves.report_panels({"agreement": agreement(by_frame=True), "relative": {}})
    assert found.title == "pixel accuracy"
    assert list(found.lines["generated"].x) == [1, 2, 3]
    assert found.lines["generated"].y == [50.0, None, 25.0]
    assert found.lines["real"].y == [100.0, None, 50.0]
    scores = {"agreement": agreement(by_frame=True)}
    assert curves.draw_report(tmp_path / "curves.png", scores, title="thesis")
    assert names(tmp_path) == ["curves.png"]


def motion() -> dict[str, Any]:
    """Of clips of three frames: a fake's pixels are slow, a real one's fast."""

    def side(shares: list[float]) -> dict[str, Any]:
        curve = {"frame_difference": [2.0, 3.0], "flow": [0.25, 0.5]}
        return {"curves": curve, "flow": {"shares": shares}}

    edges = [0.0, 0.5, 2**-0.5, 1.0, 2.0]
    generated, real = side([0.5, 0.25, 0.25, 0.0]), side([0.0, 0.0, 0.5, 0.5])
    return {"generated": generated, "real": real, "bins": {"edges": edges}}


def test_motion_is_drawn_over_time_and_by_speed(tmp_path: Path) -> None:
    change, flow, speeds = curves.report_panels({"motion": motion()})
    assert (list(change.lines["real"].x), change.lines["real"].y) == ([1, 2], [2.0, 3.0])
    assert flow.lines["generated"].y == [0.25, 0.5]
    assert speeds.lines["generated"] == Line([0.0, 0.5, 1.0, 2.0], [50.0, 50.0, 0.0])
    assert speeds.lines["real"].y == [0.0, 50.0, 50.0]
    assert curves.draw_report(tmp_path / "curves.png", {"motion": motion()}, title="")
    assert {FIRST, SECOND} <= colours_of(tmp_path / "curves.png")


def test_images_have_no_curves(tmp_path: Path) -> None:
    scores = {"agreement": agreement(by_frame=False), "relative": {}}
    assert not curves.draw_report(tmp_path / "curves.png", scores, title="")
    assert not curves.draw_report(tmp_path / "curves.png", {}, title="")
    assert not names(tmp_path)

"""A comparison's page: all of it in one file, whatever names are in it."""

import base64
import dataclasses
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.reports.html_pages import HtmlPage, read_page
from vidgan_jax.reports import charts, page, shown
from vidgan_jax.reports.charts import Chart, charts_of
from vidgan_jax.reports.page import Content, Side
from vidgan_jax.reports.runs import Curve
from vidgan_jax.reports.scoring import PageTable
from vidgan_jax.reports.shown import Column, Picture

EVIL = """</script></style></title><img src=x onerror="alert('1')">&amp;{{DATA}}\u2028"""


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> list[Picture]:
    """A film of two runs, then the film of one and the picture of the other."""
    folder = tmp_path_factory.mktemp("pictures")
    rng = np.random.default_rng(0)
    clips = Column("clips", rng.integers(0, 256, (3, 4, 8, 8, 3), np.uint8), 8.0)
    images = Column("images", rng.integers(0, 256, (3, 8, 8, 3), np.uint8), 8.0)
    frames, fps = shown.join([clips, images])
    together = shown.write_picture(folder / "together", frames, fps, ["clips", "images"])
    return [
        together,
        shown.write_run(folder / "run_00", clips),
        shown.write_run(folder / "run_01", images),
    ]


def content(pictures: list[Picture], **changes: Any) -> Content:
    logged: list[Mapping[str, Curve]] = [
        {"D": Curve([1, 2], [0.5, math.nan]), "clips_per_s": Curve([1, 2], [3.0, 4.0])},
        {"D": Curve([2, 4], [math.inf, -math.inf]), "watch/motion": Curve([4], [0.25])},
    ]
    whole = Content(
        title="Comparison of clips, images",
        sides=[Side("clips", 4), Side("images", 8)],
        notes=["All is well."],
        together=pictures[0],
        alone=pictures[1:],
        charts=charts_of(logged),
        scores=[],
        scores_notes=["No scores yet."],
        tables=[PageTable("Facts", ["", "clips", "images"], [["step", "2", "4"]])],
    )
    return dataclasses.replace(whole, **changes)


def read(pictures: list[Picture], **changes: Any) -> HtmlPage:
    return read_page(page.page_of(content(pictures, **changes)))


def test_everything_is_in_the_page(pictures: list[Picture]) -> None:
    found = read(pictures)
    assert found.fetched() == []
    policy = found.one("meta", **{"http-equiv": "Content-Security-Policy"})
    assert (policy.attributes["content"] or "").startswith("default-src 'none';")
    together, alone = found.all("video")
    for video, picture in ((together, pictures[0]), (alone, pictures[1])):
        assert {"autoplay", "loop", "muted", "playsinline"} <= video.attributes.keys()
        kind, encoded = (video.attributes["src"] or "").split(",")
        assert kind == "data:video/mp4;base64"
        assert base64.b64decode(encoded) == picture.path.read_bytes()
        assert video.attributes["width"] == str(picture.width)
        assert "controls" not in video.attributes
    image = found.one("img")
    assert image.attributes["alt"] == "images"
    encoded = (image.attributes["src"] or "").removeprefix("data:image/png;base64,")
    assert base64.b64decode(encoded) == pictures[2].path.read_bytes()
    assert [head.text for head in found.all("div", **{"class": "heads"})] == ["clipsimages"]
    assert found.one("title").text == found.one("h1").text == "Comparison of clips, images"


def test_labels_belong_to_something(pictures: list[Picture]) -> None:
    """Each chart has a name, a place for values and keys; parts that scroll can be reached."""
    found = read(pictures)
    ids = [e.attributes["id"] for e in found.elements if "id" in e.attributes]
    assert len(set(ids)) == len(ids)
    used = [
        e.attributes[name]
        for e in found.elements
        for name in ("aria-labelledby", "aria-describedby")
        if name in e.attributes
    ]
    assert {*used, *(a.attributes["href"].removeprefix("#") for a in found.all("a"))} <= {*ids}  # type: ignore[union-attr]
    assert len(found.all("svg", tabindex="0")) == len(found.data["charts"]) == 3
    for scrolled in found.all("div", **{"class": "scroll"}):
        assert scrolled.attributes["tabindex"] == "0"
        assert scrolled.attributes["aria-label"]
    # What the script looks for is there.
    script = found.all("script")[-1].text
    for wanted in ("axis", "log", "smoothing", "legend", "pause", "restart", "speed", "size"):
        assert f'$("{wanted}")' in script
        assert wanted in ids


def test_curves_are_data_and_a_table(pictures: list[Picture]) -> None:
    """What is not finite, which JSON lacks, is told in words."""
    found = read(pictures)
    assert found.data == {
        "runs": [{"name": "clips", "batch": 4}, {"name": "images", "batch": 8}],
        "charts": [
            {
                "name": "D",
                "curves": [
                    {"run": 0, "steps": [1, 2], "values": [0.5, "NaN"]},
                    {"run": 1, "steps": [2, 4], "values": ["∞", "−∞"]},
                ],
            },
            {"name": "watch/motion", "curves": [{"run": 1, "steps": [4], "values": [0.25]}]},
            {
                "name": "clips_per_s",
                "curves": [{"run": 0, "steps": [1, 2], "values": [3.0, 4.0]}],
            },
        ],
    }
    last, facts = found.tables()
    assert last == [
        ["last value", "clips", "images"],
        ["D", "NaN (step 2)", "−∞ (step 4)"],
        ["watch/motion", "–", "0.25 (step 4)"],
        ["clips_per_s", "4 (step 2)", "–"],
    ]
    assert facts == [["", "clips", "images"], ["step", "2", "4"]]


def test_no_name_breaks_out(pictures: list[Picture]) -> None:
    changes = {
        "title": EVIL,
        "sides": [Side(EVIL, 4), Side("images", 8)],
        "notes": [EVIL],
        "together": dataclasses.replace(pictures[0], columns=[EVIL, "images"]),
        "charts": [Chart(EVIL, EVIL, {0: Curve([1], [1.0])})],
        "scores": [PageTable(EVIL, ["", EVIL], [[EVIL, EVIL]], EVIL, frozenset({(0, 1)}))],
        "scores_notes": [EVIL],
    }
    usual, found = read(pictures), read(pictures, **changes)
    assert found.fetched() == []
    assert len(found.all("script")) == 2
    assert len(found.all("style")) == 1
    assert len(found.all("img")) == len(usual.all("img"))
    assert found.data["runs"][0]["name"] == found.data["charts"][0]["name"] == EVIL
    # Elsewhere, white space apart, each is there as it is.
    assert found.one("h1").text == found.one("title").text == EVIL
    assert found.tables()[1] == [["", EVIL], [EVIL, f"{EVIL} ★"]]


def test_bytes_that_are_no_text(pictures: list[Picture], tmp_path: Path) -> None:
    """File names may have them."""
    changed = content(pictures, notes=["a\udcff"])
    size = page.write_page(tmp_path / "page.html", changed)
    assert "<li>a?</li>" in (tmp_path / "page.html").read_text("utf-8")
    assert size == (tmp_path / "page.html").stat().st_size
    assert [path.name for path in tmp_path.iterdir()] == ["page.html"]


def test_the_same_content_gives_the_same_page(pictures: list[Picture]) -> None:
    assert page.page_of(content(pictures)) == page.page_of(content(pictures))


def test_nothing_logged(pictures: list[Picture]) -> None:
    found = read(pictures, charts=[])
    assert page.NO_CURVES in found.one("section", id="curves").text
    assert found.data["charts"] == []
    assert not found.all("svg")


def test_long_curves_are_thinned_and_it_is_told(pictures: list[Picture]) -> None:
    steps = list(range(5 * charts.MOST_POINTS))
    found = read(
        pictures, charts=[Chart("D", charts.LOSSES, {0: Curve(steps, [0.0] * len(steps))})]
    )
    assert len(found.data["charts"][0]["curves"][0]["steps"]) <= charts.MOST_POINTS
    assert "least and the greatest" in found.one("section", id="curves").text
    assert "least and the greatest" not in read(pictures).text


def test_the_best_stands_out(pictures: list[Picture]) -> None:
    table = PageTable("t", ["score", "a", "b"], [["FID", "1", "2"]], "how", frozenset({(0, 1)}))
    found = read(pictures, scores=[table])
    assert [cell.text for cell in found.all("td", **{"class": "best"})] == ["1 ★"]
    assert found.one("caption").text == "how"

"""Figures: PNGs with every curve in them, without a warning, and only where matplotlib is."""

import importlib
import math
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.reports.points import POINTS
from vidgan_jax.reports import figures
from vidgan_jax.reports.comparison import Scores
from vidgan_jax.reports.runs import Curve


def colours_of(path: Path) -> set[str]:
    """Colours that cover at least some pixels."""
    with Image.open(path) as image:
        pixels = np.asarray(image.convert("RGB")).reshape(-1, 3)
    found, counts = np.unique(pixels, axis=0, return_counts=True)
    return {"#{:02X}{:02X}{:02X}".format(*c) for c, n in zip(found, counts, strict=True) if n > 40}


def curve(*values: float) -> Curve:
    return Curve(list(range(10, 10 * len(values) + 1, 10)), list(values))


def test_losses_have_a_panel_a_start_and_all_curves(tmp_path: Path) -> None:
    one = {name: curve(*np.linspace(i, i + 1, 9)) for i, name in enumerate(figures.LOSSES)}
    curves = {"scratch": {0: one, 1: one}, "average": {0: {**one, "clips_per_s": curve(99)}}}
    path = tmp_path / "losses.png"
    figures.draw_losses(path, curves, title="ResNet", even=math.log(2))
    with Image.open(path) as image:
        wide = image.size[0]
    assert set(figures.LOSSES.values()) <= colours_of(path)
    figures.draw_losses(path, {"scratch": {0: one}}, title="ResNet", even=math.nan)
    with Image.open(path) as image:
        assert image.size[0] < wide
    assert [p.name for p in tmp_path.iterdir()] == ["losses.png"]


@pytest.mark.parametrize("curves", [{"scratch": {0: {}}}, {"scratch": {0: {"G": curve(1.0)}}}])
def test_losses_of_runs_that_hardly_began(tmp_path: Path, curves: dict) -> None:
    figures.draw_losses(tmp_path / "losses.png", curves, title="", even=math.nan)
    assert (tmp_path / "losses.png").exists()


@pytest.mark.parametrize(
    ("values", "shown"), [([1.0, 2, 8], 8), ([1.0] * 300 + [2, 500], 1.5 * 1), ([-3.0, 1], 1)]
)
def test_the_scale_holds_all_but_lonely_spikes(values: list[float], shown: float) -> None:
    low, high = figures._range([curve(*values)])
    assert high >= shown
    assert high < 1.3 * shown + 0.3
    assert low <= min(0, *values)


def test_scores_have_a_line_a_start(tmp_path: Path) -> None:
    path = tmp_path / "scores.png"
    figures.draw_scores(path, POINTS, Scores(0.1, 0.2, 4.5), title="ResNet")
    assert {"#000000", "#0072B2", "#D55E00"} <= colours_of(path)
    assert "#E69F00" not in colours_of(path)  # "thesis" was not run


def test_equal_figures_are_equal_files(tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        figures.draw_scores(tmp_path / name, POINTS, Scores(0.1, 0.2, 4.5), title="ResNet")
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_without_matplotlib_the_message_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(name: str) -> None:
        raise ImportError(name)

    assert figures.available()
    monkeypatch.setattr(importlib, "import_module", fail)
    assert not figures.available()
    with pytest.raises(ValueError, match=r"need matplotlib.*pip install 'vidgan-jax\[study\]'"):
        figures.require()

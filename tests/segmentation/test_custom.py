"""Segmenters that a user's own module makes."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vidgan_jax.segmentation import loading

MODULE = """
import numpy as np

class Mine:
    classes = (2, 4)
    identity = "weights 1"

    def __call__(self, frames, *, batch_size=8, progress=False):
        return np.where(frames[..., 0] > 127, 4, 2)

class Shapeless(Mine):
    def __call__(self, frames, *, batch_size=8, progress=False):
        return frames

class Unknown(Mine):
    def __call__(self, frames, *, batch_size=8, progress=False):
        return super().__call__(frames) + 1

class Nameless(Mine):
    identity = ""

class Backwards(Mine):
    classes = (4, 2)

def not_callable():
    return 7

def bare():
    return lambda frames: frames
"""
FRAMES = np.random.default_rng(0).integers(0, 256, (2, 3, 4, 4, 3)).astype(np.uint8)


@pytest.fixture(autouse=True)
def _module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "segmenters_of_mine.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)


def load(name: str) -> Any:
    return loading.load(f"python:segmenters_of_mine:{name}")


def test_it_segments() -> None:
    found = load("Mine")
    assert (found.classes, found.identity) == ((2, 4), "weights 1")
    seen = found(FRAMES)
    np.testing.assert_array_equal(seen, np.where(FRAMES[..., 0] > 127, 4, 2))
    assert seen.dtype == np.uint8
    with pytest.raises(ValueError, match="frames must be uint8"):
        found(FRAMES / 255)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("Nameless", r"identity \(=''\) must be a string that changes whenever weights"),
        ("Backwards", r"classes \(=\(4, 2\)\) must be the ids that it may give, .* ascending"),
        ("not_callable", "returns int, which can't be called: it must return a segmenter as"),
        ("bare", "returns a segmenter without `classes`"),
        ("Missing", "the module segmenters_of_mine has no function Missing"),
        ("np", "has no function np"),
        ("a b", r"must be python:PACKAGE\.MODULE:FUNCTION"),
    ],
)
def test_what_is_none_is_refused(name: str, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        load(name)


@pytest.mark.parametrize(
    ("where", "text"),
    [
        ("python:no_such_module_of_mine:f", "No module named 'no_such_module_of_mine'"),
        ("python:segmenters_of_mine", "must be python:PACKAGE"),
        ("python:a/b.py:f", "names no module: 'a/b.py'"),
        ("python::f", "must be python:PACKAGE"),
    ],
)
def test_names_of_nothing_are_refused(where: str, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        loading.load(where)
    with pytest.raises(ValueError, match=r"scales \(=\(300,\)\) are of converted"):
        loading.load(where, scales=(300,))


def test_answers_are_checked() -> None:
    with pytest.raises(
        ValueError, match=r"must give integers \[2, 3, 4, 4\] for .*got uint8 \[2, 3"
    ):
        load("Shapeless")(FRAMES)
    with pytest.raises(
        ValueError, match=r"gives the id [35], which is none of its classes \[2, 4\]"
    ):
        load("Unknown")(FRAMES)

"""Examples side by side: sizes, speeds and lengths."""

from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from vidgan_jax.reports import shown
from vidgan_jax.reports.shown import Column, Maps, columns_of, join

MARGIN = 2


def clips(value: int, num_frames: int, size: int, *, num: int = 2) -> np.ndarray:
    """Frames of one grey level each: `value` and the frame's number."""
    frames = value + np.arange(num_frames, dtype=np.uint8)[None, :, None, None, None]
    return np.broadcast_to(frames, (num, num_frames, size, size, 3))


def cell(frames: np.ndarray, row: int, column: int, size: int) -> np.ndarray:
    """One cell of a grid over time, `[t, size, size, 3]`."""
    top, left = (MARGIN + i * (size + MARGIN) for i in (row, column))
    return frames[:, top : top + size, left : left + size]


def test_row_i_has_each_runs_example_i() -> None:
    rng = np.random.default_rng(0)
    one, other = (rng.integers(0, 256, (3, 4, 64, 64, 3), np.uint8) for _ in range(2))
    frames, fps = join([Column("a", one, 8.0), Column("b", other, 8.0)])
    assert frames.shape == (4, 3 * 66 + 2, 2 * 66 + 2, 3)
    assert fps == 8.0
    for row in range(3):
        np.testing.assert_array_equal(cell(frames, row, 0, 64), one[row])
        np.testing.assert_array_equal(cell(frames, row, 1, 64), other[row])


def test_clips_keep_their_own_speed() -> None:
    """The longest decides how long all is, the fastest how many frames there are in a second."""
    slow, fast = Column("s", clips(0, 4, 64), 2.0), Column("f", clips(0, 6, 64), 6.0)
    frames, fps = join([slow, fast, Column("still", clips(9, 1, 64)[:, 0], 24.0)])
    assert fps == 6.0
    assert len(frames) == 12  # two seconds
    assert cell(frames, 0, 0, 64)[:, 0, 0, 0].tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3]
    assert cell(frames, 0, 1, 64)[:, 0, 0, 0].tolist() == [0, 1, 2, 3, 4, 5] * 2
    assert (cell(frames, 1, 2, 64) == 9).all()


def test_speeds_that_are_no_multiples() -> None:
    """8 frames at 29.97 a second are seen beside as many at 30: none is lost, none comes early."""
    frames, fps = join([Column("a", clips(0, 8, 64), 29.97), Column("b", clips(0, 8, 64), 30.0)])
    assert (fps, len(frames)) == (30.0, 9)
    assert cell(frames, 0, 0, 64)[:, 0, 0, 0].tolist() == [0, 0, 1, 2, 3, 4, 5, 6, 7]
    assert cell(frames, 0, 1, 64)[:, 0, 0, 0].tolist() == [0, 1, 2, 3, 4, 5, 6, 7, 0]


@pytest.mark.parametrize(("small", "large"), [(16, 64), (48, 64), (8, 128)])
def test_small_examples_are_enlarged_without_new_colours(small: int, large: int) -> None:
    image = np.random.default_rng(0).integers(0, 256, (1, small, small, 3), np.uint8)
    columns = [Column("s", image, 1.0), Column("l", clips(0, 1, large, num=1)[:, 0], 1.0)]
    frames, _ = join(columns)
    found = cell(frames, 0, 0, large)[0]
    places = np.arange(large) * small // large
    np.testing.assert_array_equal(found, image[0][places][:, places])
    assert {*map(bytes, found.reshape(-1, 3))} == {*map(bytes, image.reshape(-1, 3))}


def test_tiny_examples_are_made_big_enough_to_see() -> None:
    frames, _ = join([Column("a", clips(5, 1, 8)[:, 0], 8.0)])
    assert frames.shape == (1, 2 * 66 + 2, 66 + 2, 3)


def test_maps_and_real_ones_stand_before_the_runs() -> None:
    """In turn, where there are fewer maps than rows."""
    maps = Maps(np.array([[[2]], [[4]]], np.uint8), "made", real=clips(7, 3, 1), fps=4.0)
    found = columns_of(maps, [Column("a", clips(0, 1, 1, num=5)[:, 0], 8.0)])
    assert [column.name for column in found] == ["label map", "real", "a"]
    assert [column.fps for column in found] == [4.0, 4.0, 8.0]
    painted = found[0].examples[:, 0, 0].tolist()
    assert painted[0] == painted[2] == painted[4] != painted[1] == painted[3]
    assert found[1].examples.shape == (5, 3, 1, 1, 3)
    files = columns_of(Maps(maps.label_maps, "given", ["a.png"]), found[2:])
    assert [column.name for column in files] == ["label map", "a"]


def test_films_and_pictures(tmp_path: Path) -> None:
    """A film lasts two seconds at least; what does not move is a picture without loss."""
    film = shown.write_run(tmp_path / "film", Column("a", clips(90, 4, 64, num=8), 8.0))
    assert (film.path.name, film.columns, film.fps) == ("film.mp4", 4, 8.0)
    with av.open(str(film.path)) as container:
        frames = list(container.decode(video=0))
    assert len(frames) == 16
    assert (frames[0].width, frames[0].height) == (film.width, film.height) == (266, 134)
    images = np.random.default_rng(0).integers(0, 256, (5, 64, 64, 3), np.uint8)
    still = shown.write_run(tmp_path / "still", Column("b", images, 8.0))
    assert (still.path.name, still.columns, still.fps) == ("still.png", 3, None)
    with Image.open(still.path) as opened:
        picture = np.asarray(opened)[None]
    np.testing.assert_array_equal(cell(picture, 1, 1, 64)[0], images[4])


def test_pictures_that_no_browser_shows_are_refused(tmp_path: Path) -> None:
    frames = np.zeros((1, 8194, 2, 3), np.uint8)
    with pytest.raises(ValueError, match="2×8194 pixels, and browsers show 8192 at most"):
        shown.write_picture(tmp_path / "x", frames, 1.0, 1)
    assert not list(tmp_path.iterdir())


def test_what_differs_is_said() -> None:
    slow, fast = Column("s", clips(0, 4, 64), 2.0), Column("f", clips(0, 6, 64), 6.0)
    still = Column("i", clips(0, 1, 32)[:, 0], 6.0)
    assert shown.sizes_said([slow, slow]) == []
    assert shown.sizes_said([slow, fast, still]) == [
        "Smaller examples are enlarged by repeating pixels.",
        "i: images, which stand still.",
        "Shorter clips begin again until the longest one ends.",
        "Each at its own speed, in frames a second: s 2, f 6.",
    ]

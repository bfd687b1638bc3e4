"""Contact sheets: what stands where."""

from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from tests.metrics.examples import make_waves
from vidgan_jax.data.labels import COLOURS, colorize
from vidgan_jax.data.media import enlarge
from vidgan_jax.evaluation.measure import FAKES, LABELLED, REFERENCE, VARIATIONS, Part
from vidgan_jax.evaluation.sheets import write_sheets

SIZE, CELL, HEAD, MARGIN, GAP = 16, 96, 18, 2, 12
FAKE, REAL = np.split(make_waves(20, frames=5, size=SIZE), 2)
LABELS = np.random.default_rng(0).integers(0, 5, (10, SIZE, SIZE)).astype(np.uint8)
MIDDLE = 2


def cell(sheet: np.ndarray, row: int, column: int, left: int = 0) -> np.ndarray:
    """A picture of a grid that begins at `left`, at its own size again."""
    top = HEAD + MARGIN + row * (CELL + MARGIN)
    left += MARGIN + column * (CELL + MARGIN)
    found = sheet[top : top + CELL, left : left + CELL]
    small = found[:: CELL // SIZE, :: CELL // SIZE]
    np.testing.assert_array_equal(enlarge(small, CELL), found)
    return small


def in_columns(sheet: np.ndarray, row: int, column: int) -> np.ndarray:
    """The same where each column is a grid of its own."""
    return cell(sheet, row, 0, column * (CELL + 2 * MARGIN))


def read(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path))


def num_frames(path: Path) -> int:
    with av.open(str(path)) as container:
        return sum(1 for _ in container.decode(video=0))


def segment(frames: np.ndarray) -> np.ndarray:
    """A segmenter that sees two classes."""
    return (frames[..., 0] > 127).astype(np.uint8)


def names(paths: list[Path]) -> list[str]:
    assert all(path.is_file() for path in paths)
    return [path.name for path in paths]


def has_caption(sheet: np.ndarray, left: int) -> bool:
    return bool((sheet[:HEAD, left : left + CELL] < 128).any())


def test_images_generated_at_the_left_and_real_at_the_right(tmp_path: Path) -> None:
    shown = {FAKES: Part(0, FAKE[:, 0]), REFERENCE: Part(0, REAL[:, 0])}
    assert names(write_sheets(tmp_path / "new", shown, fps=8)) == ["examples.png"]
    sheet = read(tmp_path / "new/examples.png")
    right = 4 * (CELL + MARGIN) + MARGIN + GAP
    for i in range(8):
        np.testing.assert_array_equal(cell(sheet, i // 4, i % 4), FAKE[i, 0])
        np.testing.assert_array_equal(cell(sheet, i // 4, i % 4, right), REAL[i, 0])
    assert sheet.shape == (HEAD + 2 * (CELL + MARGIN) + MARGIN, 2 * right - GAP, 3)
    assert has_caption(sheet, 0)
    assert has_caption(sheet, right)
    assert not has_caption(sheet, CELL)


def test_clips_are_strips_and_a_film(tmp_path: Path) -> None:
    shown = {FAKES: Part(0, FAKE[:3]), REFERENCE: Part(0, REAL)}
    written = write_sheets(tmp_path, shown, fps=2.5)
    assert names(written) == ["examples.png", "examples.mp4"]
    sheet = read(tmp_path / "examples.png")
    right = 5 * (CELL + MARGIN) + MARGIN + GAP
    for i in range(3):
        for time in range(5):
            np.testing.assert_array_equal(cell(sheet, i, time), FAKE[i, time])
            np.testing.assert_array_equal(cell(sheet, i, time, right), REAL[i, time])
    assert num_frames(tmp_path / "examples.mp4") == 10  # 4 seconds
    assert names(write_sheets(tmp_path / "b", shown)) == ["examples.png"]


def test_maps_have_what_was_made_of_them_beside_what_is_real(tmp_path: Path) -> None:
    shown = {FAKES: Part(0, FAKE, LABELS), LABELLED: Part(0, REAL[:7], LABELS[:7])}
    written = write_sheets(tmp_path, shown, fps=8, segment=segment)
    assert names(written) == ["examples.png", "maps.png", "examples.mp4", "maps.mp4"]
    sheet = read(tmp_path / "maps.png")
    for i in range(7):
        fake = FAKE[i, MIDDLE]
        columns = (colorize(LABELS[i]), fake, colorize(segment(fake)), REAL[i, MIDDLE])
        for j, expected in enumerate(columns):
            np.testing.assert_array_equal(in_columns(sheet, i, j), expected)
    assert sheet.shape[:2] == (HEAD + 7 * (CELL + MARGIN) + MARGIN, 4 * (CELL + 2 * MARGIN))
    assert all(has_caption(sheet, i * (CELL + 2 * MARGIN)) for i in range(4))


def test_maps_without_a_segmenter_or_real_ones(tmp_path: Path) -> None:
    """A map of another size than the frames, which were resized to be scored, is fitted."""
    maps = np.repeat(np.repeat(LABELS, 2, axis=1), 2, axis=2)
    write_sheets(tmp_path, {FAKES: Part(0, FAKE[:, 0], maps)})
    sheet = read(tmp_path / "maps.png")
    assert sheet.shape[1] == 2 * (CELL + 2 * MARGIN)
    np.testing.assert_array_equal(in_columns(sheet, 3, 0), COLOURS[LABELS[3]])
    np.testing.assert_array_equal(in_columns(sheet, 3, 1), FAKE[3, 0])


@pytest.mark.parametrize("labelled", [False, True])
def test_variations_are_rows_of_maps_and_columns_of_latents(tmp_path: Path, labelled: bool) -> None:
    maps = LABELS[:3].repeat(3, axis=0) if labelled else None
    written = write_sheets(tmp_path, {VARIATIONS: Part(0, FAKE[:9], maps)}, num_variations=3, fps=8)
    assert names(written) == ["variations.png", "variations.mp4"]
    sheet = read(tmp_path / "variations.png")
    for i in range(9):
        found = in_columns(sheet, i // 3, i % 3 + labelled)
        np.testing.assert_array_equal(found, FAKE[i, MIDDLE])
    if labelled:
        np.testing.assert_array_equal(in_columns(sheet, 2, 0), COLOURS[LABELS[2]])


def test_mistakes(tmp_path: Path) -> None:
    shown = {FAKES: Part(0, FAKE, LABELS), LABELLED: Part(4, REAL, LABELS[::-1])}
    with pytest.raises(ValueError, match=r"not of the same label maps; .* begin at 0 and 4"):
        write_sheets(tmp_path, shown)
    with pytest.raises(ValueError, match=r"2 variations to show are not 3 \(num_variations\)"):
        write_sheets(tmp_path, {VARIATIONS: Part(0, FAKE[:2])}, num_variations=3)
    with pytest.raises(ValueError, match=r"are not 3 .* of each map, one map after another"):
        write_sheets(tmp_path, {VARIATIONS: Part(0, FAKE, LABELS)}, num_variations=3)
    assert not list(tmp_path.iterdir())

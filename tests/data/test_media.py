"""Pictures and videos: what other programs read out of them, and nothing half-written."""

import functools
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image

from vidgan_jax.data import media


def make_frames(num_frames: int = 6, height: int = 16, width: int = 24) -> np.ndarray:
    """Frames that differ in colour, each a gradient to the right and downwards."""
    frames = np.zeros((num_frames, height, width, 3), np.uint8)
    frames[..., 0] = np.linspace(40, 200, width)
    frames[..., 1] = np.linspace(40, 200, height)[:, None]
    frames[..., 2] = (30 + 200 // num_frames * np.arange(num_frames))[:, None, None]
    return frames


def read_mp4(path: Path) -> tuple[np.ndarray, Any]:
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        facts = (stream.codec_context.name, stream.codec_context.pix_fmt, stream.average_rate)
        return np.stack([f.to_ndarray(format="rgb24") for f in container.decode(stream)]), facts


def read_animation(path: Path) -> tuple[np.ndarray, list[int], Any]:
    """Frames, their durations in ms, how often they repeat (0 for ever)."""
    frames, durations = [], []
    with Image.open(path) as image:
        for i in range(getattr(image, "n_frames", 1)):
            image.seek(i)
            frames.append(np.asarray(image.convert("RGB")))
            durations.append(image.info["duration"])
        return np.stack(frames), durations, image.info["loop"]


# --- MP4


@pytest.mark.parametrize("fps", [24.0, 8.0, 12.5, 30000 / 1001])
def test_mp4_has_every_frame_at_its_rate(tmp_path: Path, fps: float) -> None:
    path, frames = tmp_path / "new" / "a.mp4", make_frames()
    media.write_mp4(path, frames, fps=fps)
    decoded, (codec, pixel_format, rate) = read_mp4(path)
    assert (codec, pixel_format) == ("h264", "yuv420p")
    assert float(rate) == pytest.approx(fps, rel=1e-6)
    assert decoded.shape == frames.shape
    assert np.abs(decoded.astype(int) - frames).mean() < 4
    assert os.listdir(path.parent) == ["a.mp4"]


def test_mp4_pads_odd_sizes_by_their_edge(tmp_path: Path) -> None:
    """The last row and column are there twice; players see no black line."""
    frames = make_frames(height=15, width=17)
    media.write_mp4(tmp_path / "a.mp4", frames, fps=8)
    decoded, _ = read_mp4(tmp_path / "a.mp4")
    assert decoded.shape == (6, 16, 18, 3)
    padded = np.pad(frames, ((0, 0), (0, 1), (0, 1), (0, 0)), mode="edge").astype(int)
    assert np.abs(decoded - padded).mean() < 4
    assert np.abs(decoded - padded)[:, -1].mean() < 8


def test_mp4_repeats_a_clip(tmp_path: Path) -> None:
    frames = make_frames()
    media.write_mp4(tmp_path / "a.mp4", frames, fps=8, loops=3)
    decoded, _ = read_mp4(tmp_path / "a.mp4")
    assert len(decoded) == 18
    assert np.abs(decoded.astype(int) - np.concatenate([frames] * 3)).mean() < 4


def test_mp4_streams_from_its_start(tmp_path: Path) -> None:
    """The index stands before the pictures, so that a page plays while it loads."""
    media.write_mp4(tmp_path / "a.mp4", make_frames(), fps=8)
    content = (tmp_path / "a.mp4").read_bytes()
    assert 0 < content.index(b"moov") < content.index(b"mdat")


def test_mp4_quality_is_a_choice(tmp_path: Path) -> None:
    frames = np.random.default_rng(0).integers(0, 256, (4, 32, 32, 3), dtype=np.uint8)
    sizes = []
    for crf in (10, 40):
        media.write_mp4(tmp_path / "a.mp4", frames, fps=8, crf=crf)
        sizes.append((tmp_path / "a.mp4").stat().st_size)
    assert sizes[1] < sizes[0] / 2


# --- GIF, WebP, PNG


@pytest.mark.parametrize("fps", [8.0, 12.5, 24.0, 30000 / 1001, 60.0])
def test_gif_keeps_frames_and_the_clips_length(tmp_path: Path, fps: float) -> None:
    """Frames last as many centiseconds as GIF can say; the errors don't add up."""
    frames = make_frames(12)
    media.write_gif(tmp_path / "a.gif", frames, fps=fps)
    decoded, durations, loop = read_animation(tmp_path / "a.gif")
    assert decoded.shape == frames.shape
    assert np.abs(decoded.astype(int) - frames).mean() < 12
    assert loop == 0
    assert np.abs(np.subtract(durations, 1000 / fps)).max() <= 10
    assert sum(durations) == pytest.approx(12 * 1000 / fps, abs=5)


def test_gif_has_one_palette(tmp_path: Path) -> None:
    """Colours of all frames together are no more than one palette holds."""
    frames = make_frames(8, 32, 32)
    assert len(np.unique(frames.reshape(-1, 3), axis=0)) > 2000
    media.write_gif(tmp_path / "a.gif", frames, fps=8)
    decoded, _, _ = read_animation(tmp_path / "a.gif")
    assert 128 < len(np.unique(decoded.reshape(-1, 3), axis=0)) <= 256


def test_gif_merges_equal_frames_and_keeps_the_length(tmp_path: Path) -> None:
    media.write_gif(tmp_path / "a.gif", make_frames(3)[[0, 0, 0, 1, 2, 2]], fps=10)
    decoded, durations, _ = read_animation(tmp_path / "a.gif")
    assert len(decoded) == 3
    assert durations == [300, 100, 200]


def test_webp_keeps_frames(tmp_path: Path) -> None:
    frames = make_frames()
    media.write_webp(tmp_path / "a.webp", frames, fps=24)
    decoded, durations, loop = read_animation(tmp_path / "a.webp")
    assert decoded.shape == frames.shape
    assert np.abs(decoded.astype(int) - frames).mean() < 8
    assert (durations, loop) == ([42, 41, 42, 42, 41, 42], 0)  # 250 ms, as six frames take


def test_png_is_exact(tmp_path: Path) -> None:
    image = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    media.write_png(tmp_path / "new" / "a.png", image)
    with Image.open(tmp_path / "new" / "a.png") as picture:
        assert picture.format == "PNG"
        np.testing.assert_array_equal(np.asarray(picture), image)


def test_non_contiguous_frames_are_written_as_they_look(tmp_path: Path) -> None:
    frames = make_frames(12, 32, 32)[::2, ::2, ::-2]
    media.write_gif(tmp_path / "a.gif", frames, fps=8)
    media.write_mp4(tmp_path / "a.mp4", frames, fps=8)
    for decoded in (read_animation(tmp_path / "a.gif")[0], read_mp4(tmp_path / "a.mp4")[0]):
        assert np.abs(decoded.astype(int) - frames).mean() < 12


@pytest.mark.parametrize("suffix", [".mp4", ".gif", ".webp", ".GIF"])
def test_the_suffix_names_the_format(tmp_path: Path, suffix: str) -> None:
    media.write_clip(tmp_path / f"a{suffix}", make_frames(), fps=8)
    content = (tmp_path / f"a{suffix}").read_bytes()
    magic = {".mp4": content[4:8] == b"ftyp", ".gif": content[:3] == b"GIF"}
    assert magic.get(suffix.lower(), content[8:12] == b"WEBP")


# --- contact sheets


def test_tiles_stand_row_by_row() -> None:
    """Five 4×6 images in rows of two: grey marks them, white the margins and the empty place."""
    images = np.stack([np.full((4, 6, 3), 10 * i, np.uint8) for i in range(5)])
    sheet = media.tile_images(images, 2, margin=2)
    assert sheet.shape == (3 * 6 + 2, 2 * 8 + 2, 3)
    assert sheet.dtype == np.uint8
    for i in range(5):
        top, left = 2 + 6 * (i // 2), 2 + 8 * (i % 2)
        assert (sheet[top : top + 4, left : left + 6] == 10 * i).all()
    outside = sheet == 255
    assert outside.sum() == sheet.size - images.size


@pytest.mark.parametrize(("n", "columns", "shape"), [
    (4, None, (14, 14)), (5, None, (14, 20)), (3, 8, (8, 20)), (1, None, (8, 8)), (7, 7, (8, 44)),
])  # fmt: skip
def test_columns(n: int, columns: int | None, shape: tuple[int, int]) -> None:
    """About as many columns as rows where none are given, and never more than images."""
    sheet = media.tile_images(np.zeros((n, 4, 4, 3), np.uint8), columns)
    assert sheet.shape[:2] == shape


def test_sheets_have_even_sizes() -> None:
    """3×5 images with margins of 1: 5 and 7 are rounded up by background."""
    sheet = media.tile_images(np.zeros((1, 3, 5, 3), np.uint8), margin=1, background=9)
    assert sheet.shape == (6, 8, 3)
    assert (sheet[:, -1] == 9).all()
    assert (sheet[-1] == 9).all()


def test_sheets_of_clips_are_sheets_of_their_frames() -> None:
    clips = np.stack([make_frames(4, 8, 8), make_frames(4, 8, 8)[::-1], make_frames(4, 8, 8) // 2])
    sheets = media.tile_images(clips)
    expected = [media.tile_images(clips[:, t]) for t in range(4)]
    np.testing.assert_array_equal(sheets, np.stack(expected))


def test_filmstrips_show_a_clip_in_a_row() -> None:
    """First and last frame always, those between evenly; a row for each clip."""
    clips = np.stack([np.stack([np.full((4, 4, 3), 20 * c + t, np.uint8) for t in range(9)])
                      for c in range(2)])  # fmt: skip
    strips = media.filmstrips(clips, columns=5)
    assert strips.shape == (2 * 6 + 2, 5 * 6 + 2, 3)
    np.testing.assert_array_equal(strips[2::6, 2::6, 0], [[0, 2, 4, 6, 8], [20, 22, 24, 26, 28]])
    assert media.filmstrips(clips[:, :3], columns=8).shape[1] == 3 * 6 + 2


# --- refusals and failures

WRITERS: dict[str, Callable[..., None]] = media.CLIP_WRITERS


def write_first_frame(path: Path, frames: np.ndarray, *, fps: float) -> None:
    media.write_png(path, frames[0])


@pytest.mark.parametrize("suffix", WRITERS)
@pytest.mark.parametrize(
    ("frames", "text"),
    [
        (np.zeros((2, 4, 4, 3)), r"frames must be uint8 of shape \[t, h, w, 3\]; got float64"),
        (np.zeros((4, 4, 3), np.uint8), r"got uint8 \[4, 4, 3\]"),
        (np.zeros((2, 4, 4, 1), np.uint8), r"got uint8 \[2, 4, 4, 1\]"),
        (np.zeros((0, 4, 4, 3), np.uint8), "frames has no frames"),
    ],
)
def test_clip_writers_refuse(tmp_path: Path, suffix: str, frames: np.ndarray, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        WRITERS[suffix](tmp_path / f"a{suffix}", frames, fps=8)
    assert not os.listdir(tmp_path)


@pytest.mark.parametrize("suffix", WRITERS)
@pytest.mark.parametrize("fps", [0, -1, float("nan"), float("inf")])
def test_clip_writers_refuse_impossible_rates(tmp_path: Path, suffix: str, fps: float) -> None:
    with pytest.raises(ValueError, match=rf"fps \(={fps}\) must be above 0 and finite"):
        WRITERS[suffix](tmp_path / f"a{suffix}", make_frames(), fps=fps)
    assert not os.listdir(tmp_path)


def test_other_refusals(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"no writer for '.avi'; use one of .mp4, .gif, .webp"):
        media.write_clip(tmp_path / "a.avi", make_frames(), fps=8)
    with pytest.raises(ValueError, match=r"image must be uint8 of shape \[h, w, 3\]; got uint8"):
        media.write_png(tmp_path / "a.png", np.zeros((4, 4), np.uint8))
    assert not os.listdir(tmp_path)


@pytest.mark.parametrize(
    "images",
    [np.zeros((0, 4, 4, 3), np.uint8), np.zeros((4, 4, 3), np.uint8), np.zeros((1, 4, 4, 3)),
     np.zeros((1, 4, 4, 4), np.uint8)],
)  # fmt: skip
def test_tile_images_refuses(images: np.ndarray) -> None:
    text = r"images must be uint8 of shape \[n, h, w, 3\] or \[n, t, h, w, 3\], n > 0; got"
    with pytest.raises(ValueError, match=text):
        media.tile_images(images)


@pytest.mark.parametrize("suffix", [*WRITERS, ".png"])
def test_a_failing_encoder_leaves_the_old_file_alone(
    tmp_path: Path, suffix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has written some bytes when it fails, and nothing of them remains."""
    path = tmp_path / f"a{suffix}"
    path.write_bytes(b"old")

    def half_a_picture(self: Image.Image, path: Path, **_: Any) -> None:
        Path(path).write_bytes(b"half")
        raise RuntimeError("encoder failed")

    convert = av.VideoFrame.from_ndarray
    given: list[np.ndarray] = []

    def two_frames(frame: np.ndarray, **kwargs: Any) -> av.VideoFrame:
        given.append(frame)
        if len(given) > 2:
            raise RuntimeError("encoder failed")
        return convert(frame, **kwargs)

    class FailingFrame:
        from_ndarray = staticmethod(two_frames)

    monkeypatch.setattr(Image.Image, "save", half_a_picture)
    monkeypatch.setattr(av, "VideoFrame", FailingFrame)
    write = functools.partial(WRITERS.get(suffix, write_first_frame), path, make_frames(), fps=8)
    with pytest.raises(RuntimeError, match="encoder failed"):
        write()
    assert [(p.name, p.read_bytes()) for p in tmp_path.iterdir()] == [(path.name, b"old")]

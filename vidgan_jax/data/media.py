"""Pictures and videos that people look at: PNG, MP4, GIF, WebP, contact sheets."""

import contextlib
import fractions
import io
import math
import os
import pathlib
from collections.abc import Callable, Iterator
from typing import Any

import av
import numpy as np
from PIL import Image

from vidgan_jax import files

_Path = str | os.PathLike[str]
# What is written into memory is the same, byte by byte, as in a file.
_Place = _Path | io.BytesIO


def _check(frames: np.ndarray, rank: int, name: str) -> np.ndarray:
    layout = {3: "[h, w, 3]", 4: "[t, h, w, 3]"}[rank]
    if frames.dtype != np.uint8 or frames.ndim != rank or frames.shape[-1] != 3:
        raise ValueError(
            f"{name} must be uint8 of shape {layout}; got {frames.dtype} {list(frames.shape)}"
        )
    if rank == 4 and len(frames) == 0:
        raise ValueError(f"{name} has no frames")
    return np.ascontiguousarray(frames)


def _check_fps(fps: float) -> None:
    if not (fps > 0 and math.isfinite(fps)):
        raise ValueError(f"fps (={fps}) must be above 0 and finite")


def tile_images(
    images: np.ndarray, columns: int | None = None, *, margin: int = 2, background: int = 255
) -> np.ndarray:
    """Lays images, or clips, out in a grid, row by row.

    Args:
      images: uint8 `[n, h, w, 3]`, or clips `[n, t, h, w, 3]`.
      columns: images in a row; None for about as many as there are rows.
      margin: pixels between neighbours and around the grid.
      background: grey level of margins and of empty places, 0 to 255.

    Returns:
      uint8 `[H, W, 3]`, or `[t, H, W, 3]` for clips, `H` and `W` rounded up to even numbers (which
      H.264 asks for).

    Raises:
      ValueError: `images` is empty, not uint8, or not of one of the two shapes.
    """
    layout_fits = images.ndim in (4, 5) and len(images) > 0 and images.shape[-1] == 3
    if images.dtype != np.uint8 or not layout_fits:
        raise ValueError(
            "images must be uint8 of shape [n, h, w, 3] or [n, t, h, w, 3], n > 0; got "
            f"{images.dtype} {list(images.shape)}"
        )
    is_clip = images.ndim == 5
    clips = images if is_clip else images[:, None]
    n, t, h, w, _ = clips.shape
    columns = min(n, columns or int(np.ceil(np.sqrt(n))))
    rows = -(-n // columns)
    height, width = rows * (h + margin) + margin, columns * (w + margin) + margin
    sheet = np.full((t, height + height % 2, width + width % 2, 3), background, np.uint8)
    for i, clip in enumerate(clips):
        top = margin + (i // columns) * (h + margin)
        left = margin + (i % columns) * (w + margin)
        sheet[:, top : top + h, left : left + w] = clip
    return sheet if is_clip else sheet[0]


def enlarge(images: np.ndarray, at_least: int = 64) -> np.ndarray:
    """Repeats pixels a whole number of times until pictures are big enough to look at.

    Args:
      images: uint8 `[..., h, w, 3]`.
      at_least: height wanted, pixels; larger pictures stay as they are.

    Returns:
      uint8 `[..., k·h, k·w, 3]`.
    """
    factor = max(1, -(-at_least // images.shape[-3]))
    return images.repeat(factor, axis=-3).repeat(factor, axis=-2)


def filmstrips(clips: np.ndarray, *, columns: int = 8) -> np.ndarray:
    """One row for each clip, up to `columns` of its frames evenly in time: clips on paper.

    Args:
      clips: uint8 `[n, t, h, w, 3]`.
      columns: frames shown of a clip, at most.

    Returns:
      uint8 `[H, W, 3]`.
    """
    t = clips.shape[1]
    shown = np.unique(np.linspace(0, t - 1, min(columns, t)).round().astype(int))
    return tile_images(clips[:, shown].reshape(-1, *clips.shape[2:]), len(shown))


@contextlib.contextmanager
def _opened(place: _Place) -> Iterator[pathlib.Path | io.BytesIO]:
    """What to write to: a temporary name, which becomes the path when all went well, or memory."""
    if isinstance(place, io.BytesIO):
        yield place
        return
    with files.atomic_path(place) as temporary:
        yield temporary


def write_png(path: _Place, image: np.ndarray) -> None:
    """Writes uint8 `[h, w, 3]` as a PNG, atomically, or into memory."""
    image = _check(image, 3, "image")
    with _opened(path) as temporary:
        Image.fromarray(image).save(temporary, format="PNG")


def write_mp4(
    path: _Place, frames: np.ndarray, *, fps: float, crf: int = 18, loops: int = 1
) -> None:
    """Writes a clip as H.264 in MP4 that browsers and players show (yuv420p), atomically.

    Args:
      path: where to; its folder is made. Or memory.
      frames: uint8 `[t, h, w, 3]`; an odd height or width is padded by its last row or column.
      fps: frames a second.
      crf: x264's quality; 18 is visually lossless, larger is smaller.
      loops: times that the clip is repeated in the file, so that a short one can be watched.
    """
    frames = _check(frames, 4, "frames")
    _check_fps(fps)
    _, h, w, _ = frames.shape
    frames = np.pad(frames, ((0, 0), (0, h % 2), (0, w % 2), (0, 0)), mode="edge")
    with _opened(path) as temporary, _mp4(temporary) as container:
        stream = container.add_stream("libx264", rate=_rate(fps))
        stream.width, stream.height, stream.pix_fmt = frames.shape[2], frames.shape[1], "yuv420p"
        # Without the last one x264 gives other bytes at times, even on one machine (AVX-512).
        params = "cpu-independent=1"
        stream.options = {"crf": str(crf), "preset": "medium", "x264-params": params}
        for _ in range(loops):
            for frame in frames:
                container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode(None))


def _mp4(place: pathlib.Path | io.BytesIO) -> Any:
    """An MP4 to write, whose index comes to stand before its pictures."""
    options = {"movflags": "+faststart"}
    if isinstance(place, pathlib.Path):
        return av.open(str(place), "w", format="mp4", options=options)

    def opened_again(url: str, flags: int, options: dict[str, str]) -> io.BytesIO:
        # For moving what is written: FFmpeg reads it by another handle than it writes by.
        return io.BytesIO(place.getvalue())

    return av.open(place, "w", format="mp4", options=options, io_open=opened_again)


def write_gif(path: _Place, frames: np.ndarray, *, fps: float) -> None:
    """Writes a clip as an endless GIF with one palette for all frames, atomically, or into memory.

    Colours that the palette lacks are dithered: still pixels near moving ones may shimmer a little.
    """
    frames = _check(frames, 4, "frames")
    _check_fps(fps)
    sample = frames[:: max(1, len(frames) // 8)]
    palette = Image.fromarray(sample.reshape(-1, frames.shape[2], 3)).quantize(256)
    images = [Image.fromarray(frame).quantize(palette=palette) for frame in frames]
    with _opened(path) as temporary:
        images[0].save(
            temporary,
            format="GIF",
            save_all=True,
            append_images=images[1:],
            duration=_durations_ms(len(frames), fps, unit_ms=10),
            loop=0,
        )


def write_webp(path: _Place, frames: np.ndarray, *, fps: float, quality: int = 85) -> None:
    """Writes a clip as an endless animated WebP, atomically, or into memory."""
    frames = _check(frames, 4, "frames")
    _check_fps(fps)
    first, *rest = [Image.fromarray(frame) for frame in frames]
    with _opened(path) as temporary:
        first.save(
            temporary,
            format="WEBP",
            save_all=True,
            append_images=rest,
            duration=_durations_ms(len(frames), fps, unit_ms=1),
            loop=0,
            quality=quality,
        )


# The animated formats, by suffix.
CLIP_WRITERS: dict[str, Callable[..., None]] = {
    ".mp4": write_mp4,
    ".gif": write_gif,
    ".webp": write_webp,
}


def write_clip(path: _Path, frames: np.ndarray, *, fps: float) -> None:
    """Writes a clip in the format that the path's suffix names: .mp4, .gif or .webp."""
    suffix = pathlib.Path(path).suffix.lower()
    if suffix not in CLIP_WRITERS:
        raise ValueError(f"no writer for {suffix!r}; use one of {', '.join(CLIP_WRITERS)}")
    CLIP_WRITERS[suffix](path, frames, fps=fps)


def _durations_ms(num_frames: int, fps: float, *, unit_ms: int) -> list[int]:
    """How long each frame stands, in a format's unit; rounding never adds up over the clip."""
    ends = np.round(np.arange(num_frames + 1) * 1000 / fps / unit_ms)
    return [int(units) * unit_ms for units in np.diff(ends)]


def _rate(fps: float) -> fractions.Fraction:
    return fractions.Fraction(fps).limit_denominator(1001)

"""What the studio answers with: clips and images as files in memory, the same bytes every time."""

import dataclasses
import io
import zipfile
from collections.abc import Callable

import numpy as np
from PIL import Image

from vidgan_jax.data import media

PLAYBACKS = ("once", "pingpong")
# A ZIP tells when its files were made; these never were. The first time that it can tell.
_NO_TIME = (1980, 1, 1, 0, 0, 0)


@dataclasses.dataclass(frozen=True)
class File:
    """A file that is sent.

    Attributes:
      data: all of it.
      media_type: what browsers know it by.
    """

    data: bytes
    media_type: str


def encode(
    frames: np.ndarray, *, format: str, fps: float, playback: str = "once", loops: int = 1
) -> File:
    """Makes a file of what was generated.

    Args:
      frames: uint8 `[t, h, w, 3]`; one frame is an image, which plays in no way.
      format: of `FORMATS`. A GIF or a WebP repeats for ever; a PNG of several frames is a ZIP of
        one PNG a frame.
      fps: frames a second of clips.
      playback: of `PLAYBACKS`; "pingpong" goes back again to the first frame.
      loops: times that the clip is repeated in an MP4, after which players stop.

    Raises:
      ValueError: an argument is not one of these.
    """
    if format not in FORMATS:
        raise ValueError(f"format (={format!r}) must be one of {', '.join(FORMATS)}")
    if len(frames) == 1 and format == "png":
        return File(_png(frames[0]), "image/png")
    return FORMATS[format](played(frames, playback), fps if len(frames) > 1 else 1.0, loops)


def played(frames: np.ndarray, playback: str) -> np.ndarray:
    """The frames in the order in which they are shown.

    Args:
      frames: uint8 `[t, h, w, 3]`.
      playback: of `PLAYBACKS`.

    Returns:
      The same, or `[2t - 2, h, w, 3]`: forth and back, so that no frame stands twice when it is
      repeated.

    Raises:
      ValueError: there is no such way.
    """
    if playback not in PLAYBACKS:
        raise ValueError(f"playback (={playback!r}) must be one of {', '.join(PLAYBACKS)}")
    if playback == "once":
        return frames
    return np.concatenate([frames, frames[-2:0:-1]])


def encode_ids(label_map: np.ndarray) -> bytes:
    """A label map, uint8 `[h, w]`, as a PNG of ids: one channel of 8 bits."""
    file = io.BytesIO()
    Image.fromarray(label_map).save(file, format="PNG")
    return file.getvalue()


def _mp4(frames: np.ndarray, fps: float, loops: int) -> File:
    file = io.BytesIO()
    media.write_mp4(file, frames, fps=fps, loops=loops)
    return File(file.getvalue(), "video/mp4")


def _webp(frames: np.ndarray, fps: float, loops: int) -> File:
    file = io.BytesIO()
    media.write_webp(file, frames, fps=fps)
    return File(file.getvalue(), "image/webp")


def _gif(frames: np.ndarray, fps: float, loops: int) -> File:
    file = io.BytesIO()
    media.write_gif(file, frames, fps=fps)
    return File(file.getvalue(), "image/gif")


def _pngs(frames: np.ndarray, fps: float, loops: int) -> File:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for i, frame in enumerate(frames):
            archive.writestr(zipfile.ZipInfo(f"frame_{i:04d}.png", _NO_TIME), _png(frame))
    return File(file.getvalue(), "application/zip")


def _png(image: np.ndarray) -> bytes:
    file = io.BytesIO()
    media.write_png(file, image)
    return file.getvalue()


FORMATS: dict[str, Callable[[np.ndarray, float, int], File]] = {
    "mp4": _mp4,
    "webp": _webp,
    "gif": _gif,
    "png": _pngs,
}
"""Formats of clips, and what encodes them."""

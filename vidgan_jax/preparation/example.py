"""One example for a network out of a picture or a video of the user's."""

import functools
import io
import os
from collections.abc import Callable

import numpy as np
from PIL import Image

from vidgan_jax.data.picture_files import NotAPictureError, decode_picture, load_picture
from vidgan_jax.preparation import videos

_DEEP = ("F", "I", "I;16", "I;16B")


def read_example(
    path: str | os.PathLike[str],
    *,
    size: int,
    num_frames: int,
    fps: float,
    warn: Callable[[str], None] | None = None,
) -> np.ndarray:
    """Reads a picture or the beginning of a video: the square in its middle, scaled.

    A picture stands still where a clip is wanted; of a video, only the first frame is taken where
    an image is. What is transparent in a picture is put on white.

    Args:
      path: the file.
      size: height and width wanted, pixels.
      num_frames: frames wanted; 0 for an image.
      fps: frames a second of the clip.
      warn: called with a sentence where a damaged video's sound part is taken.

    Returns:
      uint8 `[size, size, 3]`, or `[num_frames, size, size, 3]`.

    Raises:
      ValueError: the file is neither, is damaged, or is a video that is too short; the message
        names it.
    """
    still = read_picture(path, size)
    if still is not None:
        return np.stack([still] * num_frames) if num_frames else still
    wanted = max(num_frames, 1)
    cutting = videos.Cutting(num_frames=wanted, fps=fps, size=size, max_clips=1, keep_damaged=True)
    damages: list[str] = []
    clips = list(videos.read_clips(path, cutting, warn=damages.append))
    if not clips:
        if damages:
            raise ValueError(f"{damages[0]}; no example can be taken from it")
        raise ValueError(
            f"{path}: too short: {wanted} frames at {fps:g} a second take {cutting.clip_s:.2f} s "
            "without a break"
        )
    if damages and warn is not None:
        warn(damages[0])
    (clip,) = clips
    return clip.frames if num_frames else clip.frames[0]


def read_picture(
    path: str | os.PathLike[str], size: int, *, data: bytes | None = None
) -> np.ndarray | None:
    """Reads the square in a picture's middle, scaled; what is transparent is put on white.

    Args:
      path: the file.
      size: height and width wanted, pixels.
      data: what the file holds, where it is not on disk and `path` only its name.

    Returns:
      uint8 `[size, size, 3]`; None where the file is no picture, or a moving one.

    Raises:
      ValueError: the picture is damaged or too large; the message names the file.
    """
    check = functools.partial(_check, path)
    try:
        if data is None:
            image = load_picture(path, check)
        else:
            image = decode_picture(io.BytesIO(data), path, check)
    except (NotAPictureError, _MovingError):
        return None
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return squared(np.asarray(image.convert("RGB")), size)


def squared(picture: np.ndarray, size: int) -> np.ndarray:
    """The square in a picture's middle, scaled.

    Args:
      picture: uint8 `[h, w, 3]`.
      size: height and width wanted, pixels.

    Returns:
      uint8 `[size, size, 3]`.
    """
    height, width = picture.shape[:2]
    side = min(height, width)
    left, top = (width - side) / 2, (height - side) / 2
    box = (left, top, left + side, top + side)
    image = Image.fromarray(picture)
    return np.asarray(image.resize((size, size), Image.Resampling.BICUBIC, box=box))


class _MovingError(Exception):
    """A GIF and the like with several frames."""


def _check(path: str | os.PathLike[str], image: Image.Image, frames: int) -> None:
    # MPEG is a video, and a camera's MPO a picture with another one for the second eye.
    if image.format == "MPEG" or (frames > 1 and image.format != "MPO"):
        raise _MovingError
    if image.mode in _DEEP:
        raise ValueError(f"{path}: has more than 8 bits a channel; save it with 8")

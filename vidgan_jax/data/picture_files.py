"""Picture files of users, opened by Pillow: what is wrong with one is said in a line."""

import contextlib
import os
import struct
import warnings
import zlib
from collections.abc import Callable, Iterator
from typing import BinaryIO

from PIL import Image, ImageOps

MAX_PIXELS = 8192 * 8192

_DAMAGE = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    LookupError,
    TypeError,
    AttributeError,
    OverflowError,
    MemoryError,
    struct.error,
    zlib.error,
)


class NotAPictureError(ValueError):
    """A file that Pillow does not know as a picture."""


def load_picture(
    path: str | os.PathLike[str], check: Callable[[Image.Image, int], None]
) -> Image.Image:
    """Reads a picture, upright, with the `format` of its file.

    Args:
      path: the file.
      check: looks at the picture, before it is decoded, and at its number of frames; may raise.

    Raises:
      NotAPictureError: the file is no picture.
      ValueError: it can't be read, is damaged or has more than `MAX_PIXELS`; the message names the
        file. And whatever `check` raises.
    """
    with _explained(path):
        file = open(path, "rb")  # noqa: SIM115 (closed below, by another `with`)
    with file:
        return decode_picture(file, path, check)


def decode_picture(
    file: BinaryIO, name: str | os.PathLike[str], check: Callable[[Image.Image, int], None]
) -> Image.Image:
    """Reads a picture from an open file or from memory, as `load_picture` does.

    Args:
      file: at its start.
      name: names it in errors.
      check: see `load_picture`.

    Raises:
      ValueError: as `load_picture`.
    """
    image = open_picture(file, name)
    check(image, getattr(image, "n_frames", 1))
    with _explained(name):
        image.load()
        upright = ImageOps.exif_transpose(image)
    upright.format = image.format
    return upright


def open_picture(file: BinaryIO, name: str | os.PathLike[str]) -> Image.Image:
    """Opens a picture without decoding it: its format, mode, size and number of frames are known.

    Args:
      file: at its start.
      name: names it in errors.

    Raises:
      ValueError: as `load_picture`.
    """
    with _explained(name):
        image = Image.open(file)
        getattr(image, "n_frames", 1)  # looks further into some files
    if image.width * image.height > MAX_PIXELS:
        raise ValueError(
            f"{name}: is {image.width}×{image.height}, more than 8192×8192 pixels; make it smaller"
        )
    return image


@contextlib.contextmanager
def _explained(path: str | os.PathLike[str]) -> Iterator[None]:
    """Turns what Pillow says of a bad file into a line that names it."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # of odd tags that don't matter here
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            yield
    except Image.UnidentifiedImageError as error:
        raise NotAPictureError(f"{path}: not a picture; give a PNG") from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ValueError(f"{path}: is more than 8192×8192 pixels; make it smaller") from error
    except _DAMAGE as error:
        if isinstance(error, OSError) and error.strerror:
            raise ValueError(f"{path}: cannot be read ({error.strerror})") from error
        what = " ".join(str(error).split()) or type(error).__name__
        raise ValueError(f"{path}: damaged or cut short ({what}); save it again") from error

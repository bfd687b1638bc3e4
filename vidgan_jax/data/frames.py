"""Encoding and decoding of single frames and label maps: JPEG by simplejpeg, PNG by Pillow."""

import io
import struct
from typing import Any, Literal, NamedTuple

import numpy as np
import simplejpeg
from PIL import Image

ImageFormat = Literal["jpeg", "png"]

_JPEG_MAGIC = b"\xff\xd8\xff"
_PNG_MAGIC = b"\x89PNG\r\n\x1a\n"


class ImageHeader(NamedTuple):
    """What an encoded image says of itself: its format, and its size in pixels."""

    image_format: ImageFormat
    height: int
    width: int


def read_header(encoded: bytes) -> ImageHeader:
    """Format and size of a JPEG or PNG, without decoding it.

    Raises:
      ValueError: it is neither, or its header is damaged.
    """
    if encoded.startswith(_JPEG_MAGIC):
        height, width, _, _ = simplejpeg.decode_jpeg_header(encoded)
        return ImageHeader("jpeg", height, width)
    if encoded.startswith(_PNG_MAGIC) and len(encoded) >= 24:
        width, height = struct.unpack(">II", encoded[16:24])
        return ImageHeader("png", height, width)
    raise ValueError(f"neither JPEG nor PNG: {len(encoded)} bytes that begin {encoded[:8]!r}")


def encode_frames(
    frames: np.ndarray, *, image_format: ImageFormat = "jpeg", quality: int = 90
) -> tuple[bytes, ...]:
    """Encodes the frames of a clip one by one.

    JPEG is stored with 4:2:0 chroma (half the chroma resolution either way), which is what video
    files have anyway; PNG is lossless and about five times as large.

    Args:
      frames: uint8 RGB `[t, h, w, 3]`.
      image_format: "jpeg" or "png".
      quality: of JPEG, 1 to 100.

    Returns:
      One encoded image a frame.

    Raises:
      ValueError: wrong shape, dtype, format or quality.
    """
    frames = np.asarray(frames)
    if frames.dtype != np.uint8 or frames.ndim != 4 or frames.shape[-1] != 3 or not frames.size:
        raise ValueError(
            f"frames must be uint8 [t, h, w, 3] and not empty, got {frames.dtype} "
            f"{list(frames.shape)}"
        )
    if image_format == "png":
        return tuple(_encode_png(frame) for frame in frames)
    if image_format != "jpeg":
        raise ValueError(f"image_format (={image_format!r}) must be 'jpeg' or 'png'")
    if not 1 <= quality <= 100:
        raise ValueError(f"quality (={quality}) must be from 1 to 100")
    return tuple(
        simplejpeg.encode_jpeg(
            np.ascontiguousarray(frame), quality=quality, colorspace="RGB", colorsubsampling="420"
        )
        for frame in frames
    )


def decode_frame(encoded: bytes) -> np.ndarray:
    """Decodes one JPEG or PNG.

    Returns:
      uint8 RGB `[h, w, 3]`.

    Raises:
      ValueError: it is neither, or damaged.
    """
    if encoded.startswith(_JPEG_MAGIC):
        image: np.ndarray = simplejpeg.decode_jpeg(encoded, colorspace="RGB")
        return image
    return np.asarray(_open_png(encoded).convert("RGB"))


def encode_label_map(label_map: np.ndarray) -> bytes:
    """Encodes class ids as an 8-bit single-channel PNG.

    Args:
      label_map: uint8 `[h, w]`, ids from 0; 255 for "don't care".

    Raises:
      ValueError: wrong shape or dtype.
    """
    label_map = np.asarray(label_map)
    if label_map.dtype != np.uint8 or label_map.ndim != 2 or not label_map.size:
        raise ValueError(
            f"label_map must be uint8 [h, w] and not empty, got {label_map.dtype} "
            f"{list(label_map.shape)}"
        )
    return _encode_png(label_map)


def decode_label_map(encoded: bytes) -> np.ndarray:
    """Decodes a label map; a palette, if the PNG has one, is ignored.

    Returns:
      uint8 class ids `[h, w]`.

    Raises:
      ValueError: not a PNG, damaged, or not of 8 bits and one channel.
    """
    image = _open_png(encoded)
    if image.mode not in ("L", "P"):
        raise ValueError(
            f"a label map must be an 8-bit PNG with one channel, got Pillow mode {image.mode!r}"
        )
    return np.asarray(image)


def _encode_png(image: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(image).save(file, format="PNG")
    return file.getvalue()


def _open_png(encoded: bytes) -> Any:
    if not encoded.startswith(_PNG_MAGIC):
        read_header(encoded)  # Complains with what it found, unless it is a JPEG.
        raise ValueError("a JPEG where a PNG is needed")
    try:
        image = Image.open(io.BytesIO(encoded), formats=["PNG"])
        image.load()
    except (OSError, SyntaxError, ValueError, struct.error, Image.DecompressionBombError) as error:
        raise ValueError(f"damaged PNG: {error}") from error
    return image

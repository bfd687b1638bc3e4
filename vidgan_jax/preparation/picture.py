"""One decoded frame to one square RGB picture: colours, pixel shape, rotation, size."""

import dataclasses
from fractions import Fraction
from typing import Any, Literal

import av
import numpy as np
from av.sidedata.sidedata import Type as SideDataType
from av.video.reformatter import Colorspace, Interpolation, VideoReformatter

Fit = Literal["crop", "stretch"]
FITS: tuple[Fit, ...] = ("crop", "stretch")

# Full chroma interpolation is what makes white 255 and not 253.
_SCALING = int(Interpolation.AREA | Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INT)
_COLORSPACE_UNSPECIFIED = 2
_HD_HEIGHT = 720
_MOST_PIXEL_ASPECT = 16


@dataclasses.dataclass(frozen=True)
class Orientation:
    """How the stored picture becomes the shown one: transposed first, then flipped."""

    transpose: bool = False
    flip_rows: bool = False
    flip_columns: bool = False

    def apply(self, image: np.ndarray) -> np.ndarray:
        """Turns `[h, w, c]`."""
        if self.transpose:
            image = image.transpose(1, 0, 2)
        return image[:: -1 if self.flip_rows else 1, :: -1 if self.flip_columns else 1]


def orientation(frame: av.VideoFrame) -> Orientation:
    """Reads the rotation and mirroring that a file asks its player for.

    The frame's display matrix maps stored (x, y), y downwards, to shown (a·x + c·y, b·x + d·y).
    Angles between the right ones are rounded to one of them.

    Source: libavutil/display.h.
    """
    side_data: Any = frame.side_data  # PyAV's stubs have it a mapping from text.
    matrix = side_data.get(SideDataType.DISPLAYMATRIX)
    if matrix is None:
        return Orientation()
    a, b, _, c, d = np.frombuffer(bytes(matrix), np.int32)[:5].tolist()
    if abs(a) + abs(d) >= abs(b) + abs(c):
        return Orientation(flip_rows=d < 0, flip_columns=a < 0)
    return Orientation(transpose=True, flip_rows=b < 0, flip_columns=c < 0)


def pixel_aspect(stream: av.VideoStream) -> Fraction:
    """Width of a pixel over its height; 1 where the file says nothing, or nothing possible."""
    aspect = stream.sample_aspect_ratio
    if not aspect or not Fraction(1, _MOST_PIXEL_ASPECT) <= aspect <= _MOST_PIXEL_ASPECT:
        return Fraction(1)
    return Fraction(aspect)


def shown_size(frame: av.VideoFrame, aspect: Fraction) -> tuple[int, int]:
    """Width and height of a frame as shown: with square pixels, and rotated."""
    width, height = max(1, round(frame.width * aspect)), frame.height
    return (height, width) if orientation(frame).transpose else (width, height)


class SquarePictures:
    """Converts the frames of one stream, with one scaler for all of them.

    Args:
      size: height and width of the pictures, pixels.
      fit: "crop" scales the shorter side to `size` and keeps the square in the middle; "stretch"
        squeezes the whole picture into the square.
      aspect: width of a stored pixel over its height.
    """

    def __init__(self, size: int, fit: Fit, aspect: Fraction):
        self._size, self._fit, self._aspect = size, fit, aspect
        self._scaler = VideoReformatter()  # `frame.reformat` builds one for every frame.

    def convert(self, frame: av.VideoFrame) -> np.ndarray:
        """One frame to uint8 `[size, size, 3]`, RGB.

        Raises:
          av.FFmpegError: FFmpeg cannot convert its pixel format.
        """
        width, height = self._scaled_size(frame)
        colorspace = Colorspace.ITU709 if _is_untagged_hd(frame) else None
        scaled = self._scaler.reformat(
            frame, width, height, "rgb24", src_colorspace=colorspace, interpolation=_SCALING
        )
        left, top = (width - self._size) // 2, (height - self._size) // 2
        square = scaled.to_ndarray()[top : top + self._size, left : left + self._size]
        return np.ascontiguousarray(orientation(frame).apply(square))

    def _scaled_size(self, frame: av.VideoFrame) -> tuple[int, int]:
        if self._fit == "stretch":
            return self._size, self._size
        width = float(frame.width * self._aspect)
        scale = self._size / min(width, float(frame.height))
        return max(self._size, round(width * scale)), max(self._size, round(frame.height * scale))


def _is_untagged_hd(frame: av.VideoFrame) -> bool:
    """Whether a frame's YUV is BT.709 by custom: HD that names no matrix. FFmpeg takes BT.601."""
    is_yuv = not (frame.format.is_rgb or frame.format.has_palette)
    return is_yuv and frame.colorspace == _COLORSPACE_UNSPECIFIED and frame.height >= _HD_HEIGHT

"""One decoded frame to one square RGB picture: colours, pixel shape, rotation, size."""

import dataclasses
from fractions import Fraction
from typing import Any, Literal

import av
import numpy as np
from av.sidedata.sidedata import Type as SideDataType
from av.video.reformatter import Colorspace, Interpolation, VideoReformatter

from vidgan_jax.data.labels import resized_label_crop

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
        """Turns a picture `[h, w, …]` as stored to as shown."""
        if self.transpose:
            image = image.swapaxes(0, 1)
        return image[:: -1 if self.flip_rows else 1, :: -1 if self.flip_columns else 1]

    def undo(self, image: np.ndarray) -> np.ndarray:
        """Turns a picture `[h, w, …]` as shown back to as stored."""
        image = image[:: -1 if self.flip_rows else 1, :: -1 if self.flip_columns else 1]
        return image.swapaxes(0, 1) if self.transpose else image


class SideDataError(ValueError):
    """What a frame carries beside its picture can't be read."""


def orientation(frame: av.VideoFrame) -> Orientation:
    """Reads the rotation and mirroring that a file asks its player for.

    The frame's display matrix maps stored (x, y), y downwards, to shown (a·x + c·y, b·x + d·y).
    Angles between the right ones are rounded to one of them.

    Raises:
      SideDataError: it can't be told.

    Source: libavutil/display.h.
    """
    try:
        side_data: Any = frame.side_data  # PyAV's stubs have it a mapping from text.
    except ValueError as error:  # PyAV lists kinds, and FFmpeg has newer ones, as of still pictures
        raise SideDataError(
            f"its frames carry data that PyAV {av.__version__} does not know ({error}); convert it "
            "to MP4"
        ) from error
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


@dataclasses.dataclass(frozen=True)
class Shape:
    """What of a frame decides where its square lies.

    Attributes:
      width: pixels across, as stored.
      height: pixels down, likewise.
      aspect: width of a stored pixel over its height.
      orientation: how the stored picture becomes the shown one.
    """

    width: int
    height: int
    aspect: Fraction
    orientation: Orientation

    @staticmethod
    def of(frame: av.VideoFrame, aspect: Fraction) -> "Shape":
        """A frame's, whose stream's pixels have that aspect."""
        return Shape(frame.width, frame.height, aspect, orientation(frame))

    @property
    def shown(self) -> tuple[int, int]:
        """Width and height as shown: with square pixels, and rotated."""
        width, height = max(1, round(self.width * self.aspect)), self.height
        return (height, width) if self.orientation.transpose else (width, height)

    def scaled(self, size: int, fit: Fit) -> tuple[int, int]:
        """Width and height, as stored, to which a picture is scaled before its square is cut."""
        if fit == "stretch":
            return size, size
        width = float(self.width * self.aspect)
        scale = size / min(width, float(self.height))
        return max(size, round(width * scale)), max(size, round(self.height * scale))


def square_corner(width: int, height: int, size: int) -> tuple[int, int]:
    """Top row and left column of the square in the middle of a scaled picture."""
    return (height - size) // 2, (width - size) // 2


def _have_proportions(size: tuple[int, ...], frame: tuple[int, int]) -> bool:
    """Whether a height and width are to one another as a frame's are."""
    # Whichever was made smaller may have lost a part of a pixel.
    off = size[1] * frame[0] - size[0] * frame[1]
    return abs(off) <= max(*size, *frame)


def square_label_map(label_map: np.ndarray, shape: Shape, size: int, fit: Fit) -> np.ndarray:
    """The square of a label map that lies on the square of the frames.

    Args:
      label_map: uint8 `[h, w]` of a whole frame as shown, of any size.
      shape: of the frames.
      size: height and width of the square, pixels.
      fit: as for `SquarePictures`.

    Returns:
      uint8 `[size, size]`, each pixel the nearest one's id.

    Raises:
      ValueError: the map's height and width are to one another as those of no such frame are,
        neither as shown nor, where pixels are not square, as stored; the message, which begins with
        "is", is to be put behind its name.
    """
    (height, width), (frame_width, frame_height) = label_map.shape, shape.shown
    if not (
        _have_proportions(label_map.shape, (frame_height, frame_width))
        or _have_proportions(shape.orientation.undo(label_map).shape, (shape.height, shape.width))
    ):
        raise ValueError(
            f"is {width}×{height}, but must have the proportions of the video, which is "
            f"{frame_width}×{frame_height}; draw it on a whole frame of that"
        )
    scaled_width, scaled_height = shape.scaled(size, fit)
    top, left = square_corner(scaled_width, scaled_height, size)
    stored = shape.orientation.undo(label_map)
    square = resized_label_crop(stored, (scaled_height, scaled_width), size, top, left)
    return np.ascontiguousarray(shape.orientation.apply(square))


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
        self._shape: Shape | None = None

    def convert(self, frame: av.VideoFrame) -> np.ndarray:
        """One frame to uint8 `[size, size, 3]`, RGB.

        Raises:
          av.FFmpegError: FFmpeg cannot convert its pixel format.
        """
        whole, shape = self._scaled(frame)
        return self._square(whole, shape)

    def convert_both(self, frame: av.VideoFrame) -> tuple[np.ndarray, np.ndarray]:
        """One frame to the whole picture and its square, scaled once.

        Returns:
          uint8 `[h, w, 3]`, the whole scaled picture as shown, which may be a view, and
          `[size, size, 3]`, RGB.

        Raises:
          av.FFmpegError: FFmpeg cannot convert its pixel format.
        """
        whole, shape = self._scaled(frame)
        return shape.orientation.apply(whole), self._square(whole, shape)

    def _scaled(self, frame: av.VideoFrame) -> tuple[np.ndarray, Shape]:
        shape = self._shape_of(frame)
        width, height = shape.scaled(self._size, self._fit)
        colorspace = Colorspace.ITU709 if _is_untagged_hd(frame) else None
        scaled = self._scaler.reformat(
            frame, width, height, "rgb24", src_colorspace=colorspace, interpolation=_SCALING
        )
        return scaled.to_ndarray(), shape

    def _shape_of(self, frame: av.VideoFrame) -> Shape:
        # A frame whose side data was looked at is in a cycle of references with it, in PyAV, and
        # stays until Python collects garbage: hundreds of frames, of 50 MB each in 8K.
        if self._shape is None or (frame.width, frame.height) != (
            self._shape.width,
            self._shape.height,
        ):
            self._shape = Shape.of(frame, self._aspect)
        return self._shape

    def _square(self, whole: np.ndarray, shape: Shape) -> np.ndarray:
        top, left = square_corner(whole.shape[1], whole.shape[0], self._size)
        square = whole[top : top + self._size, left : left + self._size]
        return np.ascontiguousarray(shape.orientation.apply(square))


def _is_untagged_hd(frame: av.VideoFrame) -> bool:
    """Whether a frame's YUV is BT.709 by custom: HD that names no matrix. FFmpeg takes BT.601."""
    is_yuv = not (frame.format.is_rgb or frame.format.has_palette)
    return is_yuv and frame.colorspace == _COLORSPACE_UNSPECIFIED and frame.height >= _HD_HEIGHT

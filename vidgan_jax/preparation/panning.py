"""Clips from single images: a square window, smaller than the image, glides sideways over it.

The window moves by the same fraction of a pixel from frame to frame and is resampled where it lies,
so that the motion is smooth; nothing is rounded to whole pixels. Heights do not change in a clip,
so that rows are scaled once for all of its frames.
"""

import dataclasses
import hashlib
import math
from typing import NamedTuple

import numpy as np
from PIL import Image

# Of Pillow's filters the one that keeps a moving edge equally sharp wherever it lies.
_FILTER, _FILTER_RADIUS = Image.Resampling.LANCZOS, 3
# A JPEG may be decoded at a fraction of its size, down to this many pixels to one of the clip.
_SPARE = 2
_DEEP_GREY = ("I;16", "I;16B", "I;16L", "I;16N")
_UNKNOWN_RANGE = ("I", "F")


@dataclasses.dataclass(frozen=True)
class Panning:
    """How a window moves over an image; all that is not fixed here is drawn for each clip.

    Windows never show fewer pixels of the image than a frame has, and never leave the image: an
    image has less zoom, and less speed, than the most here where it has no room for it.

    Attributes:
      num_frames: frames in a clip.
      size: height and width of a frame, pixels.
      fps: frames a second.
      zoom: least and most zoom, drawn evenly over its logarithm: the image's shorter side over the
        window's.
      speed: least and most speed, drawn evenly, pixels of the clip a frame; left or right by lot.
      seed: other seeds give other windows.
    """

    num_frames: int = 32
    size: int = 128
    fps: float = 24.0
    zoom: tuple[float, float] = (1.25, 2.0)
    speed: tuple[float, float] = (0.5, 3.0)
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("num_frames", "size"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} (={getattr(self, name)}) must be at least 1")
        if not 0 < self.fps <= 1000:
            raise ValueError(f"fps (={self.fps:g}) must be above 0 and at most 1000")
        for name, least in (("zoom", 1), ("speed", 0)):
            low, high = getattr(self, name)
            if not (least <= low <= high and math.isfinite(high)):
                raise ValueError(
                    f"{name} (={low:g} to {high:g}) must be from at least {least} to no less than "
                    "that"
                )
        if 1 + self._way(self.speed[0]) > self.zoom[1]:
            raise ValueError(
                f"speed (at least {self.speed[0]:g} pixels a frame) leads a window out of a square "
                f"image within num_frames (={self.num_frames}), at zoom {self.zoom[1]:g}; allow "
                "less speed, or more zoom"
            )

    def _way(self, speed: float) -> float:
        """How far a window moves in a clip, in window widths."""
        return speed * (self.num_frames - 1) / self.size

    def zooms(self, width: int, height: int) -> tuple[float, float]:
        """Least and most zoom that an image can have; the most is below the least for none."""
        shorter = min(width, height)
        low = max(self.zoom[0], (1 + self._way(self.speed[0])) * shorter / width)
        return low, min(self.zoom[1], shorter / self.size)

    def check(self, width: int, height: int) -> None:
        """Refuses images that are too small.

        Raises:
          ValueError: an image of so many pixels has no room; the message begins with "is".
        """
        low, high = self.zooms(width, height)
        if high < low:
            raise ValueError(
                f"is {width}×{height}, too small: at zoom {low:.3g} for frames of {self.size} "
                f"pixels the shorter side must be at least {math.ceil(self.size * low)}"
            )

    def enough(self, width: int, height: int) -> tuple[int, int]:
        """The size down to which an image may be scaled when it is decoded."""
        scale = _SPARE * self.size * self.zoom[1] / min(width, height)
        return math.ceil(width * scale), math.ceil(height * scale)

    def draw(self, name: str, number: int, width: int, height: int) -> "Window":
        """Draws the window of a clip, by `seed`, the image's name and the clip's number alone.

        Args:
          name: of the image.
          number: of the clip among those of the image.
          width: of the image, pixels.
          height: of the image, pixels.

        Raises:
          ValueError: see `check`.
        """
        self.check(width, height)
        digest = hashlib.sha256(f"{self.seed} {number} {name}".encode()).digest()
        lots = np.random.default_rng(int.from_bytes(digest[:16], "little")).random(5)
        zoom, pace, place, row = lots[:4].tolist()
        low, high = (math.log(limit) for limit in self.zooms(width, height))
        side = min(width, height) / math.exp(low + zoom * (high - low))
        slowest, fastest = self.speed
        steps = max(self.num_frames - 1, 1)
        fastest = max(slowest, min(fastest, (width / side - 1) * self.size / steps))
        step = (slowest + pace * (fastest - slowest)) * side / self.size
        room = max(width - side - step * (self.num_frames - 1), 0.0)
        left, top = place * room, row * (height - side)
        if lots[4] < 0.5:
            return Window(left, top, side, step)
        return Window(left + step * (self.num_frames - 1), top, side, -step)

    def render(self, image: Image.Image, window: "Window") -> np.ndarray:
        """The clip that a window sees.

        Args:
          image: RGB.
          window: within it.

        Returns:
          uint8 `[num_frames, size, size, 3]`.
        """
        offsets = window.step * np.arange(self.num_frames)
        # As far as the filter reaches beyond the window.
        margin = math.ceil(_FILTER_RADIUS * max(window.side / self.size, 1)) + 1
        first = max(math.floor(window.left + offsets.min()) - margin, 0)
        end = math.ceil(window.left + offsets.max() + window.side) + margin
        strip = image.crop((first, 0, min(end, image.width), image.height))
        rows = (0, window.top, strip.width, window.top + window.side)
        strip = strip.resize((strip.width, self.size), _FILTER, box=rows)
        frames = np.empty((self.num_frames, self.size, self.size, 3), np.uint8)
        for frame, offset in zip(frames, offsets.tolist(), strict=True):
            left = min(max(window.left + offset - first, 0.0), strip.width - window.side)
            columns = (left, 0, left + window.side, self.size)
            frame[...] = np.asarray(strip.resize((self.size, self.size), _FILTER, box=columns))
        return frames


class Window(NamedTuple):
    """A square that moves over an image, in its pixels, which need not be whole.

    Attributes:
      left: its left edge in the first frame.
      top: its upper edge.
      side: its height and width.
      step: by which it moves to the right from one frame to the next; negative to the left.
    """

    left: float
    top: float
    side: float
    step: float


def to_rgb(image: Image.Image) -> Image.Image:
    """Converts an image of any kind of colours to RGB; what is transparent is put on white.

    Raises:
      ValueError: its samples' range is not known; the message begins with "has".
    """
    if image.mode in _DEEP_GREY:
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    if image.mode in _UNKNOWN_RANGE:
        raise ValueError("has more than 8 bits a channel; save it with 8")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image.convert("RGB")

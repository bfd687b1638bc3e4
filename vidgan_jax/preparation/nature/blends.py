"""How well stretches of a video look like a blend of what is before them into what is after.

A dissolve mixes two pictures: while it lasts, each frame lies on the line between the one before
and the one after, moves along it at an even pace, and before and after it stands still. A pan or a
zoom leaves the line, and neither begins nor ends so; what waves and clouds do is small against the
distance between two shots.

**Coarse pictures** are means over blocks of 3×3 pixels, which takes out most of what water, leaves
and noise do. A video's are kept as running sums, so that any mean over time is one subtraction.
"""

import math
from typing import NamedTuple

import numpy as np

BLOCK = 3

_LONGEST_S = 4.0
_LENGTH_RATIO = 1.25
# What is compared: means over so many seconds of what lies before and after.
_SIDE_S = 1 / 6
# Places along a blend, and how much of the picture after is in the mixture there.
_INNER = ((0.25, 0.25), (0.5, 0.5), (0.75, 0.75))
_OUTER = 0.5
# Long blends need not be tried from every frame.
_STEPS_PER_LENGTH = 8


def coarse(pictures: np.ndarray) -> np.ndarray:
    """Means over blocks.

    Args:
      pictures: uint8 `[t, h, w, 3]`; the sides are multiples of `BLOCK`.

    Returns:
      float32 `[t, h * w / BLOCK² * 3]`, levels.
    """
    count, height, width, _ = pictures.shape
    rows = pictures.reshape(count, height // BLOCK, BLOCK, width, 3).sum(2, dtype=np.uint16)
    blocks = rows.reshape(count, height // BLOCK, width // BLOCK, BLOCK, 3).sum(3, dtype=np.uint16)
    return blocks.reshape(count, math.prod(blocks.shape[1:])) / np.float32(BLOCK**2)


def running_sums(pictures: np.ndarray) -> np.ndarray:
    """Sums of the first 0, 1, … coarse pictures: float32 `[t + 1, n]` from `[t, n]`."""
    sums = np.zeros((len(pictures) + 1, pictures.shape[1]), np.float32)
    np.cumsum(pictures, axis=0, out=sums[1:])
    return sums


class Scale(NamedTuple):
    """Lengths in frames, at some frame rate.

    Attributes:
      side: frames before and after a transition that are looked at.
      lengths: of blends that are tried, in rising order.
    """

    side: int
    lengths: tuple[int, ...]

    @staticmethod
    def at(fps: float) -> "Scale":
        """For so many frames a second."""
        longest = max(1, round(_LONGEST_S * fps))
        count = math.ceil(math.log(longest, _LENGTH_RATIO))
        lengths = {max(1, round(longest / _LENGTH_RATIO**i)) for i in range(count + 1)}
        return Scale(max(2, round(_SIDE_S * fps)), tuple(sorted(lengths)))

    def reach(self, length: int) -> int:
        """How many frames before and after a blend are looked at."""
        return self.side + max(self.side, round(_OUTER * length))

    def step(self, length: int) -> int:
        """Frames from one start that is tried to the next."""
        return max(1, length // _STEPS_PER_LENGTH)


class Fits(NamedTuple):
    """How blends of one length suit.

    Attributes:
      costs: float32 `[n]`, at least 0: mean squared distance from the ideal blend, in units of the
        distance between the pictures before and after.
      distances: float32 `[n]`, that distance, root mean square in levels.
    """

    costs: np.ndarray
    distances: np.ndarray


def fit(sums: np.ndarray, starts: np.ndarray, length: int, scale: Scale) -> Fits:
    """Fits blends of one length.

    Args:
      sums: float32 `[t + 1, n]` of `running_sums`.
      starts: int `[m]`, first mixed frames; `scale.reach(length)` frames must lie before each and
        after each blend's end.
      length: mixed frames.
      scale: of the frame rate.
    """
    side, outer = scale.side, scale.reach(length) - scale.side

    def mean(first: np.ndarray, count: int) -> np.ndarray:
        return (sums[first + count] - sums[first]) / count

    before, after = mean(starts - side, side), mean(starts + length, side)
    line = after - before
    squared = np.maximum(_dot(line, line), 1e-3)
    width = max(1, min(side, length // 4))
    places = [(mean(starts - side - outer, side), 0.0), (mean(starts + length + outer, side), 1.0)]
    for place, share in _INNER:
        offset = max(0, min(length - width, math.floor(place * length - width / 2 + 0.5)))
        # Of one or two mixed frames nobody knows how much of the one and the other is in them.
        places.append((mean(starts + offset, width), share if length > 2 else math.nan))
    costs = np.zeros(len(starts), np.float32)
    for picture, ideal in places:
        away = picture - before
        share = _dot(away, line) / squared
        off_line = _dot(away, away) / squared - share**2
        pace = share - (np.clip(share, 0, 1) if math.isnan(ideal) else ideal)
        costs += np.maximum(off_line, 0) + pace**2
    return Fits(costs / len(places), np.sqrt(squared))


def steps(pictures: np.ndarray) -> np.ndarray:
    """Distances of coarse pictures from the ones before.

    Args:
      pictures: float32 `[t, n]`.

    Returns:
      float32 `[t - 1]`, root mean square in levels.
    """
    change = pictures[1:] - pictures[:-1]
    return np.sqrt(_dot(change, change))


def contrasts(pictures: np.ndarray) -> np.ndarray:
    """How much coarse pictures vary over their area: 0 for a plain one.

    Args:
      pictures: float32 `[t, n]`.

    Returns:
      float32 `[t]`, root mean square in levels; of three channels together.
    """
    pixels = pictures.reshape(len(pictures), -1, 3)
    return np.sqrt(pixels.var(axis=1).mean(axis=1))


def _dot(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Means of products over the last axis."""
    return np.einsum("ij,ij->i", a, b) / a.shape[1]

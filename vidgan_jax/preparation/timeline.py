"""From frames with timestamps to clips at a constant frame rate.

The clip's i-th frame is what a player shows i / fps seconds after the clip's start: the last frame
presented by then ("hold last"), not the nearest one. So 30 → 24 fps drops every fifth frame, and
12 → 24 fps shows each frame twice. Nothing here looks into a frame.
"""

import collections
import dataclasses
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np

# Matroska and FLV round timestamps to milliseconds: a frame that is late by less is on time.
TIME_TOLERANCE_S = 1e-3


class TimedFrame(NamedTuple):
    """A frame and when it is shown.

    Attributes:
      frame: the frame.
      time_s: seconds since the first frame of the file.
      duration_s: seconds for which it is shown if no other frame follows.
      breaks: True where the frames before do not lead up to this one: no clip reaches over here.
    """

    frame: Any
    time_s: float
    duration_s: float
    breaks: bool = False


class GridFrame(NamedTuple):
    """The frame shown at one instant of the constant-rate grid.

    Attributes:
      frame: the frame; the same object again where it is held.
      step: instants since the last break; 0 is the first after it.
      time_s: the instant, in seconds since the first frame of the file.
    """

    frame: Any
    step: int
    time_s: float


@dataclasses.dataclass(frozen=True)
class VideoClip:
    """Consecutive frames of a video.

    Attributes:
      frames: uint8 `[t, h, w, 3]`, RGB.
      start_s: seconds from the file's first frame to the clip's.
    """

    frames: np.ndarray
    start_s: float


def on_grid(frames: Iterable[TimedFrame], fps: float) -> Iterator[GridFrame]:
    """Resamples to a constant frame rate, holding the last frame.

    Args:
      frames: frames in order of time, except at breaks.
      fps: instants a second; the first instant after a break is the time of the frame there.

    Yields:
      One item for every instant at which a frame is shown.
    """
    held: TimedFrame | None = None
    origin_s, step = 0.0, 0
    for frame in frames:
        if held is not None:
            # How long the last frame before a break was shown, nobody knows: for its instant only.
            end_s = held.time_s + 2 * TIME_TOLERANCE_S if frame.breaks else frame.time_s
            while step / fps < end_s - origin_s - TIME_TOLERANCE_S:
                yield GridFrame(held.frame, step, origin_s + step / fps)
                step += 1
        if held is None or frame.breaks:
            origin_s, step = frame.time_s, 0
        held = frame
    if held is not None:
        while step / fps < held.time_s + held.duration_s - origin_s - TIME_TOLERANCE_S:
            yield GridFrame(held.frame, step, origin_s + step / fps)
            step += 1


def one_by_one(frames: Iterable[TimedFrame]) -> Iterator[GridFrame]:
    """Every frame as it comes, once, whatever its time: `on_grid` without a grid."""
    step = 0
    for number, frame in enumerate(frames):
        step = 0 if frame.breaks or number == 0 else step + 1
        yield GridFrame(frame.frame, step, frame.time_s)


def cut(
    grid: Iterable[GridFrame],
    num_frames: int,
    every: int,
    convert: Callable[[Any], np.ndarray],
) -> Iterator[VideoClip]:
    """Takes `num_frames` frames after each `every` of them, and starts again at a break.

    A rest too short for a clip is dropped, at the end and before a break.

    Args:
      grid: what `on_grid` yields.
      num_frames: frames in a clip.
      every: frames from the start of a clip to the start of the next; more than `num_frames` leaves
        frames out, less makes clips overlap.
      convert: frame to uint8 `[h, w, 3]`; called once for a frame, and only for those in a clip.

    Yields:
      The clips in order.
    """
    window: collections.deque[tuple[float, np.ndarray]] = collections.deque(maxlen=num_frames)
    last: Any = None
    image = np.empty(0, np.uint8)
    for frame, step, time_s in grid:
        if step == 0:
            window.clear()
        if step % every >= num_frames:
            continue
        if frame is not last:
            last, image = frame, convert(frame)
        window.append((time_s, image))
        start = step - num_frames + 1
        if start >= 0 and start % every == 0:
            yield VideoClip(np.stack([image for _, image in window]), window[0][0])

"""One pass over a video: its shots, and of each one clip at a place drawn by lot.

A streaming detector (`shots.py`) sees every frame of the grid, small. It settles where shots end
some seconds later, and only frames from there on are held, scaled: memory does not grow with the
length of a video or of a shot.

**The lot.** Each frame that a clip could begin at has a number, a hash of seed, video and frame.
The clip of a shot begins at the one with the largest. So all places are equally likely, though how
many there are is known at the end only, and neither another detector's shots nor the way in which a
pass went change what is drawn for a place.
"""

import collections
import dataclasses
import hashlib
import math
import os
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from vidgan_jax.preparation import picture, videos
from vidgan_jax.preparation.nature.shots import Detector, Transition, make_detector
from vidgan_jax.preparation.timeline import VideoClip

BREAK, END = "break", "end"
# Detectors see frames scaled to this first, or more: with less, what they find would depend on it.
DETECTION_SIZE = 160


@dataclasses.dataclass(frozen=True)
class ShotCutting:
    """How shots are found, and clips cut from them.

    Attributes:
      num_frames: frames in a clip.
      fps: frame rate of the clips, and of what the detector sees, frames a second.
      size: height and width of the clips, pixels.
      fit: see `videos.Cutting`.
      margin_s: seconds on each side of a transition, of a break in the timestamps and of the
        video's ends that no clip reaches into.
      detector: see `make_detector`.
      seed: of the lot.
      keep_damaged: take clips from the sound parts of a damaged or truncated file.
    """

    num_frames: int = 72
    fps: float = 24.0
    size: int = 160
    fit: picture.Fit = "crop"
    margin_s: float = 0.5
    detector: str = "own"
    seed: int = 0
    keep_damaged: bool = False

    def __post_init__(self) -> None:
        videos.Cutting(self.num_frames, self.fps, self.size, self.fit)  # checks these
        if not 0 <= self.margin_s <= 60:
            raise ValueError(f"margin_s (={self.margin_s:g}) must be from 0 to 60 seconds")

    @property
    def margin(self) -> int:
        """`margin_s` in frames, rounded up."""
        return math.ceil(round(self.margin_s * self.fps, 6))

    @property
    def least_frames(self) -> int:
        """Frames that a shot needs for a clip."""
        return self.num_frames + 2 * self.margin


class Shot(NamedTuple):
    """A shot of a video; of no frames where one transition follows another at once.

    Attributes:
      start: its first frame, counted on the grid from the video's first.
      end: the frame after its last one.
      start_s: seconds from the video's first frame to the shot's.
      end_s: the same, to its end.
      transition: what ended it; None for a break in the timestamps, and the end of the video.
      ended_by: the transition's kind, `BREAK` or `END`.
      clip: the one that was drawn; None where the shot is too short, or none were wanted.
    """

    start: int
    end: int
    start_s: float
    end_s: float
    transition: Transition | None
    ended_by: str
    clip: VideoClip | None


class KnownTransitions:
    """A detector that has been told; numbers are of the whole video.

    Args:
      transitions: all of the video's, in order.
      first: the number of the first frame that it will be fed.
    """

    height = width = 0

    def __init__(self, transitions: Sequence[Transition], first: int):
        self._waiting = collections.deque(
            t._replace(start=t.start - first, end=t.end - first)
            for t in transitions
            if t.start >= first
        )
        self._fed = 0

    def feed(self, picture: np.ndarray) -> list[Transition]:
        """Counts a frame, which is not looked at; the transitions that end with it."""
        del picture
        self._fed += 1
        found = []
        while self._waiting and self._waiting[0].end < self._fed:
            found.append(self._waiting.popleft())
        return found

    def finish(self) -> list[Transition]:
        """Those that the stretch ends with; what is left lies beyond a break."""
        return [t for t in self._waiting if t.start < self._fed]

    @property
    def settled(self) -> int:
        """Up to where all is known."""
        return self._waiting[0].start if self._waiting else self._fed


def read_shots(
    path: str | os.PathLike[str],
    video_id: str,
    cutting: ShotCutting,
    *,
    known: Sequence[Transition] | None = None,
    want_clips: bool = True,
    threads: int = 0,
    warn: Callable[[str], None] | None = None,
) -> Iterator[Shot]:
    """Finds the shots of a video, and cuts a clip from each, in one pass.

    Args:
      path: the video file.
      video_id: its name, which enters the lot.
      cutting: how.
      known: the video's transitions, where they have been found before.
      want_clips: cut clips.
      threads: decoding threads; 0 leaves it to FFmpeg.
      warn: called at the end with a sentence on the damage, with `cutting.keep_damaged`.

    Yields:
      The shots in order.

    Raises:
      VideoError: the file cannot be used; see `videos.open_grid`.
    """

    def make(first: int) -> Detector:
        if known is not None:
            return KnownTransitions(known, first)
        return make_detector(cutting.detector, cutting.fps)

    with videos.open_grid(
        path, cutting.fps, keep_damaged=cutting.keep_damaged, threads=threads, warn=warn
    ) as grid:
        pictures = picture.SquarePictures(cutting.size, cutting.fit, grid.aspect)
        larger = None
        if cutting.size < DETECTION_SIZE:
            larger = picture.SquarePictures(DETECTION_SIZE, cutting.fit, grid.aspect)
        stretch: _Stretch | None = None
        last: Any = None
        square = small = np.empty(0, np.uint8)
        for count, (frame, step, time_s) in enumerate(grid.frames):
            if step == 0:
                if stretch is not None:
                    yield from stretch.finish(BREAK)
                stretch = _Stretch(make(count), cutting, video_id, count, time_s, want_clips)
            assert stretch is not None
            if frame is not last:
                last = frame
                whole, square = pictures.convert_both(frame)
                if larger is not None:
                    whole, _ = larger.convert_both(frame)
                small = _squeezed(whole, stretch.detector)
            yield from stretch.feed(small, square, time_s)
        if stretch is not None:
            yield from stretch.finish(END)


def _squeezed(whole: np.ndarray, detector: Detector) -> np.ndarray:
    """The picture that a detector wants."""
    if not detector.height:
        return whole
    image = Image.fromarray(np.ascontiguousarray(whole))
    return np.asarray(image.resize((detector.width, detector.height), Image.Resampling.BOX))


class _Stretch:
    """Frames without a break between them: finds their shots, and draws a clip of each."""

    def __init__(
        self,
        detector: Detector,
        cutting: ShotCutting,
        video_id: str,
        first: int,
        start_s: float,
        want_clips: bool,
    ):
        self.detector = detector
        self._cutting = cutting
        self._first, self._start_s = first, start_s
        self._fed = 0
        self._start = 0
        self._draw = _Draw(cutting, f"{cutting.seed} {video_id}", first) if want_clips else None

    def feed(self, small: np.ndarray, square: np.ndarray, time_s: float) -> Iterator[Shot]:
        self._fed += 1
        if self._draw is not None:
            self._draw.hold(square, time_s)
        for transition in self.detector.feed(small):
            yield from self._end(transition)
        if self._draw is not None:
            self._draw.consider(min(self.detector.settled, self._fed))

    def finish(self, ended_by: str) -> Iterator[Shot]:
        for transition in self.detector.finish():
            yield from self._end(transition)
        yield from self._close(self._fed, None, ended_by)

    def _end(self, transition: Transition) -> Iterator[Shot]:
        yield from self._close(transition.start, transition, transition.kind)
        self._start = max(self._start, transition.end)
        if self._draw is not None:
            self._draw.begin(self._start)

    def _close(self, end: int, transition: Transition | None, ended_by: str) -> Iterator[Shot]:
        end = max(end, self._start)
        if transition is not None:
            transition = transition._replace(
                start=self._first + transition.start, end=self._first + transition.end
            )
        elif end == self._start:
            return
        yield Shot(
            start=self._first + self._start,
            end=self._first + end,
            start_s=self._start_s + self._start / self._cutting.fps,
            end_s=self._start_s + end / self._cutting.fps,
            transition=transition,
            ended_by=ended_by,
            clip=None if self._draw is None else self._draw.take(end),
        )


class _Draw:
    """Holds what a clip may still be cut from, and the best one so far."""

    def __init__(self, cutting: ShotCutting, lot: str, first: int):
        self._num_frames, self._margin = cutting.num_frames, cutting.margin
        self._lot, self._first = lot, first
        self._held: collections.deque[tuple[np.ndarray, float]] = collections.deque()
        self._held_from = 0
        self.begin(0)

    def begin(self, start: int) -> None:
        """A shot starts."""
        self._next = start + self._margin
        self._best: tuple[bytes, list[tuple[np.ndarray, float]]] | None = None
        self._forget()

    def hold(self, square: np.ndarray, time_s: float) -> None:
        """Takes the next frame."""
        self._held.append((square, time_s))
        self._forget()

    def consider(self, end: int) -> None:
        """Draws among the places of clips that end a margin before `end`, or earlier."""
        while self._next + self._num_frames + self._margin <= end:
            number = self._number(self._next)
            if self._best is None or number > self._best[0]:
                offset = self._next - self._held_from
                frames = [self._held[offset + i] for i in range(self._num_frames)]
                self._best = number, frames
            self._next += 1
        self._forget()

    def take(self, end: int) -> VideoClip | None:
        """The clip of the shot that ends before frame `end`."""
        self.consider(end)
        if self._best is None:
            return None
        frames = self._best[1]
        return VideoClip(np.stack([square for square, _ in frames]), frames[0][1])

    def _number(self, start: int) -> bytes:
        return hashlib.blake2b(f"{self._lot} {self._first + start}".encode()).digest()

    def _forget(self) -> None:
        """Lets go of the frames before the next place."""
        while self._held and self._held_from < self._next:
            self._held.popleft()
            self._held_from += 1

"""Video files in, square RGB clips at a constant frame rate out (PyAV, that is FFmpeg).

A file is decoded once, from its start, and never held in memory: one clip of resized frames and one
decoded frame are.

**Time.** Frames are placed by their presentation timestamps, counted from the file's first frame,
never by counting frames: variable frame rates and streams that start late come out right. For the
resampling see `timeline.py`.

**Breaks.** No clip reaches over a place where the timestamps jump (back by, or ahead by, more than
`decoding.MAX_GAP_S`), or where frames could not be decoded.

**Picture.** Rotation and mirroring that the file asks for are applied, pixels are made square
(unless stretched), any pixel format becomes 8-bit RGB. Interlaced video is not deinterlaced, HDR is
not tone mapped.
"""

import contextlib
import dataclasses
import io
import math
import os
import pathlib
from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import NamedTuple

import av

from vidgan_jax.preparation import picture, timeline
from vidgan_jax.preparation.decoding import decode, timed
from vidgan_jax.preparation.timeline import VideoClip

# FFmpeg shows any text as a video of a terminal.
_NOT_VIDEO = ("tty",)
# Of which it is told what a file probably is.
_START_BYTES = 512


class VideoError(ValueError):
    """A video file cannot be used; the text names the file, what is wrong and what to do."""


@dataclasses.dataclass(frozen=True)
class VideoInfo:
    """What a video file says about itself.

    Attributes:
      path: the file.
      duration_s: length in seconds by its header; None where that is not stored.
      fps: average frame rate by its header; None where unknown.
      width: pixels across as shown: rotated, and with square pixels.
      height: pixels down, likewise.
      codec: FFmpeg's name of the video codec, such as "h264".
      container: FFmpeg's name of the file format, such as "matroska,webm".
      shape: of the frames, as the first one is stored.
    """

    path: pathlib.Path
    duration_s: float | None
    fps: float | None
    width: int
    height: int
    codec: str
    container: str
    shape: picture.Shape


@dataclasses.dataclass(frozen=True)
class Cutting:
    """How a video is cut into clips.

    Attributes:
      num_frames: frames in a clip.
      fps: frame rate of the clips, frames a second.
      size: height and width of the clips, pixels.
      fit: "crop" scales the shorter side to `size` and keeps the square in the middle; "stretch"
        squeezes the whole picture into the square.
      every_s: seconds from the start of a clip to the start of the next; None for one clip right
        after another. Less than a clip's length makes clips overlap.
      max_clips: most clips taken from a video, spread evenly over it where its length is known;
        None for all.
      keep_damaged: take clips from the sound parts of a damaged or truncated file; otherwise such a
        file is refused.
    """

    num_frames: int = 72
    fps: float = 24.0
    size: int = 160
    fit: picture.Fit = "crop"
    every_s: float | None = None
    max_clips: int | None = None
    keep_damaged: bool = False

    def __post_init__(self) -> None:
        for name in ("num_frames", "size"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} (={getattr(self, name)}) must be at least 1")
        if not (math.isfinite(self.fps) and 0 < self.fps <= 1000):
            raise ValueError(f"fps (={self.fps:g}) must be above 0 and at most 1000")
        if self.fit not in picture.FITS:
            raise ValueError(f"fit (={self.fit!r}) must be one of {', '.join(picture.FITS)}")
        if self.every_s is not None and not (
            math.isfinite(self.every_s) and self.every_s * self.fps >= 1
        ):
            raise ValueError(
                f"every_s (={self.every_s:g}) must be at least one frame, "
                f"{1 / self.fps:.3g} s at {self.fps:g} fps"
            )
        if self.max_clips is not None and self.max_clips < 1:
            raise ValueError(f"max_clips (={self.max_clips}) must be at least 1, or None for all")

    @property
    def clip_s(self) -> float:
        """Length of a clip in seconds."""
        return self.num_frames / self.fps

    def spacing(self, duration_s: float | None) -> int:
        """Output frames from the start of a clip to the start of the next.

        Args:
          duration_s: the video's length, or None where unknown.
        """
        frames = self.num_frames if self.every_s is None else round(self.every_s * self.fps)
        if self.max_clips is not None and duration_s is not None:
            frames = max(frames, int(duration_s * self.fps) // self.max_clips)
        return frames


def probe(path: str | os.PathLike[str]) -> VideoInfo:
    """Reads a video's header and its first frame.

    Raises:
      VideoError: the file cannot be read, is no video, or no frame of it can be decoded.
    """
    with _opened(path) as (container, stream):
        decoded = decode(container, stream, on_damage=lambda what: None)
        frame = next((frame for frame in decoded if frame is not None), None)
        if frame is None:
            raise VideoError(f"{path}: no frame of its video can be decoded")
        shape = picture.Shape.of(frame, picture.pixel_aspect(stream))
        width, height = shape.shown
        return VideoInfo(
            path=pathlib.Path(path),
            duration_s=_duration_s(container, stream),
            fps=float(stream.average_rate) if stream.average_rate else None,
            width=width,
            height=height,
            codec=stream.codec_context.name,
            container=container.format.name,
            shape=shape,
        )


def read_clips(
    path: str | os.PathLike[str],
    cutting: Cutting,
    *,
    threads: int = 0,
    warn: Callable[[str], None] | None = None,
) -> Iterator[VideoClip]:
    """Cuts a video file into clips, in one pass over it.

    A rest too short for a clip is dropped, at the end and before a break.

    Args:
      path: the video file.
      cutting: length, rate, size and spacing of the clips.
      threads: decoding threads; 0 leaves it to FFmpeg (about one a core).
      warn: called at the end with a sentence on the damage, with `cutting.keep_damaged`.

    Yields:
      The clips in the order of the file, frames uint8 `[num_frames, size, size, 3]`.

    Raises:
      VideoError: the file cannot be read, is no video, or (without `cutting.keep_damaged`) is
        damaged or truncated.
    """
    with open_grid(
        path, cutting.fps, keep_damaged=cutting.keep_damaged, threads=threads, warn=warn
    ) as grid:
        pictures = picture.SquarePictures(cutting.size, cutting.fit, grid.aspect)
        every = cutting.spacing(grid.duration_s)
        clips = timeline.cut(grid.frames, cutting.num_frames, every, pictures.convert)
        for number, clip in enumerate(clips, start=1):
            yield clip
            if number == cutting.max_clips:
                break


class Grid(NamedTuple):
    """An open video, resampled to a constant frame rate, or as it is.

    Attributes:
      frames: at every instant of the grid the frame shown, decoded as they are asked for.
      fps: frame rate of the video itself, on average, by its header; None where unknown.
      aspect: width of a stored pixel over its height.
      duration_s: length in seconds by its header; None where unknown.
    """

    frames: Iterator[timeline.GridFrame]
    fps: float | None
    aspect: Fraction
    duration_s: float | None


@contextlib.contextmanager
def open_grid(
    path: str | os.PathLike[str],
    fps: float | None,
    *,
    data: bytes | None = None,
    keep_damaged: bool = False,
    threads: int = 0,
    warn: Callable[[str], None] | None = None,
) -> Iterator[Grid]:
    """Opens a video for one pass over it, from its start.

    Args:
      path: the video file.
      fps: instants a second of the grid; None for the frames that there are, one by one.
      data: what the file holds, where it is not on disk and `path` only its name.
      keep_damaged: go on after damage; otherwise a damaged or truncated file is refused.
      threads: decoding threads; 0 leaves it to FFmpeg (about one a core).
      warn: called at the end with a sentence on the damage, with `keep_damaged`.

    Raises:
      VideoError: the file cannot be read, is no video, or (without `keep_damaged`) is damaged or
        truncated; here or while frames are asked for, within the context.
    """
    damages: list[str] = []

    def on_damage(what: str) -> None:
        if not keep_damaged:
            raise VideoError(
                f"{path}: {what}. Get the file again, or take the clips from its sound parts with "
                "--keep-damaged"
            )
        damages.append(what)

    with _opened(path, data) as (container, stream):
        stream.codec_context.thread_count = threads
        # Frame threads report damage some frames after where it is.
        stream.thread_type = "SLICE" if keep_damaged else "AUTO"
        frames = timed(decode(container, stream, on_damage), stream)
        yield Grid(
            timeline.one_by_one(frames) if fps is None else timeline.on_grid(frames, fps),
            float(stream.average_rate) if stream.average_rate else None,
            picture.pixel_aspect(stream),
            _duration_s(container, stream),
        )
    if damages and warn is not None:
        warn(f"{path}: damaged in {len(damages)} places, the first: {damages[0]}")


@contextlib.contextmanager
def _opened(
    path: str | os.PathLike[str],
    data: bytes | None = None,
) -> Iterator[tuple[av.container.InputContainer, av.VideoStream]]:
    """Opens a file and picks its video stream; errors of FFmpeg become `VideoError`s."""
    start = _start(path) if data is None else data[:_START_BYTES]
    if not start:
        raise VideoError(f"{path}: is empty (0 bytes); copy or download the file again")
    # An absolute path, since FFmpeg takes what precedes a colon for a protocol; files only, since a
    # playlist named .mp4 must not reach into the network, and one in an archive nowhere.
    source = os.path.abspath(path) if data is None else io.BytesIO(data)
    reach = {"protocol_whitelist": "file" if data is None else "none"}
    try:
        with av.open(source, "r", options=reach) as container:
            yield container, _video_stream(path, container)
    except av.FFmpegError as error:
        raise VideoError(f"{path}: {_explanation(start)} (FFmpeg: {error.strerror})") from error
    except picture.SideDataError as error:
        raise VideoError(f"{path}: {error}") from error


def _start(path: str | os.PathLike[str]) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read(_START_BYTES)
    except OSError as error:
        raise VideoError(f"{path}: cannot be read: {error.strerror}") from error


def _explanation(start: bytes) -> str:
    """What is probably wrong with a file that FFmpeg refuses, by its first bytes."""
    if start[4:8] == b"ftyp":
        return (
            "truncated or damaged: an MP4 without a usable index (moov), as an unfinished download "
            "or recording leaves it; get the file again"
        )
    if all(byte in b"\t\n\f\r" or 32 <= byte < 127 for byte in start):
        return "is a text file, not a video"
    return "not a video that FFmpeg can read, or damaged at its start"


def _video_stream(
    path: str | os.PathLike[str], container: av.container.InputContainer
) -> av.VideoStream:
    """The main video stream; a song's cover picture is none."""
    if container.format.name in _NOT_VIDEO:
        raise VideoError(f"{path}: is a text file, not a video")
    streams = [
        stream
        for stream in container.streams.video
        if av.stream.Disposition.attached_pic not in stream.disposition
    ]
    if not streams:
        kinds = sorted({stream.type for stream in container.streams})
        only = f", only {', '.join(kinds)}" if kinds else ""
        raise VideoError(f"{path}: has no video stream{only}")
    # The largest: the others of a file are thumbnails or previews.
    stream = max(streams, key=lambda stream: (stream.width or 0) * (stream.height or 0))
    if stream.codec_context is None:
        raise VideoError(f"{path}: this build of FFmpeg has no decoder for its video")
    return stream


def _duration_s(container: av.container.InputContainer, stream: av.VideoStream) -> float | None:
    if stream.duration and stream.time_base:
        return float(stream.duration * stream.time_base)
    return container.duration / av.time_base if container.duration else None

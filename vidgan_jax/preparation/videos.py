"""Video files in, square RGB clips at a constant frame rate out (PyAV, that is FFmpeg).

A file is decoded once, from its start, and never held in memory: one clip of resized frames and one
decoded frame are.

**Time.** Frames are placed by their presentation timestamps, counted from the file's first frame,
never by counting frames: variable frame rates and streams that start late come out right. For the
resampling see `timeline.py`.

**Breaks.** No clip reaches over a place where the timestamps jump (back by, or ahead by, more than
`MAX_GAP_S`), or where frames could not be decoded.

**Picture.** Rotation and mirroring that the file asks for are applied, pixels are made square
(unless stretched), any pixel format becomes 8-bit RGB. Interlaced video is not deinterlaced, HDR is
not tone mapped.
"""

import contextlib
import dataclasses
import math
import os
import pathlib
from collections.abc import Callable, Iterable, Iterator

import av

from vidgan_jax.preparation import picture, timeline
from vidgan_jax.preparation.timeline import TimedFrame, VideoClip

MAX_GAP_S = 5.0

# A video that ends earlier than its header says is truncated, if by more than these.
_SHORTFALL_S = 1.0
_SHORTFALL = 0.02
# Where neither frame nor stream says how long a frame is shown.
_DEFAULT_INTERVAL_S = 1 / 25
# FFmpeg shows any text as a video of a terminal.
_NOT_VIDEO = ("tty",)


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
        decoded = _decode(container, stream, on_damage=lambda what: None)
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
    damages: list[str] = []

    def on_damage(what: str) -> None:
        if not cutting.keep_damaged:
            raise VideoError(
                f"{path}: {what}. Get the file again, or take the clips from its sound parts with "
                "--keep-damaged"
            )
        damages.append(what)

    with _opened(path) as (container, stream):
        stream.codec_context.thread_count = threads
        # Frame threads report damage some frames after where it is.
        stream.thread_type = "SLICE" if cutting.keep_damaged else "AUTO"
        frames = _timed(_decode(container, stream, on_damage), stream)
        pictures = picture.SquarePictures(cutting.size, cutting.fit, picture.pixel_aspect(stream))
        every = cutting.spacing(_duration_s(container, stream))
        grid = timeline.on_grid(frames, cutting.fps)
        clips = timeline.cut(grid, cutting.num_frames, every, pictures.convert)
        for number, clip in enumerate(clips, start=1):
            yield clip
            if number == cutting.max_clips:
                break
    if damages and warn is not None:
        warn(f"{path}: damaged in {len(damages)} places, the first: {damages[0]}")


@contextlib.contextmanager
def _opened(
    path: str | os.PathLike[str],
) -> Iterator[tuple[av.container.InputContainer, av.VideoStream]]:
    """Opens a file and picks its video stream; errors of FFmpeg become `VideoError`s."""
    _check_readable(path)
    try:
        # An absolute path, since FFmpeg takes what precedes a colon for a protocol; files only,
        # since a playlist named .mp4 must not reach into the network.
        with av.open(os.path.abspath(path), options={"protocol_whitelist": "file"}) as container:
            yield container, _video_stream(path, container)
    except av.FFmpegError as error:
        raise VideoError(f"{path}: {_explanation(path)} (FFmpeg: {error.strerror})") from error
    except picture.SideDataError as error:
        raise VideoError(f"{path}: {error}") from error


def _check_readable(path: str | os.PathLike[str]) -> None:
    try:
        with open(path, "rb") as file:
            is_empty = not file.read(1)
    except OSError as error:
        raise VideoError(f"{path}: cannot be read: {error.strerror}") from error
    if is_empty:
        raise VideoError(f"{path}: is empty (0 bytes); copy or download the file again")


def _explanation(path: str | os.PathLike[str]) -> str:
    """What is probably wrong with a file that FFmpeg refuses."""
    with open(path, "rb") as file:
        start = file.read(512)
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
        raise VideoError(f"{path}: has no video stream, only {', '.join(kinds) or 'nothing'}")
    # The largest: the others of a file are thumbnails or previews.
    stream = max(streams, key=lambda stream: (stream.width or 0) * (stream.height or 0))
    if stream.codec_context is None:
        raise VideoError(f"{path}: this build of FFmpeg has no decoder for its video")
    return stream


def _duration_s(container: av.container.InputContainer, stream: av.VideoStream) -> float | None:
    if stream.duration and stream.time_base:
        return float(stream.duration * stream.time_base)
    return container.duration / av.time_base if container.duration else None


def _interval_s(stream: av.VideoStream) -> float:
    rate = stream.average_rate or stream.guessed_rate
    return 1 / float(rate) if rate else _DEFAULT_INTERVAL_S


def _decode(
    container: av.container.InputContainer,
    stream: av.VideoStream,
    on_damage: Callable[[str], None],
) -> Iterator[av.VideoFrame | None]:
    """Decodes a stream from start to end, and goes on after damage.

    Args:
      container: the open file.
      stream: its video stream.
      on_damage: called with what is wrong; may raise.

    Yields:
      Frames, and None where some could not be decoded.
    """
    clock = _Clock(stream)
    packets = container.demux(stream)
    while True:
        lost = False
        frames: list[av.VideoFrame] = []
        try:
            packet = next(packets, None)
            if packet is None:
                break
            frames = list(packet.decode())
        except av.FFmpegError as error:
            on_damage(f"damaged {clock} (FFmpeg: {error.strerror})")
            lost = True
        for frame in frames:
            if frame.is_corrupt:
                # A recording may start between key frames: nothing is lost there.
                if clock.end_s is not None:
                    on_damage(f"damaged {clock} (a frame is incomplete)")
                yield None
                continue
            clock.see(frame)
            yield frame
        if lost:
            yield None
    _check_end(stream, clock.end_s, on_damage)


class _Clock:
    """How far a stream is decoded, in seconds since its start."""

    def __init__(self, stream: av.VideoStream):
        self.end_s: float | None = None
        self._interval_s = _interval_s(stream)
        start = stream.start_time or 0
        self._start_s = float(start * stream.time_base) if stream.time_base else 0.0

    def see(self, frame: av.VideoFrame) -> None:
        """Moves to the end of `frame`, never back."""
        before_s = self.end_s or 0.0
        start_s = before_s if frame.time is None else frame.time - self._start_s
        self.end_s = max(before_s, start_s + self._interval_s)

    def __str__(self) -> str:
        return "at its start" if self.end_s is None else f"after {self.end_s:.2f} s"


def _check_end(
    stream: av.VideoStream, end_s: float | None, on_damage: Callable[[str], None]
) -> None:
    """Complains where a stream ends earlier than its header says."""
    if end_s is None:
        on_damage("no frame of its video can be decoded")
    elif stream.duration and stream.time_base:
        stated_s = float(stream.duration * stream.time_base)
        if stated_s - end_s > max(_SHORTFALL_S, _SHORTFALL * stated_s):
            on_damage(f"truncated: ends after {end_s:.2f} s of {stated_s:.2f} s")


def _timed(frames: Iterable[av.VideoFrame | None], stream: av.VideoStream) -> Iterator[TimedFrame]:
    """Puts times to frames; drops those out of order; breaks where some are lost or time jumps."""
    interval_s = _interval_s(stream)
    first_s: float | None = None
    last_s = 0.0
    lost = False
    for frame in frames:
        if frame is None:
            lost = True
            continue
        # Raw streams carry no timestamps.
        absolute_s = (
            frame.time if frame.time is not None else (first_s or 0.0) + last_s + interval_s
        )
        if first_s is None:
            first_s = absolute_s
            last_s, lost = 0.0, False
        time_s = absolute_s - first_s
        jumps = abs(time_s - last_s) > MAX_GAP_S
        if time_s < last_s and not jumps:
            continue
        duration_s = interval_s
        if frame.duration and frame.time_base:
            duration_s = min(float(frame.duration * frame.time_base), MAX_GAP_S)
        yield TimedFrame(frame, time_s, duration_s, breaks=lost or jumps)
        last_s, lost = time_s, False

"""The frames of an open video stream, with their times, and where they break off."""

from collections.abc import Callable, Iterable, Iterator

import av

from vidgan_jax.preparation.timeline import TimedFrame

MAX_GAP_S = 5.0

# A video that ends earlier than its header says is truncated, if by more than these.
_SHORTFALL_S = 1.0
_SHORTFALL = 0.02
# Where neither frame nor stream says how long a frame is shown.
_DEFAULT_INTERVAL_S = 1 / 25


def _interval_s(stream: av.VideoStream) -> float:
    rate = stream.average_rate or stream.guessed_rate
    return 1 / float(rate) if rate else _DEFAULT_INTERVAL_S


def decode(
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


def timed(frames: Iterable[av.VideoFrame | None], stream: av.VideoStream) -> Iterator[TimedFrame]:
    """Puts times to frames; drops those out of order; breaks where some are lost or time jumps.

    Args:
      frames: of `decode`.
      stream: that they are of.

    Yields:
      The frames, counted in seconds from the first one.
    """
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

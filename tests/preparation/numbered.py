"""Videos whose frames tell their number, as they come from encoders."""

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

_BITS = 8


def numbered_frame(number: int, width: int, height: int) -> np.ndarray:
    """A picture of 8 upright stripes, black or white: the bits of `number`, highest first."""
    bits = np.array([(number >> bit) & 1 for bit in reversed(range(_BITS))], np.uint8)
    columns = np.repeat(bits, -(-width // _BITS))[:width]
    image = np.zeros((height, width, 3), np.uint8)
    image[:] = (columns * 255)[None, :, None]
    return image


def read_number(image: np.ndarray) -> int:
    """The number in a stretched picture of `numbered_frame`."""
    width = image.shape[1]
    centres = ((np.arange(_BITS) + 0.5) * width / _BITS).astype(int)
    bits = image[image.shape[0] // 2, centres].mean(axis=-1) > 128
    return int(sum(int(bit) << place for place, bit in enumerate(reversed(bits))))


def read_numbers(frames: np.ndarray) -> list[int]:
    """The numbers in the frames of a clip."""
    return [read_number(frame) for frame in frames]


def write_video(
    path: Path,
    frames: Sequence[np.ndarray],
    *,
    times_s: Sequence[float] | None = None,
    fps: float = 24,
    codec: str = "libx264",
    pix_fmt: str = "yuv420p",
    options: dict[str, str] | None = None,
    pixel_aspect: Fraction | None = None,
    rotation: tuple[int, bool, bool] | None = None,
    with_audio: bool = False,
) -> Path:
    """Encodes frames, shown at given times or at a constant rate.

    Args:
      path: the suffix chooses the container.
      frames: uint8 `[h, w, 3]` each.
      times_s: when each is shown; None for one after another at `fps`.
      fps: frame rate of the stream.
      codec: FFmpeg's encoder.
      pix_fmt: of the stream.
      options: of the container's muxer.
      pixel_aspect: width of a pixel over its height.
      rotation: degrees anticlockwise, then mirrored left to right, top to bottom.
      with_audio: add a silent sound track.

    Returns:
      `path`.
    """
    rate = Fraction(fps).limit_denominator(1001)
    with av.open(str(path), "w", options=options or {}) as container:
        stream: Any = container.add_stream(codec, rate=rate)
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = pix_fmt
        if codec == "libx264":
            stream.options = {"preset": "ultrafast"}
        time_base = 1 / rate if times_s is None else Fraction(1, 90_000)
        stream.time_base = stream.codec_context.time_base = time_base
        if pixel_aspect is not None:
            stream.codec_context.sample_aspect_ratio = pixel_aspect
        if rotation is not None:
            stream.set_display_rotation(rotation[0], hflip=rotation[1], vflip=rotation[2])
        sound: Any = container.add_stream("aac", rate=48_000) if with_audio else None
        for number, image in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame.pts = number if times_s is None else round(times_s[number] / time_base)
            frame.time_base = time_base
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
        if sound is not None:
            silence = av.AudioFrame.from_ndarray(
                np.zeros((1, 48_000), np.float32), format="fltp", layout="mono"
            )
            silence.sample_rate, silence.pts = 48_000, 0
            container.mux(sound.encode(silence))
            container.mux(sound.encode(None))
    return path


def write_numbered(path: Path, count: int, *, size: int = 64, **options: Any) -> Path:
    """A video of `count` numbered frames; options as for `write_video`."""
    frames = [numbered_frame(number, size, size) for number in range(count)]
    return write_video(path, frames, **options)

"""Which clips are fit for training: what is measured of each, and what is asked of it.

The thesis's clips have a fixed camera, no time lapse and no people. `measure` tells what frames
show of that; what label maps show is measured by those who make them, and has its limits here, too.

The defaults of the limits were chosen on embedded scenes, still and with moving cameras, flicker
and the like, so that each lies between the good clips and the bad; see `Limits`.
"""

import dataclasses
import difflib
import math
from collections.abc import Iterable, Mapping

import numpy as np

from vidgan_jax.preparation.nature import motion

# About how many pixels a side everything is measured at: fewer cost precision, more cost time.
_SIDE = 80
LEAST_SIDE = 32
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)

# Tiles a side that frames are compared by; their means hide the noise of compression and sensors.
_FLICKER_TILES = 8
_HASTE_TILES = 20
_FROZEN_TILES = 10
_CUT_TILES = 16
# Flicker is everywhere; a tenth of the jumps may be of cuts and flashes, which aren't.
_JUMPS_KEPT = 0.9
# x₁ − (x₀ + x₂) / 2 has 3/2 of the variance of x, and its smaller nine tenths 0.623 of that.
_JUMP_VARIANCE = 1.5 * 0.623
# Keeps the noise of dark tiles from looking like flicker, and of grey frames like cuts, levels.
_DARK = 8.0
_PLAIN = 4.0
# What changes by less, in levels, over the longer lag has no haste: it is noise.
_LEAST_CHANGE = 3.0
_HASTE_SHORT_S, _HASTE_LONG_S = 1 / 12, 1 / 2
_BLACK = 24.0
_BLACK_PIXELS = 0.98
# Longer than any frame of a video of 5 or more frames a second is held.
_FROZEN_S = 1 / 4
# Compression changes no tile's mean by as much, levels; the calmest of waters does.
_FROZEN_CHANGE = 1.5
# Frames are averaged over this before and after a cut, and a dissolve takes this, at most.
_CUT_SIDE_S = 1 / 8
_DISSOLVE_S = 1 / 2


def _limit(default: float, unit: str, *, least: bool = False) -> float | None:
    limit: float | None = dataclasses.field(
        default=default, metadata={"unit": unit, "least": least}
    )
    return limit


@dataclasses.dataclass(frozen=True)
class Limits:
    """What a clip's measures may be: at most this, but `constancy` at least; None for anything.

    Attributes:
      camera_movement: speed of the picture's middle by the camera, frame widths a second. Slower
        than 0.005 can't be told from rest. 0.01 is 5 pixels of 160 in 3 s.
      camera_shake: how far the camera strays from steady movement, frame widths, root mean square.
        0.002 is a third of a pixel of 160; estimates of a steady pan stray by 0.001.
      zoom: growth or shrinkage of the picture, its share a second. Below 0.01 it can't be told
        from none; at 0.015 the edges move by 4 pixels of 160 in 3 s.
      rotation: of the picture, degrees a second. At 1 the edges move as in a zoom of 0.017.
      flicker: random change of brightness from frame to frame, the same everywhere, as a share of
        it. A gain that varies by 1 % measures 0.009; an encoder's key frames make 0.002.
      haste: change within 1/12 s as a share of that within 1/2 s. Slow change has 1/6, fast waves
        0.35; in a time lapse, consecutive frames differ as much as distant ones: 0.5 to 1.2.
      black: share of the frames that are black. None may be: shots fade from and to black.
      frozen: share of the frames in runs of 1/4 s and longer in which nothing changes. 0.2 is half
        a second; less may be a lull of a calm lake.
      cut: how much another picture is shown after some moment than before, 0 for the same to 1;
        a dissolve of half a second counts like a cut. Waves and clouds make up to 0.15.
      people: largest share of a map's pixels that are of people (label 12). 0.005 lets pass what
        segmenters see in rocks and trees now and then: 128 pixels of 160x160.
      constancy: smallest share of pixels in which a frame's label map agrees with the middle
        frame's, whose map stands for the clip. The embedded scenes, which don't change, have 0.87
        to 0.99 as their own segmenter sees them, half of them above 0.95; scenes that a camera
        pans over by 6 % of the width a second 0.63 to 0.96.
    """

    camera_movement: float | None = _limit(0.01, "frame widths a second")
    camera_shake: float | None = _limit(0.002, "frame widths")
    zoom: float | None = _limit(0.015, "a second")
    rotation: float | None = _limit(1.0, "degrees a second")
    flicker: float | None = _limit(0.005, "of the brightness")
    haste: float | None = _limit(0.42, "of the change within 1/2 s")
    black: float | None = _limit(0.0, "of the frames")
    frozen: float | None = _limit(0.2, "of the frames")
    cut: float | None = _limit(0.2, "of the picture")
    people: float | None = _limit(0.005, "of the pixels")
    constancy: float | None = _limit(0.85, "of the pixels", least=True)

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            limit = getattr(self, field.name)
            if limit is not None and not (math.isfinite(limit) and limit >= 0):
                raise ValueError(
                    f"limit {field.name} (={limit:g}) must be a number of at least 0, or None for "
                    "no limit"
                )


def with_limits(limits: Limits, changes: Iterable[str]) -> Limits:
    """Changes limits as a user tells it.

    Args:
      limits: to start from.
      changes: texts such as "camera_movement=0.3"; "none" instead of the number for no limit. The
        last one of a name counts.

    Raises:
      ValueError: a text is no such thing, has another name than there are (all are listed), or a
        value out of range.
    """
    fields = {field.name: field.metadata["unit"] for field in dataclasses.fields(Limits)}
    values: dict[str, float | None] = {}
    for change in changes:
        name, equals, text = (part.strip() for part in change.partition("="))
        if not equals:
            raise ValueError(f"limit {change!r} must be NAME=VALUE, as in camera_movement=0.3")
        if name not in fields:
            near = difflib.get_close_matches(name, fields, n=1)
            guess = f"; did you mean {near[0]}?" if near else ""
            raise ValueError(f"limit {name!r} must be one of {', '.join(fields)}{guess}")
        try:
            values[name] = None if text.lower() == "none" else float(text)
        except ValueError as error:
            raise ValueError(
                f"limit {name} (={text!r}) must be a number ({fields[name]}), or none for no limit"
            ) from error
    return dataclasses.replace(limits, **values)


def reasons(measures: Mapping[str, float], limits: Limits) -> list[str]:
    """Tells why a clip is not fit.

    Args:
      measures: by name, of `measure` and others. Those not measured, or not yet, are not tested.
      limits: on them.

    Returns:
      A text for each limit that is missed, in the order of `Limits`; none for a clip that is fit.

    Raises:
      ValueError: a measure has no limit of its name, or is not a number.
    """
    fields = {field.name: field for field in dataclasses.fields(limits)}
    for name, value in measures.items():
        if name not in fields:
            raise ValueError(f"measure {name!r} must be one of {', '.join(fields)}")
        if math.isnan(value):
            raise ValueError(f"measure {name} is not a number")
    missed = []
    for name, field in fields.items():
        limit = getattr(limits, name)
        if name not in measures or limit is None:
            continue
        value, least = measures[name], field.metadata["least"]
        if value < limit if least else value > limit:
            side = "below" if least else "above"
            missed.append(f"{name} {value:.3g} is {side} {limit:g} {field.metadata['unit']}")
    return missed


def measure(frames: np.ndarray, fps: float) -> dict[str, float]:
    """Measures what decides on a clip.

    Args:
      frames: uint8 `[t, h, w, 3]`, RGB, 32 pixels a side or more; about 3 s of it serve best.
      fps: frames a second.

    Returns:
      By the names of `Limits`, all but those of label maps: numbers of at least 0, in the units
      told there.

    Raises:
      ValueError: the frames are of another type, shape or size, or `fps` is not above 0.
    """
    if frames.dtype != np.uint8 or frames.ndim != 4 or frames.shape[3] != 3 or not len(frames):
        raise ValueError(
            f"`frames` must be uint8 [t, h, w, 3], got {frames.dtype} {list(frames.shape)}"
        )
    if min(frames.shape[1:3]) < LEAST_SIDE:
        height, width = frames.shape[1:3]
        raise ValueError(
            f"`frames` (of {height}x{width} pixels) must be {LEAST_SIDE} or more a side"
        )
    if not (math.isfinite(fps) and fps > 0):
        raise ValueError(f"`fps` (={fps:g}) must be above 0")
    small = _reduced(frames)
    grey = small @ _LUMA
    return _camera(grey, fps) | {
        "flicker": _flicker(grey),
        "haste": _haste(grey, fps),
        "black": float(((grey < _BLACK).mean((1, 2)) > _BLACK_PIXELS).mean()),
        "frozen": _frozen(grey, fps),
        "cut": _cut(small, fps),
    }


def _reduced(frames: np.ndarray) -> np.ndarray:
    """Frames of about `_SIDE` pixels a side, float32 `[t, h, w, 3]`, by averaging."""
    factor = max(1, round(min(frames.shape[1:3]) / _SIDE))
    height, width = (size // factor * factor for size in frames.shape[1:3])
    # A strided slice at a time: several times as fast as a mean over axes.
    total = np.zeros((len(frames), height // factor, width // factor, 3), np.uint32)
    for row in range(factor):
        for column in range(factor):
            total += frames[:, row:height:factor, column:width:factor]
    reduced: np.ndarray = total.astype(np.float32) / factor**2
    return reduced


def _tiled(images: np.ndarray, count: int) -> np.ndarray:
    """Means over tiles, `count` or a few more along the shorter side; a rest is left out."""
    length, height, width = images.shape[:3]
    side = max(1, min(height, width) // count)
    rows, columns = height // side, width // side
    cropped = images[:, : rows * side, : columns * side]
    tiles = cropped.reshape(length, rows, side, columns, side, *images.shape[3:])
    means: np.ndarray = tiles.mean((2, 4))
    return means


def _camera(grey: np.ndarray, fps: float) -> dict[str, float]:
    camera = motion.camera_motion(grey, fps)
    speed = np.hypot(camera.shift[:, 0], camera.shift[:, 1]) / camera.lag_s
    return {
        "camera_movement": _second_largest(speed),
        # A shift is the difference between two places, each astray.
        "camera_shake": float(np.sqrt(camera.shift.var(0).sum() / 2)),
        "zoom": _second_largest(np.abs(camera.growth) / camera.lag_s),
        "rotation": math.degrees(_second_largest(np.abs(camera.turn) / camera.lag_s)),
    }


def _second_largest(values: np.ndarray) -> float:
    """The largest but one, since one estimate of many may be wrong; of a single one, that."""
    return float(np.sort(values)[-min(2, len(values))])


def _flicker(grey: np.ndarray) -> float:
    """Deviation of the brightness that all tiles share from that of the frames beside."""
    if len(grey) < 3:
        return 0.0
    tiles = _tiled(grey, _FLICKER_TILES).reshape(len(grey), -1)
    jumps = (tiles[1:-1] - (tiles[:-2] + tiles[2:]) / 2) / (tiles[1:-1] + _DARK)
    common = np.sort(np.abs(np.median(jumps, 1)))
    common = common[: math.ceil(_JUMPS_KEPT * len(common))]
    return float(np.sqrt((common**2).mean() / _JUMP_VARIANCE))


def _haste(grey: np.ndarray, fps: float) -> float:
    """How much changes over a short time, as a share of what does over a longer one."""
    short, long = (max(1, round(lag_s * fps)) for lag_s in (_HASTE_SHORT_S, _HASTE_LONG_S))
    if len(grey) <= long:
        return 0.0
    tiles = _tiled(grey, _HASTE_TILES)
    quick, slow = (np.abs(tiles[lag:] - tiles[:-lag]).mean(0) for lag in (short, long))
    moving = slow > _LEAST_CHANGE
    return float(quick[moving].sum() / slow[moving].sum()) if moving.any() else 0.0


def _frozen(grey: np.ndarray, fps: float) -> float:
    """Share of frames in runs over which no tile changes."""
    lag = max(1, round(_FROZEN_S * fps))
    if len(grey) <= lag:
        return 0.0
    tiles = _tiled(grey, _FROZEN_TILES)
    still = np.abs(tiles[lag:] - tiles[:-lag]).max((1, 2)) < _FROZEN_CHANGE
    # Frame i is in a run that starts at one of the frames from i − lag to i.
    starts = np.convolve(still, np.ones(lag + 1), "full")
    return float((starts > 0.5).mean())


def _cut(small: np.ndarray, fps: float) -> float:
    """The largest difference between the mean pictures before and after some moment."""
    tiles = _tiled(small, _CUT_TILES)
    tiles = tiles - tiles.mean((1, 2), keepdims=True)
    sums = np.pad(tiles.cumsum(0), ((1, 0), (0, 0), (0, 0), (0, 0)))
    side = max(1, round(_CUT_SIDE_S * fps))
    largest = 0.0
    for gap in (0, round(_DISSOLVE_S * fps)):
        before = np.arange(1, len(tiles) - gap)
        after = before + gap
        if not len(before):
            continue
        first = _mean(sums, np.maximum(before - side, 0), before)
        second = _mean(sums, after, np.minimum(after + side, len(tiles)))
        change = np.abs(first - second).mean((1, 2, 3))
        contrast = (np.abs(first) + np.abs(second)).mean((1, 2, 3))
        largest = max(largest, float((change / (contrast + _PLAIN)).max()))
    return largest


def _mean(sums: np.ndarray, start: np.ndarray, stop: np.ndarray) -> np.ndarray:
    """Means over the frames from `start` up to `stop` by sums of all before a frame."""
    mean: np.ndarray = (sums[stop] - sums[start]) / (stop - start)[:, None, None, None]
    return mean

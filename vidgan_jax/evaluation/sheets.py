"""Contact sheets: what was scored, to look at.

- `examples`: generated ones at the left, real ones at the right, eight of each. Of clips, a row of
  the PNG is frames of a generated clip and as many of a real one.
- `maps`, of generators that take label maps: a row is a label map, what was generated from it, what
  a segmenter sees in that (where one is given), and the real example of the map.
- `variations`: a row is of one map and begins with it, a column is a latent. Of generators without
  maps a row means nothing.

Each is a PNG, and of clips an MP4, too; of `maps` and `variations` the PNG is the frame in the
middle. Columns have captions.
"""

import dataclasses
import math
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from vidgan_jax.data import media
from vidgan_jax.data.labels import colorize
from vidgan_jax.evaluation.measure import FAKES, LABELLED, REFERENCE, VARIATIONS, Part

Segment = Callable[[np.ndarray], np.ndarray]

_SHOWN = 8
_LATENTS = 12
_STRIP_FRAMES = 5
_COLUMNS = 4  # of images on either side
_HEIGHT = 96  # of small pictures, pixels, at least
_FONT_SIZE, _HEAD, _INDENT = 12, 18, 2
_GAP = 12
_WATCHED_S = 4.0


@dataclasses.dataclass(frozen=True)
class _Sheet:
    """Uint8 pictures: `printed` `[H, W, 3]`, and of clips `moving` `[t, H, W, 3]`."""

    printed: np.ndarray
    moving: np.ndarray | None


def write_sheets(
    folder: Path,
    shown: Mapping[str, Part],
    *,
    fps: float | None = None,
    num_variations: int = 0,
    segment: Segment | None = None,
) -> list[Path]:
    """Writes the contact sheets of the streams that are there; see the module.

    Args:
      folder: where to; made if need be.
      shown: the first few examples of streams, by name; others than fakes, reference, labelled and
        variations are not shown. Where fakes have label maps, there is the sheet `maps`.
      fps: of clips, frames a second; None for no MP4s.
      num_variations: of variations, examples of each map; 0 where there are none.
      segment: uint8 frames `[..., h, w, 3]` to class ids `[..., h, w]`; None for no such column.

    Returns:
      The files, PNGs before MP4s.

    Raises:
      ValueError: fakes and labelled examples that are of different maps, or variations that are not
        `num_variations` of each map.
    """
    sheets: dict[str, _Sheet] = {}
    if FAKES in shown:
        fakes = shown[FAKES]
        sheets["examples"] = _examples(fakes, shown.get(REFERENCE))
        if fakes.label_maps is not None:
            sheets["maps"] = _maps(fakes, fakes.label_maps, shown.get(LABELLED), segment)
    if VARIATIONS in shown:
        sheets["variations"] = _variations(shown[VARIATIONS], num_variations)
    written = []
    for name, sheet in sheets.items():
        written.append(folder / f"{name}.png")
        media.write_png(written[-1], sheet.printed)
    for name, sheet in sheets.items():
        if sheet.moving is not None and fps is not None:
            written.append(folder / f"{name}.mp4")
            loops = max(1, math.ceil(_WATCHED_S * fps / len(sheet.moving)))
            media.write_mp4(written[-1], sheet.moving, fps=fps, loops=loops)
    return written


def _examples(fakes: Part, real: Part | None) -> _Sheet:
    sides = {"generated": fakes} if real is None else {"generated": fakes, "real": real}
    num = min(_SHOWN, *(len(side.frames) for side in sides.values()))
    clips = {name: side.clips[:num] for name, side in sides.items()}
    grid = _beside({name: _grid(side, _COLUMNS) for name, side in clips.items()})
    if fakes.frames.ndim == 4:
        return _Sheet(grid[0], None)
    t = fakes.clips.shape[1]
    times = np.unique(np.linspace(0, t - 1, min(t, _STRIP_FRAMES)).round().astype(int))
    strips = {
        name: _grid(side[:, times].reshape(-1, 1, *side.shape[2:]), len(times))
        for name, side in clips.items()
    }
    return _Sheet(_beside(strips)[0], grid)


def _maps(
    fakes: Part, label_maps: np.ndarray, labelled: Part | None, segment: Segment | None
) -> _Sheet:
    num = min(_SHOWN, len(fakes.frames))
    if labelled is not None:
        num = min(num, len(labelled.frames))
        of_real = labelled.label_maps
        if of_real is None or not np.array_equal(of_real[:num], label_maps[:num]):
            raise ValueError(
                "fakes and labelled examples to show are not of the same label maps; give the "
                f"first ones of both (they begin at {fakes.first} and {labelled.first})"
            )
    clips = fakes.clips[:num]
    columns = {"label map": _still(label_maps[:num], clips), "generated": clips}
    if segment is not None:
        columns["segmented"] = colorize(segment(clips))
    if labelled is not None:
        columns["real"] = labelled.clips[:num]
    moving = _beside({name: _grid(column, 1) for name, column in columns.items()}, gap=0)
    return _of_middle(moving, fakes)


def _variations(part: Part, each: int) -> _Sheet:
    num = len(part.frames)
    if each < 1 or num < each:
        raise ValueError(f"{num} variations to show are not {each} (num_variations) of a map")
    rows = min(_SHOWN, num // each)
    clips = part.clips[: rows * each].reshape(rows, each, *part.clips.shape[1:])
    columns = {f"latent {i}": clips[:, i] for i in range(min(each, _LATENTS))}
    if part.label_maps is not None:
        maps = part.label_maps[: rows * each].reshape(rows, each, *part.label_maps.shape[1:])
        if (maps != maps[:, :1]).any():
            raise ValueError(
                f"variations to show are not {each} (num_variations) of each map, one map after "
                "another"
            )
        columns = {"label map": _still(maps[:, 0], clips[:, 0]), **columns}
    moving = _beside({name: _grid(column, 1) for name, column in columns.items()}, gap=0)
    return _of_middle(moving, part)


def _of_middle(moving: np.ndarray, part: Part) -> _Sheet:
    return _Sheet(moving[len(moving) // 2], moving if part.frames.ndim == 5 else None)


def _still(label_maps: np.ndarray, clips: np.ndarray) -> np.ndarray:
    """Label maps `[n, H, W]`, painted, as clips of the shape of `clips` `[n, t, h, w, 3]`.

    They may be of another size, for frames may have been resized to be scored.
    """
    down, across = (
        np.arange(size) * of_map // size
        for size, of_map in zip(clips.shape[2:4], label_maps.shape[1:], strict=True)
    )
    painted = colorize(label_maps[:, down][:, :, across])
    return np.broadcast_to(painted[:, None], clips.shape)


def _grid(clips: np.ndarray, columns: int) -> np.ndarray:
    return media.tile_images(media.enlarge(clips, _HEIGHT), columns)


def _beside(sides: Mapping[str, np.ndarray], *, gap: int = _GAP) -> np.ndarray:
    """Parts of a sheet, uint8 `[t, H, W, 3]`, from left to right, each below its caption."""
    t, height = next(iter(sides.values())).shape[:2]
    lefts = [0, *np.cumsum([side.shape[2] + gap for side in sides.values()]).tolist()]
    width = lefts.pop() - gap
    head = Image.new("RGB", (width, _HEAD), "white")
    draw, font = ImageDraw.Draw(head), ImageFont.load_default(_FONT_SIZE)
    sheet = np.full((t, _HEAD + height, width, 3), 255, np.uint8)
    for left, (name, side) in zip(lefts, sides.items(), strict=True):
        draw.text((left + _INDENT, _INDENT), name, fill="black", font=font)
        sheet[:, _HEAD:, left : left + side.shape[2]] = side
    sheet[:, :_HEAD] = np.asarray(head)
    return sheet

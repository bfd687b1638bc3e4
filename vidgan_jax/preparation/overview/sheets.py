"""Contact sheets: frames with their label maps, clips as rows, and a legend of classes.

Source: the thesis's figures 4-1 (frames and maps) and 4-2 (clips and maps).
"""

import collections
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from vidgan_jax.data import labels, media, records
from vidgan_jax.preparation.overview.choice import choose
from vidgan_jax.preparation.overview.statistics import percent

FRAMES_NAME = "frames.png"
CLIPS_NAME = "clips.png"

# Pixels.
_CELL, _GAP, _GUTTER = 128, 4, 14
_FONT_SIZE, _SWATCH, _LEGEND_COLUMN = 14, 14, 168
_PAPER, _INK = (255, 255, 255), (32, 32, 32)
_FRAMES_IN_ROW = 6


def write_sheets(
    directory: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    num_frames: int = 24,
    num_clips: int = 8,
    seed: int = 0,
) -> list[Path]:
    """Writes frames.png and clips.png of a data set, of clips that are drawn by lot.

    Clips come from as many videos as there are, with label maps where any have one.

    Args:
      directory: the data set's folder.
      out: the folder to write to; made if need be.
      num_frames: clips in frames.png, each by its middle frame.
      num_clips: rows of clips.png.
      seed: of the lots.

    Returns:
      The files' paths.

    Raises:
      RecordError: the data set, or a clip in it, is damaged.
      ValueError: a number is out of range.
    """
    info = records.load_info(directory)
    sources = [records.ClipSource(directory, split) for split in info.splits]
    with_maps = any(source.has_label_map.any() for source in sources)
    chosen = choose(sources, max(num_frames, num_clips), seed, with_maps=with_maps)
    clips = [source[i] for source, i in chosen]
    for source in sources:
        source.close()
    name = Path(directory).resolve().name
    total = sum(split.num_clips for split in info.splits.values())
    paths = [Path(out) / FRAMES_NAME, Path(out) / CLIPS_NAME]
    for path, draw, some in (
        (paths[0], frames_sheet, clips[:num_frames]),
        (paths[1], clips_sheet, clips[:num_clips]),
    ):
        title = f"{name}: {len(some)} of {total:,} clips; shares are of these"
        media.write_png(path, draw(some, title))
    return paths


def frames_sheet(clips: Sequence[records.ClipRecord], title: str) -> np.ndarray:
    """Middle frames in a grid, each above its label map, and the legend.

    Args:
      clips: what is shown; one or more.
      title: a line above.

    Returns:
      uint8 RGB `[height, width, 3]`.
    """
    with_maps = any(clip.label_map is not None for clip in clips)
    rows = 2 if with_maps else 1
    cells = []
    for clip in clips:
        cell = _paper(rows * _CELL + (rows - 1) * _GAP, _CELL)
        cell[:_CELL] = _frame(clip, len(clip.frames) // 2)
        if with_maps:
            cell[_CELL + _GAP :] = _map(clip)
        cells.append(cell)
    grid = media.tile_images(np.stack(cells), _FRAMES_IN_ROW, margin=_GUTTER)
    return _with_legend(grid, clips, title)


def clips_sheet(clips: Sequence[records.ClipRecord], title: str) -> np.ndarray:
    """A row for each clip: frames evenly in time, its label map at the right, and the legend.

    Args:
      clips: what is shown; one or more.
      title: a line above.

    Returns:
      uint8 RGB `[height, width, 3]`.
    """
    with_maps = any(clip.label_map is not None for clip in clips)
    strip = _FRAMES_IN_ROW * (_CELL + _GAP) - _GAP
    rows = []
    for clip in clips:
        row = _paper(_CELL, strip + (_GUTTER + _CELL if with_maps else 0))
        shown = np.linspace(0, len(clip.frames) - 1, min(len(clip.frames), _FRAMES_IN_ROW))
        for place, number in enumerate(np.unique(shown.round().astype(int)).tolist()):
            left = place * (_CELL + _GAP)
            row[:, left : left + _CELL] = _frame(clip, number)
        if with_maps:
            row[:, strip + _GUTTER :] = _map(clip)
        rows.append(row)
    grid = media.tile_images(np.stack(rows), 1, margin=_GUTTER)
    return _with_legend(grid, clips, title)


def _paper(height: int, width: int) -> np.ndarray:
    return np.full((height, width, 3), _PAPER, np.uint8)


def _frame(clip: records.ClipRecord, number: int) -> np.ndarray:
    """A frame inside of a cell."""
    return _fitted(records.decode_frame(clip.frames[number]), Image.Resampling.BICUBIC)


def _map(clip: records.ClipRecord) -> np.ndarray:
    if clip.label_map is None:
        return _paper(_CELL, _CELL)
    painted = labels.colorize(records.decode_label_map(clip.label_map))
    return _fitted(painted, Image.Resampling.NEAREST)


def _fitted(image: np.ndarray, resampling: Image.Resampling) -> np.ndarray:
    """An image inside of a cell, its sides in proportion."""
    height, width = image.shape[:2]
    scale = _CELL / max(height, width)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    resized = np.asarray(Image.fromarray(image).resize(size, resampling))
    cell = _paper(_CELL, _CELL)
    top, left = (_CELL - size[1]) // 2, (_CELL - size[0]) // 2
    cell[top : top + size[1], left : left + size[0]] = resized
    return cell


def _with_legend(grid: np.ndarray, clips: Sequence[records.ClipRecord], title: str) -> np.ndarray:
    """A sheet: the title above, the classes of the clips' maps below, the most frequent first."""
    shares = _shares(clips)
    line = _FONT_SIZE + 8
    columns = max(1, (grid.shape[1] - 2 * _GUTTER) // _LEGEND_COLUMN)
    rows = -(-len(shares) // columns)
    head = _GUTTER + line
    height = head + grid.shape[0] + (rows * line + _GUTTER if rows else 0)
    sheet = Image.new("RGB", (grid.shape[1], height), _PAPER)
    sheet.paste(Image.fromarray(grid), (0, head))
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(_FONT_SIZE)
    draw.text((_GUTTER, _GUTTER), title, fill=_INK, font=font)
    for place, (label, share) in enumerate(shares.items()):
        # Down the columns, as one reads a list.
        left = _GUTTER + (place // rows) * _LEGEND_COLUMN
        top = head + grid.shape[0] + (place % rows) * line
        colour = tuple(labels.COLOURS[label].tolist())
        draw.rectangle((left, top, left + _SWATCH, top + _SWATCH), fill=colour, outline=_INK)
        text = f"{labels.class_name(label)} {percent(share)}"
        draw.text((left + _SWATCH + 6, top - 1), text, fill=_INK, font=font)
    return np.asarray(sheet)


def _shares(clips: Sequence[records.ClipRecord]) -> Mapping[int, float]:
    """Share of the maps' pixels by id, the most frequent first; "don't care" is the last."""
    pixels: collections.Counter[int] = collections.Counter()
    for clip in clips:
        if clip.label_map is not None:
            ids, counts = np.unique(records.decode_label_map(clip.label_map), return_counts=True)
            pixels.update(dict(zip(ids.tolist(), counts.tolist(), strict=True)))
    order = sorted(pixels, key=lambda label: (label == labels.DONT_CARE, -pixels[label], label))
    return {label: pixels[label] / pixels.total() for label in order}

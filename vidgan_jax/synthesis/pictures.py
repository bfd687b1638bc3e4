"""What is generated, as files: single examples, films, contact sheets."""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from vidgan_jax.data import media

_SHEET_CLIPS = 16
_SHEET_IMAGES = 64
_SHEET_COLUMNS = 8
_STRIP_FRAMES = 8


def write_clips(
    out: Path,
    clips: np.ndarray,
    fps: float,
    suffixes: Sequence[str],
    maps: np.ndarray | None = None,
) -> list[str]:
    """One file a clip and format, and a moving and a printed contact sheet of the first 16.

    Args:
      out: folder for them.
      clips: uint8 `[n, t, h, w, 3]`.
      fps: frames a second.
      suffixes: formats of the single clips, of `media.CLIP_WRITERS`.
      maps: painted label maps, uint8 `[m, h, w, 3]`, of n / m clips each, in their order; None
        without. They are written, too. A row of the moving sheet is a map and its clips, and a row
        of the printed one a map and a clip's frames.

    Returns:
      The names of the files.
    """
    written = _write_maps(out, maps)
    written += _write_each(out, [f"clip_{i:04d}" for i in range(len(clips))], clips, fps, suffixes)
    if maps is None:
        shown = media.enlarge(clips[:_SHEET_CLIPS])
        return [*written, *_write_sheets(out, media.tile_images(shown), _strips(shown), fps)]
    rows = _rows(clips, maps, _SHEET_CLIPS)
    moving = media.tile_images(media.enlarge(_flat(rows)), rows.shape[1])
    times = np.unique(np.linspace(0, clips.shape[1] - 1, _STRIP_FRAMES).round().astype(int))
    frames = rows[:, 1:, times]
    shown = np.broadcast_to(rows[:, :1, :1], (*frames.shape[:2], 1, *frames.shape[3:]))
    strips = _flat(np.concatenate([shown, frames], axis=2))
    return [*written, *_write_sheets(out, moving, _strips(media.enlarge(strips), more=1), fps)]


def write_images(out: Path, images: np.ndarray, maps: np.ndarray | None = None) -> list[str]:
    """One PNG an image, and a contact sheet of the first 64; arguments as for `write_clips`."""
    written = _write_maps(out, maps)
    written += _write_each(out, [f"image_{i:04d}" for i in range(len(images))], images)
    if maps is None:
        sheet = media.tile_images(media.enlarge(images[:_SHEET_IMAGES]))
    else:
        rows = _rows(images, maps, _SHEET_IMAGES)
        sheet = media.tile_images(media.enlarge(_flat(rows)), rows.shape[1])
    media.write_png(out / "contact_sheet.png", sheet)
    return [*written, "contact_sheet.png"]


def write_terms(
    out: Path,
    examples: np.ndarray,
    fps: float,
    suffixes: Sequence[str],
    maps: np.ndarray | None = None,
) -> list[str]:
    """Files of an expression's terms and of its result, and contact sheets of all in that order.

    Args:
      out: folder for them.
      examples: images uint8 `[n, h, w, 3]` or clips `[n, t, h, w, 3]`, the result last.
      fps: of clips, frames a second.
      suffixes: formats of the single clips, of `media.CLIP_WRITERS`; images are PNGs.
      maps: the one painted label map that all are of, uint8 `[1, h, w, 3]`; None without. It is
        written, too, and comes first on the sheets.

    Returns:
      The names of the files.
    """
    names = [*(f"term_{i}" for i in range(len(examples) - 1)), "result"]
    written = _write_maps(out, maps) + _write_each(out, names, examples, fps, suffixes)
    shown = media.enlarge(_after_map(examples, maps))
    row = media.tile_images(shown, columns=_SHEET_CLIPS)
    if examples.ndim == 5:
        return [*written, *_write_sheets(out, row, _strips(shown), fps)]
    media.write_png(out / "contact_sheet.png", row)
    return [*written, "contact_sheet.png"]


def write_film(
    out: Path,
    examples: np.ndarray,
    fps: float,
    suffixes: Sequence[str],
    steps: int,
    maps: np.ndarray | None = None,
) -> list[str]:
    """One film along a path, and a contact sheet of the latents that it goes through.

    Args:
      out: folder for them.
      examples: along the path, images uint8 `[n, h, w, 3]` or clips `[n, t, h, w, 3]`.
      fps: frames a second.
      suffixes: formats of the film, of `media.CLIP_WRITERS`.
      steps: from one latent to the next.
      maps: as for `write_terms`.

    Returns:
      The names of the files.
    """
    written = _write_maps(out, maps)
    film = walk(examples)
    shown = media.enlarge(film)
    for suffix in suffixes:
        written.append(f"interpolation{suffix}")
        media.write_clip(out / written[-1], shown, fps=fps)
    sheet = media.tile_images(media.enlarge(_after_map(film[::steps], maps)))
    media.write_png(out / "contact_sheet.png", sheet)
    return [*written, "contact_sheet.png"]


def walk(examples: np.ndarray) -> np.ndarray:
    """One film out of a latent path: images as they follow; of clips, one frame each.

    A clip's frames are taken back and forth, so that its scene moves on while it changes.

    Args:
      examples: uint8 `[n, h, w, 3]`, or `[n, t, h, w, 3]`.

    Returns:
      uint8 `[n, h, w, 3]`.
    """
    if examples.ndim == 4:
        return examples
    t = examples.shape[1]
    there_and_back = np.concatenate([np.arange(t), np.arange(t - 2, 0, -1)])
    frame = there_and_back[np.arange(len(examples)) % len(there_and_back)]
    return examples[np.arange(len(examples)), frame]


def _write_maps(out: Path, maps: np.ndarray | None) -> list[str]:
    names = [f"label_map_{i}.png" for i in range(0 if maps is None else len(maps))]
    for name, painted in zip(names, () if maps is None else maps, strict=True):
        media.write_png(out / name, media.enlarge(painted))
    return names


def _write_each(
    out: Path,
    names: Sequence[str],
    examples: np.ndarray,
    fps: float = 0.0,
    suffixes: Sequence[str] = (),
) -> list[str]:
    written = []
    for name, example in zip(names, examples, strict=True):
        for suffix in suffixes if example.ndim == 4 else (".png",):
            written.append(name + suffix)
            if suffix == ".png":
                media.write_png(out / written[-1], example)
            else:
                media.write_clip(out / written[-1], example, fps=fps)
    return written


def _strips(clips: np.ndarray, more: int = 0) -> np.ndarray:
    return media.filmstrips(clips, columns=_STRIP_FRAMES + more)


def _write_sheets(out: Path, moving: np.ndarray, printed: np.ndarray, fps: float) -> list[str]:
    """The `moving` one `[t, H, W, 3]` in all formats, the `printed` one `[H, W, 3]` as a PNG."""
    for suffix in (".gif", ".webp"):
        media.write_clip(out / f"contact_sheet{suffix}", moving, fps=fps)
    loops = max(1, math.ceil(4 * fps / len(moving)))
    media.write_mp4(out / "contact_sheet.mp4", moving, fps=fps, loops=loops)
    media.write_png(out / "contact_sheet.png", printed)
    return [f"contact_sheet{suffix}" for suffix in (".gif", ".mp4", ".png", ".webp")]


def _rows(examples: np.ndarray, maps: np.ndarray, most: int) -> np.ndarray:
    """`[rows, columns, …]`: in each row a map and the first of its examples, about `most` in all.

    A map stands still where the examples are clips.
    """
    each = examples.reshape(len(maps), -1, *examples.shape[1:])[:, :_SHEET_COLUMNS]
    each = each[: max(1, most // each.shape[1])]
    return np.concatenate([_like(maps[: len(each)], examples)[:, None], each], axis=1)


def _after_map(examples: np.ndarray, maps: np.ndarray | None) -> np.ndarray:
    return examples if maps is None else np.concatenate([_like(maps, examples), examples])


def _like(maps: np.ndarray, examples: np.ndarray) -> np.ndarray:
    """Maps `[n, h, w, 3]` as images or as clips, whichever the examples are."""
    if examples.ndim == 4:
        return maps
    return np.broadcast_to(maps[:, None], (len(maps), *examples.shape[1:]))


def _flat(rows: np.ndarray) -> np.ndarray:
    return rows.reshape(-1, *rows.shape[2:])

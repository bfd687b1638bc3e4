"""preview.png: some clips of a data set as film strips."""

import os
from pathlib import Path

import numpy as np
from PIL import Image

from vidgan_jax.data import media, records
from vidgan_jax.preparation.layout import TRAIN

PREVIEW_NAME = "preview.png"

_PREVIEW_CLIPS = 8
_PREVIEW_SIZE = 160


def write_preview(directory: str | os.PathLike[str]) -> Path:
    """Writes preview.png: some training clips from all over a data set, a film strip each.

    Returns:
      Its path.
    """
    path = Path(directory) / PREVIEW_NAME
    source = records.ClipSource(directory, TRAIN)
    chosen = np.unique(np.linspace(0, len(source) - 1, _PREVIEW_CLIPS).round().astype(int))
    clips = [source[i].frames for i in chosen.tolist()]
    source.close()
    num_shown = min(_PREVIEW_CLIPS, max(map(len, clips)))
    strips: list[np.ndarray] = []
    for frames in clips:
        for t in np.linspace(0, len(frames) - 1, num_shown).round().astype(int).tolist():
            thumbnail = _thumbnail(records.decode_frame(frames[t]))
            # Clips may be of several sizes; the first's is that of all here.
            strips.append(_resized(thumbnail, strips[0].shape if strips else thumbnail.shape))
    media.write_png(path, media.tile_images(media.enlarge(np.stack(strips)), num_shown))
    return path


def _thumbnail(image: np.ndarray) -> np.ndarray:
    if max(image.shape[:2]) <= _PREVIEW_SIZE:
        return image
    scale = _PREVIEW_SIZE / max(image.shape[:2])
    return _resized(image, (round(image.shape[0] * scale), round(image.shape[1] * scale)))


def _resized(image: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """An image `[h, w, 3]` at the height and width that `shape` begins with."""
    if image.shape[:2] == shape[:2]:
        return image
    size = shape[1], shape[0]
    return np.asarray(Image.fromarray(image).resize(size, Image.Resampling.LANCZOS))

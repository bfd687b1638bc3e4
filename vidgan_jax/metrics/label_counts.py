"""Counts of pixels by which label maps of many frames are scored, without the frames.

What is counted adds up over a set, and tells of each frame by itself, too: over a set, IoU is the
one of all its pixels (`segmentation`); over images, it is a mean of theirs.
"""

import dataclasses

import numpy as np

from vidgan_jax.data.labels import DONT_CARE


@dataclasses.dataclass(frozen=True)
class LabelCounts:
    """Counts of labelled pixels, of clips that have one label map each.

    Attributes:
      matrices: int64 `[t, c, c]`, for each of the clips' frames a confusion matrix over the clips,
        references in rows, predictions in columns.
      labelled: `[n, c]`, pixels of each class in each map.
      predicted: `[n, t, c]`, pixels that each class is predicted for, in each frame.
      right: likewise, those of them that have the class.
    """

    matrices: np.ndarray
    labelled: np.ndarray
    predicted: np.ndarray
    right: np.ndarray


def count_labels(
    label_maps: np.ndarray, predicted: np.ndarray, num_labels: int, *, dont_care: int = DONT_CARE
) -> LabelCounts:
    """Counts pixels of segmented clips by the class that they have and the one predicted.

    Args:
      label_maps: integers `[n, h, w]`, ids 0 to `num_labels` - 1, each of all frames of its clip;
        pixels of `dont_care` are left out, whatever is predicted for them.
      predicted: integers `[n, t, h, w]`, ids 0 to `num_labels` - 1.
      num_labels: classes.
      dont_care: the id of pixels of no class.

    Returns:
      Counts; those of single frames in the smallest unsigned type that holds all pixels of one.

    Raises:
      ValueError: no integers, shapes that don't fit, an id out of range.
    """
    labelled = label_maps != dont_care
    _check(label_maps, predicted)
    _check_ids("label_maps", label_maps, labelled, num_labels, f", or {dont_care} for don't care")
    _check_ids("predicted", predicted, labelled[:, None], num_labels, "")
    # One bin more, for pixels of no class.
    first = np.where(labelled, label_maps.astype(np.int64) * num_labels, 0)
    images = np.arange(len(label_maps))[:, None, None] * (num_labels + 1)
    matrices, seen, right = [], [], []
    for frames in np.moveaxis(predicted, 1, 0):
        ids = np.where(labelled, frames, num_labels)
        pairs = np.where(labelled, first + frames, num_labels**2)
        matrices.append(_histogram(pairs, num_labels**2 + 1)[:-1])
        seen.append(_histogram(images + ids, images.size * (num_labels + 1)))
        hits = np.where(frames == label_maps, ids, num_labels)
        right.append(_histogram(images + hits, images.size * (num_labels + 1)))
    exact = np.min_scalar_type(label_maps[0].size) if len(label_maps) else np.dtype(np.uint8)
    of_maps = _histogram(
        images + np.where(labelled, label_maps, num_labels), images.size * (num_labels + 1)
    )
    shape = (predicted.shape[1], len(label_maps), num_labels + 1)
    by_clip = [np.moveaxis(np.reshape(each, shape), 0, 1)[..., :-1] for each in (seen, right)]
    return LabelCounts(
        np.reshape(matrices, (-1, num_labels, num_labels)),
        of_maps.reshape(shape[1:])[:, :-1].astype(exact),
        *(each.astype(exact) for each in by_clip),
    )


def image_accuracies(counts: LabelCounts) -> np.ndarray:
    """Share of each frame's labelled pixels that have their class.

    Returns:
      float64 `[n, t]`, 0 to 1; NaN where a map labels no pixel.
    """
    labelled = counts.labelled.sum(axis=-1, dtype=np.int64)[:, None]
    right = counts.right.sum(axis=-1, dtype=np.int64).astype(np.float64)
    return np.divide(right, labelled, out=np.full(right.shape, np.nan), where=labelled > 0)


def image_mean_ious(counts: LabelCounts, classes: tuple[int, ...]) -> np.ndarray:
    """Mean IoU of each frame, over those of some classes that its map has.

    Args:
      counts: of the frames.
      classes: ids.

    Returns:
      float64 `[n, t]`, 0 to 1; NaN where a map has none of the classes.
    """
    columns = list(classes)
    labelled = counts.labelled[:, None, columns].astype(np.int64)
    right = counts.right[..., columns].astype(np.int64)
    union = labelled + counts.predicted[..., columns] - right
    present = labelled > 0
    iou = np.divide(right, union, out=np.zeros(right.shape), where=present & (union > 0))
    num = np.broadcast_to(present.sum(axis=-1), iou.shape[:-1])
    return np.divide(iou.sum(axis=-1), num, out=np.full(num.shape, np.nan), where=num > 0)


def _histogram(numbers: np.ndarray, length: int) -> np.ndarray:
    return np.bincount(numbers.ravel(), minlength=length)


def _check(label_maps: np.ndarray, predicted: np.ndarray) -> None:
    for name, maps in (("label_maps", label_maps), ("predicted", predicted)):
        if not np.issubdtype(maps.dtype, np.integer):
            raise ValueError(f"{name} holds {maps.dtype}; class ids are integers")
    shape = predicted.shape
    if label_maps.ndim != 3 or len(shape) != 4 or (shape[0], *shape[2:]) != label_maps.shape:
        raise ValueError(
            "label_maps must be [n, h, w], and predicted [n, t, h, w] of the same n, h and w; got "
            f"{list(label_maps.shape)} and {list(shape)}"
        )


def _check_ids(name: str, maps: np.ndarray, among: np.ndarray, num_labels: int, more: str) -> None:
    wrong = ((maps < 0) | (maps >= num_labels)) & among
    if wrong.any():
        raise ValueError(
            f"{name} holds the id {maps[wrong][0]}; ids must be 0 to {num_labels - 1}{more}"
        )

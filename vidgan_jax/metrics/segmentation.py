"""How well label maps agree: pixel accuracy and intersection over union, summed over a set.

Source: Long, Shelhamer, Darrell 2015, arXiv:1411.4038, section 5; Zhou et al. 2017, "Scene parsing
through ADE20K dataset"; Egan 2019 (MIT thesis), 4.4, for the mean over frequent classes.
"""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from vidgan_jax.data.labels import DONT_CARE

# Share of the labelled pixels from which on a class counts in the thesis's mean IoU.
FREQUENT = 0.01


@dataclasses.dataclass(frozen=True)
class Agreement:
    """Scores of predicted label maps against their references.

    Attributes:
      pixel_accuracy: share of the labelled pixels that have their class, 0 to 1.
      mean_iou: mean IoU of the classes that make up at least `FREQUENT` of the labelled pixels.
      mean_iou_present: mean IoU of all classes that the references have.
      num_pixels: labelled ones.
      iou: of each class that the references or the predictions have, by id; 0 where only one of
        both has it.
      share: of the labelled pixels, of the same classes.
    """

    pixel_accuracy: float
    mean_iou: float
    mean_iou_present: float
    num_pixels: int
    iou: Mapping[int, float]
    share: Mapping[int, float]


def confusion_matrix(
    reference: np.ndarray, predicted: np.ndarray, num_labels: int, *, dont_care: int = DONT_CARE
) -> np.ndarray:
    """Counts pixels by the class that they have and the one that was predicted.

    Matrices of parts of a set add up to the one of the set.

    Args:
      reference: integers of any shape, ids 0 to `num_labels` - 1; pixels of `dont_care` are left
        out, whatever is predicted for them.
      predicted: integers of the same shape, ids 0 to `num_labels` - 1.
      num_labels: classes.
      dont_care: the id of pixels of no class.

    Returns:
      int64 `[num_labels, num_labels]`, references in rows, predictions in columns.

    Raises:
      ValueError: no integers, shapes that differ, an id out of range.
    """
    if reference.shape != predicted.shape:
        raise ValueError(
            f"reference and predicted maps must be of one shape, got {list(reference.shape)} and "
            f"{list(predicted.shape)}"
        )
    labelled = reference != dont_care
    pairs = []
    for name, maps in (("reference", reference), ("predicted", predicted)):
        if not np.issubdtype(maps.dtype, np.integer):
            raise ValueError(f"{name} holds {maps.dtype}; class ids are integers")
        ids = maps[labelled].astype(np.int64)
        if wrong := ids[(ids < 0) | (ids >= num_labels)].tolist():
            care = f", or {dont_care} for don't care" if name == "reference" else ""
            raise ValueError(
                f"{name} holds the id {wrong[0]}; ids must be 0 to {num_labels - 1}{care}"
            )
        pairs.append(ids)
    counts = np.bincount(pairs[0] * num_labels + pairs[1], minlength=num_labels**2)
    return counts.reshape(num_labels, num_labels)


def pixel_accuracy(matrix: np.ndarray) -> float:
    """Share of the pixels that have their class.

    Args:
      matrix: of `confusion_matrix`.

    Raises:
      ValueError: it counts no pixel.
    """
    return float(np.trace(matrix) / _num_pixels(matrix))


def class_iou(matrix: np.ndarray) -> np.ndarray:
    """Intersection over union of each class.

    Args:
      matrix: of `confusion_matrix`, `[n, n]`.

    Returns:
      float64 `[n]`, 0 to 1; NaN for classes that neither references nor predictions have.
    """
    shared = np.diag(matrix).astype(np.float64)
    union = matrix.sum(axis=0) + matrix.sum(axis=1) - shared
    return np.divide(shared, union, out=np.full(len(matrix), np.nan), where=union > 0)


def frequent_classes(num_pixels: np.ndarray, *, min_share: float = FREQUENT) -> tuple[int, ...]:
    """The classes that references have enough of.

    Args:
      num_pixels: of each class in the references, `[n]`: a confusion matrix's sums of rows.
      min_share: of the pixels, 0 to 1; 0 takes every class that the references have.

    Returns:
      Ids, ascending; none where no class has the share.

    Raises:
      ValueError: `min_share` is out of range, or there is no pixel.
    """
    if not 0 <= min_share <= 1:
        raise ValueError(f"min_share (={min_share}) must be from 0 to 1")
    share = num_pixels / _at_least_one(int(num_pixels.sum()))
    return tuple(np.flatnonzero((num_pixels > 0) & (share >= min_share)).tolist())


def mean_iou(matrix: np.ndarray, *, min_share: float = FREQUENT) -> float:
    """Mean IoU of the classes that the references have enough of.

    Args:
      matrix: of `confusion_matrix`.
      min_share: of the pixels, 0 to 1; 0 takes every class that the references have.

    Raises:
      ValueError: `min_share` is out of range, `matrix` counts no pixel, or no class has the share.
    """
    num_pixels = matrix.sum(axis=1)
    counted = frequent_classes(num_pixels, min_share=min_share)
    if not counted:
        raise ValueError(
            f"no class makes up min_share (={min_share:g}) of the pixels; the most frequent one "
            f"has {num_pixels.max() / num_pixels.sum():.2g}"
        )
    return mean_iou_of(matrix, counted)


def mean_iou_of(matrix: np.ndarray, classes: Sequence[int]) -> float:
    """Mean IoU of some classes, those of them that the references have.

    Args:
      matrix: of `confusion_matrix`.
      classes: ids.

    Raises:
      ValueError: the references have none of them.
    """
    present = np.asarray(classes, np.int64)
    present = present[matrix.sum(axis=1)[present] > 0]
    if not len(present):
        raise ValueError(f"the reference maps have none of the classes {list(classes)}")
    return float(class_iou(matrix)[present].mean())


def agreement(matrix: np.ndarray) -> Agreement:
    """All scores of a set at once.

    Args:
      matrix: of `confusion_matrix`, summed over the set.

    Raises:
      ValueError: it counts no pixel, or every class is rarer than `FREQUENT`.
    """
    iou = class_iou(matrix)
    num = _num_pixels(matrix)
    share = matrix.sum(axis=1) / num
    found = np.flatnonzero(~np.isnan(iou)).tolist()
    return Agreement(
        pixel_accuracy=pixel_accuracy(matrix),
        mean_iou=mean_iou(matrix),
        mean_iou_present=mean_iou(matrix, min_share=0),
        num_pixels=num,
        iou={i: float(iou[i]) for i in found},
        share={i: float(share[i]) for i in found},
    )


def compare_maps(
    predicted: np.ndarray, label_maps: np.ndarray, num_labels: int
) -> tuple[Agreement, tuple[float, ...]]:
    """Scores of segmented examples against the label map of each, which holds for all its frames.

    Args:
      predicted: integers `[n, h, w]`, or of clips `[n, t, h, w]`.
      label_maps: integers `[n, h, w]`, 255 for "don't care".
      num_labels: classes.

    Returns:
      `(scores, accuracies)`: over all frames; and of clips the pixel accuracy of each frame, first
      to last, of images nothing.

    Raises:
      ValueError: shapes that don't fit, ids out of range, no labelled pixel.
    """
    if predicted.ndim == 3:
        return agreement(confusion_matrix(label_maps, predicted, num_labels)), ()
    matrices = [
        confusion_matrix(label_maps, frames, num_labels) for frames in np.moveaxis(predicted, 1, 0)
    ]
    return agreement(sum(matrices[1:], matrices[0])), tuple(map(pixel_accuracy, matrices))


def _num_pixels(matrix: np.ndarray) -> int:
    return _at_least_one(int(matrix.sum()))


def _at_least_one(num: int) -> int:
    if num == 0:
        raise ValueError("no pixel of the reference maps has a class; there is nothing to score")
    return num

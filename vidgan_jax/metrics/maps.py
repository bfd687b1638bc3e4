"""Does what a generator makes follow the label maps that it was given? A segmenter judges.

The thesis's measure (Egan 2019, 4.3.3): segment each generated frame, compare with the input map.
"""

import dataclasses
from typing import Any, Protocol

import numpy as np

from vidgan_jax.data.clips import evaluation_loader
from vidgan_jax.data.collection import Clips
from vidgan_jax.data.labels import class_name
from vidgan_jax.metrics.segmentation import Agreement, compare_maps
from vidgan_jax.types import ClipSpec

_READ_BATCH = 32


class Judge(Protocol):
    """Says each pixel's class."""

    def __call__(
        self, frames: np.ndarray, *, batch_size: int = ..., progress: bool = False
    ) -> np.ndarray:
        """uint8 frames `[..., h, w, 3]` → uint8 class ids `[..., h, w]`."""
        ...


def measure_judge(
    judge: Judge, held_out: Clips, spec: ClipSpec, num_labels: int, *, num: int
) -> dict[str, Any]:
    """How well a judge does on frames of a split, evenly spaced.

    Args:
      judge: segments frames.
      held_out: the clips.
      spec: how to cut them, `label_maps` on; of clips, the first frame counts.
      num_labels: classes.
      num: frames at most.

    Returns:
      "split", "pixel_accuracy" and "mean_iou", as JSON takes them.

    Raises:
      ValueError: no clip has a label map.
    """
    frames, truth = read_labelled(held_out, dataclasses.replace(spec, num_frames=0), num=num)
    found, _ = compare_maps(judge(frames), truth, num_labels)
    return {
        "split": held_out.split,
        "pixel_accuracy": found.pixel_accuracy,
        "mean_iou": found.mean_iou,
    }


def read_labelled(source: Clips, spec: ClipSpec, *, num: int) -> tuple[np.ndarray, np.ndarray]:
    """Clips of a split that have a label map, with it; centre crops, not flipped.

    Of more than `num` clips, evenly spaced ones are taken: neighbours are often of one video.

    Args:
      source: the clips.
      spec: how to cut them, `label_maps` on.
      num: examples at most.

    Returns:
      `(frames, label_maps)`: uint8 `[n, h, w, 3]` or clips `[n, t, h, w, 3]`, and uint8
      `[n, h, w]`; n is `num`, or as many as there are.

    Raises:
      ValueError: no clip has a label map and the frames that `spec` wants.
    """
    frames, label_maps, count = [], [], 0
    size = min(num, _READ_BATCH)
    with evaluation_loader(source, spec, batch_size=size, at_most=num) as loader:
        while count < min(num, loader.num_clips):
            batch = next(loader)
            frames.append(np.asarray(batch.frames))
            label_maps.append(np.asarray(batch.label_map))
            count += len(frames[-1])
    return np.concatenate(frames)[:num], np.concatenate(label_maps)[:num]


def scores_as_json(found: Agreement) -> dict[str, Any]:
    """Scores by name as JSON takes them, those of classes by the class's name."""
    totals = dataclasses.asdict(found)
    iou, share = totals.pop("iou"), totals.pop("share")
    classes = {class_name(i): {"id": i, "iou": iou[i], "share": share[i]} for i in iou}
    return totals | {"classes": classes}

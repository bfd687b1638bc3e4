"""Does what a generator makes follow the label maps that it was given? A segmenter judges.

The thesis's measure (Egan 2019, 4.3.2): segment each generated frame, compare with the input map.
"""

import dataclasses
from collections.abc import Mapping
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


@dataclasses.dataclass(frozen=True)
class Maps:
    """What conditional generators are given and judged by.

    Attributes:
      label_maps: uint8 `[m, h, w]`, 255 for "don't care".
      real: the examples that they are of, uint8 `[m, h, w, 3]` or clips `[m, t, h, w, 3]`.
      num_labels: classes.
      judge: segments frames.
      made_of: how it came about.
      held_out: how well it does on a split that is held out; None where there is none.
    """

    label_maps: np.ndarray
    real: np.ndarray
    num_labels: int
    judge: Judge
    made_of: Mapping[str, Any]
    held_out: Mapping[str, Any] | None = None

    def conditions(self, num: int) -> np.ndarray:
        """The maps of `num` examples, uint8 `[num, h, w]`: in turn where there are fewer."""
        return self.label_maps[np.arange(num) % len(self.label_maps)]


def measure_judge(
    judge: Judge, held_out: Clips, spec: ClipSpec, num_labels: int, *, num: int
) -> dict[str, Any]:
    """How well a judge does on the first frames of a split.

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
    """The first clips of a split that have a label map, with it; centre crops, not flipped.

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
    with evaluation_loader(source, spec, batch_size=min(num, _READ_BATCH)) as loader:
        while count < min(num, loader.num_clips):
            batch = next(loader)
            frames.append(np.asarray(batch.frames))
            label_maps.append(np.asarray(batch.label_map))
            count += len(frames[-1])
    return np.concatenate(frames)[:num], np.concatenate(label_maps)[:num]


def agreements(examples: np.ndarray, maps: Maps) -> dict[str, Any]:
    """How well generated examples, and the real ones, agree with their label maps.

    Args:
      examples: generated from `maps.conditions`, uint8 `[n, h, w, 3]` or `[n, t, h, w, 3]`.
      maps: what they were generated from.

    Returns:
      What can be written as JSON.
    """
    return {
        "segmenter": dict(maps.made_of),
        "held_out": maps.held_out,
        "num_maps": len(maps.label_maps),
        "generated": _agreement(examples, maps),
        "real": _agreement(maps.real, maps),
    }


def _agreement(examples: np.ndarray, maps: Maps) -> dict[str, Any]:
    seen = maps.judge(examples, progress=True)
    truth = maps.conditions(len(examples))
    found, by_frame = compare_maps(seen, truth, maps.num_labels)
    return scores_as_json(found) | {"accuracy_by_frame": list(by_frame) or None}


def scores_as_json(found: Agreement) -> dict[str, Any]:
    """Scores by name as JSON takes them, those of classes by the class's name."""
    totals = dataclasses.asdict(found)
    iou, share = totals.pop("iou"), totals.pop("share")
    classes = {class_name(i): {"id": i, "iou": iou[i], "share": share[i]} for i in iou}
    return totals | {"classes": classes}

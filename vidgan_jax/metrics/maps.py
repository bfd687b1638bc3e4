"""Does what a generator makes follow the label maps that it was given? A segmenter judges.

The thesis's measure (Egan 2019, 4.3.2): segment each generated frame, compare with the input map.
"""

import dataclasses
from typing import Any

import numpy as np

from vidgan_jax.data.labels import class_name
from vidgan_jax.data.records import ClipSource
from vidgan_jax.metrics import segmenter
from vidgan_jax.metrics.segmentation import compare_maps
from vidgan_jax.metrics.segmenter import Segmenter, Settings
from vidgan_jax.types import ClipSpec


@dataclasses.dataclass(frozen=True)
class Maps:
    """What conditional generators are given and judged by.

    Attributes:
      label_maps: uint8 `[m, h, w]`, 255 for "don't care".
      real: the examples that they are of, uint8 `[m, h, w, 3]` or clips `[m, t, h, w, 3]`.
      num_labels: classes.
      segmenter: the judge.
      made_of: how it came about.
      held_out: how well it does on a split that it has not seen; None where there is none.
    """

    label_maps: np.ndarray
    real: np.ndarray
    num_labels: int
    segmenter: Segmenter
    made_of: dict[str, Any]
    held_out: dict[str, Any] | None = None

    def conditions(self, num: int) -> np.ndarray:
        """The maps of `num` examples, uint8 `[num, h, w]`: in turn where there are fewer."""
        return self.label_maps[np.arange(num) % len(self.label_maps)]


def prepare_maps(
    source: ClipSource,
    spec: ClipSpec,
    settings: Settings,
    *,
    num: int,
    learnt: ClipSource,
    held_out: ClipSource | None = None,
) -> Maps:
    """Reads label maps, and trains a segmenter or loads it.

    Args:
      source: the clips whose maps are taken, from the first on.
      spec: how to cut them, `label_maps` on.
      settings: of the segmenter.
      num: maps at most.
      learnt: the clips that the segmenter learns from.
      held_out: others to measure it on, their first frames, `num` at most.

    Raises:
      ValueError: no label maps, or ids that are none of the classes.
    """
    for part in (source, learnt):
        segmenter.known_classes(part, settings.num_labels, settings.dont_care)
    real, label_maps = segmenter.read_labelled(source, spec, num=num)
    judge = segmenter.cached_segmenter(learnt, settings)
    made_of = {
        **dataclasses.asdict(settings),
        "version": segmenter.VERSION,
        "split": learnt.split,
        "num_params": judge.num_params,
    }
    maps = Maps(label_maps, real, settings.num_labels, judge, made_of)
    if held_out is None:
        return maps
    still = dataclasses.replace(spec, num_frames=0)
    frames, truth = segmenter.read_labelled(held_out, still, num=num)
    found, _ = compare_maps(judge(frames), truth, settings.num_labels)
    unseen = {
        "split": held_out.split,
        "pixel_accuracy": found.pixel_accuracy,
        "mean_iou": found.mean_iou,
    }
    return dataclasses.replace(maps, held_out=unseen)


def agreements(examples: np.ndarray, maps: Maps) -> dict[str, Any]:
    """How well generated examples, and the real ones, agree with their label maps.

    Args:
      examples: generated from `maps.conditions`, uint8 `[n, h, w, 3]` or `[n, t, h, w, 3]`.
      maps: what they were generated from.

    Returns:
      What can be written as JSON.
    """
    return {
        "segmenter": maps.made_of,
        "held_out": maps.held_out,
        "num_maps": len(maps.label_maps),
        "generated": _agreement(examples, maps),
        "real": _agreement(maps.real, maps),
    }


def _agreement(examples: np.ndarray, maps: Maps) -> dict[str, Any]:
    seen = maps.segmenter(examples, progress=True)
    truth = maps.conditions(len(examples))
    found, by_frame = compare_maps(seen, truth, maps.num_labels)
    totals = dataclasses.asdict(found)
    del totals["iou"], totals["share"]
    classes = {
        class_name(i): {"id": i, "iou": iou, "share": found.share[i]}
        for i, iou in found.iou.items()
    }
    return totals | {"classes": classes, "accuracy_by_frame": list(by_frame) or None}

"""Do generated frames follow the label maps that they were made from? A segmenter judges.

The measure of semantic image synthesis: each frame is segmented, and compared with the map it was
generated from; real frames are compared with their own maps in the same way, which shows what the
judge itself gets wrong.

Source: Isola et al. 2017, arXiv:1611.07004, 3.3; Park et al. 2019, arXiv:1903.07291, section 4;
Egan 2019 (MIT thesis), 4.3.3 and 4.3.4, whose mean IoU is of the classes of 1 % or more.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from vidgan_jax.data.labels import DONT_CARE, check_num_labels, class_name
from vidgan_jax.evaluation.measure import FAKES, LABELLED, Observation, Part, ScoreTable
from vidgan_jax.metrics.label_counts import (
    LabelCounts,
    count_labels,
    image_accuracies,
    image_mean_ious,
)
from vidgan_jax.metrics.segmentation import (
    class_iou,
    frequent_classes,
    mean_iou_of,
    pixel_accuracy,
)
from vidgan_jax.segmentation.interface import SegmentFrames
from vidgan_jax.segmentation.judge import check_knows

NAME = "agreement"
# Goes up when the same frames would get other counts.
_VERSION = 1

THESIS_CLASSES = (2, 4, 9, 16, 17, 21, 26, 34, 46, 60)
"""The ten classes of 1 % or more of all Nature Videos (Egan 2019, table 4.1), sky to river."""


class Agreement:
    """Pixel accuracy and IoU of segmented frames against label maps.

    Over the whole set, as the field's tables have them: the IoU of a class is that of all its
    pixels. Means over images are figures of their own.

    Args:
      judge: segments frames.
      num_labels: classes of the label maps, ids 0 to `num_labels` - 1.
      min_share: of the labelled pixels of the real examples' maps, from which on a class counts in
        the headline's mean IoU; 0 for every class that they have.
      made_of: what the judge is; JSON, with a "summary" for people.
      held_out: how well it does on a split that is held out, see `metrics.maps.measure_judge`;
        None where that is not known.
      classes: ids that count, instead of `min_share`; those that no map has are left out.

    Raises:
      ValueError: the judge may give other ids, or a number is out of range.
    """

    name = NAME
    streams = (FAKES, LABELLED)

    def __init__(
        self,
        judge: SegmentFrames,
        num_labels: int,
        *,
        min_share: float,
        made_of: Mapping[str, Any],
        held_out: Mapping[str, Any] | None = None,
        classes: Sequence[int] | None = None,
    ):
        check_num_labels(num_labels)
        if not 0 <= min_share < 1:
            raise ValueError(f"min_share (={min_share}) must be from 0 to below 1")
        check_knows(judge, num_labels)
        wrong = classes is not None and any(not 0 <= i < num_labels for i in classes)
        if classes is not None and (wrong or not classes):
            raise ValueError(
                f"classes (={list(classes)}) must be ids from 0 to {num_labels - 1}, one at least"
            )
        self._judge = judge
        self._num_labels = num_labels
        self._min_share = min_share
        self._made_of = dict(made_of)
        self._held_out = None if held_out is None else dict(held_out)
        self._classes = None if classes is None else tuple(sorted(set(classes)))

    def settings(self) -> Mapping[str, Any]:
        """What decides the counts. `min_share` and `classes` don't: they choose among them."""
        return {
            "version": _VERSION,
            "judge": self._judge.identity,
            "judge_classes": list(self._judge.classes),
            "num_labels": self._num_labels,
            "dont_care": DONT_CARE,
        }

    def observe(self, part: Part) -> Observation:
        """Segments a part's frames, and counts.

        Raises:
          ValueError: there are no label maps, they are of another size than the frames or have a
            class that the judge does not know, or the judge can't take frames of this size.
        """
        clips, label_maps = part.clips, part.label_maps
        if label_maps is None:
            raise ValueError(f"{NAME} needs the label map of each example, and there are none")
        if label_maps.shape != (len(clips), *clips.shape[2:4]):
            raise ValueError(
                f"label maps {list(label_maps.shape)} are not of the size of their frames, "
                f"{list(clips.shape)}; resize maps (to the nearest pixel's id) as frames are"
            )
        check_knows(self._judge, self._num_labels, np.unique(label_maps).tolist())
        counts = count_labels(label_maps, self._judge(clips), self._num_labels)
        rows = {"labelled": counts.labelled, "predicted": counts.predicted, "right": counts.right}
        return Observation(rows=rows, sums={"matrices": counts.matrices})

    def conclude(self, seen: Mapping[str, Observation]) -> Mapping[str, Any]:
        """The scores, from 0 to 1: "generated" and "real", and of which classes.

        Which classes count is decided by the maps of the real examples, for both.

        Raises:
          ValueError: no pixel has a class.
        """
        fakes, real = (
            LabelCounts(**seen[stream].rows, matrices=seen[stream].sums["matrices"])
            for stream in self.streams
        )
        num_pixels = real.labelled.sum(axis=0, dtype=np.int64)
        present = frequent_classes(num_pixels, min_share=0)
        counted = frequent_classes(num_pixels, min_share=self._min_share)
        if self._classes is not None:
            counted = tuple(i for i in self._classes if i in present)
        return {
            "segmenter": self._made_of,
            "held_out": self._held_out,
            "num_labels": self._num_labels,
            "num_maps": len(real.labelled),
            "min_share": None if self._classes else self._min_share,
            "classes_asked_for": None if self._classes is None else list(self._classes),
            "classes_counted": [{"id": i, "name": class_name(i)} for i in counted],
            "label_offset_suspected": _suspected_offset(real.matrices.sum(axis=0)),
            "generated": _scores(fakes, counted),
            "real": _scores(real, counted),
        }

    def headline(self, found: Mapping[str, Any]) -> Mapping[str, float]:
        """Mean IoU and pixel accuracy of the generated frames, in per cent."""
        generated = found["generated"]
        shown = {"mIoU": generated["mean_iou"], "pixel accuracy": generated["pixel_accuracy"]}
        return {name: 100 * value for name, value in shown.items() if value is not None}

    def tables(self, found: Mapping[str, Any]) -> Sequence[ScoreTable]:
        """All classes together, and each that counts."""
        return _summary(found), _by_class(found)


def _scores(counts: LabelCounts, counted: tuple[int, ...]) -> dict[str, Any]:
    matrix = counts.matrices.sum(axis=0)
    num_pixels = matrix.sum(axis=1)
    iou, share = class_iou(matrix), num_pixels / max(1, int(num_pixels.sum()))
    present = frequent_classes(num_pixels, min_share=0)
    found = [i for i in range(len(iou)) if not math.isnan(iou[i])]
    return {
        "num_examples": len(counts.labelled),
        "num_pixels": int(num_pixels.sum()),
        "pixel_accuracy": pixel_accuracy(matrix),
        "mean_iou": mean_iou_of(matrix, counted) if counted else None,
        "mean_iou_present": mean_iou_of(matrix, present),
        "images": _image_scores(counts, counted),
        **_by_frame(counts.matrices, counted),
        "classes": {
            class_name(i): {"id": i, "iou": float(iou[i]), "share": float(share[i])} for i in found
        },
    }


def _by_frame(matrices: np.ndarray, counted: tuple[int, ...]) -> dict[str, Any]:
    """Curves over the clips' frames, first to last; None for images."""
    if len(matrices) == 1:
        return {"accuracy_by_frame": None, "mean_iou_by_frame": None}
    ious = [mean_iou_of(each, counted) for each in matrices] if counted else None
    return {
        "accuracy_by_frame": [pixel_accuracy(each) for each in matrices],
        "mean_iou_by_frame": ious,
    }


def _image_scores(counts: LabelCounts, counted: tuple[int, ...]) -> dict[str, Any]:
    """Means over frames; of mean IoU, over those whose map has a class that counts."""
    accuracies, ious = image_accuracies(counts), image_mean_ious(counts, counted)
    scored = ~np.isnan(ious)
    return {
        "num": int(np.count_nonzero(~np.isnan(accuracies))),
        "pixel_accuracy": float(np.nanmean(accuracies)),
        "num_with_classes": int(np.count_nonzero(scored)),
        "mean_iou": float(ious[scored].mean()) if scored.any() else None,
    }


def _suspected_offset(matrix: np.ndarray) -> int | None:
    """What to add to a judge's ids, as it seems: real frames agree better with it; else None."""
    best = max((0, 1, -1), key=lambda offset: int(np.trace(matrix, -offset)))
    return best or None


def _summary(found: Mapping[str, Any]) -> ScoreTable:
    num_present = sum(c["share"] > 0 for c in found["real"]["classes"].values())
    num_counted = len(found["classes_counted"])
    if found["classes_asked_for"] is not None:
        chosen = f"{num_counted} of {len(found['classes_asked_for'])} chosen"
    elif found["min_share"]:
        chosen = f"{num_counted} of ≥ {100 * found['min_share']:g} %"
    else:
        chosen = f"all {num_counted}"
    rows = []
    for key, name in (("generated", "generated"), ("real", "real, of these maps")):
        side = found[key]
        values = (
            side["pixel_accuracy"],
            side["mean_iou"],
            side["mean_iou_present"],
            side["images"]["pixel_accuracy"],
            side["images"]["mean_iou"],
        )
        rows.append((name, *map(_per_cent, values)))
    return ScoreTable(
        f"segmented frames against {found['num_maps']} label maps, %",
        (
            "",
            "pixel accuracy",
            f"mIoU ({chosen})",
            f"mIoU (all {num_present} present)",
            "accuracy, mean of images",
            "mIoU, mean of images",
        ),
        rows,
        _caption(found),
    )


def _by_class(found: Mapping[str, Any]) -> ScoreTable:
    generated, real = (found[side]["classes"] for side in ("generated", "real"))
    names = [each["name"] for each in found["classes_counted"]]
    rows = [
        (
            name,
            str(real[name]["id"]),
            *(_per_cent(n) for n in (real[name]["share"], generated[name]["iou"])),
            _per_cent(real[name]["iou"]),
        )
        for name in sorted(names, key=lambda name: -real[name]["share"])
    ]
    columns = ("class", "id", "share", "IoU, generated", "IoU, real")
    return ScoreTable("classes, % of the labelled pixels and IoU in %", columns, rows)


def _caption(found: Mapping[str, Any]) -> str:
    made_of, held_out = found["segmenter"], found["held_out"]
    told = [f"by {made_of.get('summary', 'a segmenter')}"]
    if held_out:
        told.append(f"{held_out['pixel_accuracy']:.1%} right in the split {held_out['split']!r}")
    if not found["classes_counted"]:
        told.append("no class counts in the first mIoU: lower --min-share")
    if offset := found["label_offset_suspected"]:
        told.append(
            f"real frames agree better with its ids {offset:+d}: does it count classes otherwise "
            "(label_offset)?"
        )
    return "; ".join(told)


def _per_cent(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.2f}"

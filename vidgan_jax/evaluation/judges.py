"""Who judges label maps: a segmenter of the user's, the package's own, or one that is trained."""

import dataclasses
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vidgan_jax.data.collection import Clips
from vidgan_jax.data.sources import open_source
from vidgan_jax.experiment import Experiment
from vidgan_jax.metrics.maps import measure_judge
from vidgan_jax.segmentation import judge, loading, small
from vidgan_jax.segmentation.interface import SegmentFrames
from vidgan_jax.segmentation.judge import Wanted
from vidgan_jax.types import ClipSpec

HELD_OUT = "validation"
# Of judges that were measured, by identity, data set, cut and number.
_MEASURED: dict[tuple[Any, ...], dict[str, Any]] = {}


@dataclasses.dataclass(frozen=True)
class Judged:
    """A segmenter, and what the report tells of it.

    Attributes:
      judge: segments frames.
      made_of: how it came about.
      held_out: how well it does on a split that it has not learnt; None where there is none.
    """

    judge: SegmentFrames
    made_of: Mapping[str, Any]
    held_out: Mapping[str, Any] | None


def find_judge(
    exp: Experiment,
    folder: Path,
    maps_source: Clips,
    spec: ClipSpec,
    where: str,
    num_steps: int | None,
    *,
    num_held_out: int = 512,
) -> Judged:
    """The segmenter that is asked for; else the package's own where it fits, else a trained one.

    One that is trained learns from the split that the checkpoint was trained on, always in the same
    way, once: scores of one data set and size compare with one another.

    Args:
      exp: of the generator.
      folder: of the data set.
      maps_source: the clips whose label maps are compared with.
      spec: how frames are cut from them, at the size at which they are judged.
      where: a segmenter, as `segmentation.loading.load` takes it; "" leaves the choice.
      num_steps: train one for so many steps in any case; None does not.
      num_held_out: frames of a held-out split that the judge itself is measured on, at most.

    Raises:
      ValueError: there is no such segmenter, or the label maps are others than the checkpoint's.
    """
    data = exp.config.data
    wanted = Wanted(spec.size, spec.resize, exp.config.model.num_labels, data.dont_care)
    label_ids = judge.known_classes(maps_source, wanted.num_labels, wanted.dont_care)
    if where:
        if num_steps:
            raise ValueError(
                f"--segmenter {where} is taken as it is, and --segmenter-steps (={num_steps}) "
                "trains one; give one of both"
            )
        given = loading.load(where)
        judge.check_knows(given, wanted.num_labels, label_ids)
        held_out = _on_held_out(given, exp, folder, spec, num_held_out)
        return Judged(given, judge.describe_given(where, given), held_out)
    segmenter, made_of = choose_judge(open_source(folder, data.split), wanted, num_steps)
    return Judged(segmenter, made_of, _on_held_out(segmenter, exp, folder, spec, num_held_out))


def choose_judge(
    learnt: Clips, wanted: Wanted, num_steps: int | None
) -> tuple[SegmentFrames, dict[str, Any]]:
    """The package's segmenter where it fits, else one that is trained on `learnt`; says which.

    Args:
      learnt: what it would be trained on.
      wanted: what it is to judge.
      num_steps: of such a training, which is then done in any case; None leaves the choice.

    Returns:
      The segmenter, and what the report tells of it.
    """
    why = None if num_steps else judge.unfit(learnt, wanted)
    if not num_steps and why is None:
        print("judging label maps by the segmenter that comes with the package", file=sys.stderr)
        shipped = small.load(small.SCENES)
        return shipped, judge.describe(shipped, shipped=True)
    because = f"; the package's does not fit: {why}" if why else ""
    print(f"judging label maps by a segmenter trained on the data set{because}", file=sys.stderr)
    config = judge.judge_config(wanted, split=learnt.split, num_steps=num_steps or judge.NUM_STEPS)
    trained = judge.cached_segmenter(learnt, config)
    return trained, judge.describe(trained, shipped=False)


def _on_held_out(
    segmenter: SegmentFrames, exp: Experiment, folder: Path, spec: ClipSpec, num: int
) -> dict[str, Any] | None:
    """How well a judge does on the real frames of a split that training has not seen.

    It is measured once for all checkpoints of a sweep.
    """
    learnt = open_source(folder, exp.config.data.split)
    splits = learnt.info.splits
    if learnt.split == HELD_OUT or HELD_OUT not in splits:
        return None
    if not splits[HELD_OUT].num_label_maps:
        return None
    key = (segmenter.identity, learnt.info.checksum, spec, num)
    if key not in _MEASURED:
        unseen, num_labels = open_source(folder, HELD_OUT), exp.config.model.num_labels
        _MEASURED[key] = measure_judge(segmenter, unseen, spec, num_labels, num=num)
    return _MEASURED[key]

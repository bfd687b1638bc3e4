"""The segmenter that judges generated frames: the package's own, or one trained on the data set."""

import dataclasses
import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from vidgan_jax.data.collection import Clips
from vidgan_jax.data.labels import DONT_CARE, class_name
from vidgan_jax.models.unet import most_levels
from vidgan_jax.segmentation import checkpoint, small, training
from vidgan_jax.segmentation.ade20k import Ade20kSegmenter
from vidgan_jax.segmentation.config import (
    AdamWConfig,
    FramesConfig,
    NetworkConfig,
    RunConfig,
    SegmenterConfig,
    check,
)
from vidgan_jax.segmentation.interface import SegmentFrames
from vidgan_jax.segmentation.onnx import OnnxSegmenter
from vidgan_jax.segmentation.small import Segmenter
from vidgan_jax.segmentation.training import known_classes
from vidgan_jax.train import sharding

NUM_STEPS = 400
_FEATURES = (24, 48, 64, 96)
_SCENES = "scenes"  # the recipe's name in a data set's info


@dataclasses.dataclass(frozen=True)
class Wanted:
    """What frames are to be judged.

    Attributes:
      size: height and width, pixels.
      resize: height and width of the frames that they are crops of.
      num_labels: classes of the label maps, ids 0 to `num_labels` - 1, at most 255.
      dont_care: the id of pixels of no class, beside 255.
    """

    size: int
    resize: int
    num_labels: int
    dont_care: int = DONT_CARE


def judge_config(
    wanted: Wanted, *, split: str = "train", num_steps: int = NUM_STEPS
) -> SegmenterConfig:
    """How a judge is trained on a data set of one's own.

    Args:
      wanted: what it is to judge.
      split: that it learns.
      num_steps: updates.

    Raises:
      ValueError: a number is out of range.
    """
    config = SegmenterConfig(
        name="training the segmenter",
        segmenter=NetworkConfig(
            wanted.size, _FEATURES[: most_levels(max(wanted.size, 1))], wanted.num_labels
        ),
        data=FramesConfig(
            path="",
            split=split,
            held_out="",
            resizes=(wanted.resize,),
            flip=True,
            num_workers=0,
            num_threads=2,
            num_scene_videos=1,
            num_scene_clips=1,
            num_scene_frames=1,
            scene_size=160,
            scene_seed=0,
            dont_care=wanted.dont_care,
        ),
        optimizer=AdamWConfig(learning_rate=5e-3, warm_up=0.1, weight_decay=1e-4),
        train=RunConfig(
            seed=0,
            batch_size=16,
            num_steps=num_steps,
            log_every_steps=10,
            score_every_steps=num_steps,
            score_sizes=(),
            num_scored=1,
            save_every_steps=100,
        ),
    )
    check(config)
    return config


def unfit(source: Clips, wanted: Wanted) -> str | None:
    """Why the package's segmenter does not do for a data set, in words; None where it does."""
    spec = source.info.spec
    if spec.get("recipe") != _SCENES:
        return "the data set is not of scenes"
    scenes = small.load(small.SCENES)
    learnt = scenes.trained
    resizes = learnt["config"]["data"]["resizes"]
    halved = 1 << (len(scenes.features) - 1)
    classes = known_classes(source, wanted.num_labels, wanted.dont_care)
    if unknown := sorted(set(classes) - set(scenes.classes)):
        return f"it does not know the class {unknown[0]}"
    if spec["settings"]["seed"] == learnt["data"]["spec"]["settings"]["seed"]:
        return f"it has learnt scenes of the seed {spec['settings']['seed']} itself"
    if not min(resizes) <= wanted.resize <= max(resizes):
        return (
            f"it has learnt frames of {min(resizes)} to {max(resizes)} pixels, not {wanted.resize}"
        )
    if wanted.size % halved:
        return f"it takes sizes that are multiples of {halved}, not {wanted.size}"
    return None


def cached_segmenter(source: Clips, config: SegmenterConfig, *, progress: bool = True) -> Segmenter:
    """Trains a segmenter on a split, once: later calls load what the first one has trained.

    One that is stopped goes on where it was.

    Args:
      source: the clips; what counts is what they hold, not where they lie.
      config: of the training; its `data` section is for cutting the clips.
      progress: report on stderr.

    Raises:
      ValueError: see `training.train`, or the cached file is damaged.
      FloatingPointError: the training diverged.
      KeyboardInterrupt: it was asked to stop.
    """
    folder = cache_folder(source, config)
    if not (folder / small.FILE).is_file():
        mesh = sharding.make_mesh(num_devices=1)  # the same one everywhere
        outcome = training.train(config, source, folder, mesh=mesh, show_progress=progress)
        if not outcome.finished:
            raise KeyboardInterrupt
        (folder / checkpoint.FILE).unlink(missing_ok=True)
    return small.load(folder / small.FILE)


def cache_folder(source: Clips, config: SegmenterConfig) -> Path:
    """Where `cached_segmenter` keeps one: below `$XDG_CACHE_HOME/vidgan_jax` or `~/.cache/…`."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    data = {"version": training.VERSION, "data": source.info.checksum, "split": source.split}
    made_of = json.dumps(data | dataclasses.asdict(config), sort_keys=True)
    digest = hashlib.sha256(made_of.encode()).hexdigest()
    return cache / "vidgan_jax" / "segmenters" / digest[:24]


def check_knows(segmenter: SegmentFrames, num_labels: int, label_ids: Sequence[int] = ()) -> None:
    """Refuses a segmenter that tells other classes apart than label maps do.

    Args:
      segmenter: the judge.
      num_labels: classes of the label maps.
      label_ids: those that they have.

    Raises:
      ValueError: it may give ids that are no classes of the maps, or does not know one of theirs.
    """
    known = segmenter.classes
    if known[-1] >= num_labels:
        raise ValueError(
            f"the segmenter may give the id {known[-1]}, but num_labels (={num_labels}) allows 0 "
            f"to {num_labels - 1}: it is of other classes than the label maps; where its ids are "
            "shifted or in another order, label_offset or classes of an ONNX file's .json say how"
        )
    if unknown := sorted(set(label_ids) - set(known) - {DONT_CARE}):
        raise ValueError(
            f"the label maps hold the id {unknown[0]} ({class_name(unknown[0])}), which the "
            f"segmenter does not know: its {len(known)} classes are {_ranges(known)}"
        )


def describe_given(where: str, segmenter: SegmentFrames) -> dict[str, Any]:
    """What a report tells of a judge that the user has given.

    Args:
      where: as `loading.load` takes it.
      segmenter: what it has loaded from there.
    """
    told = {
        "shipped": False,
        "summary": f"the segmenter {where.rstrip('/').rpartition('/')[2]}",
        "kind": type(segmenter).__name__,
        "identity": segmenter.identity,
        "num_classes": len(segmenter.classes),
    }
    if isinstance(segmenter, Ade20kSegmenter):
        told["scales"] = list(segmenter.scales)
    if isinstance(segmenter, OnnxSegmenter):
        told["options"] = dataclasses.asdict(segmenter.options)
        told["providers"] = segmenter.session.get_providers()
    return told


def describe(segmenter: Segmenter, *, shipped: bool) -> dict[str, Any]:
    """What a report tells of a judge.

    Args:
      segmenter: one that `training.train` has written.
      shipped: it came with the package.
    """
    config = segmenter.trained["config"]
    learnt = "other scenes" if shipped else f"the split {config['data']['split']!r}"
    return {
        "shipped": shipped,
        "summary": f"a U-Net trained for {config['train']['num_steps']} steps on {learnt}",
        "identity": segmenter.identity,
        "num_params": segmenter.num_params,
        "version": segmenter.trained["version"],
        "size": config["segmenter"]["size"],
        "num_labels": config["segmenter"]["num_labels"],
        "resizes": config["data"]["resizes"],
        "dont_care": config["data"]["dont_care"],
        "split": config["data"]["split"],
        "num_steps": config["train"]["num_steps"],
        "batch_size": config["train"]["batch_size"],
        "seed": config["train"]["seed"],
        "data": segmenter.trained["data"]["checksum"],
    }


def _ranges(ids: Sequence[int]) -> str:
    """Ascending ids in words: "0 to 3, 7"."""
    first = [i for n, i in enumerate(ids) if not n or ids[n - 1] != i - 1]
    last = [i for n, i in enumerate(ids) if n == len(ids) - 1 or ids[n + 1] != i + 1]
    return ", ".join(str(a) if a == b else f"{a} to {b}" for a, b in zip(first, last, strict=True))

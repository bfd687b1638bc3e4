"""The segmenter that judges generated frames: the package's own, or one trained on the data set."""

import dataclasses
import hashlib
import json
import os
from pathlib import Path
from typing import Any

from vidgan_jax.data.collection import Clips
from vidgan_jax.data.labels import DONT_CARE
from vidgan_jax.models.unet import most_levels
from vidgan_jax.segmentation import checkpoint, small, training
from vidgan_jax.segmentation.config import (
    AdamWConfig,
    FramesConfig,
    NetworkConfig,
    RunConfig,
    SegmenterConfig,
    check,
)
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


def describe(segmenter: Segmenter, *, shipped: bool) -> dict[str, Any]:
    """What a report tells of a judge.

    Args:
      segmenter: one that `training.train` has written.
      shipped: it came with the package.
    """
    config = segmenter.trained["config"]
    return {
        "shipped": shipped,
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

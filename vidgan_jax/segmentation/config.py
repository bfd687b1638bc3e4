"""The schema of `configs/segmenter.py`: how a small segmenter is trained.

A config that has the section `segmenter` is of this schema; all others are GANs'.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

from vidgan_jax.data.labels import DONT_CARE
from vidgan_jax.data.scenes import MIN_SIZE
from vidgan_jax.models.unet import check_halvings
from vidgan_jax.schema import at_least, make_section, shares

SECTION = "segmenter"
_EXAMPLE = "configs/segmenter.py"


@dataclasses.dataclass(frozen=True)
class NetworkConfig:
    """The network.

    Attributes:
      size: height and width that frames are cropped to in training, pixels; can be halved for
        every level but the first.
      features: channels of each level, from full resolution down.
      num_labels: classes of the label maps, ids 0 to `num_labels` - 1, at most 255. The network
        learns those of them that the data set has.
    """

    size: int
    features: tuple[int, ...]
    num_labels: int


@dataclasses.dataclass(frozen=True)
class FramesConfig:
    """The frames and label maps.

    Attributes:
      path: folder of a prepared data set; empty for embedded scenes.
      split: that is learnt.
      held_out: the split that is measured; a data set without it is not measured.
      resizes: heights and widths of frames before the random crop, pixels; every batch has as many
        frames of each, so that things are seen at all these scales.
      flip: mirror with probability ½.
      num_workers: reading processes for each of `resizes`; 0 for threads of this one.
      num_threads: reading threads for each of `resizes` (in each worker).
      num_scene_videos: embedded scenes to render where `path` is empty.
      num_scene_clips: clips of each.
      num_scene_frames: frames of each clip; they hardly differ.
      scene_size: height and width of the scenes, pixels.
      scene_seed: of the scenes. GANs learn from those of seed 0, and are judged on them.
      dont_care: the id of pixels of no class in the label maps, beside 255.
    """

    path: str
    split: str
    held_out: str
    resizes: tuple[int, ...]
    flip: bool
    num_workers: int
    num_threads: int
    num_scene_videos: int
    num_scene_clips: int
    num_scene_frames: int
    scene_size: int
    scene_seed: int
    dont_care: int = DONT_CARE


@dataclasses.dataclass(frozen=True)
class AdamWConfig:
    """Adam with decoupled weight decay; the rate rises linearly, then falls to 0 as a cosine.

    Attributes:
      learning_rate: at its highest.
      warm_up: share of the steps in which it rises.
      weight_decay: of all parameters, a step, times the rate.
    """

    learning_rate: float
    warm_up: float
    weight_decay: float


@dataclasses.dataclass(frozen=True)
class RunConfig:
    """The run.

    Attributes:
      seed: of parameters and data order.
      batch_size: frames a step, over all devices of all processes.
      num_steps: updates.
      log_every_steps: between metrics.
      score_every_steps: between measurements on the held-out split; the end is always measured.
      score_sizes: heights and widths that whole held-out frames are measured at, pixels.
      num_scored: held-out frames measured at most, each the first of its clip.
      save_every_steps: between checkpoints; the last step is always saved.
    """

    seed: int
    batch_size: int
    num_steps: int
    log_every_steps: int
    score_every_steps: int
    score_sizes: tuple[int, ...]
    num_scored: int
    save_every_steps: int


@dataclasses.dataclass(frozen=True)
class SegmenterConfig:
    """All sections; `name` is the run's, and of its default workdir."""

    name: str
    segmenter: NetworkConfig
    data: FramesConfig
    optimizer: AdamWConfig
    train: RunConfig


def describes_segmenter(raw: Mapping[str, Any]) -> bool:
    """Whether a config is a segmenter's, by its sections."""
    return SECTION in raw


def parse(raw: Mapping[str, Any]) -> SegmenterConfig:
    """Makes a checked `SegmenterConfig` of nested mappings.

    Raises:
      ValueError: an unknown, missing, mistyped or impossible field; the message names it.
    """
    config: SegmenterConfig = make_section(SegmenterConfig, raw, "config", example=_EXAMPLE)
    check(config)
    return config


def check(config: SegmenterConfig) -> None:
    """Rules that a field's type does not state.

    Raises:
      ValueError: an impossible field; the message names it.
    """
    network, data, train = config.segmenter, config.data, config.train
    at_least(1, network, SECTION, "size", "num_labels")
    at_least(1, data, "data", "num_threads", "num_scene_videos", "num_scene_clips")
    at_least(1, data, "data", "num_scene_frames")
    at_least(0, data, "data", "num_workers", "scene_seed")
    at_least(MIN_SIZE, data, "data", "scene_size")
    at_least(0, config.optimizer, "optimizer", "learning_rate", "weight_decay")
    shares(config.optimizer, "optimizer", "warm_up")
    at_least(1, train, "train", "batch_size", "num_steps", "log_every_steps", "score_every_steps")
    at_least(1, train, "train", "num_scored", "save_every_steps")
    at_least(0, train, "train", "seed")
    if train.seed >= 1 << 32:
        raise ValueError(f"config.train.seed (={train.seed}) must be below 2³², as JAX's keys are")
    for name, value in (("num_labels", network.num_labels), ("dont_care", data.dont_care)):
        where = SECTION if name == "num_labels" else "data"
        if not 0 <= value <= DONT_CARE:
            raise ValueError(f"config.{where}.{name} (={value}) must be at most {DONT_CARE}")
    _check_sizes(config)


def _check_sizes(config: SegmenterConfig) -> None:
    network, data, train = config.segmenter, config.data, config.train
    if not network.features or min(network.features) < 1:
        raise ValueError(
            f"config.segmenter.features (={network.features}) must be channels of one level or "
            "more, each at least 1"
        )
    if not data.resizes or min(data.resizes) < network.size:
        raise ValueError(
            f"config.data.resizes (={data.resizes}) must be one size or more, each at least "
            f"config.segmenter.size (={network.size}), which is cropped from it"
        )
    if train.batch_size % len(data.resizes):
        raise ValueError(
            f"config.train.batch_size (={train.batch_size}) must divide by the "
            f"{len(data.resizes)} config.data.resizes, of which each batch has as many"
        )
    for name, sizes in (
        ("segmenter.size", (network.size,)),
        ("train.score_sizes", train.score_sizes),
    ):
        for size in sizes:
            try:
                check_halvings((1, size, size, 3), len(network.features))
            except ValueError as error:
                raise ValueError(f"config.{name} (={size}): {error}") from error

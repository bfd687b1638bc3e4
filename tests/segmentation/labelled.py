"""Data with label maps, and the smallest segmenters that learn from them."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np

from tests.datasets import make_dataset
from vidgan_jax.data import records
from vidgan_jax.data.records import ClipSource
from vidgan_jax.segmentation.config import SegmenterConfig
from vidgan_jax.segmentation.judge import Wanted, judge_config
from vidgan_jax.types import ClipSpec

SIZE = 8
WANTED = Wanted(size=SIZE, resize=10, num_labels=4)
SPEC = ClipSpec(num_frames=3, stride=2, size=SIZE, resize=10, label_maps=True)


def tiny(num_steps: int = 2, **sections: dict[str, Any]) -> SegmenterConfig:
    """A narrow network's config, with changes to its sections."""
    config = judge_config(WANTED, num_steps=num_steps)
    changes: dict[str, dict[str, Any]] = {"segmenter": {"features": (4,)}}
    changes["train"] = {"batch_size": 8}
    for name in {*changes, *sections}:
        new = changes.get(name, {}) | sections.get(name, {})
        section = dataclasses.replace(getattr(config, name), **new)
        config = dataclasses.replace(config, **{name: section})
    return config


def relabelled(folder: Path, ids: dict[int, int], **spec: Any) -> ClipSource:
    """A data set of the tests with other ids in its label maps, which says it is made so."""
    made = ClipSource(make_dataset(folder / "first", size=10, label_maps=True), "train")
    table = np.arange(256).astype(np.uint8)
    for before, after in ids.items():
        table[before] = after
    with records.ShardWriter(folder / "then" / records.shard_name("train", 0, 1)) as writer:
        for i in range(len(made)):
            label_map = records.decode_label_map(made[i].label_map or b"")
            encoded = records.encode_label_map(table[label_map])
            writer.write(dataclasses.replace(made[i], label_map=encoded))
    records.finalize(folder / "then", spec=spec)
    return ClipSource(folder / "then", "train")

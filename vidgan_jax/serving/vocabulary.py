"""What a model of label maps has learned to draw: its labels, and maps to start from."""

import collections
import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from vidgan_jax import experiment, files
from vidgan_jax.config import DataConfig
from vidgan_jax.data.collection import Clips
from vidgan_jax.data.info import INFO_NAME
from vidgan_jax.data.labels import (
    CLASS_NAMES,
    DONT_CARE,
    class_name,
    resized_label_crop,
)
from vidgan_jax.data.sampling import Centre, Cut, evenly_spaced, fitting_clips
from vidgan_jax.data.scenes import SCENE_KINDS, SCENE_LABELS
from vidgan_jax.data.scenes.layout import draw_layout
from vidgan_jax.data.sources import open_source
from vidgan_jax.experiment import Experiment
from vidgan_jax.preparation.embedded import Scenes, data_folder
from vidgan_jax.train import checkpoint, storage
from vidgan_jax.train.weights import Weights
from vidgan_jax.types import ClipSpec

MAX_EXAMPLES = 8
_MAPS_READ = 48  # label maps that frequencies are counted on, and examples chosen from
_NAMED = 3  # classes in an example's name
_NAMED_SHARE = 0.02  # of a map's pixels, which a class must have for it


@dataclasses.dataclass(frozen=True)
class Vocabulary:
    """The labels that a model knows, and example maps of them.

    Attributes:
      labels: ids of classes, the most frequent in the training data first.
      examples: names and maps, uint8 `[size, size]`; all ids are of `labels`, or 255.
      said: where both are from, in words.
    """

    labels: tuple[int, ...]
    examples: tuple[tuple[str, np.ndarray], ...]
    said: str


def vocabulary_of(weights: Weights, exp: Experiment) -> Vocabulary:
    """Finds out what a model of label maps was trained on.

    The data set of its training tells, where it is at hand; embedded scenes that are not rendered
    here are laid out anew, which takes no rendering. Of other models it is not known what they have
    seen: they have all labels of their config, in ADE20K's order, which is by frequency.

    Args:
      weights: of the model.
      exp: theirs, of label maps.

    Raises:
      RecordError: the data set is at hand and damaged.
    """
    data = _trained_on(weights, exp)
    if data is None:
        said = "all labels of its config: the checkpoint does not tell what it was trained on"
        return _of_config(exp, said)
    scenes = Scenes(data.num_scene_videos, data.num_scene_clips, data.resize)
    folder = data_folder(data.path, scenes, render=False)
    if not data.path and not (folder / INFO_NAME).is_file():
        return _of_scenes(exp, "the embedded scenes that it was trained on")
    if _is_away(data.path):
        return _of_config(exp, f"all labels of its config: its data set, {folder}, is not here")
    source = open_source(data.path or folder, data.split)
    known = [i for i in source.info.label_ids if i not in (data.dont_care, DONT_CARE)]
    return _vocabulary(known, list(_read_maps(source, exp.clip_spec)), f"its data set, {folder}")


def _trained_on(weights: Weights, exp: Experiment) -> DataConfig | None:
    """The config of the data that weights were trained on; None where it can't be known."""
    data, meta = exp.config.data, weights.meta
    if data.path or not {"inflated", "converted"} & meta.keys():
        return data
    origin = _origin(meta)
    if origin is None or "converted" in origin:
        return None
    return experiment.build(origin["config"]).config.data


def _origin(meta: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """What is told of the checkpoint that weights were inflated from, where that is still there."""
    path = meta.get("inflated", {}).get("from", {}).get("path")
    if path is None or files.is_remote(path) or not checkpoint.has_checkpoint(path):
        return None
    return storage.read_json(checkpoint.find(path), "meta")


def _is_away(path: str) -> bool:
    """Whether a data set in a folder of this machine's disks has gone, or is another machine's."""
    named_otherwise = ":" in path  # a bucket, TFDS, ArrayRecords
    return bool(path) and not named_otherwise and not files.path(path).is_dir()


def _of_config(exp: Experiment, said: str) -> Vocabulary:
    known = range(exp.config.model.num_labels)
    # Beyond ADE20K's classes ids may mean anything, and no map drawn here would fit.
    maps = _drawn_maps(exp.clip_spec) if len(known) <= len(CLASS_NAMES) else ()
    return dataclasses.replace(_vocabulary(known, list(maps), said), labels=tuple(known))


def _of_scenes(exp: Experiment, said: str) -> Vocabulary:
    known = sorted(frozenset().union(*SCENE_LABELS.values()))
    return _vocabulary(known, list(_drawn_maps(exp.clip_spec)), said)


def _read_maps(source: Clips, spec: ClipSpec) -> Iterator[np.ndarray]:
    """Label maps of a split, evenly spaced, as centre crops: uint8 `[size, size]`."""
    cut = Cut(source, dataclasses.replace(spec, num_frames=0))
    clips = evenly_spaced(fitting_clips(source, spec), _MAPS_READ)
    sample = Centre(clips, spec)
    for i in range(len(clips)):
        yield np.asarray(cut(sample(i)).label_map)


def _drawn_maps(spec: ClipSpec) -> Iterator[np.ndarray]:
    """Label maps of procedural scenes, their kinds in turn: uint8 `[size, size]`."""
    margin = (spec.resize - spec.size) // 2
    whole = (spec.resize, spec.resize)
    for seed in range(_MAPS_READ):
        kind = SCENE_KINDS[seed % len(SCENE_KINDS)]
        drawn = draw_layout(seed, kind, spec.resize, light_side=1).labels
        yield resized_label_crop(drawn, whole, spec.size, margin, margin)


def _vocabulary(known: Iterable[int], maps: Sequence[np.ndarray], said: str) -> Vocabulary:
    """Orders labels by how often maps have them, and chooses examples among the maps."""
    counts = sum((np.bincount(m.ravel(), minlength=256) for m in maps), np.zeros(256, np.int64))
    labels = sorted(known, key=lambda i: (-counts[i], i))
    drawable = [m for m in maps if np.isin(m, [*labels, DONT_CARE]).all()]
    distinct = list({m.tobytes(): m for m in drawable}.values())
    chosen = evenly_spaced(np.arange(len(distinct)), MAX_EXAMPLES)
    examples = [distinct[i] for i in chosen]
    return Vocabulary(tuple(labels), tuple(zip(_names(examples), examples, strict=True)), said)


def _names(maps: Sequence[np.ndarray]) -> list[str]:
    """What people call maps: their largest classes, and a number where others are called so."""
    names = [_name(label_map) for label_map in maps]
    total, seen = collections.Counter(names), collections.Counter[str]()
    numbered = []
    for name in names:
        seen[name] += 1
        numbered.append(f"{name} ({seen[name]})" if total[name] > 1 else name)
    return numbered


def _name(label_map: np.ndarray) -> str:
    counts = np.bincount(label_map.ravel(), minlength=256)[:DONT_CARE]
    largest = np.argsort(-counts, kind="stable")[:_NAMED]
    least = _NAMED_SHARE * label_map.size
    return ", ".join(class_name(int(i)) for i in largest if counts[i] > least) or "no class"

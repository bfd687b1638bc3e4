"""What all builders share: the features of a clip, and writing them as they are stored."""

import abc
import dataclasses
import functools
import math
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

from vidgan_jax.data.records import ClipRecord, ClipSource, load_info

_ARRAY_RECORD = "array_record"


@dataclasses.dataclass(frozen=True)
class Contents:
    """What is known of a data set before it is written.

    Attributes:
      name: of the configuration, and so of its folder; other contents have another name.
      description: of the contents, for people.
      height: of the frames, pixels; None where clips differ.
      width: likewise.
      image_format: of the frames, "jpeg" or "png"; None where clips differ.
      label_maps: whether clips come with their label maps. Those that have none are left out then.
    """

    name: str
    description: str
    height: int | None
    width: int | None
    image_format: str | None
    label_maps: bool


class ClipsBuilder(tfds.core.GeneratorBasedBuilder, skip_registration=True):  # type: ignore
    """Writes clips with the features

        video            sequence of images, the bytes of the frames as they were prepared
        fps              float32, frames a second
        video_id         text, names the video that the clip is cut from
        clip_id          text, names the clip
        measures         sequence of {name: text, value: float32}
        label_map        image [h, w, 1], class ids from 0, 255 for "don't care"
        label_map_score  float32, NaN where it is not known

    the last two of which are there with label maps only.

    Args:
      contents: what is written.
      arguments: that this object was made with, for pickling.
      data_dir: TFDS's: where its data sets lie.
      version: TFDS's.
      file_format: TFDS's; "array_record", which needs no TensorFlow, if not given.
    """

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "The first."}  # noqa: RUF012 (TFDS declares it so)
    # Where TFDS looks for checksums of downloads, of which there are none. Its own property needs a
    # package that it does not install (importlib_resources).
    code_path = None

    def __init__(
        self,
        contents: Contents,
        arguments: dict[str, Any],
        *,
        data_dir: str | os.PathLike[str] | None,
        version: str | None,
        file_format: str | None,
    ):
        self._contents = contents
        self._arguments = {
            "data_dir": data_dir,
            "version": version,
            "file_format": file_format,
            **arguments,
        }
        super().__init__(
            data_dir=data_dir,
            config=tfds.core.BuilderConfig(
                name=contents.name, version=self.VERSION, description=contents.description
            ),
            version=version,
            file_format=file_format or _ARRAY_RECORD,
        )

    def __reduce__(self) -> tuple[Any, ...]:
        return (functools.partial(type(self), **self._arguments), ())

    @abc.abstractmethod
    def _data_set(self) -> Path:
        """The prepared data set, which is made now if need be."""

    def _info(self) -> tfds.core.DatasetInfo:
        features, contents = tfds.features, self._contents
        size = (contents.height, contents.width)
        image_format = contents.image_format
        described: dict[str, Any] = {
            "video": features.Sequence(
                features.Image(shape=(*size, 3), encoding_format=image_format)
            ),
            "fps": features.Scalar(np.float32),
            "video_id": features.Text(),
            "clip_id": features.Text(),
            "measures": features.Sequence({"name": features.Text(), "value": np.float32}),
        }
        if contents.label_maps:
            described["label_map"] = features.Image(shape=(*size, 1), encoding_format="png")
            described["label_map_score"] = features.Scalar(np.float32)
        return tfds.core.DatasetInfo(
            builder=self,
            description=contents.description,
            features=features.FeaturesDict(described),
            disable_shuffling=True,  # the shards' own order, which is by video
        )

    def _split_generators(
        self, dl_manager: tfds.download.DownloadManager
    ) -> dict[str, Iterator[tuple[int, dict[str, Any]]]]:
        folder = self._data_set()
        splits = load_info(folder).splits
        if self._contents.label_maps:
            splits = {name: split for name, split in splits.items() if split.num_label_maps}
        return {name: self._generate_examples(folder, name) for name in splits}

    def _generate_examples(self, folder: Path, split: str) -> Iterator[tuple[int, dict[str, Any]]]:
        source = ClipSource(folder, split)
        chosen = np.arange(len(source))
        if self._contents.label_maps:
            chosen = np.flatnonzero(source.has_label_map)
        for number, i in enumerate(chosen.tolist()):
            yield number, self._example(source[i])
        source.close()

    def _example(self, record: ClipRecord) -> dict[str, Any]:
        example: dict[str, Any] = {
            "video": list(record.frames),
            "fps": record.fps,
            "video_id": record.video_id,
            "clip_id": record.clip_id,
            "measures": [
                {"name": name, "value": value} for name, value in sorted(record.measures.items())
            ],
        }
        if self._contents.label_maps:
            score = record.label_map_score
            example["label_map"] = record.label_map
            example["label_map_score"] = math.nan if score is None else score
        return example


def configuration_name(*parts: str) -> str:
    """A name for a folder out of words, of letters, digits, dots and hyphens."""
    return "-".join(re.sub(r"[^A-Za-z0-9.]+", "-", part).strip("-.") for part in parts if part)

"""Data sets that TensorFlow Datasets has prepared, as they lie on disk: files and features.

    DATA_DIR/NAME[/CONFIG]/VERSION/dataset_info.json   splits, their files, the files' format
    DATA_DIR/NAME[/CONFIG]/VERSION/features.json       the features of a record
    DATA_DIR/NAME[/CONFIG]/VERSION/NAME-train.array_record-00000-of-00002 …

Both JSON files are protocol buffers in TFDS's own words, which it reads itself where the code of a
data set is not there. They are read here without TFDS: it takes seconds to import, and cannot load
`Video` features without TensorFlow.

Source: tensorflow_datasets/core/proto/{dataset_info,feature}.proto.
"""

import dataclasses
import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vidgan_jax import files
from vidgan_jax.data.tfexample import RecordError

_INFO, _FEATURES = "dataset_info.json", "features.json"
_VERSION = re.compile(r"\d+\.\d+\.\d+")
_FILE_NAME = "{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_X_OF_Y}"


@dataclasses.dataclass(frozen=True)
class Feature:
    """One feature of a record.

    Attributes:
      key: its name in the record: "video", or "video/frames" of a nested one.
      kind: "image" (encoded), "tensor", "text" or "class_label"; another word of TFDS's for what
        is none of these.
      rank: sequences around it, each of which adds an axis in front.
      shape: without those axes, -1 where it differs between records.
      dtype: as NumPy names it.
      encoding: of tensors: "none" (a list of numbers), "bytes" or "zlib".
    """

    key: str
    kind: str
    rank: int
    shape: tuple[int, ...] = ()
    dtype: str = ""
    encoding: str = "none"

    def __str__(self) -> str:
        shape = ", ".join("?" if size < 0 else str(size) for size in self.shape)
        described = f"{self.dtype} {self.kind} [{shape}]".strip() if self.dtype else self.kind
        return f"{self.key}: {'sequence of ' * self.rank}{described}"


@dataclasses.dataclass(frozen=True)
class PreparedFolder:
    """A data set on disk.

    Attributes:
      path: of its folder.
      file_format: "array_record", "tfrecord" …
      files: of every split, with the records that each must have.
      features: by key.
    """

    path: Path
    file_format: str
    files: Mapping[str, Mapping[Path, int]]
    features: Mapping[str, Feature]


def find_folder(name: str, data_dir: str | os.PathLike[str] | None = None) -> Path:
    """The folder of a data set.

    Args:
      name: NAME[/CONFIG][:VERSION]; the newest version where none is given, the only configuration
        where there is but one. Or the folder itself.
      data_dir: where data sets lie; None for `$TFDS_DATA_DIR`, or ~/tensorflow_datasets.

    Raises:
      RecordError: it is not there; the message tells what is.
    """
    where = data_dir or os.environ.get("TFDS_DATA_DIR") or Path.home() / "tensorflow_datasets"
    files.refuse_remote(where, "tfds: reads disks only; copy the data sets to one")
    root = Path(where)
    plain, _, version = name.rpartition(":")
    folder = (root / plain / version) if plain and _VERSION.fullmatch(version) else root / name
    if (folder / _INFO).is_file():
        return folder
    found = sorted(path.parent for path in folder.glob(f"*/{_INFO}")) or sorted(
        path.parent for path in folder.glob(f"*/*/{_INFO}")
    )
    versions = [path for path in found if _VERSION.fullmatch(path.name)]
    if not versions or len({path.parent for path in versions}) > 1:
        there = [str(path.relative_to(folder)) for path in versions]
        if not there and root.is_dir():
            there = sorted(path.name for path in root.iterdir() if path.is_dir())
        raise RecordError(
            f"tfds:{name}: "
            + ("name one configuration" if versions else f"not prepared in {root}")
            + f"; there are {there or 'none'}. `tfds.data_source(NAME, data_dir=…)` prepares data "
            "sets, and ?data_dir=DIR names another place"
        )
    return max(versions, key=lambda path: tuple(map(int, path.name.split("."))))


def load_folder(folder: Path) -> PreparedFolder:
    """Reads what a folder says of itself.

    Raises:
      RecordError: one of its two JSON files is missing, damaged, or of a kind not known here.
    """
    info = _load(folder / _INFO)
    try:
        file_format = info.get("fileFormat") or "tfrecord"
        files = {
            split["name"]: _files(folder, info["name"], file_format, split)
            for split in info["splits"]
        }
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise RecordError(f"{folder / _INFO}: damaged, or not TFDS's ({error!r})") from error
    tree = _load(folder / _FEATURES)
    try:
        features = {feature.key: feature for feature in _flat(tree, "", 0)}
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise RecordError(
            f"{folder / _FEATURES}: damaged, or by too old a TFDS ({error!r}); prepare the data "
            "set again"
        ) from error
    return PreparedFolder(folder, file_format, files, features)


def _load(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise RecordError(
            f"{path}: cannot be read ({error}); prepare the data set again"
        ) from error
    if not isinstance(value, dict):
        raise RecordError(f"{path}: damaged, not a JSON object; prepare the data set again")
    return value


def _files(
    folder: Path, dataset: str, file_format: str, split: Mapping[str, Any]
) -> dict[Path, int]:
    lengths = [int(length) for length in split["shardLengths"]]
    template = split.get("filepathTemplate") or _FILE_NAME
    found = {}
    for number, length in enumerate(lengths):
        name = template.replace("${", "{").format(
            DATASET=dataset,
            SPLIT=split["name"],
            FILEFORMAT=file_format,
            SHARD_INDEX=f"{number:05d}",
            NUM_SHARDS=f"{len(lengths):05d}",
            SHARD_X_OF_Y=f"{number:05d}-of-{len(lengths):05d}",
        )
        if length:
            found[folder / name] = length
    return found


def _flat(node: Mapping[str, Any], key: str, rank: int) -> list[Feature]:
    """All features below a node of the tree."""
    if "featuresDict" in node:
        inner = node["featuresDict"]["features"]
        return [
            feature
            for name, child in sorted(inner.items())
            for feature in _flat(child, f"{key}/{name}" if key else name, rank)
        ]
    if "sequence" in node:
        return _flat(node["sequence"]["feature"], key, rank + 1)
    if "video" in node:
        shape = _shape(node["video"])[1:]
        return [Feature(key, "image", rank + 1, shape, node["video"].get("dtype", "uint8"))]
    if "image" in node:
        dtype = node["image"].get("dtype", "uint8")
        return [Feature(key, "image", rank, _shape(node["image"]), dtype)]
    if "tensor" in node:
        tensor = node["tensor"]
        encoding = tensor.get("encoding", "none")
        return [Feature(key, "tensor", rank, _shape(tensor), tensor["dtype"], encoding)]
    if "text" in node:
        return [Feature(key, "text", rank)]
    if "classLabel" in node:
        return [Feature(key, "class_label", rank, (), "int64")]
    return [Feature(key, node["pythonClassName"].rsplit(".", 1)[-1], rank)]


def _shape(node: Mapping[str, Any]) -> tuple[int, ...]:
    return tuple(int(size) for size in node.get("shape", {}).get("dimensions", ()))

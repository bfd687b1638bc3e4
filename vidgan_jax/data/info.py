"""A data set's info.json: written from its shards' indexes, loaded, compared with them."""

import dataclasses
import functools
import hashlib
import json
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from vidgan_jax import files
from vidgan_jax.data import labels, shards
from vidgan_jax.data.shards import REBUILD, ShardIndex, load_index, rebuild_index
from vidgan_jax.data.tfexample import RecordError

INFO_NAME = "info.json"
FORMAT = "vidgan_jax clips"
VERSION = 1
_LOADED_AT_ONCE = 32

_SHARD_NAME = re.compile(
    r"(?P<split>[A-Za-z0-9_]+)-(?P<number>\d{5})-of-(?P<count>\d{5})\.tfrecord"
)


@dataclasses.dataclass(frozen=True)
class ShardInfo:
    """One shard: file name, clips, size in bytes, CRC-32C of the whole file."""

    name: str
    num_clips: int
    num_bytes: int
    crc32c: int


@dataclasses.dataclass(frozen=True)
class SplitInfo:
    """One split: counts over all its shards."""

    num_clips: int
    num_videos: int
    num_frames: int
    num_label_maps: int
    shards: tuple[ShardInfo, ...]

    @property
    def num_shards(self) -> int:
        """Number of shards."""
        return len(self.shards)


@dataclasses.dataclass(frozen=True)
class DatasetInfo:
    """What info.json says.

    Attributes:
      splits: by name.
      height: of every frame, pixels; None where clips differ.
      width: of every frame, pixels; None where clips differ.
      fps: of every clip; None where clips differ.
      image_format: "jpeg" or "png"; None where clips differ.
      label_ids: class ids that occur in the label maps, ascending, without 255.
      spec: how the data set was made, as given to `finalize`.
      checksum: SHA-256 over names, sizes and CRCs of the shards; tells data sets apart.
    """

    splits: Mapping[str, SplitInfo]
    height: int | None
    width: int | None
    fps: float | None
    image_format: str | None
    label_ids: tuple[int, ...]
    spec: Mapping[str, Any]
    checksum: str


def shard_name(split: str, number: int, count: int) -> str:
    """File name of shard `number` (from 0) of `count`: train-00003-of-00128.tfrecord.

    Raises:
      ValueError: a number out of range, or a split that is not of letters, digits and underscores.
    """
    name = f"{split}-{number:05d}-of-{count:05d}{shards.SHARD_SUFFIX}"
    if not 0 <= number < count or not _SHARD_NAME.fullmatch(name):
        raise ValueError(
            f"no shard {number} of {count} in split {split!r}: numbers count from 0 to 99998, and "
            "a split's name is of letters, digits and underscores"
        )
    return name


def finalize(
    directory: str | os.PathLike[str], *, spec: Mapping[str, Any] | None = None
) -> DatasetInfo:
    """Writes info.json from the indexes of all shards in a folder; the last step of preparing.

    Args:
      directory: holds complete sets of shards, `shard_name(split, 0 … n-1, n)`, of any splits.
      spec: how the data set was made; must be JSON-able.

    Returns:
      What was written.

    Raises:
      RecordError: no shards, a set of shards that is not complete, a missing or stale index.
    """
    directory = files.path(directory)
    indexes = {path: load_index(path) for path in find_shards(directory)}
    info = summarize(indexes, spec or {})
    header = {"format": FORMAT, "version": VERSION}
    files.write_json(directory / INFO_NAME, header | dataclasses.asdict(info))
    return info


def summarize(indexes: Mapping[Path, ShardIndex], spec: Mapping[str, Any]) -> DatasetInfo:
    """What info.json says of shards.

    Args:
      indexes: of all shards, by path.
      spec: how the data set was made.

    Raises:
      RecordError: a set of shards is not complete.
    """
    named = {
        split: {path.name: indexes[path] for path in paths}
        for split, paths in _by_split(indexes).items()
    }
    return summarize_splits(named, spec)


def summarize_splits(
    indexes: Mapping[str, Mapping[str, ShardIndex]], spec: Mapping[str, Any]
) -> DatasetInfo:
    """What there is to say of splits.

    Args:
      indexes: of the files of every split, by name of the file.
      spec: how the data set was made.
    """
    splits = {}
    for split, files_of_split in indexes.items():
        rows = list(files_of_split.values())
        splits[split] = SplitInfo(
            num_clips=sum(map(len, rows)),
            num_videos=len({video for index in rows for video in index.video_id.tolist()}),
            num_frames=sum(int(index.num_frames.sum()) for index in rows),
            num_label_maps=sum(int(index.has_label_map.sum()) for index in rows),
            shards=tuple(
                ShardInfo(name, len(index), int(index.shard_bytes), int(index.shard_crc32c))
                for name, index in files_of_split.items()
            ),
        )
    rows = [index for files_of_split in indexes.values() for index in files_of_split.values()]
    fps = _common(index.fps for index in rows)
    return DatasetInfo(
        splits=splits,
        height=_common(index.height for index in rows),
        width=_common(index.width for index in rows),
        fps=None if fps is None else float(str(np.float32(fps))),  # 29.97, not 29.96999931…
        image_format=_common(index.image_format for index in rows),
        label_ids=tuple(sorted({int(i) for index in rows for i in index.label_ids})),
        spec=dict(spec),
        checksum=_checksum(splits),
    )


def load_info(directory: str | os.PathLike[str]) -> DatasetInfo:
    """Loads a data set's info.json.

    Raises:
      RecordError: no such folder, an empty one, no data set, of another format version, damaged.
    """
    directory = files.path(directory)
    path = directory / INFO_NAME
    try:
        text = files.read_bytes(path)
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError) as error:
        raise RecordError(f"data set {directory}: {_why_no_info(directory)}") from error
    try:
        fields = json.loads(text)
        if fields.pop("format") != FORMAT:
            raise ValueError(f"`format` is not {FORMAT!r}")
        version = fields.pop("version")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        why = type(error).__name__ if isinstance(error, UnicodeDecodeError) else repr(error)
        raise RecordError(
            f"{path}: damaged, or not the info of a data set of clips ({why}); "
            f"{_rebuild(directory)}"
        ) from error
    if version != VERSION:
        raise RecordError(
            f"{path}: format version {version!r}, but this vidgan_jax reads version {VERSION}; "
            "prepare the data set again, or update vidgan_jax"
        )
    try:
        info = _info_from_json(fields)
    except (TypeError, KeyError, AttributeError) as error:
        raise RecordError(f"{path}: damaged ({error!r}); {_rebuild(directory)}") from error
    if info.checksum != _checksum(info.splits):
        raise RecordError(
            f"{path}: damaged or edited, its checksum does not match its list of shards; "
            f"{_rebuild(directory)}"
        )
    return info


def check_label_ids(
    info: DatasetInfo,
    num_labels: int,
    dont_care: int = labels.DONT_CARE,
    *,
    where: str = "data set",
) -> None:
    """Refuses a data set whose label maps hold ids of no class, before any of it is read.

    Args:
      info: of the data set.
      num_labels: classes that the model knows.
      dont_care: an id that means no class, as 255 does.
      where: names the data set in the error.

    Raises:
      ValueError: names the data set, the first such id and `num_labels`.
    """
    try:
        labels.known_ids(np.array(info.label_ids, np.int64), num_labels, dont_care)
    except ValueError as error:
        raise ValueError(
            f"{where} {error}; set config.model.num_labels to the data's classes, or "
            "config.data.dont_care to that id"
        ) from error


def rebuild(directory: str | os.PathLike[str]) -> DatasetInfo:
    """Rebuilds the index of every shard and info.json, keeping info.json's `spec`.

    Raises:
      RecordError: a shard that cannot be read whole; the message names shard and record.
    """
    directory = files.path(directory)
    try:
        spec = load_info(directory).spec
    except RecordError:
        spec = {}  # Nothing readable to keep; finalize complains where there is no data set at all.
    for path in find_shards(directory):
        rebuild_index(path)
    return finalize(directory, spec=spec)


def find_shards(directory: Path) -> list[Path]:
    """All shards in a folder, sorted.

    Raises:
      RecordError: there is no such folder, or no shard in it.
    """
    if not directory.is_dir():
        raise RecordError(f"data set {directory}: no such folder")
    paths = sorted(path for path in directory.iterdir() if _SHARD_NAME.fullmatch(path.name))
    if not paths:
        raise RecordError(f"data set {directory}: {_why_no_info(directory)}")
    return paths


def _by_split(paths: Iterable[Path]) -> dict[str, list[Path]]:
    """Groups shards by split; an error where a split's set is not complete."""
    splits: dict[str, list[Path]] = {}
    for path in paths:
        splits.setdefault(path.name.rsplit("-", 3)[0], []).append(path)
    for split, found in splits.items():
        count = int(found[0].name[-len("00000.tfrecord") :][:5])
        expected = {shard_name(split, number, count) for number in range(count)}
        names = {path.name for path in found}
        if names != expected:
            raise RecordError(
                f"data set {found[0].parent}: the shards of split {split!r} are not one complete "
                f"set of {count}: missing {sorted(expected - names)[:3]}, left over "
                f"{sorted(names - expected)[:3]}; remove what is left over, or prepare again"
            )
    return splits


def _why_no_info(directory: Path) -> str:
    if not directory.is_dir():
        kind = "is a file, not a folder" if directory.exists() else "does not exist"
        return f"the folder {kind}"
    names = sorted(path.name for path in directory.iterdir() if not path.name.startswith("."))
    if not names:
        return "the folder is empty; fill it with `python -m vidgan_jax.prepare`"
    if any(_SHARD_NAME.fullmatch(name) for name in names):
        return f"there are shards but no {INFO_NAME}, preparing did not end; {_rebuild(directory)}"
    return (
        f"no {INFO_NAME} and no shards (found {', '.join(names[:3])}"
        f"{' …' if names[3:] else ''}); make a data set with `python -m vidgan_jax.prepare`"
    )


def _rebuild(directory: Path) -> str:
    return REBUILD.format(directory=directory)


def _common(columns: Iterable[np.ndarray]) -> Any:
    """The one value that all rows have, or None."""
    values = {value for column in columns for value in np.unique(column).tolist()}
    return values.pop() if len(values) == 1 else None


def _checksum(splits: Mapping[str, SplitInfo]) -> str:
    lines = sorted(
        f"{shard.name} {shard.num_bytes} {shard.crc32c:08x}\n"
        for split in splits.values()
        for shard in split.shards
    )
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def _info_from_json(fields: dict[str, Any]) -> DatasetInfo:
    splits = {
        name: SplitInfo(**split | {"shards": tuple(ShardInfo(**s) for s in split["shards"])})
        for name, split in fields["splits"].items()
    }
    label_ids = tuple(fields["label_ids"])
    return DatasetInfo(**fields | {"splits": splits, "label_ids": label_ids})


def load_all_listed(directory: Path, shards: Sequence[ShardInfo]) -> list[ShardIndex]:
    """`load_listed` of several shards; of a bucket many at once, since each has to be waited for.

    Raises:
      RecordError: see `load_listed`.
    """
    load = functools.partial(load_listed, directory)
    if not files.is_remote(directory):
        return list(map(load, shards))
    with ThreadPoolExecutor(_LOADED_AT_ONCE) as threads:
        return list(threads.map(load, shards))


def load_listed(directory: Path, shard: ShardInfo) -> ShardIndex:
    """Loads the index of a shard that info.json lists; an error where they differ."""
    index = load_index(directory / shard.name)
    known = ShardInfo(shard.name, len(index), int(index.shard_bytes), int(index.shard_crc32c))
    if known != shard:
        raise RecordError(
            f"{directory / shard.name}: {INFO_NAME} is stale, it lists {shard}, but the index says "
            f"{known}; {_rebuild(directory)}"
        )
    return index

"""ArrayRecord files of clips: read at random, and written from a prepared data set.

The records are those of our shards, serialized `tf.train.Example`s (`clip_record`). Beside a file
that `write` has made lies its index, as beside a shard; other files are read once for theirs.

ArrayRecord is Grain's own file format: https://github.com/google/array_record.
"""

import dataclasses
import glob
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import google_crc32c
import numpy as np
from array_record.python import array_record_module

from vidgan_jax import files
from vidgan_jax.data.collection import IndexedClips, IndexedFile, parse_named
from vidgan_jax.data.indexing import find_indexes
from vidgan_jax.data.info import load_info, load_listed, summarize_splits
from vidgan_jax.data.record_files import OpenFiles, TFRecordFiles
from vidgan_jax.data.shards import SHARD_SUFFIX, ShardIndex, index_path
from vidgan_jax.data.tfexample import DatasetError, RecordError
from vidgan_jax.progress import ProgressReport

SUFFIX = ".array_record"

# Frames are compressed already; one record a group, so that a read costs no more than its record.
_WRITING = "group_size:1,uncompressed"
_RANDOM_ACCESS = "readahead_buffer_size:0,max_parallelism:0"
_BUFFER_BYTES = 1 << 15
_READ_AT_ONCE = 16

# train-00000-of-00002.array_record, as here; NAME-train.array_record-00000-of-00002, as in TFDS.
_NAME = re.compile(
    r"(?P<stem>[^.].*?)(?:-(?P<number>\d{5})-of-(?P<count>\d{5}))?\.array_record"
    r"(?:-(?P<last_number>\d{5})-of-(?P<last_count>\d{5}))?"
)


class ArrayRecordFiles:
    """Reads ArrayRecord files: `RecordFiles`; an offset is a record's number."""

    def __init__(self) -> None:
        self._open = OpenFiles(_open_reader)

    def scan(self, path: Path) -> Iterator[tuple[int, bytes | memoryview]]:
        """See `RecordFiles`."""
        reader = self._open.get(path)
        num_records = reader.num_records()
        for first in range(0, num_records, _READ_AT_ONCE):
            numbers = range(first, min(first + _READ_AT_ONCE, num_records))
            yield from zip(numbers, _read(reader, numbers, path.name), strict=True)

    def read(self, path: Path, offset: int, length: int, where: str) -> bytes | memoryview:
        """See `RecordFiles`."""
        payload = _read(self._open.get(path), [offset], path.name)[0]
        if len(payload) != length:
            raise RecordError(
                f"{where}: the record is {len(payload)} bytes long, but its index says {length}"
            )
        return payload

    def locate(self, name: str, number: int, offset: int) -> str:
        """See `RecordFiles`."""
        return f"{name}, record {number}"

    def close(self) -> None:
        """See `RecordFiles`."""
        self._open.clear()


def _open_reader(path: Path) -> Any:
    if not path.is_file():
        raise DatasetError(f"{path}: no such file; restore it")
    reader = array_record_module.ArrayRecordReader(
        str(path), options=_RANDOM_ACCESS, file_reader_buffer_size=_BUFFER_BYTES
    )
    if not reader.ok():
        try:
            reader.close()  # says what is wrong
        except RuntimeError as error:
            raise DatasetError(f"{path}: truncated, or no ArrayRecord file ({error})") from error
    return reader


def _read(reader: Any, numbers: Sequence[int], name: str) -> list[bytes]:
    """Records of an open file, by number."""
    try:
        payloads: list[bytes] = reader.read(list(numbers))
    except (RuntimeError, IndexError) as error:
        if len(numbers) > 1:  # which one?
            return [_read(reader, [number], name)[0] for number in numbers]
        if isinstance(error, RuntimeError) and "Corrupted" not in str(error):  # the disk, say
            raise DatasetError(f"{name}, record {numbers[0]}: cannot be read ({error})") from error
        raise RecordError(f"{name}, record {numbers[0]}: corrupted data ({error})") from error
    return payloads


class ArrayRecordClips(IndexedClips):
    """Random access to the clips of one split in ArrayRecord files: `Clips`.

    Args:
      where: a folder, a file, or a pattern of files with `*`, `?` or `**`.
      split: taken are the files that have it in their names, SPLIT-00000-of-00002.array_record or
        NAME-SPLIT.array_record-00000-of-00002. Where no name is of either kind, all are.

    Raises:
      RecordError: no such files, some of a numbered set are missing, or one cannot be used.
    """

    def __init__(self, where: str | os.PathLike[str], split: str):
        reader = ArrayRecordFiles()
        indexes = {path: _index_beside(path) for path in find_files(os.fspath(where), split)}
        bare = [path for path, index in indexes.items() if index is None]
        made = find_indexes(bare, reader, parse_named, title=f"indexing arrayrecord:{where}")
        indexes |= dict(zip(bare, made, strict=True))
        indexed = [IndexedFile(path, index) for path, index in indexes.items() if index is not None]
        super().__init__(
            indexed,
            summarize_splits({split: {file.path.name: file.index for file in indexed}}, {}),
            split,
            reader=reader,
            read_clip=parse_named,
            check="restore the file, or write it again",
        )


def _index_beside(path: Path) -> ShardIndex | None:
    """The index beside a file, where there is one of just this file."""
    try:
        index = ShardIndex.read(index_path(path))
    except ValueError:
        return None
    return index if int(index.shard_bytes) == path.stat().st_size else None


def find_files(where: str, split: str) -> list[Path]:
    """The files of a split; arguments and errors are those of `ArrayRecordClips`."""
    folder = Path(where)
    paths = folder.iterdir() if folder.is_dir() else map(Path, glob.glob(where, recursive=True))
    named = {path: match for path in sorted(paths) if (match := _NAME.fullmatch(path.name))}
    if not named:
        raise RecordError(
            f"arrayrecord:{where}: no ArrayRecord files there (NAME{SUFFIX}); "
            "`vidgan_jax.data.array_records.write` makes some of a prepared data set"
        )
    splits = {path: _split(match) for path, match in named.items()}
    if any(splits.values()):
        named = {path: match for path, match in named.items() if splits[path] == split}
    if not named:
        there = sorted({name for name in splits.values() if name is not None})
        raise RecordError(f"arrayrecord:{where}: no files of split {split!r}; there are {there}")
    _check_complete(where, named)
    return list(named)


def _split(name: re.Match[str]) -> str | None:
    """The split that a file's name tells; None where it tells none."""
    return name["stem"].rsplit("-", 1)[-1] if _number(name) else None


def _number(name: re.Match[str]) -> tuple[int, int] | None:
    """(number of a file, of how many); None where its name tells none."""
    number, count = name["number"] or name["last_number"], name["count"] or name["last_count"]
    return None if number is None else (int(number), int(count))


def _check_complete(where: str, named: dict[Path, re.Match[str]]) -> None:
    if len({path.name for path in named}) < len(named):
        raise RecordError(f"arrayrecord:{where}: files of one name in several folders; name one")
    numbers = [number for match in named.values() if (number := _number(match)) is not None]
    if numbers and sorted(numbers) != [(n, numbers[0][1]) for n in range(numbers[0][1])]:
        count = numbers[0][1]
        missing = sorted({(n, count) for n in range(count)} - set(numbers))
        raise RecordError(
            f"arrayrecord:{where}: not one complete set of {count} files: missing "
            f"{[n for n, _ in missing[:3]]}, found {[path.name for path in named][:3]}; restore "
            "what is missing, or name one set"
        )


def write(
    directory: str | os.PathLike[str], out: str | os.PathLike[str], *, progress: bool = True
) -> list[Path]:
    """Writes the clips of a prepared data set as ArrayRecord files, one a shard, with indexes.

    Args:
      directory: the data set's folder.
      out: where to; made if need be.
      progress: report on stderr.

    Returns:
      The files.

    Raises:
      RecordError: the data set is damaged.
      ValueError: `out` holds other ArrayRecord files.
      OSError: `out` cannot be written. Files that are there are whole.
    """
    directory, out = Path(directory), Path(out)
    shards = [shard for split in load_info(directory).splits.values() for shard in split.shards]
    targets = [out / f"{shard.name.removesuffix(SHARD_SUFFIX)}{SUFFIX}" for shard in shards]
    others = sorted({path.name for path in out.glob(f"*{SUFFIX}*")} - _written(targets))
    if others:
        raise ValueError(f"{out}: holds other files ({others[0]}); choose an empty folder")
    total = sum(shard.num_bytes for shard in shards)
    with ProgressReport(f"writing {out}", total=total, shown=progress) as report:
        done = 0
        for number, (shard, target) in enumerate(zip(shards, targets, strict=True)):
            _write_file(directory / shard.name, load_listed(directory, shard), target)
            done += shard.num_bytes
            last = number + 1 == len(shards)
            report.update(done, f"{number + 1} of {len(shards)} files", last=last)
    return targets


def _written(targets: list[Path]) -> set[str]:
    return {name for path in targets for name in (path.name, index_path(path).name)}


def _write_file(shard: Path, index: ShardIndex, target: Path) -> None:
    checksum = google_crc32c.Checksum()
    with files.atomic_path(target) as data, files.atomic_path(index_path(target)) as beside:
        try:
            writer = array_record_module.ArrayRecordWriter(str(data), _WRITING)
            for _, payload in TFRecordFiles().scan(shard):
                writer.write(bytes(payload))
                checksum.update(bytes(payload))
            writer.close()
        except RuntimeError as error:  # its way to tell of a full disk
            raise OSError(f"{target}: cannot be written ({error})") from error
        written = dataclasses.replace(
            index,
            offset=np.arange(len(index), dtype=np.int64),
            shard_bytes=np.array(data.stat().st_size, np.int64),
            shard_crc32c=np.array(int.from_bytes(checksum.digest(), "big"), np.uint32),
        )
        beside.write_bytes(written.to_bytes())

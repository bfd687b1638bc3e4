"""Data sets of clips: folders of TFRecord shards with an index each and one info.json.

    NAME/train-00000-of-00002.tfrecord            tf.train.Example records (`serialize`)
    NAME/train-00000-of-00002.tfrecord.index.npz  offsets, lengths, videos, frames (`ShardIndex`)
    NAME/info.json                                counts, splits, sizes, checksums (`DatasetInfo`)

This module is the way in: it also offers what `frames`, `clip_record`, `shards`, `info` define.
"""

import collections
import operator
import os
import threading
from pathlib import Path
from typing import Any

import numpy as np

from vidgan_jax.data import tfexample
from vidgan_jax.data.clip_record import ClipRecord, parse, serialize
from vidgan_jax.data.frames import (
    decode_frame,
    decode_label_map,
    encode_frames,
    encode_label_map,
    read_header,
)
from vidgan_jax.data.info import (
    DatasetInfo,
    Report,
    ShardInfo,
    SplitInfo,
    finalize,
    load_info,
    load_listed,
    rebuild,
    shard_name,
    verify,
)
from vidgan_jax.data.shards import ShardIndex, ShardWriter, index_path, load_index, rebuild_index
from vidgan_jax.data.tfexample import RecordError

__all__ = [
    "ClipRecord",
    "ClipSource",
    "DatasetInfo",
    "RecordError",
    "Report",
    "ShardIndex",
    "ShardInfo",
    "ShardWriter",
    "SplitInfo",
    "decode_frame",
    "decode_label_map",
    "encode_frames",
    "encode_label_map",
    "finalize",
    "index_path",
    "load_index",
    "load_info",
    "parse",
    "read_header",
    "rebuild",
    "rebuild_index",
    "serialize",
    "shard_name",
    "verify",
]

_MAX_OPEN_SHARDS = 128


class ClipSource:
    """Random access to the clips of one split, for Grain or by hand.

    Every read checks both CRCs. Only the index is in memory. Can be pickled (files are opened again
    where it is loaded) and read from several threads.

    Args:
      directory: the data set's folder.
      split: for example "train".

    Attributes:
      info: of the data set.
      split: as given.
      video_ids: the split's videos, sorted.
      video: int32 `[n]`, the index into `video_ids` of every clip.
      clip_ids: of every clip.
      num_frames: int32 `[n]`, frames of every clip.
      has_label_map: bool `[n]`.

    Raises:
      RecordError: no data set, no such split, a shard or index missing, damaged or stale.
    """

    def __init__(self, directory: str | os.PathLike[str], split: str):
        self._directory = Path(directory)
        self.info = load_info(directory)
        self.split = split
        if split not in self.info.splits:
            raise RecordError(
                f"data set {directory}: no split {split!r}; it has {sorted(self.info.splits)}"
            )
        self._shards = self.info.splits[split].shards
        indexes = [load_listed(self._directory, shard) for shard in self._shards]
        video_ids, video = np.unique(
            np.concatenate([index.video_id for index in indexes]), return_inverse=True
        )
        self.video_ids: list[str] = video_ids.tolist()
        self.video = video.astype(np.int32)
        self.clip_ids: list[str] = np.concatenate([i.clip_id for i in indexes]).tolist()
        self.num_frames = np.concatenate([index.num_frames for index in indexes])
        self.has_label_map = np.concatenate([index.has_label_map for index in indexes])
        self._offset = np.concatenate([index.offset for index in indexes])
        self._length = np.concatenate([index.length for index in indexes])
        self._first = np.cumsum([0] + [len(index) for index in indexes])
        self._open_shards = _OpenShards()

    def __len__(self) -> int:
        return len(self._offset)

    def __getitem__(self, i: int) -> ClipRecord:
        """Reads one clip.

        Raises:
          RecordError: the record is corrupted, truncated or no clip; names shard and record.
          IndexError: no such clip.
        """
        i = operator.index(i)
        if not 0 <= i < len(self):
            raise IndexError(f"clip {i} of {len(self)} in split {self.split!r}")
        where = self.where(i)
        num_bytes = int(self._length[i]) + tfexample.FRAMING_BYTES
        path = self._directory / self._shards[self._shard_of(i)].name
        data = self._open_shards.read(path, num_bytes, int(self._offset[i]))
        try:
            if len(data) < num_bytes:
                raise RecordError(f"{where}: truncated, the file ends within the record")
            record = parse(tfexample.unframe(data, where), where=where)
            found = (record.video_id, record.clip_id, len(record.frames))
            known = (self.video_ids[self.video[i]], self.clip_ids[i], int(self.num_frames[i]))
            if found != known:
                raise RecordError(
                    f"{where}: its index is stale: video, clip and frames are {found}, but the "
                    f"index says {known}"
                )
        except RecordError as error:
            check = f"`python -m vidgan_jax.prepare check {self._directory}`"
            raise RecordError(f"{error}; {check} lists all that is damaged or stale") from error
        return record

    def where(self, i: int) -> str:
        """How errors name clip `i`: its shard, and its number in the shard."""
        shard = self._shard_of(i)
        number = i - int(self._first[shard])
        return tfexample.locate(self._shards[shard].name, number, int(self._offset[i]))

    def _shard_of(self, i: int) -> int:
        return int(np.searchsorted(self._first, i, side="right")) - 1

    def close(self) -> None:
        """Closes the shards that reading has opened; reading opens them again."""
        self._open_shards.close()

    def __repr__(self) -> str:
        # Enters Grain's iterator state: no path, no address, nothing that differs between hosts.
        return (
            f"ClipSource(split={self.split!r}, clips={len(self)}, data={self.info.checksum[:16]})"
        )


class _OpenShards:
    """Open shards by path, at most so many; safe between threads; pickled empty."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._files: collections.OrderedDict[Path, _OpenFile] = collections.OrderedDict()

    def read(self, path: Path, num_bytes: int, offset: int) -> bytes:
        """Reads `num_bytes` at `offset`, or fewer where the file ends before."""
        with self._lock:
            file = self._files.get(path) or _OpenFile(path)
            self._files[path] = file
            self._files.move_to_end(path)
            if len(self._files) > _MAX_OPEN_SHARDS:
                self._files.popitem(last=False)
        return tfexample.pread(file.descriptor, num_bytes, offset)

    def close(self) -> None:
        with self._lock:
            self._files.clear()

    def __reduce__(self) -> tuple[Any, ...]:
        return (_OpenShards, ())


class _OpenFile:
    """A descriptor that closes with its last user, be that a thread that is still reading."""

    def __init__(self, path: Path):
        try:
            self.descriptor = os.open(path, os.O_RDONLY)
        except FileNotFoundError as error:
            raise RecordError(f"{path}: the shard is gone; restore it or prepare again") from error

    def __del__(self) -> None:
        if hasattr(self, "descriptor"):
            os.close(self.descriptor)

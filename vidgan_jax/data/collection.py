"""What the loader needs of a split: `Clips`; and `IndexedClips`, clips in files with an index each.

A source is whatever has the clips of one split for random access. Those of this package keep them
in files of records (`record_files`), whose indexes (`shards.ShardIndex`) say what is where.
"""

import dataclasses
import operator
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np

from vidgan_jax.data.clip_record import ClipRecord, parse
from vidgan_jax.data.info import DatasetInfo
from vidgan_jax.data.record_files import RecordFiles
from vidgan_jax.data.shards import ShardIndex
from vidgan_jax.data.tfexample import RecordError


class Clips(Protocol):
    """Random access to the clips of one split, for Grain or by hand.

    Can be pickled, and read from several threads. `repr` enters Grain's iterator state: it is the
    same on all hosts, and tells data apart.

    Attributes:
      info: of the data set, this split of it at least.
      split: its name.
      video_ids: the split's videos, sorted.
      video: int32 `[n]`, the index into `video_ids` of every clip.
      clip_ids: of every clip.
      num_frames: int32 `[n]`, frames of every clip.
      has_label_map: bool `[n]`.
    """

    info: DatasetInfo
    split: str
    video_ids: list[str]
    video: np.ndarray
    clip_ids: list[str]
    num_frames: np.ndarray
    has_label_map: np.ndarray

    def __len__(self) -> int: ...

    def __getitem__(self, i: int) -> ClipRecord:
        """Reads one clip.

        Raises:
          RecordError: the record cannot be used; names file and record. `DatasetError`, one of
            this kind: its file cannot.
          IndexError: no such clip.
        """
        ...

    def where(self, i: int) -> str:
        """How errors name clip `i`: its file, and its number in the file."""
        ...

    def close(self) -> None:
        """Closes the files that reading has opened; reading opens them again."""
        ...


class ReadClip(Protocol):
    """Makes a clip of a record's payload; can be pickled."""

    def __call__(self, payload: bytes | memoryview, *, where: str, name: str) -> ClipRecord:
        """Reads one clip.

        Args:
          payload: of the record.
          where: names the record in errors.
          name: of the record, for clips that have no name of their own.

        Raises:
          RecordError: the record is no clip.
        """
        ...


def parse_named(payload: bytes | memoryview, *, where: str, name: str) -> ClipRecord:
    """`parse`, as `IndexedClips` calls it: our records have names of their own."""
    return parse(payload, where=where)


@dataclasses.dataclass(frozen=True)
class IndexedFile:
    """A file of records, and its index."""

    path: Path
    index: ShardIndex


class IndexedClips:
    """Clips in files with an index each: `Clips`, and the base of all sources here.

    Only the indexes are in memory.

    Args:
      files: at least one.
      info: of the data set.
      split: its name.
      reader: reads records of such files.
      read_clip: makes clips of records.
      check: what the user is told to do where a record cannot be used.
    """

    def __init__(
        self,
        files: Sequence[IndexedFile],
        info: DatasetInfo,
        split: str,
        *,
        reader: RecordFiles,
        read_clip: ReadClip,
        check: str,
    ):
        self.info = info
        self.split = split
        indexes = [file.index for file in files]
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
        self._paths = [file.path for file in files]
        self._reader, self._read_clip, self._check = reader, read_clip, check

    def __len__(self) -> int:
        return len(self._offset)

    def __getitem__(self, i: int) -> ClipRecord:
        """Reads one clip.

        Raises:
          RecordError: the record is corrupted, truncated or no clip; names file and record.
          IndexError: no such clip.
        """
        i = operator.index(i)
        if not 0 <= i < len(self):
            raise IndexError(f"clip {i} of {len(self)} in split {self.split!r}")
        path, number = self._place(i)
        where = self.where(i)
        try:
            payload = self._reader.read(path, int(self._offset[i]), int(self._length[i]), where)
            record = self._read_clip(payload, where=where, name=f"{path.name}#{number}")
            found = (record.video_id, record.clip_id, len(record.frames))
            known = (self.video_ids[self.video[i]], self.clip_ids[i], int(self.num_frames[i]))
            if found != known:
                raise RecordError(
                    f"{where}: its index is stale: video, clip and frames are {found}, but the "
                    f"index says {known}"
                )
        except RecordError as error:
            raise type(error)(f"{error}; {self._check}") from error
        return record

    def where(self, i: int) -> str:
        """How errors name clip `i`: its file, and its number in the file."""
        path, number = self._place(i)
        return self._reader.locate(path.name, number, int(self._offset[i]))

    def close(self) -> None:
        """Closes the files that reading has opened; reading opens them again."""
        self._reader.close()

    def __repr__(self) -> str:
        # Enters Grain's iterator state: no path, no address, nothing that differs between hosts.
        return (
            f"{type(self).__name__}(split={self.split!r}, clips={len(self)}, "
            f"data={self.info.checksum[:16]})"
        )

    def _place(self, i: int) -> tuple[Path, int]:
        """The file of clip `i`, and its number there."""
        file = int(np.searchsorted(self._first, i, side="right")) - 1
        return self._paths[file], i - int(self._first[file])

"""Shards: a TFRecord file of clips and the index beside it, written together."""

import contextlib
import dataclasses
import io
import os
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import google_crc32c
import numpy as np

from vidgan_jax import files
from vidgan_jax.data import frames as codec
from vidgan_jax.data import tfexample
from vidgan_jax.data.clip_record import (
    ClipRecord,
    check_record,
    parse,
    serialize_unchecked,
)
from vidgan_jax.data.tfexample import RecordError

SHARD_SUFFIX = ".tfrecord"
INDEX_SUFFIX = ".index.npz"
REBUILD = "rebuild it with `python -m vidgan_jax.prepare index {directory}`"


def index_path(shard: str | os.PathLike[str]) -> Path:
    """Where the index of a shard lies."""
    return files.path(f"{os.fspath(shard)}{INDEX_SUFFIX}")


@dataclasses.dataclass(frozen=True)
class ShardIndex:
    """What is known of a shard without reading it; one row for each of its n records.

    Attributes:
      offset: int64 `[n]`, byte in the shard at which the record (its length field) begins.
      length: int64 `[n]`, bytes of the payload.
      video_id: text `[n]`.
      clip_id: text `[n]`.
      num_frames: int32 `[n]`.
      height: int32 `[n]`, pixels.
      width: int32 `[n]`, pixels.
      fps: float32 `[n]`.
      image_format: text `[n]`, "jpeg" or "png".
      has_label_map: bool `[n]`.
      label_ids: uint8, the class ids that occur in the label maps, ascending, without 255.
      shard_bytes: int64 scalar, size of the shard.
      shard_crc32c: uint32 scalar, CRC-32C of the whole shard.
    """

    offset: np.ndarray
    length: np.ndarray
    video_id: np.ndarray
    clip_id: np.ndarray
    num_frames: np.ndarray
    height: np.ndarray
    width: np.ndarray
    fps: np.ndarray
    image_format: np.ndarray
    has_label_map: np.ndarray
    label_ids: np.ndarray
    shard_bytes: np.ndarray
    shard_crc32c: np.ndarray

    def __len__(self) -> int:
        return len(self.offset)

    def to_bytes(self) -> bytes:
        """The index as an .npz file."""
        buffer = io.BytesIO()
        np.savez_compressed(buffer, **dataclasses.asdict(self))
        return buffer.getvalue()

    @classmethod
    def read(cls, path: Path) -> "ShardIndex":
        """Reads what `to_bytes` has made.

        Raises:
          ValueError: it is none, or damaged.
        """
        try:
            # Read at once: of a bucket every look into the archive would be a request.
            data = io.BytesIO(files.read_bytes(path))
            with np.load(data, allow_pickle=False) as arrays:
                index = cls(**{name: arrays[name] for name in _FIELDS})
        except _NOT_AN_INDEX as error:
            raise ValueError(f"not an index, or damaged ({error})") from error
        if any(getattr(index, name).shape != (len(index.offset),) for name in ROWS):
            raise ValueError("its columns have different lengths")
        return index


_NOT_AN_INDEX = (
    KeyError,
    TypeError,
    ValueError,
    OSError,
    EOFError,
    zipfile.BadZipFile,
    zlib.error,
)
_FIELDS = tuple(field.name for field in dataclasses.fields(ShardIndex))
ROWS = _FIELDS[: _FIELDS.index("label_ids")]
"""The fields of `ShardIndex` that have one row for each record."""


def load_index(shard: str | os.PathLike[str]) -> ShardIndex:
    """Loads the index beside a shard, and checks that it belongs to it.

    Raises:
      RecordError: shard or index missing, empty, damaged or of another version of the shard; the
        message gives the command that rebuilds the index.
    """
    shard = files.path(shard)
    path = index_path(shard)
    rebuild = REBUILD.format(directory=shard.parent)
    size = _shard_size(shard)
    if not path.exists():
        raise RecordError(f"{shard}: its index {path.name} is missing; {rebuild}")
    try:
        index = ShardIndex.read(path)
    except ValueError as error:
        raise RecordError(f"{path}: {error}; {rebuild}") from error
    if int(index.shard_bytes) != size:
        raise RecordError(
            f"{path}: stale, it is for a shard of {int(index.shard_bytes)} bytes, but {shard.name} "
            f"has {size}. If the shard was not replaced on purpose it is truncated: prepare it "
            f"again. Otherwise {rebuild}"
        )
    return index


def rebuild_index(shard: str | os.PathLike[str]) -> ShardIndex:
    """Reads a whole shard, checking every CRC and every record, and writes its index.

    Raises:
      RecordError: the first record that is truncated, corrupted or no clip; nothing is written.
    """
    index = read_shard(shard)
    files.write_bytes(index_path(shard), index.to_bytes())
    return index


def read_shard(shard: str | os.PathLike[str]) -> ShardIndex:
    """Reads a whole shard, checking every CRC and every record, and returns its index.

    Raises:
      RecordError: the first record that is truncated, corrupted or no clip.
    """
    shard = files.path(shard)
    size = _shard_size(shard)
    builder = IndexBuilder()
    with shard.open("rb") as file:
        for number, (offset, payload) in enumerate(tfexample.scan(file, size, shard.name)):
            where = tfexample.locate(shard.name, number, offset)
            record = parse(payload, where=where)
            try:
                image_format = check_record(record)
            except ValueError as error:
                raise RecordError(f"{where}: {error}") from error
            builder.add(record, image_format, offset, len(payload))
        file.seek(0)
        checksum = google_crc32c.Checksum()
        while chunk := file.read(1 << 20):
            checksum.update(chunk)
    return builder.build(size, int.from_bytes(checksum.digest(), "big"))


class ShardWriter(contextlib.AbstractContextManager["ShardWriter"]):
    """Writes one shard and its index: both whole, or neither.

    Use as a context manager. Both are written under temporary names; a clean exit renames them into
    place (the index first: a shard in place always has its index), an exception removes them.

    Args:
      path: of the shard, `….tfrecord`; its folder is made. An existing shard is replaced.

    Raises:
      ValueError: `path` does not end in .tfrecord; on exit, no clip was written.
      OSError: as the file system says (full disk, no permission); nothing is left behind.
    """

    def __init__(self, path: str | os.PathLike[str]):
        self.path = Path(path)
        if self.path.suffix != SHARD_SUFFIX:
            raise ValueError(f"shard {str(path)!r} must end in {SHARD_SUFFIX}")
        self._stack = contextlib.ExitStack()
        self._file: BinaryIO | None = None
        self._builder = IndexBuilder()
        self._offset = 0
        self._checksum = google_crc32c.Checksum()

    def __len__(self) -> int:
        """Clips written so far."""
        return len(self._builder)

    def __enter__(self) -> "ShardWriter":
        self._stack.enter_context(self._opened())
        return self

    def __exit__(self, *error: Any) -> bool | None:
        return self._stack.__exit__(*error)

    def write(self, record: ClipRecord) -> None:
        """Appends a clip.

        Raises:
          ValueError: the record does not agree with itself, or outside of the `with` block.
        """
        self._append(record, None)

    def write_serialized(self, payload: bytes) -> None:
        """Appends a clip that `serialize` made, as it is.

        Raises:
          RecordError: the payload is no clip.
          ValueError: the clip does not agree with itself, or outside of the `with` block.
        """
        self._append(parse(payload, where=f"{self.path.name}, record {len(self)}"), payload)

    def _append(self, record: ClipRecord, payload: bytes | None) -> None:
        if self._file is None or self._file.closed:
            raise ValueError("ShardWriter is closed; write inside `with ShardWriter(path) as …`")
        image_format = check_record(record)
        payload = payload or serialize_unchecked(record)
        framed = tfexample.frame(payload)
        self._file.write(framed)
        self._checksum.update(framed)
        self._builder.add(record, image_format, self._offset, len(payload))
        self._offset += len(framed)

    @contextlib.contextmanager
    def _opened(self) -> Iterator[None]:
        with (
            files.atomic_path(self.path) as shard,
            files.atomic_path(index_path(self.path)) as index,
        ):
            with open(shard, "wb") as self._file:
                yield
                if not len(self):
                    raise ValueError(
                        f"no clip was written to {self.path.name}; a shard needs at least one"
                    )
                self._file.flush()
                os.fsync(self._file.fileno())
            crc = int.from_bytes(self._checksum.digest(), "big")
            index.write_bytes(self._builder.build(self._offset, crc).to_bytes())


class IndexBuilder:
    """Collects the rows of an index while a file of clips is written or read."""

    def __init__(self) -> None:
        self._rows: list[tuple[object, ...]] = []
        self._label_ids = np.zeros(256, bool)

    def __len__(self) -> int:
        return len(self._rows)

    def add(
        self,
        record: ClipRecord,
        image_format: str,
        offset: int,
        length: int,
        pixels: np.ndarray | None = None,
    ) -> None:
        """Adds a record that `check_record` has accepted.

        Args:
          record: the clip.
          image_format: of its frames.
          offset: of the record in the shard, bytes.
          length: of its payload, bytes.
          pixels: of its label map by id, int64 `[256]`; None to count them here.
        """
        if pixels is not None:
            self._label_ids |= pixels > 0
        elif record.label_map is not None:
            self._label_ids[codec.decode_label_map(record.label_map)] = True
        self._rows.append(
            (
                offset,
                length,
                record.video_id,
                record.clip_id,
                len(record.frames),
                record.height,
                record.width,
                record.fps,
                image_format,
                record.label_map is not None,
            )
        )

    def build(self, shard_bytes: int, shard_crc32c: int) -> ShardIndex:
        """The index of all records added."""
        types = (np.int64, np.int64, str, str, np.int32, np.int32, np.int32, np.float32, str, bool)
        columns = zip(zip(*self._rows, strict=True), types, strict=True)
        rows = [np.array(column, dtype) for column, dtype in columns]
        return ShardIndex(
            **dict(zip(ROWS, rows, strict=True)),
            label_ids=np.flatnonzero(self._label_ids[:255]).astype(np.uint8),
            shard_bytes=np.array(shard_bytes, np.int64),
            shard_crc32c=np.array(shard_crc32c, np.uint32),
        )


def _shard_size(shard: Path) -> int:
    try:
        size = files.size(shard)
    except FileNotFoundError as error:
        message = f"{shard}: no such shard; restore it, or prepare the data set again"
        raise RecordError(message) from error
    if size == 0:
        raise RecordError(
            f"{shard}: the file is empty (0 bytes); it was not written by `python -m "
            "vidgan_jax.prepare`, which renames finished shards only. Prepare it again"
        )
    return size

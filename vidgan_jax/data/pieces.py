"""Reads shards past their damage: what can be read, and what is in the way of the rest."""

import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

import google_crc32c

from vidgan_jax import files
from vidgan_jax.data import tfexample
from vidgan_jax.data.info import ShardInfo, load_listed
from vidgan_jax.data.tfexample import RecordError


@dataclasses.dataclass(frozen=True)
class Piece:
    """A record as it lies in a shard, or a shard's end.

    Attributes:
      split: of the shard.
      shard: as info.json lists it.
      number: of the record, from 0; at the end, how many there are.
      offset: of the record in the shard, bytes; at the end, the shard's size.
      payload: of the record; None where it can't be read, and at the end.
      fault: why there is no payload, or, at the end, no shard.
      crc32c: at the end, of the whole shard; None before, and where something was passed over.
      is_end: whether this is the end.
    """

    split: str
    shard: ShardInfo
    number: int
    offset: int
    payload: memoryview | None = None
    fault: str | None = None
    crc32c: int | None = None
    is_end: bool = False


def read_pieces(directory: Path, split: str, shard: ShardInfo) -> Iterator[Piece]:
    """Reads a shard from beginning to end, checking every CRC.

    After a damaged record it goes on with the next one. Where that begins is known from the damaged
    one's length or, where the length is damaged, from the index beside the shard; without a fitting
    index the shard ends there.

    Args:
      directory: the data set's folder.
      split: of the shard.
      shard: as info.json lists it.

    Yields:
      The records in order, and the end.
    """
    path = directory / shard.name
    try:
        size = files.size(path)
        if not size:
            raise RecordError(f"{shard.name}: the file is empty (0 bytes)")
        with path.open("rb") as file:
            yield from _read(file, size, split, shard, _offsets(directory, shard))
    except FileNotFoundError:
        text = f"{path}: no such shard; restore it, or prepare the data set again"
        yield Piece(split, shard, 0, 0, fault=text, is_end=True)
    except (OSError, RecordError) as error:
        why = (error.strerror if isinstance(error, OSError) else None) or str(error)
        text = why if shard.name in why else f"{shard.name}: {why}"
        yield Piece(split, shard, 0, 0, fault=text, is_end=True)


def _offsets(directory: Path, shard: ShardInfo) -> list[int]:
    """Where records begin, if the index is that of this very shard."""
    try:
        return [int(offset) for offset in load_listed(directory, shard).offset]
    except RecordError:
        return []


def _read(
    file: BinaryIO, size: int, split: str, shard: ShardInfo, offsets: Sequence[int]
) -> Iterator[Piece]:
    checksum = google_crc32c.Checksum()
    whole = True
    offset = number = 0
    while offset < size:
        where = tfexample.locate(shard.name, number, offset)
        header = file.read(tfexample.HEADER_BYTES)
        # As long as nothing better is known, the record takes the rest of the file.
        end = size
        known = [begin for begin in offsets[number + 1 : number + 2] if offset < begin < size]
        try:
            end = _end(header, offset, size, where)
            data = header + file.read(end - offset - tfexample.HEADER_BYTES)
            checksum.update(data)
            piece = Piece(split, shard, number, offset, tfexample.unframe(data, where))
        except RecordError as error:
            whole = False
            if end == size and known and offsets[number] == offset:
                end = known[0]
            file.seek(end)
            piece = Piece(split, shard, number, offset, fault=str(error))
        yield piece
        offset, number = end, number + 1
    crc32c = int.from_bytes(checksum.digest(), "big") if whole else None
    yield Piece(split, shard, number, size, crc32c=crc32c, is_end=True)


def _end(header: bytes, offset: int, size: int, where: str) -> int:
    """Where a record ends, by its header."""
    if len(header) < tfexample.HEADER_BYTES:
        raise RecordError(f"{where}: truncated, the file ends within the record")
    needed = tfexample.read_length(header, where) + tfexample.FRAMING_BYTES
    if offset + needed > size:
        raise RecordError(
            f"{where}: truncated, the record needs {needed} bytes and the file has "
            f"{size - offset} left"
        )
    return offset + needed

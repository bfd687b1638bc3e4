"""Indexes of files that come without one: made by reading a file once, kept in the user's cache."""

import hashlib
import json
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import google_crc32c

from vidgan_jax import files
from vidgan_jax.data.clip_record import check_record
from vidgan_jax.data.collection import ReadClip
from vidgan_jax.data.record_files import RecordFiles
from vidgan_jax.data.shards import IndexBuilder, ShardIndex
from vidgan_jax.data.tfexample import RecordError
from vidgan_jax.progress import ProgressReport

# Of what is kept; another one reads all files again.
_VERSION = 1


def cache_folder() -> Path:
    """Where indexes are kept: below `$XDG_CACHE_HOME/vidgan_jax`, or `~/.cache/vidgan_jax`."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return cache / "vidgan_jax" / "indexes"


def find_indexes(
    paths: Sequence[Path],
    reader: RecordFiles,
    read_clip: ReadClip,
    *,
    reading: str = "",
    title: str,
) -> list[ShardIndex]:
    """Indexes of files: from the cache, or made by reading a whole file, with progress on stderr.

    A kept index counts for the file at that path while its size and time of change are the same.
    In these indexes `shard_crc32c` is the CRC-32C of the payloads, one after another, and of
    `reading`.

    Args:
      paths: of the files.
      reader: of such files.
      read_clip: makes clips of records.
      reading: tells ways of reading apart that make other clips of the same records.
      title: of the progress report.

    Raises:
      RecordError: the first record that is damaged, or no clip.
    """
    found = {path: index for path in paths if (index := _kept(path, reading)) is not None}
    missing = [path for path in paths if path not in found]
    sizes = {path: path.stat().st_size for path in missing}
    if missing:
        num_files = f"{len(missing)} file" + ("s" if missing[1:] else "")
        print(f"{title}: reading {num_files} once, to know what is in them", file=sys.stderr)
    with ProgressReport(title, total=sum(sizes.values()), shown=bool(missing)) as report:
        done = 0
        for path in missing:

            def show(num_clips: int, num_bytes: int, done: int = done, path: Path = path) -> None:
                report.update(done + num_bytes, f"{path.name}: {num_clips} clips")

            found[path] = read_index(path, reader, read_clip, reading=reading, report=show)
            _keep(path, reading, found[path])
            done += sizes[path]
    return [found[path] for path in paths]


def read_index(
    path: Path,
    reader: RecordFiles,
    read_clip: ReadClip,
    *,
    reading: str = "",
    report: Callable[[int, int], None] = lambda num_clips, num_bytes: None,
) -> ShardIndex:
    """Reads a whole file, and checks every record.

    Args:
      path: of the file.
      reader: see `find_indexes`.
      read_clip: see `find_indexes`.
      reading: see `find_indexes`.
      report: called with the clips and bytes read so far.

    Raises:
      RecordError: the first record that is damaged, or no clip; no records at all.
    """
    builder, checksum, num_bytes = IndexBuilder(), google_crc32c.Checksum(), 0
    for number, (offset, payload) in enumerate(reader.scan(path)):
        where = reader.locate(path.name, number, offset)
        record = read_clip(payload, where=where, name=f"{path.name}#{number}")
        try:
            image_format = check_record(record)
        except ValueError as error:
            raise RecordError(f"{where}: {error}") from error
        builder.add(record, image_format, offset, len(payload))
        checksum.update(bytes(payload))
        num_bytes += len(payload)
        report(number + 1, num_bytes)
    if not len(builder):
        raise RecordError(f"{path}: there are no records in this file")
    checksum.update(reading.encode())
    return builder.build(path.stat().st_size, int.from_bytes(checksum.digest(), "big"))


def _kept(path: Path, reading: str) -> ShardIndex | None:
    try:
        return ShardIndex.read(_cache_path(path, reading))
    except ValueError:
        return None  # Not there, or not readable: made again.


def _keep(path: Path, reading: str, index: ShardIndex) -> None:
    kept = _cache_path(path, reading)
    try:
        files.write_bytes(kept, index.to_bytes())
    except OSError as error:
        print(f"{kept}: the index cannot be kept ({error}), and is made again", file=sys.stderr)


def _cache_path(path: Path, reading: str) -> Path:
    status = path.stat()
    known = [_VERSION, os.path.realpath(path), status.st_size, status.st_mtime_ns, reading]
    return cache_folder() / f"{hashlib.sha256(json.dumps(known).encode()).hexdigest()[:32]}.npz"

"""Checks a whole data set: every record and frame, every index, and what must hold between them.

Nothing stops at the first fault. One thread reads the shards in order, others look at the records;
what they find is taken up in order again, so that a data set always gives the same report.
"""

import collections
import dataclasses
import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import numpy as np

from vidgan_jax import files
from vidgan_jax.data import frames as codec
from vidgan_jax.data import labels, tfexample
from vidgan_jax.data.clip_record import ClipRecord, check_record, parse
from vidgan_jax.data.info import (
    INFO_NAME,
    DatasetInfo,
    find_shards,
    load_info,
    load_listed,
    summarize,
)
from vidgan_jax.data.pieces import Piece, read_pieces
from vidgan_jax.data.shards import REBUILD, ROWS, IndexBuilder, ShardIndex, index_path
from vidgan_jax.data.tfexample import RecordError
from vidgan_jax.progress import ProgressReport

# Records read ahead of those looked at, for each worker.
_AHEAD = 4


@dataclasses.dataclass(frozen=True)
class Fault:
    """One fault of a data set.

    Attributes:
      file: name of the shard, index or info.json.
      record: number of the record in the shard, from 0; None where it is of no single one.
      text: what is wrong, file and record named.
    """

    file: str
    record: int | None
    text: str


@dataclasses.dataclass(frozen=True)
class Report:
    """What `verify` found.

    Attributes:
      num_shards: shards listed in info.json.
      num_clips: records that were read and agree with themselves.
      num_bytes: of all shards, as far as they are there.
      faults: all of them, in the order of shards and records.
    """

    num_shards: int
    num_clips: int
    num_bytes: int
    faults: tuple[Fault, ...]

    @property
    def problems(self) -> tuple[str, ...]:
        """The faults' texts."""
        return tuple(fault.text for fault in self.faults)

    @property
    def ok(self) -> bool:
        """Whether there is no fault."""
        return not self.faults


@dataclasses.dataclass(frozen=True)
class Seen:
    """A record that agrees with itself, as `verify` shows it to a visitor.

    Attributes:
      split: it is of.
      record: itself.
      image_format: of its frames.
      num_bytes: of the record's payload.
      pixels: int64 `[256]`, pixels of its label map by id; None where it has no map.
    """

    split: str
    record: ClipRecord
    image_format: codec.ImageFormat
    num_bytes: int
    pixels: np.ndarray | None


def verify(
    directory: str | os.PathLike[str],
    *,
    num_labels: int = 0,
    dont_care: int = labels.DONT_CARE,
    decode: bool = True,
    visit: Callable[[Seen], None] | None = None,
    workers: int = 1,
    progress: bool = False,
) -> Report:
    """Reads a whole data set and lists its faults; they are collected, not raised.

    Of records: CRCs, features, sizes, frame rate, ids of label maps, and that frames decode. Of
    shards: that their indexes say what they hold. Of the whole: that no clip has the id of another,
    no video is in two splits, all clips have one frame rate, and info.json tells what there is.
    Reading goes on behind a damaged record (see `read_pieces`).

    Memory: a few records for each worker, and the names of clips and videos.

    Args:
      directory: the data set's folder.
      num_labels: classes that label maps may have; other ids are faults. 0 for any.
      dont_care: an id in the maps that means no class, as 255 does.
      decode: decode every frame; without it only the frames' headers are looked at.
      visit: is called with every record that agrees with itself, in order, in this thread.
      workers: threads that look at records; up to 1 for none beside this one.
      progress: report on stderr.

    Returns:
      The report.

    Raises:
      RecordError: no readable info.json (see `load_info`).
      ValueError: `num_labels` is out of range.
    """
    if num_labels:
        labels.check_num_labels(num_labels)
    directory = files.path(directory)
    info = load_info(directory)
    listed = [shard for split in info.splits.values() for shard in split.shards]
    check = _Check(directory, visit)
    for path in find_shards(directory):
        if path.name not in {shard.name for shard in listed}:
            check.add(path.name, None, f"{path.name}: not in {INFO_NAME}; {check.rebuild}")

    def look(piece: Piece) -> _Looked:
        return _look(piece, num_labels, dont_care, decode)

    total = sum(shard.num_bytes for shard in listed)
    with ProgressReport("check" if decode else "read", total=total, shown=progress) as report:
        for piece, looked in _in_order(_pieces(directory, info), look, workers):
            check.take(piece, looked)
            done = 0 if piece.is_end else piece.offset
            report.update(check.num_bytes + done, check.note(report.elapsed_s))
        check.take_whole(info)
        report.update(total, check.note(report.elapsed_s), last=True)
    return Report(len(listed), check.num_clips, check.num_bytes, tuple(check.faults))


@dataclasses.dataclass(frozen=True)
class _Looked:
    """What a worker found in a record; `image_format` is None where it contradicts itself."""

    record: ClipRecord | None = None
    image_format: codec.ImageFormat | None = None
    pixels: np.ndarray | None = None
    faults: tuple[str, ...] = ()


def _pieces(directory: Path, info: DatasetInfo) -> Iterator[Piece]:
    for split, members in info.splits.items():
        for shard in members.shards:
            yield from read_pieces(directory, split, shard)


def _look(piece: Piece, num_labels: int, dont_care: int, decode: bool) -> _Looked:
    """All that can be said of one record without the others."""
    if piece.payload is None:
        return _Looked(faults=() if piece.fault is None else (piece.fault,))
    where = tfexample.locate(piece.shard.name, piece.number, piece.offset)
    try:
        record = parse(piece.payload, where=where)
    except RecordError as error:
        return _Looked(faults=(str(error),))
    where = f"{where}: "
    # What `check_record` raises names the clip already.
    named = f"{where}clip {record.clip_id!r} of video {record.video_id!r}: "
    undecodable = [named + fault for fault in _undecodable(record)] if decode else []
    try:
        image_format = check_record(record)
    except ValueError as error:
        return _Looked(record, faults=(f"{where}{error}", *undecodable))
    pixels = None
    faults = []
    if record.label_map is not None:
        ids = codec.decode_label_map(record.label_map)
        pixels = np.bincount(ids.ravel(), minlength=256)
        if num_labels:
            try:
                labels.known_ids(np.flatnonzero(pixels), num_labels, dont_care)
            except ValueError as error:
                faults.append(f"{named}label_map {error}")
    return _Looked(record, image_format, pixels, (*faults, *undecodable))


def _undecodable(record: ClipRecord) -> Iterator[str]:
    """A line for the frames of a clip that do not decode, if there are any."""
    bad = []
    for number, frame in enumerate(record.frames):
        try:
            codec.decode_frame(frame)
        except ValueError as error:
            bad.append((number, str(error)))
    if bad:
        numbers = ", ".join(str(number) for number, _ in bad)
        yield f"of {len(record.frames)} frames, these do not decode: {numbers} ({bad[0][1]})"


def _in_order(
    pieces: Iterable[Piece], look: Callable[[Piece], _Looked], workers: int
) -> Iterator[tuple[Piece, _Looked]]:
    """Looks at pieces in threads, few at a time, and gives them back in order."""
    if workers <= 1:
        for piece in pieces:
            yield piece, look(piece)
        return
    waiting: collections.deque[tuple[Piece, Future[_Looked]]] = collections.deque()
    with ThreadPoolExecutor(workers, thread_name_prefix="check") as pool:
        for piece in pieces:
            waiting.append((piece, pool.submit(look, piece)))
            if len(waiting) > _AHEAD * workers:
                first, looked = waiting.popleft()
                yield first, looked.result()
        for piece, looked in waiting:
            yield piece, looked.result()


class _Check:
    """Takes up what was found, record by record, and finds what is wrong between them."""

    def __init__(self, directory: Path, visit: Callable[[Seen], None] | None) -> None:
        self._directory, self._visit = directory, visit
        self.rebuild = REBUILD.format(directory=directory)
        self.faults: list[Fault] = []
        self.num_clips = self.num_bytes = 0
        self._clips: dict[str, str] = {}
        self._split_of: dict[str, str] = {}
        self._split_twice: set[str] = set()
        # Frame rate → clips with it, and shard and number of the first one.
        self._rates: dict[float, tuple[int, str, int]] = {}
        self._indexes: dict[Path, ShardIndex] = {}
        self._start_shard()

    def _start_shard(self) -> None:
        self._builder = IndexBuilder()
        self._numbers: list[int] = []

    def add(self, file: str, record: int | None, text: str) -> None:
        """Notes a fault."""
        self.faults.append(Fault(file, record, text))

    def note(self, seconds: float) -> str:
        """Counts and rate, for the progress report."""
        faults = f", {len(self.faults)} faults" if self.faults else ""
        return f"{self.num_clips} clips, {self.num_clips / seconds:.0f} clips/s{faults}"

    def take(self, piece: Piece, looked: _Looked) -> None:
        """Takes up a record, or a shard's end."""
        name = piece.shard.name
        for text in looked.faults:
            self.add(name, None if piece.is_end else piece.number, text)
        if piece.is_end:
            self._end_shard(piece)
        if looked.record is not None:
            self._compare(piece, looked.record)
        if looked.record is not None and looked.image_format is not None:
            self.num_clips += 1
            self._count_rate(piece, looked.record.fps)
            num_bytes = 0 if piece.payload is None else len(piece.payload)
            self._numbers.append(piece.number)
            self._builder.add(
                looked.record, looked.image_format, piece.offset, num_bytes, looked.pixels
            )
            if self._visit is not None:
                seen = Seen(
                    piece.split, looked.record, looked.image_format, num_bytes, looked.pixels
                )
                self._visit(seen)

    def _compare(self, piece: Piece, record: ClipRecord) -> None:
        """Compares a record with those before."""
        name, number = piece.shard.name, piece.number
        here = tfexample.locate(name, number, piece.offset)
        first = self._clips.setdefault(record.clip_id, here)
        if first != here:
            self.add(name, number, f"{here}: clip_id {record.clip_id!r} is that of {first}, too")
        split = self._split_of.setdefault(record.video_id, piece.split)
        if split != piece.split and record.video_id not in self._split_twice:
            self._split_twice.add(record.video_id)
            self.add(
                name,
                number,
                f"{here}: video {record.video_id!r} is in split {split!r} and in {piece.split!r}; "
                "a video's clips must all be in one",
            )

    def _count_rate(self, piece: Piece, fps: float) -> None:
        count, name, number = self._rates.get(fps, (0, piece.shard.name, piece.number))
        self._rates[fps] = (count + 1, name, number)

    def _end_shard(self, piece: Piece) -> None:
        """Compares a shard with its index."""
        self.num_bytes += piece.offset
        path = self._directory / piece.shard.name
        try:
            index = load_listed(self._directory, piece.shard)
        except RecordError as error:
            if piece.fault is None:
                self.add(index_path(path).name, None, str(error))
            index = None
        if index is not None and self._numbers:
            self._compare_index(index, piece)
        self._start_shard()

    def _compare_index(self, index: ShardIndex, piece: Piece) -> None:
        """Compares the rows of sound records, and all of the index where all records are sound."""
        path = self._directory / piece.shard.name
        found = self._builder.build(piece.offset, piece.crc32c or 0)
        fields: tuple[str, ...] = ROWS
        rows: np.ndarray | slice = np.array(self._numbers)
        if len(self._numbers) == piece.number and piece.crc32c is not None:
            self._indexes[path] = found
            fields = tuple(field.name for field in dataclasses.fields(ShardIndex))
            rows = slice(None)
        elif len(index) <= self._numbers[-1]:
            fields = ()
            self.add(
                index_path(path).name,
                None,
                f"{index_path(path)}: lists {len(index)} records of {piece.number}; {self.rebuild}",
            )
        for field in fields:
            known = getattr(index, field)
            if not np.array_equal(getattr(found, field), known[rows] if field in ROWS else known):
                self.add(
                    index_path(path).name,
                    None,
                    f"{index_path(path)}: `{field}` is not what the shard holds; {self.rebuild}",
                )

    def take_whole(self, info: DatasetInfo) -> None:
        """Compares frame rates, and info.json with all shards."""
        usual = max(self._rates, key=lambda fps: self._rates[fps][0], default=0.0)
        if info.spec.get("settings", {}).get("fps", usual) is None:
            self._rates.clear()  # Clips were to keep the rates that they came with.
        for fps, (count, name, number) in self._rates.items():
            if fps != usual:
                self.add(
                    name,
                    number,
                    f"{name}, record {number}: fps is {fps:g}, as it is in {count} clips, but in "
                    f"{self._rates[usual][0]} it is {usual:g}; prepare all with one --fps",
                )
        if self.faults:
            return
        for field, value in dataclasses.asdict(summarize(self._indexes, info.spec)).items():
            if value != dataclasses.asdict(info)[field]:
                self.add(
                    INFO_NAME,
                    None,
                    f"{self._directory / INFO_NAME}: `{field}` is not what the shards hold; "
                    f"{self.rebuild}",
                )

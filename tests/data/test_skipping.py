"""Damaged records, skipped up to a limit: others in their place, the same whoever reads."""

import dataclasses
import errno
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.datasets import SHARD, make_dataset
from vidgan_jax.data import array_records, tfexample
from vidgan_jax.data.clips import training_loader
from vidgan_jax.data.collection import Clips
from vidgan_jax.data.records import ClipRecord, ClipSource, RecordError
from vidgan_jax.data.sampling import Cut, Draw, DrawUndamaged, Sample, fitting_clips
from vidgan_jax.data.shards import ShardIndex, index_path
from vidgan_jax.data.sources import open_source
from vidgan_jax.data.tfexample import DatasetError
from vidgan_jax.types import Batch, ClipSpec

SPEC = ClipSpec(num_frames=2, stride=1, size=6, resize=8, label_maps=True)
DAMAGED = (2, 5)
NUM_CLIPS = 7  # of 3 videos


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three videos of 1, 2 and 4 clips, with label maps."""
    return make_clips(tmp_path_factory.mktemp("whole"))


@pytest.fixture(scope="module")
def source(whole: Path, tmp_path_factory: pytest.TempPathFactory) -> ClipSource:
    """The same clips, of which `DAMAGED` are."""
    directory = make_clips(tmp_path_factory.mktemp("damaged"))
    flip_bytes(directory / SHARD, DAMAGED)
    return ClipSource(directory, "train")


def make_clips(directory: Path) -> Path:
    return make_dataset(directory, clips_per_video=[1, 2, 4], num_frames=4, size=8, label_maps=True)


def flip_bytes(path: Path, numbers: Sequence[int]) -> None:
    """Flips a byte of each of these records."""
    index = ShardIndex.read(index_path(path))
    data = path.read_bytes()
    offsets = index.offset if path.suffix == ".tfrecord" else record_offsets(data)
    with open(path, "r+b", buffering=0) as file:
        for number in numbers:
            position = int(offsets[number]) + 100
            os.pwrite(file.fileno(), bytes([data[position] ^ 1]), position)


def record_offsets(data: bytes) -> list[int]:
    """Where the records of an ArrayRecord file are, one after the other."""
    return [match.start() for match in re.finditer(rb"train-\d/\d", data)]


class Told:
    """What `on_skip` was called with."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, int]] = []

    def __call__(self, error: RecordError, count: int) -> None:
        assert type(error) is RecordError
        self.calls.append((str(error), count))

    @property
    def records(self) -> list[int]:
        """Numbers of the records, as told, which are counted without a gap."""
        assert [count for _, count in self.calls] == list(range(1, len(self.calls) + 1))
        found = [re.match(r"train-\S+record, record (\d+)[ :]", text) for text, _ in self.calls]
        return [int(match[1]) for match in found if match is not None]


def take(
    source: Clips, count: int, *, state: int = 0, told: Told | None = None, **keywords: Any
) -> list[Batch]:
    """The first `count` batches after `state` samples, of 6 examples by default; skips any."""
    on_skip = told or Told()
    settings = {"batch_size": 6, "seed": 3, "max_skipped": NUM_CLIPS, "num_threads": 0} | keywords
    with training_loader(source, SPEC, on_skip=on_skip, **settings) as loader:
        loader.set_state({"samples": state})
        return [next(loader) for _ in range(count)]


def joined(batches: Sequence[Batch]) -> list[np.ndarray]:
    """All examples of the batches: frames, label maps."""
    return [np.concatenate(leaves) for leaves in zip(*batches, strict=True)]


def assert_same(one: Sequence[Batch], other: Sequence[Batch]) -> None:
    for left, right in zip(joined(one), joined(other), strict=True):
        np.testing.assert_array_equal(left, right)


def drawn_first(source: ClipSource, count: int) -> list[int]:
    """The clips that `take` would show if all were whole, by sample number."""
    clips: list[int] = []

    def note(sample: Sample) -> Batch:
        clips.append(sample.clip)
        return Batch(np.zeros((2, 6, 6, 3), np.uint8), np.zeros((6, 6), np.uint8))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Cut, "__call__", lambda _, sample: note(sample))
        take(source, count // 6)
    return clips


def test_only_damaged_samples_change(source: ClipSource, whole: Path) -> None:
    """Those get another example out of the whole records; each record is told once, in order."""
    told, count = Told(), 48
    skipping = joined(take(source, count // 6, told=told))
    expected = joined(take(ClipSource(whole, "train"), count // 6))
    clips = drawn_first(source, count)
    changed = [i for i in range(count) if (skipping[0][i] != expected[0][i]).any()]
    assert changed == [i for i in range(count) if clips[i] in DAMAGED]
    assert len(changed) >= 5
    blue = {int(frames[0, 0, 0, 2]) % 16 for frames in skipping[0]}  # as `make_clip` says
    numbers = {4 * int(source.video[i]) + int(source.clip_ids[i][-1]) for i in range(NUM_CLIPS)}
    lost = {4 * int(source.video[i]) + int(source.clip_ids[i][-1]) for i in DAMAGED}
    assert blue == numbers - lost
    assert told.records[0] == next(clip for clip in clips if clip in DAMAGED)
    assert sorted(told.records) == sorted(DAMAGED)
    assert all("corrupted data" in text and "prepare check" in text for text, _ in told.calls)


def test_whoever_reads_it_is_the_same(source: ClipSource) -> None:
    """Threads, a worker process, 2 and 3 hosts, going on from within: batches and what is told."""
    told, threaded = Told(), Told()
    expected = take(source, 4, told=told)
    assert_same(take(source, 4, told=threaded, num_threads=2), expected)
    assert threaded.calls == told.calls
    for process_count in (2, 3):
        share = {"batch_size": 6 // process_count, "process_count": process_count}
        theirs = [Told() for _ in range(process_count)]
        hosts = [
            take(source, 4, told=theirs[host], process_index=host, **share)
            for host in range(process_count)
        ]
        for parts, batch in zip(zip(*hosts, strict=True), expected, strict=True):
            assert_same(parts, [batch])
        assert {number for host in theirs for number in host.records} == set(DAMAGED)
    by_worker = Told()
    last = process_count - 1
    assert_same(
        take(source, 4, told=by_worker, process_index=last, num_workers=1, **share), hosts[last]
    )
    assert by_worker.calls == theirs[last].calls != []
    for leaf, all_of_it in zip(joined(take(source, 2, state=7)), joined(expected), strict=True):
        np.testing.assert_array_equal(leaf, all_of_it[7:19])


def test_without_damage_nothing_changes(whole: Path) -> None:
    told, source = Told(), ClipSource(whole, "train")
    assert_same(take(source, 4, told=told), take(source, 4, max_skipped=None))
    assert told.calls == []


def test_a_damaged_record_that_is_not_met_changes_nothing(source: ClipSource, whole: Path) -> None:
    clips = drawn_first(source, 240)
    start = next(i for i in range(240) if not set(clips[i : i + 6]) & set(DAMAGED))
    told = Told()
    expected = take(ClipSource(whole, "train"), 1, state=start, max_skipped=None)
    assert_same(take(source, 1, state=start, told=told), expected)
    assert told.calls == []


@pytest.mark.parametrize("keywords", [{"num_threads": 0}, {"num_threads": 2}])
def test_the_limit(keywords: dict[str, Any], source: ClipSource) -> None:
    """The record too many is named, again when asked again; the position is that of its batch."""
    told = Told()
    with training_loader(
        source, SPEC, batch_size=1, seed=3, max_skipped=1, on_skip=told, **keywords
    ) as loader:
        text = (
            rf"{SHARD}, record \d .*corrupted data.*It is number 2 of the damaged records, and "
            r"more than config\.faults\.max_skipped_records \(=1\)"
        )
        with pytest.raises(RecordError, match=text) as first:
            [next(loader) for _ in range(96)]
        stopped = loader.get_state()
        with pytest.raises(RecordError, match=text) as second:
            next(loader)
        assert str(second.value) == str(first.value)
        assert loader.get_state() == stopped
        (known,) = told.records
        (last,) = set(DAMAGED) - {known}
        assert f"record {last} " in str(first.value)
    with pytest.raises(
        RecordError, match=r"number 1 of the damaged records.*max_skipped_records \(=0\)"
    ):
        take(source, 8, max_skipped=0)
    take(source, 8, max_skipped=2)


def test_what_was_told_is_not_told_again(source: ClipSource) -> None:
    """Going back doesn't count records anew."""
    told = Told()
    with training_loader(
        source, SPEC, batch_size=24, seed=3, max_skipped=2, on_skip=told
    ) as loader:
        batch = next(loader)
        loader.set_state({"samples": 0})
        assert_same([next(loader)], [batch])
    assert sorted(told.records) == sorted(DAMAGED)


def test_where_all_is_damaged_it_ends(tmp_path: Path) -> None:
    directory = make_dataset(tmp_path, num_videos=1, num_frames=2, size=8, label_maps=True)
    source = ClipSource(directory, "train")
    flip_bytes(directory / SHARD, (0, 1))
    with pytest.raises(
        RecordError, match=rf"sample 4: of 100 records drawn .* 2 different .*{SHARD}, record \d"
    ):
        take(source, 1, state=4)


def test_a_frame_that_cannot_be_decoded_counts(
    whole: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As does all that reading, parsing or decoding finds."""
    spec = dataclasses.replace(SPEC, label_maps=False)
    clips, read = ClipSource(whole, "train"), ClipSource.__getitem__
    bad = range(NUM_CLIPS - 1)

    def broken(self: ClipSource, i: int) -> ClipRecord:
        record = read(self, i)
        return dataclasses.replace(record, frames=(b"no picture",) * 4) if i in bad else record

    monkeypatch.setattr(ClipSource, "__getitem__", broken)
    drawing = DrawUndamaged(Draw(clips, fitting_clips(clips, spec), spec), Cut(clips, spec))
    example = drawing(0, np.random.default_rng(0))
    assert len(example.damage) >= 2
    for clip, error in example.damage:
        assert clip in bad
        assert re.search(rf"{SHARD}, record {clip} .*cannot be decoded", str(error))


def test_array_records_are_skipped_too(source: ClipSource, whole: Path, tmp_path: Path) -> None:
    """The same examples, and the same records told, as with damaged shards."""
    (path,) = array_records.write(whole, tmp_path, progress=False)
    clips = open_source(f"arrayrecord:{tmp_path}", "train")
    flip_bytes(path, DAMAGED)
    told = Told()
    batches = take(clips, 4, told=told)
    assert sorted(told.records) == sorted(DAMAGED)
    assert_same(batches, take(source, 4))


@pytest.mark.parametrize("kind", ["shards", "array records"])
def test_a_file_that_is_gone_is_not_skipped(kind: str, whole: Path, tmp_path: Path) -> None:
    if kind == "shards":
        path = make_dataset(tmp_path, num_frames=2, size=8, label_maps=True) / SHARD
        clips: Clips = ClipSource(tmp_path, "train")
    else:
        (path,) = array_records.write(whole, tmp_path, progress=False)
        clips = open_source(f"arrayrecord:{tmp_path}", "train")
    path.unlink()
    told = Told()
    with pytest.raises(DatasetError, match=rf"{path.name}: (the shard is gone|no such file)"):
        take(clips, 1, told=told)
    assert told.calls == []


def test_a_disk_that_fails_is_not_skipped(
    source: ClipSource, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> bytes:
        raise OSError(errno.EIO, "Input/output error")

    class FailingReader:
        def read(self, _: list[int]) -> list[bytes]:
            raise RuntimeError("pread() failed: Input/output error; at byte 523")

    monkeypatch.setattr(tfexample, "pread", fail)
    with pytest.raises(OSError, match="Input/output error"):
        take(source, 1)
    monkeypatch.undo()
    array_records.write(whole, tmp_path, progress=False)
    monkeypatch.setattr(array_records, "_open_reader", lambda _: FailingReader())
    with pytest.raises(DatasetError, match=r"record \d: cannot be read \(pread\(\) failed"):
        take(open_source(f"arrayrecord:{tmp_path}", "train"), 1)


def test_an_id_of_no_class_is_not_skipped(whole: Path) -> None:
    """The record is whole: it is the config that is wrong."""
    spec = dataclasses.replace(SPEC, num_labels=3)
    with (
        training_loader(
            ClipSource(whole, "train"), spec, batch_size=2, seed=0, max_skipped=9, on_skip=Told()
        ) as loader,
        pytest.raises(DatasetError, match="holds the id 3, but ids are 0 to 2"),
    ):
        next(loader)

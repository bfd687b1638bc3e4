"""Data sets in buckets: the clips are those on disk, read part by part."""

import pickle
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.buckets import Buckets, install, opened, upload
from tests.datasets import INDEX, SHARD, make_dataset
from vidgan_jax import files, prepare
from vidgan_jax.data.clips import ClipIterator, training_loader
from vidgan_jax.data.info import load_info
from vidgan_jax.data.records import ClipSource, verify
from vidgan_jax.data.sources import open_source
from vidgan_jax.data.tfexample import FRAMING_BYTES, DatasetError, RecordError
from vidgan_jax.types import ClipSpec


@pytest.fixture
def bucket(tmp_path: Path) -> Iterator[str]:
    with opened(tmp_path / "buckets") as name:
        yield name


@pytest.fixture
def data(tmp_path: Path, bucket: str) -> tuple[Path, str]:
    """The same data set on disk and in a bucket."""
    folder = make_dataset(tmp_path / "data", num_videos=4, num_shards=2, label_maps=True)
    return folder, upload(folder, f"{bucket}/sets/a")


def test_batches_are_those_of_the_disk(data: tuple[Path, str]) -> None:
    """Crops, starts and flips, too: where data lie enters no lot."""
    batches = []
    for where in data:
        source = open_source(where, "train")
        with training_loader(
            source,
            ClipSpec(4, 1, size=8, resize=12, label_maps=True, num_labels=4),
            batch_size=4,
            seed=3,
            num_threads=2,
        ) as loader:
            batches.append([next(loader) for _ in range(5)])
            assert loader.get_state()
    for here, there in zip(*batches, strict=True):
        np.testing.assert_array_equal(here.frames, there.frames)
        np.testing.assert_array_equal(here.label_map, there.label_map)


def test_a_position_on_disk_is_one_in_the_bucket(data: tuple[Path, str]) -> None:
    """A run goes on where its data were moved to a bucket."""
    spec = ClipSpec(4, 1, size=8, resize=12)

    def loader(where: Path | str) -> ClipIterator:
        return training_loader(open_source(where, "train"), spec, batch_size=4, seed=0)

    with loader(data[0]) as here, loader(data[1]) as there:
        next(here)
        there.set_state(here.get_state())
        np.testing.assert_array_equal(next(here).frames, next(there).frames)


def test_reading_processes_open_the_bucket_themselves(
    data: tuple[Path, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(tmp_path / "installed", monkeypatch)
    spec, batches = ClipSpec(4, 1, size=8, resize=12), []
    for where, workers in ((data[0], 0), (data[1], 1)):
        source = open_source(where, "train")
        with training_loader(source, spec, batch_size=4, seed=1, num_workers=workers) as loader:
            batches.append(next(loader).frames)
    here, there = batches
    np.testing.assert_array_equal(here, there)


def test_a_clip_costs_one_request_of_its_size(data: tuple[Path, str]) -> None:
    source = ClipSource(data[1], "train")
    Buckets.requests.clear()
    source[5]
    length = int(source._length[5])
    name = f"bucket/sets/a/{source.where(5).partition(',')[0]}"
    assert Buckets.requests == [("read", name, length + FRAMING_BYTES)]


def test_a_source_in_a_bucket_is_pickled(data: tuple[Path, str]) -> None:
    source = ClipSource(data[1], "train")
    copy = pickle.loads(pickle.dumps(source))
    assert [copy[i].clip_id for i in range(len(copy))] == source.clip_ids
    assert repr(copy) == repr(source) == repr(ClipSource(data[0], "train"))


def test_the_check_reads_buckets(
    data: tuple[Path, str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert not verify(data[1]).faults
    assert prepare.main(["check", data[1]]) == 0
    shard = f"{data[1]}/{load_info(data[1]).splits['train'].shards[1].name}"
    damaged = bytearray(files.read_bytes(shard))
    damaged[40] ^= 1
    files.write_bytes(shard, bytes(damaged))
    assert verify(data[1]).faults == verify_on_disk(data[0], bytes(damaged))
    assert prepare.main(["check", data[1]]) != 0


def verify_on_disk(folder: Path, damaged: bytes) -> tuple[object, ...]:
    """The faults of the same damage on disk."""
    (folder / load_info(folder).splits["train"].shards[1].name).write_bytes(damaged)
    return verify(folder).faults


def test_indexes_are_rebuilt_in_the_bucket(data: tuple[Path, str]) -> None:
    name = load_info(data[1]).splits["train"].shards[0].name
    before = load_info(data[1])
    files.remove(f"{data[1]}/{name}.index.npz")
    with pytest.raises(RecordError, match=r"its index .* is missing; rebuild it with .* gs://"):
        ClipSource(data[1], "train")
    assert prepare.main(["index", data[1]]) == 0
    assert load_info(data[1]) == before
    assert len(ClipSource(data[1], "train")) == 8


def test_what_is_not_there_is_told(bucket: str, tmp_path: Path) -> None:
    with pytest.raises(RecordError, match="data set gs://bucket/no: the folder does not exist"):
        open_source(f"{bucket}/no", "train")
    data = upload(make_dataset(tmp_path / "data", num_videos=1), f"{bucket}/data")
    source = open_source(data, "train")
    cut = files.read_bytes(f"{data}/{SHARD}")[:-9]
    files.write_bytes(f"{data}/{SHARD}", cut)
    with pytest.raises(RecordError, match="truncated"):
        source[1]
    with pytest.raises(RecordError, match=f"{INDEX}: stale"):
        open_source(data, "train")
    files.remove(f"{data}/{SHARD}")
    with pytest.raises(DatasetError, match=rf"gs://bucket/data/{SHARD}: the shard is gone"):
        source[0]


@pytest.mark.parametrize("where", ["arrayrecord:gs://b/x", "tfds:a?data_dir=gs://b/x"])
def test_other_sources_are_on_disks(where: str) -> None:
    with pytest.raises(ValueError, match=r"(must be a folder on a disk|read disks only)"):
        open_source(where, "train")
    with pytest.raises(ValueError, match="read disks only"):
        files.path(where)


def test_data_sets_are_prepared_on_disks(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        prepare.main(["scenes", "--out=gs://bucket/x"])
    assert "gs://bucket/x: must be a folder on a disk; prepare on one" in capsys.readouterr().err

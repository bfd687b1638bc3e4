"""Data sets: written whole or not at all, read by us and by others, as Grain needs them."""

import errno
import os
import pickle
import shutil
import signal
import threading
from pathlib import Path
from typing import Any

import grain
import numpy as np
import pytest
from tensorboard.compat.tensorflow_stub import pywrap_tensorflow

from tests.datasets import FEATURES, INDEX, SHARD, clip_record, label_of, make_clip, make_dataset
from vidgan_jax.data import record_files, records, tfexample
from vidgan_jax.data.records import ClipRecord, ClipSource, RecordError, ShardWriter


def test_data_set_round_trip(tmp_path: Path) -> None:
    directory = make_dataset(
        tmp_path,
        num_videos=3,
        clips_per_video=[1, 2, 3],
        num_frames=[2, 3, 4],
        size=8,
        label_maps=True,
        splits=("train", "validation"),
        num_shards=2,
    )
    info = records.load_info(directory)
    assert info == records.finalize(directory, spec={"source": "tests"})
    assert (info.height, info.width, info.fps, info.image_format) == (8, 8, 24.0, "png")
    assert info.label_ids == tuple(np.unique(label_of(make_clip(0, 0, num_frames=1, size=8)[0])))
    for split in ("train", "validation"):
        counts = info.splits[split]
        assert (counts.num_clips, counts.num_videos, counts.num_frames) == (6, 3, 2 + 2 * 3 + 3 * 4)
        assert (counts.num_label_maps, counts.num_shards) == (6, 2)
        source = ClipSource(directory, split)
        assert source.video_ids == [f"{split}-{video}" for video in range(3)]
        for i in range(len(source)):
            record = source[i]
            video, clip = map(int, record.clip_id.removeprefix(f"{split}-").split("/"))
            frames = make_clip(video, clip, num_frames=2 + video, size=8)
            np.testing.assert_array_equal([*map(records.decode_frame, record.frames)], frames)
            assert source.video_ids[source.video[i]] == record.video_id
            assert source.clip_ids[i] == record.clip_id
            assert source.num_frames[i] == len(record.frames)


def test_info_says_where_clips_differ(tmp_path: Path) -> None:
    jpeg = records.encode_frames(np.zeros((1, 4, 8, 3), np.uint8))
    with ShardWriter(tmp_path / SHARD) as writer:
        writer.write(clip_record())
        writer.write(
            clip_record(frames=jpeg, width=8, fps=30.0, label_map=None, label_map_score=None)
        )
    info = records.finalize(tmp_path)
    assert (info.height, info.width, info.fps, info.image_format) == (4, None, None, None)
    assert info.splits["train"].num_label_maps == 1


def test_info_gives_fps_as_it_was_given(tmp_path: Path) -> None:
    """Records hold float32, which has no 29.97."""
    assert records.load_info(make_dataset(tmp_path, fps=29.97)).fps == 29.97
    assert ClipSource(tmp_path, "train")[0].fps == np.float32(29.97)


def test_write_serialized_checks_and_keeps_the_bytes(tmp_path: Path) -> None:
    payload = records.serialize(clip_record())
    with ShardWriter(tmp_path / SHARD) as writer:
        writer.write_serialized(payload)
        with pytest.raises(RecordError, match=r"record 1: not a tf\.train.Example"):
            writer.write_serialized(b"\xff")
        with pytest.raises(ValueError, match="neither JPEG nor PNG"):
            writer.write_serialized(tfexample.encode_example(FEATURES))
    records.finalize(tmp_path)
    assert len(ClipSource(tmp_path, "train")) == 1
    assert ClipSource(tmp_path, "train")[0] == clip_record()


def test_equal_clips_give_equal_shards(tmp_path: Path) -> None:
    for name in ("a", "b"):
        make_dataset(tmp_path / name)
    assert (tmp_path / "a" / SHARD).read_bytes() == (tmp_path / "b" / SHARD).read_bytes()


class _FullDisk(OSError):
    pass


def _fail(*_: Any, **__: Any) -> None:
    raise _FullDisk(errno.ENOSPC, "No space left on device")


def _write(
    path: Path, *, count: int = 1, record: ClipRecord | None = None, fail: bool = False
) -> None:
    with ShardWriter(path) as writer:
        for _ in range(count):
            writer.write(record or clip_record())
        if fail:
            _fail()


@pytest.mark.parametrize("step", ["body", "fsync", "index", "rename"])
def test_failed_writing_leaves_nothing(
    step: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "fsync", _fail if step == "fsync" else os.fsync)
    monkeypatch.setattr(np, "savez_compressed", _fail if step == "index" else np.savez_compressed)
    monkeypatch.setattr(os, "replace", _fail if step == "rename" else os.replace)
    with pytest.raises(_FullDisk):
        _write(tmp_path / SHARD, fail=step == "body")
    assert list(tmp_path.iterdir()) == []


def test_failed_rewriting_keeps_the_old_shard(dataset: Path) -> None:
    with pytest.raises(_FullDisk):
        _write(dataset / SHARD, fail=True)
    assert records.verify(dataset).ok


def test_a_really_full_disk_leaves_nothing(tmp_path: Path) -> None:
    """The kernel refuses, at whatever write the buffer decides on."""
    resource = pytest.importorskip("resource")
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    big = clip_record(
        frames=records.encode_frames(
            np.random.default_rng(0).integers(0, 256, (9, 4, 6, 3), dtype=np.uint8),
            image_format="png",
        )
    )
    previous = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, limit[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            _write(tmp_path / SHARD, count=50, record=big)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
        signal.signal(signal.SIGXFSZ, previous)
    assert list(tmp_path.iterdir()) == []


def test_writer_refuses(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"must end in \.tfrecord"):
        ShardWriter(tmp_path / "a.bin")
    with pytest.raises(ValueError, match="inside `with"):
        ShardWriter(tmp_path / SHARD).write(clip_record())
    with pytest.raises(ValueError, match="no clip was written"), ShardWriter(tmp_path / SHARD):
        pass
    with ShardWriter(tmp_path / SHARD) as writer:
        writer.write(clip_record())
    with pytest.raises(ValueError, match="inside `with"):
        writer.write(clip_record())
    assert sorted(path.name for path in tmp_path.iterdir()) == [SHARD, INDEX]


def test_shard_name() -> None:
    assert records.shard_name("train", 3, 128) == "train-00003-of-00128.tfrecord"
    for arguments in (("train", 3, 3), ("train", -1, 3), ("my-split", 0, 1), ("train", 0, 100_001)):
        with pytest.raises(ValueError, match="no shard"):
            records.shard_name(*arguments)


def test_others_read_our_files(dataset: Path) -> None:
    """TensorBoard's reader checks both CRCs with code of its own; Grain's checks none."""
    source = ClipSource(dataset, "train")
    expected = [records.serialize(source[i]) for i in range(len(source))]
    reader = pywrap_tensorflow.PyRecordReader_New(str(dataset / SHARD))
    for payload in expected:
        reader.GetNext()
        assert reader.record() == payload
    assert list(grain.experimental.TFRecordIterDataset(str(dataset / SHARD))) == expected


def test_source_as_grain_needs_it(dataset: Path, tmp_path: Path) -> None:
    source = ClipSource(dataset, "train")
    expected = [source[i] for i in range(len(source))]
    copy = pickle.loads(pickle.dumps(source))
    assert [copy[np.int64(i)] for i in range(len(copy))] == expected
    moved = ClipSource(shutil.move(dataset, tmp_path / "moved"), "train")
    assert repr(moved) == repr(source) == repr(copy)
    assert str(tmp_path) not in repr(moved)
    for i in (-1, len(moved)):
        with pytest.raises(IndexError, match=f"clip {i} of {len(moved)}"):
            moved[i]


def test_source_is_read_from_threads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """More shards than may be open at once, and several readers."""
    monkeypatch.setattr(record_files, "_MAX_OPEN_FILES", 2)
    directory = make_dataset(tmp_path, num_videos=8, clips_per_video=1, num_shards=8, num_frames=1)
    source = ClipSource(directory, "train")
    wrong: list[int] = []

    def read(seed: int) -> None:
        for i in np.random.default_rng(seed).integers(len(source), size=200):
            if source[i].clip_id != source.clip_ids[i]:
                wrong.append(i)

    before = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0
    threads = [threading.Thread(target=read, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    if before:
        assert len(os.listdir("/proc/self/fd")) <= before + 2
    source.close()
    if before:
        assert len(os.listdir("/proc/self/fd")) == before
    assert source[0].clip_id == source.clip_ids[0]


def test_a_shard_that_vanishes(dataset: Path) -> None:
    source = ClipSource(dataset, "train")
    (dataset / SHARD).unlink()
    with pytest.raises(RecordError, match=f"{SHARD}: the shard is gone"):
        source[0]

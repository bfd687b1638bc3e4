"""`verify` finds every fault of a data set, names it, and goes on to the next one."""

import dataclasses
import json
import os
import re
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.datasets import INDEX, SHARD, clip_record, make_dataset
from vidgan_jax.data import records, tfexample
from vidgan_jax.data.clip_record import ClipRecord, serialize_unchecked


def _write(directory: Path, **shards: list[ClipRecord]) -> Path:
    """A data set of these records, a shard a split; records may contradict themselves."""
    for split, members in shards.items():
        path = directory / records.shard_name(split, 0, 1)
        with records.ShardWriter(path) as writer:
            for record in members:
                writer.write(record)
    records.finalize(directory)
    return directory


def _clips(count: int, video: str = "video", **changes: object) -> list[ClipRecord]:
    return [
        clip_record(video_id=video, clip_id=f"{video}/{number}", **changes)
        for number in range(count)
    ]


def _replace_payload(directory: Path, number: int, payload: bytes) -> None:
    """Puts another record in the place of one, with CRCs and length that hold."""
    shard = directory / SHARD
    index = records.load_index(shard)
    data = shard.read_bytes()
    begin = int(index.offset[number])
    end = begin + int(index.length[number]) + tfexample.FRAMING_BYTES
    shard.write_bytes(data[:begin] + tfexample.frame(payload) + data[end:])


def _found(directory: Path, **options: object) -> list[tuple[str, int | None, str]]:
    report = records.verify(directory, **options)  # type: ignore[arg-type]
    return [(fault.file, fault.record, fault.text) for fault in report.faults]


def _jpegs(**changes: object) -> ClipRecord:
    rng = np.random.default_rng(0)
    frames = rng.integers(0, 256, (3, 4, 6, 3), dtype=np.uint8)
    return clip_record(frames=records.encode_frames(frames), **changes)


@pytest.mark.parametrize("image_format", ["png", "jpeg"])
def test_frames_that_do_not_decode(image_format: str, tmp_path: Path) -> None:
    """Their headers are whole and every CRC holds: the damage is older than the data set."""
    whole = clip_record() if image_format == "png" else _jpegs()
    cut = [frame if t == 0 else frame[:-40] for t, frame in enumerate(whole.frames)]
    bad = dataclasses.replace(whole, frames=tuple(cut), clip_id="bad")
    _write(tmp_path, train=[whole, bad])
    ((file, number, text),) = _found(tmp_path)
    assert (file, number) == (SHARD, 1)
    numbers = "1, 2" if image_format == "jpeg" else "1"
    assert "clip 'bad' of video 'video': of" in text
    assert f"these do not decode: {numbers} (" in text
    assert not _found(tmp_path, decode=False)


def test_all_damaged_records_are_named_and_the_others_are_seen(tmp_path: Path) -> None:
    """Payload, length and both of neighbours: reading goes on behind each of them."""
    directory = make_dataset(tmp_path, num_videos=4, num_frames=1, size=4, label_maps=True)
    shard = directory / SHARD
    offset = records.load_index(shard).offset.tolist()
    data = bytearray(shard.read_bytes())
    for position in (offset[1] + 40, offset[3], offset[4] + 2, offset[7] + 1):
        data[position] ^= 1
    shard.write_bytes(data)
    seen: list[str] = []
    report = records.verify(directory, visit=lambda clip: seen.append(clip.record.clip_id))
    assert [(fault.file, fault.record) for fault in report.faults] == [
        (SHARD, number) for number in (1, 3, 4, 7)
    ]
    assert seen == ["train-0/0", "train-1/0", "train-2/1", "train-3/0"]
    assert report.num_clips == 4
    assert report.num_bytes == len(data)


def test_without_its_index_a_shard_ends_at_a_damaged_length(tmp_path: Path) -> None:
    directory = make_dataset(tmp_path, num_videos=2, num_frames=1, size=4)
    shard = directory / SHARD
    offset = records.load_index(shard).offset.tolist()
    data = bytearray(shard.read_bytes())
    data[offset[1]] ^= 1
    shard.write_bytes(data)
    (directory / INDEX).unlink()
    assert [(file, number) for file, number, _ in _found(directory)] == [(SHARD, 1), (INDEX, None)]


def test_a_length_beyond_the_file_is_not_read_into_memory(tmp_path: Path) -> None:
    directory = make_dataset(tmp_path, num_videos=1, num_frames=1, size=4)
    length = struct.pack("<Q", 1 << 60)
    header = length + struct.pack("<I", tfexample.masked_crc(length))
    with open(directory / SHARD, "r+b", buffering=0) as file:
        os.pwrite(file.fileno(), header, 0)
    ((_, number, text),) = _found(directory)
    assert number == 0
    assert "truncated" in text


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"fps": float("nan")}, r"fps \(=nan\) must be above 0 and finite"),
        ({"fps": float("inf")}, "fps"),
        ({"fps": 0.0}, "fps"),
        ({"height": 5}, "PNG of 6×4, but the clip says PNG of 6×5"),
        ({"clip_id": ""}, "clip_id"),
        ({"label_map": b"\x89PNG\r\n\x1a\nno"}, "damaged PNG"),
        ({"label_map": None}, "label_map_score"),
        ({"measures": {"zoom": float("nan")}}, "measure 'zoom'"),
    ],
)
def test_records_that_contradict_themselves(
    changes: dict[str, object], text: str, tmp_path: Path
) -> None:
    directory = _write(tmp_path, train=_clips(3))
    _replace_payload(directory, 1, serialize_unchecked(clip_record(**changes)))
    found = _found(directory)
    assert (found[0][0], found[0][1]) == (SHARD, 1)
    assert re.search(text, found[0][2])
    # Of another length, or other CRCs, than the index says.
    assert all(number is None for _, number, _ in found[1:])
    assert records.verify(directory).num_clips == 2


def test_a_clip_twice_and_a_video_in_two_splits(tmp_path: Path) -> None:
    train = [*_clips(2, "a"), *_clips(1, "b"), *_clips(1, "a")]
    _write(tmp_path, train=train, validation=_clips(2, "c") + [clip_record(video_id="b")] * 2)
    found = _found(tmp_path)
    validation = records.shard_name("validation", 0, 1)
    assert [(file, number) for file, number, _ in found] == [
        (SHARD, 3),
        (validation, 2),
        (validation, 3),
    ]
    assert f"clip_id 'a/0' is that of {SHARD}, record 0 (at byte 0), too" in found[0][2]
    assert "video 'b' is in split 'train' and in 'validation'" in found[1][2]
    assert "clip_id 'clip' is that of" in found[2][2]


def test_frame_rates_that_differ(tmp_path: Path) -> None:
    _write(tmp_path, train=[*_clips(1, "a", fps=30.0), *_clips(3, "b"), *_clips(2, "c", fps=25.0)])
    found = _found(tmp_path)
    assert [number for _, number, _ in found] == [0, 4]
    assert "fps is 30, as it is in 1 clips, but in 3 it is 24" in found[0][2]
    assert "fps is 25, as it is in 2 clips" in found[1][2]


@pytest.mark.parametrize(
    ("field", "value"), [("label_ids", [3, 4]), ("fps", 25.0), ("height", 5), ("image_format", "x")]
)
def test_info_that_tells_something_else(field: str, value: object, tmp_path: Path) -> None:
    directory = make_dataset(tmp_path, num_frames=1, size=4, label_maps=True)
    info = json.loads((directory / "info.json").read_text())
    (directory / "info.json").write_text(json.dumps(info | {field: value}))
    ((file, number, text),) = _found(directory)
    assert (file, number) == ("info.json", None)
    assert f"`{field}` is not what the shards hold" in text


def test_counts_of_a_split_that_are_wrong(tmp_path: Path) -> None:
    directory = make_dataset(tmp_path, num_frames=1, size=4)
    info = json.loads((directory / "info.json").read_text())
    info["splits"]["train"]["num_videos"] += 1
    (directory / "info.json").write_text(json.dumps(info))
    assert "`splits` is not what the shards hold" in _found(directory)[0][2]


@pytest.mark.parametrize("damage", [Path.unlink, lambda path: path.write_bytes(b"")])
def test_a_shard_that_is_gone_leaves_the_others(
    damage: Callable[[Path], object], tmp_path: Path
) -> None:
    directory = make_dataset(tmp_path, num_shards=3, num_frames=1, size=4)
    lost = directory / records.shard_name("train", 1, 3)
    damage(lost)
    report = records.verify(directory)
    assert [fault.file for fault in report.faults] == [lost.name]
    assert lost.name in report.problems[0]
    assert report.num_clips == 4


def test_threads_find_the_same(tmp_path: Path) -> None:
    directory = make_dataset(tmp_path, num_videos=20, num_shards=3, num_frames=1, size=4)
    shard = directory / records.shard_name("train", 1, 3)
    data = bytearray(shard.read_bytes())
    for position in (30, len(data) // 2, len(data) - 10):
        data[position] ^= 1
    shard.write_bytes(data)
    seen: dict[int, list[str]] = {0: [], 3: []}
    reports = []
    for workers, clips in seen.items():

        def note(clip: records.Seen, clips: list[str] = clips) -> None:
            clips.append(clip.record.clip_id)

        reports.append(records.verify(directory, workers=workers, visit=note))
    assert reports[0] == reports[1]
    assert len(reports[0].faults) == 3
    assert seen[0] == seen[3]
    assert len(seen[0]) == 37

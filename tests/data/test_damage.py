"""Whatever is damaged, foreign, missing or stale is refused by name, with the fix."""

import dataclasses
import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from tests.datasets import FEATURES, INDEX, SHARD, make_dataset
from vidgan_jax.data import records, tfexample
from vidgan_jax.data.records import ClipSource, RecordError

REBUILD = r"python -m vidgan_jax\.prepare index"


def test_every_corrupted_byte_is_found(dataset: Path) -> None:
    """Whichever byte changes: reading its record names shard and number, others still read."""
    shard = dataset / SHARD
    source = ClipSource(dataset, "train")
    index = records.load_index(shard)
    data = shard.read_bytes()
    owner = np.searchsorted(index.offset, np.arange(len(data)), side="right") - 1
    with open(shard, "r+b", buffering=0) as file:
        for position, byte in enumerate(data):
            os.pwrite(file.fileno(), bytes([byte ^ 0x10]), position)
            damaged = int(owner[position])
            with pytest.raises(RecordError, match=rf"{SHARD}, record {damaged} \(at byte \d+\)"):
                source[damaged]
            if position % 97 == 0:
                source[(damaged + 1) % len(source)]
                with pytest.raises(RecordError, match=rf"{SHARD}, record {damaged} "):
                    records.rebuild_index(shard)
                assert len(records.verify(dataset).problems) == 1
            os.pwrite(file.fileno(), bytes([byte]), position)
    assert records.verify(dataset).ok


def test_every_truncation_is_found(dataset: Path) -> None:
    shard = dataset / SHARD
    data = shard.read_bytes()
    ends = {*records.load_index(shard).offset.tolist()}
    index = (dataset / INDEX).read_bytes()
    source = ClipSource(dataset, "train")
    for length in range(len(data) - 1, 0, -1):
        os.truncate(shard, length)
        with pytest.raises(RecordError, match=f"{SHARD}, record {len(source) - 1} .*truncated"):
            source[len(source) - 1]
        if length % 53 == 0 or length in ends:
            with pytest.raises(RecordError, match=f"stale.*{len(data)} bytes.*{REBUILD}"):
                ClipSource(dataset, "train")
            assert not records.verify(dataset).ok
            if length not in ends:  # Else it is a shorter file, and nothing wrong with it.
                with pytest.raises(RecordError, match=rf"{SHARD}, record \d+ .*truncated"):
                    records.rebuild_index(shard)
    assert (dataset / INDEX).read_bytes() == index, "a failed rebuild leaves the index alone"


def test_a_changed_file_of_the_same_size_is_found(dataset: Path) -> None:
    """Another order of records: every CRC holds, the index does not."""
    shard = dataset / SHARD
    data = shard.read_bytes()
    second = int(records.load_index(shard).offset[1])
    shard.write_bytes(data[second:] + data[:second])
    assert "is not what the shard holds" in records.verify(dataset).problems[0]
    with pytest.raises(RecordError, match=rf"{SHARD}, record 1 .*its index is stale"):
        ClipSource(dataset, "train")[1]
    records.rebuild(dataset)
    assert records.verify(dataset).ok


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"", r"empty \(0 bytes\)"),
        (b"hello world, this is a text file\n", "record 0 .*not a TFRecord"),
        (b"short", "record 0 .*truncated"),
        (tfexample.frame(b"not a message"), r"record 0 .*not a tf\.train\.Example"),
        (tfexample.frame(tfexample.encode_example({"image": [b"x"]})), "no feature 'num_frames'"),
        (tfexample.frame(tfexample.encode_example(FEATURES)), "record 0 .*neither JPEG nor PNG"),
    ],
)
def test_foreign_files(content: bytes, text: str, dataset: Path) -> None:
    (dataset / SHARD).write_bytes(content)
    with pytest.raises(RecordError, match=rf"{SHARD}.*{text}"):
        records.rebuild_index(dataset / SHARD)
    with pytest.raises(RecordError, match=SHARD):
        ClipSource(dataset, "train")
    assert SHARD in records.verify(dataset).problems[0]


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (None, f"its index {INDEX} is missing.*{REBUILD}"),
        (b"", f"not an index, or damaged.*{REBUILD}"),
        (b"hello", f"not an index, or damaged.*{REBUILD}"),
        (slice(0, 300), f"not an index, or damaged.*{REBUILD}"),
    ],
)
def test_bad_index_is_refused_and_rebuilt(
    content: bytes | slice | None, text: str, dataset: Path
) -> None:
    index = dataset / INDEX
    good = index.read_bytes()
    if content is None:
        index.unlink()
    else:
        index.write_bytes(good[content] if isinstance(content, slice) else content)
    for use in (lambda: ClipSource(dataset, "train"), lambda: records.finalize(dataset)):
        with pytest.raises(RecordError, match=text):
            use()
    info = records.load_info(dataset)
    assert records.rebuild(dataset) == info, "counts, checksum and spec are as before"
    assert records.verify(dataset).ok


def test_foreign_index_is_refused(dataset: Path) -> None:
    for save in (lambda file: np.savez(file, offset=[0]), lambda file: np.save(file, [0])):
        with open(dataset / INDEX, "wb") as file:
            save(file)
        with pytest.raises(RecordError, match=f"not an index.*{REBUILD}"):
            ClipSource(dataset, "train")


def test_stale_index_after_replacing_a_shard(dataset: Path, tmp_path: Path) -> None:
    other = make_dataset(tmp_path / "other", num_videos=2, num_frames=3, size=4)
    shutil.copy(other / SHARD, dataset / SHARD)
    with pytest.raises(RecordError, match=f"stale.*{REBUILD}"):
        ClipSource(dataset, "train")
    shutil.copy(other / INDEX, dataset / INDEX)
    with pytest.raises(RecordError, match=rf"info\.json is stale.*{REBUILD}"):
        ClipSource(dataset, "train")
    records.rebuild(dataset)
    assert len(ClipSource(dataset, "train")) == 4


def test_edited_index_is_found_when_reading(dataset: Path) -> None:
    index = records.load_index(dataset / SHARD)
    edited = dataclasses.replace(index, num_frames=index.num_frames + 1)
    (dataset / INDEX).write_bytes(edited.to_bytes())
    with pytest.raises(
        RecordError, match=r"index is stale.*, 2\), but the index says .*, 3\).*prepare check"
    ):
        ClipSource(dataset, "train")[0]
    assert "`num_frames` is not what the shard holds" in records.verify(dataset).problems[0]


def test_info_errors(dataset: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.jpg").touch()
    info = dataset / "info.json"
    for directory, text in (
        (tmp_path / "nowhere", "the folder does not exist"),
        (info, "is a file, not a folder"),
        (tmp_path / "empty", "the folder is empty; fill it with `python -m vidgan_jax.prepare`"),
        (tmp_path / "photos", r"no info\.json and no shards \(found a\.jpg\)"),
    ):
        for use in (records.load_info, lambda d: ClipSource(d, "train"), records.verify):
            with pytest.raises(RecordError, match=text):
                use(directory)
    good = json.loads(info.read_text())
    for bad, text in (
        ("hello", "not the info of a data set of clips"),
        ("[]", "not the info of a data set of clips"),
        ("{}", "not the info of a data set of clips"),
        (good | {"format": "x"}, "not the info of a data set of clips"),
        (good | {"version": 2}, "format version 2, but this vidgan_jax reads version 1"),
        (good | {"splits": {"train": {}}}, f"damaged.*{REBUILD}"),
        (good | {"splits": {}}, f"damaged or edited.*{REBUILD}"),
        ({key: value for key, value in good.items() if key != "fps"}, f"damaged.*{REBUILD}"),
    ):
        info.write_text(bad if isinstance(bad, str) else json.dumps(bad))
        with pytest.raises(RecordError, match=text):
            records.load_info(dataset)
    info.unlink()
    with pytest.raises(RecordError, match=f"there are shards but no info.*{REBUILD}"):
        records.load_info(dataset)


def test_incomplete_sets_of_shards(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match="no such folder"):
        records.finalize(tmp_path / "nowhere")
    directory = make_dataset(tmp_path / "data", num_shards=3)
    lost = directory / records.shard_name("train", 1, 3)
    kept = lost.rename(lost.with_suffix(".lost"))
    with pytest.raises(RecordError, match=r"not one complete set of 3: missing \['train-00001-of"):
        records.finalize(directory)
    with pytest.raises(RecordError, match=r"train-00001-of-00003\.tfrecord: no such shard"):
        ClipSource(directory, "train")
    kept.rename(lost)
    shutil.copy(lost, directory / SHARD)
    with pytest.raises(RecordError, match=r"train-00000-of-00001.* is missing"):
        records.finalize(directory)
    assert f"{SHARD}: not in info.json" in records.verify(directory).problems[0]


def test_unknown_split(dataset: Path) -> None:
    with pytest.raises(RecordError, match=r"no split 'test'; it has \['train'\]"):
        ClipSource(dataset, "test")


def test_ids_of_no_class_are_found_where_asked(tmp_path: Path) -> None:
    directory = make_dataset(tmp_path, label_maps=True)
    assert records.verify(directory, num_labels=4).ok
    assert records.verify(directory, num_labels=3, dont_care=3).ok
    problem, *others = records.verify(directory, num_labels=3).problems
    assert len(others) == 5, "each clip has one"
    assert problem.startswith(f"{SHARD}, record 0 (at byte 0): clip 'train-0/0' of video 'train-0'")
    assert "label_map holds the id 3, but ids are 0 to 2 (num_labels is 3), or 255" in problem

"""ArrayRecord files: written, opened by name, read like shards; what is wrong with them is told."""

import os
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest

from tests.datasets import make_dataset
from vidgan_jax.data import array_records
from vidgan_jax.data.clips import training_loader
from vidgan_jax.data.records import ClipSource, RecordError
from vidgan_jax.data.sources import open_source
from vidgan_jax.types import ClipSpec

FIRST = "train-00000-of-00002.array_record"


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_dataset(
        tmp_path_factory.mktemp("data"),
        num_videos=3,
        num_frames=3,
        size=8,
        label_maps=True,
        num_shards=2,
        splits=("train", "validation"),
    )


@pytest.fixture(scope="module")
def pristine(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("written")
    array_records.write(data, out, progress=False)
    return out


@pytest.fixture
def written(pristine: Path, tmp_path: Path) -> Path:
    """A copy, to damage."""
    return Path(shutil.copytree(pristine, tmp_path / "written"))


def test_the_clips_are_those_of_the_shards(data: Path, written: Path) -> None:
    for split in ("train", "validation"):
        shards, source = ClipSource(data, split), open_source(f"arrayrecord:{written}", split)
        assert [source[i] for i in range(len(source))] == [shards[i] for i in range(len(shards))]
        for name in ("video_ids", "clip_ids"):
            assert getattr(source, name) == getattr(shards, name)
        for name in ("video", "num_frames", "has_label_map"):
            np.testing.assert_array_equal(getattr(source, name), getattr(shards, name))
        assert source.info.label_ids == shards.info.label_ids
        assert (source.info.height, source.info.fps) == (8, 24.0)
    with pytest.raises(IndexError, match=f"clip {len(source)} of"):
        source[len(source)]


def test_batches_are_those_of_the_shards(data: Path, written: Path) -> None:
    """The same samples in the same order: a run may change from one to the other."""
    spec = ClipSpec(2, 1, 8, resize=8, label_maps=True)
    batches = []
    for path in (str(data), f"arrayrecord:{written}"):
        with training_loader(open_source(path, "train"), spec, batch_size=3, seed=1) as loader:
            batches.append([next(loader) for _ in range(3)])
    for shards, ours in zip(*batches, strict=True):
        np.testing.assert_array_equal(shards.frames, ours.frames)
        np.testing.assert_array_equal(shards.label_map, ours.label_map)


def test_a_pickled_source_reads_on(written: Path) -> None:
    source = open_source(f"arrayrecord:{written}", "train")
    record = source[2]
    again = pickle.loads(pickle.dumps(source))
    assert again[2] == record
    assert repr(again) == repr(source)
    source.close()
    assert source[2] == record


def test_repr_tells_data_apart_and_not_places(written: Path, tmp_path: Path) -> None:
    source = open_source(f"arrayrecord:{written}", "train")
    moved = shutil.copytree(written, tmp_path / "elsewhere")
    assert repr(open_source(f"arrayrecord:{moved}", "train")) == repr(source)
    assert str(tmp_path) not in repr(source)
    other = make_dataset(tmp_path / "other", num_videos=3, num_frames=3, size=8, num_shards=2)
    array_records.write(other, tmp_path / "other-written", progress=False)
    assert repr(open_source(f"arrayrecord:{tmp_path / 'other-written'}", "train")) != repr(source)


def test_files_without_an_index_are_read_once(
    written: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    known = repr(open_source(f"arrayrecord:{written}", "train"))
    assert not capsys.readouterr().err
    for index in written.glob("*.npz"):
        index.unlink()
    for read in (True, False):
        source = open_source(f"arrayrecord:{written}", "train")
        assert repr(source) == known
        assert ("reading 2 files once" in capsys.readouterr().err) == read
    os.utime(written / FIRST, ns=(0, 0))  # another file, as far as one can tell
    open_source(f"arrayrecord:{written}", "train")
    assert "reading 1 file once" in capsys.readouterr().err


def test_patterns_and_tfds_names(written: Path) -> None:
    source = open_source(f"arrayrecord:{written}/train-*", "train")
    for number in range(2):
        name = f"train-{number:05d}-of-00002.array_record"
        (written / name).rename(written / f"set-train.array_record-{number:05d}-of-00002")
    assert open_source(f"arrayrecord:{written}", "train").clip_ids == source.clip_ids
    (written / "set-train.array_record-00001-of-00002").rename(written / "one.array_record")
    alone = open_source(f"arrayrecord:{written}/one.array_record", "any")
    assert alone.clip_ids == source.clip_ids[3:]


def test_damage_is_told_with_file_and_record(written: Path) -> None:
    path = written / FIRST
    payload = bytearray(path.read_bytes())
    source = open_source(f"arrayrecord:{written}", "train")
    frame = source[1].frames[0]
    source.close()
    payload[payload.index(frame) + 20] ^= 1
    path.write_bytes(payload)
    assert source[0].clip_id == source.clip_ids[0]
    with pytest.raises(RecordError, match=f"{FIRST}, record 1: corrupted data .*restore the file"):
        source[1]
    (written / f"{FIRST}.index.npz").unlink()
    with pytest.raises(RecordError, match=f"{FIRST}, record 1: corrupted data"):
        open_source(f"arrayrecord:{written}", "train")
    path.write_bytes(payload[: len(payload) // 2])
    with pytest.raises(RecordError, match=f"{FIRST}: truncated, or no ArrayRecord file"):
        open_source(f"arrayrecord:{written}", "train")


def test_mistakes(data: Path, written: Path, tmp_path: Path) -> None:
    with pytest.raises(RecordError, match=r"no files of split 'test'; there are \['train', 'val"):
        open_source(f"arrayrecord:{written}", "test")
    with pytest.raises(RecordError, match="no ArrayRecord files there"):
        open_source(f"arrayrecord:{tmp_path / 'nowhere'}", "train")
    with pytest.raises(RecordError, match="no sources are called 'arrayrecords'"):
        open_source(f"arrayrecords:{written}", "train")
    with pytest.raises(ValueError, match=r"holds other files .*choose an empty folder"):
        array_records.write(make_dataset(tmp_path / "small", size=4), written, progress=False)
    (written / FIRST).unlink()
    with pytest.raises(RecordError, match=r"not one complete set of 2 files: missing \[0\]"):
        open_source(f"arrayrecord:{written}", "train")
    assert isinstance(open_source(data, "train"), ClipSource)

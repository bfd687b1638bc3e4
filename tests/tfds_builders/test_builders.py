"""Our builders are data sources without TensorFlow; the loader reads what TFDS has prepared."""

import dataclasses
import json
import pickle
import re
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow_datasets as tfds

from tests.datasets import label_of, make_clip, make_dataset
from vidgan_jax import tfds_builders as builders
from vidgan_jax.data import records
from vidgan_jax.data.clips import evaluation_loader, training_loader
from vidgan_jax.data.collection import Clips
from vidgan_jax.data.media import write_mp4
from vidgan_jax.data.records import ClipSource, RecordError, ShardWriter
from vidgan_jax.data.sources import open_source
from vidgan_jax.preparation.nature import suitability
from vidgan_jax.types import ClipSpec

# TFDS asks protobuf's descriptors in a way that they tell will go.
pytestmark = pytest.mark.filterwarnings(r"ignore:[\s\S]*label\(\) is deprecated:DeprecationWarning")


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Clips with maps, scores and measures, in two splits."""
    plain = make_dataset(tmp_path_factory.mktemp("plain"), num_frames=3, size=8, label_maps=True)
    out = tmp_path_factory.mktemp("data")
    source = ClipSource(plain, "train")
    for split, clips in (("train", range(4)), ("validation", range(4, 6))):
        with ShardWriter(out / records.shard_name(split, 0, 1)) as writer:
            for i in clips:
                fields = vars(source[i]) | {"measures": {"zoom": 0.5, "camera_movement": i / 4}}
                writer.write(records.ClipRecord(**fields))
    records.finalize(out)
    return out


@pytest.fixture(scope="module")
def made(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """TFDS's folder with the clips of `data`."""
    out = tmp_path_factory.mktemp("tfds")
    tfds.data_source("vidgan_clips", data_dir=out, builder_kwargs={"data_set": data})
    return out


def test_a_prepared_data_set_is_a_data_source(data: Path, made: Path) -> None:
    source = tfds.data_source(
        "vidgan_clips", split="train", data_dir=made, builder_kwargs={"data_set": data}
    )
    shards = ClipSource(data, "train")
    assert len(source) == len(shards) == 4
    example, record = source[3], shards[3]
    frames = [records.decode_frame(frame) for frame in record.frames]
    np.testing.assert_array_equal(np.stack(example["video"]), frames)
    assert record.label_map is not None
    label_map = records.decode_label_map(record.label_map)
    np.testing.assert_array_equal(example["label_map"][..., 0], label_map)
    assert (example["fps"], example["label_map_score"]) == (24.0, 1.0)
    assert example["clip_id"].decode() == record.clip_id
    assert list(example["measures"]["name"]) == [b"camera_movement", b"zoom"]
    np.testing.assert_allclose(example["measures"]["value"], [0.75, 0.5])
    assert pickle.loads(pickle.dumps(source))[3]["clip_id"] == example["clip_id"]
    assert "tensorflow" not in sys.modules


def test_the_loader_reads_it_by_name(data: Path, made: Path) -> None:
    """The stored bytes are the same, encoded frames included."""
    for split in ("train", "validation"):
        source = open_source(f"tfds:vidgan_clips?data_dir={made}", split)
        shards = ClipSource(data, split)
        assert [source[i] for i in range(len(source))] == [shards[i] for i in range(len(shards))]
    again = pickle.loads(pickle.dumps(source))
    assert again[1] == source[1]
    assert repr(again) == repr(source)
    assert str(made) not in repr(source)
    without = open_source(f"tfds:vidgan_clips?data_dir={made}&label_map=", "validation")
    assert without[0].label_map is None
    assert repr(without) != repr(source)
    with evaluation_loader(source, ClipSpec(2, 1, 8, resize=8), batch_size=2) as loader:
        assert next(loader).frames.shape == (2, 2, 8, 8, 3)


def test_a_damaged_record_of_it_is_skipped(made: Path, tmp_path: Path) -> None:
    """What another takes the place of is told by file and number."""
    folder = shutil.copytree(made, tmp_path / "made")
    source = open_source(f"tfds:vidgan_clips?data_dir={folder}", "train")
    (path,) = folder.rglob("*-train.array_record*")
    data = path.read_bytes()
    for place in range(64, len(data), 32):  # TFDS compresses: where the records are is not known
        path.write_bytes(data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :])
        source.close()
        damaged = [i for i in range(len(source)) if not readable(source, i)]
        if len(damaged) == 1:
            break
    told: list[tuple[str, int]] = []
    with training_loader(
        source,
        ClipSpec(2, 1, 8, resize=8),
        batch_size=32,
        seed=0,
        max_skipped=1,
        on_skip=lambda error, count: told.append((str(error), count)),
    ) as loader:
        assert next(loader).frames.shape[0] == 32
    ((text, count),) = told
    assert count == 1
    assert re.match(rf"{path.name}, record {damaged[0]}: corrupted data", text)


def readable(source: Clips, i: int) -> bool:
    try:
        source[i]
    except RecordError:
        return False
    return True


def test_clips_without_maps(data: Path, tmp_path: Path) -> None:
    bare = make_dataset(tmp_path / "bare", num_videos=2, size=8)
    builder = builders.VidganClips(data_set=bare, data_dir=tmp_path / "tfds")
    assert "label_map" not in builder.info.features
    with pytest.raises(ValueError, match=r"no clip of .* has a label map"):
        builders.VidganClips(data_set=bare, label_maps=True, data_dir=tmp_path / "tfds")
    chosen = builders.VidganClips(data_set=data, label_maps=False, data_dir=tmp_path / "tfds")
    assert "label_map" not in chosen.info.features
    assert len({builder.info.full_name, chosen.info.full_name}) == 2
    assert pickle.loads(pickle.dumps(chosen)).info.full_name == chosen.info.full_name


def test_raw_pipelines(tmp_path: Path) -> None:
    """Scenes are drawn and videos are cut when TFDS prepares; what was in between is removed."""
    settings = {"num_videos": 2, "clips_per_video": 1, "num_frames": 3, "size": 16}
    scenes = tfds.data_source(
        "vidgan_scenes",
        split="train",
        data_dir=tmp_path / "tfds",
        builder_kwargs={"settings": {**settings, "supersampling": 1}, "workers": 0},
    )
    assert len(scenes) == 1
    assert np.shape(scenes[0]["video"]) == (3, 16, 16, 3)
    assert scenes[0]["label_map"].shape == (16, 16, 1)
    (tmp_path / "videos").mkdir()
    write_mp4(tmp_path / "videos" / "a.mp4", make_clip(0, 0, num_frames=9, size=32), fps=24)
    cut = tfds.data_source(
        "vidgan_videos",
        split="train",
        data_dir=tmp_path / "tfds",
        builder_kwargs={
            "source": tmp_path / "videos",
            "cutting": {"num_frames": 4, "size": 16},
            "workers": 0,
        },
    )
    assert len(cut) == 2
    assert np.shape(cut[0]["video"]) == (4, 16, 16, 3)
    assert "label_map" not in cut[0]
    assert not list((tmp_path / "tfds").glob(".vidgan_jax*"))
    named = open_source(f"tfds:vidgan_videos?data_dir={tmp_path / 'tfds'}", "train")
    assert named.video_ids == ["a.mp4"]


def test_nature_from_raw_videos(tmp_path: Path) -> None:
    """Two shots joined by a cut, as `prepare nature` finds them."""
    first, second = make_clip(0, 0, num_frames=40, size=32), make_clip(0, 0, num_frames=40, size=32)
    frames = np.concatenate([first[:1].repeat(40, 0), 255 - second[:1].repeat(40, 0)])
    (tmp_path / "videos").mkdir()
    write_mp4(tmp_path / "videos" / "a.mp4", frames, fps=24)
    limits = {field.name: None for field in dataclasses.fields(suitability.Limits)}
    source = tfds.data_source(
        "vidgan_nature",
        split="train",
        data_dir=tmp_path / "tfds",
        builder_kwargs={
            "source": tmp_path / "videos",
            "segmenter": None,
            "cutting": {"num_frames": 8, "size": 32, "margin_s": 0.25},
            "limits": limits,
            "workers": 0,
        },
    )
    assert len(source) == 2
    assert np.shape(source[0]["video"]) == (8, 32, 32, 3)


class ForeignClips(tfds.core.GeneratorBasedBuilder):
    """Somebody else's clips: nested images, arrays, ids that are numbers, a map for each frame."""

    VERSION = tfds.core.Version("2.1.0")
    code_path = None

    def _info(self) -> Any:
        f = tfds.features
        features = {
            "clip": f.Sequence({"frames": f.Image(), "masks": f.Image(shape=(None, None, 1))}),
            "array": f.Tensor(shape=(None, 8, 8, 3), dtype=np.uint8),
            "packed": f.Tensor(shape=(None, None, None, 3), dtype=np.uint8, encoding="zlib"),
            "ids": f.Tensor(shape=(8, 8), dtype=np.int32),
            "meta": {"name": f.Text(), "rate": np.float32, "number": np.int64},
        }
        return tfds.core.DatasetInfo(
            builder=self, features=f.FeaturesDict(features), disable_shuffling=True
        )

    def _split_generators(self, dl_manager: Any) -> dict[str, Any]:
        return {"train": self._generate_examples()}

    def _generate_examples(self) -> Any:
        for i in range(3):
            clip = make_clip(i, 0, num_frames=3, size=8)
            frames = records.encode_frames(clip, image_format="png")
            maps = [records.encode_label_map(np.full((8, 8), n, np.uint8)) for n in (1, 2, 3)]
            yield (
                i,
                {
                    "clip": [{"frames": f, "masks": m} for f, m in zip(frames, maps, strict=True)],
                    "array": clip,
                    "packed": clip,
                    "ids": label_of(clip[0]).astype(np.int32),
                    "meta": {"name": f"film {i // 2}", "rate": 12.5, "number": i + 7},
                },
            )


@pytest.fixture(scope="module")
def foreign(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("foreign")
    ForeignClips(data_dir=out, file_format="array_record").download_and_prepare()
    return out


@pytest.mark.parametrize("video", ["clip/frames", "array", "packed"])
def test_foreign_features_are_mapped(video: str, foreign: Path) -> None:
    names = f"video={video}&label_map=ids&video_id=meta/name&clip_id=meta/number&fps=meta/rate"
    source = open_source(f"tfds:foreign_clips:2.1.0?data_dir={foreign}&{names}", "train")
    assert (source.video_ids, source.clip_ids) == (["film 0", "film 1"], ["7", "8", "9"])
    assert source.info.fps == 12.5
    record, clip = source[1], make_clip(1, 0, num_frames=3, size=8)
    np.testing.assert_array_equal([records.decode_frame(f) for f in record.frames], clip)
    assert record.label_map is not None
    np.testing.assert_array_equal(records.decode_label_map(record.label_map), label_of(clip[0]))


def test_of_maps_for_each_frame_the_middle_one_counts(foreign: Path) -> None:
    names = "video=clip/frames&label_map=clip/masks&fps=24"
    source = open_source(f"tfds:foreign_clips?data_dir={foreign}&{names}", "train")
    record = source[0]
    assert record.label_map is not None
    assert (records.decode_label_map(record.label_map) == 2).all()
    assert len(source.video_ids) == 3
    assert record.video_id == "foreign_clips-train.array_record-00000-of-00001#0"


@pytest.mark.parametrize(
    ("query", "split", "text"),
    [
        ("fps=24", "train", r"video: there is no feature 'video'.*\?video=KEY.*meta/name: text"),
        ("video=array", "train", "fps: there is no feature 'fps'; give frames a second, as fps=24"),
        (
            "video=ids&fps=24",
            "train",
            r"must be a sequence of images .* ids: int32 tensor \[8, 8\]",
        ),
        ("video=array&fps=0", "train", "fps: 0 must be above 0"),
        ("video=array&fps=24&label_map=meta/name", "train", "label_map: it must be an image or"),
        ("video=array&fps=24&clip_id=meta/rate", "train", "clip_id: it must be a text or an int"),
        ("video=array&fps=24&colour=red", "train", "'colour=red' must be KEY=VALUE"),
        ("video=array&fps=24", "test", r"no split 'test' with records; it has \['train'\]"),
    ],
)
def test_mistakes_are_told(query: str, split: str, text: str, foreign: Path) -> None:
    with pytest.raises(ValueError, match=text):
        open_source(f"tfds:foreign_clips?data_dir={foreign}&{query}", split)


def test_damaged_and_missing_folders_are_told(foreign: Path, tmp_path: Path) -> None:
    with pytest.raises(RecordError, match=r"not prepared in .*there are \[.*'foreign_clips'"):
        open_source(f"tfds:foreign_clip?data_dir={foreign}", "train")
    with pytest.raises(ValueError, match="names no data set"):
        open_source("tfds:?video=array", "train")
    folder = foreign / "foreign_clips" / "2.1.0"
    info = json.loads((folder / "dataset_info.json").read_text())
    features = (folder / "features.json").read_text()
    for change, text in (
        ({"fileFormat": "parquet"}, "prepared as 'parquet'"),
        ({"splits": [{"name": "train"}]}, "dataset_info.json: damaged"),
        ({}, "array_record-00000-of-00001: no such file; restore it"),
    ):
        copy = tmp_path / "foreign_clips" / "1.0.0"
        copy.mkdir(parents=True, exist_ok=True)
        (copy / "dataset_info.json").write_text(json.dumps(info | change))
        (copy / "features.json").write_text(features)
        with pytest.raises(RecordError, match=text):
            open_source(f"tfds:foreign_clips?data_dir={tmp_path}&video=array&fps=24", "train")

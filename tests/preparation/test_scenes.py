"""Procedural scenes as a data set."""

import concurrent.futures
from pathlib import Path

import numpy as np
import pytest

from vidgan_jax.data import records, scenes
from vidgan_jax.preparation.scenes import SceneSettings, prepare_scenes


def _prepare(
    out: Path, *, num_videos: int = 3, seed: int = 0, workers: int = 0
) -> records.DatasetInfo:
    return prepare_scenes(
        out,
        num_videos=num_videos,
        clips_per_video=2,
        num_frames=3,
        size=24,
        seed=seed,
        supersampling=1,
        image_format="png",
        workers=workers,
        progress=False,
    )


def test_clips_are_the_scenes_with_their_label_maps(tmp_path: Path) -> None:
    info = _prepare(tmp_path)
    assert (info.height, info.width, info.fps, info.image_format) == (24, 24, 24.0, "png")
    assert info.splits["train"].num_label_maps == 4
    assert info.splits["validation"].num_videos == 1
    source = records.ClipSource(tmp_path, "train")
    record = source[0]
    assert record.label_map is not None
    assert record.label_map_score == 1.0
    label_map = records.decode_label_map(record.label_map)
    assert set(np.unique(label_map)) <= set(info.label_ids)
    frames = [records.decode_frame(frame) for frame in record.frames]
    assert not np.array_equal(frames[0], frames[-1])


def test_kinds_take_turns(tmp_path: Path) -> None:
    _prepare(tmp_path, num_videos=3)
    ids = [c for s in ("train", "validation") for c in records.ClipSource(tmp_path, s).clip_ids]
    kinds = {clip.split("-")[3].split("#")[0] for clip in ids}
    assert kinds == set(scenes.SCENE_KINDS[:3])


def test_the_seed_decides_whatever_the_number_of_workers(tmp_path: Path) -> None:
    here = _prepare(tmp_path / "a")
    processes = _prepare(tmp_path / "b", workers=2)
    other = _prepare(tmp_path / "c", seed=1)
    assert here.checksum == processes.checksum
    assert here.checksum != other.checksum


def test_two_at_once_make_one_data_set(tmp_path: Path) -> None:
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        infos = [run.result() for run in [pool.submit(_prepare, tmp_path) for _ in range(4)]]
    assert infos == [records.load_info(tmp_path)] * 4
    assert records.verify(tmp_path).ok


@pytest.mark.parametrize("name", ["num_videos", "clips_per_video", "num_frames", "size"])
def test_counts_out_of_range(name: str) -> None:
    fields = {"num_videos": 1} | {name: 0}
    with pytest.raises(ValueError, match=rf"{name} \(=0\) must be at least 1"):
        SceneSettings(**fields)

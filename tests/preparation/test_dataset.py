"""The whole way from jobs to a data set: split, shards, resuming, refusing, reporting."""

import json
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.preparation.work import Task, make_jobs, paint, starts
from vidgan_jax.data import records
from vidgan_jax.preparation import dataset
from vidgan_jax.preparation.dataset import Layout, Recipe, Result
from vidgan_jax.preparation.parts import OutputError

_NAMES = [f"video-{number:02d}" for number in range(20)]


def _recipe(*tasks: Task, **settings: Any) -> Recipe:
    return Recipe("painted", paint, make_jobs(*tasks), {"fps": 24, **settings})


def _prepare(
    out: Path, recipe: Recipe, layout: Layout | None = None, *, overwrite: bool = False
) -> Result:
    return dataset.prepare(
        recipe, out, layout=layout or Layout(), workers=0, overwrite=overwrite, progress=False
    )


def _clip_ids(out: Path, split: str) -> list[str]:
    return records.ClipSource(out, split).clip_ids


def test_split_is_by_video_and_complete(tmp_path: Path) -> None:
    result = _prepare(tmp_path, _recipe(*(Task(name, 3) for name in _NAMES)), Layout(0.25))
    train, validation = (
        {clip.split("#")[0] for clip in _clip_ids(tmp_path, split)}
        for split in ("train", "validation")
    )
    assert len(validation) == 5
    assert train | validation == set(_NAMES)
    assert not train & validation
    assert result.info.splits["train"].num_clips == 45
    assert records.verify(tmp_path).ok


def test_split_depends_on_names_and_seed_only() -> None:
    first, again = (Layout(0.3, seed=1).split(names) for names in (_NAMES, _NAMES[::-1]))
    assert first == again
    assert first != Layout(0.3, seed=2).split(_NAMES)


@pytest.mark.parametrize(
    ("num_videos", "fraction", "validation"),
    [(1, 0.1, 0), (2, 0.1, 1), (3, 0.9, 2), (1, 0.9, 0), (20, 0.0, 0), (20, 0.5, 10), (5, 0.99, 4)],
)
def test_one_video_always_stays_for_training(
    num_videos: int, fraction: float, validation: int
) -> None:
    splits = Layout(fraction).split(_NAMES[:num_videos])
    assert len(splits.get("validation", [])) == validation
    assert len(splits["train"]) == num_videos - validation


def test_shards_are_even_and_keep_the_order(tmp_path: Path) -> None:
    tasks = [Task("a", 4), Task("b", 3), Task("c", 0), Task("d", 3)]
    info = _prepare(tmp_path, _recipe(*tasks), Layout(0.0, clips_per_shard=4)).info
    assert [shard.num_clips for shard in info.splits["train"].shards] == [3, 3, 4]
    assert _clip_ids(tmp_path, "train") == [
        f"{video}#{clip}"
        for video, count in (("a", 4), ("b", 3), ("d", 3))
        for clip in range(count)
    ]
    assert not (tmp_path / ".parts").exists()


def test_the_same_again_does_nothing(tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    recipe = _recipe(Task("a", marker=marker), Task("b"))
    first = _prepare(tmp_path / "out", recipe)
    second = _prepare(tmp_path / "out", recipe)
    assert (first.was_there, second.was_there) == (False, True)
    assert second.info == first.info
    assert [o.num_clips for o in second.outcomes] == [2, 2]
    assert starts(marker) == 1


@pytest.mark.parametrize(
    ("recipe", "layout", "message"),
    [
        (_recipe(Task("a"), fps=30), Layout(), r"fps was 24, now 30"),
        (_recipe(Task("a")), Layout(seed=5), r"seed was 0, now 5"),
        (_recipe(Task("a"), Task("b")), Layout(), r"source videos are not the same: 1 then, 2 now"),
    ],
)
def test_another_data_set_in_its_place_is_refused_and_overwritten_on_demand(
    tmp_path: Path, recipe: Recipe, layout: Layout, message: str
) -> None:
    before = _prepare(tmp_path, _recipe(Task("a"))).info
    with pytest.raises(ValueError, match=f"made differently.*{message}.*--overwrite"):
        _prepare(tmp_path, recipe, layout)
    assert records.load_info(tmp_path) == before
    after = _prepare(tmp_path, recipe, layout, overwrite=True).info
    assert after.spec != before.spec
    assert records.verify(tmp_path).ok


def test_overwriting_leaves_no_old_shards(tmp_path: Path) -> None:
    _prepare(tmp_path, _recipe(*(Task(name) for name in _NAMES)), Layout(0.5, clips_per_shard=2))
    _prepare(tmp_path, _recipe(Task("a")), overwrite=True)
    assert sorted(path.name for path in tmp_path.glob("*.tfrecord*")) == [
        "train-00000-of-00001.tfrecord",
        "train-00000-of-00001.tfrecord.index.npz",
    ]


def test_overwriting_with_videos_that_are_all_bad_keeps_the_old_data_set(tmp_path: Path) -> None:
    before = _prepare(tmp_path, _recipe(Task("a"))).info
    with pytest.raises(ValueError, match="none of the 1 videos gave a clip"):
        _prepare(tmp_path, _recipe(Task("bad", fail=True)), overwrite=True)
    assert records.load_info(tmp_path) == before
    assert records.verify(tmp_path).ok


def test_foreign_shards_are_not_touched(tmp_path: Path) -> None:
    foreign = tmp_path / "train-00000-of-00001.tfrecord"
    foreign.write_bytes(b"someone's work")
    with pytest.raises(ValueError, match=r"holds shards .* that are not of this command"):
        _prepare(tmp_path, _recipe(Task("a")))
    assert foreign.read_bytes() == b"someone's work"
    assert [path.name for path in tmp_path.iterdir()] == [foreign.name]


def test_a_shard_that_is_gone_is_noticed(tmp_path: Path) -> None:
    _prepare(tmp_path, _recipe(Task("a")))
    (tmp_path / "train-00000-of-00001.tfrecord").unlink()
    with pytest.raises(ValueError, match=r"train-00000-of-00001\.tfrecord is gone"):
        _prepare(tmp_path, _recipe(Task("a")))


def test_report_says_what_became_of_each_video(tmp_path: Path) -> None:
    tasks = [Task("good"), Task("bad", fail=True), Task("short", 0)]
    recipe = Recipe("painted", paint, make_jobs(*tasks), {"fps": 24}, [("notes.txt", "no video")])
    result = _prepare(tmp_path, recipe)
    assert [outcome.video_id for outcome in result.failed] == ["bad"]
    report = json.loads((tmp_path / "report.json").read_text())
    assert [report[f"num_{what}"] for what in ("written", "failed", "without_clips")] == [1, 1, 1]
    videos = {video["video_id"]: video for video in report["videos"]}
    assert videos["bad"]["error"] == "bad: not a good video"
    assert videos["short"]["notes"] == ["short: too short"]
    assert report["skipped"] == [{"name": "notes.txt", "reason": "no video"}]
    assert _prepare(tmp_path, recipe).failed == result.failed


def test_nothing_written_is_an_error_with_every_reason(tmp_path: Path) -> None:
    tasks = [Task("bad", fail=True), Task("short", 0)]
    with pytest.raises(ValueError, match=r"none of the 2 videos(.|\n)*bad: not.*\n.*short: too"):
        _prepare(tmp_path, _recipe(*tasks))
    assert [path.name for path in tmp_path.iterdir()] == ["report.json"]


def test_no_videos_at_all(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no videos to make clips of"):
        _prepare(tmp_path, _recipe())


def test_stopped_while_joining_it_goes_on_without_new_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    marker, out = tmp_path / "marker", tmp_path / "out"
    recipe = _recipe(Task("a", marker=marker), Task("b", marker=marker))
    with monkeypatch.context() as patched:
        patched.setattr(records, "finalize", stop)
        with pytest.raises(KeyboardInterrupt):
            _prepare(out, recipe)
    assert not (out / "info.json").exists()
    _prepare(out, recipe)
    assert starts(marker) == 2
    reference = _prepare(tmp_path / "reference", recipe).info
    assert records.load_info(out).checksum == reference.checksum


def test_too_little_room_for_joining_is_said_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = _recipe(Task("a"))
    with monkeypatch.context() as patched:
        patched.setattr(dataset.shutil, "disk_usage", lambda _: types.SimpleNamespace(free=10))
        with pytest.raises(OutputError, match=r"too full.*are kept.*repeat"):
            _prepare(tmp_path, recipe)
    assert not list(tmp_path.glob("*.tfrecord"))
    assert _prepare(tmp_path, recipe).info.splits["train"].num_clips == 2


def test_preview_shows_clips_as_strips(tmp_path: Path) -> None:
    _prepare(tmp_path, _recipe(*(Task(name, 1) for name in _NAMES)), Layout(0.0))
    image = np.asarray(Image.open(tmp_path / "preview.png"))
    side = 64  # of 8 pixels, enlarged
    assert image.shape == (8 * (side + 2) + 2, 3 * (side + 2) + 2, 3)
    assert len(np.unique(image[33, 33 :: side + 2, 0])) == 1  # A painted clip's frames are alike.
    assert len(np.unique(image[33 :: side + 2, 33, 0])) > 4


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (
            {"validation_fraction": 1.0},
            r"validation_fraction \(=1\) must be at least 0",
        ),
        ({"validation_fraction": -0.1}, r"validation_fraction \(=-0\.1\)"),
        ({"clips_per_shard": 0}, r"clips_per_shard \(=0\) must be at least 1"),
    ],
)
def test_layout_out_of_range(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Layout(**fields)

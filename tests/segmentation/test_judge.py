"""The judge of generated frames: the package's own where it fits, else one that is kept."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from configs import segmenter as shipped_config
from tests.datasets import make_dataset
from tests.runs import names
from tests.segmentation.labelled import WANTED, relabelled, tiny
from tests.segmentation.onnx_models import write_model
from vidgan_jax.data import scenes
from vidgan_jax.data.records import ClipSource
from vidgan_jax.metrics.segmentation import compare_maps
from vidgan_jax.segmentation import judge, loading, small, training
from vidgan_jax.segmentation.config import parse
from vidgan_jax.segmentation.judge import Wanted, judge_config, unfit
from vidgan_jax.segmentation.small import Segmenter
from vidgan_jax.train.loop import Outcome

AS_SCENES = {0: 2, 1: 4, 2: 9, 3: 16}
FRAMES = Wanted(size=64, resize=80, num_labels=150)


@pytest.fixture(scope="module")
def shipped() -> Segmenter:
    return small.load(small.SCENES)


def scenes_of(folder: Path, *, seed: int = 0, ids: dict[int, int] = AS_SCENES) -> ClipSource:
    """Data that say they are scenes."""
    return relabelled(folder, ids, recipe="scenes", settings={"seed": seed})


# What comes with the package.


def test_the_package_s_segmenter_is_what_its_config_trains(shipped: Segmenter) -> None:
    """`python -m vidgan_jax.main --config=configs/segmenter.py` makes it again."""
    trained = shipped.trained
    assert parse(trained["config"]) == parse(shipped_config.get_config().to_dict())
    assert trained["version"] == training.VERSION
    assert trained["data"]["spec"]["recipe"] == "scenes"
    assert trained["data"]["spec"]["settings"]["seed"] != 0  # GANs' scenes are of seed 0
    drawn = set().union(*scenes.SCENE_LABELS.values())
    assert shipped.classes == tuple(sorted(drawn))
    assert small.SCENES.stat().st_size < 2_000_000
    for size in ("64", "80"):
        assert trained["held_out"][size]["pixel_accuracy"] >= 0.95


def test_it_segments_scenes_that_it_has_not_seen(shipped: Segmenter) -> None:
    clips = [
        scenes.render_clip(10_000 + i, num_frames=1, size=64, kind=kind)
        for i, kind in enumerate(scenes.SCENE_KINDS)
    ]
    found = shipped(np.stack([clip.frames[0] for clip in clips]))
    scores, _ = compare_maps(found, np.stack([clip.label_map for clip in clips]), 150)
    assert scores.pixel_accuracy > 0.93


def test_it_does_for_scenes_it_knows_at_sizes_it_knows(tmp_path: Path) -> None:
    source = scenes_of(tmp_path / "0")
    assert unfit(source, FRAMES) is None
    for wanted, why in (
        (Wanted(40, 80, 150), "takes sizes that are multiples of 16, not 40"),
        (Wanted(32, 40, 150), "has learnt frames of 64 to 160 pixels, not 40"),
    ):
        assert why in str(unfit(source, wanted))
    itself = scenes_of(tmp_path / "1", seed=1)
    assert "has learnt scenes of the seed 1 itself" in str(unfit(itself, FRAMES))
    others = scenes_of(tmp_path / "2", ids={0: 2, 1: 4, 2: 9, 3: 20})
    assert "does not know the class 20" in str(unfit(others, FRAMES))
    own = relabelled(tmp_path / "3", AS_SCENES, recipe="videos")
    assert "not of scenes" in str(unfit(own, FRAMES))


# What is trained.


def test_it_is_trained_once_for_data_and_config(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    source = ClipSource(make_dataset(tmp_path / "data", size=10, label_maps=True), "train")
    train, calls = training.train, []

    def counted(*given: Any, **options: Any) -> Outcome:
        calls.append(given[0])
        return train(*given, **options)

    monkeypatch.setattr(training, "train", counted)
    config = tiny(1)
    first = judge.cached_segmenter(source, config, progress=False)
    again = judge.cached_segmenter(source, config, progress=False)
    assert first.identity == again.identity
    assert calls == [config]
    told = judge.describe(first, shipped=False)
    assert told["data"] == source.info.checksum
    assert (told["num_steps"], told["resizes"], told["shipped"]) == (1, [10], False)
    folder = judge.cache_folder(source, config)
    assert folder.parent == tmp_path / "cache" / "vidgan_jax" / "segmenters"
    assert "checkpoint.npz" not in names(folder)
    assert judge.cache_folder(source, tiny(2)) != folder
    path = folder / small.FILE
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(
        ValueError, match=r"\.npz: no segmenter, or damaged .*; if it was one, remove it"
    ):
        judge.cached_segmenter(source, config, progress=False)
    path.unlink()
    assert judge.cached_segmenter(source, config, progress=False).identity == first.identity


def test_a_request_to_stop_ends_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    source = ClipSource(make_dataset(tmp_path / "data", size=10, label_maps=True), "train")
    monkeypatch.setattr(training, "train", lambda *given, **options: Outcome(1, 2))
    with pytest.raises(KeyboardInterrupt):
        judge.cached_segmenter(source, tiny(2))


def test_levels_are_as_many_as_the_size_allows() -> None:
    assert judge_config(WANTED).segmenter.features == (24, 48, 64, 96)
    assert judge_config(Wanted(4, 4, 3)).segmenter.features == (24, 48, 64)
    with pytest.raises(ValueError, match=r"config\.segmenter\.size \(=0\) must be at least 1"):
        judge_config(Wanted(0, 4, 3))
    with pytest.raises(ValueError, match=r"num_labels \(=256\) must be at most 255"):
        judge_config(Wanted(4, 4, 256))


# What is given.


def test_a_segmenter_of_other_classes_is_refused(shipped: Segmenter) -> None:
    judge.check_knows(shipped, 150, [2, 4, 255])
    with pytest.raises(
        ValueError, match=r"may give the id \d+, but num_labels \(=20\) allows 0 to"
    ):
        judge.check_knows(shipped, 20)
    known = dataclasses.replace(shipped, classes=(0, 1, 2, 7, 9, 10))
    with pytest.raises(ValueError, match=r"id 5 \(ceiling\), .* its 6 classes are 0 to 2, 7, 9 to"):
        judge.check_knows(known, 150, [2, 5])


def test_what_is_told_of_one_that_is_given(shipped: Segmenter, tmp_path: Path) -> None:
    told = judge.describe_given("some/where/segmenter.npz", shipped)
    assert (told["summary"], told["shipped"]) == ("the segmenter segmenter.npz", False)
    assert told["identity"] == shipped.identity
    path = str(write_model(tmp_path / "s.onnx", options={"label_offset": 2}))
    told = json.loads(json.dumps(judge.describe_given(path, loading.load(path))))
    assert told["options"]["label_offset"] == 2
    assert told["providers"] == ["CPUExecutionProvider"]
    assert str(tmp_path) not in json.dumps(told)

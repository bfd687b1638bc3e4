"""`python -m vidgan_jax.evaluate` of SPADE: do frames follow the label maps they were made from?"""

import dataclasses
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.datasets import make_dataset
from tests.runs import ROOT, fields, names, one_device, read_json, refuse, succeed
from tests.segmentation.labelled import relabelled
from vidgan_jax import evaluate, inflate, main
from vidgan_jax.data.records import ClipSource
from vidgan_jax.evaluation import engine
from vidgan_jax.evaluation.judges import choose_judge
from vidgan_jax.metrics.maps import read_labelled
from vidgan_jax.segmentation import judge, small, training
from vidgan_jax.segmentation.config import SegmenterConfig
from vidgan_jax.segmentation.judge import Wanted
from vidgan_jax.segmentation.small import Segmenter
from vidgan_jax.synthesis.run import Synthesizer
from vidgan_jax.types import ClipSpec

NUM, SIZE, NUM_FRAMES = 96, 16, 4
SPLITS = ("train", "validation")
TINY = (
    *fields(model_size=SIZE, model_features=2, model_max_features=4, model_z_dim=3),
    *fields(model_num_labels=5, model_label_features=4, model_disc_features=4),
    *fields(model_disc_scales=1, data_resize=SIZE, data_num_threads=1),
    *fields(train_batch_size=4, train_num_steps=1, train_num_samples=2),
)
IMAGES = (f"--config={ROOT / 'configs/spade2d.py'}:smoke", *TINY)
CLIPS = (
    f"--config={ROOT / 'configs/spade3d.py'}:smoke",
    *TINY,
    *fields(model_num_frames=NUM_FRAMES, data_stride=2),
)


@dataclasses.dataclass(frozen=True)
class Spade:
    """A 2D run, the same inflated, and their data."""

    data: Path
    images: Path
    inflated: Path


@pytest.fixture(scope="module")
def spade(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Spade]:
    """Segmenters are kept beside, for all tests."""
    folder = tmp_path_factory.mktemp("spade")
    data = make_dataset(folder / "data", size=SIZE, label_maps=True, splits=SPLITS)
    runs = Spade(data, folder / "images", folder / "inflated")
    with one_device(), pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
        succeed(main.main, *IMAGES, f"--config.data.path={data}", f"--workdir={runs.images}")
        succeed(inflate.main, *CLIPS, f"--from={runs.images}", f"--out={runs.inflated}")
        yield runs


def run(checkpoint: Path, out: Path, *options: str) -> Mapping[str, Any]:
    """Runs the command; returns its report."""
    settings = (f"--num={NUM}", f"--out={out}", "--segmenter-steps=20")
    succeed(evaluate.main, f"--checkpoint={checkpoint}", *settings, *options)
    return read_json(out / "scores.json")


def test_frames_are_segmented_and_compared_with_their_maps(
    spade: Spade, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    varied = ("--num-varied=2", "--num-variations=3")
    report = run(spade.images, tmp_path / "new", "--split=validation", *varied)
    assert list(report["scores"]) == ["relative", "agreement", "diversity"]
    found, told = report["scores"]["agreement"], report["manifest"]
    assert (told["maps"]["num"], told["maps"]["used"]) == (6, 6)
    assert told["maps"]["split"] == "validation"
    made_of = found["segmenter"]
    assert not made_of["shipped"]
    assert (made_of["num_steps"], made_of["split"]) == (20, "train")
    assert told["measures"]["agreement"]["judge"] == made_of["identity"]
    # The real frames are those very ones, in the split that was not learnt from.
    assert found["held_out"]["split"] == "validation"
    assert found["held_out"]["pixel_accuracy"] == found["real"]["pixel_accuracy"]
    assert found["generated"]["num_pixels"] == NUM * SIZE**2
    assert found["real"]["num_pixels"] == 6 * SIZE**2
    # An untrained generator does not follow its maps.
    assert found["generated"]["pixel_accuracy"] < found["real"]["pixel_accuracy"]
    assert report["scores"]["diversity"]["num_maps"] == 2
    printed = capsys.readouterr().out
    assert f"{100 * found['real']['pixel_accuracy']:.2f}" in printed
    assert "segmented frames against 6 label maps" in printed
    assert names(tmp_path / "new") == [
        "examples.png",
        "maps.png",
        "scores.json",
        "variations.png",
    ]


def test_an_inflated_generator_scores_as_its_images_do(spade: Spade, tmp_path: Path) -> None:
    """Frame by frame, before any 3D training."""
    agreement = "--measures=agreement"
    images = run(spade.images, tmp_path / "2d", agreement)["scores"]["agreement"]
    found = run(spade.inflated, tmp_path / "3d", f"--data={spade.data}", agreement)
    found = found["scores"]["agreement"]
    assert {"curves.png", "maps.mp4", "maps.png"} <= set(names(tmp_path / "3d"))
    assert found["segmenter"] == images["segmenter"]
    assert found["generated"]["num_pixels"] == NUM_FRAMES * images["generated"]["num_pixels"]
    for name in ("pixel_accuracy", "mean_iou"):
        assert found["generated"][name] == pytest.approx(images["generated"][name], abs=5e-3)
    by_frame = found["generated"]["accuracy_by_frame"]
    assert len(by_frame) == NUM_FRAMES
    assert np.mean(by_frame) == pytest.approx(found["generated"]["pixel_accuracy"])
    assert max(by_frame) - min(by_frame) < 5e-3


def test_a_generator_of_the_real_frames_scores_as_they_do(
    spade: Spade, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Maps go to the generator in the split's order, and from the first again."""
    spec = ClipSpec(num_frames=0, stride=1, size=SIZE, resize=SIZE, label_maps=True)
    frames, maps = read_labelled(ClipSource(spade.data, "train"), spec, num=NUM)

    def draw(self: Synthesizer, latents: np.ndarray, cond: np.ndarray) -> np.ndarray:
        of_map = {label_map.tobytes(): frame for label_map, frame in zip(maps, frames, strict=True)}
        return np.stack([of_map[label_map.tobytes()] for label_map in cond])

    monkeypatch.setattr(Synthesizer, "__call__", draw)
    num = NUM - NUM % len(maps)
    found = run(spade.images, tmp_path, f"--num={num}", "--measures=agreement")
    found = found["scores"]["agreement"]
    assert found["generated"]["pixel_accuracy"] == found["real"]["pixel_accuracy"]
    assert found["generated"]["classes"] == found["real"]["classes"]


def test_a_published_protocol_wants_as_many_maps_as_it_says(
    spade: Spade, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    thesis = (f"--checkpoint={spade.images}", "--protocol=thesis", f"--out={tmp_path / 'out'}")
    said = refuse(capsys, evaluate.main, *thesis)
    assert "wants 353 different label maps, and split 'validation' has 6; --num=6 is" in said
    succeed(evaluate.main, *thesis, "--num=6", "--num-varied=2", "--segmenter-steps=20")
    told = read_json(tmp_path / "out" / "scores.json")["manifest"]
    assert told["protocol"]["deviations"] == {
        "num": {"protocol": 353, "used": 6},
        "num_varied": {"protocol": 16, "used": 2},
    }
    assert told["data"]["split"] == "validation"
    said = refuse(capsys, evaluate.main, f"--checkpoint={spade.images}", "--protocol=spade-ade20k")
    assert "give it as --inception FILE" in said


def test_the_judge_is_of_the_size_that_is_judged(spade: Spade, tmp_path: Path) -> None:
    agreement = "--measures=agreement"
    found = run(spade.images, tmp_path, agreement, "--resize=32")["scores"]["agreement"]
    assert (found["segmenter"]["size"], found["segmenter"]["resizes"]) == (32, [32])
    assert found["real"]["num_pixels"] == 6 * 32**2


def test_a_sweep_has_the_tables_of_the_thesis(spade: Spade, tmp_path: Path) -> None:
    protocol = ("--protocol=thesis", "--num=4", "--measures=agreement", "--segmenter-steps=20")
    succeed(evaluate.main, "--sweep", spade.images, *protocol, f"--out={tmp_path}")
    told = (tmp_path / "sweep.md").read_text()
    assert "label maps: 4 of the 6 of split 'validation'" in told
    assert "num is 4 (in the protocol: 353)" in told
    header = next(line for line in told.splitlines() if line.startswith("| step"))
    assert header == "| step | epoch | mIoU (%) | pixel accuracy (%) |"


def test_scenes_are_judged_by_the_segmenter_that_comes_with_the_package(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without training; others by one of their own, and who asks for that gets it."""
    trained = []

    def train(source: ClipSource, config: SegmenterConfig) -> Segmenter:
        trained.append(config.train.num_steps)
        return small.load(small.SCENES)

    monkeypatch.setattr(judge, "cached_segmenter", train)
    wanted = Wanted(size=64, resize=80, num_labels=150)
    ids = {0: 2, 1: 4, 2: 9, 3: 16}
    scenes = relabelled(tmp_path / "a", ids, recipe="scenes", settings={"seed": 0})
    segmenter, told = choose_judge(scenes, wanted, None)
    assert told["shipped"]
    assert told["identity"] == segmenter.identity
    assert trained == []
    said = capsys.readouterr().err
    assert said == "judging label maps by the segmenter that comes with the package\n"
    choose_judge(scenes, wanted, 7)
    said = capsys.readouterr().err
    assert said == "judging label maps by a segmenter trained on the data set\n"
    videos = relabelled(tmp_path / "b", ids, recipe="videos")
    assert not choose_judge(videos, wanted, None)[1]["shipped"]
    said = capsys.readouterr().err
    assert "on the data set; the package's does not fit: the data set is not of scenes" in said
    assert trained == [7, judge.NUM_STEPS]


# Mistakes.


def test_mistakes_are_told_before_any_work(
    spade: Spade,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delattr(engine, "Synthesizer")
    monkeypatch.delattr(training, "train")
    bare = make_dataset(tmp_path / "bare", size=SIZE, splits=SPLITS)
    for option, message in (
        ("--segmenter-steps=0", "--segmenter-steps (=0) must be at least 1"),
        (f"--data={bare}", "label maps are needed (config.model"),
        (f"--out={bare / 'info.json'}", "nothing can be written there"),
        ("--segmenter=scenes", "of other classes than the label maps"),
    ):
        said = refuse(capsys, evaluate.main, f"--checkpoint={spade.images}", option)
        assert message in said

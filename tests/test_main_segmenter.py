"""`python -m vidgan_jax.main --config=configs/segmenter.py`: a run, its plan, what it refuses."""

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from configs import segmenter as configs
from tests.datasets import make_dataset
from tests.runs import ROOT, fields, logged, names, one_device, refuse, succeed
from tests.test_main import plan_of
from vidgan_jax import experiment, main
from vidgan_jax.preparation.embedded import Scenes
from vidgan_jax.segmentation import small
from vidgan_jax.segmentation.config import describes_segmenter, parse

CONFIG = f"--config={ROOT / 'configs/segmenter.py'}:smoke"
TINY = (
    CONFIG,
    *fields(segmenter_size=8, segmenter_features=(4,), data_resizes=(8, 10)),
    *fields(train_num_steps=2, train_batch_size=4, train_score_sizes=(10,)),
    *fields(data_num_scene_videos=9, data_scene_size=16),
)
RESULTS = ["checkpoint.npz", "config.json", "metrics.jsonl", "scores.json", small.FILE]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    return make_dataset(folder, size=10, label_maps=True, splits=("train", "validation"))


@pytest.fixture(autouse=True)
def fast() -> Iterator[None]:
    """Runs are on one device."""
    with one_device():
        yield


def changed(path: str, value: Any) -> dict[str, Any]:
    """The smoke config with one field set, "section.field"."""
    raw: dict[str, Any] = copy.deepcopy(configs.get_config("smoke").to_dict())
    section, field = path.split(".")
    raw[section][field] = value
    return raw


def test_a_run_leaves_weights_scores_and_metrics(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    typed = (*TINY, f"--config.data.path={data}", f"--workdir={tmp_path}")
    succeed(main.main, *typed)
    assert names(tmp_path) == sorted([*RESULTS, "tensorboard"])
    written = capsys.readouterr()
    scores = json.loads((tmp_path / "scores.json").read_text())
    accuracy = scores["held_out"]["10"]["pixel_accuracy"]
    for said in (f"done: 2 steps in {tmp_path}", small.FILE, f"{accuracy:.1%}", "10×10", "wall"):
        assert said in written.out
    assert "segmenter: 100 %, step 2, loss " in written.err
    assert small.load(tmp_path / small.FILE).classes == (0, 1, 2, 3)
    succeed(main.main, *typed, *fields(train_num_steps=3))
    assert [line["step"] for line in logged(tmp_path)] == [2, 3]
    assert "train.num_steps 2 → 3" in capsys.readouterr().err


def test_embedded_scenes_need_no_data(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    planned = plan_of(capsys, *TINY)
    assert (planned["data"]["embedded"], planned["data"]["clips"]) == (True, None)
    assert planned["data"]["classes"] is None
    assert names(tmp_path) == []
    succeed(main.main, *TINY, f"--workdir={tmp_path / 'run'}")
    planned = plan_of(capsys, *TINY)
    assert planned["data"]["clips"] == planned["data"]["videos"] == 8  # one is held out
    folder = Path(planned["data"]["path"])
    assert folder == Scenes(9, 1, 16, num_frames=1, seed=1).folder
    assert folder.name == "scenes-9x1-16px-1f-seed1"


def test_the_plan_of_a_data_set(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    typed = (*TINY, f"--config.data.path={data}")
    planned = plan_of(capsys, *typed)
    network = planned["networks"]["segmenter"]
    # 3·4 and 4·4 kernels of 3×3, their norms, and the logits of four classes.
    assert network["parameters"] == 9 * 3 * 4 + 9 * 4 * 4 + 4 * 4 + 4 * 4 + 4
    assert network["layers"][0]["output"] == [1, 8, 8, 4]
    assert planned["data"]["classes"] == [0, 1, 2, 3]
    assert planned["data"]["clips"] == 6
    assert planned["batch"] == {"global": 4, "per_process": 4, "per_device": 4}
    assert planned["memory"]["total_bytes_estimate"] > 12 * network["parameters"]
    succeed(main.main, *typed, "--dry_run")
    written = capsys.readouterr().out
    for word in ("segmenter", "down_0", "conv_logit", "plan of segmenter", "random weights"):
        assert word in written


def test_the_sections_tell_what_a_config_describes() -> None:
    raw = configs.get_config().to_dict()
    assert describes_segmenter(raw)
    assert parse(raw).segmenter.size == 64
    with pytest.raises(ValueError, match=r"describes a segmenter .* not a GAN; .*main` trains it"):
        experiment.build(raw)
    with pytest.raises(ValueError, match="has no variant 'large'"):
        configs.get_config("large")


# Mistakes.


def test_a_gan_s_fields_are_refused(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for field in ("data.stride", "train.ema_decay", "model.size", "loss.adversarial"):
        said = refuse(capsys, main.main, *TINY, f"--config.{field}=2")
        assert f"unknown field config.{field}" in said
    raw = configs.get_config("smoke").to_dict()
    with pytest.raises(ValueError, match=r"unknown field config\.loss; known: name, segmenter"):
        parse({**raw, "loss": {}})
    with pytest.raises(ValueError, match=r"config lacks optimizer; configs/segmenter.py has them"):
        parse({name: raw[name] for name in raw if name != "optimizer"})


@pytest.mark.parametrize(
    ("path", "value", "text"),
    [
        ("segmenter.size", 0, r"size \(=0\) must be at least 1"),
        ("segmenter.size", 40, r"config\.segmenter\.size \(=40\): .* multiples of 16"),
        ("segmenter.features", (), r"features \(=\(\)\) must be channels of one level or more"),
        ("segmenter.features", (4, 0), r"features \(=\(4, 0\)\) must be .* at least 1"),
        ("segmenter.num_labels", 256, r"num_labels \(=256\) must be at most 255"),
        ("data.resizes", (), r"resizes \(=\(\)\) must be one size or more"),
        ("data.resizes", (64, 48), r"resizes .* at least config\.segmenter\.size \(=64\)"),
        ("data.resizes", (64, 80, 96), r"batch_size \(=16\) must divide by the 3 config\.data"),
        ("data.scene_size", 8, r"config\.data\.scene_size \(=8\) must be at least 16"),
        ("data.dont_care", 256, r"config\.data\.dont_care \(=256\) must be at most 255"),
        ("optimizer.warm_up", 1.5, r"config\.optimizer\.warm_up \(=1\.5\) must be from 0 to 1"),
        ("train.score_sizes", (64, 72), r"config\.train\.score_sizes \(=72\): .* multiples of 16"),
        ("train.seed", 1 << 32, r"config\.train\.seed .* must be below 2³²"),
        ("train.batch_size", True, r"batch_size \(=True\) must be of type int"),
    ],
)
def test_impossible_fields_are_refused(path: str, value: Any, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        parse(changed(path, value))


def test_mistakes_leave_no_workdir(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bare = make_dataset(tmp_path / "bare", size=10)
    workdir = f"--workdir={tmp_path / 'no'}"
    for path, more, message in (
        (bare, (), "has no label maps"),
        (data, fields(segmenter_num_labels=3), "num_labels"),
        (data, fields(data_split="other"), "other"),
        (tmp_path / "none", (), "none"),
    ):
        said = refuse(capsys, main.main, *TINY, f"--config.data.path={path}", *more, workdir)
        assert message in said
        assert not (tmp_path / "no").exists()

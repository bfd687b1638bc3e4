"""`python -m vidgan_jax.evaluate`: scores of a checkpoint as a table and as JSON."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.datasets import make_dataset
from tests.runs import NUM_STEPS, SIZE, Runs, names, read_json, refuse, succeed, trained, type_in
from vidgan_jax import evaluate
from vidgan_jax.data.clips import training_loader
from vidgan_jax.data.records import ClipSource
from vidgan_jax.metrics import features, scores

NUM = 96


def run(checkpoint: Path, out: Path, *options: str) -> Mapping[str, Any]:
    """Runs the command; returns its report."""
    figures = out / "new" / "scores.json"
    settings = (f"--num={NUM}", f"--json={figures}")
    succeed(evaluate.main, f"--checkpoint={checkpoint}", *settings, *options)
    assert names(figures.parent) == ["scores.json"]
    return read_json(figures)


def test_clips(runs: Runs, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report = run(runs.clips, tmp_path, f"--data={runs.data}")
    source = ClipSource(runs.data, "train")
    assert {k: v for k, v in report.items() if k not in ("generated", "floor")} == {
        "checkpoint": str(runs.clips / "checkpoints" / str(NUM_STEPS)),
        "step": NUM_STEPS,
        "code": report["code"],
        "ema": True,
        "data": source.info.checksum,
        "split": "train",
        "num": NUM,
        "seed": 0,
        "features": features.VERSION,
    }
    exp, _ = trained(runs.clips)
    reference = scores.read_reference(source, exp.clip_spec, num=NUM, seed=0)
    floor = report["floor"]
    assert floor["frames"] == pytest.approx(reference.floor.frames)
    assert floor["clips"] == pytest.approx(reference.floor.clips)
    # An untrained generator is farther off than real clips are from one another.
    assert report["generated"]["frames"] > 5 * floor["frames"] > 0
    assert report["generated"]["clips"] > 5 * floor["clips"] > 0
    out = capsys.readouterr().out
    assert f"generated, step {NUM_STEPS}" in out
    assert f"{floor['clips']:.4f}" in out


def test_scores_are_the_same_again_and_of_their_seed(runs: Runs, tmp_path: Path) -> None:
    """The data are those of the training where none are named; the batch size does not matter."""
    one, again, other = (
        run(runs.clips, tmp_path, *options)
        for options in ([f"--data={runs.data}"], ["--batch-size=50"], ["--seed=1"])
    )
    for who in ("generated", "floor"):
        assert again[who] == pytest.approx(one[who], rel=1e-3)
        assert other[who] != pytest.approx(one[who], rel=1e-3)


def test_images_have_frames_only(
    runs: Runs, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = run(runs.images, tmp_path)
    for row in (report["generated"], report["floor"]):
        assert row["frames"] > 0
        assert (row["clips"], row["motion"]) == (None, None)
    assert "None" not in capsys.readouterr().out


def test_an_inflated_checkpoint_has_the_frames_of_its_images_and_no_motion(
    runs: Runs, tmp_path: Path
) -> None:
    images = run(runs.images, tmp_path)
    clips = run(runs.inflated, tmp_path, f"--data={runs.data}")
    assert clips["generated"]["motion"] < 1e-3
    assert clips["floor"]["motion"] > 1
    # Another draw of real frames is compared with: of clips' starts.
    assert clips["generated"]["frames"] == pytest.approx(images["generated"]["frames"], rel=0.1)


def test_the_last_generator_and_one_checkpoint_of_a_workdir(runs: Runs, tmp_path: Path) -> None:
    earlier = runs.clips / "checkpoints" / "2"
    averaged, last = run(earlier, tmp_path), run(earlier, tmp_path, "--no-ema")
    assert (averaged["step"], last["step"]) == (2, 2)
    assert (averaged["ema"], last["ema"]) == (True, False)
    assert averaged["generated"] != last["generated"]


def test_a_generator_of_real_clips_is_as_near_as_the_floor(
    runs: Runs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def draw(exp: Any, weights: Any, latents: np.ndarray, **options: Any) -> np.ndarray:
        source = ClipSource(runs.data, "train")
        with training_loader(source, exp.clip_spec, batch_size=len(latents), seed=99) as loader:
            return np.asarray(next(loader).frames)

    monkeypatch.setattr(evaluate, "run_generator", draw)
    report = run(runs.clips, tmp_path)
    for kind in ("frames", "clips"):
        assert report["generated"][kind] < 3 * report["floor"][kind]


def test_another_split(runs: Runs, tmp_path: Path) -> None:
    data = make_dataset(tmp_path / "data", size=SIZE, splits=("train", "validation"))
    report = run(runs.clips, tmp_path, f"--data={data}", "--split=validation")
    assert report["split"] == "validation"


# Mistakes.


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--num=80"], r"num \(=80\) must be above 80, the number of features"),
        (["--batch-size=0"], r"--batch-size \(=0\) must be at least 1"),
        (["--seed=-1"], r"--seed \(=-1\) must be from 0 to 4294967295"),
        (["--checkpoint={data}"], "has no checkpoint in it; give a workdir that was trained"),
        (["--checkpoint={data}/no"], "does not exist; give a workdir that was trained"),
        (["--data={data}/no"], "no: the folder does not exist"),
        (["--split=validation"], r"no split 'validation'; it has \['train'\]"),
        (["--json={data}"], "--json .* is a folder; give a file's name"),
        (["--json={data}/info.json/f"], "--json .*: nothing can be written there"),
        (["--out={data}"], "--out .* is for a picture of label maps, .* is not conditioned on any"),
        (["--data={short}"], "needs clips of 7 frames, but the 2 clips of split 'train' have 3"),
        (["--data={one}"], "split 'train' has only 1 clip of the 7 frames needed"),
    ],
)
def test_mistakes_are_told_before_any_work(
    runs: Runs,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    options: list[str],
    message: str,
) -> None:
    monkeypatch.delattr(evaluate, "run_generator")
    folders = {
        "data": runs.data,
        "short": make_dataset(tmp_path / "short", num_videos=1, num_frames=3, size=SIZE),
        "one": make_dataset(tmp_path / "one", num_videos=1, clips_per_video=1, size=SIZE),
    }
    filled = [option.format_map(folders) for option in options]
    with pytest.raises(ValueError, match=message):
        raise ValueError(refuse(capsys, evaluate.main, f"--checkpoint={runs.clips}", *filled))


def test_a_checkpoint_that_names_no_data(runs: Runs, capsys: pytest.CaptureFixture[str]) -> None:
    """An inflated one: its config isn't what it was trained by."""
    said = refuse(capsys, evaluate.main, f"--checkpoint={runs.inflated}")
    assert "names no data set; give the folder of one as --data" in said


def test_the_command_as_a_user_types_it(runs: Runs) -> None:
    made = type_in("evaluate", "--checkpoint", runs.clips, "--num", str(NUM))
    assert made.returncode == 0, made.stderr
    assert "floor: real, another draw" in made.stdout
    failed = type_in("evaluate", "--checkpoint", runs.data / "no")
    assert failed.returncode == 2
    assert failed.stderr.startswith("error: ")
    assert failed.stderr.count("\n") == 1

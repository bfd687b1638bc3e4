"""Finding the runs of a study on disk."""

import json
from pathlib import Path

import pytest

from vidgan_jax.reports import runs, training
from vidgan_jax.reports.runs import Run

CONFIG: dict[str, dict[str, float]] = {
    "model": {"num_frames": 4, "size": 8},
    "train": {"num_steps": 20, "batch_size": 8, "ema_decay": 0.99},
}


def make_run(folder: Path, *steps: int, config: dict | None = None) -> Path:
    for step in steps:
        state = folder / "checkpoints" / str(step) / "state"
        state.mkdir(parents=True)
        written = {"commit_timestamp_nsecs": 100 + step}
        (state.parent / "_CHECKPOINT_METADATA").write_text(json.dumps(written))
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps({"config": config or CONFIG, "fps": 8.0}))
    return folder


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two families; unfinished checkpoints, other folders and files beside them."""
    for seed in (0, 10, 2):
        folder = tmp_path / "resnet" / f"seed{seed}"
        make_run(folder / "2d", 30)
        make_run(folder / "scratch", 10, 20)
        make_run(folder / "start_average", 0)
        make_run(folder / "average", 10, 20)
    make_run(tmp_path / "dcgan" / "seed0" / "thesis", 5)
    (tmp_path / "resnet/seed0/average/checkpoints/30.orbax-checkpoint-tmp/state").mkdir(
        parents=True
    )
    (tmp_path / "resnet/seed0/central").mkdir()  # nothing in it
    (tmp_path / "resnet/seedling").mkdir()
    (tmp_path / "data").mkdir()
    return tmp_path


def test_runs_come_by_family_start_and_seed(root: Path) -> None:
    found = [(run.family, run.start, run.seed) for run in runs.find_runs(root)]
    expected = [("resnet", start, n) for start in ("2d", "scratch", "average") for n in (0, 2, 10)]
    assert found == [("dcgan", "thesis", 0), *expected]


def test_checkpoints_begin_with_the_start(root: Path) -> None:
    folder = root / "resnet" / "seed0"
    average = Run("resnet", 0, "average", folder / "average")
    assert average.checkpoints() == {
        0: folder / "start_average/checkpoints/0",
        10: folder / "average/checkpoints/10",
        20: folder / "average/checkpoints/20",
    }
    assert list(Run("resnet", 0, "scratch", folder / "scratch").checkpoints()) == [10, 20]


def test_curves_have_gaps_where_terms_were_not_due(root: Path) -> None:
    run = Run("resnet", 0, "scratch", root / "resnet/seed0/scratch")
    assert run.curves() == {}
    lines = ['{"step": 1, "G": 2.0}', '{"step": 2, "G": 3.0, "reg": 0.5}', '{"step": 3, "G"']
    (run.workdir / "metrics.jsonl").write_text("\n".join(lines))  # the last one is being written
    curves = run.curves()
    assert (curves["G"].steps, curves["G"].values) == ([1, 2], [2, 3])
    assert (curves["reg"].steps, curves["reg"].values) == ([2], [0.5])
    (run.workdir / "metrics.jsonl").write_text('{"step": 1}\nnonsense\n{"step": 2}\n')
    with pytest.raises(ValueError, match=r"metrics.jsonl, line 2 is damaged"):
        run.curves()


def test_mistakes(root: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"no trained 3D run in .*launch/inflation_study.sh makes"):
        runs.find_runs(tmp_path / "data")
    make_run(tmp_path / "new" / "resnet" / "seed0" / "scratch")
    with pytest.raises(ValueError, match="no trained 3D run in"):
        runs.find_runs(tmp_path / "new")
    (root / "resnet/seed0/scratch/config.json").write_text("{")
    with pytest.raises(ValueError, match=r"scratch/config.json can't be read \(.*is .* a run\?"):
        Run("resnet", 0, "scratch", root / "resnet/seed0/scratch").meta()


# What was trained.


def test_the_table_of_runs(root: Path) -> None:
    found = [run for run in runs.find_runs(root) if run.family == "resnet"]
    (root / "resnet/seed2/average/metrics.jsonl").write_text('{"step": 10, "clips_per_s": 4.0}\n')
    errors = {"generator": {"relative": 2e-7}, "discriminator": {"relative": 4e-7}}
    for seed in (0, 2):
        told = json.dumps({"networks": errors if seed else {}, "temporal_noise": 1.0})
        (root / f"resnet/seed{seed}/start_average/inflation.json").write_text(told)
    lines = training.table_of(found).splitlines()
    assert lines[2] == "| resnet, 2d | 0, 2, 10 | 30 | 8 | 4×8×8 | – | – | – | – |"
    assert lines[4] == "| resnet, average | 0, 2, 10 | 20 | 8 | 4×8×8 | 4e-07 | 1 | 2 | 40 |"


def test_the_words_for_starts_are_of_those_that_were_run(root: Path) -> None:
    said = training.starts(runs.find_runs(root))
    assert [line.split(":")[0] for line in said.splitlines()] == [
        "- *scratch*",
        "- *thesis*",
        "- *average*",
    ]


def test_runs_that_ended_early_are_named(root: Path) -> None:
    found = [run for run in runs.find_runs(root) if run.family == "resnet"]
    assert training.unfinished(found) == ""
    make_run(root / "resnet/seed0/central", 10)
    said = training.unfinished(runs.find_runs(root))
    assert (
        "diverged: dcgan, seed 0, thesis (step 5 of 20); resnet, seed 0, central (step 10" in said
    )


def test_an_average_that_remembers_its_start_is_told(root: Path) -> None:
    said = training.memory([run for run in runs.find_runs(root) if run.family == "resnet"])
    assert "resnet (decay 0.99): 90% at step 10, 82% at step 20" in said
    forgetful = {**CONFIG, "train": {**CONFIG["train"], "ema_decay": 0.5}}
    make_run(root / "short" / "seed0" / "scratch", 10, config=forgetful)
    assert training.memory([run for run in runs.find_runs(root) if run.family == "short"]) == ""

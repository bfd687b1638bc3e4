"""`python -m vidgan_jax.study`: a report folder out of a folder of runs."""

import json
import shutil
from pathlib import Path

import pytest

from tests.runs import NUM_FRAMES, NUM_STEPS, SIZE, Runs, names, read_json, refuse, succeed, type_in
from vidgan_jax import study
from vidgan_jax.data.records import load_info
from vidgan_jax.evaluation import engine
from vidgan_jax.metrics import features

NUM = 96
STARTS = ("scratch", "average")
FILES = [
    *(
        f"contact_sheet_resnet_{what}.{kind}"
        for what in ("average", "real", "scratch")
        for kind in ("mp4", "png")
    ),
    study.EVALUATIONS,
    "losses_resnet.png",
    study.NUMBERS,
    study.REPORT,
    "scores_resnet.png",
]


@pytest.fixture(scope="module")
def root(runs: Runs, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two seeds, which are the same runs; that "scratch" was inflated, too, nobody knows."""
    folder = tmp_path_factory.mktemp("study")
    for seed in (0, 1):
        place = folder / "resnet" / f"seed{seed}"
        for name, source in (
            ("2d", runs.images),
            ("start_average", runs.inflated),
            ("average", runs.clips),
            ("scratch", runs.clips),
        ):
            shutil.copytree(source, place / name)
    shutil.copytree(runs.data, folder / "data")
    return folder


@pytest.fixture(scope="module")
def report(root: Path) -> Path:
    """The report on them."""
    succeed(study.main, f"--runs={root}", f"--num={NUM}")
    return root / "report"


def test_the_folder_has_all_there_is(report: Path) -> None:
    assert names(report) == sorted(FILES)
    said = (report / study.REPORT).read_text()
    for name in FILES:
        if name.endswith((".png", ".mp4")):
            assert f"({name})" in said


def test_every_checkpoint_is_scored_and_the_start_at_step_0(root: Path, report: Path) -> None:
    numbers = read_json(report / study.NUMBERS)
    family = numbers["families"]["resnet"]
    points = {(p["start"], p["seed"], p["step"]): p["scores"] for p in family["points"]}
    steps = {"scratch": (2, NUM_STEPS), "average": (0, 2, NUM_STEPS)}
    assert set(points) == {(s, seed, n) for s in STARTS for seed in (0, 1) for n in steps[s]}
    assert points["average", 0, 0]["motion"] < 1e-3
    # Both are of the same weights: a checkpoint's scores are of nothing else.
    assert points["average", 0, 2] == pytest.approx(points["scratch", 1, 2])
    assert family["spec"]["num_frames"] == NUM_FRAMES
    assert family["spec"]["size"] == SIZE
    assert 0 < family["floor"]["clips"] < points["average", 0, 0]["clips"]
    assert numbers["num"] == NUM
    assert numbers["features"] == features.VERSION
    assert numbers["data"]["checksum"] == load_info(root / "data").checksum
    assert list(family["comparisons"]["frames"]) == ["step 2", f"step {NUM_STEPS}", "area"]


def test_the_report_says_that_equal_runs_are_not_separated(report: Path) -> None:
    said = (report / study.REPORT).read_text()
    assert "**does not separate** the two" in said
    assert f"| resnet, average | 0, 1 | {NUM_STEPS} | 8 | {NUM_FRAMES}×{SIZE}×{SIZE} |" in said
    assert "The averaged generator, which is scored, still has this share" in said
    assert "comparable with published FID or FVD" in said
    assert "Not finished" not in said


def test_what_is_known_is_not_scored_again(
    root: Path,
    report: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Another checkpoint in a place is."""
    shutil.copytree(report, tmp_path / "report")
    monkeypatch.delattr(engine, "Synthesizer")
    command = (f"--runs={root}", f"--num={NUM}", f"--out={tmp_path / 'report'}")
    succeed(study.main, *command)
    assert f"resnet, seed 1, average, step {NUM_STEPS}: frames" in capsys.readouterr().err
    assert (tmp_path / "report" / study.REPORT).read_text() == (report / study.REPORT).read_text()

    place = root / "resnet/seed1/average/checkpoints/2"
    kept = place.rename(tmp_path / "kept")
    shutil.copytree(place.parent / str(NUM_STEPS), place)
    try:
        with pytest.raises(NameError, match="Synthesizer"):
            study.main([*command])
    finally:
        shutil.rmtree(place)
        kept.rename(place)


def test_the_last_generators_are_others(root: Path, report: Path, tmp_path: Path) -> None:
    succeed(study.main, f"--runs={root}", f"--num={NUM}", "--no-ema", f"--out={tmp_path}")
    averaged, last = (
        read_json(folder / study.NUMBERS)["families"]["resnet"]["points"]
        for folder in (report, tmp_path)
    )
    assert averaged != last
    assert "which is scored, still has" not in (tmp_path / study.REPORT).read_text()


def test_a_run_that_ended_early_is_named(
    runs: Runs, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of one seed and one start there is a report, too."""
    place = tmp_path / "resnet" / "seed0" / "scratch"
    shutil.copytree(runs.clips, place)
    shutil.rmtree(place / "checkpoints" / str(NUM_STEPS))
    never_saved = shutil.copytree(place, tmp_path / "resnet" / "seed1" / "scratch")
    shutil.rmtree(never_saved / "checkpoints")
    succeed(study.main, f"--runs={tmp_path}", f"--data={runs.data}", f"--num={NUM}")
    said = (tmp_path / "report" / study.REPORT).read_text()
    assert f"resnet, seed 0, scratch (step 2 of {NUM_STEPS})" in said
    assert f"resnet, seed 1, scratch (step 0 of {NUM_STEPS})" in said
    assert "there is nothing to compare it with" in said
    assert "nan" not in said


# Mistakes.


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--num=80"], r"num \(=80\) must be above 80, the number of features"),
        (["--batch-size=0"], r"--batch-size \(=0\) must be at least 1"),
        (["--seed=-1"], r"--seed \(=-1\) must be from 0 to 4294967295"),
        (["--runs={root}/no"], "--runs .*no: no such folder; launch/inflation_study.sh makes one"),
        (["--runs={root}/data"], "no trained 3D run in .*/data"),
        (["--data={root}/resnet"], "no info.json and no shards"),
        (["--split=validation"], r"no split 'validation'; it has \['train'\]"),
        (["--out={root}/data/info.json"], "--out .*: nothing can be written there"),
    ],
)
def test_mistakes_are_told_before_any_work(
    root: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    options: list[str],
    message: str,
) -> None:
    monkeypatch.delattr(engine, "Synthesizer")
    filled = [option.format(root=root) for option in options]
    with pytest.raises(ValueError, match=message):
        raise ValueError(refuse(capsys, study.main, f"--runs={root}", *filled))


def test_a_damaged_file_of_scores_is_told(
    root: Path, report: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(report, tmp_path / "report")
    damaged = tmp_path / "report" / study.EVALUATIONS / "resnet-seed0-scratch-2" / "scores.json"
    damaged.write_text("[1")
    said = refuse(
        capsys, study.main, f"--runs={root}", f"--num={NUM}", f"--out={tmp_path / 'report'}"
    )
    assert f"{damaged} is no report of evaluate, or damaged" in said


def test_without_matplotlib_nothing_is_begun(
    root: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def require() -> None:
        raise ValueError("figures need matplotlib, which isn't installed")

    monkeypatch.setattr(study.figures, "require", require)
    assert "need matplotlib" in refuse(capsys, study.main, f"--runs={root}")


def test_runs_that_are_cut_differently_are_not_compared(
    runs: Runs, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for start in STARTS:
        shutil.copytree(runs.clips, tmp_path / "resnet" / "seed0" / start)
    path = tmp_path / "resnet/seed0/average/config.json"
    meta = read_json(path)
    meta["config"]["data"]["stride"] = 1
    path.write_text(json.dumps(meta))
    said = refuse(capsys, study.main, f"--runs={tmp_path}", f"--data={runs.data}", f"--num={NUM}")
    assert "resnet, seed 0, scratch and resnet, seed 0, average can't be compared" in said


def test_the_command_as_a_user_types_it(root: Path, report: Path, tmp_path: Path) -> None:
    shutil.copytree(report / study.EVALUATIONS, tmp_path / study.EVALUATIONS)
    made = type_in("study", "--runs", root, "--num", str(NUM), "--out", tmp_path)
    assert made.returncode == 0, made.stderr
    assert f"the report on 10 checkpoints is {tmp_path / study.REPORT}" in made.stdout
    assert names(tmp_path) == sorted(FILES)

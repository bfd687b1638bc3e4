"""`python -m vidgan_jax.main`: what it refuses, in one line, with nothing lost or half-written."""

import shutil
from pathlib import Path

import pytest

from tests.datasets import INDEX, SHARD, make_dataset
from tests.runs import (
    CONFIG_2D,
    NUM_STEPS,
    SIZE,
    TINY_2D,
    TINY_3D,
    Runs,
    fields,
    logged,
    names,
    refuse,
    succeed,
)
from vidgan_jax import experiment, main
from vidgan_jax.train.metrics import TIMES


@pytest.fixture
def workdir(runs: Runs, tmp_path: Path) -> Path:
    """A copy of the finished 2D run, to be spoilt."""
    return Path(shutil.copytree(runs.images, tmp_path / "copy"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([f"{CONFIG_2D}r"], "no variant 'smoker'; there are :smoke, :study"),
        (["--config=nowhere.py"], "--config nowhere.py: no such file"),
        ([*TINY_2D, "--config.model.sise=16"], "unknown field config.model.sise.*mean size"),
        ([*TINY_2D, *fields(model_size="wide")], "--config.model.size=wide: invalid literal"),
        ([*TINY_2D, *fields(model_size=20, data_resize=20)], r"size \(=20\) must be 8, 16, 32"),
        ([*TINY_2D, *fields(train_batch_size=12)], "must divide by the 8 devices; use 8 or 16"),
        ([*TINY_2D, *fields(train_batch_size=0)], "train.batch_size .* must be at least 1"),
        ([*TINY_2D, *fields(data_split="tset")], r"no split 'tset'; it has \['train'\]"),
        ([*TINY_2D, *fields(data_path="{data}/no")], "the folder does not exist"),
        ([*TINY_2D, *fields(data_path="{images}/samples")], "no info.json and no shards"),
        ([*TINY_3D, *fields(data_stride=4)], "needs clips of 13 frames, but the 6 clips"),
        ([*TINY_3D, *fields(init_path="{data}")], "has no checkpoint in it"),
        ([*TINY_3D, *fields(init_path="{images}/checkpoints/7")], "does not exist"),
        (
            [*TINY_3D, *fields(init_path="{images}", model_z_dim=5)],
            "of another architecture: model.z_dim is 4 there and 5 here",
        ),
        (
            [*TINY_2D, *fields(init_path="{clips}")],
            "of another architecture: model.num_frames is 4 there and 0 here",
        ),
        (
            [*TINY_3D, *fields(init_path="{clips}", model_time_stages="()")],
            r"of another architecture: model.time_stages is \(0,\) there and \(\) here",
        ),
    ],
)
@pytest.mark.parametrize("dry_run", [(), ("--dry_run=json",)])
def test_mistakes_are_told_before_any_work(
    runs: Runs,
    images_data: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    message: str,
    dry_run: tuple[str, ...],
) -> None:
    workdir = tmp_path / "workdir"
    config, *rest = [argument.format_map(vars(runs)) for argument in arguments]
    typed = [config, images_data, *rest, f"--workdir={workdir}", *dry_run]
    with pytest.raises(ValueError, match=message):
        raise ValueError(refuse(capsys, main.main, *typed))
    assert not workdir.exists()


def test_arguments_that_are_none_show_the_usage(capsys: pytest.CaptureFixture[str]) -> None:
    for typed, message in (
        ([], "the following arguments are required: --config"),
        ([CONFIG_2D, "--confg.model.size=3"], "unknown argument --confg.model.size=3"),
        ([CONFIG_2D, "--config.model.size", "8"], "set a field by --config.SECTION.FIELD=VALUE"),
        ([CONFIG_2D, "--dry_run=yaml"], "invalid choice: 'yaml'"),
    ):
        with pytest.raises(SystemExit) as stopped:
            main.main(typed)
        assert stopped.value.code == 2
        assert message in capsys.readouterr().err


def test_a_device_s_memory_that_does_not_do_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """XLA raises a RuntimeError; any other one is a defect and comes through."""

    def fail(said: str) -> None:
        raise RuntimeError(said)

    monkeypatch.setattr(experiment, "load_config", lambda *_: fail("RESOURCE_EXHAUSTED: 9 GiB\nx"))
    said = refuse(capsys, main.main, CONFIG_2D)
    assert said.startswith("error: out of memory: RESOURCE_EXHAUSTED: 9 GiB x; use a smaller batch")
    monkeypatch.setattr(experiment, "load_config", lambda *_: fail("a defect"))
    with pytest.raises(RuntimeError, match="a defect"):
        main.main([CONFIG_2D])


def test_a_workdir_must_be_writable(
    runs: Runs, images_data: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for workdir in (runs.data / "info.json", runs.data / "info.json" / "below"):
        said = refuse(capsys, main.main, *TINY_2D, images_data, f"--workdir={workdir}")
        assert f"--workdir {workdir}: nothing can be written there" in said


def test_damaged_data_is_told_with_the_way_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], fast: None
) -> None:
    data = make_dataset(tmp_path / "data", size=SIZE)
    typed = [*TINY_2D, f"--config.data.path={data}", f"--workdir={tmp_path / 'workdir'}"]
    shard = bytearray((data / SHARD).read_bytes())
    shard[len(shard) // 2] ^= 1
    (data / SHARD).write_bytes(shard)
    assert main.main(typed) == 2
    said = capsys.readouterr().err.splitlines()[-1]
    assert said.startswith(f"error: {SHARD}, record ")
    assert f"`python -m vidgan_jax.prepare check {data}`" in said
    (data / INDEX).unlink()
    assert f"`python -m vidgan_jax.prepare index {data}`" in refuse(capsys, main.main, *typed)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            TINY_3D,
            "holds other networks than the config describes: disc/params/block_0/conv_0/kernel",
        ),
        (
            (*TINY_2D, *fields(model_z_dim=5)),
            "gen/params/fc/kernel: .* in the checkpoint, .* wanted",
        ),
        (
            (*TINY_2D, *fields(disc_name="rmsprop")),
            "was trained with another config.disc_optimizer.name; set it as it was",
        ),
    ],
)
def test_a_workdir_of_another_config_is_refused_and_stays(
    runs: Runs,
    images_data: str,
    workdir: Path,
    capsys: pytest.CaptureFixture[str],
    arguments: tuple[str, ...],
    message: str,
) -> None:
    with pytest.raises(ValueError, match=message):
        raise ValueError(refuse(capsys, main.main, *arguments, images_data, f"--workdir={workdir}"))
    assert names(workdir / "checkpoints") == names(runs.images / "checkpoints")
    assert logged(workdir) == logged(runs.images)
    assert (workdir / "config.json").read_text() == (runs.images / "config.json").read_text()


def test_an_inflated_checkpoint_is_no_run_to_go_on_with(
    runs: Runs, images_data: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    workdir = shutil.copytree(runs.inflated, tmp_path / "copy")
    said = refuse(capsys, main.main, *TINY_3D, images_data, f"--workdir={workdir}")
    assert "without optimisers" in said
    assert "give it as config.init.path, and another --workdir" in said
    assert names(workdir) == names(runs.inflated)


def test_a_damaged_checkpoint_is_told_and_the_one_before_it_serves(
    runs: Runs, images_data: str, workdir: Path, capsys: pytest.CaptureFixture[str], fast: None
) -> None:
    newest = workdir / "checkpoints" / str(NUM_STEPS)
    (newest / "loader" / "metadata").write_text("{")
    succeed(main.main, *TINY_2D, images_data, f"--workdir={workdir}")
    said = capsys.readouterr().err
    assert f"{newest} is damaged (" in said
    assert f"is now {NUM_STEPS}.damaged; going on from step 2\n" in said
    assert (newest.parent / f"{NUM_STEPS}.damaged" / "loader" / "metadata").read_text() == "{"
    values = [{k: v for k, v in x.items() if k not in TIMES} for x in logged(workdir)]
    expected = [{k: v for k, v in x.items() if k not in TIMES} for x in logged(runs.images)]
    assert values == expected


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--workdir="], "error: --workdir is empty; give a folder, or leave it out"),
        (["--workdir=gs:/bucket/a"], "error: gs:/bucket/a: a bucket is named by two slashes"),
        (["--config.data.resize=8", "--config.data.path="], "must be at least 16"),
    ],
)
def test_slips_are_told_before_anything_is_made(
    arguments: list[str],
    text: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    more = [a for a in arguments if not a.startswith("--workdir")]
    where = [a for a in arguments if a.startswith("--workdir")] or [f"--workdir={tmp_path / 'w'}"]
    assert text in refuse(capsys, main.main, *TINY_2D, *more, *where)
    assert not (tmp_path / "cache").exists()


def test_a_status_that_is_none_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main.main([*TINY_2D, "--stopped-status=256"])
    assert "--stopped-status: '256' must be from 0 to 255" in capsys.readouterr().err

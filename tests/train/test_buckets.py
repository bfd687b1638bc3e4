"""Workdirs in buckets: metrics, pictures, programs, and one run at a time."""

import contextlib
import json
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import jax
import numpy as np
import pytest
from PIL import Image

from tests.buckets import Buckets, listed, opened
from tests.train.test_programs import compile_program, no_cache  # noqa: F401  a fixture
from vidgan_jax import cli, files
from vidgan_jax.data import media
from vidgan_jax.train import lease, programs, workdir, writers
from vidgan_jax.train.writers import METRICS, TENSORBOARD, MetricsWriter


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Path]:
    """A workdir in a bucket."""
    with opened(tmp_path / "buckets") as bucket:
        yield files.path(f"{bucket}/runs/a")


def steps(run: Path) -> list[int]:
    """What its metrics tell of."""
    lines = files.read_bytes(run / METRICS).splitlines()
    return [json.loads(line)["step"] for line in lines]


def test_metrics_are_those_on_disk(run: Path, tmp_path: Path) -> None:
    for folder in (tmp_path / "disk", run):
        folder.mkdir(parents=True, exist_ok=True)
        for start in (0, 2):
            with MetricsWriter(folder, resumed_step=start) as writer:
                for step in range(start + 1, start + 5):
                    writer.write(step, {"D_loss": step / 3})
    assert steps(run) == [1, 2, 3, 4, 5, 6]
    assert files.read_bytes(run / METRICS) == (tmp_path / "disk" / METRICS).read_bytes()
    events = sorted(path.stat().st_size for path in (tmp_path / "disk" / TENSORBOARD).iterdir())
    assert sorted(files.size(path) for path in (run / TENSORBOARD).iterdir()) == events


def test_saved_steps_are_in_the_bucket_and_others_soon(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run that is killed behind a save loses no line up to it."""
    with MetricsWriter(run, resumed_step=0) as writer:
        writer.write(1, {"a": 1.0})
        writer.flush()
        assert steps(run) == [1]
        Buckets.requests.clear()
        for step in range(2, 50):
            writer.write(step, {"a": 1.0})
        assert not Buckets.requests  # not once a step
        monkeypatch.setattr(writers, "_COPIED_EVERY_S", 0.0)
        writer.write(50, {"a": 1.0})
        deadline = time.monotonic() + 10
        while steps(run)[-1] < 50 and time.monotonic() < deadline:
            time.sleep(0.01)
        assert steps(run) == list(range(1, 51))


def test_metrics_wait_for_a_bucket_that_fails(
    run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with MetricsWriter(run, resumed_step=0) as writer:
        writer.write(1, {"a": 1.0})
        writer.flush()
        monkeypatch.setattr(Buckets, "broken", True)
        writer.write(2, {"a": 1.0})
        writer.flush()
        assert "are not there yet (gs://bucket/runs/a/" in capsys.readouterr().err
        monkeypatch.setattr(Buckets, "broken", False)
        writer.write(3, {"a": 1.0})
    assert steps(run) == [1, 2, 3]


def test_metrics_that_never_come_there_are_an_error(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = MetricsWriter(run, resumed_step=0)
    writer.flush()
    monkeypatch.setattr(Buckets, "broken", True)
    with pytest.raises(OSError, match="RuntimeError: the store has no time"), writer:
        writer.write(1, {"a": 1.0})


def test_pictures_and_videos_are_put_whole(run: Path, tmp_path: Path) -> None:
    frames = np.random.default_rng(0).integers(0, 255, (4, 16, 16, 3), np.uint8)
    for folder in (tmp_path / "disk", run / "samples"):
        media.write_png(folder / "1.png", frames[0])
        media.write_mp4(folder / "1.mp4", frames, fps=8)
        media.write_clip(folder / "1.gif", frames, fps=10)
    assert listed(str(run)) == ["samples/1.gif", "samples/1.mp4", "samples/1.png"]
    for name in ("1.png", "1.mp4", "1.gif"):
        there = files.read_bytes(run / "samples" / name)
        assert there == (tmp_path / "disk" / name).read_bytes()
    with (run / "samples" / "1.png").open("rb") as file:
        np.testing.assert_array_equal(np.asarray(Image.open(file)), frames[0])


def test_programs_are_kept_there(no_cache: None, run: Path) -> None:  # noqa: F811
    folder = run / programs.FOLDER
    with programs.kept_in(folder):
        compile_program(0.375)
    kept = [name for name in listed(str(folder)) if "lambda" in name]
    assert len(kept) == 1
    Buckets.requests.clear()
    with programs.kept_in(folder):
        compile_program(0.375)
        assert jax.config.values["jax_persistent_cache_enable_xla_caches"] == "none"
    assert [verb for verb, name, _ in Buckets.requests if name.endswith(kept[0])] == ["read"]
    assert jax.config.values["jax_persistent_cache_enable_xla_caches"] != "none"


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs that show signs of life often, and look for others' for a moment only."""
    monkeypatch.setattr(lease, "_BEAT_S", 0.1)
    monkeypatch.setattr(lease, "_STILL_S", 1.0)
    monkeypatch.setattr(lease, "_SETTLED_S", 0.1)


def test_one_run_at_a_time(hasty: None, run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with workdir.alone(run):
        refused = pytest.raises(ValueError, match=r"another run \(process \d+ on .*\) is training")
        with refused, workdir.alone(run):
            pass
        assert listed(str(run)) == [lease.NAME]  # of the first one, still
    assert not (run / lease.NAME).exists()
    with workdir.alone(run):
        pass
    assert "trains in" not in capsys.readouterr().err


def test_a_killed_run_is_followed(
    hasty: None, run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What it has left behind stays still."""
    lease._Claim(run / lease.NAME).take()
    begun = time.monotonic()
    with workdir.alone(run):
        assert time.monotonic() - begun >= 1.0
        assert "looking for up to 1 s whether it does" in capsys.readouterr().err
    assert not (run / lease.NAME).exists()


def test_of_several_that_follow_one_does(hasty: None, run: Path) -> None:
    lease._Claim(run / lease.NAME).take()
    inside, ended = [], threading.Barrier(3, timeout=30)

    def follow(number: int) -> None:
        with contextlib.ExitStack() as stack:
            try:
                stack.enter_context(lease.held(run))
                inside.append(number)
            finally:
                ended.wait()

    threads = [threading.Thread(target=_quiet, args=(follow, n), daemon=True) for n in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(inside) == 1
    assert not (run / lease.NAME).exists()


def _quiet(follow: Callable[[int], None], number: int) -> None:
    with contextlib.suppress(ValueError):  # another run is training
        follow(number)


def test_a_run_whose_place_was_taken_says_so(
    hasty: None, run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with lease.held(run):
        files.write_json(run / lease.NAME, {"run": "x", "host": "elsewhere", "pid": 7})
        deadline = time.monotonic() + 10
        said = ""
        while "stop one" not in said and time.monotonic() < deadline:
            time.sleep(0.05)
            said += capsys.readouterr().err
        assert "warning: process 7 on elsewhere trains in gs://bucket/runs/a, too" in said
    assert (run / lease.NAME).exists()  # the other's


def test_a_bucket_that_cannot_be_written_is_refused_early(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert cli.output_folder("--workdir", str(run)) == run
    assert listed(str(run)) == []
    monkeypatch.setattr(Buckets, "broken", True)
    with pytest.raises(ValueError, match=r"--workdir gs://bucket/runs/a: nothing can be written"):
        cli.output_folder("--workdir", str(run))

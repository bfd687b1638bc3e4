"""`python -m vidgan_jax.main`: runs, runs that go on, plans."""

import errno
import json
import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import orbax.checkpoint as ocp
import pytest
from PIL import Image

from tests.runs import (
    NUM_FRAMES,
    NUM_STEPS,
    SIZE,
    TINY_2D,
    TINY_3D,
    Runs,
    fields,
    logged,
    names,
    succeed,
    trained,
    type_in,
)
from vidgan_jax import main
from vidgan_jax.train import plan
from vidgan_jax.train.writers import METRICS

WORKDIR = ["checkpoints", "config.json", METRICS, "samples", "tensorboard"]


def plan_of(capsys: pytest.CaptureFixture[str], *arguments: str) -> Any:
    """What `--dry_run=json` prints, which must be all that is printed."""
    capsys.readouterr()
    succeed(main.main, *arguments, "--dry_run=json")
    written = capsys.readouterr()
    assert written.err == ""
    return json.loads(written.out)


# Runs.


def test_a_run_leaves_checkpoints_samples_and_metrics(runs: Runs) -> None:
    for workdir in (runs.images, runs.clips):
        assert names(workdir) == WORKDIR
        assert names(workdir / "checkpoints") == ["2", str(NUM_STEPS)]
        assert [line["step"] for line in logged(workdir)] == [1, 2, NUM_STEPS]
        assert np.isfinite([line["D"] for line in logged(workdir)]).all()
        assert logged(workdir)[-1]["clips_per_s"] > 0
        assert 0 <= logged(workdir)[-1]["time/data_wait"] <= 1
    steps = [0, 2, NUM_STEPS]
    assert names(runs.images / "samples") == [f"{step:08d}.png" for step in steps]
    both = [f"{step:08d}{suffix}" for step in steps for suffix in (".mp4", ".png")]
    assert names(runs.clips / "samples") == both


def test_3d_training_starts_with_the_2d_run_s_pictures(runs: Runs) -> None:
    """Inflated on the fly: sample clips of step 0 stand still, each a 2D image."""
    with Image.open(runs.images / "samples" / f"{NUM_STEPS:08d}.png") as sheet:
        images = np.asarray(sheet).astype(int)
    with Image.open(runs.clips / "samples" / "00000000.png") as sheet:
        strips = np.asarray(sheet).astype(int)
    # 2 × 2 images, against 4 rows of frames: margins of 2 pixels.
    cell = (strips.shape[0] - 2) // 4
    tiles = [images[y : y + cell, x : x + cell] for y in (0, cell) for x in (0, cell)]
    assert np.abs(np.concatenate(tiles) - strips[: 4 * cell, :cell]).max() <= 1
    for frame in range(1, NUM_FRAMES):
        left = frame * cell
        assert np.abs(strips[:, left : left + cell] - strips[:, :cell]).max() <= 1


def test_a_finished_run_says_where_things_are_and_stays(
    runs: Runs, images_data: str, capsys: pytest.CaptureFixture[str], fast: None
) -> None:
    before = logged(runs.images)
    capsys.readouterr()
    succeed(main.main, *TINY_2D, images_data, f"--workdir={runs.images}")
    out = capsys.readouterr().out
    assert f"done: {NUM_STEPS} steps in {runs.images}" in out
    for name in ("samples", "checkpoints", METRICS, "tensorboard"):
        assert str(runs.images / name) in out
    assert logged(runs.images) == before


@pytest.mark.parametrize(("request_to_stop", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 0)])
def test_a_signal_saves_and_the_same_command_goes_on(
    images_data: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    fast: None,
    request_to_stop: signal.Signals,
    status: int,
) -> None:
    """Ctrl-C ends the script around the command, too; a scheduler's SIGTERM is no failure."""
    sparse = fields(train_save_every_steps=100_000, train_sample_every_steps=100_000)
    typed = [*TINY_2D, *sparse, images_data, f"--workdir={tmp_path}"]

    def press() -> None:
        deadline = time.monotonic() + 60
        metrics = tmp_path / METRICS
        while time.monotonic() < deadline and not (metrics.exists() and metrics.stat().st_size):
            time.sleep(0.01)
        os.kill(os.getpid(), request_to_stop)

    before = signal.getsignal(request_to_stop)
    thread = threading.Thread(target=press)
    thread.start()
    assert main.main([*typed, *fields(train_num_steps=100_000)]) == status
    thread.join()
    assert signal.getsignal(request_to_stop) is before
    (saved,) = names(tmp_path / "checkpoints")
    out = capsys.readouterr().out
    assert f"stopped and saved at step {saved}; run the same command to go on" in out
    succeed(main.main, *typed, *fields(train_num_steps=int(saved) + 2))
    steps = [line["step"] for line in logged(tmp_path)]
    assert steps == list(range(1, int(saved) + 3))


def test_a_first_save_cut_short_does_not_hide_where_to_start_from(
    runs: Runs, images_data: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], fast: None
) -> None:
    """Killed in its first save, a run starts again from `init.path`, not from random weights."""
    (tmp_path / "checkpoints" / "2.orbax-checkpoint-tmp").mkdir(parents=True)
    start = [f"--config.init.path={runs.images}", *fields(train_num_steps=1)]
    succeed(main.main, *TINY_2D, images_data, *start, f"--workdir={tmp_path}")
    said = f"starting from {runs.images} (step {NUM_STEPS}), as they are"
    assert said in capsys.readouterr().err


def test_losses_that_are_not_finite_are_one_line(
    images_data: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], fast: None
) -> None:
    rates = fields(gen_learning_rate=1e30, disc_learning_rate=1e30)
    assert main.main([*TINY_2D, images_data, *rates, f"--workdir={tmp_path}"]) == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("error: ")
    assert "not finite at step" in last
    assert "lower the learning rates" in last
    assert names(tmp_path / "checkpoints") == []


def test_a_full_disk_keeps_what_is_whole_and_the_same_command_goes_on(
    images_data: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    fast: None,
) -> None:
    whole = ocp.CheckpointManager.save

    def save(manager: Any, step: int, **options: Any) -> Any:
        if step > 2:
            manager.wait_until_finished()  # as the true one does first
            raise OSError(errno.ENOSPC, "No space left on device")
        return whole(manager, step, **options)

    monkeypatch.setattr(ocp.CheckpointManager, "save", save)
    assert main.main([*TINY_2D, images_data, f"--workdir={tmp_path}"]) == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith(f"error: could not write a checkpoint in {tmp_path}/checkpoints: no sp")
    assert "the checkpoint of step 2 is whole; free space and run the same command again" in last
    assert names(tmp_path / "checkpoints") == ["2"]
    monkeypatch.undo()
    succeed(main.main, *TINY_2D, images_data, f"--workdir={tmp_path}")
    assert [line["step"] for line in logged(tmp_path)] == [1, 2, 3]


# Plans.


def test_the_plan_in_json(
    runs: Runs, images_data: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    workdir = tmp_path / "workdir"
    start = f"--config.init.path={runs.images}"
    planned = plan_of(capsys, *TINY_3D, images_data, start, f"--workdir={workdir}")
    _, weights = trained(runs.clips)
    networks = planned["networks"]
    assert networks["generator"]["parameters"] == plan.count(weights.gen["params"])
    assert networks["discriminator"]["parameters"] == plan.count(weights.disc["params"])
    assert networks["generator"]["layers"][0]["output"] == [1, NUM_FRAMES, SIZE, SIZE, 3]
    assert planned["data"] == {
        "path": str(runs.data),
        "embedded": False,
        "split": "train",
        "clips": 6,
        "videos": 3,
        "example_shape": [NUM_FRAMES, SIZE, SIZE, 3],
    }
    batch = {"global": 8, "per_process": 8, "per_device": 1, "parts": 1, "disc_steps": 1}
    assert planned["batch"] == batch
    assert planned["devices"]["count"] == 8
    assert planned["num_steps"] == NUM_STEPS
    assert planned["init"] == str(runs.images)
    assert planned["memory"]["total_bytes_estimate"] > planned["memory"]["state_bytes"] > 0
    assert not workdir.exists()


def test_the_plan_in_words(images_data: str, capsys: pytest.CaptureFixture[str]) -> None:
    succeed(main.main, *TINY_2D, images_data, "--dry_run")
    written = capsys.readouterr()
    assert written.err == ""
    for word in ("generator", "discriminator", "conv_img", "plan of resnet2d", "8 cpu", "random"):
        assert word in written.out


def test_the_plan_of_embedded_scenes_renders_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    planned = plan_of(capsys, *TINY_2D)
    assert planned["data"]["embedded"]
    assert planned["data"]["clips"] is None
    assert planned["data"]["path"].startswith(str(tmp_path))
    assert names(tmp_path) == []


def test_a_user_without_data_types_the_command(tmp_path: Path) -> None:
    """Run and plan, with embedded scenes, in the repository's root."""
    small = fields(train_num_steps=1, data_resize=16)
    typed = ["--config=configs/resnet2d.py:smoke", *TINY_2D[1:], *small]
    workdir = tmp_path / "workdir"
    cache: dict[str, str | Path] = {"XDG_CACHE_HOME": tmp_path / "cache"}
    cache["JAX_COMPILATION_CACHE_DIR"] = ""
    made = type_in("main", *typed, f"--workdir={workdir}", **cache)
    assert made.returncode == 0, made.stderr
    assert made.stderr.count("config.data.path is empty: using embedded scenes, ") == 1
    assert "Warning" not in made.stderr
    assert made.stdout.startswith(f"done: 1 steps in {workdir}\n")
    assert names(workdir) == sorted([*WORKDIR, "programs"])
    planned = type_in("main", *typed, "--dry_run=json", **cache)
    assert planned.stderr == ""
    assert json.loads(planned.stdout)["data"]["clips"] == 1  # the other video is for validation
    assert json.loads(planned.stdout)["devices"]["count"] == 1


def test_a_stranger_s_slip_is_one_line_without_a_traceback(tmp_path: Path) -> None:
    typed = ["--config=configs/resnet2d.py:smoke", "--config.train.batch_size=6"]
    failed = type_in("main", *typed, f"--workdir={tmp_path / 'no'}", JAX_NUM_CPU_DEVICES="4")
    said = "error: batch_size (=6) must divide by the 4 devices; use 4 or 8\n"
    assert (failed.returncode, failed.stdout, failed.stderr) == (2, "", said)
    assert not (tmp_path / "no").exists()

"""Runs whose checkpoints are cut short, damaged or refused by a full disk: none goes astray."""

import contextlib
import errno
import os
import resource
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import chex
import pytest

from tests.runs import names
from tests.train.test_loop import command, losses, run, saved_state
from vidgan_jax.train import checkpoint
from vidgan_jax.train.checkpoint import CheckpointError, Checkpoints

TEMPORARY = "*.orbax-checkpoint-tmp*"


def assert_same_end(workdir: Path, whole: Path) -> None:
    """Bit for bit: every logged loss, and every leaf of the last checkpoint."""
    assert losses(workdir) == losses(whole)
    chex.assert_trees_all_equal(saved_state(workdir), saved_state(whole))


# --- SIGKILL


def kill_while_saving(data: Path, workdir: Path) -> bool:
    """Starts a run and kills it once a checkpoint is being written; whether it was unfinished."""
    folder = workdir / checkpoint.FOLDER
    output = subprocess.DEVNULL
    on_one_device = os.environ | {"JAX_PLATFORMS": "cpu", "JAX_NUM_CPU_DEVICES": "1"}
    process = subprocess.Popen(
        command(data, workdir), env=on_one_device, stdout=output, stderr=output
    )
    try:
        deadline = time.monotonic() + 120
        while process.poll() is None and time.monotonic() < deadline:
            writing = [p for p in folder.glob(TEMPORARY) if not p.name.startswith("3.")]
            if writing:
                process.send_signal(signal.SIGKILL)
                break
            time.sleep(0.0005)
        else:
            return False
    finally:
        process.kill()
        process.wait()
    return bool(list(folder.glob(TEMPORARY)))


def test_killed_while_a_checkpoint_is_written_it_goes_on_from_the_one_before(
    data: Path, whole: Path, tmp_path: Path
) -> None:
    for attempt in range(5):  # the writing of a tiny one takes no long: a kill may come too late
        workdir = tmp_path / str(attempt)
        if kill_while_saving(data, workdir):
            break
    else:
        pytest.fail("no kill hit a checkpoint while it was written")
    folder = workdir / checkpoint.FOLDER
    left = [path.name.partition(".")[0] for path in folder.glob(TEMPORARY)]
    finished = [name for name in names(folder) if name.isdigit()]
    assert left == [str(3 * len(finished) + 3)]
    assert run(data, workdir).finished
    assert names(folder) == ["3", "6", "9"]  # what was cut short is cleared away
    assert_same_end(workdir, whole)


# --- damage


def largest(folder: Path) -> Path:
    return max((p for p in folder.rglob("*") if p.is_file()), key=lambda p: p.stat().st_size)


def cut(folder: Path) -> None:
    path = largest(folder / "state")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flip(folder: Path) -> None:
    path = largest(folder / "state")
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def lose(folder: Path) -> None:
    (folder / "state" / "_METADATA").unlink()


def scribble(folder: Path) -> None:
    (folder / "meta" / "metadata").write_bytes(b'{"config": \x00')


@pytest.mark.parametrize(("newest", "before"), [(cut, flip), (lose, scribble)])
def test_from_damaged_checkpoints_a_run_falls_back_to_the_newest_whole_one(
    newest: Callable[[Path], None],
    before: Callable[[Path], None],
    data: Path,
    whole: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    shutil.copytree(whole, tmp_path, dirs_exist_ok=True)
    folder = tmp_path / checkpoint.FOLDER
    newest(folder / "9")
    before(folder / "6")
    damaged = {step: contents(folder / step) for step in ("6", "9")}
    assert run(data, tmp_path).finished
    told = [line for line in capsys.readouterr().err.splitlines() if "is damaged" in line]
    assert [line.split(" is damaged (")[0] for line in told] == [
        str(folder / "9"),
        str(folder / "6"),
    ]
    assert all(line.endswith("; going on from step 3") for line in told)
    assert {step: contents(folder / f"{step}.damaged") for step in damaged} == damaged
    assert names(folder) == ["3", "6", "6.damaged", "9", "9.damaged"]
    assert_same_end(tmp_path, whole)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_over_nothing_but_damaged_checkpoints_no_run_starts(
    data: Path, whole: Path, tmp_path: Path
) -> None:
    shutil.copytree(whole, tmp_path, dirs_exist_ok=True)
    folder = tmp_path / checkpoint.FOLDER
    for step, spoil in zip(names(folder), (cut, flip, scribble), strict=True):
        spoil(folder / step)
    with pytest.raises(CheckpointError, match=r"no checkpoint in .* is whole .*--workdir"):
        run(data, tmp_path)
    assert names(folder) == ["3", "6", "9"]


# --- a full disk


class Disk:
    """A place that can be full: a small file system in memory, or what the system lets us write."""

    LEFT = 24 << 10  # what a full disk still takes: log lines and pictures, and no checkpoint

    def __init__(self, folder: Path, *, mounted: bool) -> None:
        self.folder, self._mounted = folder, mounted
        self._limits = resource.getrlimit(resource.RLIMIT_FSIZE)

    def fill(self) -> None:
        if not self._mounted:
            resource.setrlimit(resource.RLIMIT_FSIZE, (self.LEFT, self._limits[1]))
            return
        with open(self.folder / "filler", "wb", buffering=0) as file:
            with contextlib.suppress(OSError):  # the disk is full: that is meant
                while file.write(bytes(4096)):
                    pass
            file.truncate(file.tell() - self.LEFT)

    def free(self) -> None:
        (self.folder / "filler").unlink(missing_ok=True)
        resource.setrlimit(resource.RLIMIT_FSIZE, self._limits)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    """Only root can mount: for others, a limit of a file's size stands in."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=4m", "none", str(folder)]
    mounted = (
        bool(shutil.which("mount"))
        and not subprocess.run(mount, capture_output=True, timeout=30, check=False).returncode
    )
    full = Disk(folder, mounted=mounted)
    try:
        yield full
    finally:
        full.free()
        if mounted:
            subprocess.run(["umount", "-l", str(folder)], check=True, timeout=30)


@contextlib.contextmanager
def full_at(disk: Disk, step: int, *, freed_after: bool) -> Iterator[None]:
    """The disk is full once the checkpoint of `step` is due, for good or for that one alone."""
    save = Checkpoints.save

    def watched(checkpoints: Checkpoints, number: int, *args: Any, **how: Any) -> None:
        if number == step:
            checkpoints.wait()
            disk.fill()
        save(checkpoints, number, *args, **how)
        if number == step:
            checkpoints.wait()  # or else the next picture may be what the disk refuses first
            if freed_after:
                disk.free()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Checkpoints, "save", watched)
        yield


def test_on_a_full_disk_a_run_stops_and_loses_no_checkpoint(
    data: Path, whole: Path, disk: Disk
) -> None:
    workdir = disk.folder / "run"
    with (
        full_at(disk, 6, freed_after=False),
        pytest.raises(CheckpointError, match="the checkpoint of step 3 is whole") as error,
    ):
        run(data, workdir, "--config.train.keep_checkpoints=1")
    assert str(errno.EFBIG) in str(error.value) or "no space left" in str(error.value)
    assert names(workdir / checkpoint.FOLDER) == ["3"]
    disk.free()
    assert run(data, workdir).finished
    assert_same_end(workdir, whole)


def test_over_a_full_disk_a_run_goes_on_if_the_config_says_so(
    data: Path, whole: Path, disk: Disk, capsys: pytest.CaptureFixture[str]
) -> None:
    workdir = disk.folder / "run"
    how = ("--config.train.keep_checkpoints=1", "--config.faults.failed_saves=go_on")
    with full_at(disk, 6, freed_after=True):
        assert run(data, workdir, *how).finished
    told = [line for line in capsys.readouterr().err.splitlines() if "could not write" in line]
    assert len(told) == 1
    assert told[0].startswith("step 6: could not write a checkpoint in ")
    assert "the checkpoint of step 3 is whole; training goes on" in told[0]
    assert names(workdir / checkpoint.FOLDER) == ["9"]
    assert_same_end(workdir, whole)


def test_a_disk_without_any_room_costs_samples_but_no_line_of_metrics(
    data: Path, whole: Path, disk: Disk, capsys: pytest.CaptureFixture[str]
) -> None:
    """Full from the save at step 3 on until the one at step 9, in which time nothing fits."""
    workdir, save = disk.folder / "run", Checkpoints.save
    disk.LEFT = 0

    def watched(checkpoints: Checkpoints, number: int, *args: Any, **how: Any) -> None:
        if number == 9:
            disk.free()
        save(checkpoints, number, *args, **how)
        if number == 3:
            checkpoints.wait()
            disk.fill()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Checkpoints, "save", watched)
        assert run(data, workdir, "--config.faults.failed_saves=go_on").finished
    told = capsys.readouterr().err
    assert told.count("warning: metrics from step ") == 1
    assert "warning: the sample of step 6 could not be written" in told
    assert "step 6: could not write a checkpoint in " in told
    assert names(workdir / checkpoint.FOLDER) == ["3", "9"]
    assert_same_end(workdir, whole)


def test_what_a_run_ends_with_must_be_saved_in_any_case(data: Path, disk: Disk) -> None:
    workdir = disk.folder / "run"
    with (
        full_at(disk, 9, freed_after=False),
        pytest.raises(CheckpointError, match="the checkpoint of step 6 is whole"),
    ):
        run(data, workdir, "--config.faults.failed_saves=go_on")
    assert names(workdir / checkpoint.FOLDER) == ["3", "6"]

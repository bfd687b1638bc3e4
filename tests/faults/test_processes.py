"""Runs of two processes, really started: alike a run of one, and nothing lost when one dies."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import chex
import numpy as np
import pytest

from tests.runs import ROOT, logged, names
from tests.train.test_loop import CONFIG, TINY, losses, run, saved_state
from vidgan_jax.train.checkpoint import FOLDER
from vidgan_jax.train.samples import SAMPLES
from vidgan_jax.train.writers import METRICS

NUM = 2
# Long enough for a signal to come in between.
NUM_STEPS, SAVED_EVERY = 200, 20
LONG = (
    f"--config.train.num_steps={NUM_STEPS}",
    f"--config.train.save_every_steps={SAVED_EVERY}",
    "--config.train.sample_every_steps=100000",
)
GO_ON = "run the same command again for all processes; it goes on from the newest checkpoint"
LOST, MISTAKE = 3, 2
# What may pass on a busy machine; nothing here waits for as long in fact.
PATIENCE_S = 240.0

# A process of a run, without the run: what `{body}` does once all have joined.
JOINED = """
import argparse, sys, time
from vidgan_jax import cli, cluster
def command(args):
    with cluster.joined(args):
        import jax
        first = jax.process_index() == 0
        print("joined", flush=True)
        {body}
    return 0
parser = argparse.ArgumentParser()
cluster.add_flags(parser)
parser.add_argument("--folder")
sys.exit(cli.run(parser, command, None))
"""


class Processes:
    """Processes of one run; killed at the end of the test, whatever became of them."""

    def __init__(self, command: Callable[[int], Sequence[str]], folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        with socket.create_server(("127.0.0.1", 0)) as free:
            address = f"127.0.0.1:{free.getsockname()[1]}"
        self.started = [
            self._start(
                process_id,
                *command(process_id),
                f"--coordinator={address}",
                f"--num-processes={NUM}",
                f"--process-id={process_id}",
            )
            for process_id in range(NUM)
        ]

    def _start(self, process_id: int, *command: str) -> "subprocess.Popen[bytes]":
        with (
            self._file(process_id, "out").open("w") as out,
            self._file(process_id, "err").open("w") as err,
        ):
            here = {"JAX_PLATFORMS": "cpu", "JAX_NUM_CPU_DEVICES": "1"}
            return subprocess.Popen(
                command, cwd=ROOT, env=os.environ | here, stdout=out, stderr=err
            )

    def _file(self, process_id: int, stream: str) -> Path:
        return self._folder / f"{process_id}.{stream}"

    def out(self, process_id: int) -> str:
        return self._file(process_id, "out").read_text()

    def err(self, process_id: int) -> str:
        return self._file(process_id, "err").read_text()

    def wait_until(self, there: Callable[[], bool]) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while not there():
            ended = [p.returncode for p in self.started if p.poll() is not None]
            assert not ended, self.err(0) + self.err(1)
            assert time.monotonic() < deadline, self.err(0) + self.err(1)
            time.sleep(0.01)

    def statuses(self) -> list[int]:
        return [process.wait(PATIENCE_S) for process in self.started]


@contextlib.contextmanager
def running(command: Callable[[int], Sequence[str]], folder: Path) -> Iterator[Processes]:
    processes = Processes(command, folder)
    try:
        yield processes
    finally:
        for process in processes.started:
            process.kill()
            process.wait()


def training(data: Path, workdir: Path, *more: str) -> list[str]:
    verb = [sys.executable, "-m", "vidgan_jax.main", f"--config={CONFIG}", f"--workdir={workdir}"]
    return [*verb, f"--config.data.path={data}", *TINY, *more]


def num_logged(workdir: Path) -> int:
    path = workdir / METRICS
    return path.read_text().count("\n") if path.exists() else 0


def checkpoints(workdir: Path) -> list[int]:
    folder = workdir / FOLDER
    return sorted(int(p.name) for p in folder.iterdir() if p.name.isdigit())


@pytest.fixture(scope="module")
def typed(
    data: Path, tmp_path_factory: pytest.TempPathFactory
) -> "tuple[Path, subprocess.CompletedProcess[str]]":
    """A run of two processes that nothing disturbs, typed as a user does; and what it said."""
    workdir = tmp_path_factory.mktemp("two") / "workdir"
    command = ["bash", "launch/local.sh", str(NUM), *training(data, workdir, *LONG)[3:]]
    done = subprocess.run(
        command,
        cwd=ROOT,
        env=os.environ | {"VIRTUAL_ENV": sys.prefix},
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return workdir, done


def assert_goes_on_bit_for_bit(workdir: Path, undisturbed: Path, data: Path, logs: Path) -> None:
    """The same command again ends with the same lines and the same checkpoint."""
    with running(lambda _: training(data, workdir, *LONG), logs) as processes:
        assert processes.statuses() == [0, 0], processes.err(0)
    assert losses(workdir) == losses(undisturbed)
    chex.assert_trees_all_equal(saved_state(workdir), saved_state(undisturbed))


def test_two_processes_make_the_run_of_one(
    data: Path, typed: "tuple[Path, subprocess.CompletedProcess[str]]", tmp_path: Path
) -> None:
    """With one writer of samples, lines and results."""
    workdir, done = typed
    assert "[0] 2 processes, 2 devices (cpu); this is process 0 on " in done.stderr
    assert f"[0] done: {NUM_STEPS} steps in {workdir}\n" in done.stdout
    assert "[1] done" not in done.stdout
    assert "[1] resnet2d" not in done.stderr
    assert [line["step"] for line in logged(workdir)] == list(range(1, NUM_STEPS + 1))
    assert names(workdir / SAMPLES) == ["00000000.png", f"{NUM_STEPS:08d}.png"]
    kept = 3
    assert checkpoints(workdir) == [*range(SAVED_EVERY, NUM_STEPS + 1, SAVED_EVERY)][-kept:]
    run(data, tmp_path)
    for line, expected in zip(losses(workdir)[:9], losses(tmp_path), strict=True):
        for name in ("step", "D", "G"):
            # Sums over two parts are rounded otherwise; Adam makes whole steps of small gradients.
            rtol = 1e-5 if (name, line["step"]) == ("D", 1) else 0.02
            np.testing.assert_allclose(line[name], expected[name], rtol=rtol, err_msg=name)


def test_sigterm_to_one_saves_both_at_the_same_step_and_they_go_on_bit_for_bit(
    data: Path, typed: "tuple[Path, subprocess.CompletedProcess[str]]", tmp_path: Path
) -> None:
    """And so does one process, from the same checkpoint, but for rounding."""
    workdir, rarely = tmp_path / "two", "--config.train.save_every_steps=100000"
    with running(lambda _: training(data, workdir, *LONG, rarely), tmp_path) as processes:
        processes.wait_until(lambda: num_logged(workdir) >= 2)
        processes.started[1].send_signal(signal.SIGTERM)
        assert processes.statuses() == [0, 0]
        (step,) = checkpoints(workdir)
        told = f"stopped and saved at step {step}; run the same command to go on"
        assert told in processes.out(0)
    assert step < NUM_STEPS
    one = tmp_path / "one"
    shutil.copytree(workdir, one)
    assert_goes_on_bit_for_bit(workdir, typed[0], data, tmp_path)
    run(data, one, f"--config.train.num_steps={step + 1}")
    for name in ("D", "D_real", "D_fake"):
        expected = losses(typed[0])[step][name]
        np.testing.assert_allclose(losses(one)[step][name], expected, rtol=2e-4, err_msg=name)


@pytest.mark.parametrize("victim", [pytest.param(0, marks=pytest.mark.slow), 1])
def test_one_killed_ends_the_other_and_both_go_on_bit_for_bit(
    data: Path,
    typed: "tuple[Path, subprocess.CompletedProcess[str]]",
    tmp_path: Path,
    victim: int,
) -> None:
    workdir, other = tmp_path / "two", 1 - victim
    beat = "--heartbeat-timeout-s=10"
    with running(lambda _: training(data, workdir, *LONG, beat), tmp_path) as processes:
        processes.wait_until(lambda: bool(workdir.exists() and saved(workdir)))
        processes.started[victim].kill()
        killed = time.monotonic()
        assert processes.statuses()[victim] == -signal.SIGKILL
        # Gloo tells at once; where nobody is in a collective, JAX's runtime after the time-out.
        assert processes.started[other].returncode in (LOST, -signal.SIGABRT)
        assert time.monotonic() - killed < 60
        processes_said = wait_for_words(processes, other)
        assert "another process of the run has ended or can't be reached" in processes_said
        assert GO_ON in processes_said
    assert num_logged(workdir) < NUM_STEPS
    assert_goes_on_bit_for_bit(workdir, typed[0], data, tmp_path)


def saved(workdir: Path) -> list[int]:
    return checkpoints(workdir) if (workdir / FOLDER).exists() else []


def wait_for_words(processes: Processes, process_id: int) -> str:
    """stderr, once the shell that has the last words has had them."""
    deadline = time.monotonic() + 10
    while GO_ON not in processes.err(process_id) and time.monotonic() < deadline:
        time.sleep(0.01)
    return processes.err(process_id)


def joined(body: str, *flags: str) -> list[str]:
    return [sys.executable, "-c", JOINED.format(body=body), *flags]


def test_an_error_that_all_have_is_told_once(tmp_path: Path) -> None:
    body = 'raise ValueError("all of us")'
    with running(lambda _: joined(body), tmp_path) as processes:
        assert processes.statuses() == [MISTAKE, MISTAKE]
        assert processes.err(0).endswith("\nerror: all of us\n")
        assert processes.err(1) == ""
        assert processes.out(1) == ""  # results are the first process's to print


# What one of two does otherwise than the other, and what both then end with.
SLIPS = {
    "a mistake": (
        """
        with cluster.in_agreement("data"):
            if not first: raise FileNotFoundError(2, "No such file", "my data")""",
        "error: process 1: my data: No such file\n",
    ),
    "two mistakes": (
        """
        with cluster.in_agreement("data"):
            raise ValueError("first's" if first else "second's")""",
        "error: process 0: first's\n  process 1: second's\n",
    ),
    "another field": (
        """
        from vidgan_jax.train import agreement
        agreement.check_same({"config": {"train": {"seed": int(first)}, "name": "x"}, "n": 1})""",
        "error: process 1 has another config.train.seed than process 0: give all the same command",
    ),
    "more fields": (
        """
        from vidgan_jax.train import agreement
        agreement.check_same({"a": 1} if first else {"a": 1, "b": 2})""",
        "error: process 1 has other fields than process 0: give all the same command",
    ),
    "another folder": (
        """
        import pathlib
        cluster._SEEN_S = 1
        folder = pathlib.Path(args.folder) / str(int(first))
        folder.mkdir()
        cluster.check_shared(folder)""",
        "is not the folder that process 0 has under this name; give a --workdir that all",
    ),
}


@pytest.mark.parametrize("slip", SLIPS)
def test_a_slip_of_one_is_told_once_and_ends_both_with_its_status(
    slip: str, tmp_path: Path
) -> None:
    body, told = SLIPS[slip]
    with running(lambda _: joined(body, f"--folder={tmp_path}"), tmp_path) as processes:
        assert processes.statuses() == [MISTAKE, MISTAKE]
        assert told in processes.err(0)
        assert processes.err(1) == ""


@pytest.mark.slow
def test_an_error_of_one_ends_the_other(tmp_path: Path) -> None:
    body = 'if not first: raise ValueError("my disk")\n        time.sleep(1000)'
    with running(lambda _: joined(body, "--heartbeat-timeout-s=10"), tmp_path) as processes:
        assert processes.started[1].wait(PATIENCE_S) == MISTAKE
        assert processes.err(1) == "process 1: error: my disk\n"
        begun = time.monotonic()
        assert processes.started[0].wait(PATIENCE_S) == -signal.SIGABRT
        assert time.monotonic() - begun < 30
        said = "error: process 0 of 2 was ended from outside, or because another process of the run"
        assert said in wait_for_words(processes, 0)


@pytest.mark.slow
@pytest.mark.parametrize("frozen", [0, 1])
def test_one_that_does_not_answer_ends_the_other(tmp_path: Path, frozen: int) -> None:
    body = "time.sleep(1000)"
    with running(lambda _: joined(body, "--heartbeat-timeout-s=10"), tmp_path) as processes:
        # Process 1 prints its results to nobody: it has joined when process 0 has.
        processes.wait_until(lambda: "joined" in processes.out(0))
        processes.started[frozen].send_signal(signal.SIGSTOP)
        begun = time.monotonic()
        assert processes.started[1 - frozen].wait(PATIENCE_S) == -signal.SIGABRT
        assert time.monotonic() - begun < 30
        assert GO_ON in wait_for_words(processes, 1 - frozen)

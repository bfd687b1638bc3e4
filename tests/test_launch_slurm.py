"""launch/slurm.sbatch, run as a node runs it, among stand-ins of SLURM's commands."""

import socket
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.datasets import make_dataset
from tests.fake_slurm import JOB, ROOT, Slurm, head
from tests.runs import SIZE, TINY_2D, fields, logged

ONE_NODE = ("--nodes=1", "--ntasks-per-node=2", "--gpus-per-node=2")

# Joins the others and stops with them as vidgan_jax.main does; at the second start it finishes.
PROGRAM = f"""\
#!{sys.executable}
import argparse, os, pathlib, sys, time
import jax
from vidgan_jax import cluster
from vidgan_jax.train.stopping import stop_requests
parser = argparse.ArgumentParser()
cluster.add_flags(parser)
stopped = None
with cluster.joined(parser.parse_known_args()[0]), stop_requests() as requests:
    gpu = jax.config.values["jax_cuda_visible_devices"]
    line = f"process {{jax.process_index()}} of {{jax.process_count()}} with GPU {{gpu}}"
    print(line, *sys.argv[1:], file=sys.stderr)
    pathlib.Path(sys.argv[-1], f"ready{{jax.process_index()}}").touch()
    step = 0
    while stopped is None and "SLURM_RESTART_COUNT" not in os.environ:
        stopped = requests.asked(step)
        step += 1
        time.sleep(0.02)
sys.exit(75 if stopped else 0)
"""


def start(python: str | Path, *, restarts: int = 0) -> dict[str, str]:
    """Environment variables of a job that really starts processes, with a free port."""
    with socket.socket() as found:
        found.bind(("localhost", 0))
        port = str(found.getsockname()[1])
    variables = {"PYTHON": str(python), "JAX_PLATFORMS": "cpu", "JAX_COORDINATOR_PORT": port}
    variables |= {"JAX_NUM_CPU_DEVICES": "1", "PYTHONPATH": str(ROOT)}
    return variables | ({"SLURM_RESTART_COUNT": str(restarts)} if restarts else {})


def ending(*statuses: int) -> list[dict[str, Any]]:
    return [{"status": status} for status in statuses]


def test_sbatch_sees_what_a_requeue_needs() -> None:
    options = head()
    assert options.keys() >= {"requeue", "nodes", "gpus-per-node", "ntasks-per-node", "time"}
    assert options["open-mode"] == "append"
    # Of all processes (B: would be this script only), and early enough to save.
    name, seconds = options["signal"].split("@")
    assert name == "TERM"
    assert int(seconds) >= 120
    # SLURM does not make the folder of a log, and a job without its log dies without a word.
    assert "/" not in options["output"]


@pytest.mark.parametrize(
    ("statuses", "status", "requeued", "said"),
    [
        ([0], 0, False, "finished"),
        ([75], 0, True, "goes back to the queue"),
        ([143], 0, True, "goes back to the queue"),
        ([2], 2, False, "ended with status 2; see"),
        ([130], 130, False, "ended with status 130"),
        ([137, 0], 0, False, "starts again from the newest checkpoint"),
        ([1, 75], 0, True, "starts again from the newest checkpoint"),
        ([134, 134, 134, 134], 134, False, "crashed with status 134; given up"),
    ],
)
def test_what_follows_from_how_training_ends(
    tmp_path: Path, statuses: list[int], status: int, requeued: bool, said: str
) -> None:
    """Only what was stopped before it had finished goes back to the queue."""
    slurm = Slurm(tmp_path, ending(*statuses))
    job = slurm.submit("--config=configs/vgan.py")
    assert (job.returncode, job.stderr) == (status, "")
    assert said in job.stdout
    assert len(slurm.calls("srun")) == len(statuses)
    expected = [["requeue", str(JOB)]] if requeued else []
    assert slurm.calls("scontrol") == expected


@pytest.mark.parametrize("status", [75, 137])
def test_a_job_that_slurm_ends_is_not_requeued(tmp_path: Path, status: int) -> None:
    """A second start of what the user has cancelled would be the last thing wanted."""
    slurm = Slurm(tmp_path, [{"cancel": True, "status": status}])
    job = slurm.submit()
    assert job.returncode == status
    assert len(slurm.calls("srun")) == 1
    assert slurm.calls("scontrol") == []


@pytest.mark.parametrize(("state", "requeued"), [("COMPLETING", 0), ("RUNNING", 1), ("", 1)])
def test_the_job_s_state_is_asked(tmp_path: Path, state: str, requeued: int) -> None:
    """Where SLURM does not answer, the job is taken to be running."""
    slurm = Slurm(tmp_path, ending(75), state=state)
    job = slurm.submit()
    assert job.returncode == (0 if requeued else 75)
    assert len(slurm.calls("scontrol")) == requeued


def test_a_refused_requeue_is_told(tmp_path: Path) -> None:
    job = Slurm(tmp_path, ending(75), scontrol_status=1).submit()
    assert job.returncode == 75
    assert "scontrol refused; submit the same command again" in job.stdout


def test_what_srun_is_given(tmp_path: Path) -> None:
    slurm = Slurm(tmp_path, ending(0))
    arguments = ("--config=configs/resnet3d.py:small", "--workdir=/shared/with a space")
    slurm.submit(*arguments, variables={"PYTHON": "/opt/python"})
    (given,) = slurm.calls("srun")
    main = given.index("/opt/python")
    assert given[main:] == [
        *("/opt/python", "-m", "vidgan_jax.main", "--stopped-status=75"),
        *arguments,
    ]
    # Since SLURM 22.05 srun does not take the job's.
    assert f"--cpus-per-task={head()['cpus-per-task']}" in given[:main]
    assert "--open-mode=append" in given[:main]


def test_containers(tmp_path: Path) -> None:
    variables = {"IMAGE": "/shared/image", "MOUNTS": "/shared:/shared"}
    pyxis, apptainer = (Slurm(tmp_path / name, ending(0)) for name in ("pyxis", "apptainer"))
    pyxis.submit("--config=x", variables={"CONTAINER": "pyxis", **variables})
    given = pyxis.calls("srun")[0]
    container = ["image=/shared/image", "mounts=/shared:/shared", f"workdir={ROOT}"]
    assert [f"--container-{option}" for option in container] == given[-8:-5]
    assert given[-5:-2] == ["python3", "-m", "vidgan_jax.main"]
    apptainer.submit("--config=x", variables={"CONTAINER": "apptainer", **variables})
    given = apptainer.calls("srun")[0]
    options = ["--nv", "--bind", "/shared:/shared", "--pwd", str(ROOT), "/shared/image"]
    assert given[given.index("apptainer") :][:11] == [
        *("apptainer", "exec", *options),
        *("python3", "-m", "vidgan_jax.main"),
    ]


@pytest.mark.parametrize(
    ("container", "said"),
    [
        ("docker", "CONTAINER (=docker) must be none, pyxis or apptainer"),
        ("pyxis", "CONTAINER=pyxis needs IMAGE"),
    ],
)
def test_mistakes(tmp_path: Path, container: str, said: str) -> None:
    slurm = Slurm(tmp_path, [])
    job = slurm.submit(variables={"CONTAINER": container})
    assert job.returncode == 2
    assert said in job.stderr
    assert slurm.calls("srun") == []


def test_is_submitted_from_the_root(tmp_path: Path) -> None:
    job = Slurm(tmp_path, []).submit(cwd=tmp_path)
    assert job.returncode == 2
    assert job.stderr == f"error: submit from the repository's root, not from {tmp_path}\n"


def test_processes_find_each_other_stop_and_start_again(tmp_path: Path) -> None:
    """They are joined by SLURM's variables alone; SIGTERM to all, requeue, and the end."""
    program = tmp_path / "program"
    program.write_text(PROGRAM)
    program.chmod(0o755)
    ready = [str(tmp_path / f"ready{i}") for i in range(2)]
    slurm = Slurm(tmp_path, [{"term_when": ready}, {}])
    stopped = slurm.submit(tmp_path, options=ONE_NODE, variables=start(program))
    assert (stopped.returncode, stopped.stderr) == (0, ""), slurm.log(0) + slurm.log(1)
    assert len(slurm.calls("scontrol")) == 1
    again = slurm.submit(tmp_path, options=ONE_NODE, variables=start(program, restarts=1))
    assert (again.returncode, again.stderr) == (0, ""), slurm.log(0) + slurm.log(1)
    assert "start 2" in again.stdout
    assert len(slurm.calls("scontrol")) == 1
    for i in range(2):
        joined = f"process {i} of 2 with GPU {i} -m vidgan_jax.main --stopped-status=75 {tmp_path}"
        assert slurm.log(i).count(joined) == 2


@pytest.mark.slow
def test_training_goes_on_where_it_was_stopped(tmp_path: Path) -> None:
    """The real thing: two processes train, are preempted, requeued, and finish."""
    workdir = tmp_path / "run"
    slurm = Slurm(tmp_path, [{"term_when": [str(workdir / "metrics.jsonl")]}, {}])
    data = make_dataset(tmp_path / "data", size=SIZE)
    chosen = fields(data_path=data, train_num_steps=40)
    arguments = (*TINY_2D, *chosen, f"--workdir={workdir}")
    stopped = slurm.submit(*arguments, options=ONE_NODE, variables=start(sys.executable))
    assert "goes back to the queue" in stopped.stdout, slurm.log(0) + slurm.log(1)
    assert "stopped and saved at step" in slurm.log(0)
    num_before = len(logged(workdir))
    assert 0 < num_before < 40
    again = slurm.submit(*arguments, options=ONE_NODE, variables=start(sys.executable, restarts=1))
    assert "finished" in again.stdout, slurm.log(0) + slurm.log(1)
    assert [int(row["step"]) for row in logged(workdir)] == list(range(1, 41))

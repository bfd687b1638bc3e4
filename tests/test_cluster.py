"""Who takes part in a run: flags, srun, mpirun, a manifest's variables; nothing is started here."""

import argparse
import socket

import pytest

from vidgan_jax import cluster
from vidgan_jax.places import Place, find_place

STEP = {  # as srun sets them for the sixth of eight processes on two nodes of four GPUs
    "SLURM_JOB_ID": "12",
    "SLURM_STEP_ID": "0",
    "SLURM_NTASKS": "8",
    "SLURM_STEP_NUM_TASKS": "8",
    "SLURM_STEP_TASKS_PER_NODE": "4(x2)",
    "SLURM_NODEID": "1",
    "SLURM_PROCID": "5",
    "SLURM_LOCALID": "1",
    "CUDA_VISIBLE_DEVICES": "0,1,2,3",
}
MPIRUN = {
    "OMPI_COMM_WORLD_SIZE": "4",
    "OMPI_COMM_WORLD_RANK": "3",
    "OMPI_COMM_WORLD_LOCAL_SIZE": "2",
    "OMPI_COMM_WORLD_LOCAL_RANK": "1",
    "OMPI_MCA_orte_hnp_uri": "1314521088.0;tcp://10.96.0.1:34911",
}
MANIFEST = {
    "JAX_COORDINATOR_ADDRESS": "run-0.run:8476",
    "JAX_NUM_PROCESSES": "2",
    "JOB_COMPLETION_INDEX": "1",
}
FLAGS = ("--coordinator=node1:8476", "--num-processes=4", "--process-id=2")


def parsed(*flags: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    cluster.add_flags(parser)
    return parser.parse_args(flags)


def place(*flags: str, **environ: str) -> Place | None:
    return find_place(parsed(*flags), environ)


@pytest.mark.parametrize(
    ("flags", "environ"),
    [
        ((), {}),
        (("--num-processes=1",), {}),
        (("--cluster=none",), STEP),
        (("--cluster=none",), MPIRUN),
        # sbatch's script, and salloc's shell where that is no step.
        (
            (),
            {"SLURM_JOB_ID": "12", "SLURM_NTASKS": "8", "SLURM_PROCID": "0", "SLURM_LOCALID": "0"},
        ),
        # salloc's shell where that is a step, of one task: the job's number stands beside it.
        ((), STEP | {"SLURM_STEP_NUM_TASKS": "1", "SLURM_PROCID": "0"}),
        ((), MPIRUN | {"OMPI_COMM_WORLD_SIZE": "1"}),
        ((), {"JAX_NUM_PROCESSES": "1"}),
        # A pod of a job whose pods have nothing to do with each other.
        ((), {"KUBERNETES_SERVICE_HOST": "10.0.0.1", "JOB_COMPLETION_INDEX": "3"}),
    ],
)
def test_one_process_is_alone(flags: tuple[str, ...], environ: dict[str, str]) -> None:
    assert place(*flags, **environ) is None


def test_flags_say_it_all() -> None:
    assert place(*FLAGS) == Place("flags", "node1:8476", 4, 2)
    found = place(*FLAGS, "--local-devices=2,3")
    assert found is not None
    assert found.local_devices == (2, 3)
    assert str(found) == "process 2 of 4"


def test_srun_and_mpirun_leave_the_coordinator_to_jax() -> None:
    assert place(**STEP) == Place("SLURM step 12.0", None, 8, 5, (1,), "slurm")
    assert place(**MPIRUN) == Place("Open MPI", None, 4, 3, (1,), "ompi")
    # The steps of mpirun's daemons are not the run's.
    both = place(**STEP, **MPIRUN)
    assert both is not None
    assert (both.found, both.num_processes, both.process_id) == ("Open MPI", 4, 3)


def test_a_coordinator_given_comes_first() -> None:
    expected = Place("SLURM step 12.0", "node1:8476", 8, 5, (1,))
    assert place("--coordinator=node1:8476", **STEP) == expected
    assert place(**STEP, JAX_COORDINATOR_ADDRESS="node1:8476") == expected
    # Open MPI 5 lacks what JAX finds the first node by.
    fifth = {k: v for k, v in MPIRUN.items() if k != "OMPI_MCA_orte_hnp_uri"}
    assert place("--coordinator=node1:8476", **fifth) == Place("Open MPI", "node1:8476", 4, 3, (1,))


def test_a_manifest_s_variables() -> None:
    expected = Place("JAX_NUM_PROCESSES=2", "run-0.run:8476", 2, 1)
    assert place(**MANIFEST) == expected
    assert place(**MANIFEST, JAX_LOCAL_DEVICE_IDS="0,1") == Place(
        "JAX_NUM_PROCESSES=2", "run-0.run:8476", 2, 1, (0, 1)
    )
    own = place(**MANIFEST, JAX_PROCESS_ID="0")
    assert own is not None
    assert own.process_id == 0


def test_jax_s_own_detection_can_be_asked_for() -> None:
    assert place("--cluster=jax", **STEP) == Place("--cluster jax", local_devices=None, method=None)
    assert place("--cluster=mpi4py") == Place(
        "--cluster mpi4py", local_devices=None, method="mpi4py"
    )


@pytest.mark.parametrize(
    ("environ", "devices"),
    [
        ({}, (1,)),  # a process a GPU
        ({"SLURM_STEP_TASKS_PER_NODE": "1(x8)"}, ()),  # a process a node drives all
        ({"CUDA_VISIBLE_DEVICES": "0,1,2,3,4,5,6,7"}, (2, 3)),
        ({"CUDA_VISIBLE_DEVICES": "0"}, ()),  # bound: each sees one, whatever its number
        ({"SLURM_GPUS_PER_TASK": "4"}, ()),
        ({"CUDA_VISIBLE_DEVICES": ""}, ()),
        ({"SLURM_STEP_TASKS_PER_NODE": "4,2", "CUDA_VISIBLE_DEVICES": "0,1"}, (1,)),
        ({"SLURM_STEP_TASKS_PER_NODE": "4,1", "SLURM_LOCALID": "0"}, ()),
        ({"JAX_LOCAL_DEVICE_IDS": "3"}, (3,)),
        ({"JAX_LOCAL_DEVICE_IDS": "all"}, ()),
    ],
)
def test_whose_devices(environ: dict[str, str], devices: tuple[int, ...]) -> None:
    found = place(**STEP | environ)
    assert found is not None
    assert found.local_devices == devices


@pytest.mark.parametrize(
    ("flags", "environ", "message"),
    [
        (FLAGS[:1], {}, r"need --num-processes \(or JAX_NUM.*and --process-id \(or JAX_PROC.*too"),
        (FLAGS[1:], {}, r"need --coordinator HOST:PORT \(or JAX_COORDINATOR_ADDRESS\)"),
        ((*FLAGS[:2], "--process-id=4"), {}, r"--process-id \(=4\) must be from 0 to 3, for 4"),
        ((*FLAGS[:2], "--process-id=-1"), {}, r"--process-id \(=-1\) must be at least 0"),
        ((*FLAGS, "--num-processes=0"), {}, r"--num-processes \(=0\) must be at least 1"),
        ((*FLAGS, "--coordinator=node1"), {}, r"--coordinator \(=node1\) must be HOST:PORT"),
        ((*FLAGS, "--coordinator=node1:70000"), {}, "must be HOST:PORT, process 0's host"),
        ((*FLAGS, "--local-devices=0-3"), {}, r"--local-devices \(=0-3\) must be numbers"),
        ((*FLAGS, "--cluster=none"), {}, "--cluster none contradicts --coordinator"),
        (("--cluster=jax", "--process-id=1"), {}, "--cluster jax contradicts --process-id"),
        (("--num-processes=2",), STEP, r"--num-processes \(=2\) is 8 by SLURM step 12.0; leave"),
        (("--process-id=1",), MPIRUN, r"--process-id \(=1\) is 3 by Open MPI"),
        ((), STEP | {"SLURM_PROCID": "x"}, r"SLURM_PROCID \(=x\) must be a whole number"),
        ((), STEP | {"CUDA_VISIBLE_DEVICES": "0,1,2,3,4"}, "5 devices can't be shared among the 4"),
        ((), MPIRUN | {"OMPI_MCA_orte_hnp_uri": ""}, ""),
        ((), {"JAX_NUM_PROCESSES": "2"}, "need --coordinator .* and --process-id"),
        (("--heartbeat-timeout-s=0",), {}, r"--heartbeat-timeout-s \(=0\) must be at least 1"),
    ],
)
def test_mistakes_are_told(flags: tuple[str, ...], environ: dict[str, str], message: str) -> None:
    if not message:  # the same without the variable
        environ = {k: v for k, v in environ.items() if v}
        message = r"several processes \(Open MPI\) need --coordinator"
    with pytest.raises(ValueError, match=message):
        place(*flags, **environ)


def test_a_coordinator_that_is_not_there_is_told_with_its_address(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        first = parsed(f"--coordinator=127.0.0.1:{port}", "--num-processes=2", "--process-id=0")
        with (
            pytest.raises(ValueError, match=f"port {port} can't be listened on .*give another"),
            cluster.joined(first),
        ):
            pass
    other = parsed(
        f"--coordinator=127.0.0.1:{port}",
        "--num-processes=2",
        "--process-id=1",
        "--join-timeout-s=1",
    )
    where = f"process 1 of 2 can't reach process 0 at 127.0.0.1:{port} within 1 s"
    with pytest.raises(SystemExit) as ended, cluster.joined(other):
        pass
    assert ended.value.code == 3  # it may come yet: a scheduler may try again
    assert where in capsys.readouterr().err


def test_a_batch_script_without_srun_is_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SLURM_NTASKS", "8")
    with cluster.joined(parsed()):
        pass
    assert capsys.readouterr().err == "SLURM has 8 tasks here: `srun` in front uses them all\n"

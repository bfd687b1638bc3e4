"""Which process of how many this one is, and which devices are its: from flags and environment."""

import argparse
import dataclasses
import re
from collections.abc import Mapping

_ALL = "all"
# JAX's own variable, and two like it for what JAX takes by arguments only.
_COORDINATOR, _COUNT, _ID = "JAX_COORDINATOR_ADDRESS", "JAX_NUM_PROCESSES", "JAX_PROCESS_ID"
_LOCAL_DEVICES = "JAX_LOCAL_DEVICE_IDS"
_GPUS = ("CUDA_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES")


@dataclasses.dataclass(frozen=True)
class Place:
    """A process's place in a run of several.

    Attributes:
      found: what told it, in words.
      coordinator: "HOST:PORT" of process 0; None leaves finding it to JAX.
      num_processes: at least 2; None leaves it to JAX.
      process_id: from 0; None leaves it to JAX.
      local_devices: of the node's devices those that are this process's; () for all that it sees,
        None leaves it to JAX.
      method: JAX's `cluster_detection_method`; None for any that fits.
    """

    found: str
    coordinator: str | None = None
    num_processes: int | None = None
    process_id: int | None = None
    local_devices: tuple[int, ...] | None = ()
    method: str | None = "deactivate"

    def __str__(self) -> str:
        who = "a process" if self.process_id is None else f"process {self.process_id}"
        return who if self.num_processes is None else f"{who} of {self.num_processes}"

    @property
    def where(self) -> str:
        """The coordinator in words."""
        return self.coordinator or f"the coordinator that JAX found ({self.found})"


def find_place(args: argparse.Namespace, environ: Mapping[str, str]) -> Place | None:
    """Where this process stands: flags come before the environment.

    Args:
      args: as `add_flags` has them parsed.
      environ: environment variables.

    Returns:
      None for a run of one process.

    Raises:
      ValueError: something is missing or contradicts something else.
    """
    for name in ("join_timeout_s", "heartbeat_timeout_s"):
        if getattr(args, name) < 1:
            raise ValueError(f"{_flag(name)} (={getattr(args, name)}) must be at least 1")
    given = [n for n in ("coordinator", "num_processes", "process_id") if _given(args, n)]
    if args.cluster != "auto" and given:
        raise ValueError(f"--cluster {args.cluster} contradicts {_flag(given[0])}; leave one out")
    if args.cluster == "none":
        return None
    if args.cluster != "auto":
        method = None if args.cluster == "jax" else args.cluster
        devices = _devices(args, environ, None)
        return Place(f"--cluster {args.cluster}", local_devices=devices, method=method)
    found = _from_mpirun(environ) or _from_srun(environ) or _from_variables(environ)
    if found is None and not given:
        return None
    return _with_flags(found, args, environ)


def _from_variables(environ: Mapping[str, str]) -> Place | None:
    """By variables of a manifest: JAX's own for the coordinator, and two like it."""
    coordinator = environ.get(_COORDINATOR)
    count = number(environ, _COUNT)
    process_id = number(environ, _ID)
    if process_id is None:
        process_id = number(environ, "JOB_COMPLETION_INDEX")  # of Kubernetes' indexed jobs
    if count is None or count == 1:
        return None
    return Place(f"{_COUNT}={count}", coordinator, count, process_id)


def _from_srun(environ: Mapping[str, str]) -> Place | None:
    """By SLURM's variables of a step.

    Not by SLURM_NTASKS, which JAX goes by: a batch script and the shell of salloc have the job's
    number there, and are alone.
    """
    count, process_id = number(environ, "SLURM_STEP_NUM_TASKS"), number(environ, "SLURM_PROCID")
    local_id = number(environ, "SLURM_LOCALID")
    if count is None or count == 1 or process_id is None or local_id is None:
        return None
    # Processes that are given GPUs of their own see no others.
    bound = any(name in environ for name in ("SLURM_GPUS_PER_TASK", "SLURM_TRES_PER_TASK"))
    devices = () if bound else _share(environ, local_id, _tasks_of_node(environ))
    found = f"SLURM step {environ.get('SLURM_JOB_ID')}.{environ.get('SLURM_STEP_ID')}"
    return Place(found, None, count, process_id, devices, "slurm")


def _from_mpirun(environ: Mapping[str, str]) -> Place | None:
    """By Open MPI's variables; they come before SLURM's, whose steps mpirun's daemons are."""
    count, process_id = (number(environ, f"OMPI_COMM_WORLD_{n}") for n in ("SIZE", "RANK"))
    local_id = number(environ, "OMPI_COMM_WORLD_LOCAL_RANK")
    if count is None or count == 1 or process_id is None or local_id is None:
        return None
    devices = _share(environ, local_id, number(environ, "OMPI_COMM_WORLD_LOCAL_SIZE"))
    # Open MPI 5 has no such variable any more, and JAX can't find the first node.
    method = "ompi" if "OMPI_MCA_orte_hnp_uri" in environ else "deactivate"
    return Place("Open MPI", None, count, process_id, devices, method)


def _with_flags(
    found: Place | None, args: argparse.Namespace, environ: Mapping[str, str]
) -> Place | None:
    """What was found in the environment, completed by flags, and checked."""
    place = found or Place("flags")
    for name in ("num_processes", "process_id"):
        flag, other = getattr(args, name), getattr(place, name)
        if flag is not None and other not in (None, flag):
            raise ValueError(
                f"{_flag(name)} (={flag}) is {other} by {place.found}; leave the flag out, or give "
                "--cluster none to train alone"
            )
        if flag is not None:
            place = dataclasses.replace(place, **{name: flag})
    _check_numbers(place)
    if place.num_processes == 1:
        return None
    coordinator = args.coordinator or environ.get(_COORDINATOR) or place.coordinator
    if coordinator is not None:
        host_and_port(coordinator)
        place = dataclasses.replace(place, coordinator=coordinator, method="deactivate")
    missing = [
        f"{_flag(name)} (or {variable})"
        for name, variable in (("num_processes", _COUNT), ("process_id", _ID))
        if getattr(place, name) is None
    ]
    if place.method == "deactivate" and place.coordinator is None:
        missing.insert(0, f"--coordinator HOST:PORT (or {_COORDINATOR}), the same for all")
    if missing:
        raise ValueError(f"several processes ({place.found}) need {' and '.join(missing)}, too")
    return dataclasses.replace(place, local_devices=_devices(args, environ, place.local_devices))


def _check_numbers(place: Place) -> None:
    count, process_id = place.num_processes, place.process_id
    if count is not None and count < 1:
        raise ValueError(f"--num-processes (={count}) must be at least 1")
    if process_id is not None and process_id < 0:
        raise ValueError(f"--process-id (={process_id}) must be at least 0")
    if process_id is not None and count is not None and process_id >= count:
        raise ValueError(
            f"--process-id (={process_id}) must be from 0 to {count - 1}, for {count} processes"
        )


def _devices(
    args: argparse.Namespace, environ: Mapping[str, str], otherwise: tuple[int, ...] | None
) -> tuple[int, ...] | None:
    """`Place.local_devices` as flag or environment say."""
    given = args.local_devices or environ.get(_LOCAL_DEVICES)
    if not given:
        return otherwise
    if given == _ALL:
        return ()
    if not re.fullmatch(r"\d+(,\d+)*", given):
        raise ValueError(f"--local-devices (={given}) must be numbers, 0,1,…, or all")
    return tuple(map(int, given.split(",")))


def _share(
    environ: Mapping[str, str], local_id: int, num_local: int | None
) -> tuple[int, ...] | None:
    """Which devices of its node are a process's, of `num_local` there; () for all.

    JAX would give each process one: of a node with one process all but one would be idle.
    """
    given = next((environ[n] for n in _GPUS if n in environ), None)
    count = number(environ, "SLURM_GPUS_ON_NODE")
    visible = count if given is None else len([gpu for gpu in given.split(",") if gpu.strip()])
    if num_local == 1:
        return ()
    if visible is None or num_local is None:
        return (local_id,)
    if visible < num_local:  # each sees its own, or there are none
        return ()
    if visible % num_local:
        raise ValueError(
            f"{visible} devices can't be shared among the {num_local} processes of a node; start "
            f"1 or {visible} of them there, or give --local-devices"
        )
    each = visible // num_local
    return tuple(range(local_id * each, (local_id + 1) * each))


def _tasks_of_node(environ: Mapping[str, str]) -> int | None:
    """How many of a step's processes are on this node, out of "4(x2),2"."""
    counts: list[int] = []
    for part in environ.get("SLURM_STEP_TASKS_PER_NODE", "").split(","):
        match = re.fullmatch(r"(\d+)(?:\(x(\d+)\))?", part)
        if match is None:
            return None
        counts += [int(match[1])] * int(match[2] or 1)
    node = number(environ, "SLURM_NODEID") or 0
    return counts[node] if node < len(counts) else None


def number(environ: Mapping[str, str], name: str) -> int | None:
    """An environment variable's whole number; None where it is not set.

    Raises:
      ValueError: it is no such number.
    """
    value = environ.get(name)
    if not value:
        return None
    if not value.isdecimal():
        raise ValueError(f"the environment variable {name} (={value}) must be a whole number")
    return int(value)


def _given(args: argparse.Namespace, name: str) -> bool:
    return getattr(args, name) is not None


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def host_and_port(coordinator: str) -> tuple[str, int]:
    """The two parts of a coordinator's address.

    Raises:
      ValueError: it has not both.
    """
    host, colon, port = coordinator.rpartition(":")
    if not colon or not host or not port.isdecimal() or not 0 < int(port) < 2**16:
        raise ValueError(
            f"--coordinator (={coordinator}) must be HOST:PORT, process 0's host and a free port "
            "there, such as node1:8476"
        )
    return host.strip("[]"), int(port)

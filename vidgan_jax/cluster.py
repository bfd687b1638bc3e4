"""Runs of several processes: joining them, and leaving.

JAX's distributed runtime does the work, by its own detection of clusters where it has one. What is
added is to tell a run of one process from one of several, which of a node's devices are whose
(`vidgan_jax.places`), and to say in words what went wrong (`vidgan_jax.endings`).
"""

import argparse
import contextlib
import os
import pathlib
import secrets
import socket
import sys
import threading
import time
from collections.abc import Iterator

import jax
import orbax.checkpoint as ocp

from vidgan_jax import cli, endings, files
from vidgan_jax.places import Place, find_place, host_and_port, number
from vidgan_jax.train import agreement

CLUSTERS = ("auto", "none", "jax", "mpi4py")
# The first process may write results of a finished run for long while the others wait.
_SHUTDOWN_S = 1800
_FIRST_S = 24 * 3600  # if process 0 ends meanwhile, JAX ends the others
# As long as NFS keeps what it knows of a folder, by default.
_SEEN_S = 60
# Until JAX's own end of patience, which comes with a stack trace, after ours.
_PATIENCE_S = 10


class CoordinatorError(ValueError):
    """Process 0 can't be reached, or not yet."""


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Adds what `joined` reads: `--cluster`, `--coordinator`, …; none is needed for one process."""
    group = parser.add_argument_group(
        "several processes", "under SLURM's srun and Open MPI's mpirun none of these is needed"
    )
    group.add_argument(
        "--cluster",
        choices=CLUSTERS,
        default="auto",
        help="who tells the processes of each other: flags, srun, mpirun (auto, the default); "
        "nobody: train alone (none); JAX's detection of TPU pods and Kubernetes (jax); mpi4py",
    )
    group.add_argument("--coordinator", metavar="HOST:PORT", help="of process 0")
    group.add_argument("--num-processes", type=int, help="of the run")
    group.add_argument("--process-id", type=int, help="of this one, from 0")
    group.add_argument(
        "--local-devices", metavar="IDS", help="this process's, of the node's: 0,1,… or all"
    )
    group.add_argument(
        "--join-timeout-s", type=int, default=300, help="for all to come (default 300)"
    )
    group.add_argument(
        "--heartbeat-timeout-s",
        type=int,
        default=60,
        help="after which a silent process counts as ended, and the others end (default 60)",
    )


@contextlib.contextmanager
def joined(args: argparse.Namespace) -> Iterator[None]:
    """Joins the run's processes, and leaves them in the end; does nothing for one process.

    Must come before anything is computed. An error that this process alone has ends it at once,
    without waiting for the others, which then end as well: see `vidgan_jax.endings`.

    Raises:
      ValueError: see `find_place`; the coordinator's port is taken.
      SystemExit: the coordinator can't be reached in time, as is told.
    """
    place = find_place(args, os.environ)
    if place is None:
        tasks = number(os.environ, "SLURM_NTASKS") or 1
        if tasks > 1 and "SLURM_STEP_NUM_TASKS" not in os.environ and args.cluster == "auto":
            print(f"SLURM has {tasks} tasks here: `srun` in front uses them all", file=sys.stderr)
        yield
        return
    with endings.last_words() as say:
        reached = time.monotonic() + args.join_timeout_s
        if place.coordinator is not None:
            try:
                _meet_coordinator(place, args.join_timeout_s)
            except CoordinatorError as error:
                print(f"error: {error}", file=sys.stderr)
                raise SystemExit(endings.LOST) from error
        say(_could_not_join(place, args.join_timeout_s))
        _initialize(place, args, max(1.0, reached - time.monotonic()))
        say(endings.lost_words(f"{place} was ended from outside, or because"))
        try:
            _introduce()
            with _results_from_first():
                yield
        except BaseException as error:
            process_id = jax.process_index() if place.process_id is None else place.process_id
            status = endings.leave(error, process_id, say)
            _shut_down(say)
            if process_id == 0:
                raise
            raise SystemExit(status) from None  # process 0 tells it
        _shut_down(say)


@contextlib.contextmanager
def first_process_first(what: str) -> Iterator[None]:
    """Has process 0 go through a block before the others do; `what` names the block, once a run."""
    if jax.process_index() != 0:
        _wait_for_all(what)
    try:
        yield
    finally:
        if jax.process_index() == 0:
            _wait_for_all(what)


@contextlib.contextmanager
def in_agreement(what: str) -> Iterator[None]:
    """Makes a mistake that one process finds within a block everybody's, at its end.

    Args:
      what: names the block, once a run.

    Raises:
      ValueError: in words, of all the processes that raised a `ValueError` or an `OSError`; the
        same on all.
    """
    error: ValueError | OSError | None = None
    try:
        yield
    except (ValueError, OSError) as raised:
        error = raised
    if jax.process_count() == 1:
        if error is not None:
            raise error
        return
    _wait_for_all(f"{what}-done")  # for longer than a collective waits
    told = cli.told(error) if error is not None else None
    said = agreement.texts(told[0].removeprefix("error: ") if told else "")
    found = {number: text for number, text in enumerate(said) if text}
    if len(found) == len(said) and len(set(said)) == 1:
        raise ValueError(said[0]) from error
    if found:
        lines = [f"process {number}: {text}" for number, text in list(found.items())[:4]]
        raise ValueError("\n  ".join(lines)) from error


def check_shared(folder: pathlib.Path) -> None:
    """Refuses a folder that is not the same one on all processes.

    Args:
      folder: that can be written.

    Raises:
      ValueError: names the processes.
    """
    if jax.process_count() == 1:
        return
    mark = folder / f".seen-{agreement.of_first([secrets.randbelow(2**31)])[0]:08x}"
    first = jax.process_index() == 0
    try:
        with in_agreement("mark"):
            if first:
                files.write_bytes(mark, b"")
        with in_agreement("seen"):
            if not first and not _appears(mark):
                raise ValueError(
                    f"{folder} is not the folder that process 0 has under this name; give a "
                    "--workdir that all processes share"
                )
    finally:
        if first:
            with contextlib.suppress(FileNotFoundError):
                (files.remove if files.is_remote(mark) else os.unlink)(mark)


def _appears(path: pathlib.Path) -> bool:
    """Whether a file is there, or soon: a network's file systems show what is new after a while."""
    deadline = time.monotonic() + _SEEN_S
    while not path.exists():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.2)
    return True


def _wait_for_all(what: str) -> None:
    if jax.process_count() > 1:
        wait = ocp.multihost.get_barrier_sync_fn()
        wait(key=f"vidgan_jax-{what}", timeout_ms=1000 * _FIRST_S)


@contextlib.contextmanager
def _results_from_first() -> Iterator[None]:
    """What all processes print on stdout, process 0 alone does."""
    if jax.process_index() == 0:
        yield
        return
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):
        yield


def _shut_down(say: endings.Say) -> None:
    say("")
    sys.stdout.flush()
    jax.distributed.shutdown()


def _could_not_join(place: Place, timeout_s: int) -> str:
    return (
        f"error: {place} could not join the others at {place.where} within {timeout_s} s: start "
        "all processes, each with an id of its own and with the same coordinator, or raise "
        "--join-timeout-s"
    )


def _meet_coordinator(place: Place, timeout_s: int) -> None:
    """Waits until process 0 listens; there, makes sure that nobody else does."""
    host, port = host_and_port(place.coordinator or "")
    if place.process_id == 0:
        with socket.socket() as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                listener.bind(("", port))
            except OSError as error:
                raise ValueError(
                    f"--coordinator (={place.coordinator}): port {port} can't be listened on "
                    f"({error.strerror}); give another one"
                ) from error
        return
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            socket.create_connection((host, port), timeout=5.0).close()
            return
        except OSError as error:
            if time.monotonic() > deadline:
                raise CoordinatorError(
                    f"{place} can't reach process 0 at {place.coordinator} within {timeout_s} s "
                    f"({error.strerror or error}); is it running there, and is the port open? "
                    "--join-timeout-s waits longer"
                ) from error
        time.sleep(0.2)


def _initialize(place: Place, args: argparse.Namespace, left_s: float) -> None:
    """Has JAX join; ends the process with words where JAX would end it with a stack trace."""
    # Not a mistake's status: where machines are scarce, those that are missing may come yet.
    timer = threading.Timer(
        left_s, endings.end, (_could_not_join(place, args.join_timeout_s), endings.LOST)
    )
    timer.daemon = True
    timer.start()
    host = host_and_port(place.coordinator)[0] if place.coordinator else ""
    local = host in ("localhost", "127.0.0.1", "::1")
    try:
        jax.distributed.initialize(
            place.coordinator,
            place.num_processes,
            place.process_id,
            local_device_ids=place.local_devices,
            cluster_detection_method=place.method,
            initialization_timeout=round(left_s) + _PATIENCE_S,
            heartbeat_timeout_seconds=args.heartbeat_timeout_s,
            shutdown_timeout_seconds=_SHUTDOWN_S,
            coordinator_bind_address=place.coordinator if local else None,
        )
    except ImportError as error:
        raise ValueError(
            f"--cluster {args.cluster} needs a package that is not installed ({error}); install "
            "it, or give --coordinator, --num-processes and --process-id"
        ) from error
    except ValueError as error:
        if place.coordinator is not None:
            raise
        raise ValueError(
            f"--cluster {args.cluster}: JAX finds no cluster here that it knows ({error}); give "
            "--coordinator, --num-processes and --process-id"
        ) from error
    finally:
        timer.cancel()


def _introduce() -> None:
    """Says from process 0 how many take part."""
    kinds = sorted({device.device_kind for device in jax.devices()})
    if jax.process_index() == 0:
        print(
            f"{jax.process_count()} processes, {jax.device_count()} devices ({', '.join(kinds)}); "
            f"this is process 0 on {socket.gethostname()}",
            file=sys.stderr,
        )

"""What a worker of an Apache Beam pipeline does: all stages of one video, one after another.

Workers are told what to do by a file that the launcher (`beam_stages.py`) leaves beside the parts
of the first stage, and write their parts where it reads them: all of them must see the data set's
folder under the same path.

    launch.pickle     the stages and the videos; workers stop when it goes
    KEY.error.json    why a video could not be used; of this run only

Jobs run in processes of their own, so that a video that crashes the decoder costs itself. A runner
would give its worker up, try again, and then fail all of the pipeline.
"""

import dataclasses
import functools
import hashlib
import json
import pickle
import platform
import threading
from collections.abc import Sequence
from pathlib import Path

from vidgan_jax import files, version
from vidgan_jax.preparation.jobs import JobProcess
from vidgan_jax.preparation.parts import Job, Outcome, Parts, said_clearly, write_part
from vidgan_jax.preparation.stages import Stage, jobs_of

_LAUNCH_NAME = "launch.pickle"
_ERROR_SUFFIX = ".error.json"

# Processes without a job, and the right to work in this one.
_idle: list[JobProcess] = []
_this_process = threading.Lock()


class SharingError(OSError):
    """A worker does not see what it must; the text names its host, and what is to be done."""


@dataclasses.dataclass(frozen=True)
class Launch:
    """What the pipeline carries to the workers; all else is in a file.

    Attributes:
      path: of the file.
      digest: of its content.
      sources: files and folders that every worker must see.
      version: of this package.
    """

    path: Path
    digest: str
    sources: tuple[Path, ...]
    version: str = version.__version__


def write_launch(stages: Sequence[Stage], videos: Sequence[Job], sources: Sequence[Path]) -> Launch:
    """Leaves the workers their file.

    Args:
      stages: in order, their parts open; can be pickled.
      videos: see `stages.run_stages`.
      sources: files and folders that every worker must see.

    Raises:
      OutputError: it cannot be written.
    """
    parts = stages[0].parts
    content = pickle.dumps((tuple(stages), tuple(videos)))
    path = parts.directory / _LAUNCH_NAME
    with said_clearly(parts.out):
        files.write_bytes(path, content)
    return Launch(path, hashlib.sha256(content).hexdigest(), tuple(sources))


def make_video(number: int, launch: Launch) -> None:
    """Makes what is missing of one video, in a worker.

    Args:
      number: of the video, in the launcher's list.
      launch: from `write_launch`.

    Raises:
      SharingError: this worker does not see the launcher's folders, or is of another version.
      OutputError: a part cannot be written.
      InterruptedError: the launcher has stopped.
    """
    stages, videos = _read(launch)
    if not launch.path.exists():
        raise InterruptedError("the launcher has stopped")
    video = videos[number]
    outcomes: dict[str, dict[str, Outcome]] = {}
    for stage in stages:
        for job in jobs_of(stage, [video], outcomes):
            outcome = stage.parts.outcome(job) or _make(stage, job, launch)
            outcomes[stage.name] = {job.video_id: outcome}
        if stage.name not in outcomes:
            return


def withdraw_launch(stages: Sequence[Stage]) -> None:
    """Stops the workers, as soon as they look, whether their runner can or not."""
    (stages[0].parts.directory / _LAUNCH_NAME).unlink(missing_ok=True)


def lost(parts: Parts, job: Job) -> Outcome | None:
    """The outcome of a job that could not be done in this run, with its error; None for others."""
    try:
        fields = json.loads(_error_path(parts, job).read_bytes())
    except FileNotFoundError:
        return None
    return Outcome(**fields | {"notes": tuple(fields["notes"])})


def forget_lost(parts: Parts) -> None:
    """Removes the errors of an earlier run: what failed then is tried again."""
    with said_clearly(parts.out):
        for path in parts.directory.glob(f"[!.]*{_ERROR_SUFFIX}"):
            path.unlink()


def stop_processes() -> None:
    """Ends the processes of jobs that the workers in this process have started."""
    while _idle:
        _idle.pop().stop()


def _make(stage: Stage, job: Job, launch: Launch) -> Outcome:
    if stage.in_this_process:
        # Workers may be threads, and what the work loads is large.
        with _this_process:
            key, directory = stage.parts.key(job), stage.parts.directory
            outcome = write_part(stage.work, job, key, directory, lambda *_: None)
    else:
        process = _idle.pop() if _idle else JobProcess()
        try:
            outcome = process.run(stage.work, job, stage.parts, launch.path.exists)
        finally:
            _idle.append(process)
    if outcome.error is not None:
        with said_clearly(stage.parts.out):
            files.write_json(_error_path(stage.parts, job), dataclasses.asdict(outcome))
    return outcome


def _error_path(parts: Parts, job: Job) -> Path:
    return parts.directory / f"{parts.key(job)}{_ERROR_SUFFIX}"


@functools.lru_cache(maxsize=1)
def _read(launch: Launch) -> tuple[Sequence[Stage], Sequence[Job]]:
    """The stages and the videos, once a process."""
    host = platform.node()
    rule = "all workers must see it under the same path as the launcher: use NFS, Lustre or such"
    if version.__version__ != launch.version:
        raise SharingError(
            f"worker {host}: has vidgan_jax {version.__version__}, the launcher {launch.version}; "
            "install the same"
        )
    try:
        content = launch.path.read_bytes()
    except OSError as error:
        raise SharingError(
            f"worker {host}: {launch.path} cannot be read ({error.strerror}); {rule}"
        ) from error
    if hashlib.sha256(content).hexdigest() != launch.digest:
        raise SharingError(f"worker {host}: {launch.path} is not the launcher's file; {rule}")
    for source in launch.sources:
        if not source.exists():
            raise SharingError(f"worker {host}: the source {source} is not there; {rule}")
    stages, videos = pickle.loads(content)
    return stages, videos

"""Parts: what one job (one video) has written, so that a run that was stopped can go on.

    OUT/.parts/plan.json         what the parts are made of: recipe and settings
    OUT/.parts/KEY.tfrecord      the clips of one video, with their index
    OUT/.parts/KEY.json          the outcome; written last, so a part with one is finished

KEY is a hash of video, source (size and time of change of its file) and settings: a source that has
changed has another part.
"""

import contextlib
import dataclasses
import errno
import fcntl
import hashlib
import json
import os
import shutil
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from vidgan_jax import files
from vidgan_jax.data import records

PARTS_NAME = ".parts"
_PLAN_NAME = "plan.json"
_LOCK_NAME = "lock"
_FULL_DISK = (errno.ENOSPC, errno.EDQUOT)

# Takes a clip, or None for one that was worked on without being written; and how much of the job is
# done then, from 0 to 1.
WriteClip = Callable[[records.ClipRecord | None, float], None]


@dataclasses.dataclass(frozen=True)
class Findings:
    """What a job found, where it has more to say than notes.

    Attributes:
      notes: sentences worth telling the user about this video.
      details: for later stages and reports; JSON-able.
    """

    notes: Sequence[str] = ()
    details: Mapping[str, Any] = dataclasses.field(default_factory=dict)


class Work(Protocol):
    """What makes the clips of one job; a function of a module, so that processes can import it."""

    def __call__(self, task: Any, write: WriteClip) -> Sequence[str] | Findings:
        """Writes the clips of one job in order; nothing it writes may depend on other jobs.

        Args:
          task: of the job.
          write: takes the clips.

        Returns:
          Sentences worth telling the user about this video, or more.

        Raises:
          ValueError: this video cannot be used; the message names it.
        """


@dataclasses.dataclass(frozen=True)
class Job:
    """One video to be made or cut.

    Attributes:
      video_id: names the video in the data set.
      source: changes when the source changes.
      task: what `Work` is called with; can be pickled.
      cost: expected work, in any unit.
    """

    video_id: str
    source: str
    task: Any
    cost: float = 1.0


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What became of a job.

    Attributes:
      video_id: of the job.
      part: file name of the part; None where nothing was written.
      num_clips: clips written.
      num_frames: frames written.
      num_bytes: size of the part.
      seconds: working time.
      notes: sentences worth telling the user.
      error: why the video could not be used; None where it could.
      details: see `Findings`.
      num_seen: clips worked on, written or not.
    """

    video_id: str
    part: str | None = None
    num_clips: int = 0
    num_frames: int = 0
    num_bytes: int = 0
    seconds: float = 0.0
    notes: tuple[str, ...] = ()
    error: str | None = None
    details: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    num_seen: int = 0


class BusyError(ValueError):
    """Another run is at work in the same folder."""


class OutputError(OSError):
    """The data set cannot be written; the text says where, why and what to do."""


class DamagedPartError(OutputError):
    """What an earlier stage has written can't be read back; it is removed, to be made again."""


class Parts:
    """The parts of one data set in the making.

    Args:
      out: the data set's folder.
      recipe: names what makes the clips.
      settings: everything that the content of a part depends on, besides its source; JSON-able.
      folder: within `out`, where the parts are.
    """

    def __init__(
        self, out: Path, recipe: str, settings: Mapping[str, Any], folder: str = PARTS_NAME
    ):
        self.out = out
        self.directory = out / folder
        self._plan: dict[str, Any] = json.loads(
            json.dumps({"recipe": recipe, "settings": dict(settings)})
        )

    @contextlib.contextmanager
    def opened(self, *, overwrite: bool) -> Iterator[None]:
        """Makes the folder ready, and keeps other runs out of it meanwhile.

        Args:
          overwrite: throw away parts of other settings, instead of refusing to go on.

        Raises:
          OutputError: nothing can be written there.
          BusyError: another run is at work there.
          ValueError: there are parts of other settings.
        """
        with contextlib.ExitStack() as stack:
            with said_clearly(self.out):
                self.directory.mkdir(parents=True, exist_ok=True)
                lock = stack.enter_context(open(self.directory / _LOCK_NAME, "wb"))
            self._lock(lock.fileno())
            self._check_plan(overwrite)
            with said_clearly(self.out):
                files.write_json(self.directory / _PLAN_NAME, self._plan)
            yield

    def remove(self) -> None:
        """Removes all parts, as far as it can: they do no harm beside a finished data set."""
        shutil.rmtree(self.directory, ignore_errors=True)

    def clear(self) -> None:
        """Removes all parts, and keeps the folder open."""
        for path in self.directory.glob("*"):
            if path.name not in (_PLAN_NAME, _LOCK_NAME):
                path.unlink()

    def remove_if_same(self) -> None:
        """Removes all parts if they are of this recipe and these settings; never complains."""
        with contextlib.suppress(OSError, ValueError):
            if json.loads((self.directory / _PLAN_NAME).read_bytes()) == self._plan:
                self.remove()

    def key(self, job: Job) -> str:
        """Names the part of a job."""
        text = json.dumps([job.video_id, job.source, self._plan], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:24]

    def finished(self, jobs: Iterable[Job]) -> list[Outcome]:
        """The outcomes of the jobs whose parts are finished; removes all other files.

        What is left of jobs that were stopped, and of sources that have changed, goes.
        """
        outcomes, keep = [], {_PLAN_NAME, _LOCK_NAME}
        for job in jobs:
            outcome = self.outcome(job)
            if outcome is not None:
                outcomes.append(outcome)
                keep.add(f"{self.key(job)}.json")
                if outcome.part is not None:
                    keep |= {outcome.part, records.index_path(outcome.part).name}
        for path in self.directory.iterdir():
            if path.name not in keep:
                path.unlink()
        return outcomes

    def num_finished(self) -> int:
        """How many outcomes there are, of whatever jobs; a quick look at the folder."""
        return sum(
            path.suffix == ".json" and "." not in path.stem and path.name != _PLAN_NAME
            for path in map(Path, os.listdir(self.directory))
        )

    def record(self, job: Job, outcome: Outcome) -> None:
        """Writes the outcome of a job, which is then finished; its part must be there."""
        with said_clearly(self.out):
            files.write_json(self.directory / f"{self.key(job)}.json", dataclasses.asdict(outcome))

    def outcome(self, job: Job) -> Outcome | None:
        """The outcome of a job; None where it is not finished."""
        try:
            fields = json.loads((self.directory / f"{self.key(job)}.json").read_bytes())
            outcome = Outcome(**fields | {"notes": tuple(fields["notes"])})
        except (OSError, ValueError, TypeError, KeyError):
            return None  # Not finished, or not by this version: made again.
        if outcome.part is None:
            return outcome
        part = self.directory / outcome.part
        is_whole = part.is_file() and part.stat().st_size == outcome.num_bytes
        return outcome if is_whole and records.index_path(part).is_file() else None

    def _lock(self, descriptor: int) -> None:
        try:
            # The system drops the lock when the process ends, however it ends.
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise BusyError(
                f"{self.out}: another `prepare` is at work in this folder; wait for "
                "it, or choose another --out"
            ) from error

    def _check_plan(self, overwrite: bool) -> None:
        try:
            found = json.loads((self.directory / _PLAN_NAME).read_bytes())
        except FileNotFoundError:
            return
        except ValueError:
            found = {}
        if found != self._plan and not overwrite:
            raise ValueError(
                f"{self.out}: holds the work of a run with other settings "
                f"({difference(found, self._plan)}); repeat that command to finish it, choose "
                "another --out, or give --overwrite to throw it away"
            )


def difference(old: Mapping[str, Any], new: Mapping[str, Any]) -> str:
    """Says in which entries two JSON objects differ: "fps was 24, now 30"."""
    before, after = _flat(old), _flat(new)
    changed = [
        f"{path[-1]} was {json.dumps(before.get(path))}, now {json.dumps(after.get(path))}"
        for path in sorted(before.keys() | after.keys())
        if before.get(path) != after.get(path)
    ]
    return "; ".join(changed)


def _flat(value: Mapping[str, Any], path: tuple[str, ...] = ()) -> dict[tuple[str, ...], Any]:
    """Entries by their whole paths: two sections may have one of the same name."""
    flat: dict[tuple[str, ...], Any] = {}
    for name, entry in value.items():
        inner = (*path, name)
        flat |= _flat(entry, inner) if isinstance(entry, Mapping) else {inner: entry}
    return flat


def write_part(
    work: Work, job: Job, key: str, directory: Path, report: Callable[[float, int, int], None]
) -> Outcome:
    """Runs one job, in whatever process.

    Args:
      work: makes the clips.
      job: what is to be made.
      key: of the part.
      directory: of the parts.
      report: called after each clip with the share of the job that is done, and clips and frames
        written so far.

    Returns:
      The outcome. One with an error has no part, and is not kept: the next run tries again.

    Raises:
      OutputError: the part cannot be written; nothing of it is left.
    """
    started = time.monotonic()
    path = directory / f"{key}.tfrecord"
    num_clips = num_frames = num_seen = 0
    writer: records.ShardWriter | None = None

    def write(record: records.ClipRecord | None, share: float) -> None:
        nonlocal num_clips, num_frames, num_seen, writer
        num_seen += 1
        if record is None:
            report(share, num_seen, num_frames)
            return
        with said_clearly(directory.parent):
            if writer is None:
                writer = stack.enter_context(records.ShardWriter(path))
            writer.write(record)
        num_clips += 1
        num_frames += len(record.frames)
        report(share, num_seen, num_frames)

    try:
        with said_clearly(directory.parent), contextlib.ExitStack() as stack:
            findings = _run(work, job.task, write)
    except _WorkError as error:
        seconds = time.monotonic() - started
        return Outcome(job.video_id, seconds=seconds, error=_describe(error.__cause__))
    outcome = Outcome(
        job.video_id,
        part=path.name if num_clips else None,
        num_clips=num_clips,
        num_frames=num_frames,
        num_seen=num_seen,
        num_bytes=path.stat().st_size if num_clips else 0,
        seconds=time.monotonic() - started,
        notes=tuple(findings.notes),
        # As it will be read back.
        details=json.loads(json.dumps(dict(findings.details))),
    )
    with said_clearly(directory.parent):
        files.write_json(directory / f"{key}.json", dataclasses.asdict(outcome))
    return outcome


class _WorkError(Exception):
    """The job itself failed, not its output; the cause says how."""


def _run(work: Work, task: Any, write: WriteClip) -> Findings:
    try:
        findings = work(task, write)
    except OutputError:
        raise
    except Exception as error:  # Whatever is wrong with one video must not cost the others.
        raise _WorkError from error
    return findings if isinstance(findings, Findings) else Findings(tuple(findings))


def _describe(error: BaseException | None) -> str:
    if isinstance(error, ValueError):
        return str(error)
    last = traceback.extract_tb(error.__traceback__)[-1] if error else None
    place = f" ({Path(last.filename).name}, line {last.lineno})" if last else ""
    return f"unexpected {type(error).__name__}: {error}{place}"


@contextlib.contextmanager
def said_clearly(out: Path) -> Iterator[None]:
    """Turns errors of the file system, while a data set is written, into `OutputError`s."""
    try:
        yield
    except OutputError:
        raise
    except OSError as error:
        if error.errno in _FULL_DISK:
            text = (
                "the disk is full. Nothing half-written is left and finished videos are kept: free "
                "some space and repeat the same command"
            )
        else:
            text = f"cannot be written to ({error}); choose a folder of yours with --out"
        raise OutputError(f"{out}: {text}") from error

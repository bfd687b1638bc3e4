"""Metrics on disk: one JSON object a line, and TensorBoard's event files."""

import concurrent.futures
import contextlib
import json
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

from tensorboardX.event_file_writer import EventsWriter
from tensorboardX.proto.event_pb2 import Event, SessionLog
from tensorboardX.summary import scalar

from vidgan_jax import files

METRICS = "metrics.jsonl"
TENSORBOARD = "tensorboard"
# How old copies in a bucket may be, but for those of saved steps.
_COPIED_EVERY_S = 60.0


class MetricsWriter:
    """Writes scalars of a step to `metrics.jsonl` and to `tensorboard/`. A context manager.

    A step is on disk when `write` returns. In a bucket, where nothing can be appended, are copies
    of files on this machine: at most a minute old, and up to date when `flush` returns, or the
    run ends. Not by tensorboardX's `SummaryWriter`: its thread dies
    of a full disk, and whoever adds scalars then waits for it for ever.

    Args:
      workdir: the run's folder.
      resumed_step: what an earlier run wrote of later steps is dropped, a line cut short too: the
        file reads as if nothing had been interrupted.
      enabled: False writes nothing (all processes but the first).
      goes_on: what can't be written is warned of, and comes later where there is room again.
    """

    def __init__(
        self, workdir: Path, *, resumed_step: int, enabled: bool = True, goes_on: bool = False
    ) -> None:
        self._enabled, self._goes_on, self._fails = enabled, goes_on, False
        if not enabled:
            return
        self._stack, folder = contextlib.ExitStack(), workdir
        if files.is_remote(workdir):
            folder = Path(self._stack.enter_context(tempfile.TemporaryDirectory("-vidgan_jax")))
        if (workdir / METRICS).exists():
            kept = _lines_until(workdir / METRICS, resumed_step)
            files.write_bytes(folder / METRICS, kept)
        self._lines = (folder / METRICS).open("a", encoding="utf-8")
        (folder / TENSORBOARD).mkdir(exist_ok=True)
        self._board = EventsWriter(str(folder / TENSORBOARD / "events"))
        # Has TensorBoard drop what it knows of later steps.
        start = SessionLog(status=SessionLog.START)
        self._board.write_event(
            Event(wall_time=time.time(), step=resumed_step + 1, session_log=start)
        )
        self._board.flush()
        self._copies = _Copies(folder, workdir) if files.is_remote(workdir) else None

    def write(self, step: int, scalars: Mapping[str, float]) -> None:
        """Writes the scalars of `step`.

        Raises:
          OSError: the disk is full, say.
        """
        if not self._enabled:
            return
        try:
            self._write(step, scalars)
        except OSError as error:  # the files keep in memory what they could not write
            if not self._goes_on:
                raise
            if not self._fails:
                tell_unwritten(f"metrics from step {step} on", error)
            self._fails = True
        else:
            self._fails = False

    def _write(self, step: int, scalars: Mapping[str, float]) -> None:
        self._lines.write(json.dumps({"step": step, **scalars}) + "\n")
        self._lines.flush()
        for name, value in scalars.items():
            event = Event(wall_time=time.time(), step=step, summary=scalar(name, value))
            self._board.write_event(event)
        self._board.flush()
        if self._copies is not None:
            self._copies.renew_old()

    def flush(self) -> None:
        """Has all that was written in the workdir: before a checkpoint is, which then fits to it.

        A bucket that can't be written now is warned of, and tried again.
        """
        if self._enabled and self._copies is not None:
            self._copies.renew()

    def __enter__(self) -> "MetricsWriter":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if not self._enabled:
            return
        with self._stack:
            try:
                self._lines.close()
                self._board.close()
                if self._copies is not None:
                    self._copies.finish()
            except OSError as error:
                if self._goes_on:
                    tell_unwritten("the last metrics", error)
                elif kind is None:  # else the error on its way out comes first
                    raise


def tell_unwritten(what: str, error: OSError) -> None:
    """Warns of what could not be written, in a run that goes on all the same."""
    print(
        f"warning: {what} could not be written ({error.strerror or error}); training goes on",
        file=sys.stderr,
        flush=True,
    )


class _Copies:
    """Copies, in a bucket, of all files in a folder on this machine; made by a thread.

    Args:
      folder: on this machine.
      target: in the bucket.
    """

    def __init__(self, folder: Path, target: Path) -> None:
        self._folder, self._target = folder, target
        self._copied: dict[Path, int] = {}  # bytes: the files grow
        self._thread = concurrent.futures.ThreadPoolExecutor(1)
        self._begin()

    def renew_old(self) -> None:
        """Begins to make new ones, of what is there now, where the last ones are old."""
        if self._last.done() and time.monotonic() - self._begun_s >= _COPIED_EVERY_S:
            self._warn()
            self._begin()

    def renew(self) -> None:
        """Makes new ones."""
        self._warn()
        self._begin()
        self._warn()

    def finish(self) -> None:
        """Makes the last ones.

        Raises:
          OSError: they can't be made.
        """
        with self._thread:
            self._warn()
            self._begin()
            self._last.result()

    def _begin(self) -> None:
        self._begun_s = time.monotonic()
        found = [path for path in self._folder.rglob("*") if path.is_file()]
        grown = [path for path in found if self._copied.get(path) != path.stat().st_size]
        self._last = self._thread.submit(self._copy, {path: path.read_bytes() for path in grown})

    def _copy(self, new: Mapping[Path, bytes]) -> None:
        for path, data in new.items():
            files.write_bytes(self._target / path.relative_to(self._folder), data)
            self._copied[path] = len(data)

    def _warn(self) -> None:
        """Waits for those in the making."""
        if (error := self._last.exception()) is not None:
            if not isinstance(error, OSError):
                raise error
            print(
                f"warning: {self._target}: the newest metrics are not there yet ({error}); tried "
                "again soon",
                file=sys.stderr,
            )


def _lines_until(path: Path, step: int) -> bytes:
    """The whole lines of steps up to `step`."""
    kept = []
    for number, line in enumerate(files.read_bytes(path).split(b"\n")[:-1], start=1):
        try:
            written = json.loads(line)["step"]
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(f"{path}, line {number} is not one of ours; remove it") from error
        if written <= step:
            kept.append(line + b"\n")
    return b"".join(kept)

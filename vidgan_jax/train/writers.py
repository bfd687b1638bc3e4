"""Metrics on disk: one JSON object a line, and TensorBoard's event files."""

import json
import time
from collections.abc import Mapping
from pathlib import Path

from tensorboardX.event_file_writer import EventsWriter
from tensorboardX.proto.event_pb2 import Event, SessionLog
from tensorboardX.summary import scalar

from vidgan_jax import files

METRICS = "metrics.jsonl"
TENSORBOARD = "tensorboard"


class MetricsWriter:
    """Writes scalars of a step to `metrics.jsonl` and to `tensorboard/`. A context manager.

    A step is on disk when `write` returns. Not by tensorboardX's `SummaryWriter`: its thread dies
    of a full disk, and whoever adds scalars then waits for it for ever.

    Args:
      workdir: the run's folder.
      resumed_step: what an earlier run wrote of later steps is dropped, a line cut short too: the
        file reads as if nothing had been interrupted.
      enabled: False writes nothing (all processes but the first).
    """

    def __init__(self, workdir: Path, *, resumed_step: int, enabled: bool = True) -> None:
        self._enabled = enabled
        if not enabled:
            return
        path = workdir / METRICS
        if path.exists():
            files.write_bytes(path, _lines_until(path, resumed_step))
        self._lines = path.open("a", encoding="utf-8")
        (workdir / TENSORBOARD).mkdir(exist_ok=True)
        self._board = EventsWriter(str(workdir / TENSORBOARD / "events"))
        # Has TensorBoard drop what it knows of later steps.
        start = SessionLog(status=SessionLog.START)
        self._board.write_event(
            Event(wall_time=time.time(), step=resumed_step + 1, session_log=start)
        )

    def write(self, step: int, scalars: Mapping[str, float]) -> None:
        """Writes the scalars of `step`.

        Raises:
          OSError: the disk is full, say.
        """
        if not self._enabled:
            return
        self._lines.write(json.dumps({"step": step, **scalars}) + "\n")
        self._lines.flush()
        for name, value in scalars.items():
            event = Event(wall_time=time.time(), step=step, summary=scalar(name, value))
            self._board.write_event(event)
        self._board.flush()

    def __enter__(self) -> "MetricsWriter":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if not self._enabled:
            return
        try:
            self._lines.close()
            self._board.close()
        except OSError:
            if kind is None:  # else the error on its way out comes first
                raise


def _lines_until(path: Path, step: int) -> bytes:
    """The whole lines of steps up to `step`."""
    kept = []
    for number, line in enumerate(path.read_bytes().split(b"\n")[:-1], start=1):
        try:
            written = json.loads(line)["step"]
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(f"{path}, line {number} is not one of ours; remove it") from error
        if written <= step:
            kept.append(line + b"\n")
    return b"".join(kept)

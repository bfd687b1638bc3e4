"""Metrics on disk: one JSON object a line, and TensorBoard's event files."""

import json
from collections.abc import Mapping
from pathlib import Path

from tensorboardX import SummaryWriter

from vidgan_jax import files

METRICS = "metrics.jsonl"
TENSORBOARD = "tensorboard"


class MetricsWriter:
    """Writes scalars of a step to `metrics.jsonl` and to `tensorboard/`. A context manager.

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
        self._board = SummaryWriter(str(workdir / TENSORBOARD), purge_step=resumed_step + 1)

    def write(self, step: int, scalars: Mapping[str, float]) -> None:
        """Writes the scalars of `step`."""
        if not self._enabled:
            return
        self._lines.write(json.dumps({"step": step, **scalars}) + "\n")
        self._lines.flush()
        for name, value in scalars.items():
            self._board.add_scalar(name, value, step)

    def __enter__(self) -> "MetricsWriter":
        return self

    def __exit__(self, *_: object) -> None:
        if self._enabled:
            self._lines.close()
            self._board.close()


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

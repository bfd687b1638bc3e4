"""What the loop logs, fetched from the devices one logged step late."""

import contextlib
import math
import time
from collections.abc import Callable, Iterator, Mapping

import jax

from vidgan_jax.progress import ProgressReport
from vidgan_jax.train.finite import NOTHING_FOUND, Found, NotFiniteError, check
from vidgan_jax.train.writers import MetricsWriter

RATE = "clips_per_s"
DATA_WAIT = "time/data_wait"
# Other numbers of each run, whatever its seed.
TIMES = (RATE, DATA_WAIT)
# What the progress line shows: of a GAN's players, of a segmenter.
_LOSSES = ("D", "G", "loss")
# Below this share, waiting for data is no news.
_MUCH_WAIT = 0.1


def _is_ready(value: jax.Array) -> bool:
    ready: bool = value.is_ready()  # type: ignore[attr-defined]  # all but tracers have it
    return ready


class LateMetrics:
    """Fetches metrics one logged step late, so that the host never waits for the step in flight.

    Beside the step's own values it logs `clips_per_s`, the mean since the run's first step, and
    `time/data_wait`, the share (0 to 1) of the time since the last logged step that the loop waited
    for a batch while the devices had nothing to do. The host runs ahead of the devices: it may wait
    while they compute, which costs nothing and does not count. (On CPUs it often does: the readers
    get the cores that the step leaves.) A wait counts whole if the step before ended within it.

    Args:
      writer: gets them.
      report: shows rate, losses, and a wait that is worth a look.
      start: the step that the run goes on from.
      batch_size: clips in a step.
      on_values: gets each logged step and its values, once they are written: without the times,
        the same numbers in every process.
    """

    def __init__(
        self,
        writer: MetricsWriter,
        report: ProgressReport,
        start: int,
        batch_size: int,
        *,
        on_values: Callable[[int, Mapping[str, float]], None] | None = None,
    ) -> None:
        self._writer, self._report, self._on_values = writer, report, on_values
        self._start, self._batch_size = start, batch_size
        self._first_step = start + 1
        self._pending: tuple[int, Mapping[str, jax.Array], Found, float] | None = None
        self._note = ""
        self._logged_s, self._waited_s = time.monotonic(), 0.0

    @contextlib.contextmanager
    def waiting_for_data(self, running: Mapping[str, jax.Array]) -> Iterator[None]:
        """Counts what happens within as waiting for the next batch.

        Args:
          running: results of the step before; as long as they aren't there, devices compute.
        """
        begun = time.monotonic()
        try:
            yield
        finally:
            if all(_is_ready(value) for value in running.values()):
                self._waited_s += time.monotonic() - begun

    def push(
        self, step: int, metrics: Mapping[str, jax.Array], faults: Found = NOTHING_FOUND
    ) -> None:
        """Takes a step's metrics and writes those of the one before.

        Args:
          step: that they are of.
          metrics: scalars on the devices; other names than before, if need be.
          faults: what `FirstFaults` has found until then.
        """
        self.flush()
        now = time.monotonic()
        share = self._waited_s / max(now - self._logged_s, 1e-9)
        self._logged_s, self._waited_s = now, 0.0
        self._pending = (step, metrics, faults, share)

    def flush(self) -> None:
        """Writes what is pending.

        Raises:
          NotFiniteError: one of the values, or of an earlier step's, is not finite.
        """
        if self._pending is None:
            return
        step, metrics, faults, wait = self._pending
        self._pending = None
        metrics, faults = jax.device_get((metrics, faults))
        check(faults)
        values = {name: float(value) for name, value in sorted(metrics.items())}
        if bad := [name for name, value in values.items() if not math.isfinite(value)]:
            raise NotFiniteError(step, bad)
        times = {RATE: round(self._rate(step), 3), DATA_WAIT: round(wait, 4)}
        self._writer.write(step, {**values, **times})
        losses = ", ".join(f"{name} {values[name]:.3f}" for name in _LOSSES if name in values)
        waits = f"{wait:.0%} of the time waiting for data, " if wait > _MUCH_WAIT else ""
        self._note = f"{losses}, {waits}"
        if self._on_values is not None:
            self._on_values(step, values)

    def progress(self, step: int, *, last: bool = False) -> None:
        """Shows the rate and the newest losses."""
        if last:
            self.flush()
        if step == self._first_step:
            # What compiling took says nothing about the time left.
            self._start = step
            self._report.restart_clock(step)
        self._report.update(
            step, f"step {step}, {self._note}{self._rate(step):.1f} clips/s", last=last
        )

    def _rate(self, step: int) -> float:
        return (step - self._start) * self._batch_size / self._report.elapsed_s

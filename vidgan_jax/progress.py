"""How far long work is: a bar with the time left on a terminal, a line now and then elsewhere."""

import sys
import time
from types import TracebackType

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)

_LINE_EVERY_S = 10.0


class ProgressReport:
    """Shows on stderr how much of some work is done, and when it will be.

    Args:
      title: what is being done.
      total: all of the work, in any unit.
      done: of it, by earlier runs.
      shown: False shows nothing.
    """

    def __init__(self, title: str, *, total: float, done: float = 0.0, shown: bool = True) -> None:
        self._title, self._shown = title, shown
        self._total, self._first = max(total, 1e-9), done
        self._started = self._last_line = time.monotonic()
        self._bar: Progress | None = None
        if shown and sys.stderr.isatty():
            self._bar = Progress(
                TextColumn("{task.description}"),
                BarColumn(bar_width=None),
                TaskProgressColumn(),
                TextColumn("{task.fields[note]}"),
                TimeRemainingColumn(compact=True),
                TextColumn("left"),
                console=Console(stderr=True),
                expand=True,
            )
            self._task = self._bar.add_task(title, total=self._total, note="")
            self._bar.update(self._task, completed=done)

    @property
    def elapsed_s(self) -> float:
        """Seconds since the work began, never 0."""
        return max(time.monotonic() - self._started, 1e-3)

    def restart_clock(self, done: float) -> None:
        """Counts rate and time left from here on, where `done` of the total is behind."""
        self._first, self._started = done, time.monotonic()

    def __enter__(self) -> "ProgressReport":
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def update(self, done: float, note: str = "", *, last: bool = False) -> None:
        """Shows the state of things.

        Args:
          done: of `total`, earlier runs included.
          note: counts and rates, in words.
          last: this is the end; a line is due.
        """
        if not self._shown:
            return
        if self._bar is not None:
            self._bar.update(self._task, completed=done, note=note)
            return
        now = time.monotonic()
        if last or now - self._last_line >= _LINE_EVERY_S:
            self._last_line = now
            rate = (done - self._first) / self.elapsed_s
            left = max(self._total - done, 0.0)
            eta = f", about {left / rate:.0f} s left" if rate > 0 and not last else ""
            percent = 100 * done / self._total
            print(
                f"{self._title}: {percent:.0f} %, {note}, {self.elapsed_s:.0f} s{eta}",
                file=sys.stderr,
                flush=True,
            )

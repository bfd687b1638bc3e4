"""Signals that ask a run to stop."""

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType


@contextlib.contextmanager
def stop_requests() -> Iterator[list[signal.Signals]]:
    """Lists SIGTERM or Ctrl-C as it comes, so that the loop can save; a second acts as usual."""
    stopped: list[signal.Signals] = []
    if threading.current_thread() is not threading.main_thread():
        yield stopped  # signals can be caught in the main thread only
        return
    before = {s: signal.getsignal(s) for s in (signal.SIGTERM, signal.SIGINT)}

    def on_signal(number: int, _: FrameType | None) -> None:
        stopped.append(signal.Signals(number))
        signal.signal(number, before[signal.Signals(number)])

    for number in before:
        signal.signal(number, on_signal)
    try:
        yield stopped
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)

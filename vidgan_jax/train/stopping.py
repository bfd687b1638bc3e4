"""Signals that ask a run to stop."""

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType

import jax
from jax.experimental import multihost_utils

from vidgan_jax import endings

# Ctrl-C before the loop: raised as ever, but Python drops what is raised in some callbacks.
_early: list[signal.Signals] = []


@contextlib.contextmanager
def noting_early() -> Iterator[None]:
    """Has the loop know of a Ctrl-C that came before it, should that not have ended the run."""
    _early.clear()
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGINT)

    def on_signal(number: int, frame: FrameType | None) -> None:
        _early.append(signal.Signals(number))
        raise KeyboardInterrupt

    signal.signal(signal.SIGINT, on_signal)
    try:
        yield
    finally:
        _early.clear()
        signal.signal(signal.SIGINT, before)


class StopRequests:
    """Whether the run was asked to stop; in runs of several processes, whether any of them was."""

    def __init__(self) -> None:
        self.signalled: signal.Signals | None = None  # to this process, first

    def asked(self, step: int) -> signal.Signals | None:
        """The signal that the run stops by after a step; None goes on.

        Args:
          step: that was just taken. Of several processes each must ask after each step: JAX agrees
            in the background on the next one that none is past, and all stop there.

        Returns:
          SIGINT where Ctrl-C was pressed at this process, else SIGTERM.
        """
        if jax.process_count() == 1:
            return self.signalled
        if not multihost_utils.reached_preemption_sync_point(step):
            return None
        return self.signalled or signal.SIGTERM


@contextlib.contextmanager
def stop_requests() -> Iterator[StopRequests]:
    """Notes SIGTERM or Ctrl-C as it comes, so that the loop can save; a second acts as usual.

    With several processes SIGTERM is JAX's, which has its own handler and tells the others; Ctrl-C
    becomes one. JAX's handler takes each further SIGTERM, too.
    """
    endings.unwound()
    requests, alone = StopRequests(), jax.process_count() == 1
    if _early:
        requests.signalled = _early.pop()
        if not alone:
            signal.raise_signal(signal.SIGTERM)  # which is JAX's, and tells the others
    if threading.current_thread() is not threading.main_thread():
        yield requests  # signals can be caught in the main thread only
        return
    caught = (signal.SIGTERM, signal.SIGINT) if alone else (signal.SIGINT,)
    before = {number: signal.getsignal(number) for number in caught}

    def on_signal(number: int, _: FrameType | None) -> None:
        requests.signalled = requests.signalled or signal.Signals(number)
        signal.signal(number, before[signal.Signals(number)])
        if not alone:
            signal.raise_signal(signal.SIGTERM)

    for number in before:
        signal.signal(number, on_signal)
    try:
        yield requests
    except BaseException as error:
        if not alone:
            endings.bound_unwinding(error)
        raise
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)

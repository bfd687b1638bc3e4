"""How a process of several ends when something goes wrong, so that none waits for ever.

An error that all have is told once, and all end in order. One that this process alone has is told
as its own, and the process ends at once: the others wait for it in a collective, and can't be told
there. They end by that collective's error, or once JAX's runtime misses this one's heartbeats; the
runtime then ends a process from within C++, where no Python runs any more, and a shell that waits
beside the process has the last words.
"""

import contextlib
import os
import subprocess
import sys
import threading
import traceback
import zlib
from collections.abc import Callable, Iterator

import jax
import orbax.checkpoint as ocp

from vidgan_jax import cli

Say = Callable[[str], None]

MISTAKE, LOST = 2, 3
_GO_ON = "run the same command again for all processes; it goes on from the newest checkpoint"
# Says the last line that it was given, once its input ends: with the process, whatever ended that.
_TELLER = """
trap '' INT TERM HUP
while IFS= read -r line; do words=$line; done
[ -z "$words" ] || printf '%s\\n' "$words" >&2
"""
# How XLA's collectives and JAX's runtime name a process that does not answer.
_SIGNS = (
    "Gloo",
    "NCCL",
    "Connection reset by peer",
    "Connection closed by peer",
    "Socket closed",
    "heartbeat",
    "Barrier",
    "coordination service",
    "CoordinationService",
)
_SAME_ERROR_S = 5
# For a checkpoint on its way to disk; of a lost run none gets there that isn't nearly done.
_UNWINDING_S, _UNWINDING_LOST_S = 300.0, 10.0

_ending = threading.Lock()
_silence: list[Say] = []
_unwinding: list[threading.Timer] = []


@contextlib.contextmanager
def last_words() -> Iterator[Say]:
    """Gives a function that sets what stderr is told if this process is ended from here on.

    By a signal, from within C++, in whatever way; "" for nothing.
    """
    # A session of its own, as Ctrl-C goes to all of a terminal's.
    teller = subprocess.Popen(
        ["/bin/sh", "-c", _TELLER],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        start_new_session=True,
        text=True,
    )
    words = teller.stdin
    if words is None:
        raise RuntimeError("the pipe that was asked for is missing")

    def say(line: str) -> None:
        with contextlib.suppress(BrokenPipeError):  # ended before us, by a scheduler
            words.write(f"{line}\n")
            words.flush()

    _silence.append(say)
    try:
        yield say
    finally:
        _silence.remove(say)
        say("")
        with contextlib.suppress(BrokenPipeError):
            words.close()
        teller.wait()


def lost_words(what: str) -> str:
    """What to say of a run that has lost a process."""
    return f"error: {what} another process of the run has ended or can't be reached; {_GO_ON}"


def end(line: str, status: int) -> None:
    """Says a line on stderr and ends the process: no waiting for others, no clearing up."""
    if not _ending.acquire(blocking=False):
        threading.Event().wait()  # another thread is at it
    for say in _silence:
        say("")
    print(line, file=sys.stderr)
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    os._exit(status)


def leave(error: BaseException, process_id: int, say: Say) -> int:
    """Ends this process, unless all processes have this error.

    Args:
      error: on its way out.
      process_id: this process's.
      say: sets the last words.

    Returns:
      The exit status, where all have it: to be told by process 0, and all end in order.
    """
    say("")
    line, status = _told(error)
    common = not isinstance(error, KeyboardInterrupt) and status != LOST
    if not common or not _all_have(line):
        end(f"process {process_id}: {line}", status)
    return status


def bound_unwinding(error: BaseException) -> None:
    """Sees to it that a process of several ends, whoever waits for whom on the error's way out.

    Until `unwound`.
    """
    line, status = _told(error)
    timer = threading.Timer(
        _UNWINDING_LOST_S if status == LOST else _UNWINDING_S,
        end,
        (f"process {jax.process_index()}: {line}", status),
    )
    timer.daemon = True
    timer.start()
    _unwinding.append(timer)


def unwound() -> None:
    """Takes `bound_unwinding` back: the error was caught, and training goes on."""
    while _unwinding:
        _unwinding.pop().cancel()


def _told(error: BaseException) -> tuple[str, int]:
    """The words for an error, and the exit status."""
    if lost := _sign_of_loss(error):
        return f"{lost_words('training has stopped:')} ({lost})", LOST
    if (told := cli.told(error)) is not None:
        return told
    return "".join(traceback.format_exception(error)).rstrip(), 1


def _sign_of_loss(error: BaseException | None) -> str | None:
    """What a collective or the runtime said of a lost process, somewhere in a chain of errors."""
    while error is not None:
        if isinstance(error, RuntimeError) and any(sign in str(error) for sign in _SIGNS):
            return str(error).splitlines()[0]
        error = error.__cause__ or error.__context__
    return None


def _all_have(line: str) -> bool:
    """Whether every process has come here with the same words."""
    wait = ocp.multihost.get_barrier_sync_fn()
    try:
        key = f"vidgan_jax-error-{zlib.crc32(line.encode())}"
        wait(key=key, timeout_ms=_SAME_ERROR_S * 1000)
    except RuntimeError:  # nobody else came in time, or nobody is there any more
        return False
    return True

"""Seconds and bytes: what all benchmarks measure with. Imports no JAX: PyTorch's process does."""

import ctypes
import os
import resource
import statistics
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

Row = dict[str, Any]
"""One line of a table: `what`, and figures whose names end in their unit."""

_STATUS = Path("/proc/self/status")
_MACHINE = Path("/proc/stat")
_CLEAR = Path("/proc/self/clear_refs")


def spread(seconds: Sequence[float], prefix: str = "") -> Row:
    """Median, fastest and slowest of several measurements."""
    return {
        f"{prefix}s" if prefix else "seconds": statistics.median(seconds),
        f"{prefix}fastest_s": min(seconds),
        f"{prefix}slowest_s": max(seconds),
    }


def quartiles(values: Sequence[float]) -> tuple[float, float, float]:
    """Lower quartile, median, upper quartile; of a single value, that one."""
    if len(values) == 1:
        return values[0], values[0], values[0]
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return low, middle, high


def peak_bytes() -> int:
    """Most memory that this process has held so far, or since `forget_peak`."""
    # A new process inherits its parent's peak in `ru_maxrss`, but not in this.
    if found := _from_status("VmHWM"):
        return found
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak * (1 if sys.platform == "darwin" else 1024)


def held_bytes() -> int:
    """Memory that this process holds; where the system doesn't say, the most it has held."""
    return _from_status("VmRSS") or peak_bytes()


def forget_peak() -> bool:
    """Lets `peak_bytes` start anew, of what is still in use; False where the system can't."""
    if trim := getattr(ctypes.CDLL(None), "malloc_trim", None):
        trim(0)  # What a compiler has freed, the C library may keep.
    try:
        _CLEAR.write_text("5")
    except OSError:
        return False
    return True


def usable_cores() -> set[int]:
    """Numbers of the cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return os.sched_getaffinity(0)
    return set(range(os.cpu_count() or 1))


def use_cores(number: int) -> None:
    """Keeps this process, and threads that it starts from now on, on so many cores; 0 for all.

    Raises:
      ValueError: there are fewer, or this system can't.
    """
    if not number:
        return
    cores = sorted(usable_cores())
    if number > len(cores):
        raise ValueError(f"--cores (={number}) must be at most {len(cores)}, the cores here")
    if not hasattr(os, "sched_setaffinity"):
        raise ValueError(
            f"--cores (={number}): this system can't hold a process to cores; leave it"
        )
    os.sched_setaffinity(0, cores[-number:])


class OtherWork:
    """How busy other programs keep the machine, from this object's making on.

    PyTorch's threads wait for each other at every operation, so that a busy neighbour costs them
    far more than its share, while XLA's take up work as they are free: ratios are worth something
    where this is near 0.
    """

    def __init__(self) -> None:
        self._start, self._busy = time.perf_counter(), _busy_s()

    def share(self, own_s: float) -> float | None:
        """Share of all cores' time that went to others; None where the system doesn't say.

        Args:
          own_s: processor seconds of the work that is measured.
        """
        busy = _busy_s()
        if busy is None or self._busy is None:
            return None
        elapsed = time.perf_counter() - self._start
        others = (busy - self._busy - own_s) / (elapsed * (os.cpu_count() or 1))
        return min(max(others, 0.0), 1.0)


def _busy_s() -> float | None:
    """Processor seconds of everything on this machine since it was started."""
    try:
        fields = _MACHINE.read_text().splitlines()[0].split()[1:]
    except OSError:
        return None
    user, nice, system, _idle, _waiting, *interrupts = map(int, fields[:8])
    return (user + nice + system + sum(interrupts)) / os.sysconf("SC_CLK_TCK")


def _from_status(field: str) -> int:
    """Bytes from the kernel's own account; 0 where there is none."""
    try:
        lines = _STATUS.read_text().splitlines()
    except OSError:
        return 0
    for line in lines:
        name, _, value = line.partition(":")
        if name == field:
            return int(value.split()[0]) * 1024
    return 0

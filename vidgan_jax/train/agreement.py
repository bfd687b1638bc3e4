"""What the processes of a run must decide alike: each sees the files, and maybe not the same ones.

All processes call these together, in the same order.
"""

import zlib
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np
from flax import traverse_util
from jax.experimental import multihost_utils

_TEXT_BYTES = 4096


def of_first(numbers: Sequence[int]) -> list[int]:
    """Process 0's numbers, below 2³¹, on all processes."""
    if jax.process_count() == 1:
        return list(numbers)
    count = int(multihost_utils.broadcast_one_to_all(np.int32(len(numbers))))
    sent = np.zeros(count, np.int32)
    if jax.process_index() == 0:
        sent[:] = numbers
    return multihost_utils.broadcast_one_to_all(sent).tolist() if count else []


def worst(number: int) -> int:
    """The largest of all processes' numbers, below 2³¹. Nobody goes on before all have come."""
    if jax.process_count() == 1:
        return number
    return int(np.max(multihost_utils.process_allgather(np.int32(number))))


def texts(text: str) -> list[str]:
    """All processes' texts, in their order, on all of them; the first 4096 bytes of each."""
    if jax.process_count() == 1:
        return [text]
    sent = np.zeros(_TEXT_BYTES, np.uint8)
    encoded = np.frombuffer(text.encode()[:_TEXT_BYTES], np.uint8)
    sent[: len(encoded)] = encoded
    rows = multihost_utils.process_allgather(sent)
    return [bytes(row).rstrip(b"\0").decode(errors="ignore") for row in rows]


def check_same(values: Mapping[str, Any]) -> None:
    """Refuses values that are not the same on all processes; the same error on all.

    Args:
      values: by the names to tell; may be nested.

    Raises:
      ValueError: names those that differ, and the processes that have others than process 0.
    """
    if jax.process_count() == 1:
        return
    flat = traverse_util.flatten_dict(dict(values), sep=".")
    names = sorted(flat)
    prints = np.array([zlib.crc32(repr(flat[name]).encode()) for name in names], np.uint32)
    about = np.array([len(names), zlib.crc32(repr(names).encode())], np.uint32)
    abouts = multihost_utils.process_allgather(about)
    if strange := _others(abouts):
        raise ValueError(
            f"{_in_words(strange)} other fields than process 0: give all the same command, and the "
            "same version of this package"
        )
    gathered = multihost_utils.process_allgather(prints)
    if strange := _others(gathered):
        wrong = (gathered != gathered[0]).any(axis=0)
        different = [name for name, differs in zip(names, wrong, strict=True) if differs]
        raise ValueError(
            f"{_in_words(strange)} another {', '.join(different[:5])} than process 0: give all the "
            "same command, and the same version of this package"
        )


def _others(rows: np.ndarray) -> list[int]:
    """Processes whose row is not process 0's."""
    return np.flatnonzero((rows != rows[0]).any(axis=1)).tolist()


def _in_words(processes: Sequence[int]) -> str:
    some = ", ".join(map(str, processes[:8]))
    return f"process {some} has" if len(processes) == 1 else f"processes {some} have"

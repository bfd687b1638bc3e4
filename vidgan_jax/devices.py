"""A function of a batch, run on all local devices, in batches of one size."""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from vidgan_jax.types import ArrayLike, PyTree

_ROWS = "rows"


def usable() -> list[jax.Device]:
    """The devices that programs of batches run on: all of this process."""
    return jax.local_devices()


def local_mesh(at_most: int | None = None) -> Mesh:
    """The usable devices in one axis; no more than there are rows for them.

    Args:
      at_most: rows at once, above 0; None for all devices.
    """
    return Mesh(np.array(usable()[:at_most]), (_ROWS,))


def by_rows(mesh: Mesh) -> NamedSharding:
    """The first axis divided among the devices of `local_mesh`."""
    return NamedSharding(mesh, PartitionSpec(_ROWS))


def everywhere(mesh: Mesh) -> NamedSharding:
    """The whole on each device of `local_mesh`."""
    return NamedSharding(mesh, PartitionSpec())


def spread(function: Callable[..., PyTree], *, rows: int = 32) -> Callable[..., Any]:
    """Compiles a function of batches, once for all lengths of batches.

    A batch is gone through in pieces of always the same number of rows, the last one filled up, so
    that nothing is compiled twice and a row's result does not depend on how many came with it.

    Args:
      function: takes arrays with a common leading axis, and gives arrays, or trees of them, with
        the same one; each row's result is of that row alone. Can be traced by JAX.
      rows: in a piece, on all devices together; rounded up to a multiple of their number.

    Returns:
      Takes as many arrays `[n, …]`, n > 0, and gives numpy arrays `[n, …]`.
    """
    compiled = jax.jit(function)

    def run(*batches: ArrayLike) -> PyTree:
        mesh = local_mesh(rows)
        n, at_once = len(batches[0]), -(-rows // mesh.size) * mesh.size
        pieces = []
        for start in range(0, n, at_once):
            # In turn: rows that are real examples can't overflow where zeros might.
            taken = np.arange(start, start + at_once) % n
            piece = [jax.device_put(np.asarray(b)[taken], by_rows(mesh)) for b in batches]
            pieces.append(jax.tree.map(np.asarray, compiled(*piece)))
        return jax.tree.map(lambda *parts: np.concatenate(parts)[:n], *pieces)

    return run

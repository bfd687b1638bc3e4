"""Devices as a named mesh, and how state and batches lie on it."""

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from vidgan_jax.types import Batch

DATA_AXIS = "data"


def make_mesh(num_devices: int | None = None) -> Mesh:
    """One axis, `data`, over all devices of all processes (or the first `num_devices`).

    The axis is of the Auto kind, so that XLA propagates shardings and batch means are global.
    """
    devices = jax.devices()[:num_devices]
    return Mesh(np.array(devices), (DATA_AXIS,))


def replicated(mesh: Mesh) -> NamedSharding:
    """The same values on every device."""
    return NamedSharding(mesh, PartitionSpec())


def batch_sharding(mesh: Mesh) -> NamedSharding:
    """The leading axis divided over the devices."""
    return NamedSharding(mesh, PartitionSpec(DATA_AXIS))


def check_batch_size(batch_size: int, mesh: Mesh) -> None:
    """Refuses a global batch that the devices can't share equally.

    Raises:
      ValueError: with the two batch sizes nearest to it that work.
    """
    n = mesh.devices.size
    if batch_size % n:
        lower, upper = batch_size // n * n, -(-batch_size // n) * n
        choices = f"{lower} or {upper}" if lower else f"{upper}"
        raise ValueError(
            f"batch_size (={batch_size}) must divide by the {n} devices; use {choices}"
        )


def put_batch(batch: Batch, mesh: Mesh) -> Batch:
    """Makes this process's part of a batch into global arrays on the mesh."""
    sharding = batch_sharding(mesh)
    return jax.tree.map(lambda x: jax.make_array_from_process_local_data(sharding, x), batch)

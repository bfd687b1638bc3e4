"""Devices as a named mesh, and how state and batches lie on it.

Everything is a global array: a mean over a batch is one over all devices of all processes, and so
batch norm's statistics, spectral norm's vectors, losses and metrics are the same whatever the mesh.
"""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from vidgan_jax.types import Batch, PyTree

DATA_AXIS, FSDP_AXIS = "data", "fsdp"
# Numbers in a leaf. Gathering a smaller one takes longer than it saves.
MIN_SHARD_SIZE = 1 << 16
# The parts of a state that are divided among a group's devices: trees of parameters, and what has
# their shapes. Statistics and singular vectors are small, and stay whole.
_DIVIDED = ("params", "opt_state", "ema_params")


def make_mesh(num_devices: int | None = None, *, data: int = -1, fsdp: int = 1) -> Mesh:
    """Two axes, `data` and `fsdp`, over all devices of all processes (or the first `num_devices`).

    The axes are of the Auto kind: XLA propagates shardings. Devices are in JAX's order, a process's
    side by side, so that a group that shares parameters lies on as few machines as possible.

    Args:
      num_devices: to use; None for all.
      data: groups, each with the whole state; -1 for as many as there are.
      fsdp: devices of a group.

    Raises:
      ValueError: the devices can't be arranged so; the sizes that work.
    """
    devices = jax.devices()[:num_devices]
    n = len(devices)
    if n % fsdp or data not in (-1, n // fsdp):
        sizes = ", ".join(f"{n // k} × {k}" for k in range(1, n + 1) if n % k == 0)
        raise ValueError(
            f"config.mesh.data (={data}) × config.mesh.fsdp (={fsdp}) must be the {n} devices: "
            f"{sizes}; data=-1 takes what fsdp leaves"
        )
    return Mesh(np.array(devices).reshape(n // fsdp, fsdp), (DATA_AXIS, FSDP_AXIS))


def replicated(mesh: Mesh) -> NamedSharding:
    """The same values on every device."""
    return NamedSharding(mesh, PartitionSpec())


def batch_sharding(mesh: Mesh) -> NamedSharding:
    """The leading axis divided over all devices."""
    return NamedSharding(mesh, PartitionSpec(tuple(mesh.axis_names)))


def partition(shape: Sequence[int], num: int, min_size: int = MIN_SHARD_SIZE) -> PartitionSpec:
    """How one leaf is divided over `num` devices, by its size and its axes alone.

    The longest axis that `num` divides is divided, of several the last: a kernel's output channels
    rather than its input channels. Leaves below `min_size` numbers, or without such an axis, are
    not.
    """
    if num == 1 or math.prod(shape) < min_size:
        return PartitionSpec()
    axes = [axis for axis, length in enumerate(shape) if length % num == 0]
    if not axes:
        return PartitionSpec()
    chosen = max(axes, key=lambda axis: (shape[axis], axis))
    return PartitionSpec(*(FSDP_AXIS if axis == chosen else None for axis in range(chosen + 1)))


def param_shardings(shapes: PyTree, mesh: Mesh, min_size: int = MIN_SHARD_SIZE) -> PyTree:
    """Shardings of parameters, or of what has their shapes."""
    num = mesh.shape.get(FSDP_AXIS, 1)
    return jax.tree.map(
        lambda leaf: NamedSharding(mesh, partition(leaf.shape, num, min_size)), shapes
    )


def state_shardings(shapes: PyTree, mesh: Mesh, min_size: int = MIN_SHARD_SIZE) -> Any:
    """Shardings of a whole `GanState`.

    Args:
      shapes: the state, or its `jax.ShapeDtypeStruct`s.
      mesh: of devices.
      min_size: numbers in a leaf below which it is whole on every device.
    """
    num = mesh.shape.get(FSDP_AXIS, 1)

    def rule(path: Any, leaf: Any) -> NamedSharding:
        names = {str(getattr(key, "name", "")) for key in path[:2]}
        if names.isdisjoint(_DIVIDED):
            return replicated(mesh)
        return NamedSharding(mesh, partition(leaf.shape, num, min_size))

    return jax.tree_util.tree_map_with_path(rule, shapes)


@dataclasses.dataclass(frozen=True)
class Placement:
    """What a step says of where its arrays lie, while it is traced.

    Networks are applied to whole parameters, gradients are summed over the devices and divided at
    once, and each device updates its share (ZeRO: Rajbhandari et al. 2020, arXiv:1910.02054). XLA
    decides when a leaf is gathered, and forgets it after its last use.

    Attributes:
      mesh: of devices; None says nothing: one device, or data parallelism alone.
      min_size: see `state_shardings`.
    """

    mesh: Mesh | None = None
    min_size: int = MIN_SHARD_SIZE

    @property
    def divides(self) -> bool:
        """Whether parameters are divided at all."""
        return self.mesh is not None and self.mesh.shape.get(FSDP_AXIS, 1) > 1

    def of_state(self, state: Any) -> Any:
        """Shardings of a `GanState`, of which shapes will do; None for one that XLA may choose."""
        return None if self.mesh is None else state_shardings(state, self.mesh, self.min_size)

    @property
    def of_batch(self) -> NamedSharding | None:
        """Sharding of a batch; None for one that XLA may choose."""
        return None if self.mesh is None else batch_sharding(self.mesh)

    def spread(self, examples: PyTree) -> PyTree:
        """What a step draws for its batch, divided as the batch is.

        Only losses join latents and reals: left alone, XLA gives latents whole to every device, and
        each computes all fakes.
        """
        if self.of_batch is None:
            return examples
        return jax.lax.with_sharding_constraint(examples, self.of_batch)

    def whole(self, params: PyTree) -> PyTree:
        """Parameters as networks take them."""
        if not self.divides or self.mesh is None:
            return params
        return jax.lax.with_sharding_constraint(params, replicated(self.mesh))

    def summed(self, grads: PyTree) -> PyTree:
        """Gradients, of which each device has a part of the batch's, as the state's parameters lie.

        Whole first: XLA would rather divide the layers' activations by channels, at the price of
        moving them between devices. What it makes of this is one reduce-scatter a leaf on GPUs.
        """
        if not self.divides or self.mesh is None:
            return grads
        shardings = param_shardings(grads, self.mesh, self.min_size)
        return jax.lax.with_sharding_constraint(self.whole(grads), shardings)


def check_batch_size(batch_size: int, mesh: Mesh, *, num_parts: int = 1) -> None:
    """Refuses a global batch that the devices can't share equally.

    Args:
      batch_size: of all devices together.
      mesh: of devices.
      num_parts: that the batch goes through the networks in, one after the other.

    Raises:
      ValueError: with the two batch sizes nearest to it that work.
    """
    devices = mesh.devices.size
    n = devices * num_parts
    if batch_size % n:
        lower, upper = batch_size // n * n, -(-batch_size // n) * n
        choices = f"{lower} or {upper}" if lower else f"{upper}"
        parts = f" in grad_accum_steps (={num_parts}) parts" if num_parts > 1 else ""
        raise ValueError(
            f"batch_size (={batch_size}) must divide by the {devices} devices{parts}; use {choices}"
        )


def put_batch(batch: Batch, mesh: Mesh) -> Batch:
    """Makes this process's part of a batch into global arrays on the mesh."""
    sharding = batch_sharding(mesh)
    return jax.tree.map(lambda x: jax.make_array_from_process_local_data(sharding, x), batch)

"""Fingerprints of trees of arrays: the same however they are sharded, other if a bit is.

A leaf's fingerprint is the sum of its words of 32 bits, each times an odd factor that tells its
position: Σ wₚ·(2p + 1) mod 2³². Sums of whole numbers depend on no order, so that every device adds
up what it holds. An odd factor has an inverse mod 2³²: whatever becomes of one word shows.
"""

import functools
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from vidgan_jax.types import PyTree

_CHUNK = 1 << 20  # words: what a processor's cache holds


def names(tree: PyTree) -> list[str]:
    """Paths of a tree's leaves, in its order. Orbax takes tuples for dicts: they look alike."""
    leaves, _ = jax.tree_util.tree_flatten_with_path(tree)
    return ["/".join(map(_name, path)) for path, _ in leaves]


def _name(key: Any) -> str:
    return str(getattr(key, "key", getattr(key, "name", getattr(key, "idx", key))))


def fingerprint(tree: PyTree) -> jax.Array:
    """The fingerprint of every leaf, on the devices; traceable.

    Args:
      tree: leaves of any shape and sharding: numbers of 1, 2, 4 or 8 bytes, bools, typed PRNG keys.

    Returns:
      uint32 `[num_leaves]`, in the order of `names`.

    Raises:
      TypeError: a leaf of another type.
    """
    # Jitted by itself: leaves of one shape, moments and averages above all, are lowered once.
    sums = [_of_leaf(leaf) for leaf in jax.tree.leaves(tree)]
    return jnp.stack(sums) if sums else jnp.zeros((0,), jnp.uint32)


@jax.jit
def _of_leaf(leaf: jax.Array) -> jax.Array:
    if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        leaf = jax.random.key_data(leaf)
    _check(leaf.dtype)
    size = leaf.dtype.itemsize
    if leaf.dtype == bool:
        words = leaf.astype(jnp.uint32)
    elif size < 4:
        bits = jax.lax.bitcast_convert_type(leaf, jnp.uint8 if size == 1 else jnp.uint16)
        words = bits.astype(jnp.uint32)
    else:  # of 8 bytes: two words, the lower one first, along a new last axis
        words = jax.lax.bitcast_convert_type(leaf, jnp.uint32)
    # Positions from each axis by itself: to flatten a sharded array would gather it.
    position = jnp.zeros(words.shape, jnp.uint32)
    for axis in range(words.ndim):
        stride = np.uint32(math.prod(words.shape[axis + 1 :]) % 2**32)
        position += stride * jax.lax.broadcasted_iota(jnp.uint32, words.shape, axis)
    return jnp.sum(words * (2 * position + 1), dtype=jnp.uint32)


def numpy_fingerprint(tree: PyTree) -> np.ndarray:
    """`fingerprint` of leaves that NumPy can hold, without a device.

    Returns:
      uint32 `[num_leaves]`.

    Raises:
      TypeError: a leaf of a type that has no fingerprint.
    """
    return np.array([_of_array(np.asarray(leaf)) for leaf in jax.tree.leaves(tree)], np.uint32)


def _of_array(array: np.ndarray) -> int:
    _check(array.dtype)
    size = array.dtype.itemsize
    words = np.ascontiguousarray(array).reshape(-1).view(f"<u{min(size, 4)}")
    total = 0
    for start in range(0, words.size, _CHUNK):
        part = words[start : start + _CHUNK].astype(np.uint32)
        factor = np.arange(start, start + part.size, dtype=np.uint64).astype(np.uint32)
        factor *= np.uint32(2)
        factor += np.uint32(1)
        part *= factor
        total += int(part.sum(dtype=np.uint64))
    return total % 2**32


def _check(dtype: Any) -> None:
    """Refuses what has no words of its own."""
    kinds = (jnp.bool_, jnp.integer, jnp.floating)
    known = any(jnp.issubdtype(dtype, kind) for kind in kinds)
    if not known or dtype.itemsize not in (1, 2, 4, 8):
        raise TypeError(f"a leaf of {dtype} has no fingerprint; use real numbers of 1 to 8 bytes")


def by_name(tree: PyTree) -> dict[str, int]:
    """The fingerprints of arrays on devices, by path: one program, and one wait for it.

    Args:
      tree: global arrays; several processes call this together.
    """
    leaves = jax.tree.leaves(tree)
    meshes = [leaf.sharding.mesh for leaf in leaves if isinstance(leaf.sharding, NamedSharding)]
    values = _program(meshes[0] if meshes else None)(leaves)
    return dict(zip(names(tree), jax.device_get(values).tolist(), strict=True))


@functools.cache
def _program(mesh: Mesh | None) -> Callable[[list[jax.Array]], jax.Array]:
    """`fingerprint`, jitted; with a mesh, every process gets all of the result."""
    if mesh is None:
        return jax.jit(fingerprint)
    return jax.jit(fingerprint, out_shardings=NamedSharding(mesh, PartitionSpec()))


def numpy_by_name(tree: PyTree) -> dict[str, int]:
    """`by_name` of leaves that NumPy can hold."""
    return dict(zip(names(tree), numpy_fingerprint(tree).tolist(), strict=True))

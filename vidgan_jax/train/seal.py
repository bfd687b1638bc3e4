"""A checkpoint's seal: from what its arrays and its JSON tell whether they are as they were saved.

It lies in the item `meta`, beside what that is about. Checkpoints from before there were seals are
taken as they are.
"""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import jax

from vidgan_jax.train import fingerprint
from vidgan_jax.types import PyTree

_SEAL = "seal"
_LEAVES, _LOADER, _META = "leaves", "loader", "meta"


class BrokenSealError(ValueError):
    """Something is not as it was saved."""


def shapes(tree: PyTree) -> dict[str, tuple[int, ...]]:
    """Shapes of leaves by `fingerprint.names`; of typed keys, those of the numbers in them."""
    leaves = map(_shape, jax.tree.leaves(tree))
    return dict(zip(fingerprint.names(tree), leaves, strict=True))


def _shape(leaf: Any) -> tuple[int, ...]:
    if jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        leaf = jax.eval_shape(jax.random.key_data, leaf)
    return tuple(leaf.shape)


def sealed(
    meta: Mapping[str, Any], loader: Mapping[str, Any], state: PyTree, leaves: Mapping[str, int]
) -> dict[str, Any]:
    """`meta` with a seal.

    Args:
      meta: as JSON takes it.
      loader: likewise.
      state: that is saved with them.
      leaves: its fingerprints, by name.
    """
    told = {name: [leaves[name], *shape] for name, shape in shapes(state).items()}
    seal = {_LEAVES: told, _LOADER: _digest(loader), _META: _digest(meta)}
    return {**meta, _SEAL: seal}


def opened(
    found: Mapping[str, Any], loader: Mapping[str, Any] | None = None
) -> tuple[dict[str, Any], dict[str, list[int]] | None]:
    """Takes the seal off a `meta`.

    Args:
      found: as it was read.
      loader: as it was read; None where it was not.

    Returns:
      `(meta, leaves)`: what `meta` was, and each leaf's fingerprint and shape, by name; None of a
      checkpoint without a seal.

    Raises:
      BrokenSealError: `meta` or `loader` is not what was saved.
    """
    meta = {name: value for name, value in found.items() if name != _SEAL}
    if (seal := found.get(_SEAL)) is None:
        return meta, None
    for name, value in ((_META, meta), (_LOADER, loader)):
        if value is not None and _digest(value) != seal[name]:
            raise BrokenSealError(f"{name} is not what was saved")
    return meta, seal[_LEAVES]


def check_structure(leaves: Mapping[str, list[int]] | None, found: PyTree) -> None:
    """Compares names and shapes of all leaves.

    Raises:
      BrokenSealError: they are not those that were saved.
    """
    if leaves is None:
        return
    saved = {name: tuple(shape) for name, (_, *shape) in leaves.items()}
    have = shapes(found)
    wrong = sorted(n for n in saved.keys() | have.keys() if saved.get(n) != have.get(n))
    if wrong:
        raise BrokenSealError(f"{wrong[0]} is not of the shape that was saved{_more(wrong)}")


def check_leaves(leaves: Mapping[str, list[int]] | None, found: Mapping[str, int]) -> None:
    """Compares fingerprints of some leaves, or of all.

    Raises:
      BrokenSealError: they are not those that were saved.
    """
    if leaves is None:
        return
    wrong = [name for name, value in found.items() if leaves[name][0] != value]
    if wrong:
        raise BrokenSealError(f"{wrong[0]} is not what was saved{_more(wrong)}")


def _more(wrong: list[str]) -> str:
    return f", nor are {len(wrong) - 1} more" if len(wrong) > 1 else ""


def _digest(value: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()

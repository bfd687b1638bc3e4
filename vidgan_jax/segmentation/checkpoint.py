"""The newest state of a segmenter's run, in one file: it is replaced whole, or stays.

Weights and moments are stored bit by bit: a run that goes on is the run that was not stopped.
"""

import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from vidgan_jax import files
from vidgan_jax.types import PyTree

FILE = "checkpoint.npz"
_META = "meta"


def save(workdir: Path, step: int, state: PyTree, samples: int, meta: Mapping[str, Any]) -> None:
    """Writes the checkpoint of a workdir over the one before.

    Args:
      workdir: the run's folder.
      step: updates so far.
      state: leaves of any shapes, on devices or not.
      samples: that the loader has given so far.
      meta: whatever is to be known, as JSON takes it.

    Raises:
      FloatingPointError: a number is not finite; the checkpoint before stays.
      OSError: it can't be written.
    """
    arrays = {name: np.asarray(leaf) for name, leaf in _named(jax.device_get(state)).items()}
    if not all(np.isfinite(array).all() for array in arrays.values()):
        raise FloatingPointError(
            f"weights are not finite at step {step}, and were not saved; lower "
            "config.optimizer.learning_rate and go on from the last checkpoint"
        )
    text = json.dumps({**meta, "step": step, "samples": samples})
    with files.atomic_path(workdir / FILE) as temporary:
        np.savez(temporary, **{_META: np.array(text)}, **arrays)  # type: ignore[arg-type]


def restore(workdir: Path, like: PyTree) -> tuple[PyTree, dict[str, Any]] | None:
    """Reads the checkpoint of a workdir.

    Args:
      workdir: the run's folder.
      like: the state as `jax.ShapeDtypeStruct`s.

    Returns:
      `(state, meta)`: NumPy leaves, and what `save` was given with `step` and `samples`; None
      where there is no checkpoint.

    Raises:
      ValueError: it is damaged, or of another network.
    """
    path = workdir / FILE
    if not path.exists():
        return None
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
            found = {name: stored[name] for name in stored.files}
        meta = json.loads(str(found.pop(_META)))
    except (ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise ValueError(
            f"{path} can't be read ({error}): it is damaged, or no checkpoint of a segmenter; "
            "without it, the run starts again"
        ) from error
    wanted = _named(like)
    for name in sorted(wanted.keys() | found.keys()):
        shapes = [tuple(t[name].shape) if name in t else "missing" for t in (found, wanted)]
        if shapes[0] != shapes[1]:
            raise ValueError(
                f"{path} is of another network than the config and the data describe ({name}: "
                f"{shapes[0]} there, {shapes[1]} wanted); set config.segmenter as it was, or give "
                "another --workdir"
            )
    return jax.tree.unflatten(jax.tree.structure(like), [found[name] for name in wanted]), meta


def _named(tree: PyTree) -> dict[str, Any]:
    """Leaves by their path, in the tree's order."""
    return {
        jax.tree_util.keystr(keys, simple=True, separator="/"): leaf
        for keys, leaf in jax.tree_util.tree_leaves_with_path(tree)
    }

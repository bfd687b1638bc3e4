"""A small segmenter: a U-Net that says each pixel's class, in one file of about a megabyte.

It knows the classes of the data set that it learnt from (`vidgan_jax.segmentation.training`), and
nothing of other data. One for the embedded scenes comes with the package: `SCENES`.
"""

import dataclasses
import functools
import hashlib
import json
import os
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from vidgan_jax import files
from vidgan_jax.devices import by_rows, everywhere, local_mesh
from vidgan_jax.models.unet import UNet, check_halvings
from vidgan_jax.progress import ProgressReport

# Weights that know the embedded scenes, made by `configs/segmenter.py` as it is.
SCENES = Path(__file__).with_name("scenes.npz")
# What training leaves in its workdir.
FILE = "segmenter.npz"

_VERSION = 2
_META = "meta"


@dataclasses.dataclass(frozen=True)
class Segmenter:
    """A trained U-Net that says each pixel's class.

    Attributes:
      classes: ids that it knows, ascending; a pixel is always given one of them.
      features: channels of its levels, see `UNet`.
      variables: the network's, float32; kernels are rounded to half precision, as `save` stores
        them, so that a loaded segmenter says what the trained one did.
      trained: how it came about and how well it does, as JSON takes it: what
        `vidgan_jax.segmentation.training` writes to `scores.json`, too.
    """

    classes: tuple[int, ...]
    features: tuple[int, ...]
    variables: Mapping[str, Any]
    trained: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    @property
    def num_params(self) -> int:
        """Trained numbers."""
        return sum(leaf.size for leaf in jax.tree.leaves(self.variables["params"]))

    @functools.cached_property
    def identity(self) -> str:
        """A digest of what decides its answers: classes and weights."""
        digest = hashlib.sha256(json.dumps([_VERSION, self.classes, self.features]).encode())
        for name, leaf in sorted(_named_leaves(self.variables).items()):
            digest.update(f"{name} {leaf.dtype} {leaf.shape}\n".encode())
            digest.update(np.ascontiguousarray(leaf).tobytes())
        return digest.hexdigest()

    def __call__(
        self, frames: np.ndarray, *, batch_size: int = 32, progress: bool = False
    ) -> np.ndarray:
        """Segments frames.

        Args:
          frames: uint8 `[..., h, w, 3]`, images or clips of any number of axes; h and w can be
            halved for all levels. It does best at the sizes that it was trained at.
          batch_size: frames at once, on all devices together; rounded up to a multiple of their
            number.
          progress: report on stderr.

        Returns:
          uint8 `[..., h, w]`, class ids.

        Raises:
          ValueError: another dtype or shape.
        """
        if frames.dtype != np.uint8 or frames.ndim < 3 or frames.shape[-1] != 3:
            raise ValueError(
                f"frames must be uint8 [..., h, w, 3]; got {frames.dtype} {list(frames.shape)}"
            )
        flat = frames.reshape(-1, *frames.shape[-3:])
        check_halvings(flat.shape, len(self.features))
        network = UNet(len(self.classes), self.features)
        mesh = local_mesh(max(1, min(batch_size, len(flat))))
        at_once = -(-min(batch_size, len(flat)) // mesh.size) * mesh.size or 1
        variables = jax.device_put(self.variables, everywhere(mesh))
        found = np.empty(flat.shape[:-1], np.uint8)
        with ProgressReport("segmenting", total=len(flat), shown=progress) as report:
            for start in range(0, len(flat), at_once):
                part = flat[start : start + at_once]
                done = start + len(part)
                # Filled up, so that nothing is compiled twice.
                filled = jax.device_put(np.resize(part, (at_once, *flat.shape[1:])), by_rows(mesh))
                found[start:done] = _predict(network, variables, filled)[: len(part)]
                report.update(done, f"{done} of {len(flat)} frames")
        return np.asarray(self.classes, np.uint8)[found].reshape(frames.shape[:-1])


def save(segmenter: Segmenter, path: str | os.PathLike[str]) -> None:
    """Writes a segmenter as one NPZ file, whole or not at all; kernels in half precision."""
    meta = {
        "classes": segmenter.classes,
        "features": segmenter.features,
        "trained": dict(segmenter.trained),
        "version": _VERSION,
    }
    arrays: dict[str, Any] = {_META: np.array(json.dumps(meta))}
    for name, leaf in _named_leaves(segmenter.variables).items():
        arrays[name] = np.asarray(leaf, np.float16 if leaf.ndim > 1 else np.float32)
    with files.atomic_path(path) as temporary:
        np.savez_compressed(temporary, **arrays)


def load(path: str | os.PathLike[str]) -> Segmenter:
    """Reads a segmenter that `save` wrote.

    Raises:
      ValueError: the file is none, or damaged.
      OSError: it can't be read.
    """
    try:
        # Opened here: NumPy leaves a damaged file open.
        with files.path(path).open("rb") as file, np.load(file, allow_pickle=False) as stored:
            meta = json.loads(str(stored[_META]))
            variables: dict[str, Any] = {}
            for name in stored.files:
                if name != _META:
                    *parents, leaf = name.split("/")
                    place = functools.reduce(
                        lambda d, key: d.setdefault(key, {}), parents, variables
                    )
                    place[leaf] = stored[name].astype(np.float32)
        if meta["version"] != _VERSION:
            raise ValueError(f"of version {meta['version']}, not {_VERSION}")
        return Segmenter(
            tuple(meta["classes"]), tuple(meta["features"]), variables, meta["trained"]
        )
    except (ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile) as error:
        raise ValueError(
            f"{path}: no segmenter, or damaged ({str(error).partition('.')[0]}); if it was one, "
            "remove it, and train it again (configs/segmenter.py)"
        ) from error


def rounded(variables: Mapping[str, Any]) -> dict[str, Any]:
    """Variables as `save` stores them: kernels as half precision has them, the rest as it is.

    Args:
      variables: float32 leaves, on devices or not.

    Returns:
      float32 NumPy leaves.
    """

    def stored(leaf: Any) -> np.ndarray:
        array = np.asarray(leaf)
        return array.astype(np.float16).astype(np.float32) if array.ndim > 1 else array

    found: dict[str, Any] = jax.tree.map(stored, jax.device_get(dict(variables)))
    return found


def to_unit_range(frames: jax.Array) -> jax.Array:
    """uint8 frames as the network sees them, float32 in [-1, 1]."""
    return frames.astype(jnp.float32) / 127.5 - 1.0


def _named_leaves(variables: Mapping[str, Any]) -> dict[str, np.ndarray]:
    leaves = jax.tree_util.tree_leaves_with_path(variables)
    return {"/".join(key.key for key in keys): np.asarray(leaf) for keys, leaf in leaves}


@functools.partial(jax.jit, static_argnums=0)
def _predict(network: UNet, variables: Any, frames: jax.Array) -> jax.Array:
    """uint8 `[b, h, w, 3]` → uint8 `[b, h, w]`, indices of classes."""
    logits: Any = network.apply(variables, to_unit_range(frames))
    return jnp.argmax(logits, axis=-1).astype(jnp.uint8)

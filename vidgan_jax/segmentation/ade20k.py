"""Segmentation by the large segmenter, as its weights were published: at several scales.

A frame is resized to several sizes, the network gives probabilities at each, and their mean tells
the class. Each size has its own compiled program.
"""

import dataclasses
import functools
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from vidgan_jax.devices import by_rows, everywhere, local_mesh
from vidgan_jax.layers.resize import linear_weights, resize_bilinear
from vidgan_jax.models.segmenter import Segmenter, network_of
from vidgan_jax.progress import ProgressReport
from vidgan_jax.segmentation.interface import flat_frames

SCALES = (300, 375, 450, 525, 600)
BATCH_SIZE = 8
# Enters `identity`: a change here makes other label maps.
_VERSION = 1
_MAX_LONG = 1000
_MULTIPLE = 8
_FRACTION_BITS = 22  # of Pillow's weights


def size_at(scale: int, height: int, width: int) -> tuple[int, int]:
    """The size at which the network sees frames.

    Their short side becomes `scale`, unless their long one would be above 1000 then; both are
    rounded up to multiples of 8.

    Args:
      scale: short side, pixels.
      height: of the frames, pixels.
      width: likewise.

    Returns:
      Height and width, pixels.
    """
    factor = min(scale / min(height, width), _MAX_LONG / max(height, width))
    height, width = (max(1, int(n * factor)) for n in (height, width))
    return _rounded_up(height), _rounded_up(width)


@dataclasses.dataclass(frozen=True)
class Ade20kSegmenter:
    """The large segmenter with its weights: frames to class ids.

    Attributes:
      variables: the network's, float32.
      scales: short sides that frames are resized to, pixels. The default is as published; the
        smallest one alone takes an eighth of the time.
    """

    variables: Mapping[str, Any]
    scales: tuple[int, ...] = SCALES

    def __post_init__(self) -> None:
        if not self.scales or any(not 1 <= scale <= _MAX_LONG for scale in self.scales):
            raise ValueError(
                f"scales (={self.scales}) must be short sides of frames, one at least, each from 1 "
                f"to {_MAX_LONG} pixels"
            )

    @functools.cached_property
    def network(self) -> Segmenter:
        """The network that `variables` are of."""
        return network_of(self.variables["params"])

    @property
    def classes(self) -> tuple[int, ...]:
        """Ids that it may give: ADE20K's, from 0, or as many as the network has."""
        return tuple(range(self.network.num_classes))

    @functools.cached_property
    def identity(self) -> str:
        """A digest of weights and scales: with the same one, label maps are the same."""
        digest = hashlib.sha256(json.dumps([_VERSION, self.scales]).encode())
        for path, leaf in jax.tree_util.tree_leaves_with_path(self.variables):
            digest.update(f"{jax.tree_util.keystr(path)} {leaf.dtype} {leaf.shape}".encode())
            digest.update(np.ascontiguousarray(leaf).data)
        return digest.hexdigest()

    @functools.cached_property
    def _mesh(self) -> Mesh:
        return local_mesh()

    @functools.cached_property
    def _on_device(self) -> Mapping[str, Any]:
        found: Mapping[str, Any] = jax.device_put(self.variables, everywhere(self._mesh))
        return found

    def __call__(
        self, frames: np.ndarray, *, batch_size: int = BATCH_SIZE, progress: bool = False
    ) -> np.ndarray:
        """Segments frames.

        Args:
          frames: uint8 RGB `[..., h, w, 3]`, images or clips of any number of axes and any size.
          batch_size: frames at once, on all devices together; rounded up to a multiple of their
            number.
          progress: report on stderr.

        Returns:
          uint8 `[..., h, w]`, class ids.

        Raises:
          ValueError: another dtype or shape, or a batch of none.
        """
        flat = flat_frames(frames, batch_size)
        found = np.empty(flat.shape[:-1], np.uint8)
        with ProgressReport("segmenting", total=len(flat), shown=progress) as report:
            for start, total in self._totals(flat, batch_size):
                done = min(start + len(total), len(flat))
                found[start:done] = np.asarray(_best(total))[: done - start]
                report.update(done, f"{done} of {len(flat)} frames")
        return found.reshape(frames.shape[:-1])

    def probabilities(self, frames: np.ndarray, *, batch_size: int = BATCH_SIZE) -> np.ndarray:
        """The mean over scales of the classes' probabilities.

        Args:
          frames: as for calls.
          batch_size: frames at once.

        Returns:
          float32 `[..., h, w, classes]`, four bytes for each class of each pixel.

        Raises:
          ValueError: as for calls.
        """
        flat = flat_frames(frames, batch_size)
        found = np.empty((*flat.shape[:-1], len(self.classes)), np.float32)
        for start, total in self._totals(flat, batch_size):
            rest = found[start : start + len(total)]
            rest[:] = np.asarray(total)[: len(rest)] / len(self.scales)
        return found.reshape(*frames.shape[:-1], len(self.classes))

    def _totals(self, flat: np.ndarray, batch_size: int) -> Iterator[tuple[int, jax.Array]]:
        """For each batch its first frame's number, and probabilities, summed over scales."""
        height, width = flat.shape[1:3]
        rows = by_rows(self._mesh)
        at_once = -(-min(batch_size, len(flat)) // self._mesh.size) * self._mesh.size or 1
        for start in range(0, len(flat), at_once):
            part = flat[start : start + at_once]
            # Filled up, so that nothing is compiled twice.
            filled = jax.device_put(np.resize(part, (at_once, *flat.shape[1:])), rows)
            total = jnp.zeros((*filled.shape[:-1], len(self.classes)), jnp.float32, device=rows)
            for scale in self.scales:
                size = size_at(scale, height, width)
                total = _add(self.network, size, self._on_device, filled, total)
            yield start, total


def resize_frames(frames: jax.Array, size: Sequence[int]) -> jax.Array:
    """Resizes frames by Pillow's bilinear filter, bit for bit.

    (It takes means where frames shrink, and rounds twice, first what it makes along rows.)

    Args:
      frames: uint8 `[b, h, w, c]`.
      size: wanted height and width.

    Returns:
      int32 `[b, *size, c]`, from 0 to 255.
    """
    x = frames.astype(jnp.int32)
    for axis in (2, 1):
        positions, weights = _taps(x.shape[axis], size[axis - 1])
        total: Any = 1 << (_FRACTION_BITS - 1)
        for seen, weight in zip(positions, weights, strict=True):
            along = weight.reshape(-1, *(1,) * (3 - axis))
            total = total + jnp.take(x, seen, axis) * along
        x = total >> _FRACTION_BITS
    return x


def _taps(size: int, out: int) -> tuple[np.ndarray, np.ndarray]:
    """Where each of `out` positions looks at, and with which weight, as fixed-point numbers.

    Returns:
      int32 `[taps, out]` twice.
    """
    weights = linear_weights(size, out, antialias=True)
    whole = np.floor(weights * (1 << _FRACTION_BITS) + 0.5).astype(np.int32)
    first = np.argmax(whole > 0, axis=1)
    taps = np.count_nonzero(whole, axis=1).max()
    seen = first + np.arange(taps)[:, None]
    inside = np.minimum(seen, size - 1)
    return inside, np.where(seen < size, whole[np.arange(out), inside], 0)


@functools.partial(jax.jit, static_argnums=(0, 1), donate_argnums=4)
def _add(
    network: Segmenter,
    size: tuple[int, int],
    variables: Any,
    frames: jax.Array,
    total: jax.Array,
) -> jax.Array:
    """Adds probabilities `[b, h, w, classes]` of uint8 frames `[b, h, w, 3]`, seen at a size."""
    images = resize_frames(frames, size).astype(jnp.float32) / 127.5 - 1.0
    logits: Any = network.apply(variables, images)
    return total + jax.nn.softmax(resize_bilinear(logits, frames.shape[1:3]), axis=-1)


@jax.jit
def _best(total: jax.Array) -> jax.Array:
    return jnp.argmax(total, axis=-1).astype(jnp.uint8)


def _rounded_up(number: int) -> int:
    return -(-number // _MULTIPLE) * _MULTIPLE

"""Array aliases and the plain records that pass between the parts of the package."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np

if TYPE_CHECKING:  # data workers import this module and must start fast: no JAX there
    import jax

ArrayLike: TypeAlias = "jax.Array | np.ndarray"
PyTree: TypeAlias = Any
Params: TypeAlias = Mapping[str, Any]
Metrics: TypeAlias = "Mapping[str, jax.Array]"
Critic: TypeAlias = "Callable[[jax.Array], jax.Array]"

# Variable collections beside the parameters. A network is in training mode where they may change.
BATCH_STATS = "batch_stats"  # running statistics of batch norm
SPECTRAL = "spectral"  # vectors and gains of spectral normalisation
GAIN = "gain"  # a leaf of SPECTRAL
OUTPUTS = "outputs"  # what a network gives beside its result, for the terms of a loss


class Batch(NamedTuple):
    """One batch as the loader yields it.

    Attributes:
      frames: uint8 in [0, 255]; `[b, t, h, w, c]` for clips, `[b, h, w, c]` for images.
      label_map: uint8 class ids from 0, 255 for "don't care", `[b, h, w]`; None where the data
        set has none or the model does not use it.
    """

    frames: ArrayLike
    label_map: ArrayLike | None = None


@dataclasses.dataclass(frozen=True)
class ClipSpec:
    """What one training example is cut to.

    Attributes:
      num_frames: frames in a clip; 0 for single images.
      stride: frames of the record from one frame of the clip to the next.
      size: height and width of an example, pixels.
      resize: height and width to which frames are resized before cropping to `size`, pixels.
      flip: mirror left to right with probability ½ (training only).
      start_frames: a clip's start is drawn uniformly from the first so many frames of a record,
        as far as the clip fits; None for every start that fits.
      label_maps: yield the records' label maps too.
      num_labels: classes of those maps; other ids are refused where they are read. 0 for no check.
      dont_care: an id in the records that means 255, "don't care", too.
    """

    num_frames: int
    stride: int
    size: int
    resize: int
    flip: bool = True
    start_frames: int | None = None
    label_maps: bool = False
    num_labels: int = 0
    dont_care: int = 255

    @property
    def is_image(self) -> bool:
        """Whether an example is one image and not a clip."""
        return self.num_frames == 0

    @property
    def span(self) -> int:
        """Frames of a record from the first frame of an example to its last, both counted."""
        return 1 if self.is_image else (self.num_frames - 1) * self.stride + 1

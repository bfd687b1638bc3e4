"""Segmenters by where they lie: what prepares data sets need not know which kind one is of."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from vidgan_jax import files
from vidgan_jax.models.segmenter import network_of
from vidgan_jax.segmentation import small
from vidgan_jax.segmentation.ade20k import SCALES, Ade20kSegmenter
from vidgan_jax.train.weights import load_network

_SCENES = "scenes"
_KINDS = (
    f"A segmenter is {_SCENES!r}, which comes with the package, a folder that `convert segmenter` "
    f"has written, a workdir of configs/segmenter.py, or its {small.FILE}"
)


class SegmentFrames(Protocol):
    """What tells the class of every pixel."""

    @property
    def classes(self) -> tuple[int, ...]:
        """Ids that it may give, ascending; they are ADE20K's, from 0."""

    @property
    def identity(self) -> str:
        """A digest of weights and settings: with the same one, label maps are the same."""

    def __call__(
        self, frames: np.ndarray, *, batch_size: int = 8, progress: bool = False
    ) -> np.ndarray:
        """Segments frames.

        Args:
          frames: uint8 RGB `[..., h, w, 3]`.
          batch_size: frames at once.
          progress: report on stderr.

        Returns:
          uint8 `[..., h, w]`, class ids.

        Raises:
          ValueError: another dtype or shape.
        """


def load(where: str, *, scales: Sequence[int] | None = None) -> SegmentFrames:
    """Reads a segmenter.

    Args:
      where: "scenes" for the one that comes with the package and knows the embedded scenes; a
        folder that `python -m vidgan_jax.convert segmenter` has written; a workdir in which a small
        one was trained, or the file that training has left there.
      scales: short sides at which a converted one looks at frames, see
        `vidgan_jax.segmentation.ade20k`; None for the published ones.

    Raises:
      ValueError: there is none, it is damaged, or it has no scales.
      OSError: it can't be read.
    """
    path = files.path(where)
    if where == _SCENES:
        path = small.SCENES
    elif not path.exists():
        raise ValueError(f"{where} does not exist. {_KINDS}")
    elif path.is_dir() and not (path / small.FILE).is_file():
        return _converted(where, scales)
    if scales is not None:
        raise ValueError(
            f"scales (={tuple(scales)}) are of converted segmenters, and {where} is a small one, "
            "which looks at frames as they are"
        )
    return small.load(path / small.FILE if path.is_dir() else path)


def _converted(where: str, scales: Sequence[int] | None) -> Ade20kSegmenter:
    try:
        variables = load_network(where)
        network_of(variables["params"])
    except ValueError as error:
        raise ValueError(f"no segmenter in {where} ({error}). {_KINDS}") from error
    return Ade20kSegmenter(variables, SCALES if scales is None else tuple(scales))

"""What a segmenter is, whichever kind: the interface that a user's own one has, too."""

from typing import Protocol

import numpy as np


class SegmentFrames(Protocol):
    """What tells the class of every pixel."""

    @property
    def classes(self) -> tuple[int, ...]:
        """Ids that it may give, ascending, 0 to 254; of ADE20K's classes, they count from 0."""

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


def flat_frames(frames: np.ndarray, batch_size: int) -> np.ndarray:
    """Frames `[..., h, w, 3]` as `[n, h, w, 3]`.

    Raises:
      ValueError: another dtype or shape, or a batch of none.
    """
    shape = frames.shape
    if frames.dtype != np.uint8 or frames.ndim < 3 or shape[-1] != 3 or 0 in shape[-3:]:
        raise ValueError(f"frames must be uint8 [..., h, w, 3]; got {frames.dtype} {list(shape)}")
    if batch_size < 1:
        raise ValueError(f"batch_size (={batch_size}) must be at least 1")
    return frames.reshape(-1, *shape[-3:])


def check_classes(classes: object, whose: str) -> tuple[int, ...]:
    """A segmenter's classes, as `SegmentFrames` wants them.

    Args:
      classes: what it says.
      whose: named in errors.

    Raises:
      ValueError: they are no integers from 0 to 254, ascending.
    """
    given = tuple(classes) if isinstance(classes, tuple | list | range) else ()
    right = all(isinstance(i, int | np.integer) and 0 <= i <= 254 for i in given)
    if not given or not right or list(given) != sorted(set(given)):
        raise ValueError(
            f"{whose}: classes (={classes!r}) must be the ids that it may give, a tuple of "
            "integers from 0 to 254, ascending"
        )
    return tuple(int(i) for i in given)

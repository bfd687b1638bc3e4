"""Segmenters that a user's own Python makes, in whatever framework."""

import dataclasses
import importlib
from typing import Any

import numpy as np

from vidgan_jax.segmentation.interface import SegmentFrames, check_classes, flat_frames

PREFIX = "python:"
FORM = f"{PREFIX}PACKAGE.MODULE:FUNCTION"


@dataclasses.dataclass(frozen=True)
class CustomSegmenter:
    """A user's segmenter, whose answers are checked.

    Attributes:
      where: names it in errors.
      segmenter: the user's.
      classes: ids that it may give, ascending.
      identity: the digest that it tells.
    """

    where: str
    segmenter: SegmentFrames
    classes: tuple[int, ...]
    identity: str

    def __call__(
        self, frames: np.ndarray, *, batch_size: int = 8, progress: bool = False
    ) -> np.ndarray:
        """Segments frames, see `SegmentFrames`.

        Raises:
          ValueError: frames of another dtype or shape; the user's segmenter raises it, or gives
            something else than ids of its classes for each pixel.
        """
        flat_frames(frames, batch_size)
        given = self.segmenter(frames, batch_size=batch_size, progress=progress)
        found = np.asarray(given)
        if found.shape != frames.shape[:-1] or not np.issubdtype(found.dtype, np.integer):
            raise ValueError(
                f"{self.where} must give integers {list(frames.shape[:-1])} for frames "
                f"{list(frames.shape)}; got {found.dtype} {list(found.shape)}"
            )
        table = np.zeros(256, bool)
        table[list(self.classes)] = True
        known = (found >= 0) & (found <= 255) & table[found & 255]
        if not known.all():
            raise ValueError(
                f"{self.where} gives the id {found[~known][0]}, which is none of its classes "
                f"{list(self.classes)}"
            )
        return found.astype(np.uint8)


def load(where: str) -> CustomSegmenter:
    """Makes the segmenter that a function of a module gives.

    Args:
      where: "python:PACKAGE.MODULE:FUNCTION"; the function takes nothing, and returns what
        `SegmentFrames` describes. Modules are found as Python finds them: in the working directory
        and where packages are installed.

    Raises:
      ValueError: no such module or function, or what it returns is no segmenter.
    """
    function = _function(where)
    made = function()
    if not callable(made):
        raise ValueError(f"{where} returns {type(made).__name__}, which can't be called: {_WANTED}")
    for name in ("classes", "identity"):
        if not hasattr(made, name):
            raise ValueError(f"{where} returns a segmenter without `{name}`: {_WANTED}")
    identity: Any = made.identity
    if not isinstance(identity, str) or not identity:
        raise ValueError(
            f"{where}: identity (={identity!r}) must be a string that changes whenever weights or "
            "settings do, as a digest of them; what was segmented is kept by it"
        )
    return CustomSegmenter(where, made, check_classes(made.classes, where), identity)


_WANTED = (
    "it must return a segmenter as vidgan_jax.segmentation.interface.SegmentFrames describes it"
)


def _function(where: str) -> Any:
    module_name, colon, name = where.removeprefix(PREFIX).partition(":")
    if not colon or not module_name or not name.isidentifier():
        raise ValueError(f"{where} must be {FORM}")
    if not all(part.isidentifier() for part in module_name.split(".")):
        raise ValueError(f"{where} names no module: {module_name!r}; it must be {FORM}")
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        raise ValueError(f"{where}: {error}; it must be {FORM}") from error
    function = getattr(module, name, None)
    if not callable(function):
        raise ValueError(f"{where}: the module {module_name} has no function {name}")
    return function

"""Where one shot of a video ends and the next begins: what detectors offer, and which there are.

A detector is fed small pictures of the frames one by one, at a constant rate, and tells of each
transition up to about 16 s after it. It holds a few hundred of the pictures at most, whatever the
length of the video.

| name | finds | needs |
|---|---|---|
| own | cuts, fades, dissolves | nothing |
| pyscenedetect | cuts, fades through black | the extra `shots` |
| transnetv2 | cuts, fades, dissolves; slow without a GPU | the extra `shots` |
"""

from typing import NamedTuple, Protocol

import numpy as np

DETECTORS = ("own", "pyscenedetect", "transnetv2")

# Every detector takes pictures of this size: TransNetV2's network is made for it.
HEIGHT, WIDTH = 27, 48


class Transition(NamedTuple):
    """How one shot becomes the next.

    Attributes:
      start: first frame that is not purely of the shot before; frames are numbered from 0.
      end: first frame that is purely of the shot after; the same as `start` for a hard cut.
      kind: "cut", "dissolve", or "fade" for a dissolve from, to or through a plain colour.
      score: how sure the detector is, in a unit of its own; higher is surer.
    """

    start: int
    end: int
    kind: str
    score: float


class Detector(Protocol):
    """Finds transitions in a stream of pictures.

    Darkness that lasts is told in pieces, each of which ends where the next starts.

    Attributes:
      height: of the pictures that it takes, pixels.
      width: likewise.
    """

    height: int
    width: int

    @property
    def settled(self) -> int:
        """Every transition that starts before the frame of this number has been returned."""
        ...

    def feed(self, picture: np.ndarray) -> list[Transition]:
        """Takes the next frame.

        Args:
          picture: the whole frame, squeezed to uint8 `[height, width, 3]`, RGB.

        Returns:
          The transitions that have become final, in order; none twice.
        """
        ...

    def finish(self) -> list[Transition]:
        """Ends the video.

        Returns:
          The transitions that have not been returned yet, in order.
        """
        ...


def make_detector(name: str, fps: float) -> Detector:
    """Makes a detector for one video.

    Args:
      name: one of `DETECTORS`.
      fps: frames a second that it will be fed.

    Raises:
      ValueError: there is no such detector, `fps` is not above 0, or the packages that the
        detector needs are not installed.
    """
    if name not in DETECTORS:
        raise ValueError(f"detector (={name!r}) must be one of {', '.join(DETECTORS)}")
    if not fps > 0:
        raise ValueError(f"fps (={fps:g}) must be above 0")
    # Each brings libraries of its own.
    if name == "own":
        from vidgan_jax.preparation.nature.own_detector import OwnDetector

        return OwnDetector(fps)
    from vidgan_jax.preparation.nature import detectors

    if name == "pyscenedetect":
        return detectors.PySceneDetector(fps)
    return detectors.TransNetDetector(fps)

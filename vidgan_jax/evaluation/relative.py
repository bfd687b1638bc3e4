"""Measure "relative": how far generated examples are from real ones, by a fixed random network.

No download, no training, the same numbers everywhere. But its features (`metrics.features`) know no
objects, and its distances are neither FID, KID nor FVD: they compare checkpoints on the same data
with one another, and with a floor: what real examples of another draw get.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from vidgan_jax.evaluation.measure import (
    FAKES,
    FLOOR,
    REFERENCE,
    Observation,
    Part,
    ScoreTable,
)
from vidgan_jax.metrics import features
from vidgan_jax.metrics.frechet import Gaussian, Statistics, frechet_distance
from vidgan_jax.metrics.kernel import kernel_distance
from vidgan_jax.metrics.precision_recall import precision_recall

_NEIGHBOURS = 3
_VERSION = 1  # of the measure: a change makes other numbers, or other rows
_BLOCK = 65_536  # rows taken to float64 at once
_FRAMES, _CLIPS = "frames", "clips"
_COLUMNS = {
    "frechet": "FD-random",
    "kernel": "KD-random × 10³",
    "precision": "precision",
    "recall": "recall",
    "density": "density",
    "coverage": "coverage",
}
_CAPTION = (
    "FD, KD: 0 is equal; features of a fixed random network: no FID, KID or FVD, compares "
    "checkpoints on the same data only. FD of frames is of all, the rest of one frame a clip, the "
    "one in the middle"
)


@dataclasses.dataclass(frozen=True)
class Relative:
    """Distances of frames and of clips by features of a fixed random network.

    Of frames: the Fréchet distance is of all frames; the kernel distance, precision, recall,
    density and coverage are of one frame a clip, the one in the middle (number t // 2), for frames
    of one clip are each other's nearest neighbours. Of clips: all of clip features.

    Attributes:
      is_clips: the examples are clips, not images.
    """

    is_clips: bool
    name: ClassVar[str] = "relative"
    streams: ClassVar[tuple[str, ...]] = (FAKES, REFERENCE, FLOOR)

    def settings(self) -> Mapping[str, Any]:
        """See `Measure`."""
        return {"features": features.VERSION, "neighbours": _NEIGHBOURS, "version": _VERSION}

    def observe(self, part: Part) -> Observation:
        """Features: of frames float32 `[n, t, d]`, of clips float32 `[n, d]`.

        Raises:
          ValueError: images in the place of clips or the other way round, or frames too small.
        """
        if (part.frames.ndim == 5) != self.is_clips:
            raise ValueError(
                f"images can't be compared with clips; got examples {list(part.frames.shape)}, and "
                f"want {'clips' if self.is_clips else 'images'}: cut both by one ClipSpec"
            )
        n, t, h, w, _ = part.clips.shape
        frames = features.frame_features(part.clips.reshape(n * t, h, w, 3))
        rows = {_FRAMES: frames.reshape(n, t, -1)}
        if self.is_clips:
            rows[_CLIPS] = features.clip_features(part.frames)
        return Observation(rows)

    def conclude(self, seen: Mapping[str, Observation]) -> Mapping[str, Any]:
        """Scores of the fakes, and of the floor, against the reference.

        Returns:
          "num" and "num_reference", "generated" and "floor": each has "frames" and "clips" (None of
          images) with "frechet" (squared units of features), "kernel" (a squared maximum mean
          discrepancy, may be just below 0), "precision", "recall", "density" and "coverage".

        Raises:
          ValueError: too few examples for covariances; see `check_num`.
        """
        counts = {stream: len(seen[stream].rows[_FRAMES]) for stream in self.streams}
        for stream, count in counts.items():
            check_num(count, stream)
        real = _Set(seen[REFERENCE])
        return {
            "num": counts[FAKES],
            "num_reference": counts[REFERENCE],
            "generated": _compare(_Set(seen[FAKES]), real),
            "floor": _compare(_Set(seen[FLOOR]), real),
        }

    def tables(self, found: Mapping[str, Any]) -> Sequence[ScoreTable]:
        """One of frames, and of clips another one."""
        num, num_reference = found["num"], found["num_reference"]
        note = ""
        if num != num_reference:
            note = (
                f"; distances fall with the number of examples, and the floor is of {num_reference}"
            )
        kinds = [kind for kind in (_FRAMES, _CLIPS) if found["generated"][kind] is not None]
        return [
            ScoreTable(
                f"{kind}: {num} generated against {num_reference} real",
                ("", *_COLUMNS.values()),
                [
                    ("generated", *_cells(found["generated"][kind])),
                    ("floor: real, another draw", *_cells(found["floor"][kind])),
                ],
                _CAPTION + note if kind == kinds[-1] else "",
            )
            for kind in kinds
        ]

    def headline(self, found: Mapping[str, Any]) -> Mapping[str, float]:
        """The Fréchet distances, under names that nobody takes for FID's or FVD's."""
        generated = found["generated"]
        kinds = [kind for kind in (_FRAMES, _CLIPS) if generated[kind] is not None]
        return {f"FD-random {kind}": generated[kind]["frechet"] for kind in kinds}


def check_num(num: int, name: str = "num") -> None:
    """Refuses numbers of examples that leave a covariance without full rank.

    Raises:
      ValueError: `num` is not above the number of features; the message calls it `name`.
    """
    if num <= features.NUM_FEATURES:
        raise ValueError(
            f"{name} (={num}) must be above {features.NUM_FEATURES}, the number of features, or "
            "their covariance can't be estimated; 512 is good"
        )


class _Set:
    """What was seen of a stream, as it is compared: a Gaussian and single rows, of each kind."""

    def __init__(self, seen: Observation) -> None:
        frames, clips = seen.rows[_FRAMES], seen.rows.get(_CLIPS)
        middle = frames.shape[1] // 2
        self.rows = {_FRAMES: frames[:, middle], _CLIPS: clips}
        flat = frames.reshape(-1, frames.shape[-1])
        self.gaussians = {_FRAMES: _fit(flat), _CLIPS: None if clips is None else _fit(clips)}


def _fit(rows: np.ndarray) -> Gaussian:
    statistics = Statistics()
    for start in range(0, len(rows), _BLOCK):
        statistics.add(rows[start : start + _BLOCK])
    return statistics.gaussian()


def _compare(fake: _Set, real: _Set) -> dict[str, dict[str, float] | None]:
    found: dict[str, dict[str, float] | None] = {}
    for kind, gaussian in fake.gaussians.items():
        a, b, of_real = fake.rows[kind], real.rows[kind], real.gaussians[kind]
        if gaussian is None or of_real is None or a is None or b is None:
            found[kind] = None
            continue
        found[kind] = {
            "frechet": frechet_distance(gaussian, of_real),
            "kernel": kernel_distance(a, b),
            **dataclasses.asdict(precision_recall(b, a, k=_NEIGHBOURS)),
        }
    return found


def _cells(found: Mapping[str, float]) -> list[str]:
    return [_cell(1000 * found[key] if key == "kernel" else found[key]) for key in _COLUMNS]


def _cell(value: float) -> str:
    return f"{value:.4f}" if value < 10 else f"{value:.1f}"

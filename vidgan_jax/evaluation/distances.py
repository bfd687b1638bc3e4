"""Distances by the community's detectors: FID, KID, IS, precision and recall; FVD.

Numbers of these names in papers are by certain files (`metrics.detectors`), of certain counts of
examples, resized in certain ways. Everything that they depend on is in the manifest; statistics are
in float64. Covariances are divided by n − 1, as the authors of FID and FVD have them; NVIDIA's code
and StyleGAN-V's divide by n, which makes their covariances' part 0.05 % smaller at n = 2048.

Beside the fakes stands another draw of real examples, scored against the same reference: what a
generator would get that could not be told from the data.
"""

import dataclasses
import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from vidgan_jax.evaluation.measure import FAKES, FLOOR, REFERENCE, Observation, Part, ScoreTable
from vidgan_jax.metrics import detectors
from vidgan_jax.metrics.detectors import MIN_FRAMES, Detector, Output
from vidgan_jax.metrics.frechet import fit, frechet_distance
from vidgan_jax.metrics.i3d import I3D_JAX, JaxI3d
from vidgan_jax.metrics.inception_score import inception_score
from vidgan_jax.metrics.kernel import kernel_distance, kernel_distance_subsets
from vidgan_jax.metrics.precision_recall import precision_recall

_STREAMS = (FAKES, REFERENCE, FLOOR)
_ROWS = {FAKES: "generated", FLOOR: "real again"}

# As published.
_KID_SUBSETS = 100
_KID_SUBSET_SIZE = 1000
_IS_SPLITS = 10
_IS_SPLIT_SIZE = 5000
_NEIGHBOUR = 3  # k of precision and recall
_SEED = 0


class Inception:
    """Distances by Inception-v3: FID, KID, Inception score, precision, recall, density, coverage.

    Of clips single frames count, from all times equally: of the stream's example i the frame i mod
    t, and as many more at equal steps as are asked for.

    Precision and its kin are of the same features, or VGG16's, which published ones are by.

    Args:
      path: the TorchScript file of Inception-v3.
      vgg: that of VGG16, for precision and its kin.
      frames_per_clip: frames of each clip that count; 0 for all.
      device: for the detectors, as torch names it; None for a GPU where there is one.
      features: what the file is asked for.
      classes: the same.
      vgg_features: the same of `vgg`.

    Raises:
      ValueError: `frames_per_clip` is negative, torch is not installed, or the files are not such.
      OSError: they can't be read.
    """

    name = "inception"
    streams = _STREAMS

    def __init__(
        self,
        path: str | os.PathLike[str],
        vgg: str | os.PathLike[str] | None = None,
        *,
        frames_per_clip: int = 1,
        device: str | None = None,
        features: Output = detectors.INCEPTION_FEATURES,
        classes: Output = detectors.INCEPTION_CLASSES,
        vgg_features: Output = detectors.VGG_FEATURES,
    ):
        if frames_per_clip < 0:
            raise ValueError(
                f"frames_per_clip (={frames_per_clip}) must be at least 1, or 0 for all frames"
            )
        self._frames_per_clip = frames_per_clip
        self._features, self._classes, self._vgg_features = features, classes, vgg_features
        self._detector: Detector = detectors.ScriptedDetector(
            path, features, classes, device=device
        )
        self._vgg: Detector | None = None
        if vgg is not None:
            self._vgg = detectors.ScriptedDetector(vgg, vgg_features, device=device)

    def settings(self) -> Mapping[str, Any]:
        """See `Measure`."""
        return {
            "detector": self._detector.describe(),
            "vgg": None if self._vgg is None else self._vgg.describe(),
            "frames_per_clip": self._frames_per_clip,
            "covariance": "divided by n - 1",
            "kid": {"subsets": _KID_SUBSETS, "subset_size": _KID_SUBSET_SIZE, "seed": _SEED},
            "inception_score": {"splits": _IS_SPLITS, "seed": _SEED},
            "precision_recall": {"k": _NEIGHBOUR, "features": self._neighbours_by},
        }

    def observe(self, part: Part) -> Observation:
        """See `Measure`: features of the frames that count."""
        frames = choose_frames(part, self._frames_per_clip)
        rows = {
            "features": self._detector.run(self._features, frames),
            "classes": self._detector.run(self._classes, frames),
        }
        if self._vgg is not None:
            rows["vgg"] = self._vgg.run(self._vgg_features, frames)
        return Observation(rows=rows)

    def conclude(self, seen: Mapping[str, Observation]) -> Mapping[str, Any]:
        """See `Measure`: of fakes and of reals again, against the reference.

        Raises:
          ValueError: too few frames of a stream; the message says how many are needed.
        """
        counts = {stream: len(seen[stream].rows["features"]) for stream in _STREAMS}
        _check_counts(counts, _NEIGHBOUR + 1, "frames")
        return {
            "frames": counts,
            "dims": self._features.dims,
            "detector": self._detector.known,
            "precision_recall_by": self._neighbours_by,
            **{stream: self._compare(seen[stream].rows, seen[REFERENCE].rows) for stream in _ROWS},
        }

    def _compare(
        self, rows: Mapping[str, np.ndarray], reference: Mapping[str, np.ndarray]
    ) -> dict[str, Any]:
        features, real = rows["features"], reference["features"]
        size = min(_KID_SUBSET_SIZE, len(features), len(real))
        kid, kid_std = kernel_distance_subsets(
            features, real, num_subsets=_KID_SUBSETS, subset_size=size, seed=_SEED
        )
        splits = max(1, min(_IS_SPLITS, len(features) // _IS_SPLITS))
        logits = np.log(np.maximum(rows["classes"], np.finfo(np.float32).tiny))
        score, score_std = inception_score(logits, num_splits=splits, seed=_SEED)
        by = "features" if self._vgg is None else "vgg"
        neighbours = precision_recall(reference[by], rows[by], k=_NEIGHBOUR)
        return {
            "fid": frechet_distance(fit(features), fit(real)),
            "kid": kid,
            "kid_std": kid_std,
            "kid_subset_size": size,
            "kid_of_all": kernel_distance(features, real),
            "inception_score": score,
            "inception_score_std": score_std,
            "inception_score_splits": splits,
            **dataclasses.asdict(neighbours),
        }

    def tables(self, found: Mapping[str, Any]) -> Sequence[ScoreTable]:
        """See `Measure`."""
        columns = ("", "FID", "KID × 1000", "IS", "precision", "recall", "density", "coverage")
        rows = [
            (
                words,
                f"{(scores := found[stream])['fid']:.2f}",
                _kid(scores, max(found["frames"][stream], found["frames"][REFERENCE])),
                f"{scores['inception_score']:.2f} ± {scores['inception_score_std']:.2f}",
                *(f"{scores[name]:.3f}" for name in columns[4:]),
            )
            for stream, words in _ROWS.items()
        ]
        return [ScoreTable("Frames by Inception-v3", columns, rows, self._caption(found))]

    def _caption(self, found: Mapping[str, Any]) -> str:
        sentences = [f"By {found['detector']}.", _counted(found["frames"], "frames")]
        sentences.append(_few(found["frames"], found["dims"], "FID"))
        sizes = sorted({found[stream]["kid_subset_size"] for stream in _ROWS})
        if sizes[0] < _KID_SUBSET_SIZE:
            sentences.append(
                f"KID is of subsets of {' and '.join(map(str, sizes))} frames, published ones of "
                f"{_KID_SUBSET_SIZE}."
            )
        size = found["frames"][FAKES] // found[FAKES]["inception_score_splits"]
        if size < _IS_SPLIT_SIZE:
            sentences.append(f"IS is of splits of {size}, published ones of {_IS_SPLIT_SIZE}.")
        if found["precision_recall_by"] == "inception":
            sentences.append("Precision to coverage are by Inception, published ones by VGG16.")
        return " ".join(filter(None, sentences))

    def headline(self, found: Mapping[str, Any]) -> Mapping[str, float]:
        """See `Measure`."""
        fakes = found[FAKES]
        return {
            "FID": fakes["fid"],
            "KID × 1000": 1000 * fakes["kid"],
            "IS": fakes["inception_score"],
            "precision": fakes["precision"],
            "recall": fakes["recall"],
        }

    @property
    def _neighbours_by(self) -> str:
        return "inception" if self._vgg is None else "vgg16"


class Fvd:
    """Fréchet video distance, by I3D's logits, as StyleGAN-V has it.

    Args:
      path: the TorchScript file of I3D; or "i3d-jax" for that package's, whose distance is not
        given out as FVD plainly.
      device: for a file's network, as torch names it; None for a GPU where there is one.
      logits: what a file is asked for.

    Raises:
      ValueError: torch, or the package, is not installed, or the file is not such.
      OSError: it can't be read.
    """

    name = "fvd"
    streams = _STREAMS

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        device: str | None = None,
        logits: Output = detectors.I3D_LOGITS,
    ):
        self._logits = logits
        self._detector: Detector
        if os.fspath(path) == I3D_JAX:
            self._title, self._detector = f"FVD ({I3D_JAX})", JaxI3d()
        else:
            self._title = "FVD"
            self._detector = detectors.ScriptedDetector(path, logits, device=device)

    def settings(self) -> Mapping[str, Any]:
        """See `Measure`."""
        return {"detector": self._detector.describe(), "covariance": "divided by n - 1"}

    def observe(self, part: Part) -> Observation:
        """See `Measure`: logits of clips.

        Raises:
          ValueError: images, or clips that are too short for I3D.
        """
        frames = part.clips.shape[1]
        if frames < MIN_FRAMES:
            got = f"clips of {frames} frames" if part.frames.ndim == 5 else "images"
            raise ValueError(
                f"FVD needs clips of at least {MIN_FRAMES} frames, which I3D halves three times and"
                f" averages in twos; got {got}. The protocol fvd2048_16f takes 16 (--num-frames); "
                "leave the measure fvd out of --measures for shorter ones"
            )
        return Observation(rows={"logits": self._detector.run(self._logits, part.frames)})

    def conclude(self, seen: Mapping[str, Observation]) -> Mapping[str, Any]:
        """See `Measure`: of fakes and of reals again, against the reference.

        Raises:
          ValueError: fewer than two clips of a stream.
        """
        counts = {stream: len(seen[stream].rows["logits"]) for stream in _STREAMS}
        _check_counts(counts, 2, "clips")
        of = {stream: fit(seen[stream].rows["logits"]) for stream in _STREAMS}
        return {
            "clips": counts,
            "dims": self._logits.dims,
            "detector": self._detector.known,
            **{stream: {"fvd": frechet_distance(of[stream], of[REFERENCE])} for stream in _ROWS},
        }

    def tables(self, found: Mapping[str, Any]) -> Sequence[ScoreTable]:
        """See `Measure`."""
        rows = [(words, f"{found[stream]['fvd']:.2f}") for stream, words in _ROWS.items()]
        sentences = (
            f"By {found['detector']}.",
            _counted(found["clips"], "clips"),
            _few(found["clips"], found["dims"], "FVD"),
        )
        caption = " ".join(filter(None, sentences))
        return [ScoreTable("Clips by I3D", ("", self._title), rows, caption)]

    def headline(self, found: Mapping[str, Any]) -> Mapping[str, float]:
        """See `Measure`."""
        return {self._title: found[FAKES]["fvd"]}


def choose_frames(part: Part, frames_per_clip: int) -> np.ndarray:
    """Frames of a part's clips, of all times equally over a stream.

    Args:
      part: clips of t frames, or images.
      frames_per_clip: 0, or as many as t or more, for all.

    Returns:
      uint8 `[n · min(frames_per_clip, t), h, w, 3]`, clip by clip; those of one in time's order.
    """
    clips = part.clips
    n, t = clips.shape[:2]
    count = t if frames_per_clip == 0 else min(frames_per_clip, t)
    steps = np.arange(count) * t // count
    times = np.sort((part.first + np.arange(n)[:, None] + steps) % t, axis=1)
    return clips[np.arange(n)[:, None], times].reshape(-1, *clips.shape[2:])


def _kid(scores: Mapping[str, Any], most: int) -> str:
    """With its spread over subsets, where they are not all the same one of all frames."""
    mean, std = 1000 * scores["kid"], 1000 * scores["kid_std"]
    return f"{mean:.2f} ± {std:.2f}" if scores["kid_subset_size"] < most else f"{mean:.2f}"


def _check_counts(counts: Mapping[str, int], least: int, kind: str) -> None:
    for stream, count in counts.items():
        if count < least:
            raise ValueError(
                f"distances need at least {least} {kind} of the stream {stream!r}, got {count}; "
                "score more (--num, --num-reference)"
            )


def _counted(counts: Mapping[str, int], kind: str) -> str:
    return (
        f"n = {counts[FAKES]} {kind} against {counts[REFERENCE]} real; real again: "
        f"{counts[FLOOR]} of another draw."
    )


def _few(counts: Mapping[str, int], dims: int, distance: str) -> str:
    """What to know where a covariance is of fewer examples than its rank; "" where none is."""
    least = min(counts.values())
    if least > dims:
        return ""
    return (
        f"With n = {least}, not above the {dims} dimensions, covariances are rank-deficient and "
        f"{distance} is far too large: it compares with equal n only."
    )

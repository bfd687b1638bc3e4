"""Measure "diversity": do generated examples differ, and does the latent decide anything?

Of generators that are conditioned on label maps: how much examples of one map with several latents
differ, beside examples of different maps. A generator that ignores its latent, as the thesis's VAE
did (Egan 2019, 4.3.4), gets exactly 0, however good its frames are. Of other generators: how much
its examples differ, beside real ones, and how many of them are (nearly) the same.

Examples are compared in three ways, for none of them sees everything:

- "frames": features of colour and texture by a fixed random network (`metrics.features`), the mean
  over a clip's frames. Statistics over the whole frame: where something is, they can't see, nor
  what it is.
- "motion": the clip features of the half of that network that sees nothing of a still clip. A clip
  of stronger contrasts changes more, so looks enter here, too; noise that flickers is motion, and
  at 2 grey levels as much of it as slow water; of the paths of things they see little.
- "pixels": grey levels. They see every change, wherever; but so they see noise, and take a scene
  that is shifted by a few pixels for another one.

Differences of features are divided by the standard deviation that the feature has among real
examples: else the few features of large range would decide. By the reals', not the fakes' own: the
unit is the same for all checkpoints, and a generator that hardly varies isn't magnified.
"""

import dataclasses
import functools
import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from vidgan_jax.evaluation.measure import (
    FAKES,
    LABELLED,
    REFERENCE,
    VARIATIONS,
    Observation,
    Part,
    ScoreTable,
)
from vidgan_jax.metrics import features, pairs
from vidgan_jax.metrics.neighbours import squared_radii
from vidgan_jax.metrics.sets import draw_order

_VERSION = 1  # of the measure: a change makes other numbers, or other rows
_FRAMES, _MOTION, _PIXELS, _DIGESTS = "frames", "motion", "pixels", "digests"
_KINDS = {_FRAMES: "colour, texture", _MOTION: "motion", _PIXELS: "grey levels (0 to 255)"}
# Pixels of an example that are compared; of variations, which are few, more.
_NUM_PIXELS = {True: 4096, False: 512}
_DIGEST_BYTES = 16
# No feature counts as varying less among reals: below are traces of rounding, of a range of 2.
_LEAST_SPREAD = 1e-3
# Nothing varies where a mean difference is below this, in units of the reals' spread or in grey
# levels.
_NOTHING = 0.01
# Reals' distances to the nearest other one: so small a share of them counts as "nearly the same".
_NEAR = 0.05
_MOST_NEAR = 5000  # examples whose nearest ones are looked for: time grows with their square
_UNITS = "of features in units of the reals' standard deviation"

_Rows = Mapping[str, np.ndarray]


@dataclasses.dataclass(frozen=True)
class Diversity:
    """How much generated examples differ.

    Attributes:
      num_variations: of the stream VARIATIONS: examples of each map, one after another.
      conditional: the generator takes label maps. Else neither VARIATIONS nor LABELLED are looked
        at, but FAKES and REFERENCE: latents are all there is, so they are compared as a whole.
    """

    num_variations: int
    conditional: bool
    name: ClassVar[str] = "diversity"

    def __post_init__(self) -> None:
        if self.num_variations < 2:
            raise ValueError(f"num_variations (={self.num_variations}) must be at least 2")

    @property
    def streams(self) -> tuple[str, ...]:
        """See `Measure`; the second one is of real examples."""
        return (VARIATIONS, LABELLED) if self.conditional else (FAKES, REFERENCE)

    def settings(self) -> Mapping[str, Any]:
        """See `Measure`."""
        return {
            "features": features.VERSION,
            "conditional": self.conditional,
            "num_variations": self.num_variations if self.conditional else None,
            "pixels": _NUM_PIXELS[self.conditional],
            "near": _NEAR,
            "version": _VERSION,
        }

    def observe(self, part: Part) -> Observation:
        """Features, some pixels (always the same ones), and a digest of each example.

        Raises:
          ValueError: frames too small to have features.
        """
        n, t, h, w, _ = part.clips.shape
        of_frames = features.frame_features(part.clips.reshape(n * t, h, w, 3)).reshape(n, t, -1)
        places = _places(t * h * w, _NUM_PIXELS[self.conditional])
        digests = [hashlib.blake2b(x.tobytes(), digest_size=_DIGEST_BYTES) for x in part.frames]
        rows = {
            _FRAMES: of_frames.mean(axis=1, dtype=np.float64),
            _PIXELS: part.frames.reshape(n, t * h * w, 3)[:, places].reshape(n, -1),
            _DIGESTS: np.array([list(digest.digest()) for digest in digests], np.uint8),
        }
        if t >= features.MIN_FRAMES:
            rows[_MOTION] = features.clip_features(part.clips)[:, features.motion_features()]
        return Observation(rows)

    def conclude(self, seen: Mapping[str, Observation]) -> Mapping[str, Any]:
        """The scores: mean differences of pairs, features' in units of the reals' spread.

        Returns:
          Of conditional generators "num_maps", "num_variations", "num_real", and for "frames",
          "motion" (None of images) and "pixels": "within" a map, "within_by_map", "least" of them
          and "least_map", its number; "between" examples of different maps; "ratio" of both, None
          where nothing varies; "real", between real examples. "equal_pairs" are examples of one map
          that are equal in every pixel, of "pairs".
          Of others "num", "num_real", and for each kind "generated", "real" and "ratio"; of
          features "near", which sees a generator of few different examples even where they are far
          from one another: root mean square distances to the nearest other one of "num" examples
          each, their "median" and "median_real", and the "share" of fakes ("share_real" of reals)
          that have another one within "distance", which 0.05 of the reals have. "equal_pairs" of
          "pairs" are equal in every pixel.

        Raises:
          ValueError: too few examples, or not as many of each map.
        """
        fake, real = (_settled(seen[stream].rows) for stream in self.streams)
        for stream, rows in zip(self.streams, (fake, real), strict=True):
            if (count := len(rows[_FRAMES])) < 2:
                raise ValueError(f"diversity needs at least 2 examples of {stream}, got {count}")
        fake, real = _in_units_of(real, fake), _in_units_of(real, real)
        return self._of_maps(fake, real) if self.conditional else _as_a_whole(fake, real)

    def _of_maps(self, fake: _Rows, real: _Rows) -> dict[str, Any]:
        num, each = len(fake[_FRAMES]), self.num_variations
        if num % each:
            raise ValueError(f"{num} variations are not {each} (num_variations) of each map")
        digests = fake[_DIGESTS].reshape(num // each, each, -1)
        return {
            "num_maps": num // each,
            "num_variations": each,
            "num_real": len(real[_FRAMES]),
            **{
                kind: _within_and_between(fake[kind], real[kind], each) if kind in fake else None
                for kind in _KINDS
            },
            "equal_pairs": sum(map(pairs.num_equal_pairs, digests)),
            "pairs": len(digests) * pairs.num_pairs(each),
        }

    def tables(self, found: Mapping[str, Any]) -> Sequence[ScoreTable]:
        """One."""
        kinds = {name: found[kind] for kind, name in _KINDS.items() if found[kind] is not None}
        if not self.conditional:
            return [_table_as_a_whole(found, kinds)]
        columns = ("within", "least", "between", "ratio", "real")
        equal = f"{found['equal_pairs']} of {found['pairs']} pairs of a map are equal"
        return [
            ScoreTable(
                f"diversity: {found['num_maps']} maps, {found['num_variations']} latents each",
                ("", "across z", "least map", "across maps", "z / maps", "real, across maps"),
                [(name, *(_cell(row[key]) for key in columns)) for name, row in kinds.items()],
                f"mean differences of pairs; {_UNITS}. z / maps near 0: the latent is ignored; "
                f"near 1: it decides as much as the map. {equal}",
            )
        ]

    def headline(self, found: Mapping[str, Any]) -> Mapping[str, float]:
        """Ratios of features' differences: of z to maps, or of fakes to reals; and near copies."""
        of = "z / maps" if self.conditional else "fake / real"
        names = {_FRAMES: f"diversity, {of}", _MOTION: f"diversity of motion, {of}"}
        kinds = [kind for kind in names if (found[kind] or {}).get("ratio") is not None]
        headline = {names[kind]: found[kind]["ratio"] for kind in kinds}
        if not self.conditional:
            headline["near copies"] = found[_FRAMES]["near"]["share"]
        return headline


@functools.cache
def _places(num: int, at_most: int) -> np.ndarray:
    """Which of `num` pixels are compared: all, or a drawn set that is always the same."""
    if num <= at_most:
        return np.arange(num)
    return np.sort(draw_order(np.random.PCG64(num), num)[:at_most])


def _settled(rows: _Rows) -> dict[str, np.ndarray]:
    """Rows, of equal examples the first one's: that they are equal is not up to rounding."""
    first = pairs.first_equals(rows[_DIGESTS])
    return {name: array[first] for name, array in rows.items()}


def _in_units_of(real: _Rows, rows: _Rows) -> dict[str, np.ndarray]:
    """Rows with features divided by their standard deviations among `real`, float64."""
    found = dict(rows)
    for kind in (_FRAMES, _MOTION):
        if kind in rows:
            spread = real[kind].std(axis=0, ddof=1, dtype=np.float64)
            found[kind] = rows[kind] / np.maximum(spread, _LEAST_SPREAD)
    return found


def _within_and_between(
    fake: np.ndarray, real: np.ndarray, each: int
) -> dict[str, float | int | list[float] | None]:
    """Of one kind of rows, `[maps · each, d]`."""
    maps = len(fake) // each
    of_maps = [pairs.total_differences(group).mean() for group in np.split(fake, maps)]
    within = [float(total) / pairs.num_pairs(each) for total in of_maps]
    least = int(np.argmin(within))
    num_between = pairs.num_pairs(len(fake)) - maps * pairs.num_pairs(each)
    between = None
    if num_between:
        total = pairs.total_differences(fake).mean() - sum(of_maps)
        between = max(0.0, float(total)) / num_between
    mean = float(np.mean(within))
    return {
        "within": mean,
        "within_by_map": within,
        "least": within[least],
        "least_map": least,
        "between": between,
        "ratio": _ratio(mean, between),
        "real": _mean_difference(real),
    }


def _as_a_whole(fake: _Rows, real: _Rows) -> dict[str, Any]:
    found: dict[str, Any] = {"num": len(fake[_FRAMES]), "num_real": len(real[_FRAMES])}
    for kind in _KINDS:
        if kind not in fake:
            found[kind] = None
            continue
        generated, of_real = _mean_difference(fake[kind]), _mean_difference(real[kind])
        ratio = _ratio(generated, of_real)
        found[kind] = {"generated": generated, "real": of_real, "ratio": ratio}
        if kind != _PIXELS:  # the nearest in grey levels is the nearest in brightness
            found[kind]["near"] = _near(fake[kind], real[kind])
    return found | {
        "equal_pairs": pairs.num_equal_pairs(fake[_DIGESTS]),
        "pairs": pairs.num_pairs(len(fake[_DIGESTS])),
    }


def _near(fake: np.ndarray, real: np.ndarray) -> dict[str, float | int]:
    """How many fakes have a near copy: nearer than few reals have another real one.

    In a larger set everything has nearer neighbours, so both are cut to one number, evenly. Of real
    examples of another draw the share is 3 to 6 % from a few hundred on; of fewer it may be
    anything up to 25 %, for the distance is that of a handful then.
    """
    num = min(len(fake), len(real), _MOST_NEAR)
    of_fake, of_real = (
        np.sqrt(squared_radii(rows[_evenly(len(rows), num)], 1) / rows.shape[1])
        for rows in (fake, real)
    )
    distance = np.quantile(of_real, _NEAR, method="inverted_cdf")
    return {
        "share": float(np.mean(of_fake <= distance)),
        "share_real": float(np.mean(of_real <= distance)),
        "distance": float(distance),
        "median": float(np.median(of_fake)),
        "median_real": float(np.median(of_real)),
        "num": num,
    }


def _evenly(n: int, num: int) -> np.ndarray:
    return np.linspace(0, n - 1, num).round().astype(int)


def _mean_difference(rows: np.ndarray) -> float:
    return float(pairs.total_differences(rows).mean()) / pairs.num_pairs(len(rows))


def _ratio(difference: float, other: float | None) -> float | None:
    return None if other is None or other < _NOTHING else difference / other


def _table_as_a_whole(found: Mapping[str, Any], kinds: Mapping[str, Any]) -> ScoreTable:
    rows = []
    for name, row in kinds.items():
        near = row.get("near")
        shares = [f"{near[key]:.1%}" for key in ("share", "share_real")] if near else ["", ""]
        rows.append((name, *(_cell(row[key]) for key in ("generated", "real", "ratio")), *shares))
    return ScoreTable(
        f"diversity: {found['num']} generated, {found['num_real']} real",
        ("", "generated", "real", "fake / real", "near copies", "of real"),
        rows,
        f"mean differences of pairs; {_UNITS}. Near copies: of as many fakes as reals those with "
        f"another one as near as {_NEAR:.0%} of the reals have one. {found['equal_pairs']} of "
        f"{found['pairs']} pairs of generated examples are equal",
    )


def _cell(value: float | None) -> str:
    return "–" if value is None else f"{value:.4f}" if value < 10 else f"{value:.1f}"

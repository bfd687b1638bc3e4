"""Measure "motion": how generated clips move, against how real ones do.

Fréchet distances of videos are nearly blind to movement (Ge et al. 2024, arXiv:2404.12391), and
still clips are what a bad finetuning yields. No single figure here is a verdict; what each of them
can't see:

- The frame difference takes noise, flicker and cuts for movement. They show in flicker, and most of
  them in the warp error.
- The warp error, |x_{t+1} warped back by the flow − x_t| as a share of |x_{t+1} − x_t|, of softened
  luma, is small for whatever moves smoothly: a still picture that a camera pans over, too (see
  "pan"), and blurred frames more than sharp ones. Leaps between frames change so much
  that the share left can be as small as that of real clips: "flow" and flicker tell them. Still
  clips have no part in it, nor do they lower it; look at how many there are. Read it beside that of
  the real clips: it is far from 0 where little moves, or what moves is water; white noise has
  about 0.9.
- Flicker, |x_{t+1} − 2 x_t + x_{t−1}| as a share of |x_{t+1} − x_t|, is 0 for an even fade, √3 for
  white noise, 2 for frames that jump to and fro, or are shown twice each.
- Histograms of flow pool all pixels of all clips: they forget directions, order, and which clip a
  pixel is of. Distances over clips (`flow_clips`, `frame_difference`) see a generator half of whose
  clips are still and the rest too fast. Only "down" sees that time runs backwards, and only
  where something falls. Nothing here knows what moves: still trees under a sky of waves pass.
- Bins of flow are pixels: a clip of another size has other figures; "heights" compare sizes.
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
from vidgan_jax.metrics import motion, optical_flow

_VERSION = 1  # of the measure: a change makes other numbers, or other rows
# A step that changes values by less than this on average, grey levels, is still, and a clip all of
# whose steps together are. A tenth of a level is one value in ten, changed by the least there is.
STILL = 0.1
_STREAMS = {"generated": FAKES, "real": REFERENCE, "floor": FLOOR}
_TITLES = {"generated": "generated", "real": "real", "floor": "real, another draw"}
_COARSE = (1 / 32, 1 / 8, 1 / 2, 2.0, 8.0)  # pixels a frame, of the table; edges of the histogram
_CAPTION = (
    "change: mean |x' − x|, grey levels a frame (± over clips); still: clips that change by less "
    f"than {STILL}; repeated: such single steps; flow: pixels a frame; flow W1: from the real, "
    "pixels; warp error: share of the change that flow does not explain; flicker: |second "
    "difference| to |first|; pan: share of the flow that is the whole frame's; end/start: change "
    "in the last third of steps to that in the first"
)


@dataclasses.dataclass(frozen=True)
class Motion:
    """How much, and how, clips move.

    Attributes:
      fps: frames a second of the clips, as they are measured; None where that is not known.
    """

    fps: float | None = None
    name: ClassVar[str] = "motion"
    streams: ClassVar[tuple[str, ...]] = (FAKES, REFERENCE, FLOOR)

    def settings(self) -> Mapping[str, Any]:
        """See `Measure`."""
        return {
            "version": _VERSION,
            "statistics": motion.VERSION,
            "flow": optical_flow.settings(),
            "still_below": STILL,
            "fps": self.fps,
        }

    def observe(self, part: Part) -> Observation:
        """The arrays of `motion.ClipMotion`, and "size", height and width, int32 `[n, 2]`.

        Raises:
          ValueError: images, clips of one frame, or frames too small.
        """
        if part.frames.ndim != 5:
            raise ValueError(f"motion is of clips; got images {list(part.frames.shape)}")
        found = motion.measure_motion(part.frames)
        rows = {field.name: getattr(found, field.name) for field in dataclasses.fields(found)}
        n, _, *size, _ = part.frames.shape
        return Observation({**rows, "size": np.tile(np.array(size, np.int32), (n, 1))})

    def conclude(self, seen: Mapping[str, Observation]) -> Mapping[str, Any]:
        """Figures of the fakes, the reference and the floor; distances of the first and the last.

        Returns:
          "generated", "real" and "floor", each as of `_describe`; "distance" with "generated" and
          "floor", each as of `_distances` from the real ones; "bins": "edges" of the histograms in
          pixels a frame, the first of the shares being of what is below "edges"[1]; "size" and
          "fps". A share of nothing is None.

        Raises:
          ValueError: a stream without clips, or clips of other lengths or sizes than the others'.
        """
        rows = {key: seen[stream].rows for key, stream in _STREAMS.items()}
        height, width = _common_size(rows)
        real = rows["real"]
        return {
            **{key: self._describe(of, height) for key, of in rows.items()},
            "distance": {key: _distances(rows[key], real) for key in ("generated", "floor")},
            "bins": {"edges": motion.EDGES.tolist()},
            "size": [height, width],
            "fps": self.fps,
        }

    def _describe(self, rows: Mapping[str, np.ndarray], height: int) -> dict[str, Any]:
        """Of a stream; grey levels a frame, pixels a frame, shares from 0 to 1."""
        change, bend, flow = rows["change"], rows["bend"], rows["flow"]
        clips = change.mean(axis=1)
        heights = float(flow.mean()) / height
        shares = rows["histogram"].sum(axis=0, dtype=np.int64) / rows["histogram"].sum()
        return {
            "num": len(change),
            "frame_difference": {
                "mean": float(clips.mean()),
                "std": float(clips.std()),
                "deciles": np.quantile(clips, np.linspace(0, 1, 11)).tolist(),
            },
            "still_clips": float((clips < STILL).mean()),
            "still_steps": float((change < STILL).mean()),
            "flow": {
                "mean": float(flow.mean()),
                "std": float(flow.mean(axis=1).std()),
                "heights_per_frame": heights,
                "heights_per_second": None if self.fps is None else heights * self.fps,
                "shares": shares.tolist(),
            },
            "warp_error": _ratio(rows["warped"].mean(), rows["unwarped"].mean()),
            "flicker": _ratio(bend.mean(), change.mean()) if bend.size else None,
            "pan": _ratio(rows["pan"].mean(), flow.mean()),
            "down": float(rows["down"].mean()),
            "end_over_start": _end_over_start(change),
            "curves": {
                "frame_difference": change.mean(axis=0).tolist(),
                "flow": flow.mean(axis=0).tolist(),
            },
        }

    def tables(self, found: Mapping[str, Any]) -> Sequence[ScoreTable]:
        """One of figures, one of shares of pixels by the magnitude of their flow."""
        height, width = found["size"]
        rate = "" if found["fps"] is None else f" at {found['fps']:g} frames/s"
        columns = (
            "", "change", "still", "repeated", "flow", "flow W1", "warp error", "flicker", "pan",
            "end/start",
        )  # fmt: skip
        return [
            ScoreTable(
                f"motion: {found['generated']['num']} generated clips against "
                f"{found['real']['num']} real, {width}×{height}{rate}",
                columns,
                [
                    (title, *_cells(found[key], found["distance"].get(key)))
                    for key, title in _TITLES.items()
                ],
                _CAPTION,
            ),
            ScoreTable(
                "motion: share of pixels by flow, pixels a frame",
                (
                    "",
                    f"below {_COARSE[0]:g}",
                    *(f"to {edge:g}" for edge in _COARSE[1:]),
                    "faster",
                ),
                [
                    (title, *(f"{share:.1%}" for share in _coarse(found[key]["flow"]["shares"])))
                    for key, title in _TITLES.items()
                ],
            ),
        ]

    def headline(self, found: Mapping[str, Any]) -> Mapping[str, float]:
        """Change, still clips, flow W1, warp error and flicker; without those that are None."""
        generated = found["generated"]
        figures = {
            "motion": generated["frame_difference"]["mean"],
            "still clips": generated["still_clips"],
            "flow W1": found["distance"]["generated"]["flow"],
            "warp error": generated["warp_error"],
            "flicker": generated["flicker"],
        }
        return {name: value for name, value in figures.items() if value is not None}


def _common_size(streams: Mapping[str, Mapping[str, np.ndarray]]) -> tuple[int, int]:
    """Height and width of all clips of all streams."""
    kinds = set()
    for key, rows in streams.items():
        if not len(rows["size"]):
            raise ValueError(f"motion needs clips of every kind; there are no {_TITLES[key]} ones")
        for height, width in np.unique(rows["size"], axis=0).tolist():
            kinds.add((rows["change"].shape[1] + 1, height, width))
    if len(kinds) > 1:
        told = ", ".join(f"{t} frames of {width}×{height}" for t, height, width in sorted(kinds))
        raise ValueError(
            f"motion is compared between clips of one length and size; got {told}. Cut all by one "
            "ClipSpec"
        )
    _, height, width = kinds.pop()
    return height, width


def _distances(rows: Mapping[str, np.ndarray], real: Mapping[str, np.ndarray]) -> dict[str, float]:
    """Wasserstein-1 distances, pixels or grey levels, and a divergence, bits.

    Of flow over all pixels; of clips' mean flow, mean flow downwards and frame difference.
    """
    a, b = (of["histogram"].sum(axis=0, dtype=np.int64) for of in (rows, real))
    clips = {
        name: motion.sample_distance(rows[key].mean(axis=1), real[key].mean(axis=1))
        for name, key in (("flow_clips", "flow"), ("down", "down"), ("frame_difference", "change"))
    }
    return {
        "flow": motion.histogram_distance(a, b),
        "flow_js_bits": motion.histogram_divergence(a, b),
        **clips,
    }


def _end_over_start(change: np.ndarray) -> float | None:
    """Mean change in the last third of steps to that in the first; None of a single step."""
    steps = change.shape[1]
    third = max(1, steps // 3)
    return _ratio(change[:, -third:].mean(), change[:, :third].mean()) if steps > 1 else None


def _ratio(part: float, whole: float) -> float | None:
    return float(part / whole) if whole > 0 else None


def _cells(found: Mapping[str, Any], distance: Mapping[str, float] | None) -> list[str]:
    difference, flow = found["frame_difference"], found["flow"]
    return [
        f"{difference['mean']:.2f} ± {difference['std']:.2f}",
        f"{found['still_clips']:.1%}",
        f"{found['still_steps']:.1%}",
        f"{flow['mean']:.3f}",
        _cell(None if distance is None else distance["flow"], 3),
        *(_cell(found[key]) for key in ("warp_error", "flicker", "pan", "end_over_start")),
    ]


def _cell(value: float | None, digits: int = 2) -> str:
    return "–" if value is None else f"{value:.{digits}f}"


def _coarse(shares: Sequence[float]) -> list[float]:
    """Shares of the table's few bins from those of the histogram."""
    cuts = np.searchsorted(motion.EDGES, _COARSE)
    return [float(part.sum()) for part in np.split(np.asarray(shares), cuts)]

"""Curves of several runs as a page draws them: one chart for each term, one line for each run."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

from vidgan_jax.reports.compared import odd_word
from vidgan_jax.reports.runs import Curve
from vidgan_jax.reports.scoring import PageTable

# Of a curve, at most: a screen shows no more, and a page of a long run stays small.
MOST_POINTS = 2000
LOSSES, WATCH, TIME = "losses", "watch", "time"
_FIRST = ("D_real", "D_fake", "D", "G", "reg")
_RATE = "clips_per_s"


@dataclasses.dataclass(frozen=True)
class Chart:
    """One logged quantity of all runs.

    Attributes:
      name: as it was logged.
      group: `LOSSES`, `WATCH`, `TIME`, or what stands before the name's slash.
      curves: by the runs' numbers; of runs that logged it.
    """

    name: str
    group: str
    curves: Mapping[int, Curve]

    @property
    def is_thinned(self) -> bool:
        """Whether there are more points than are drawn."""
        return any(len(curve.steps) > MOST_POINTS for curve in self.curves.values())


def charts_of(logged: Sequence[Mapping[str, Curve]]) -> list[Chart]:
    """Charts in the order in which they are shown: players' losses first, times last.

    Args:
      logged: what each run logged.
    """
    names = {name for curves in logged for name in curves}
    charts = [
        Chart(name, group_of(name), {i: c[name] for i, c in enumerate(logged) if name in c})
        for name in names
    ]
    return sorted(charts, key=_order)


def group_of(name: str) -> str:
    """The charts that a quantity is shown among."""
    if name == _RATE:
        return TIME
    return name.partition("/")[0] if "/" in name else LOSSES


def _order(chart: Chart) -> tuple[int, str, int, str]:
    group = {LOSSES: 0, WATCH: 2, TIME: 3}.get(chart.group, 1)
    place = _FIRST.index(chart.name) if chart.name in _FIRST else len(_FIRST)
    return group, chart.group, place, chart.name


def chart_json(chart: Chart) -> dict[str, Any]:
    """A chart for the page's script; what is not finite is a word."""
    curves = []
    for run, curve in chart.curves.items():
        kept = thin(curve.values)
        curves.append(
            {
                "run": run,
                "steps": [curve.steps[i] for i in kept],
                "values": [_json_value(curve.values[i]) for i in kept],
            }
        )
    return {"name": chart.name, "curves": curves}


def thin(values: Sequence[float], most: int = MOST_POINTS) -> list[int]:
    """Numbers of the points to draw: all, or of each stretch the least and the greatest.

    So spikes stay. The last point stays, too, and the first of each stretch that is not finite.

    Args:
      values: of a curve.
      most: points, where all are finite.
    """
    if len(values) <= most:
        return list(range(len(values)))
    kept = {len(values) - 1}
    num = most // 2 - 1
    for k in range(num):
        stretch = range(k * len(values) // num, (k + 1) * len(values) // num)
        finite = [i for i in stretch if math.isfinite(values[i])]
        if finite:
            kept |= {min(finite, key=values.__getitem__), max(finite, key=values.__getitem__)}
        kept |= set([i for i in stretch if not math.isfinite(values[i])][:1])
    return sorted(kept)


def _json_value(value: float) -> float | str:
    return odd_word(value) or float(f"{value:.6g}")


def last_values(charts: Sequence[Chart], names: Sequence[str]) -> PageTable:
    """What all charts end with, in words: for those who don't see them.

    Args:
      charts: all of a page's.
      names: of the runs.
    """
    rows = [
        [chart.name, *(_last(chart.curves.get(i)) for i in range(len(names)))] for chart in charts
    ]
    return PageTable("", ["last value", *names], rows)


def _last(curve: Curve | None) -> str:
    if curve is None or not curve.steps:
        return "–"
    value = curve.values[-1]
    return f"{odd_word(value) or f'{value:.4g}'} (step {curve.steps[-1]})"

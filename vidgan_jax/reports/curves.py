"""Figures of evaluations, as PNG: a panel for each score, a line for each of what is compared."""

import dataclasses
import itertools
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from vidgan_jax.reports import figures

_COLUMNS = 3
_WIDTH, _HEIGHT = 4.1, 3.0  # of a panel, inches
_LEGEND_HEIGHT = 0.25  # of a line of it, inches
_MARKERS = "os^Dv<>P"
_TICK_OCTAVES = 3
_SIDES = ("generated", "real")  # of a measure's scores


@dataclasses.dataclass(frozen=True)
class Line:
    """Values in order.

    Attributes:
      x: where they are; of a histogram the edges of its bins, one more than values.
      y: the values; None where there is none.
    """

    x: Sequence[float]
    y: Sequence[float | None]


@dataclasses.dataclass(frozen=True)
class Panel:
    """One quantity.

    Attributes:
      title: what it is.
      across: label of the horizontal axis.
      up: label of the vertical axis: what is better, or the unit.
      lines: by the name that the legend has.
      real: its value for real examples; None where that isn't known.
      from_zero: the vertical axis begins at 0.
      log_from: the horizontal axis is logarithmic from there on, and linear below; 0 for linear.
    """

    title: str
    across: str
    up: str
    lines: Mapping[str, Line]
    real: float | None = None
    from_zero: bool = False
    log_from: float = 0.0


def draw(path: Path, panels: Sequence[Panel], *, title: str, marked: bool = False) -> None:
    """Draws panels, three in a row, with one legend: a name has the same colour in all of them.

    Args:
      path: of the PNG.
      panels: at least one.
      title: of the figure.
      marked: mark each value, where values are few.

    Raises:
      ValueError: matplotlib isn't installed, or no panel is given.
      OSError: the file can't be written.
    """
    if not panels:
        raise ValueError("panels is empty: there is nothing to draw")
    columns = min(_COLUMNS, len(panels))
    names = list(dict.fromkeys(name for panel in panels for name in panel.lines))
    height = _HEIGHT * -(-len(panels) // columns) + _LEGEND_HEIGHT * (len(names) + 3)
    figure, axes = figures.subplots(len(panels), _WIDTH * max(columns, 2), height, columns=columns)
    styles = dict(zip(names, _styles(marked=marked), strict=False))
    for axis, panel in zip(axes, panels, strict=True):
        _draw_panel(axis, panel, styles)
    figure.suptitle(title, fontsize=11)
    shown: dict[str, Any] = {}
    for axis in axes:
        handles, said = axis.get_legend_handles_labels()
        shown |= dict(zip(said, handles, strict=True))
    figure.legend(shown.values(), shown.keys(), loc="outside lower center", frameon=False)
    figures.save(figure, path)


def _styles(*, marked: bool) -> Any:
    """Styles without end: first other colours, then other strokes; any two differ somewhere."""
    strokes = ("-", ":", "-.")
    for number in itertools.count():
        turn, colour = divmod(number, len(figures.COLOURS))
        style: dict[str, Any] = {"color": figures.COLOURS[colour], "lw": 1.5}
        style["ls"] = strokes[turn % len(strokes)]
        if marked:
            style |= {"marker": _MARKERS[number % len(_MARKERS)], "ms": 4.5}
        yield style


def _draw_panel(axis: Any, panel: Panel, styles: Mapping[str, Mapping[str, Any]]) -> None:
    for name, line in panel.lines.items():
        values = [float("nan") if value is None else value for value in line.y]
        if len(line.x) == len(values) + 1:
            axis.stairs(values, line.x, label=name, color=styles[name]["color"], lw=1.5)
        else:
            axis.plot(line.x, values, label=name, **styles[name])
    if panel.real is not None:
        axis.axhline(panel.real, label="real examples", **figures.DASHED)
    axis.set_title(panel.title, fontsize=10)
    axis.set_xlabel(panel.across)
    axis.set_ylabel(panel.up)
    if panel.from_zero:
        axis.set_ylim(bottom=0)
    if panel.log_from:
        axis.set_xscale("symlog", base=2, linthresh=panel.log_from)
        end = max(x for line in panel.lines.values() for x in line.x)
        powers = range(math.floor(math.log2(end / panel.log_from) / _TICK_OCTAVES) + 1)
        ticks = [0.0, *(panel.log_from * 2.0 ** (_TICK_OCTAVES * power) for power in powers)]
        axis.set_xticks(ticks, [f"{tick:.2g}" for tick in ticks])
        axis.set_xticks([], minor=True)
        axis.set_xlim(0, end)


def draw_report(path: Path, scores: Mapping[str, Any], *, title: str) -> bool:
    """Draws what one report has as curves: agreement over time, and how fast things move.

    Args:
      path: of the PNG.
      scores: of a report, by measure.
      title: of the figure.

    Returns:
      Whether there was anything to draw, and so a file; images have no curves.

    Raises:
      ValueError: matplotlib isn't installed.
      OSError: the file can't be written.
    """
    panels = report_panels(scores)
    if panels:
        draw(path, panels, title=title)
    return bool(panels)


def report_panels(scores: Mapping[str, Any]) -> list[Panel]:
    """The panels of `draw_report`."""
    return [*_agreement(scores.get("agreement")), *_motion(scores.get("motion"))]


def _agreement(agreement: Mapping[str, Any] | None) -> list[Panel]:
    """Agreement with the label map, frame by frame; none of images."""
    found: list[Panel] = []
    if agreement is None:
        return found
    for key, title in (("accuracy_by_frame", "pixel accuracy"), ("mean_iou_by_frame", "mIoU")):
        lines = {}
        for side in _SIDES:
            if (curve := agreement[side][key]) is not None:
                percent = [None if value is None else 100 * value for value in curve]
                lines[side] = Line(range(1, len(percent) + 1), percent)
        if lines:
            found.append(Panel(title, "frame", "%", lines))
    return found


def _motion(motion: Mapping[str, Any] | None) -> list[Panel]:
    """What changes from frame to frame, and how fast it moves."""
    if motion is None:
        return []
    found = []
    for key, title, unit in (
        ("frame_difference", "change", "grey levels a frame"),
        ("flow", "flow", "pixels a frame"),
    ):
        values = {side: motion[side]["curves"][key] for side in _SIDES}
        lines = {side: Line(range(1, len(curve) + 1), curve) for side, curve in values.items()}
        found.append(Panel(title, "step from frame to frame", unit, lines, from_zero=True))
    edges = motion["bins"]["edges"]
    shares = {side: _by_octave(edges, motion[side]["flow"]["shares"]) for side in _SIDES}
    found.append(
        Panel(
            "pixels by their flow",
            "flow (pixels a frame)",
            "% of the pixels",
            shares,
            from_zero=True,
            log_from=edges[1],
        )
    )
    return found


def _by_octave(edges: Sequence[float], shares: Sequence[float]) -> Line:
    """A histogram of per cent in the bins [0, 2^k], [2^k, 2^(k+1)] and so on."""
    kept = [n for n, edge in enumerate(edges) if not edge or math.log2(edge).is_integer()]
    percent = [100 * math.fsum(shares[a:b]) for a, b in itertools.pairwise(kept)]
    return Line([edges[n] for n in kept], percent)

"""Figures of a study as PNG, and what all figures share.

The one place that knows matplotlib, an extra.
"""

import importlib
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from vidgan_jax import files
from vidgan_jax.reports.comparison import Point, Scores, spread, steps_of, values_at
from vidgan_jax.reports.runs import STARTS, Curve

# Okabe and Ito's colours, which colour-blind readers tell apart.
_BLACK, _ORANGE, _SKY, _GREEN, _BLUE, _RED = (
    "#000000",
    "#E69F00",
    "#56B4E9",
    "#009E73",
    "#0072B2",
    "#D55E00",
)
COLOURS = (_BLACK, _ORANGE, _BLUE, _RED, _GREEN, _SKY)
_START_COLOURS = dict(zip(STARTS, (_BLACK, _ORANGE, _BLUE, _RED, _GREEN), strict=True))
_START_MARKERS = dict(zip(STARTS, "os^Dv", strict=True))
# Figure 4-13's curves; its names.
LOSSES = {"D_real": _SKY, "D_fake": _ORANGE, "D": _BLUE, "G": _RED, "reg": _GREEN}
_LABELS = {
    "D_real": "$D_{real}$",
    "D_fake": "$D_{fake}$",
    "D": "$D$",
    "G": "$G$",
    "reg": "$reg$",
}
_MEASURES = {
    "frames": "Fréchet distance",
    "clips": "Fréchet distance",
    "motion": "change of a pixel (grey levels a frame)",
}
DASHED: dict[str, Any] = {"color": "0.45", "lw": 1.0, "ls": (0, (4, 3))}
_STEPS_3D = "step of 3D training"
_DPI = 130


def require() -> None:
    """Loads matplotlib, drawing into files only.

    Raises:
      ValueError: it isn't installed; the message names the extra.
    """
    try:
        importlib.import_module("matplotlib").use("Agg")
    except ImportError as error:
        raise ValueError(
            "figures need matplotlib, which isn't installed: pip install 'vidgan-jax[study]'"
        ) from error


def available() -> bool:
    """Whether figures can be drawn: matplotlib is there."""
    try:
        require()
    except ValueError:
        return False
    return True


def subplots(
    num: int, width: float, height: float, *, columns: int = 0, label: str = "", **options: Any
) -> tuple[Any, list[Any]]:
    """A figure and its panels, clean: no frame above and at the right, a light grid.

    Args:
      num: of panels.
      width: of the figure, inches.
      height: of the figure, inches.
      columns: panels in a row; 0 for all in one.
      label: of the horizontal axes.
      **options: of `matplotlib.pyplot.subplots`.

    Raises:
      ValueError: matplotlib isn't installed.
    """
    require()
    import matplotlib.pyplot as plt

    columns = columns or num
    figure, grid = plt.subplots(
        -(-num // columns),
        columns,
        figsize=(width, height),
        squeeze=False,
        layout="constrained",
        **options,
    )
    axes = list(grid.flat)
    for axis in axes[num:]:
        axis.remove()
    for axis in axes[:num]:
        axis.spines[["top", "right"]].set_visible(False)
        axis.grid(color="0.9", linewidth=0.6)
        axis.set_axisbelow(True)
        axis.locator_params(axis="x", nbins=4, integer=True)
        axis.set_xlabel(label)
    return figure, axes[:num]


def save(figure: Any, path: Path) -> None:
    """Writes a figure as PNG, atomically, and lets go of it.

    Raises:
      OSError: it can't be written.
    """
    import matplotlib.pyplot as plt

    try:
        with files.atomic_path(path) as temporary:
            figure.savefig(temporary, dpi=_DPI, format="png", metadata={"Software": None})
    finally:
        plt.close(figure)


def draw_losses(
    path: Path, curves: Mapping[str, Mapping[int, Mapping[str, Curve]]], *, title: str, even: float
) -> None:
    """Figure 4-13: the losses of every start side by side, on one scale.

    The first seed is drawn strongly, the others faintly. Where a few spikes are far above all else,
    they leave the picture, and their panel tells how high they go.

    Args:
      path: of the PNG.
      curves: by start, by seed, by the names of `LOSSES`; others are left out.
      title: of the figure.
      even: a term's value where the discriminator can't tell real from fake; NaN for no line.
    """
    width = 2.5 * len(curves) + 1.4
    figure, axes = subplots(len(curves), width, 3.4, label=_STEPS_3D, sharey=True)
    shown: set[str] = set()
    for axis, (start, by_seed) in zip(axes, curves.items(), strict=True):
        for number, seed in enumerate(sorted(by_seed)):
            for name, colour in LOSSES.items():
                if (curve := by_seed[seed].get(name)) is None:
                    continue
                style = {"lw": 1.1, "zorder": 3} if not number else {"lw": 0.7, "alpha": 0.22}
                axis.plot(curve.steps, curve.values, color=colour, **style)
                shown.add(name)
        if not math.isnan(even):
            axis.axhline(even, zorder=1, **DASHED)
        axis.set_title(start, fontsize=10)
    low, high = _range([c for by in curves.values() for cs in by.values() for c in _losses(cs)])
    axes[0].set_ylim(low, high)
    axes[0].set_ylabel("loss (mean of a batch)")
    for axis, by_seed in zip(axes, curves.values(), strict=True):
        _tell_beyond(axis, [c for cs in by_seed.values() for c in _losses(cs)], high)
    figure.suptitle(title, fontsize=11)
    figure.legend(handles=_loss_handles(shown, even), loc="outside right center", frameon=False)
    save(figure, path)


def _losses(curves: Mapping[str, Curve]) -> list[Curve]:
    return [curves[name] for name in LOSSES if name in curves]


def _loss_handles(shown: set[str], even: float) -> list[Any]:
    from matplotlib.lines import Line2D

    handles = [Line2D([], [], color=LOSSES[n], label=_LABELS[n]) for n in LOSSES if n in shown]
    if not math.isnan(even):
        handles.append(Line2D([], [], label=f"even odds\n({even:.3g})", **DASHED))
    return handles


def _range(curves: Sequence[Curve]) -> tuple[float, float]:
    """A scale for all values, but for a hundredth of spikes that would flatten the rest."""
    values = sorted(v for curve in curves for v in curve.values if math.isfinite(v))
    if not values:
        return 0.0, 1.0
    low, usual = min(0.0, values[0]), values[math.ceil(0.99 * (len(values) - 1))]
    high = values[-1] if values[-1] - low <= 3 * (usual - low) else low + 1.5 * (usual - low)
    margin = 0.04 * (high - low) or 1.0
    return low - margin, high + margin


def _tell_beyond(axis: Any, curves: Sequence[Curve], high: float) -> None:
    largest = max((v for curve in curves for v in curve.values), default=-math.inf)
    if largest > high:
        said = f"spikes to {largest:.3g} ↑"
        box = {"facecolor": "white", "edgecolor": "none", "alpha": 0.85, "pad": 1.5}
        place = {"transform": axis.transAxes, "ha": "right", "va": "top"}
        axis.text(0.99, 0.98, said, fontsize=8, bbox=box, zorder=4, **place)


def draw_scores(path: Path, points: Sequence[Point], floor: Scores, *, title: str) -> None:
    """Distances and motion over steps: means over seeds, bands from the least to the greatest.

    Args:
      path: of the PNG.
      points: of one family.
      floor: scores of real examples.
      title: of the figure.
    """
    figure, axes = subplots(3, 12.4, 3.9, label=_STEPS_3D)
    from matplotlib.ticker import LogLocator, NullFormatter

    for axis, (measure, label) in zip(axes, _MEASURES.items(), strict=True):
        for start in (s for s in STARTS if any(p.start == s for p in points)):
            _draw_spreads(axis, points, start, measure)
        axis.axhline(getattr(floor, measure), label="real examples", **DASHED)
        if measure == "motion":  # a still clip has none
            axis.set_yscale("symlog", linthresh=1.0, linscale=0.6)
            axis.set_ylim(bottom=0)
        else:
            axis.set_yscale("log")
            # Labels within a decade, too: a study's distances may lie in one.
            axis.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axis.yaxis.set_minor_formatter(NullFormatter())
        axis.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
        axis.set_title(measure.capitalize(), fontsize=10)
        axis.set_ylabel(label)
    figure.suptitle(title, fontsize=11)
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside right center", frameon=False)
    save(figure, path)


def _draw_spreads(axis: Any, points: Sequence[Point], start: str, measure: str) -> None:
    """One start's line and band."""
    steps = steps_of(points, start)
    spreads = [spread(values_at(points, measure, start, step).values()) for step in steps]
    style = {"color": _START_COLOURS[start], "marker": _START_MARKERS[start], "ms": 4.5, "lw": 1.5}
    axis.plot(steps, [s.mean for s in spreads], label=start, **style)
    low, high = [s.low for s in spreads], [s.high for s in spreads]
    axis.fill_between(steps, low, high, color=_START_COLOURS[start], alpha=0.14, lw=0)

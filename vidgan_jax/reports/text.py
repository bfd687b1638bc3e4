"""A study's report in Markdown."""

import math
from collections.abc import Mapping, Sequence

from vidgan_jax.reports import comparison
from vidgan_jax.reports.comparison import BySeed, Pair, Point, Scores, Spread
from vidgan_jax.reports.runs import SCRATCH, STARTS

MEASURES = {"frames": "Frames", "clips": "Clips"}

METHOD = """\
Smaller is better, 0 is equal. The distance is Fréchet's between Gaussians fitted to features of
generated and of real examples, as in FID (Heusel et al. 2017), but the features are those of a
**fixed network of random filters** (`vidgan_jax/metrics/features.py`, version {features}):
statistics of colour and texture for frames; for clips one half is of what is shown, the other of
what changes from frame to frame. It compares the runs below with one another; it is **not
comparable with published FID or FVD**, and knows no objects. Each value is of {num} generated
examples (the {generator} generator, latents of seed {seed}) and {num} real ones, cut as for
training. *Real against real* is the same distance between two draws of real examples of
the same videos: what a generator would get that can't be told from the data. *Motion* is the mean
change of a pixel from a frame to the next, in grey levels of 0–255: read it beside the clips'
distance, for flicker is motion, too."""

LIMITS = """\
- Seeds change everything random: parameters, latents, order of the data, and for inflated starts
  the 2D run that they come from. The spread is over whole runs, not over measurements of one.
- Another draw of latents and real examples (`--seed`) moves a value by a tenth to a fifth at 256
  examples. All checkpoints are scored with the same draws, so their differences move less; small
  ones should still be seen with another seed, or more examples, before they are believed.
- All 3D runs of a family have the same number of steps and the same batch size. Inflated starts had
  2D training besides (the first table has its time): starts are compared at equal 3D budgets, not
  at equal total cost.
- "By chance one time in k" is how probable it is that all seeds agree where two starts are equally
  good (a sign test, two-sided). Many pairs and measures are compared, so the agreement of few
  seeds is weak evidence.
- Generators are compared with the data they were trained on: nothing here tells copying from
  generalising."""


def number(value: float | None) -> str:
    """A distance or a motion, three digits of it."""
    if value is None or math.isnan(value):
        return "–"
    return f"{value:.3g}" if abs(value) < 100 else f"{value:.0f}"


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table, its first column to the left, the others to the right."""
    lines = [" | ".join(header), " | ".join(["---", *["---:"] * (len(header) - 1)])]
    lines += [" | ".join(row) for row in rows]
    return "\n".join(f"| {line} |" for line in lines)


def spread_cell(s: Spread | None) -> str:
    """Mean ± standard deviation (least–greatest) over seeds."""
    if s is None:
        return "–"
    if s.std is None:
        return number(s.mean)
    return f"{number(s.mean)} ± {number(s.std)} ({number(s.low)}–{number(s.high)})"


def starts_of(points: Sequence[Point]) -> list[str]:
    """The starts that points are of, in the order of reports."""
    return [start for start in STARTS if any(p.start == start for p in points)]


def score_table(points: Sequence[Point], measure: str, real: float | None) -> str:
    """A measure over steps, a row for each start; `real` is what real examples have."""
    steps = comparison.steps_of(points)
    rows = []
    for start in starts_of(points):
        found = [comparison.values_at(points, measure, start, step) for step in steps]
        cells = [spread_cell(comparison.spread(v.values()) if v else None) for v in found]
        rows.append([start, *cells])
    name = "real" if measure == "motion" else "real against real"
    rows.append([name, *[number(real)] * len(steps)])
    return table(["start", *(f"step {step}" for step in steps)], rows)


def pair_table(pairs: Sequence[Pair]) -> str:
    """Paired differences of starts, seed by seed."""
    rows = []
    for pair in pairs:
        s = comparison.spread(pair.differences.values())
        agree = f"{pair.in_favour} of {s.num}"
        each = ", ".join(f"{d:+.3g}" for d in pair.differences.values())
        rows.append([f"{pair.better} before {pair.worse}", number(s.mean), each, agree])
    return table(["pair", "mean difference", "for each seed", "seeds in favour"], rows)


def verdict(values: Mapping[str, BySeed], what: str) -> str:
    """Which start wins, by how much, and whether the seeds agree; one Markdown bullet.

    Args:
      values: by start, then by seed; smaller is better.
      what: was compared, as a sentence's beginning.
    """
    order = comparison.ranking(values)
    if not order:
        return f"- {what}: nothing to compare yet."
    best = comparison.spread(values[order[0]].values())
    said = f"- {what}: **{order[0]}** has the smallest mean, {spread_cell(best)}"
    if len(order) == 1:
        return f"{said}; there is nothing to compare it with."
    second = comparison.spread(values[order[1]].values())
    said += f", then {order[1]}, {spread_cell(second)}. "
    pair = next((p for p in comparison.paired(values) if {p.better, p.worse} == {*order[:2]}), None)
    if pair is None:
        return f"{said}They have no seed in common, so nothing is decided."
    return said + agreement(pair)


def agreement(pair: Pair) -> str:
    """Whether seeds separate two starts, in a sentence."""
    each = ", ".join(f"{d:+.3g}" for d in pair.differences.values())
    num = len(pair.differences)
    which = f"{pair.worse} − {pair.better}, seed by seed, is {each}"
    if num == 1:
        return f"{which}: of a single seed nothing follows."
    if pair.separated:
        odds = f"by chance one time in {round(1 / pair.chance)}"
        return f"{which}: all {num} seeds agree ({odds} if both were equally good)."
    return (
        f"{which}: the seeds disagree ({pair.in_favour} of {num} in favour), so this study "
        "**does not separate** the two."
    )


def against_scratch(values: Mapping[str, BySeed]) -> str:
    """What the study is for: every inflated start against training from scratch; one bullet."""
    pairs = [p for p in comparison.paired(values) if SCRATCH in (p.better, p.worse)]
    if not pairs:
        return "- Inflated against scratch: not run."
    said = []
    for pair in pairs:
        inflated = pair.better if pair.worse == SCRATCH else pair.worse
        num = len(pair.differences)
        wins = pair.in_favour if pair.better == inflated else num - pair.in_favour
        said.append(f"{inflated} is better for {wins} of {num} seeds")
    return f"- Inflated against scratch, at the last step: {'; '.join(said)}."


def verdicts(points: Sequence[Point]) -> list[str]:
    """The paragraph on which start wins, for frames and clips: at the end, and all the way."""
    steps = comparison.common_steps(points)
    starts = starts_of(points)
    if not steps:
        return ["No step was reached by all starts: nothing can be compared yet."]
    said = []
    for measure, name in MEASURES.items():
        last = last_values(points, measure, steps[-1])
        said += [f"**{name}**", "", verdict(last, f"At the last step ({steps[-1]})")]
        if len(steps) > 1:
            area = {s: comparison.areas(points, measure, s, steps) for s in starts}
            way = f"Mean height of the curve, steps {steps[0]} to {steps[-1]}"
            said.append(verdict(area, way))
        said += [against_scratch(last), ""]
    return said


def summary(families: Mapping[str, Sequence[Point]]) -> str:
    """The report in a few lines: who has the smallest mean at the end, and whether seeds agree."""
    lines = []
    for family, points in families.items():
        steps = comparison.common_steps(points)
        for measure, name in MEASURES.items() if steps else ():
            last = last_values(points, measure, steps[-1])
            order = comparison.ranking(last)
            means = [
                f"{start} {number(comparison.spread(last[start].values()).mean)}" for start in order
            ]
            said = f"- {family}, {name.lower()}, step {steps[-1]}: {', '.join(means)}"
            pairs = [p for p in comparison.paired(last) if {p.better, p.worse} == {*order[:2]}]
            for pair in pairs:
                said += (
                    f" (first and second: {pair.in_favour} of {len(pair.differences)} seeds agree)"
                )
            lines.append(f"{said}.")
    head = "Mean Fréchet distances at the last step, best first; details and doubts are below."
    return "\n".join([head, "", *lines])


def last_values(points: Sequence[Point], measure: str, step: int) -> dict[str, BySeed]:
    """A measure at a step, by start and seed."""
    return {s: comparison.values_at(points, measure, s, step) for s in starts_of(points)}


def family_section(
    family: str, points: Sequence[Point], floor: Scores, sheets: Mapping[str, str]
) -> str:
    """All of one family.

    Args:
      family: its name.
      points: its scores.
      floor: scores of real examples.
      sheets: names of the contact sheets without suffix, by what they show.
    """
    steps = comparison.common_steps(points)
    parts = [f"## {family}", "### Which wins", "\n".join(verdicts(points)).strip()]
    parts += ["### Losses", f"![losses](losses_{family}.png)"]
    parts += ["### Distances and motion", f"![distances](scores_{family}.png)"]
    parts.append("Mean ± standard deviation (least–greatest) over seeds.")
    for measure, name in (*MEASURES.items(), ("motion", "Motion")):
        parts += [f"**{name}**", score_table(points, measure, getattr(floor, measure))]
    if steps:
        parts.append(f"Paired differences at step {steps[-1]}, the worse minus the better:")
        for measure, name in MEASURES.items():
            if pairs := comparison.paired(last_values(points, measure, steps[-1])):
                parts += [f"**{name}**", pair_table(pairs)]
    parts.append("### Samples")
    parts.append("The same latents for all starts, at the last checkpoint; one row is a clip.")
    for shown, sheet in sheets.items():
        parts.append(f"{shown} ([video]({sheet}.mp4))\n\n![{shown}]({sheet}.png)")
    return "\n\n".join(parts)

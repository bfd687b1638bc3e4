"""Comparing ways to start training over several seeds: spreads, paired differences, winners."""

import dataclasses
import itertools
import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

# A value for each seed.
BySeed = Mapping[int, float]


@dataclasses.dataclass(frozen=True)
class Scores:
    """Distances of examples from real ones, smaller is nearer, and how much they move.

    Attributes:
      frames: Fréchet distance of features of single frames.
      clips: the same of clips.
      motion: of the examples themselves, grey levels (0 to 255) a frame.
    """

    frames: float
    clips: float
    motion: float


@dataclasses.dataclass(frozen=True)
class Point:
    """The scores of one checkpoint.

    Attributes:
      start: how its run began: "scratch", "thesis", "average", "central".
      seed: of the run.
      step: of the checkpoint.
      scores: of what it generates.
    """

    start: str
    seed: int
    step: int
    scores: Scores


@dataclasses.dataclass(frozen=True)
class Spread:
    """Values over seeds.

    Attributes:
      mean: of them.
      std: sample standard deviation; None of a single value.
      low: smallest.
      high: largest.
      num: of them.
    """

    mean: float
    std: float | None
    low: float
    high: float
    num: int


def spread(values: Iterable[float]) -> Spread:
    """Mean, sample standard deviation and range.

    Raises:
      ValueError: there are no values.
    """
    found = list(values)
    if not found:
        raise ValueError("a spread needs at least one value")
    std = statistics.stdev(found) if len(found) > 1 else None
    return Spread(statistics.fmean(found), std, min(found), max(found), len(found))


def values_at(points: Iterable[Point], measure: str, start: str, step: int) -> dict[int, float]:
    """A measure ("frames", "clips", "motion") of a start's checkpoints of one step, by seed."""
    return {
        p.seed: getattr(p.scores, measure) for p in points if (p.start, p.step) == (start, step)
    }


def steps_of(points: Iterable[Point], start: str | None = None) -> list[int]:
    """All steps that have points, ascending; of one start only where it is given."""
    return sorted({p.step for p in points if start in (None, p.start)})


def common_steps(points: Sequence[Point]) -> list[int]:
    """Steps that every start was scored at, ascending, for at least one seed.

    Step 0 isn't among them where a start has none: from scratch there is nothing to score yet.
    """
    starts = {p.start for p in points}
    return sorted(set.intersection(*({*steps_of(points, start)} for start in starts)))


def areas(points: Sequence[Point], measure: str, start: str, steps: Sequence[int]) -> BySeed:
    """The mean height of a start's curve over `steps` by the trapezoid rule, by seed.

    Seeds that lack one of the steps are left out. Of one step it is the value there.
    """
    at = [values_at(points, measure, start, step) for step in steps]
    whole = set.intersection(*(set(values) for values in at)) if at else set()
    found = {}
    for seed in sorted(whole):
        heights = [values[seed] for values in at]
        width = steps[-1] - steps[0]
        found[seed] = float(np.trapezoid(heights, steps)) / width if width else heights[0]
    return found


@dataclasses.dataclass(frozen=True)
class Pair:
    """Two starts compared seed by seed.

    Attributes:
      better: the one of the smaller mean over the seeds that both have.
      worse: the other one.
      differences: worse − better, for each seed that both have.
    """

    better: str
    worse: str
    differences: BySeed

    @property
    def in_favour(self) -> int:
        """Seeds for which `better` is the better one."""
        return sum(d > 0 for d in self.differences.values())

    @property
    def separated(self) -> bool:
        """Whether at least two seeds were compared, and all agree."""
        return len(self.differences) > 1 and self.in_favour == len(self.differences)

    @property
    def chance(self) -> float:
        """How probable that all seeds agree is where both are equally good: 2·2⁻ⁿ."""
        return min(1.0, 2.0 ** (1 - len(self.differences)))


def paired(values: Mapping[str, BySeed]) -> list[Pair]:
    """All pairs of starts that have seeds in common, best means first.

    Args:
      values: by start, then by seed; smaller is better.
    """
    pairs = []
    for a, b in itertools.combinations(values, 2):
        seeds = sorted(values[a].keys() & values[b].keys())
        if not seeds:
            continue
        total = sum(values[b][seed] - values[a][seed] for seed in seeds)
        better, worse = (a, b) if total >= 0 else (b, a)
        differences = {seed: values[worse][seed] - values[better][seed] for seed in seeds}
        pairs.append(Pair(better, worse, differences))
    order = ranking(values)
    return sorted(pairs, key=lambda p: (order.index(p.better), order.index(p.worse)))


def ranking(values: Mapping[str, BySeed]) -> list[str]:
    """Starts that have values, by their means, the smallest first."""
    means = {start: statistics.fmean(found.values()) for start, found in values.items() if found}
    return sorted(means, key=lambda start: means[start])


def numbers(points: Sequence[Point]) -> dict[str, Any]:
    """All comparisons of one family, for JSON: by measure, at every common step and over all.

    Returns:
      `{"frames": {"step 20": {"spreads": {start: …}, "pairs": […]}, …, "area": …}, "clips": …}`.
    """
    steps = common_steps(points)
    starts = sorted({p.start for p in points})
    found: dict[str, Any] = {}
    for measure in ("frames", "clips"):
        compared = {
            f"step {step}": {s: values_at(points, measure, s, step) for s in starts}
            for step in steps
        }
        if len(steps) > 1:
            compared["area"] = {s: dict(areas(points, measure, s, steps)) for s in starts}
        found[measure] = {what: _numbers(values) for what, values in compared.items()}
    return found


def _numbers(values: Mapping[str, BySeed]) -> dict[str, Any]:
    spreads = {s: dataclasses.asdict(spread(v.values())) for s, v in values.items() if v}
    pairs = [
        {**dataclasses.asdict(pair), "in_favour": pair.in_favour, "separated": pair.separated}
        for pair in paired(values)
    ]
    return {"spreads": spreads, "pairs": pairs}

"""Made-up scores to report on."""

from collections.abc import Mapping, Sequence

from vidgan_jax.reports.comparison import Point, Scores


def make_points(frames: Mapping[str, Mapping[int, Sequence[float]]]) -> list[Point]:
    """Scores by start and step, a value a seed from 0 on; clips are 10, motion 100 times frames."""
    return [
        Point(start, seed, step, Scores(value, 10 * value, 100 * value))
        for start, by_step in frames.items()
        for step, values in by_step.items()
        for seed, value in enumerate(values)
    ]


# Scratch has no step 0, and one seed stopped early.
POINTS = make_points(
    {
        "scratch": {10: [8, 6, 7], 20: [4, 5]},
        "average": {0: [2, 2, 2], 10: [2, 3, 4], 20: [1, 2, 6]},
        "central": {0: [2, 2, 2], 10: [3, 4, 5], 20: [2, 3, 4]},
    }
)

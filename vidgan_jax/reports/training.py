"""What was trained, in Markdown: a table, and what must be known to read the scores."""

import itertools
import math
from collections.abc import Sequence

from vidgan_jax.reports.runs import DESCRIPTIONS, IMAGES, Curve, Run
from vidgan_jax.reports.text import number, table

_MEMORY = 0.02  # share of the starting weights in the average that is worth a word
_HEADER = (
    "run",
    "seeds",
    "steps",
    "batch",
    "example",
    "still-clip error",
    "temporal noise",
    "s a step",
    "s in all",
)


def table_of(runs: Sequence[Run]) -> str:
    """A row for each family and start: seeds, steps, sizes, the start's still-clip error, times.

    Args:
      runs: those of one family and start in a row.
    """
    rows = []
    for (family, start), group in itertools.groupby(runs, lambda run: (run.family, run.start)):
        same = list(group)
        config = same[0].meta()["config"]
        model = config["model"]
        steps = sorted({run.reached for run in same})
        frames = f"{model['num_frames']}×" if model["num_frames"] else ""
        errors = [error for run in same if (error := run.still_clip_error()) is not None]
        noise = same[0].inflation().get("temporal_noise")
        seconds = step_seconds(same)
        rows.append(
            [
                f"{family}, {start}",
                ", ".join(str(run.seed) for run in same),
                "–".join(map(str, steps)),
                str(config["train"]["batch_size"]),
                f"{frames}{model['size']}×{model['size']}",
                f"{max(errors):.2g}" if errors else "–",
                "–" if noise is None else f"{noise:g}",
                number(seconds),
                number(seconds * steps[-1]),
            ]
        )
    return table(_HEADER, rows)


def starts(runs: Sequence[Run]) -> str:
    """What the starts' names mean, those that were run."""
    run = {run.start for run in runs}
    return "\n".join(f"- *{name}*: {said}" for name, said in DESCRIPTIONS.items() if name in run)


def step_seconds(runs: Sequence[Run]) -> float:
    """Mean seconds of a step after compilation; NaN where nothing was logged."""
    found = []
    for run in runs:
        rates = run.curves().get("clips_per_s", Curve([], [])).values
        if rates and rates[-1] > 0:
            found.append(run.meta()["config"]["train"]["batch_size"] / rates[-1])
    return sum(found) / len(found) if found else math.nan


def unfinished(runs: Sequence[Run]) -> str:
    """Names 3D runs that ended early: without them, their start looks better than it is."""
    said = []
    for run in runs:
        reached, wanted = run.reached, run.meta()["config"]["train"]["num_steps"]
        if run.start != IMAGES and reached < wanted:
            said.append(f"{run.name} (step {reached} of {wanted})")
    if not said:
        return ""
    return (
        f"**Not finished, or diverged: {'; '.join(said)}.** Later steps are compared without them, "
        "which flatters their start."
    )


def memory(runs: Sequence[Run]) -> str:
    """Warns where the averaged generator still remembers its start, which harms a random one."""
    said = []
    for family, group in itertools.groupby(runs, lambda run: run.family):
        clip_runs = [run for run in group if run.start != IMAGES]
        decay = clip_runs[0].meta()["config"]["train"]["ema_decay"]
        steps = sorted({step for run in clip_runs for step in run.checkpoints() if step})
        shares = {step: decay**step for step in (*steps[:1], *steps[-1:])}
        if max(shares.values(), default=0.0) > _MEMORY:
            told = ", ".join(f"{share:.0%} at step {step}" for step, share in shares.items())
            said.append(f"{family} (decay {decay:g}): {told}")
    if not said:
        return ""
    return (
        "The averaged generator, which is scored, still has this share of the weights that 3D "
        f"training started from: {'; '.join(said)}. That favours good starts; `--no-ema` scores "
        "the last weights instead."
    )

"""The runs of a study on disk.

ROOT/data                          the data set
ROOT/FAMILY/seed0/2d               workdir of the 2D run
ROOT/FAMILY/seed0/start_average    its inflated checkpoint
ROOT/FAMILY/seed0/average          workdir of the 3D run that started there
ROOT/FAMILY/seed0/scratch          workdir of the 3D run that started from nothing
ROOT/FAMILY/seed1/…
"""

import dataclasses
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vidgan_jax.train.checkpoint import FOLDER
from vidgan_jax.train.writers import METRICS

SCRATCH = "scratch"
# What 3D training starts from, in the order in which reports show it.
DESCRIPTIONS = {
    SCRATCH: "random weights",
    "thesis": "inflated by the thesis's formula, which spectral norm throws off",
    "average": "inflated exactly, kernels spread evenly over time",
    "central": "inflated exactly, kernels on their middle tap",
    "noise": "inflated exactly, kernels spread evenly, and noise that still clips don't see",
}
STARTS = tuple(DESCRIPTIONS)
IMAGES = "2d"

_SEED = re.compile(r"seed(\d+)")
# Written by the loop beside the checkpoints.
_CONFIG = "config.json"
# Written by vidgan_jax.inflate beside what it inflated.
_INFLATION = "inflation.json"


@dataclasses.dataclass(frozen=True)
class Curve:
    """One logged quantity.

    Attributes:
      steps: at which it was logged, ascending.
      values: as many.
    """

    steps: list[int]
    values: list[float]


@dataclasses.dataclass(frozen=True)
class Run:
    """One training run of a study.

    Attributes:
      family: of models, as its folder is named.
      seed: of the run.
      start: one of `STARTS`, or `IMAGES`.
      workdir: the run's folder.
    """

    family: str
    seed: int
    start: str
    workdir: Path

    @property
    def name(self) -> str:
        """As a user would say it."""
        return f"{self.family}, seed {self.seed}, {self.start}"

    @property
    def origin(self) -> Path | None:
        """Where the inflated weights lie that the run started from."""
        inflated = self.start not in (SCRATCH, IMAGES)
        return self.workdir.with_name(f"start_{self.start}") if inflated else None

    def checkpoints(self) -> dict[int, Path]:
        """Whole checkpoints by step, ascending; those of step 0 are what the run started from."""
        found = _checkpoints(self.workdir)
        if self.origin is not None:
            found = {**_checkpoints(self.origin), **found}
        return dict(sorted(found.items()))

    @property
    def reached(self) -> int:
        """The newest checkpoint's step; 0 without any."""
        return max(self.checkpoints(), default=0)

    def meta(self) -> Mapping[str, Any]:
        """What the run says of itself: `config`, `fps`, `code`.

        Raises:
          ValueError: its file is missing or damaged.
        """
        path = self.workdir / _CONFIG
        try:
            meta = json.loads(path.read_bytes())
            meta["config"]["train"]["num_steps"], meta["fps"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ValueError(f"{path} can't be read ({error}): is {self.workdir} a run?") from error
        return meta

    def inflation(self) -> Mapping[str, Any]:
        """What inflation told of the start: `mode`, `profile`, `networks` …; {} if nothing."""
        try:
            return json.loads((self.origin / _INFLATION).read_bytes()) if self.origin else {}
        except (OSError, ValueError):
            return {}

    def still_clip_error(self) -> float | None:
        """How far the start was from the 2D GAN on still clips: ‖3D − 2D‖ / ‖2D‖, the largest.

        None where there is no start, or inflation didn't measure it.
        """
        try:
            return max(float(n["relative"]) for n in self.inflation()["networks"].values())
        except (ValueError, KeyError, TypeError, AttributeError):
            return None

    def curves(self) -> dict[str, Curve]:
        """What the run logged, as `read_curves` tells it.

        Raises:
          ValueError: a line is damaged.
        """
        return read_curves(self.workdir)


def read_curves(workdir: Path) -> dict[str, Curve]:
    """What a run logged, by name; terms that were not due at a step have no value there.

    Raises:
      ValueError: a line is damaged.
    """
    path = workdir / METRICS
    curves: dict[str, Curve] = {}
    if not path.exists():
        return curves
    # A run that is being written, or was cut off, may end within a line.
    for number, line in enumerate(path.read_bytes().split(b"\n")[:-1], start=1):
        try:
            scalars = json.loads(line)
            step = scalars.pop("step")
        except (ValueError, KeyError, AttributeError) as error:
            raise ValueError(f"{path}, line {number} is damaged; remove it") from error
        for name, value in scalars.items():
            curve = curves.setdefault(name, Curve([], []))
            curve.steps.append(step)
            curve.values.append(value)
    return curves


def _checkpoints(workdir: Path) -> dict[int, Path]:
    states = (workdir / FOLDER).glob("*/state")  # orbax gives unfinished ones another name
    return {int(s.parent.name): s.parent for s in states if s.parent.name.isdigit()}


def find_runs(root: Path) -> list[Run]:
    """All runs below a folder that began, by family, start and seed; 2D ones first.

    Raises:
      ValueError: there is no 3D run with a checkpoint.
    """
    found = []
    for folder in sorted(root.glob("*/seed*")):
        if not (match := _SEED.fullmatch(folder.name)):
            continue
        for start in (IMAGES, *STARTS):
            run = Run(folder.parent.name, int(match[1]), start, folder / start)
            if (run.workdir / _CONFIG).exists():
                found.append(run)
    if not any(run.checkpoints() for run in found if run.start != IMAGES):
        raise ValueError(
            f"no trained 3D run in {root}: workdirs are looked for as FAMILY/seedN/START, where "
            f"START is one of {', '.join(STARTS)}; launch/inflation_study.sh makes them"
        )
    order = (IMAGES, *STARTS)
    return sorted(found, key=lambda run: (run.family, order.index(run.start), run.seed))

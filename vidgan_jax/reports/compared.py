"""The runs that a comparison is of: found, named, read; what their configs differ in."""

import dataclasses
import json
import math
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vidgan_jax import files
from vidgan_jax.experiment import Experiment
from vidgan_jax.reports.runs import Curve, read_curves
from vidgan_jax.train import checkpoint
from vidgan_jax.train.weights import Weights, experiment_of, load_weights
from vidgan_jax.types import PyTree

_MISSING = "–"


@dataclasses.dataclass(frozen=True)
class Place:
    """Where a run lies.

    Attributes:
      given: as the user said it.
      checkpoint: the folder that this means.
      is_workdir: whether the user gave the run, and not a single checkpoint of it.
    """

    given: str
    checkpoint: Path
    is_workdir: bool

    @property
    def workdir(self) -> Path:
        """The run's folder."""
        parent = self.checkpoint.parent
        return parent.parent if parent.name == checkpoint.FOLDER else parent

    @property
    def step(self) -> int:
        """Of the checkpoint."""
        return int(self.checkpoint.name)


@dataclasses.dataclass(frozen=True)
class Compared:
    """A run, ready to be run.

    Attributes:
      name: on the page; no other run has it.
      place: where it lies.
      weights: without the discriminator, which a comparison does not need.
      experiment: that they are of.
      num_params: of the generator and the discriminator.
      identities: what tells the weights from all others: of the averaged generator (True) and of
        the last one (False).
    """

    name: str
    place: Place
    weights: Weights
    experiment: Experiment
    num_params: tuple[int, int]
    identities: Mapping[bool, str]

    @property
    def fps(self) -> float:
        """Frames a second of its clips."""
        return float(self.weights.meta["fps"])

    @property
    def batch_size(self) -> int:
        """Examples of a step."""
        return self.experiment.config.train.batch_size

    def curves(self) -> dict[str, Curve]:
        """What the run logged: all of it, or until the checkpoint where that was given.

        Raises:
          ValueError: a line is damaged.
        """
        found = read_curves(self.place.workdir)
        for name, curve in found.items():
            if not all(_is_number(x) for x in (*curve.steps, *curve.values)):
                where = self.place.workdir
                raise ValueError(f"{where}: what it logged of {name!r} has more than numbers in it")
        if self.place.is_workdir:
            return found
        cut = {name: _until(curve, self.place.step) for name, curve in found.items()}
        return {name: curve for name, curve in cut.items() if curve.steps}


def find_places(given: Sequence[str]) -> list[Place]:
    """The checkpoints that paths mean.

    Raises:
      ValueError: a path has none in it, or two mean the same one.
    """
    places: dict[Path, Place] = {}
    for path in given:
        found = checkpoint.find(path)
        whole = found if files.is_remote(found) else found.resolve()
        if (same := places.get(whole)) is not None:
            raise ValueError(f"{path} and {same.given} are the same checkpoint; give it once")
        places[whole] = Place(str(path), whole, is_workdir=files.absolute(path) != found)
    return list(places.values())


def names_of(places: Sequence[Place], names: Sequence[str] | None) -> list[str]:
    """A name for each run: as given, or the shortest part of its path that tells it from others.

    Args:
      places: of the runs.
      names: given by the user, as many; None for none.

    Raises:
      ValueError: too few, too many, empty, or the same twice.
    """
    if names is None:
        return _shortest(places)
    if len(names) != len(places):
        raise ValueError(f"--names gives {len(names)} names for {len(places)} runs; give as many")
    cleaned = [_printable(name) for name in names]
    if "" in cleaned:
        raise ValueError("--names: a name is empty")
    if twice := [name for i, name in enumerate(cleaned) if name in cleaned[:i]]:
        raise ValueError(f"--names: {twice[0]!r} is given twice; runs need names of their own")
    return cleaned


def _shortest(places: Sequence[Place]) -> list[str]:
    workdirs = sorted({place.workdir for place in places}, key=str)
    paths = [path.parts[1:] for path in workdirs]  # without the root
    parts = dict(zip(workdirs, _distinguishing(paths), strict=True))
    names = []
    for place in places:
        name = _printable("/".join(parts[place.workdir]))
        if sum(other.workdir == place.workdir for other in places) > 1:
            name += f", step {place.step}"
        names.append(name)
    # What can't be printed may have told two apart.
    return [name if names.count(name) == 1 else f"{name} ({i})" for i, name in enumerate(names)]


def _distinguishing(paths: Sequence[Sequence[str]]) -> list[Sequence[str]]:
    """Of each path the same few parts, counted from the end, in which no two agree.

    Args:
      paths: no two of which are the same.
    """
    longest = max(len(path) for path in paths)
    for num in range(1, longest):
        for last in range(longest - num + 1):
            found = [path[max(0, len(path) - last - num) : len(path) - last] for path in paths]
            if all(found) and len({tuple(parts) for parts in found}) == len(paths):
                return found
    return list(paths)


def _printable(text: str) -> str:
    """On one line, and in Unicode whatever bytes a file's name has."""
    return " ".join(os.fsencode(text).decode(errors="replace").split())


def open_runs(
    places: Sequence[Place],
    names: Sequence[str],
    *,
    averaged: bool,
    identify: Callable[[PyTree], str],
) -> list[Compared]:
    """Reads all runs' generators.

    Args:
      places: of the runs.
      names: as many.
      averaged: keep the averaged parameters, and not the last ones.
      identify: what tells variables from others, as scores have it.

    Raises:
      CheckpointError: one is damaged, or of a config that this version does not know.
    """
    opened = []
    for place, name in zip(places, names, strict=True):
        weights = load_weights(place.checkpoint)
        exp = experiment_of(weights)
        num_params = (count_params(weights.gen["params"]), count_params(weights.disc["params"]))
        identities = {True: identify(weights.ema), False: identify(weights.gen)}
        # Many runs are held at once.
        gen, ema = ({}, weights.ema) if averaged else (weights.gen, {})
        weights = dataclasses.replace(weights, gen=gen, disc={}, ema=ema)
        opened.append(Compared(name, place, weights, exp, num_params, identities))
    return opened


def count_params(params: PyTree) -> int:
    """Numbers among parameters."""
    if isinstance(params, Mapping):
        return sum(count_params(inner) for inner in params.values())
    return int(np.size(params))


def differences(configs: Sequence[Mapping[str, Any]]) -> dict[str, list[str]]:
    """The fields in which configs differ: "section.field", with each one's value as JSON.

    A field that a config lacks is a dash.

    Args:
      configs: as checkpoints have them.
    """
    flat = [_flatten(config) for config in configs]
    found = {}
    for name in dict.fromkeys(name for fields in flat for name in fields):
        values = [fields.get(name, _MISSING) for fields in flat]
        if len(set(values)) > 1:
            found[name] = values
    return found


def _flatten(value: Mapping[str, Any], above: str = "") -> dict[str, str]:
    """Leaves by their dotted names, in words."""
    flat: dict[str, str] = {}
    for name, inner in value.items():
        if isinstance(inner, Mapping):
            flat |= _flatten(inner, f"{above}{name}.")
        else:
            words = inner if isinstance(inner, str) and inner else json.dumps(inner)
            flat[f"{above}{name}"] = words
    return flat


def _until(curve: Curve, step: int) -> Curve:
    kept = [i for i, at in enumerate(curve.steps) if at <= step]
    return Curve([curve.steps[i] for i in kept], [curve.values[i] for i in kept])


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def odd_word(value: float) -> str | None:
    """ "NaN", "∞" or "−∞" for what is no finite number, which JSON lacks; None for others."""
    if math.isfinite(value):
        return None
    return "NaN" if math.isnan(value) else "∞" if value > 0 else "−∞"

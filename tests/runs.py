"""Tiny runs of the verbs for tests: the smallest networks that have all kinds of layers."""

import contextlib
import dataclasses
import functools
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from vidgan_jax import experiment, inflate, main
from vidgan_jax.data.records import load_info
from vidgan_jax.experiment import Experiment
from vidgan_jax.train import sharding
from vidgan_jax.train.weights import Weights, load_weights
from vidgan_jax.train.writers import METRICS

ROOT = Path(__file__).parents[1]
CONFIG_2D = f"--config={ROOT / 'configs/resnet2d.py'}:smoke"
CONFIG_3D = f"--config={ROOT / 'configs/resnet3d.py'}:smoke"
SIZE, NUM_FRAMES, Z_DIM = 8, 4, 4
NUM_STEPS = 3


def fields(**values: Any) -> list[str]:
    """Arguments that set config fields: `model_size=16` → `--config.model.size=16`.

    The section is what stands before the first underscore.
    """
    sections = {"gen": "gen_optimizer", "disc": "disc_optimizer"}
    arguments = []
    for name, value in values.items():
        section, field = name.split("_", 1)
        arguments.append(f"--config.{sections.get(section, section)}.{field}={value}")
    return arguments


# With all terms in every step there is one program to compile, not two.
TINY_2D = (
    CONFIG_2D,
    *fields(model_size=SIZE, model_features=4, model_max_features=8, model_z_dim=Z_DIM),
    *fields(data_resize=SIZE, data_num_threads=1),
    *fields(data_num_scene_videos=2, data_num_scene_clips=1),
    *fields(loss_r1_every_steps=1),
    *fields(train_batch_size=8, train_num_steps=NUM_STEPS, train_num_samples=4),
    *fields(train_log_every_steps=1, train_sample_every_steps=2, train_save_every_steps=2),
)
TINY_3D = (CONFIG_3D, *TINY_2D[1:], *fields(model_num_frames=NUM_FRAMES, data_stride=2))


@dataclasses.dataclass(frozen=True)
class Runs:
    """One chain of runs.

    Attributes:
      data: the data set, 24 frames a second.
      images: workdir of the 2D run.
      inflated: where that was inflated to.
      clips: workdir of the 3D run that started from `images`.
    """

    data: Path
    images: Path
    inflated: Path
    clips: Path


@contextlib.contextmanager
def one_device() -> Iterator[None]:
    """Trains on one of the tests' devices, which compiles in half the time of all."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sharding, "make_mesh", functools.partial(sharding.make_mesh, num_devices=1))
        yield


def make_runs(folder: Path, data: Path) -> Runs:
    """Trains in 2D, inflates, and trains in 3D from the 2D workdir, each by its command."""
    runs = Runs(data, folder / "images", folder / "inflated", folder / "clips")
    on_data = f"--config.data.path={data}"
    start = f"--config.init.path={runs.images}"
    with one_device():
        succeed(main.main, *TINY_2D, on_data, f"--workdir={runs.images}")
        succeed(inflate.main, *TINY_3D, f"--from={runs.images}", f"--out={runs.inflated}")
        succeed(main.main, *TINY_3D, on_data, start, f"--workdir={runs.clips}")
    assert load_info(data).fps == 24.0
    return runs


def succeed(verb: Callable[[Sequence[str]], int], *arguments: str | Path) -> None:
    """Runs a verb's `main`, which must return 0."""
    assert verb([str(a) for a in arguments]) == 0


def refuse(
    capsys: pytest.CaptureFixture[str],
    verb: Callable[[Sequence[str]], int],
    *arguments: str | Path,
) -> str:
    """Runs a verb's `main`, which must end with one `error: …` line and status 2; returns it."""
    capsys.readouterr()
    assert verb([str(a) for a in arguments]) == 2
    written = capsys.readouterr()
    assert written.out == ""
    assert written.err.startswith("error: ")
    assert written.err.count("\n") == 1
    return written.err


def type_in(
    verb: str, *arguments: str | Path, **environment: str | Path
) -> "subprocess.CompletedProcess[str]":
    """Types `python -m vidgan_jax.VERB …` in the repository's root."""
    command = [sys.executable, "-m", f"vidgan_jax.{verb}", *map(str, arguments)]
    variables = {name: str(value) for name, value in environment.items()}
    return subprocess.run(
        command,
        cwd=ROOT,
        env=os.environ | {"JAX_PLATFORMS": "cpu", "JAX_NUM_CPU_DEVICES": "1"} | variables,
        capture_output=True,
        text=True,
        check=False,
    )


def trained(workdir: Path) -> tuple[Experiment, Weights]:
    """What a workdir's newest checkpoint holds."""
    weights = load_weights(workdir)
    return experiment.build(weights.meta["config"]), weights


def read_json(path: Path) -> Any:
    """A JSON file; NaN and Infinity, which JSON lacks, are refused."""

    def refuse_constant(name: str) -> Any:
        raise ValueError(f"{path} has {name}")

    return json.loads(path.read_text(), parse_constant=refuse_constant)


def names(folder: Path) -> list[str]:
    """What a folder has in it, sorted; hidden files, too."""
    return sorted(path.name for path in folder.iterdir())


def logged(workdir: Path) -> list[dict[str, float]]:
    """What a run has logged, step by step."""
    return [json.loads(line) for line in (workdir / METRICS).read_text().splitlines()]

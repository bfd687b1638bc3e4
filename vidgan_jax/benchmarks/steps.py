"""The training step on random frames: compile time, and seconds of each program."""

import functools
import time
from typing import Any

import jax
import numpy as np

from vidgan_jax.benchmarks.measuring import Row, spread
from vidgan_jax.experiment import Experiment
from vidgan_jax.train import beginning, sharding
from vidgan_jax.train.frozen import frozen_weights
from vidgan_jax.train.step import TrainStep
from vidgan_jax.types import Batch

ALL_TERMS, LAZY_LEFT_OUT = "step, all terms", "step, lazy terms left out"


def step_numbers(exp: Experiment) -> dict[str, int]:
    """What each program of the step is called, and a step that it is for.

    Step 0 has all terms; step 1 lacks the lazy ones, where there are any.
    """
    numbers = {ALL_TERMS: 0}
    if exp.objective.due(1) != exp.objective.due(0):
        numbers[LAZY_LEFT_OUT] = 1
    return numbers


def random_batch(exp: Experiment) -> Batch:
    """As many frames as a step takes, with label maps where the networks take any."""
    train, rng = exp.config.train, np.random.default_rng(0)
    shape = (train.batch_size * train.num_disc_steps, *exp.example_shape)
    maps = None
    if labels := exp.config.model.num_labels:
        maps = rng.integers(0, labels, (shape[0], *shape[-3:-1]), np.uint8)
    return Batch(rng.integers(0, 256, shape, np.uint8), maps)


class MeasuredStep:
    """A config's training step on random frames, one compiled program for each kind of step.

    Args:
      exp: of the config.

    Attributes:
      init_s: seconds to draw the state.
      compiled: each program, by the number it was compiled for.

    Raises:
      ValueError: the batch can't be split over the devices, or frozen weights are missing.
    """

    def __init__(self, exp: Experiment) -> None:
        self._mesh = mesh = beginning.make_mesh(exp)
        game = beginning.make_game(exp, 1000)
        layout = beginning.state_layout(exp, game, mesh)
        start = time.perf_counter()
        init = jax.jit(
            functools.partial(beginning.initial_state, exp, game),
            out_shardings=jax.tree.map(lambda leaf: leaf.sharding, layout),
        )
        self._state = jax.block_until_ready(init())
        self.init_s = time.perf_counter() - start
        self._batch = sharding.put_batch(random_batch(exp), mesh)
        min_shard_size = exp.config.mesh.min_shard_size
        self._step = TrainStep(game, mesh, frozen_weights(exp), min_shard_size)
        self.compiled: dict[int, Any] = {}

    def compile(self, number: int) -> float:
        """Compiles the program for step `number`; returns the seconds that takes."""
        start = time.perf_counter()
        program = self._step.program(number, self._state)
        lowered = program.lower(self._state, self._batch, self._step.frozen)
        self.compiled[number] = lowered.compile()
        return time.perf_counter() - start

    def run(self, number: int, batch: Batch | None = None) -> float:
        """One step by the program for `number`, waited for; returns its seconds.

        Args:
          number: that the program was compiled for.
          batch: from a loader, which then goes to the devices first; the random one by default.
        """
        start = time.perf_counter()
        placed = self._batch if batch is None else sharding.put_batch(batch, self._mesh)
        run = self.compiled[number](self._state, placed, self._step.frozen)
        self._state, _ = jax.block_until_ready(run)
        return time.perf_counter() - start


def bench_step(exp: Experiment, repeats: int) -> list[Row]:
    """Compile and steady time of each program of the training step."""
    step = MeasuredStep(exp)
    rows: list[Row] = [{"what": "initialisation", "seconds": step.init_s}]
    for name, number in step_numbers(exp).items():
        compile_s = step.compile(number)
        memory = step.compiled[number].memory_analysis()
        steady = [step.run(number) for _ in range(repeats + 1)][1:]
        row: Row = {"what": name, "compile_s": compile_s, **spread(steady)}
        row["clips_per_s"] = exp.config.train.batch_size / row["seconds"]
        row["temporaries_mib"] = memory.temp_size_in_bytes / 2**20 if memory else None
        rows.append(row)
    return rows


def device_peak_bytes() -> int | None:
    """Most that the first device has held; None where JAX doesn't count, as on CPUs."""
    memory = jax.devices()[0].memory_stats() or {}
    return memory.get("peak_bytes_in_use")

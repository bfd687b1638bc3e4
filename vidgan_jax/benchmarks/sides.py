"""The two sides of `bench step --against torch`, each in a process of its own.

What a side needs is imported within: each process loads its own framework and not the other's.
"""

import dataclasses
import time
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection
from typing import Any

from vidgan_jax.benchmarks import measuring
from vidgan_jax.benchmarks.processes import answer, failures_told
from vidgan_jax.config import Config

END = "end"
_WARM_UP = 2


@dataclasses.dataclass(frozen=True)
class _Side:
    """What a process has prepared.

    Attributes:
      run: a step of a number; returns its seconds.
      numbers: of the steps that it will be asked for.
      held_before: bytes of the process before its networks.
      device_peak_bytes: most that its GPU held; None on CPUs.
      compile_s: seconds of compilation, by step number.
    """

    run: Callable[[int], float]
    numbers: Sequence[int]
    held_before: int
    device_peak_bytes: Callable[[], int | None]
    compile_s: dict[int, float]


def serve_ours(pipe: Connection, path: str, overrides: Sequence[str], cores: int) -> None:
    """JAX's side. It sends the checked config, for the other side, and waits for a word.

    Args:
      pipe: to the parent.
      path: of the config.
      overrides: of its fields.
      cores: to run on; 0 for all.
    """
    with failures_told(pipe):
        measuring.use_cores(cores)
        import jax

        from vidgan_jax import experiment
        from vidgan_jax.benchmarks import steps

        exp = experiment.build(experiment.load_config(path, overrides))
        numbers = steps.step_numbers(exp)
        on_gpu = jax.default_backend() == "gpu"
        answer(pipe, {"config": exp.config, "numbers": numbers, "on_gpu": on_gpu})
        pipe.recv()
        before = measuring.held_bytes()
        step = steps.MeasuredStep(exp)
        compile_s = {number: step.compile(number) for number in numbers.values()}
        side = _Side(step.run, [*compile_s], before, steps.device_peak_bytes, compile_s)
        _serve(pipe, side)


def serve_torch(
    pipe: Connection, config: Config, numbers: Sequence[int], how: dict[str, Any], cores: int
) -> None:
    """PyTorch's side.

    Args:
      pipe: to the parent.
      config: of networks, losses and optimisers.
      numbers: of the steps that will be asked for.
      how: arguments of `tests.reference_torch.measured_step.MeasuredStep`.
      cores: to run on; 0 for all.
    """
    with failures_told(pipe):
        measuring.use_cores(cores)
        from tests.reference_torch.measured_step import MeasuredStep

        before = measuring.held_bytes()
        step = MeasuredStep(config, num_threads=len(measuring.usable_cores()), **how)
        _serve(pipe, _Side(step.run, numbers, before, step.device_peak_bytes, {}))


def _serve(pipe: Connection, side: _Side) -> None:
    """Answers step numbers with seconds, and `END` with processor seconds and mebibytes."""
    for number in [*side.numbers] * _WARM_UP:
        side.run(number)
    so_far = measuring.peak_bytes()
    has_forgotten = measuring.forget_peak()
    begun = time.process_time()
    answer(pipe, side.compile_s)
    while (number := pipe.recv()) != END:
        answer(pipe, side.run(number))
    of_steps = measuring.peak_bytes() - side.held_before
    whole = max(of_steps, so_far - side.held_before)
    on_device = side.device_peak_bytes()
    memory = {
        "peak_mib": (on_device or whole) / 2**20,
        "steps_mib": of_steps / 2**20 if has_forgotten and not on_device else None,
    }
    answer(pipe, (time.process_time() - begun, memory))

"""The input pipeline: clips a second, and whether that is enough for a training step."""

import time

from vidgan_jax.benchmarks.measuring import Row
from vidgan_jax.benchmarks.steps import MeasuredStep, step_numbers
from vidgan_jax.data.clips import ClipIterator, training_loader
from vidgan_jax.data.collection import Clips
from vidgan_jax.experiment import Experiment
from vidgan_jax.types import ClipSpec

# Reading processes and threads, beside a config's own.
_WAYS = ((0, 1), (0, 2), (2, 1))
_FIRST_BATCHES = 5
_NUM_STEPS = 5


def bench_loader(source: Clips, spec: ClipSpec, *, batch_size: int, seconds: float) -> list[Row]:
    """Clips a second that the input pipeline yields, for several numbers of threads and workers.

    Args:
      source: of the records.
      spec: of the clips.
      batch_size: clips at once.
      seconds: to measure each way of reading for.
    """
    return [_measure(source, spec, batch_size, seconds, way) for way in _WAYS]


def bench_loader_and_step(source: Clips, exp: Experiment, *, seconds: float) -> list[Row]:
    """Clips a second that a config's loader gives, by itself, and that its fastest step takes.

    `ratio` is what is given over what is taken. The last row has the config's loader and its step
    at the same time, sharing the machine as in training; `waiting_share` is the share of time that
    the step has waited for a batch.

    Args:
      source: of the records.
      exp: of the config: clips, batch, threads and workers, networks.
      seconds: to measure each way of reading for.
    """
    train, data = exp.config.train, exp.config.data
    batch_size = train.batch_size * train.num_disc_steps
    step, taken = MeasuredStep(exp), []
    for number in step_numbers(exp).values():
        step.compile(number)
        taken.append((min([step.run(number) for _ in range(_NUM_STEPS)]), number))
    step_s, number = min(taken)
    demand = batch_size / step_s
    own = (data.num_workers, data.num_threads)
    rows: list[Row] = [{"what": "the step takes", "clips_per_s": demand, "step_s": step_s}]
    for way in dict.fromkeys((own, *_WAYS)):
        row = _measure(source, exp.clip_spec, batch_size, seconds, way)
        if way == own:
            row["what"] += " (config)"
        rows.append({**row, "ratio": row["clips_per_s"] / demand})
    with _loader(source, exp.clip_spec, batch_size, own) as loader:
        rows.append(_together(loader, step, number, batch_size, seconds))
    return rows


def _together(
    loader: ClipIterator, step: MeasuredStep, number: int, batch_size: int, seconds: float
) -> Row:
    """Steps on the loader's batches, each waited for."""
    waited, steps, start = 0.0, 0, _warmed_up(loader)
    while (now := time.perf_counter()) - start < seconds or not steps:
        batch = next(loader)
        waited += time.perf_counter() - now
        step.run(number, batch)
        steps += 1
    elapsed = time.perf_counter() - start
    return {
        "what": "loader and step together",
        "clips_per_s": steps * batch_size / elapsed,
        "step_s": elapsed / steps,
        "waiting_share": waited / elapsed,
    }


def _measure(
    source: Clips, spec: ClipSpec, batch_size: int, seconds: float, way: tuple[int, int]
) -> Row:
    with _loader(source, spec, batch_size, way) as loader:
        num_clips, start = 0, _warmed_up(loader)
        while time.perf_counter() - start < seconds:
            num_clips += len(next(loader).frames)
        elapsed = time.perf_counter() - start
    num_workers, num_threads = way
    return {
        "what": f"{num_workers} workers, {num_threads} threads",
        "clips_per_s": num_clips / elapsed,
        "num_workers": num_workers,
        "num_threads": num_threads,
    }


def _loader(source: Clips, spec: ClipSpec, batch_size: int, way: tuple[int, int]) -> ClipIterator:
    workers, threads = way
    return training_loader(
        source, spec, batch_size=batch_size, seed=0, num_workers=workers, num_threads=threads
    )


def _warmed_up(loader: ClipIterator) -> float:
    """Takes the first batches, which wait for threads to start; returns the time."""
    for _ in range(_FIRST_BATCHES):
        next(loader)
    return time.perf_counter()

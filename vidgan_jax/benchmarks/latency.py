"""How long one waits for generated frames: the first of a new process, and those after it."""

import functools
import tempfile
import time
from collections.abc import Sequence
from multiprocessing.connection import Connection
from typing import Any

import jax
import numpy as np

from vidgan_jax import experiment
from vidgan_jax.benchmarks.measuring import Row, held_bytes, peak_bytes, spread
from vidgan_jax.benchmarks.processes import answer, ask, failures_told, started
from vidgan_jax.train.passes import forward, to_uint8


def bench_generate(
    config: str, overrides: Sequence[str], *, batch_size: int, repeats: int
) -> list[Row]:
    """Seconds from latents and label maps to uint8 frames on the host, of random weights.

    Two new processes one after the other, the second of which finds the programs of the first in
    JAX's compilation cache. `seconds` is all from the start of the process to its first frames on
    the host, but for `init_s`, which draws weights where others read a checkpoint; `start_s` is
    what Python and imports take of it. Then the second makes more.

    Args:
      config: of the generator.
      overrides: of its fields.
      batch_size: examples at once.
      repeats: calls after the first.

    Raises:
      ValueError: the config was refused.
    """
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as cache:
        for what in ("cold start", "start with a warm compilation cache"):
            begun = time.perf_counter()
            with started(_serve, config, overrides, batch_size, cache) as pipe:
                parts = ask(pipe)
                elapsed = time.perf_counter() - begun
                start_s = elapsed - sum(parts.values())
                seconds = elapsed - parts["init_s"]
                rows.append({"what": what, "seconds": seconds, "start_s": start_s, **parts})
                if len(rows) == 2:
                    later = [ask(pipe, "again") for _ in range(repeats)]
                    row: Row = {"what": "warm", **spread(later)}
                    row["clips_per_s"] = batch_size / row["seconds"]
                    rows.append({**row, "peak_mib": ask(pipe, "end") / 2**20})
    return rows


def _serve(
    pipe: Connection, config: str, overrides: Sequence[str], batch_size: int, cache: str
) -> None:
    """In a process of its own: seconds of each part up to the first frames, then of more."""
    with failures_told(pipe):
        before = held_bytes()
        jax.config.update("jax_compilation_cache_dir", cache)
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
        jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
        watch = time.perf_counter()
        parts = {}

        def lap(name: str) -> None:
            nonlocal watch
            parts[name], watch = time.perf_counter() - watch, time.perf_counter()

        exp = experiment.build(experiment.load_config(config, overrides))
        lap("build_s")
        generate, weights, inputs = _prepare(exp, batch_size)
        lap("init_s")
        compiled = generate.lower(weights, *inputs).compile()
        lap("compile_s")
        np.asarray(compiled(weights, *inputs))
        lap("first_s")
        answer(pipe, parts)
        while pipe.recv() != "end":
            start = time.perf_counter()
            np.asarray(compiled(weights, *inputs))
            answer(pipe, time.perf_counter() - start)
        answer(pipe, peak_bytes() - before)


def _prepare(exp: experiment.Experiment, batch_size: int) -> tuple[Any, Any, list[Any]]:
    """The generator as `synthesis.run_generator` compiles it, random weights, random inputs."""
    rng, like = np.random.default_rng(0), exp.gen_inputs(batch_size)
    inputs: list[Any] = [rng.standard_normal(like[0].shape, np.float32)]
    model = exp.config.model
    for given in like[1:]:
        if np.issubdtype(given.dtype, np.integer):
            drawn = rng.integers(0, model.num_labels or model.num_classes, given.shape)
            inputs.append(drawn.astype(np.uint8 if model.num_labels else np.int32))

    @jax.jit
    def run(variables: Any, *given: jax.Array) -> jax.Array:
        return to_uint8(forward(exp.generator, variables, *given))

    init = jax.jit(functools.partial(exp.generator.init, jax.random.key(0, impl="rbg")))
    weights = jax.block_until_ready(init(*inputs))
    return run, weights, inputs

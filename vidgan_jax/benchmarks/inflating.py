"""Inflation of a random 2D checkpoint: seconds and memory."""

import dataclasses
import tempfile
import time
from collections.abc import Sequence

import jax

from vidgan_jax import experiment, inflate
from vidgan_jax.benchmarks.measuring import Row, peak_bytes
from vidgan_jax.train import checkpoint, plan
from vidgan_jax.train.weights import save_weights


def bench_inflate(config: str, overrides: Sequence[str]) -> list[Row]:
    """Time and memory of reading a random 2D checkpoint, inflating it and writing the 3D one.

    Raises:
      ValueError: the config is of images.
    """
    target = experiment.build(experiment.load_config(config, overrides))
    if not target.config.model.num_frames:
        raise ValueError(f"--config {config} is of images; give one of clips to inflate to")
    model = dataclasses.replace(target.config.model, num_frames=0)
    source_config = dataclasses.replace(target.config, model=model)
    source = experiment.build(dataclasses.asdict(source_config))
    with tempfile.TemporaryDirectory() as folder:
        gen, disc = jax.jit(source.init_variables)(jax.random.key(0, impl="rbg"))
        meta = checkpoint.make_meta(dataclasses.asdict(source_config), fps=8.0)
        save_weights(f"{folder}/2d", gen=gen, disc=disc, ema=gen, meta=meta)
        del gen, disc
        before = peak_bytes()
        start = time.perf_counter()
        weights, _ = inflate.weights_for(target, f"{folder}/2d", target.config.init)
        inflated = time.perf_counter()
        save_weights(
            f"{folder}/3d",
            gen=weights.gen,
            disc=weights.disc,
            ema=weights.ema,
            meta=meta,
        )
        written = time.perf_counter()
    size = plan.num_bytes([weights.gen, weights.disc, weights.ema])
    return [
        {
            "what": "inflation",
            "parameters": plan.count([weights.gen, weights.disc]),
            "checkpoint_mib": size / 2**20,
            "read_and_inflate_s": inflated - start,
            "write_s": written - inflated,
            "seconds": written - start,
            "peak_mib": peak_bytes() / 2**20,
            "peak_before_mib": before / 2**20,
            "peak_over_checkpoint": peak_bytes() / size,
        }
    ]

"""The generator, run over any number of latents."""

import jax
import jax.numpy as jnp
import numpy as np

from vidgan_jax.experiment import Experiment
from vidgan_jax.progress import ProgressReport
from vidgan_jax.train.checkpoint import Weights
from vidgan_jax.train.step import forward, to_uint8


def run_generator(
    exp: Experiment,
    weights: Weights,
    latents: jax.Array,
    *,
    batch_size: int,
    averaged: bool = True,
    label: str = "generating",
) -> np.ndarray:
    """Runs the generator over latents, batch by batch, with progress on stderr.

    Args:
      exp: the experiment that the weights are of.
      weights: trained ones.
      latents: float32 `[n, z]`.
      batch_size: at once; the last batch is filled up, so that nothing is compiled twice.
      averaged: use the averaged parameters.
      label: what the progress report calls the work.

    Returns:
      uint8 `[n, size, size, 3]` or `[n, t, size, size, 3]`.
    """
    variables = jax.device_put(weights.ema if averaged else weights.gen)
    apply = jax.jit(lambda v, z: to_uint8(forward(exp.generator, v, z)))
    n, batch_size = len(latents), min(batch_size, len(latents))
    padded = jnp.concatenate([latents, latents[: -n % batch_size]])
    parts = []
    with ProgressReport(label, total=n) as report:
        for start in range(0, n, batch_size):
            parts.append(np.asarray(apply(variables, padded[start : start + batch_size])))
            report.update(min(start + batch_size, n), f"{min(start + batch_size, n)} of {n}")
    return np.concatenate(parts)[:n]

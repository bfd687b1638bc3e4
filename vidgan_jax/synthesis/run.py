"""The generator, run over any number of latents."""

from __future__ import annotations

import jax
import numpy as np
from flax.typing import VariableDict

from vidgan_jax.experiment import Experiment
from vidgan_jax.progress import ProgressReport
from vidgan_jax.train.passes import forward, to_uint8, to_unit_range
from vidgan_jax.train.weights import Weights
from vidgan_jax.types import ArrayLike


def run_generator(
    exp: Experiment,
    weights: Weights,
    latents: jax.Array,
    *,
    batch_size: int,
    averaged: bool = True,
    cond: ArrayLike | None = None,
    styles: ArrayLike | None = None,
    label: str = "generating",
) -> np.ndarray:
    """Runs the generator over latents, batch by batch, with progress on stderr.

    Args:
      exp: the experiment that the weights are of.
      weights: trained ones.
      latents: float32 `[n, z]`.
      batch_size: at once; the last batch is filled up, so that nothing is compiled twice.
      averaged: use the averaged parameters.
      cond: what a conditional generator is to show, one for each latent: label maps, ids `[n, size,
        size]` or ids and instances `[n, size, size, 2]`, where `config.model.num_labels` is above
        0, or ids of classes `[n]`, where `config.model.num_classes` is; None for others.
      styles: examples that the latents are drawn around, uint8 `[n, size, size, 3]` or
        `[n, t, size, size, 3]`, of generators with an encoder; None to draw from all.
      label: what the progress report calls the work.

    Returns:
      uint8 `[n, size, size, 3]` or `[n, t, size, size, 3]`.

    Raises:
      ValueError: `cond` or `styles` is missing, not of this generator, or of another shape.
    """
    _check_cond(exp, cond, len(latents))
    _check_styles(exp, styles, len(latents))
    variables = jax.device_put(weights.ema if averaged else weights.gen)

    def run(variables: VariableDict, z: jax.Array, *given: jax.Array) -> jax.Array:
        if styles is not None:
            given = (*given[:-1], to_unit_range(given[-1]))
        return to_uint8(forward(exp.generator, variables, z, *given))

    apply = jax.jit(run)
    n, batch_size = len(latents), min(batch_size, len(latents))
    inputs = [latents, *(given for given in (cond, styles) if given is not None)]
    parts = []
    with ProgressReport(label, total=n) as report:
        for start in range(0, n, batch_size):
            rows = np.arange(start, start + batch_size) % n
            parts.append(np.asarray(apply(variables, *(given[rows] for given in inputs))))
            report.update(min(start + batch_size, n), f"{min(start + batch_size, n)} of {n}")
    return np.concatenate(parts)[:n]


def _check_cond(exp: Experiment, cond: ArrayLike | None, n: int) -> None:
    model, shape = exp.config.model, exp.cond_shape
    if shape is None:
        if cond is not None:
            raise ValueError("cond: this generator takes neither label maps nor classes; give None")
        return
    fitting = [(n, *shape)] + [(n, *shape, 2)] * bool(model.num_labels)
    if cond is None:
        if model.num_classes == 1:
            return
        what = "label maps" if model.num_labels else "classes"
        raise ValueError(f"cond (=None): this generator needs {what}, ids {list(fitting[0])}")
    if cond.shape not in fitting or not np.issubdtype(cond.dtype, np.integer):
        raise ValueError(
            f"cond {cond.dtype} {list(cond.shape)} must be whole numbers "
            f"{' or '.join(str(list(shape)) for shape in fitting)}"
        )


def _check_styles(exp: Experiment, styles: ArrayLike | None, n: int) -> None:
    if styles is None:
        return
    if not exp.config.model.encoder:
        raise ValueError("styles: this generator has no encoder to take them; give None")
    shape = (n, *exp.example_shape)
    if styles.shape != shape or styles.dtype != np.uint8:
        raise ValueError(f"styles {styles.dtype} {list(styles.shape)} must be uint8 {list(shape)}")

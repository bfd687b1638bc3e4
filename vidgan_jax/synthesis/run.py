"""The generator, run over any number of latents."""

from __future__ import annotations

import functools

import jax
import numpy as np
from flax.typing import VariableDict

from vidgan_jax.devices import by_rows, everywhere, local_mesh
from vidgan_jax.experiment import Experiment
from vidgan_jax.progress import ProgressReport
from vidgan_jax.train.passes import forward, to_uint8, to_unit_range
from vidgan_jax.train.weights import Weights
from vidgan_jax.types import ArrayLike


class Synthesizer:
    """A generator that is ready to run, on all local devices, a batch at a time.

    Attributes:
      exp: the experiment that the weights are of.
      batch_size: of the program: a multiple of the devices' number. Smaller batches are filled up,
        so that nothing is compiled twice.

    Args:
      exp: the experiment that the weights are of.
      weights: trained ones.
      batch_size: at once, on all devices together; rounded up to a multiple of their number.
      averaged: use the averaged parameters.
    """

    def __init__(
        self, exp: Experiment, weights: Weights, *, batch_size: int, averaged: bool = True
    ) -> None:
        mesh = local_mesh(batch_size)
        self.exp = exp
        self.batch_size = -(-batch_size // mesh.size) * mesh.size
        self._rows = by_rows(mesh)
        variables = weights.ema if averaged else weights.gen
        self._variables = jax.device_put(variables, everywhere(mesh))
        self._apply = jax.jit(functools.partial(_generate, exp), static_argnames="styled")

    def __call__(
        self, latents: ArrayLike, cond: ArrayLike | None = None, styles: ArrayLike | None = None
    ) -> np.ndarray:
        """Generates examples.

        Args:
          latents: float32 `[n, z]`, n at most `batch_size`.
          cond: as for `run_generator`.
          styles: likewise.

        Returns:
          uint8 `[n, size, size, 3]` or `[n, t, size, size, 3]`.

        Raises:
          ValueError: `cond` or `styles` is missing, not of this generator, or of another shape; or
            there are too many latents.
        """
        n = len(latents)
        if not 0 < n <= self.batch_size:
            raise ValueError(f"{n} latents must be 1 to {self.batch_size}, the batch size")
        check_inputs(self.exp, n, cond=cond, styles=styles)
        given = [x for x in (latents, cond, styles) if x is not None]
        rows = np.arange(self.batch_size) % n
        placed = [jax.device_put(np.asarray(x)[rows], self._rows) for x in given]
        made = self._apply(self._variables, *placed, styled=styles is not None)
        return np.asarray(made)[:n]


def _generate(
    exp: Experiment, variables: VariableDict, z: jax.Array, *given: jax.Array, styled: bool
) -> jax.Array:
    if styled:
        given = (*given[:-1], to_unit_range(given[-1]))
    return to_uint8(forward(exp.generator, variables, z, *given))


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
    check_inputs(exp, len(latents), cond=cond, styles=styles)
    n = len(latents)
    run = Synthesizer(exp, weights, batch_size=min(batch_size, n), averaged=averaged)
    parts = []
    with ProgressReport(label, total=n) as report:
        for start in range(0, n, run.batch_size):
            end = min(start + run.batch_size, n)
            given = (None if x is None else x[start:end] for x in (cond, styles))
            parts.append(run(latents[start:end], *given))
            report.update(end, f"{end} of {n}")
    return np.concatenate(parts)


def check_inputs(
    exp: Experiment, n: int, *, cond: ArrayLike | None, styles: ArrayLike | None
) -> None:
    """Refuses what the generator can't take beside `n` latents; see `run_generator`.

    Raises:
      ValueError: the input, and what it must be.
    """
    _check_cond(exp, cond, n)
    _check_styles(exp, styles, n)


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

"""Untrained models of the verbs' configs, saved as checkpoints: enough for what reads them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from tests.runs import ROOT
from vidgan_jax import experiment
from vidgan_jax.experiment import Experiment
from vidgan_jax.train.checkpoint import make_meta
from vidgan_jax.train.weights import save_weights


def save_model(
    workdir: Path, config: str, overrides: Sequence[str] = (), *, fps: float = 8.0
) -> Experiment:
    """Saves a model with random weights, whose average differs from it; compiles nothing.

    Args:
      workdir: takes the checkpoint.
      config: a config of this repository and a variant, "spade2d.py:smoke".
      overrides: `--config.SECTION.FIELD=VALUE`.
      fps: of its clips.
    """
    raw = experiment.load_config(str(ROOT / "configs" / config), overrides)
    exp = experiment.build(raw)
    shapes = jax.eval_shape(exp.init_variables, jax.random.key(0))
    gen, disc = jax.tree.map_with_path(_Fill(), shapes)
    ema = {**gen, "params": jax.tree.map(lambda leaf: 1.1 * leaf, gen["params"])}
    meta = make_meta(raw.to_dict(), fps=fps)
    save_weights(workdir, gen=gen, disc=disc, ema=ema, meta=meta)
    return exp


class _Fill:
    """Values for a leaf of a network's variables, by its name."""

    def __init__(self) -> None:
        self._rng = np.random.default_rng(0)

    def __call__(self, path: Any, leaf: jax.ShapeDtypeStruct) -> np.ndarray:
        name = path[-1].key
        if name in ("mean", "var"):
            return np.full(leaf.shape, float(name == "var"), np.float32)
        values = self._rng.standard_normal(leaf.shape)
        if name == "gain":
            values = np.ones(leaf.shape)
        elif name in ("u", "v"):
            values /= np.linalg.norm(values)
        elif leaf.shape:
            values *= (2 / np.prod(leaf.shape[:-1] or (8,))) ** 0.5
        return values.astype(np.float32)

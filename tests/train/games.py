"""Tiny games of every family amid their training, for tests that compare steps."""

import dataclasses
import functools
from pathlib import Path
from typing import Any

import chex
import jax
import numpy as np
import optax
from jax.sharding import Mesh

from tests.models.networks import draw_variables
from tests.runs import fields
from vidgan_jax import experiment
from vidgan_jax.experiment import Experiment
from vidgan_jax.train import beginning, sharding
from vidgan_jax.train.passes import Game
from vidgan_jax.train.state import GanState
from vidgan_jax.types import Batch

CONFIGS = Path(__file__).parents[2] / "configs"
BATCH, NUM_LABELS = 8, 4

_NARROW = fields(model_features=4, model_max_features=8, model_z_dim=3, train_batch_size=BATCH)
_SPADE = (
    *fields(model_label_features=4, model_disc_features=4, model_disc_layers=2),
    *fields(model_num_labels=NUM_LABELS, model_middle_blocks=1, loss_feature_weight=10.0),
)
# Family → config, fields. All that a family has is in it: R1; batch norm and spectral norm; label
# maps and an encoder. DCGAN's discriminator has batch norm from 16×16 on only.
FAMILIES: dict[str, tuple[str, list[str]]] = {
    "resnet2d": ("resnet2d.py:smoke", fields(model_size=8)),
    "resnet3d": ("resnet3d.py:smoke", fields(model_size=8, model_num_frames=2)),
    "dcgan2d": ("dcgan2d.py:smoke", fields(model_size=16)),
    "dcgan3d": (
        "dcgan3d.py:smoke",
        fields(model_size=16, model_num_frames=2, model_time_stages="(0,)"),
    ),
    "vgan2d": ("vgan.py:smoke2d", fields(model_size=8)),
    "vgan3d": (
        "vgan.py:smoke",
        fields(model_size=8, model_num_frames=2, model_time_stages="(0,)"),
    ),
    "spade2d": ("spade2d.py:smoke_vae", [*_SPADE, *fields(model_size=8)]),
    "spade3d": (
        "spade3d.py:smoke_vae",
        [
            *_SPADE,
            *fields(model_size=8, model_num_frames=2, model_time_stages="(0,)"),
            *fields(model_encoder_time_stages="(0,)"),
        ],
    ),
}


def make(family: str, *overrides: str, rate: float = 0.01) -> tuple[Experiment, Game]:
    """A game of gradient descent, whose optimisers' states are the last gradients."""
    config, own = FAMILIES[family]
    given = [*_NARROW, *own, *overrides]
    exp = experiment.build(experiment.load_config(str(CONFIGS / config), given))
    descent = optax.chain(optax.trace(decay=0.0), optax.scale(-rate))
    game = beginning.make_game(exp, 100)
    return exp, dataclasses.replace(game, gen_optimizer=descent, disc_optimizer=descent)


def gradients(state: GanState) -> dict[str, Any]:
    """Both players', of their last updates."""
    return {
        "gen": optax.tree_utils.tree_get(state.gen.opt_state, "trace"),
        "disc": optax.tree_utils.tree_get(state.disc.opt_state, "trace"),
    }


def drawn(exp: Experiment) -> tuple[Any, Any]:
    """Both networks' variables: larger than at a start of training, spectral vectors half known."""
    gen, disc = exp.gen_inputs(), exp.disc_inputs()
    return _drawn(exp.generator, *gen), _drawn(exp.discriminator, *disc)


_drawn = functools.cache(draw_variables)


def start(exp: Experiment, game: Game, mesh: Mesh, min_size: int = 1) -> GanState:
    """A state of `drawn` variables, the same on any mesh.

    Args:
      exp: of networks.
      game: likewise.
      mesh: of devices of all processes.
      min_size: numbers in a leaf that is divided over an `fsdp` axis.
    """
    gen, disc = drawn(exp)
    begin = functools.partial(beginning.state_from, exp, game, moments=None)
    shapes = jax.eval_shape(begin, gen, disc, gen)
    laid_out = sharding.state_shardings(shapes, mesh, min_size)
    state: GanState = jax.jit(begin, out_shardings=laid_out)(gen, disc, gen)
    return state


def examples(exp: Experiment, num: int = BATCH) -> Batch:
    """Random frames; where there are label maps, with pixels of no class."""
    rng = np.random.default_rng(0)
    frames = rng.integers(0, 256, (num, *exp.example_shape), np.uint8)
    if exp.cond_shape is None:
        return Batch(frames)
    maps = rng.integers(0, NUM_LABELS + 1, (num, *exp.cond_shape), np.uint8)
    maps[maps == NUM_LABELS] = 255
    return Batch(frames, maps)


def assert_same(got: Any, want: Any, rtol: float) -> None:
    """Two trees of numbers: each leaf's to `rtol` of its largest.

    A bias in front of a norm has no gradient but what rounding leaves: beside that, what is tiny
    to all is compared with the largest of the tree, to 1e-6, some units in a float32's last place.
    """
    chex.assert_trees_all_equal_structs(got, want)
    got, want = jax.device_get((got, want))
    leaves = jax.tree_util.tree_leaves_with_path(want)
    largest = max((float(np.abs(leaf).max(initial=0)) for _, leaf in leaves), default=0.0)
    for (path, wanted), found in zip(leaves, jax.tree.leaves(got), strict=True):
        error = float(np.abs(found - wanted).max(initial=0))
        bound = rtol * float(np.abs(wanted).max(initial=0)) + 1e-6 * largest
        assert error <= bound, f"{jax.tree_util.keystr(path)}: {error} above {bound}"

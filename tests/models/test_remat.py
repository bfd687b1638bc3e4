"""Rematerialisation: the same numbers out of less memory."""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import pytest
from flax import linen as nn

from tests.runs import fields
from tests.train import games
from vidgan_jax import networks
from vidgan_jax.experiment import Experiment
from vidgan_jax.losses.penalties import r1_penalty
from vidgan_jax.train import plan
from vidgan_jax.train.passes import (
    Game,
    disc_gradients,
    forward,
    gen_gradients,
    generate,
    to_unit_range,
)
from vidgan_jax.train.state import GanState, create_state, split_variables
from vidgan_jax.types import OUTPUTS, Batch

GEN, DISC = fields(model_gen_remat=True), fields(model_disc_remat=True)
# Each family in one rank; the other compiles for as long again. ResNet's in 3D: its convolutions
# have derivative rules of their own there, which R1 differentiates.
OTHER_RANK = ("resnet2d", "dcgan3d", "vgan3d", "spade3d")
FAMILIES = [
    pytest.param(name, marks=pytest.mark.slow) if name in OTHER_RANK else name
    for name in games.FAMILIES
]


def all_numbers(game: Game, state: GanState, batch: Batch) -> dict[str, Any]:
    """All that both players' updates take from the networks."""
    real, cond = to_unit_range(jnp.asarray(batch.frames)), batch.label_map
    z = jax.random.normal(jax.random.key(5), (real.shape[0], game.z_dim))
    made = generate(game, state, real, cond, z)
    disc, disc_moved, disc_metrics = disc_gradients(game, state, real, cond, made.fake)
    gen, gen_metrics = gen_gradients(game, state, real, cond, made)
    return {
        "made": (made.fake, made.outputs),
        "moved": (made.collections, disc_moved),
        "disc": disc,
        "gen": gen,
        "metrics": (disc_metrics, gen_metrics),
    }


@pytest.mark.parametrize("family", FAMILIES)
def test_the_numbers_are_the_same(family: str) -> None:
    """Frames, both players' gradients (of R1 too), metrics, and how collections move."""
    results = []
    for remat in ([], [*GEN, *DISC]):
        exp, game = games.make(family, *remat)
        gen, disc = games.drawn(exp)
        key = jax.random.key(0)
        state = create_state(key, gen, disc, game.gen_optimizer, game.disc_optimizer)
        run = jax.jit(functools.partial(all_numbers, game))
        results.append(jax.device_get(run(state, games.examples(exp, 2))))
    kept, anew = results
    assert kept.keys() == anew.keys()
    for part, want in kept.items():
        games.assert_same(anew[part], want, rtol=1e-6)


@pytest.mark.parametrize("family", ["resnet3d", "dcgan2d", "vgan3d", "spade2d"])
def test_networks_are_built_and_described_as_without(family: str) -> None:
    """The same variables at the same paths, the same initial numbers; the same layers and kinds."""
    exp, _ = games.make(family)
    gen, disc = with_remat(exp, gen=True, disc=True)
    for plain, anew, inputs in (
        (exp.generator, gen, exp.gen_inputs()),
        (exp.discriminator, disc, exp.disc_inputs()),
    ):
        assert plain != anew
        programs = (jax.make_jaxpr(m.init)(jax.random.key(0), *inputs) for m in (plain, anew))
        assert str(next(programs)) == str(next(programs))
        assert plan.describe(plain, *inputs) == plan.describe(anew, *inputs)


@pytest.mark.parametrize("family", games.FAMILIES)
def test_each_network_has_a_field_of_its_own(family: str) -> None:
    exp, _ = games.make(family)
    plain, both = (with_remat(exp, gen=on, disc=on) for on in (False, True))
    assert plain == (exp.generator, exp.discriminator)
    assert with_remat(exp, gen=True, disc=False) == (both[0], plain[1])
    assert with_remat(exp, gen=False, disc=True) == (plain[0], both[1])
    assert both[0] != plain[0]
    assert both[1] != plain[1]


def with_remat(exp: Experiment, *, gen: bool, disc: bool) -> tuple[nn.Module, nn.Module]:
    """An experiment's networks as the fields' values make them."""
    model = dataclasses.replace(exp.config.model, gen_remat=gen, disc_remat=disc)
    return networks.MODELS[model.name](model)


def kept_bytes(function: Any, variables: Any, *inputs: Any) -> int:
    """What is kept for the backward pass to the parameters, themselves apart; nothing is computed.

    Args:
      function: maps variables and inputs to `(result, what is not differentiated)`.
      variables: shapes.
      inputs: likewise.
    """
    params, others = split_variables(variables)

    def backward(params: Any, others: Any, *inputs: Any) -> Any:
        run = lambda p: function({"params": p, **others}, *inputs)  # noqa: E731
        return jax.vjp(run, params, has_aux=True)[1]

    kept = jax.eval_shape(backward, params, others, *inputs)
    return plan.num_bytes(kept) - plan.num_bytes(params)


def in_training(module: nn.Module) -> Any:
    """A network as its own update applies it."""
    return lambda variables, *inputs: module.apply(
        variables, *inputs, mutable=[*(set(variables) - {"params"}), OUTPUTS]
    )


def with_r1(module: nn.Module) -> Any:
    """R1's pass, whose own backward pass has one."""

    def run(variables: Any, real: jax.Array, *cond: jax.Array) -> Any:
        return r1_penalty(lambda x: forward(module, variables, x, *cond), real), None

    return run


# Family → how many times as much is kept otherwise, at least: of the generator, the discriminator.
KEPT = {"resnet3d": (1.7, 2), "dcgan2d": (2.5, 2), "vgan3d": (2, 1.5), "spade2d": (10, 1.7)}


@pytest.mark.parametrize("family", KEPT)
def test_less_is_kept_for_the_backward_pass(family: str) -> None:
    """Of deeper networks: of narrow ones little is kept beside their kernels and the input."""
    exp, _ = games.make(family, *fields(model_size=32, model_features=8, model_max_features=64))
    gen, disc = jax.eval_shape(exp.init_variables, jax.random.key(0))
    amounts = []
    for on in (False, True):
        maker, judge = with_remat(exp, gen=on, disc=on)
        of_gen = kept_bytes(in_training(maker), gen, *exp.gen_inputs(4))
        of_disc = [kept_bytes(in_training(judge), disc, *exp.disc_inputs(4))]
        if exp.config.loss.r1_gamma:
            of_disc.append(kept_bytes(with_r1(judge), disc, *exp.disc_inputs(4)))
        amounts.append((of_gen, *of_disc))
    at_least = (KEPT[family][0], *[KEPT[family][1]] * 2)
    for plain, anew, times in zip(*amounts, at_least[: len(amounts[0])], strict=True):
        assert plain > times * anew > 0

"""Passes through both networks: what they make of a batch, and the gradients of what it costs."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn
from flax.typing import VariableDict

from vidgan_jax.losses.accuracy import ACCURACY, share_right
from vidgan_jax.losses.objective import Objective, Pass, weighted_sum
from vidgan_jax.train.state import GanState
from vidgan_jax.types import BATCH_STATS, OUTPUTS, SPECTRAL, ArrayLike


@dataclasses.dataclass(frozen=True)
class Game:
    """Two networks, what they minimise and how they are updated: all that a step needs.

    Attributes:
      generator: maps `(z, cond)` to examples in [-1, 1]; `(z, cond, real)` if it encodes.
      discriminator: maps `(examples, cond)` to logits.
      objective: both players' terms.
      gen_optimizer: of the generator.
      disc_optimizer: of the discriminator.
      z_dim: length of a latent; latents are standard normal.
      ema_decay: of the generator's average, a step; 0 keeps no memory.
      num_disc_steps: updates of the discriminator for one of the generator, each on its own reals
        and fakes.
      disc_weight_clip: the discriminator's parameters are kept within ± this (Arjovsky et al. 2017,
        arXiv:1701.07875, algorithm 1); 0 for no bound.
      encodes: the generator takes the real examples too, and draws its latents around their code.
      num_parts: equal parts of a batch that go through the networks one after the other; each
        player's gradients are the mean of the parts'.
    """

    generator: nn.Module
    discriminator: nn.Module
    objective: Objective
    gen_optimizer: optax.GradientTransformation
    disc_optimizer: optax.GradientTransformation
    z_dim: int
    ema_decay: float = 0.999
    num_disc_steps: int = 1
    disc_weight_clip: float = 0.0
    encodes: bool = False
    num_parts: int = 1

    def gen_inputs(self, z: jax.Array, cond: ArrayLike | None, real: jax.Array) -> tuple[Any, ...]:
        """What the generator takes."""
        return (z, cond, real) if self.encodes else (z, cond)


def to_unit_range(frames: jax.Array) -> jax.Array:
    """uint8 in [0, 255] to float32 in [-1, 1], on the device: bytes travel, floats don't."""
    return frames.astype(jnp.float32) / 127.5 - 1.0


def to_uint8(frames: jax.Array) -> jax.Array:
    """float in [-1, 1] (clipped) to uint8, rounded."""
    return jnp.round((jnp.clip(frames, -1.0, 1.0) + 1.0) * 127.5).astype(jnp.uint8)


def forward(module: nn.Module, variables: VariableDict, *args: Any) -> jax.Array:
    """Applies a network whose collections stay as they are: running statistics count."""
    return cast(jax.Array, module.apply(variables, *args))


def forward_in_training(module: nn.Module, variables: VariableDict, *args: Any) -> jax.Array:
    """Applies a network in the other player's update: the batch's statistics count, none is kept.

    Spectral vectors stay: they move in their own network's update only.
    """
    return cast(jax.Array, _forward_with_outputs(module, variables, *args)[0])


def _forward_with_outputs(
    module: nn.Module, variables: VariableDict, *args: Any
) -> tuple[Any, Mapping[str, Any]]:
    """`forward_in_training`, with what the network gives beside its result."""
    passing = [BATCH_STATS] if BATCH_STATS in variables else []
    output, changed = module.apply(variables, *args, mutable=[*passing, OUTPUTS])
    return output, changed.get(OUTPUTS, {})


def apply(
    module: nn.Module,
    variables: VariableDict,
    *args: Any,
    frozen: tuple[str, ...] = ("params",),
) -> tuple[jax.Array, dict[str, Any], dict[str, Any]]:
    """Applies a network in its own player's update.

    Returns:
      `(result, collections, outputs)`: the first of the latter with what has changed, all but those
      called `frozen`; the second what the network gave beside its result.
    """
    moving = [name for name in variables if name not in frozen]
    result, changed = module.apply(variables, *args, mutable=[*moving, OUTPUTS])
    changed = dict(changed)
    outputs = changed.pop(OUTPUTS, {})
    before = {name: value for name, value in variables.items() if name != "params"}
    return result, {**before, **changed}, outputs


def _frozen(first: bool) -> tuple[str, ...]:
    """Collections that stay: one power iteration an update, not one for each of its passes."""
    return ("params",) if first else ("params", SPECTRAL)


class Generation(NamedTuple):
    """What a generator made in its own update.

    Attributes:
      fake: the examples, float32 in [-1, 1], `[b, *axes, c]`.
      outputs: what it gave beside them.
      collections: what has changed of its variables, and what has not; without the parameters.
      pullback: maps the gradients of `fake` and `outputs` to that of the parameters.
    """

    fake: jax.Array
    outputs: Mapping[str, Any]
    collections: Any
    pullback: Callable[[tuple[Any, Any]], tuple[Any]]


def generate(
    game: Game,
    state: GanState,
    real: jax.Array,
    cond: ArrayLike | None,
    z: jax.Array,
    *,
    first: bool = True,
) -> Generation:
    """Runs the generator as its update does, once for all that looks at the result.

    Args:
      game: networks and terms.
      state: before the update.
      real: float32 in [-1, 1], `[b, *axes, c]`.
      cond: the generator's condition, or None.
      z: float32 `[b, z_dim]`.
      first: of an update's parts: spectral vectors move once an update.
    """

    def run(params: Any) -> tuple[tuple[Any, Any], Any]:
        variables = {"params": params, **state.gen.collections}
        inputs = game.gen_inputs(z, cond, real)
        fake, collections, outputs = apply(
            game.generator, variables, *inputs, frozen=_frozen(first)
        )
        return (fake, outputs), collections

    (fake, outputs), pullback, collections = jax.vjp(run, state.gen.params, has_aux=True)
    return Generation(fake, outputs, collections, pullback)


def disc_gradients(
    game: Game,
    state: GanState,
    real: jax.Array,
    cond: ArrayLike | None,
    fake: jax.Array,
    key: jax.Array | None = None,
    frozen: Mapping[str, Any] | None = None,
    *,
    first: bool = True,
) -> tuple[Any, Any, dict[str, jax.Array]]:
    """Gradients of the discriminator's loss.

    Real and fake examples go through it one after the other: together they took as long or longer
    (0.92 to 1.09 times on two CPU cores), and batch norm would mix their statistics.

    Args:
      game: networks and terms.
      state: before the update.
      real: float32 in [-1, 1], `[b, *axes, c]`.
      cond: the generator's condition, or None.
      fake: generated ones, likewise.
      key: for what terms draw; None where none does.
      frozen: variables of networks that terms look through, by name.
      first: of an update's parts: spectral vectors move once an update.

    Returns:
      `(gradients, new collections of D, metrics)`.
    """
    disc = state.disc
    fake = jax.lax.stop_gradient(fake)

    def loss(params: Any) -> tuple[jax.Array, tuple[Any, dict[str, jax.Array], dict[str, Any]]]:
        variables = {"params": params, **disc.collections}
        real_logits, after, _ = apply(
            game.discriminator, variables, real, cond, frozen=_frozen(first)
        )

        def critic(x: jax.Array) -> jax.Array:
            return forward(game.discriminator, {"params": params, **after}, x, cond)

        fake_logits, after_both, _ = apply(
            game.discriminator, {"params": params, **after}, fake, cond, frozen=_frozen(False)
        )
        outputs = Pass(
            real,
            fake,
            fake_logits,
            real_logits=real_logits,
            critic=critic,
            key=key,
            frozen=frozen or {},
        )
        total, shares = weighted_sum(game.objective.disc, outputs)
        return total, (after_both, shares, _accuracy(game.objective.boundary, outputs))

    grads, (collections, shares, accuracy) = jax.grad(loss, has_aux=True)(disc.params)
    # `D` is the adversarial loss, regularisers apart, as in the thesis's figure 4-13.
    adversarial = sum(v for k, v in shares.items() if k.startswith("D_"))
    return grads, collections, {**shares, "D": adversarial, **accuracy}


def _accuracy(boundary: float | None, outputs: Pass) -> dict[str, jax.Array]:
    """How well D tells reals from fakes; nothing where its logits have no boundary."""
    if boundary is None:
        return {}
    real = share_right(outputs.real_logits, boundary, real=True)
    return {ACCURACY: 0.5 * (real + share_right(outputs.fake_logits, boundary, real=False))}


def gen_gradients(
    game: Game,
    state: GanState,
    real: jax.Array,
    cond: ArrayLike | None,
    generation: Generation,
    frozen: Mapping[str, Any] | None = None,
) -> tuple[Any, dict[str, jax.Array]]:
    """Gradients of the generator's loss; arguments as for `disc_gradients`.

    Returns:
      `(gradients, metrics)`.
    """

    def judge(x: jax.Array) -> tuple[Any, Any]:
        """Logits and features."""
        variables = state.disc.variables
        logits, beside = _forward_with_outputs(game.discriminator, variables, x, cond)
        return logits, beside.get("features")

    real_features = None
    if any(term.needs_features for term in game.objective.gen):
        real_features = jax.lax.stop_gradient(judge(real)[1])

    def loss(made: tuple[jax.Array, Any]) -> tuple[jax.Array, dict[str, jax.Array]]:
        fake, beside = made
        fake_logits, fake_features = judge(fake)
        outputs = Pass(
            real,
            fake,
            fake_logits,
            outputs=beside,
            fake_features=fake_features,
            real_features=real_features,
            frozen=frozen or {},
        )
        total, shares = weighted_sum(game.objective.gen, outputs)
        return total, {**shares, "G": total}

    made = (generation.fake, generation.outputs)
    toward, metrics = jax.grad(loss, has_aux=True)(made)
    (grads,) = generation.pullback(toward)
    return grads, metrics

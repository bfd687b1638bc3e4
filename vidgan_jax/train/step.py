"""The GAN step, one for every model: discriminator updates, a generator update, the average."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, cast

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn
from flax.typing import VariableDict
from jax.sharding import Mesh

from vidgan_jax.losses.objective import Objective, Pass, weighted_sum
from vidgan_jax.train import sharding
from vidgan_jax.train.state import GanState, PlayerState
from vidgan_jax.types import ArrayLike, Batch, Metrics

StepFn = Callable[[GanState, Batch], tuple[GanState, Metrics]]


@dataclasses.dataclass(frozen=True)
class Game:
    """Two networks, what they minimise and how they are updated: all that a step needs.

    Attributes:
      generator: maps `(z, cond)` to examples in [-1, 1].
      discriminator: maps `(examples, cond)` to logits.
      objective: both players' terms.
      gen_optimizer: of the generator.
      disc_optimizer: of the discriminator.
      z_dim: length of a latent; latents are standard normal.
      ema_decay: of the generator's average, a step; 0 keeps no memory.
      num_disc_steps: updates of the discriminator for one of the generator, each on its own reals
        and fakes.
    """

    generator: nn.Module
    discriminator: nn.Module
    objective: Objective
    gen_optimizer: optax.GradientTransformation
    disc_optimizer: optax.GradientTransformation
    z_dim: int
    ema_decay: float = 0.999
    num_disc_steps: int = 1


def to_unit_range(frames: jax.Array) -> jax.Array:
    """uint8 in [0, 255] to float32 in [-1, 1], on the device: bytes travel, floats don't."""
    return frames.astype(jnp.float32) / 127.5 - 1.0


def to_uint8(frames: jax.Array) -> jax.Array:
    """float in [-1, 1] (clipped) to uint8, rounded."""
    return jnp.round((jnp.clip(frames, -1.0, 1.0) + 1.0) * 127.5).astype(jnp.uint8)


def forward(module: nn.Module, variables: VariableDict, *args: Any) -> jax.Array:
    """Applies a network whose collections stay as they are."""
    return cast(jax.Array, module.apply(variables, *args))


def _apply(
    module: nn.Module, player: PlayerState, params: Any, *args: Any
) -> tuple[jax.Array, Any]:
    """Applies a network in its own player's update: `(output, updated collections)`."""
    variables = {"params": params, **player.collections}
    return module.apply(variables, *args, mutable=list(player.collections))


def _update(
    optimizer: optax.GradientTransformation, player: PlayerState, grads: Any, collections: Any
) -> PlayerState:
    updates, opt_state = optimizer.update(grads, player.opt_state, player.params)
    params = optax.apply_updates(player.params, updates)
    return PlayerState(params=params, collections=collections, opt_state=opt_state)


def disc_gradients(
    game: Game, state: GanState, real: jax.Array, cond: ArrayLike | None, z: jax.Array
) -> tuple[Any, Any, dict[str, jax.Array]]:
    """Gradients of the discriminator's loss.

    Args:
      game: networks and terms.
      state: before the update.
      real: float32 in [-1, 1], `[b, *axes, c]`.
      cond: the generator's condition, or None.
      z: float32 `[b, z_dim]`.

    Returns:
      `(gradients, new collections of D, metrics)`.
    """
    disc = state.disc
    fake = jax.lax.stop_gradient(forward(game.generator, state.gen.variables, z, cond))

    def loss(params: Any) -> tuple[jax.Array, tuple[Any, dict[str, jax.Array]]]:
        def critic(x: jax.Array) -> jax.Array:
            return forward(game.discriminator, {"params": params, **disc.collections}, x, cond)

        real_logits, collections = _apply(game.discriminator, disc, params, real, cond)
        after = disc.replace(collections=collections)
        fake_logits, collections = _apply(game.discriminator, after, params, fake, cond)
        outputs = Pass(real, fake, fake_logits, real_logits=real_logits, critic=critic)
        total, shares = weighted_sum(game.objective.disc, outputs)
        return total, (collections, shares)

    grads, (collections, shares) = jax.grad(loss, has_aux=True)(disc.params)
    # `D` is the adversarial loss, regularisers apart, as in the thesis's figure 4-13.
    adversarial = sum(v for k, v in shares.items() if k.startswith("D_"))
    return grads, collections, {**shares, "D": adversarial}


def gen_gradients(
    game: Game, state: GanState, real: jax.Array, cond: ArrayLike | None, z: jax.Array
) -> tuple[Any, Any, dict[str, jax.Array]]:
    """Gradients of the generator's loss; arguments and results as for `disc_gradients`."""
    gen = state.gen

    def loss(params: Any) -> tuple[jax.Array, tuple[Any, dict[str, jax.Array]]]:
        fake, collections = _apply(game.generator, gen, params, z, cond)
        fake_logits = forward(game.discriminator, state.disc.variables, fake, cond)
        total, shares = weighted_sum(game.objective.gen, Pass(real, fake, fake_logits))
        return total, (collections, {**shares, "G": total})

    grads, (collections, metrics) = jax.grad(loss, has_aux=True)(gen.params)
    return grads, collections, metrics


def gan_step(game: Game, state: GanState, batch: Batch) -> tuple[GanState, Metrics]:
    """One step: `num_disc_steps` updates of D, one of G, then the average of G.

    Args:
      game: networks, terms, optimisers.
      state: before the step.
      batch: uint8 frames `[num_disc_steps · b, *axes, c]`.

    Returns:
      The state after it and float32 scalars: every term's share, `D`, `G`.
    """
    k = game.num_disc_steps
    b = batch.frames.shape[0] // k
    # [b · k] → [b, k]: each device splits what it holds, nothing moves between devices.
    parts = jax.tree.map(lambda x: x.reshape(b, k, *x.shape[1:]), batch)
    keys = jax.random.split(jax.random.fold_in(state.key, state.step), k + 1)

    for i in range(k):
        part: Batch = jax.tree.map(lambda x, i=i: x[:, i], parts)
        real, cond = to_unit_range(jnp.asarray(part.frames)), part.label_map
        z = jax.random.normal(keys[i], (b, game.z_dim))
        grads, collections, disc_metrics = disc_gradients(game, state, real, cond, z)
        state = state.replace(disc=_update(game.disc_optimizer, state.disc, grads, collections))

    z = jax.random.normal(keys[k], (b, game.z_dim))
    grads, collections, gen_metrics = gen_gradients(game, state, real, cond, z)
    gen = _update(game.gen_optimizer, state.gen, grads, collections)
    ema = optax.incremental_update(gen.params, state.ema_params, 1.0 - game.ema_decay)
    state = state.replace(step=state.step + 1, gen=gen, ema_params=ema)
    return state, {**disc_metrics, **gen_metrics}


class TrainStep:
    """The compiled step on a mesh; lazy terms make for one program with and one without them.

    Calling it donates the state: use the returned one.
    """

    def __init__(self, game: Game, mesh: Mesh) -> None:
        self._game = game
        self._state_sharding = sharding.replicated(mesh)
        self._batch_sharding = sharding.batch_sharding(mesh)
        self._programs: dict[tuple[str, ...], StepFn] = {}

    def __call__(self, state: GanState, batch: Batch, step: int) -> tuple[GanState, Metrics]:
        """Runs step number `step`, which the caller knows on the host (it equals `state.step`)."""
        return self.program(step)(state, batch)

    def program(self, step: int) -> Any:
        """The jitted function for step number `step`."""
        due = self._game.objective.due(step)
        names = tuple(term.name for term in (*due.gen, *due.disc))
        if names not in self._programs:
            game = dataclasses.replace(self._game, objective=due)

            def gan_step_of_due_terms(state: GanState, batch: Batch) -> tuple[GanState, Metrics]:
                return gan_step(game, state, batch)

            self._programs[names] = jax.jit(
                gan_step_of_due_terms,
                in_shardings=(self._state_sharding, self._batch_sharding),
                out_shardings=self._state_sharding,
                donate_argnums=0,
            )
        return self._programs[names]

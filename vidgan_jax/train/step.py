"""The GAN step, one for every model: discriminator updates, a generator update, the average."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn
from flax.typing import VariableDict
from jax.sharding import Mesh

from vidgan_jax.losses.objective import Objective, Pass, weighted_sum
from vidgan_jax.train import sharding
from vidgan_jax.train.state import GanState, PlayerState, averaged_collections
from vidgan_jax.types import BATCH_STATS, OUTPUTS, SPECTRAL, ArrayLike, Batch, Metrics

StepFn = Callable[[GanState, Batch, Mapping[str, Any]], tuple[GanState, Metrics]]


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


def _apply(
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


def _update(
    optimizer: optax.GradientTransformation,
    player: PlayerState,
    grads: Any,
    collections: Any,
    weight_clip: float = 0.0,
) -> PlayerState:
    updates, opt_state = optimizer.update(grads, player.opt_state, player.params)
    params = optax.apply_updates(player.params, updates)
    if weight_clip:
        params = jax.tree.map(lambda p: jnp.clip(p, -weight_clip, weight_clip), params)
    return PlayerState(params=params, collections=collections, opt_state=opt_state)


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
    game: Game, state: GanState, real: jax.Array, cond: ArrayLike | None, z: jax.Array
) -> Generation:
    """Runs the generator as its update does, once for all that looks at the result.

    Args:
      game: networks and terms.
      state: before the update.
      real: float32 in [-1, 1], `[b, *axes, c]`.
      cond: the generator's condition, or None.
      z: float32 `[b, z_dim]`.
    """

    def run(params: Any) -> tuple[tuple[Any, Any], Any]:
        variables = {"params": params, **state.gen.collections}
        inputs = game.gen_inputs(z, cond, real)
        fake, collections, outputs = _apply(game.generator, variables, *inputs)
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

    Returns:
      `(gradients, new collections of D, metrics)`.
    """
    disc = state.disc
    fake = jax.lax.stop_gradient(fake)

    def loss(params: Any) -> tuple[jax.Array, tuple[Any, dict[str, jax.Array]]]:
        variables = {"params": params, **disc.collections}
        real_logits, after, _ = _apply(game.discriminator, variables, real, cond)

        def critic(x: jax.Array) -> jax.Array:
            return forward(game.discriminator, {"params": params, **after}, x, cond)

        # One power iteration an update, not one for each of its batches.
        fake_logits, after_both, _ = _apply(
            game.discriminator, {"params": params, **after}, fake, cond, frozen=("params", SPECTRAL)
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
        return total, (after_both, shares)

    grads, (collections, shares) = jax.grad(loss, has_aux=True)(disc.params)
    # `D` is the adversarial loss, regularisers apart, as in the thesis's figure 4-13.
    adversarial = sum(v for k, v in shares.items() if k.startswith("D_"))
    return grads, collections, {**shares, "D": adversarial}


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


def gan_step(
    game: Game, state: GanState, batch: Batch, frozen: Mapping[str, Any] | None = None
) -> tuple[GanState, Metrics]:
    """One step: `num_disc_steps` updates of D, one of G, then the average of G.

    The generator's update is on the examples of the last of D's, as that has left D.

    Args:
      game: networks, terms, optimisers.
      state: before the step.
      batch: uint8 frames `[num_disc_steps · b, *axes, c]`, label maps where the networks take any.
      frozen: variables of networks that terms look through, by name.

    Returns:
      The state after it and float32 scalars: every term's share, `D`, `G`.
    """
    k = game.num_disc_steps
    b = batch.frames.shape[0] // k
    # [b · k] → [b, k]: each device splits what it holds, nothing moves between devices.
    parts = jax.tree.map(lambda x: x.reshape(b, k, *x.shape[1:]), batch)
    keys = jax.random.split(jax.random.fold_in(state.key, state.step), 2 * k)

    for i in range(k):
        part: Batch = jax.tree.map(lambda x, i=i: x[:, i], parts)
        real, cond = to_unit_range(jnp.asarray(part.frames)), part.label_map
        z = jax.random.normal(keys[2 * i], (b, game.z_dim))
        if i < k - 1:
            inputs = game.gen_inputs(z, cond, real)
            fake = forward_in_training(game.generator, state.gen.variables, *inputs)
        else:
            # The generator's update is on the examples that D just saw: they are made once.
            generation = generate(game, state, real, cond, z)
            fake = generation.fake
        grads, collections, disc_metrics = disc_gradients(
            game, state, real, cond, fake, keys[2 * i + 1], frozen
        )
        disc = _update(game.disc_optimizer, state.disc, grads, collections, game.disc_weight_clip)
        state = state.replace(disc=disc)

    grads, gen_metrics = gen_gradients(game, state, real, cond, generation, frozen)
    gen = _update(game.gen_optimizer, state.gen, grads, generation.collections)
    now = (gen.params, averaged_collections(gen.collections))
    so_far = (state.ema_params, state.ema_collections)
    # So written, an average of what does not change does not change either.
    ema_params, ema_collections = jax.tree.map(
        lambda new, old: old + (1.0 - game.ema_decay) * (new - old), now, so_far
    )
    state = state.replace(
        step=state.step + 1, gen=gen, ema_params=ema_params, ema_collections=ema_collections
    )
    return state, {**disc_metrics, **gen_metrics}


class TrainStep:
    """The compiled step on a mesh; lazy terms make for one program with and one without them.

    Calling it donates the state: use the returned one.

    Args:
      game: networks, terms, optimisers.
      mesh: of devices.
      frozen: variables of networks that terms look through, by name. They are an argument of the
        program: as constants in it, millions of weights would take minutes to compile.

    Attributes:
      frozen: the same on the mesh, the program's third argument.
    """

    def __init__(self, game: Game, mesh: Mesh, frozen: Mapping[str, Any] | None = None) -> None:
        self._game = game
        self._state_sharding = sharding.replicated(mesh)
        self.frozen = jax.device_put(dict(frozen or {}), self._state_sharding)
        self._batch_sharding = sharding.batch_sharding(mesh)
        self._programs: dict[tuple[str, ...], StepFn] = {}

    def __call__(self, state: GanState, batch: Batch, step: int) -> tuple[GanState, Metrics]:
        """Runs step number `step`, which the caller knows on the host (it equals `state.step`)."""
        return self.program(step)(state, batch, self.frozen)

    def program(self, step: int) -> Any:
        """The jitted function for step number `step`, of state, batch and `frozen`."""
        due = self._game.objective.due(step)
        names = tuple(term.name for term in (*due.gen, *due.disc))
        if names not in self._programs:
            game = dataclasses.replace(self._game, objective=due)

            def gan_step_of_due_terms(
                state: GanState, batch: Batch, frozen: Mapping[str, Any]
            ) -> tuple[GanState, Metrics]:
                return gan_step(game, state, batch, frozen)

            self._programs[names] = jax.jit(
                gan_step_of_due_terms,
                in_shardings=(self._state_sharding, self._batch_sharding, self._state_sharding),
                out_shardings=self._state_sharding,
                donate_argnums=0,
            )
        return self._programs[names]

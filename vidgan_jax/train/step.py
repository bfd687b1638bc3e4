"""The GAN step, one for every model: discriminator updates, a generator update, the average."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh

from vidgan_jax.train import sharding
from vidgan_jax.train.passes import (
    Game,
    Generation,
    apply,
    disc_gradients,
    forward_in_training,
    gen_gradients,
    generate,
    to_unit_range,
)
from vidgan_jax.train.sharding import Placement
from vidgan_jax.train.state import GanState, PlayerState, averaged_collections
from vidgan_jax.types import ArrayLike, Batch, Metrics


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


class _Part(NamedTuple):
    """What one pass through the networks takes; leading axis `b`, the key apart.

    Attributes:
      real: float32 in [-1, 1].
      cond: the generator's condition, or None.
      z: latents.
      key: for what terms draw.
    """

    real: jax.Array
    cond: ArrayLike | None
    z: jax.Array
    key: jax.Array


def _split(part: _Part, num: int) -> _Part:
    """Into `num` parts along a new leading axis; each device splits what it holds."""

    def divide(x: ArrayLike) -> jax.Array:
        return jnp.moveaxis(jnp.asarray(x).reshape(-1, num, *x.shape[1:]), 1, 0)

    cond = None if part.cond is None else divide(part.cond)
    return _Part(divide(part.real), cond, divide(part.z), jax.random.split(part.key, num))


def _in_parts(
    update: Callable[[Any, _Part, bool], tuple[Any, Any, dict[str, jax.Array]]],
    collections: Any,
    part: _Part,
    num: int,
) -> tuple[Any, Any, dict[str, jax.Array]]:
    """An update's gradients and metrics as the mean over `num` parts of its batch.

    Args:
      update: maps `(collections, part, whether it is the first)` to `(gradients, collections,
        metrics)`.
      collections: before the first part; each part takes those that the one before it left.
      part: the whole batch.
      num: parts.
    """
    if num == 1:
        return update(collections, part, True)
    parts = _split(part, num)
    # By itself, for it alone moves spectral vectors; the others share one program.
    grads, collections, metrics = update(collections, jax.tree.map(lambda x: x[0], parts), True)

    def add(carried: Any, next_part: _Part) -> tuple[Any, None]:
        collections, so_far = carried
        grads, collections, metrics = update(collections, next_part, False)
        return (collections, jax.tree.map(jnp.add, so_far, (grads, metrics))), None

    rest = jax.tree.map(lambda x: x[1:], parts)
    (collections, sums), _ = jax.lax.scan(add, (collections, (grads, metrics)), rest)
    grads, metrics = jax.tree.map(lambda x: x / num, sums)
    return grads, collections, metrics


def gan_step(
    game: Game,
    state: GanState,
    batch: Batch,
    frozen: Mapping[str, Any] | None = None,
    placement: Placement | None = None,
) -> tuple[GanState, Metrics]:
    """One step: `num_disc_steps` updates of D, one of G, then the average of G.

    The generator's update is on the examples of the last of D's, as that has left D.

    Args:
      game: networks, terms, optimisers.
      state: before the step.
      batch: uint8 frames `[num_disc_steps · b, *axes, c]`, label maps where the networks take any;
        b is `num_parts` times what goes through the networks at once.
      frozen: variables of networks that terms look through, by name.
      placement: where the arrays lie; None leaves it to XLA.

    Returns:
      The state after it and float32 scalars: every term's share, `D`, `G`, the share of right
      logits `D_accuracy`, and the norms of both gradients, of D's last update.
    """
    k, place = game.num_disc_steps, placement or Placement()
    b = batch.frames.shape[0] // k
    # [b · k] → [b, k]: each device splits what it holds, nothing moves between devices.
    parts = jax.tree.map(lambda x: x.reshape(b, k, *x.shape[1:]), batch)
    keys = jax.random.split(jax.random.fold_in(state.key, state.step), 2 * k)
    # As networks take them; the state's own parameters may be divided among devices.
    gen_whole = state.gen.replace(params=place.whole(state.gen.params))

    for i in range(k):
        part: Batch = jax.tree.map(lambda x, i=i: x[:, i], parts)
        real = to_unit_range(jnp.asarray(part.frames))
        z = place.spread(jax.random.normal(keys[2 * i], (b, game.z_dim)))
        examples = _Part(real, part.label_map, z, keys[2 * i + 1])
        disc_whole = state.disc.replace(params=place.whole(state.disc.params))
        whole = state.replace(gen=gen_whole, disc=disc_whole)
        generation = None
        if i == k - 1 and game.num_parts == 1:
            # The generator's update is on the examples that D sees now: they are made once.
            generation = generate(game, whole, real, part.label_map, z)
        make = functools.partial(_fakes, game, whole, generation, in_gen_update=i == k - 1)
        grads, collections, disc_metrics = _disc_update(game, whole, examples, make, frozen)
        grads = place.summed(grads)
        disc = _update(game.disc_optimizer, state.disc, grads, collections, game.disc_weight_clip)
        disc_metrics["grad_norm_D"] = _norm(grads)
        state = state.replace(disc=disc)

    disc_whole = state.disc.replace(params=place.whole(state.disc.params))
    whole = state.replace(gen=gen_whole, disc=disc_whole)
    grads, collections, gen_metrics = _gen_update(game, whole, examples, generation, frozen)
    grads = place.summed(grads)
    gen_metrics["grad_norm_G"] = _norm(grads)
    gen = _update(game.gen_optimizer, state.gen, grads, collections)
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


def _norm(grads: Any) -> jax.Array:
    """Length of all gradients as one vector; not finite where any of them isn't."""
    return jnp.sqrt(sum(jnp.sum(jnp.square(leaf)) for leaf in jax.tree.leaves(grads)))


def _fakes(
    game: Game,
    state: GanState,
    generation: Generation | None,
    part: _Part,
    *,
    in_gen_update: bool,
) -> jax.Array:
    """The examples that D sees: in the last of its updates those that G's update is on."""
    if generation is not None:
        return generation.fake
    inputs = game.gen_inputs(part.z, part.cond, part.real)
    if in_gen_update:  # what moves meanwhile will move there again, in the same way
        return apply(game.generator, state.gen.variables, *inputs)[0]
    return forward_in_training(game.generator, state.gen.variables, *inputs)


def _disc_update(
    game: Game,
    state: GanState,
    examples: _Part,
    make: Callable[[_Part], jax.Array],
    frozen: Mapping[str, Any] | None,
) -> tuple[Any, Any, dict[str, jax.Array]]:
    """Gradients of one update of D, its collections after it, metrics."""

    def update(collections: Any, part: _Part, first: bool) -> Any:
        now = state.replace(disc=state.disc.replace(collections=collections))
        return disc_gradients(
            game, now, part.real, part.cond, make(part), part.key, frozen, first=first
        )

    return _in_parts(update, state.disc.collections, examples, game.num_parts)


def _gen_update(
    game: Game,
    state: GanState,
    examples: _Part,
    generation: Generation | None,
    frozen: Mapping[str, Any] | None,
) -> tuple[Any, Any, dict[str, jax.Array]]:
    """Gradients of G's update, its collections after it, metrics.

    Args:
      game: networks and terms.
      state: with D as its last update has left it.
      examples: the reals and latents.
      generation: what G has made of them already; None to make it part by part.
      frozen: variables of networks that terms look through, by name.
    """

    def update(collections: Any, part: _Part, first: bool) -> Any:
        made = generation
        if made is None:
            now = state.replace(gen=state.gen.replace(collections=collections))
            made = generate(game, now, part.real, part.cond, part.z, first=first)
        grads, metrics = gen_gradients(game, state, part.real, part.cond, made, frozen)
        return grads, made.collections, metrics

    return _in_parts(update, state.gen.collections, examples, game.num_parts)


class TrainStep:
    """The compiled step on a mesh; lazy terms make for one program with and one without them.

    Calling it donates the state: use the returned one.

    Args:
      game: networks, terms, optimisers.
      mesh: of devices.
      frozen: variables of networks that terms look through, by name. They are an argument of the
        program: as constants in it, millions of weights would take minutes to compile.
      min_shard_size: numbers in a parameter from which on a mesh with an `fsdp` axis divides it.

    Attributes:
      frozen: the same on the mesh, the program's third argument.
    """

    def __init__(
        self,
        game: Game,
        mesh: Mesh,
        frozen: Mapping[str, Any] | None = None,
        min_shard_size: int = sharding.MIN_SHARD_SIZE,
    ) -> None:
        self._game = game
        self._placement = Placement(mesh, min_shard_size)
        self._everywhere = sharding.replicated(mesh)
        self.frozen = jax.device_put(dict(frozen or {}), self._everywhere)
        self._programs: dict[tuple[str, ...], Any] = {}

    def __call__(self, state: GanState, batch: Batch, step: int) -> tuple[GanState, Metrics]:
        """Runs step number `step`, which the caller knows on the host (it equals `state.step`)."""
        return cast(tuple[GanState, Metrics], self.program(step, state)(state, batch, self.frozen))

    def program(self, step: int, state: GanState) -> Any:
        """The jitted function for step number `step`, of state, batch and `frozen`.

        Args:
          step: whose terms are due.
          state: or its shapes, which say how it is divided.
        """
        due = self._game.objective.due(step)
        names = tuple(term.name for term in (*due.gen, *due.disc))
        if names not in self._programs:
            game, placement = dataclasses.replace(self._game, objective=due), self._placement

            def gan_step_of_due_terms(
                state: GanState, batch: Batch, frozen: Mapping[str, Any]
            ) -> tuple[GanState, Metrics]:
                return gan_step(game, state, batch, frozen, placement)

            laid_out = placement.of_state(state)
            self._programs[names] = jax.jit(
                gan_step_of_due_terms,
                in_shardings=(laid_out, placement.of_batch, self._everywhere),
                out_shardings=(laid_out, self._everywhere),
                donate_argnums=0,
            )
        return self._programs[names]

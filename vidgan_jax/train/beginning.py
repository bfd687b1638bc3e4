"""How a run begins: devices, networks' state, data; anew, from weights, or from a checkpoint."""

import dataclasses
import functools
import pathlib
import sys
from collections.abc import Mapping
from typing import Any

import jax
from flax.typing import VariableDict
from jax.sharding import Mesh

from vidgan_jax.data.clips import ClipIterator, training_loader
from vidgan_jax.data.collection import Clips
from vidgan_jax.data.tfexample import RecordError
from vidgan_jax.experiment import Experiment
from vidgan_jax.train import sharding
from vidgan_jax.train.checkpoint import Checkpoints, make_meta
from vidgan_jax.train.passes import Game
from vidgan_jax.train.state import GanState, create_state, with_moments
from vidgan_jax.train.weights import Weights
from vidgan_jax.train.workdir import tell_changes
from vidgan_jax.types import PyTree


def make_game(experiment: Experiment, num_steps: int) -> Game:
    """What the step needs, for a run of `num_steps`."""
    gen_optimizer, disc_optimizer = experiment.optimizers(num_steps)
    train = experiment.config.train
    return Game(
        generator=experiment.generator,
        discriminator=experiment.discriminator,
        objective=experiment.objective,
        gen_optimizer=gen_optimizer,
        disc_optimizer=disc_optimizer,
        z_dim=experiment.config.model.z_dim,
        ema_decay=train.ema_decay,
        num_disc_steps=train.num_disc_steps,
        disc_weight_clip=experiment.config.loss.weight_clip,
        encodes=experiment.config.model.encoder,
        num_parts=train.grad_accum_steps,
    )


def make_mesh(experiment: Experiment) -> Mesh:
    """The devices as the config arranges them.

    Raises:
      ValueError: they can't be arranged so, or can't share the batch equally.
    """
    config = experiment.config
    mesh = sharding.make_mesh(data=config.mesh.data, fsdp=config.mesh.fsdp)
    check_batch(experiment, mesh)
    return mesh


def check_batch(experiment: Experiment, mesh: Mesh) -> None:
    """Refuses a batch that the devices can't share equally.

    Raises:
      ValueError: with the sizes nearest to it that work.
    """
    train = experiment.config.train
    sharding.check_batch_size(train.batch_size, mesh, num_parts=train.grad_accum_steps)


def state_layout(experiment: Experiment, game: Game, mesh: Mesh) -> GanState:
    """The state's `jax.ShapeDtypeStruct`s, with how each leaf lies on a mesh."""
    shapes = jax.eval_shape(functools.partial(initial_state, experiment, game))
    layout: GanState = jax.tree.map(
        lambda leaf, how: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=how),
        shapes,
        sharding.state_shardings(shapes, mesh, experiment.config.mesh.min_shard_size),
    )
    return layout


def initial_state(experiment: Experiment, game: Game) -> GanState:
    """A random state at step 0, as the config's seed draws it; traceable."""
    seed = experiment.config.train.seed
    # XLA's own generator for the parameters: a third of threefry's time to compile and run.
    gen, disc = experiment.init_variables(jax.random.key(seed, impl="rbg"))
    key = jax.random.key(seed)
    return create_state(key, gen, disc, game.gen_optimizer, game.disc_optimizer)


def state_from(
    experiment: Experiment,
    game: Game,
    gen: VariableDict,
    disc: VariableDict,
    ema: VariableDict,
    moments: Mapping[str, Mapping[str, PyTree]] | None,
) -> GanState:
    """A state at step 0 around given weights; traceable.

    The optimisers start fresh, but for `moments` ("gen" and "disc") where they are given.
    """
    key = jax.random.key(experiment.config.train.seed)
    state = create_state(key, gen, disc, game.gen_optimizer, game.disc_optimizer, ema)
    if moments is None:
        return state
    players = {
        name: player.replace(opt_state=with_moments(player.opt_state, moments[name]))
        for name, player in (("gen", state.gen), ("disc", state.disc))
    }
    return state.replace(**players)


def open_loader(experiment: Experiment, source: Clips) -> ClipIterator:
    """This process's part of the training data.

    Raises:
      ValueError: no clip is long enough, or the batch can't be shared among the processes.
    """
    config = experiment.config
    if config.train.batch_size % jax.process_count():
        raise ValueError(
            f"batch_size (={config.train.batch_size}) must divide by the {jax.process_count()} "
            "processes"
        )
    batch_size = config.train.batch_size * config.train.num_disc_steps
    skips = config.faults.damaged_records == "skip"
    return training_loader(
        source,
        experiment.clip_spec,
        batch_size=batch_size // jax.process_count(),
        seed=config.train.seed,
        process_index=jax.process_index(),
        process_count=jax.process_count(),
        num_workers=config.data.num_workers,
        num_threads=config.data.num_threads,
        max_skipped=config.faults.max_skipped_records if skips else None,
        on_skip=_tell_skipped if skips else None,
    )


def _tell_skipped(error: RecordError, count: int) -> None:
    where = f"process {jax.process_index()}: " if jax.process_count() > 1 else ""
    print(f"warning: {where}skipped damaged record number {count}: {error}", file=sys.stderr)


@dataclasses.dataclass(frozen=True)
class Beginning:
    """Where a run goes on from.

    Attributes:
      state: on the devices.
      step: that it is of.
      loader: the loader's state.
      meta: the checkpoint's; empty without one.
    """

    state: GanState
    step: int
    loader: Mapping[str, Any]
    meta: Mapping[str, Any]

    @property
    def num_rollbacks(self) -> int:
        """How often the run has gone back to a checkpoint so far."""
        return int(self.meta.get("num_rollbacks", 0))


def begin(
    experiment: Experiment,
    game: Game,
    mesh: Mesh,
    checkpoints: Checkpoints,
    initial: Weights | None,
) -> Beginning:
    """The newest whole checkpoint, or else the first step, from weights or random ones.

    Raises:
      ValueError: the checkpoint is of other networks; none is whole.
    """
    layout = state_layout(experiment, game, mesh)
    found = checkpoints.restore_newest(layout)
    if found is not None:
        where = checkpoints.directory / str(found.step)
        _check_time(found.meta["config"]["model"], experiment, where)
        return Beginning(found.state, found.step, found.loader, found.meta)
    shardings = jax.tree.map(lambda leaf: leaf.sharding, layout)
    if initial is None:
        make = functools.partial(initial_state, experiment, game)
        state = jax.jit(make, out_shardings=shardings)()
    else:
        # As arguments: what a jitted function closes over becomes constants of the program.
        place = jax.jit(functools.partial(state_from, experiment, game), out_shardings=shardings)
        state = place(initial.gen, initial.disc, initial.ema, initial.moments)
    return Beginning(state, 0, {"samples": 0}, {})


def with_other_draws(beginning: Beginning, mesh: Mesh, num_rollbacks: int) -> Beginning:
    """The same, but all that is drawn from there on comes out differently."""
    draw = jax.jit(jax.random.fold_in, out_shardings=sharding.replicated(mesh))
    key = draw(beginning.state.key, num_rollbacks)
    meta = {**beginning.meta, "num_rollbacks": num_rollbacks}
    return dataclasses.replace(beginning, state=beginning.state.replace(key=key), meta=meta)


def ran_on(mesh: Mesh) -> dict[str, Any]:
    """What a run runs on, as a checkpoint's meta keeps it."""
    return {"processes": jax.process_count(), "mesh": dict(mesh.shape)}


def tell_resumed(experiment: Experiment, mesh: Mesh, beginning: Beginning) -> None:
    """Says on stderr what is other than in the checkpoint that a run goes on from."""
    if not beginning.meta:
        return
    now = make_meta(dataclasses.asdict(experiment.config))
    tell_changes(beginning.meta["config"], now["config"])
    before, here = beginning.meta.get("ran_on"), ran_on(mesh)
    if before is not None and before != here and jax.process_index() == 0:
        print(
            f"resumed on {_in_words(here)}, before on {_in_words(before)}: the data goes on at the "
            f"same place, {beginning.loader['samples']} samples from the run's first",
            file=sys.stderr,
        )


def _in_words(where: Mapping[str, Any]) -> str:
    shape = " × ".join(f"{n} {axis}" for axis, n in where["mesh"].items())
    return f"{where['processes']} process(es), {shape} devices"


def _check_time(model: Mapping[str, Any], experiment: Experiment, where: pathlib.Path) -> None:
    """Refuses the one change of a model that its parameters' shapes don't tell."""
    for name in ("time_stages", "encoder_time_stages"):
        new = getattr(experiment.config.model, name)
        old = tuple(model.get(name, new))  # older checkpoints know no encoder
        if experiment.config.model.num_frames and old != new:
            raise ValueError(
                f"config.model.{name} (={new}) is {old} in {where}; set it as it was, or give "
                "another --workdir"
            )

"""The training loop: the only place that loops over steps."""

import contextlib
import dataclasses
import functools
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from flax.typing import VariableDict
from jax.sharding import Mesh

from vidgan_jax import files
from vidgan_jax.data.clips import ClipIterator, training_loader
from vidgan_jax.data.collection import Clips
from vidgan_jax.data.tfexample import RecordError
from vidgan_jax.experiment import Experiment
from vidgan_jax.progress import ProgressReport
from vidgan_jax.train import sharding
from vidgan_jax.train.checkpoint import Checkpoints, Weights, make_meta
from vidgan_jax.train.metrics import LateMetrics
from vidgan_jax.train.samples import Sampler
from vidgan_jax.train.state import GanState, create_state, with_moments
from vidgan_jax.train.step import Game, TrainStep
from vidgan_jax.train.stopping import stop_requests
from vidgan_jax.train.workdir import alone, tell_changes
from vidgan_jax.train.writers import MetricsWriter
from vidgan_jax.types import Metrics, PyTree


@dataclasses.dataclass(frozen=True)
class Outcome:
    """How a run ended.

    Attributes:
      step: that was reached, and saved.
      num_steps: that were asked for.
      stopped_by: the signal that ended the run early; None without one.
    """

    step: int
    num_steps: int
    stopped_by: signal.Signals | None = None

    @property
    def finished(self) -> bool:
        """Whether all steps are done."""
        return self.step >= self.num_steps


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
    )


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
    return training_loader(
        source,
        experiment.clip_spec,
        batch_size=batch_size // jax.process_count(),
        seed=config.train.seed,
        process_index=jax.process_index(),
        process_count=jax.process_count(),
        num_workers=config.data.num_workers,
        num_threads=config.data.num_threads,
    )


def train(
    experiment: Experiment,
    source: Clips,
    workdir: Path,
    *,
    initial: Weights | None = None,
    frozen: Mapping[str, VariableDict] | None = None,
    mesh: Mesh | None = None,
    show_progress: bool = True,
) -> Outcome:
    """Trains until the config's last step, or until SIGTERM or SIGINT, from where `workdir` stands.

    Args:
      experiment: what to train.
      source: the clips.
      workdir: takes checkpoints, samples, metrics; a run found there is continued.
      initial: weights to start from where nothing is found there; None for random ones.
      frozen: of networks that the loss looks through, see `vidgan_jax.train.frozen`.
      mesh: devices; None for all.
      show_progress: on stderr.

    Raises:
      ValueError: sizes that don't fit the devices or the data; a workdir of other networks.
      FloatingPointError: a loss is not finite; the checkpoints until then stay.
      OSError: the workdir can't be written.
    """
    mesh = mesh or sharding.make_mesh()
    config = experiment.config
    sharding.check_batch_size(config.train.batch_size, mesh)
    workdir.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as stack:
        stack.enter_context(alone(workdir))
        loader = stack.enter_context(open_loader(experiment, source))
        num_steps = experiment.num_steps(loader.num_clips)
        game = make_game(experiment, num_steps)
        meta = make_meta(dataclasses.asdict(config), fps=_clip_fps(experiment, source))
        checkpoints = stack.enter_context(Checkpoints(workdir, keep=config.train.keep_checkpoints))
        state, start = _restore_or_start(experiment, game, mesh, checkpoints, loader, initial)
        if jax.process_index() == 0:
            files.write_json(workdir / "config.json", meta)
        if start >= num_steps:
            return Outcome(start, num_steps)
        loader.start_prefetch()  # the first batches are read while programs are compiled
        sampler = Sampler(experiment, mesh, workdir, fps=meta["fps"], source=source)
        train_step = TrainStep(game, mesh, frozen)
        run = _Run(experiment, mesh, train_step, sampler, checkpoints, loader, meta, num_steps)
        sampler.write(state, start)
        shown = show_progress and jax.process_index() == 0
        report = ProgressReport(config.name, total=num_steps, done=start, shown=shown)
        writer = MetricsWriter(workdir, resumed_step=start, enabled=jax.process_index() == 0)
        stack.enter_context(writer)
        stack.enter_context(report)
        return run.loop(state, start, writer, report)


def _clip_fps(experiment: Experiment, source: Clips) -> float:
    """Frames a second of generated clips: the data's, less the stride."""
    return (source.info.fps or 24.0) / experiment.clip_spec.stride


def _restore_or_start(
    experiment: Experiment,
    game: Game,
    mesh: Mesh,
    checkpoints: Checkpoints,
    loader: ClipIterator,
    initial: Weights | None,
) -> tuple[GanState, int]:
    everywhere = sharding.replicated(mesh)
    latest = checkpoints.latest_step()
    if latest is not None:
        shapes = jax.eval_shape(functools.partial(initial_state, experiment, game))
        like = jax.tree.map(
            lambda s: jax.ShapeDtypeStruct(s.shape, s.dtype, sharding=everywhere), shapes
        )
        state, position, meta = checkpoints.restore(latest, like)
        loader.set_state(position)
        _check_time(meta["config"]["model"], experiment, checkpoints.directory / str(latest))
        tell_changes(meta["config"], make_meta(dataclasses.asdict(experiment.config))["config"])
        return state, latest
    if initial is None:
        make = functools.partial(initial_state, experiment, game)
        return jax.jit(make, out_shardings=everywhere)(), 0

    # As arguments: what a jitted function closes over becomes constants of the program.
    place = jax.jit(functools.partial(state_from, experiment, game), out_shardings=everywhere)
    return place(initial.gen, initial.disc, initial.ema, initial.moments), 0


def _check_time(model: Mapping[str, Any], experiment: Experiment, where: Path) -> None:
    """Refuses the one change of a model that its parameters' shapes don't tell."""
    for name in ("time_stages", "encoder_time_stages"):
        new = getattr(experiment.config.model, name)
        old = tuple(model.get(name, new))  # older checkpoints know no encoder
        if experiment.config.model.num_frames and old != new:
            raise ValueError(
                f"config.model.{name} (={new}) is {old} in {where}; set it as it was, or give "
                "another --workdir"
            )


@dataclasses.dataclass(frozen=True)
class _Run:
    """What stays the same from step to step."""

    experiment: Experiment
    mesh: Mesh
    train_step: TrainStep
    sampler: Sampler
    checkpoints: Checkpoints
    loader: ClipIterator
    meta: Mapping[str, Any]
    num_steps: int

    def loop(
        self, state: GanState, start: int, writer: MetricsWriter, report: ProgressReport
    ) -> Outcome:
        """Steps `start` to `num_steps`. Order: step, metrics, samples, save, next batch."""
        train = self.experiment.config.train
        late = LateMetrics(writer, report, start, train.batch_size)
        metrics: Metrics = {}
        newest: dict[str, jax.Array] = {}  # since the last logged step: lazy terms have gaps
        step, last = start, False
        with stop_requests() as stopped:
            while not last:
                try:
                    # While the step before is computed: its call returned at once. The loader has
                    # the next batches ready and the copy to the devices is only begun here, so
                    # that holding a second batch there would save no time.
                    with late.waiting_for_data(metrics):
                        batch = sharding.put_batch(next(self.loader), self.mesh)
                except RecordError:  # costs no step so far
                    late.flush()
                    if step > start:
                        self._save(state, step)
                    raise
                state, metrics = self.train_step(state, batch, step)
                step += 1
                # Asked once a step: a signal from here on is the next step's.
                last = step == self.num_steps or bool(stopped)
                newest = {**newest, **metrics}
                if step == self.num_steps or step % train.log_every_steps == 0:
                    late.push(step, newest)
                    newest = {}
                late.progress(step)
                if last or step % train.sample_every_steps == 0:
                    self.sampler.write(state, step)
                if last or step % train.save_every_steps == 0:
                    late.flush()
                    self._save(state, step)
        late.progress(step, last=True)
        self.checkpoints.wait()
        early = stopped[0] if stopped and step < self.num_steps else None
        return Outcome(step, self.num_steps, early)

    def _save(self, state: GanState, step: int) -> None:
        """Starts a save, of a state that is worth one."""
        weights = (state.gen.variables, state.disc.variables, state.ema_variables)
        if not jax.device_get(_is_finite(weights)):
            raise FloatingPointError(
                f"weights are not finite at step {step}, and were not saved; lower the learning "
                "rates and go on from the last checkpoint"
            )
        if self.checkpoints.latest_step() != step:
            self.checkpoints.save(step, state, self.loader.get_state(), self.meta)


@jax.jit
def _is_finite(tree: PyTree) -> jax.Array:
    return jnp.all(jnp.stack([jnp.all(jnp.isfinite(leaf)) for leaf in jax.tree.leaves(tree)]))

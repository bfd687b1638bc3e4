"""The training loop: the only place that loops over steps."""

import contextlib
import dataclasses
import functools
import math
import signal
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import FrameType
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from vidgan_jax import files
from vidgan_jax.data import media
from vidgan_jax.data.clips import ClipIterator, training_loader
from vidgan_jax.data.records import ClipSource
from vidgan_jax.experiment import Experiment
from vidgan_jax.progress import ProgressReport
from vidgan_jax.train import sharding
from vidgan_jax.train.checkpoint import Checkpoints, Weights, make_meta
from vidgan_jax.train.state import GanState, create_state
from vidgan_jax.train.step import Game, TrainStep, forward, to_uint8
from vidgan_jax.train.writers import MetricsWriter

SAMPLES = "samples"


@dataclasses.dataclass(frozen=True)
class Outcome:
    """How a run ended.

    Attributes:
      step: that was reached, and saved.
      num_steps: that were asked for.
    """

    step: int
    num_steps: int

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
    )


def initial_state(experiment: Experiment, game: Game) -> GanState:
    """A random state at step 0, as the config's seed draws it; traceable."""
    seed = experiment.config.train.seed
    # XLA's own generator for the parameters: a third of threefry's time to compile and run.
    gen, disc = experiment.init_variables(jax.random.key(seed, impl="rbg"))
    key = jax.random.key(seed)
    return create_state(key, gen, disc, game.gen_optimizer, game.disc_optimizer)


def state_from(weights: Weights, experiment: Experiment, game: Game) -> GanState:
    """A state at step 0 around given weights, with fresh optimisers; traceable."""
    return create_state(
        jax.random.key(experiment.config.train.seed),
        weights.gen,
        weights.disc,
        game.gen_optimizer,
        game.disc_optimizer,
        ema_params=weights.ema_params,
    )


def open_loader(experiment: Experiment, source: ClipSource) -> ClipIterator:
    """This process's part of the training data.

    Raises:
      ValueError: no clip is long enough, or the batch can't be shared among the processes.
    """
    config = experiment.config
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
    source: ClipSource,
    workdir: Path,
    *,
    initial: Weights | None = None,
    mesh: Mesh | None = None,
    show_progress: bool = True,
) -> Outcome:
    """Trains until the config's last step, or until SIGTERM or SIGINT, from where `workdir` stands.

    Args:
      experiment: what to train.
      source: the clips.
      workdir: takes checkpoints, samples, metrics; a run found there is continued.
      initial: weights to start from where nothing is found there; None for random ones.
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
        loader = stack.enter_context(open_loader(experiment, source))
        num_steps = experiment.num_steps(loader.num_clips)
        game = make_game(experiment, num_steps)
        meta = make_meta(dataclasses.asdict(config), fps=_clip_fps(experiment, source))
        if jax.process_index() == 0:
            files.write_json(workdir / "config.json", meta)
        checkpoints = stack.enter_context(Checkpoints(workdir, keep=config.train.keep_checkpoints))
        state, start = _restore_or_start(experiment, game, mesh, checkpoints, loader, initial)
        run = _Run(experiment, game, mesh, workdir, checkpoints, loader, meta, num_steps)
        if start >= num_steps:
            return Outcome(start, num_steps)
        run.sampler.write(state, start)
        shown = show_progress and jax.process_index() == 0
        report = ProgressReport(config.name, total=num_steps, done=start, shown=shown)
        writer = MetricsWriter(workdir, resumed_step=start, enabled=jax.process_index() == 0)
        stack.enter_context(writer)
        stack.enter_context(report)
        return run.loop(state, start, writer, report)


def _clip_fps(experiment: Experiment, source: ClipSource) -> float:
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
        state, position, _ = checkpoints.restore(latest, like)
        loader.set_state(position)
        return state, latest
    make = (
        functools.partial(initial_state, experiment, game)
        if initial is None
        else functools.partial(state_from, initial, experiment, game)
    )
    return jax.jit(make, out_shardings=everywhere)(), 0


@dataclasses.dataclass(frozen=True)
class _Run:
    """What stays the same from step to step."""

    experiment: Experiment
    game: Game
    mesh: Mesh
    workdir: Path
    checkpoints: Checkpoints
    loader: ClipIterator
    meta: Mapping[str, Any]
    num_steps: int

    @functools.cached_property
    def sampler(self) -> "Sampler":
        return Sampler(self.experiment, self.mesh, self.workdir, fps=self.meta["fps"])

    def loop(
        self, state: GanState, start: int, writer: MetricsWriter, report: ProgressReport
    ) -> Outcome:
        """Steps `start` to `num_steps`. Order: step, metrics, samples, save, next batch."""
        train = self.experiment.config.train
        train_step = TrainStep(self.game, self.mesh)
        late = _LateMetrics(writer, report, start, train.batch_size)
        newest: dict[str, jax.Array] = {}  # since the last logged step: lazy terms have gaps
        step = start
        with _stop_requests() as stopped:
            while step < self.num_steps and not stopped.is_set():
                batch = sharding.put_batch(next(self.loader), self.mesh)
                state, metrics = train_step(state, batch, step)
                step += 1
                newest = {**newest, **metrics}
                if step % train.log_every_steps == 0:
                    late.push(step, newest)
                    newest = {}
                late.progress(step)
                last = step == self.num_steps or stopped.is_set()
                if last or step % train.sample_every_steps == 0:
                    self.sampler.write(state, step)
                if last or step % train.save_every_steps == 0:
                    late.flush()
                    self.checkpoints.save(step, state, self.loader.get_state(), self.meta)
        late.progress(step, last=True)
        self.checkpoints.wait()
        return Outcome(step, self.num_steps)


class _LateMetrics:
    """Fetches metrics one logged step late, so that the host never waits for the step in flight."""

    def __init__(
        self, writer: MetricsWriter, report: ProgressReport, start: int, batch_size: int
    ) -> None:
        self._writer, self._report = writer, report
        self._start, self._batch_size = start, batch_size
        self._pending: tuple[int, Mapping[str, jax.Array]] | None = None
        self._note = ""

    def push(self, step: int, metrics: Mapping[str, jax.Array]) -> None:
        """Takes a step's metrics and writes those of the one before."""
        self.flush()
        self._pending = (step, metrics)

    def flush(self) -> None:
        """Writes what is pending.

        Raises:
          FloatingPointError: a value is not finite.
        """
        if self._pending is None:
            return
        step, metrics = self._pending
        self._pending = None
        values = {name: float(value) for name, value in sorted(jax.device_get(metrics).items())}
        rate = (step - self._start) * self._batch_size / self._report.elapsed_s
        self._writer.write(step, {**values, "clips_per_s": round(rate, 3)})
        if bad := [name for name, value in values.items() if not math.isfinite(value)]:
            raise FloatingPointError(
                f"{', '.join(bad)} not finite at step {step}; lower the learning rates, or start "
                "again from a checkpoint in the workdir"
            )
        losses = ", ".join(f"{name} {values[name]:.3f}" for name in ("D", "G") if name in values)
        self._note = f"{losses}, "

    def progress(self, step: int, *, last: bool = False) -> None:
        """Shows the rate and the newest losses."""
        if last:
            self.flush()
        rate = (step - self._start) * self._batch_size / self._report.elapsed_s
        self._report.update(step, f"step {step}, {self._note}{rate:.1f} clips/s", last=last)


class Sampler:
    """Pictures of the averaged generator at the same latents, at any step."""

    def __init__(self, experiment: Experiment, mesh: Mesh, workdir: Path, *, fps: float) -> None:
        self._folder, self._fps = workdir / SAMPLES, fps
        train = experiment.config.train
        key = jax.random.fold_in(jax.random.key(train.seed), 0x5A3B1E)
        latents = jax.random.normal(key, (train.num_samples, experiment.config.model.z_dim))
        everywhere = sharding.replicated(mesh)

        def sample(variables: Any) -> jax.Array:
            return to_uint8(forward(experiment.generator, variables, latents))

        self._sample = jax.jit(sample, out_shardings=everywhere)

    def write(self, state: GanState, step: int) -> None:
        """Writes `samples/STEP.png`, and `.mp4` for clips; every process must call it."""
        examples = media.enlarge(np.asarray(self._sample(state.ema_variables)))
        if jax.process_index() != 0:
            return
        path = self._folder / f"{step:08d}.png"
        if examples.ndim == 4:
            media.write_png(path, media.tile_images(examples))
            return
        media.write_png(path, media.filmstrips(examples))
        loops = max(1, round(4 * self._fps / examples.shape[1]))  # about 4 s to look at
        grid = media.tile_images(examples)
        media.write_mp4(path.with_suffix(".mp4"), grid, fps=self._fps, loops=loops)


@contextlib.contextmanager
def _stop_requests() -> Iterator[threading.Event]:
    """SIGTERM or Ctrl-C sets the event, so that the loop can save; a second one acts as usual."""
    stopped = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stopped  # signals can be caught in the main thread only
        return
    before = {s: signal.getsignal(s) for s in (signal.SIGTERM, signal.SIGINT)}

    def on_signal(number: int, _: FrameType | None) -> None:
        stopped.set()
        signal.signal(number, before[signal.Signals(number)])

    for number in before:
        signal.signal(number, on_signal)
    try:
        yield stopped
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)

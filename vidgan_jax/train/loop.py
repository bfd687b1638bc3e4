"""The training loop: the only place that loops over steps."""

import contextlib
import dataclasses
import functools
import signal
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from flax.typing import VariableDict
from jax.sharding import Mesh

from vidgan_jax import files
from vidgan_jax.data.clips import ClipIterator
from vidgan_jax.data.collection import Clips
from vidgan_jax.data.tfexample import RecordError
from vidgan_jax.experiment import Experiment
from vidgan_jax.progress import ProgressReport
from vidgan_jax.train import sharding
from vidgan_jax.train.beginning import (
    Beginning,
    begin,
    check_batch,
    make_game,
    make_mesh,
    open_loader,
    ran_on,
    tell_resumed,
    with_other_draws,
)
from vidgan_jax.train.checkpoint import Checkpoints, make_meta
from vidgan_jax.train.finite import FirstFaults, NotFiniteError, check
from vidgan_jax.train.metrics import LateMetrics
from vidgan_jax.train.samples import Sampler
from vidgan_jax.train.state import GanState
from vidgan_jax.train.step import TrainStep
from vidgan_jax.train.stopping import stop_requests
from vidgan_jax.train.watch import CollapseError, Watch
from vidgan_jax.train.weights import Weights
from vidgan_jax.train.workdir import alone
from vidgan_jax.train.writers import MetricsWriter, tell_unwritten
from vidgan_jax.types import Batch, Metrics, PyTree


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
      mesh: devices; None for all, as the config arranges them.
      show_progress: on stderr.

    Raises:
      ValueError: sizes that don't fit the devices or the data; a workdir of other networks.
      NotFiniteError: a loss, a gradient or a weight is not finite, and `config.faults` has the run
        stop then; the checkpoints until then stay.
      CollapseError: training collapsed, and `config.watch` has it stop then; it is saved.
      OSError: the workdir can't be written.
    """
    mesh = mesh or make_mesh(experiment)
    check_batch(experiment, mesh)
    config = experiment.config
    workdir.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as stack:
        stack.enter_context(alone(workdir))
        loader = stack.enter_context(open_loader(experiment, source))
        num_steps = experiment.num_steps(loader.num_clips)
        game = make_game(experiment, num_steps)
        meta = make_meta(
            dataclasses.asdict(config), fps=_clip_fps(experiment, source), ran_on=ran_on(mesh)
        )
        checkpoints = stack.enter_context(
            Checkpoints(
                workdir,
                keep=config.train.keep_checkpoints,
                failed_saves=config.faults.failed_saves,
            )
        )
        from_disk = functools.partial(begin, experiment, game, mesh, checkpoints, initial)
        beginning = from_disk()
        tell_resumed(experiment, mesh, beginning)
        if jax.process_index() == 0:
            files.write_json(workdir / "config.json", meta)
        if beginning.step >= num_steps:
            return Outcome(beginning.step, num_steps)
        loader.set_state(dict(beginning.loader))
        loader.start_prefetch()  # the first batches are read while programs are compiled
        sampler = Sampler(experiment, mesh, workdir, fps=meta["fps"], source=source)
        run = _Run(
            experiment,
            mesh,
            workdir,
            TrainStep(game, mesh, frozen, config.mesh.min_shard_size),
            sampler,
            Watch(experiment, mesh, sampler.inputs),
            checkpoints,
            loader,
            meta,
            num_steps,
            shown=show_progress and jax.process_index() == 0,
        )
        return run.whole(beginning, from_disk)


def _clip_fps(experiment: Experiment, source: Clips) -> float:
    """Frames a second of generated clips: the data's, less the stride."""
    return (source.info.fps or 24.0) / experiment.clip_spec.stride


@dataclasses.dataclass(frozen=True)
class _Run:
    """What stays the same from step to step."""

    experiment: Experiment
    mesh: Mesh
    workdir: Path
    train_step: TrainStep
    sampler: Sampler
    watch: Watch
    checkpoints: Checkpoints
    loader: ClipIterator
    meta: Mapping[str, Any]
    num_steps: int
    shown: bool

    def whole(self, beginning: Beginning, from_disk: Callable[[], Beginning]) -> Outcome:
        """Trains to the end, going back to the last checkpoint where that is asked for.

        Args:
          beginning: where to begin.
          from_disk: where to go back to.
        """
        while True:
            try:
                return self._from(beginning)
            except NotFiniteError as error:
                beginning = self._back(error, beginning.num_rollbacks, from_disk)

    def _back(
        self, error: NotFiniteError, num_so_far: int, from_disk: Callable[[], Beginning]
    ) -> Beginning:
        """Where to go on from after numbers that are not finite; raises where the run shall end."""
        faults = self.experiment.config.faults
        if faults.not_finite != "rollback":
            raise error
        if num_so_far >= faults.max_rollbacks:
            raise NotFiniteError(
                error.step,
                error.names,
                f"the run has gone back {num_so_far} time(s), config.faults.max_rollbacks; lower "
                "the learning rates",
            ) from error
        self.checkpoints.wait()
        beginning = with_other_draws(from_disk(), self.mesh, num_so_far + 1)
        if jax.process_index() == 0:
            print(
                f"warning: {error.what} at step {error.step}; going back to step "
                f"{beginning.step} with other random numbers ({num_so_far + 1} of "
                f"{faults.max_rollbacks} times)",
                file=sys.stderr,
            )
        return beginning

    def _from(self, beginning: Beginning) -> Outcome:
        """Trains to the end, unless a fault ends it."""
        first, start = jax.process_index() == 0, beginning.step
        self.loader.set_state(dict(beginning.loader))
        self.watch.restore(beginning.meta.get("watch"))
        self._sample(beginning.state, start)
        name = self.experiment.config.name
        with (
            MetricsWriter(
                self.workdir, resumed_step=start, enabled=first, goes_on=self._goes_on
            ) as writer,
            ProgressReport(name, total=self.num_steps, done=start, shown=self.shown) as report,
        ):
            return self._loop(beginning, writer, report)

    def _loop(self, beginning: Beginning, writer: MetricsWriter, report: ProgressReport) -> Outcome:
        """Steps to the last one. Order: step, metrics, samples, save, next batch."""
        train = self.experiment.config.train
        state, step = beginning.state, beginning.step
        late = LateMetrics(writer, report, step, train.batch_size, on_values=self.watch.judge)
        faults = FirstFaults()
        metrics: Metrics = {}
        newest: dict[str, jax.Array] = {}  # since the last logged step: lazy terms have gaps
        # XLA's collectives on CPUs wait for ever where processes run two programs in other orders.
        in_step = jax.process_count() > 1 and jax.default_backend() == "cpu"
        stopped: signal.Signals | None = None
        last = False

        def save(*, must: bool) -> None:
            late.flush()
            writer.flush()
            check(jax.device_get(faults.so_far()))
            self._save(state, step, beginning.num_rollbacks, must=must)

        with stop_requests() as requests:
            while not last:
                try:
                    # While the step before is computed: its call returned at once. The loader has
                    # the next batches ready and the copy to the devices is only begun here, so
                    # that holding a second batch there would save no time.
                    with late.waiting_for_data(metrics):
                        batch = self._next_batch()
                except RecordError:  # costs no step so far, unless others are in the next one
                    if step > beginning.step and jax.process_count() == 1:
                        save(must=True)
                    raise
                state, metrics = self.train_step(state, batch, step)
                step += 1
                faults.note(state.step, metrics)
                if in_step:
                    jax.block_until_ready(metrics)
                # Asked once a step: a signal from here on is the next step's.
                stopped = requests.asked(step)
                newest = {**newest, **metrics}
                if looked := self.watch.is_due(step):
                    newest |= self.watch.look(state)
                if looked or step == self.num_steps or step % train.log_every_steps == 0:
                    late.push(step, newest, faults.so_far())
                    newest = {}
                last = bool(step == self.num_steps or stopped or self.watch.collapsed)
                late.progress(step)
                if last or step % train.sample_every_steps == 0:
                    self._sample(state, step)
                if last or step % train.save_every_steps == 0:
                    save(must=last)
        late.progress(step, last=True)
        self.checkpoints.wait()
        if self.watch.collapsed:
            raise CollapseError(f"{self.watch.collapsed}\n  step {step} is saved")
        return Outcome(step, self.num_steps, stopped if step < self.num_steps else None)

    @property
    def _goes_on(self) -> bool:
        """Whether what can't be written is no reason to stop."""
        return self.experiment.config.faults.failed_saves == "go_on"

    def _sample(self, state: GanState, step: int) -> None:
        try:
            self.sampler.write(state, step)
        except OSError as error:
            if not self._goes_on:
                raise
            tell_unwritten(f"the sample of step {step}", error)

    def _next_batch(self) -> Batch:
        return sharding.put_batch(next(self.loader), self.mesh)

    def _save(self, state: GanState, step: int, num_rollbacks: int, *, must: bool) -> None:
        """Starts a save, of a state that is worth one."""
        weights = (state.gen.variables, state.disc.variables, state.ema_variables)
        if not jax.device_get(_is_finite(weights)):
            raise NotFiniteError(step, ["weights"])
        meta = {**self.meta, "num_rollbacks": num_rollbacks, "watch": self.watch.state()}
        self.checkpoints.save(step, state, self.loader.get_state(), meta, must=must)


@jax.jit
def _is_finite(tree: PyTree) -> jax.Array:
    return jnp.all(jnp.stack([jnp.all(jnp.isfinite(leaf)) for leaf in jax.tree.leaves(tree)]))

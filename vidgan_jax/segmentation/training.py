"""Training of a small segmenter on single frames and their label maps.

Source of the optimiser: Loshchilov, Hutter 2019, arXiv:1711.05101 (Adam with decoupled weight
decay, cosine annealing), on the cross-entropy of the labelled pixels.
"""

import contextlib
import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import Mesh

from vidgan_jax import files
from vidgan_jax.data.collection import Clips
from vidgan_jax.data.labels import DONT_CARE
from vidgan_jax.data.tfexample import RecordError
from vidgan_jax.metrics.maps import read_labelled, scores_as_json
from vidgan_jax.metrics.segmentation import Agreement, compare_maps
from vidgan_jax.models.unet import UNet
from vidgan_jax.progress import ProgressReport
from vidgan_jax.segmentation import checkpoint, small
from vidgan_jax.segmentation.config import SegmenterConfig
from vidgan_jax.segmentation.frames import Frames, frame_spec
from vidgan_jax.segmentation.small import Segmenter, to_unit_range
from vidgan_jax.train import sharding
from vidgan_jax.train.checkpoint import has_checkpoint, make_meta
from vidgan_jax.train.loop import Outcome
from vidgan_jax.train.metrics import LateMetrics
from vidgan_jax.train.stopping import stop_requests
from vidgan_jax.train.workdir import alone, tell_changes
from vidgan_jax.train.writers import MetricsWriter
from vidgan_jax.types import BATCH_STATS, Batch, Metrics

# Another network or training makes other segmenters.
VERSION = 2

SCORES = "scores.json"
_UNLABELLED = -1


class State(NamedTuple):
    """What an update changes."""

    params: Any
    batch_stats: Any
    opt_state: Any


@dataclasses.dataclass(frozen=True)
class Training:
    """What a run is made of.

    Attributes:
      config: of the run.
      classes: ids that are learnt, ascending.
    """

    config: SegmenterConfig
    classes: tuple[int, ...]

    @property
    def network(self) -> UNet:
        """Images to logits of `classes`."""
        return UNet(len(self.classes), self.config.segmenter.features)

    @property
    def optimizer(self) -> optax.GradientTransformation:
        """See `AdamWConfig`."""
        config, num_steps = self.config.optimizer, self.config.train.num_steps
        rate = optax.warmup_cosine_decay_schedule(
            0.0,
            config.learning_rate,
            max(1, round(config.warm_up * num_steps)),
            max(2, num_steps),
        )
        return optax.adamw(rate, weight_decay=config.weight_decay)

    def initial_state(self) -> State:
        """At step 0, as the config's seed draws it; traceable."""
        size = self.config.segmenter.size
        key = jax.random.key(self.config.train.seed)
        variables = self.network.init(key, jnp.zeros((1, size, size, 3)))
        params = variables["params"]
        return State(params, variables[BATCH_STATS], self.optimizer.init(params))

    def make_initial(self, mesh: Mesh) -> Callable[[], State]:
        """The jitted `initial_state`, the same on every device."""
        return jax.jit(self.initial_state, out_shardings=sharding.replicated(mesh))

    def make_step(self, mesh: Mesh) -> Callable[[State, Batch], tuple[State, Metrics]]:
        """The jitted update, of uint8 frames `[b, h, w, 3]` and label maps `[b, h, w]`."""
        everywhere, divided = sharding.replicated(mesh), sharding.batch_sharding(mesh)
        targets = _target_table(self.classes)
        return jax.jit(
            functools.partial(_update, self.network, self.optimizer, targets),
            in_shardings=(everywhere, divided),
            out_shardings=everywhere,
            donate_argnums=0,
        )

    def segmenter(self, state: State, trained: Mapping[str, Any] | None = None) -> Segmenter:
        """The segmenter of a state, its kernels rounded as `small.save` stores them."""
        variables = small.rounded({"params": state.params, BATCH_STATS: state.batch_stats})
        return Segmenter(
            self.classes, self.config.segmenter.features, variables, dict(trained or {})
        )


def train(
    config: SegmenterConfig,
    source: Clips,
    workdir: Path,
    *,
    held_out: Clips | None = None,
    mesh: Mesh | None = None,
    show_progress: bool = True,
) -> Outcome:
    """Trains until the last step, or until SIGTERM or SIGINT, from where `workdir` stands.

    A run that was finished leaves `segmenter.npz` and `scores.json`.

    Args:
      config: what to train.
      source: the clips; those without a label map are left out.
      workdir: takes checkpoint, metrics and results; a run found there is continued.
      held_out: clips to measure on; None for none.
      mesh: devices; None for all.
      show_progress: on stderr.

    Raises:
      ValueError: no clip has a label map, an id is none of the classes, sizes don't fit the
        devices, or the workdir is of another network, of a GAN, or in use.
      FloatingPointError: a loss is not finite; the checkpoint before it stays.
      OSError: the workdir can't be written.
    """
    mesh = mesh or sharding.make_mesh()
    sharding.check_batch_size(config.train.batch_size, mesh)
    data = config.data
    classes = known_classes(source, config.segmenter.num_labels, data.dont_care)
    training = Training(config, classes)
    if has_checkpoint(workdir):
        raise ValueError(f"{workdir} holds the checkpoints of a GAN; give another --workdir")
    workdir.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as stack:
        stack.enter_context(alone(workdir))
        frames = stack.enter_context(Frames(config, source))
        made_of = {"checksum": source.info.checksum, "spec": dict(source.info.spec)}
        meta = make_meta(dataclasses.asdict(config), classes=classes, data=made_of, version=VERSION)
        first = jax.process_index() == 0
        state, start = _restore_or_start(training, mesh, workdir, frames, meta)
        if first:
            files.write_json(workdir / "config.json", meta)
        run = _Run(training, mesh, workdir, frames, held_out, meta)
        outcome = Outcome(start, config.train.num_steps)
        if not outcome.finished:
            shown = show_progress and first
            report = ProgressReport(
                config.name, total=config.train.num_steps, done=start, shown=shown
            )
            writer = MetricsWriter(workdir, resumed_step=start, enabled=first)
            with writer, report:
                state, outcome = run.loop(state, start, writer, report)
        if outcome.finished:
            run.write_results(state)
        return outcome


def known_classes(source: Clips, num_labels: int, dont_care: int = DONT_CARE) -> tuple[int, ...]:
    """The ids that a data set's label maps have, ascending, without those of no class.

    Raises:
      ValueError: an id is none of the classes, or there is no id.
    """
    classes = tuple(i for i in source.info.label_ids if i not in (dont_care, DONT_CARE))
    if not classes:
        raise ValueError(
            "the data set has no label maps, or none with a class; prepare it with label maps "
            "(`python -m vidgan_jax.prepare scenes` makes them)"
        )
    if classes[-1] >= num_labels:
        raise ValueError(
            f"the data set's label maps hold the id {classes[-1]}, but num_labels (={num_labels}) "
            f"allows 0 to {num_labels - 1}; give another data set, or dont_care where that id is "
            "no class"
        )
    return classes


def measure(segmenter: Segmenter, source: Clips, config: SegmenterConfig, size: int) -> Agreement:
    """How well whole frames of `size`×`size` are segmented, the first one of each clip.

    Args:
      segmenter: what is measured.
      source: the clips; those without a label map are left out.
      config: `data.dont_care`, `segmenter.num_labels` and `train.num_scored` count.
      size: height and width, pixels.

    Raises:
      ValueError: no clip has a label map, or an id is none of the classes.
    """
    num, num_labels = config.train.num_scored, config.segmenter.num_labels
    frames, label_maps = read_labelled(source, frame_spec(config, size, size), num=num)
    found, _ = compare_maps(segmenter(frames), label_maps, num_labels)
    return found


@dataclasses.dataclass(frozen=True)
class _Run:
    """What stays the same from step to step."""

    training: Training
    mesh: Mesh
    workdir: Path
    frames: Frames
    held_out: Clips | None
    meta: Mapping[str, Any]

    def loop(
        self, state: State, start: int, writer: MetricsWriter, report: ProgressReport
    ) -> tuple[State, Outcome]:
        """Steps `start` to the last. Order: step, scores, metrics, save, next batch."""
        train = self.training.config.train
        update = self.training.make_step(self.mesh)
        late = LateMetrics(writer, report, start, train.batch_size)
        metrics: Metrics = {}
        step, last = start, False
        stopped = None
        with stop_requests() as requests:
            while not last:
                try:
                    with late.waiting_for_data(metrics):
                        batch = sharding.put_batch(next(self.frames), self.mesh)
                except RecordError:  # costs no step so far
                    late.flush()
                    writer.flush()
                    if step > start:
                        self._save(state, step)
                    raise
                state, metrics = update(state, batch)
                step += 1
                # Asked once a step: a signal from here on is the next step's.
                stopped = requests.asked(step)
                last = step == train.num_steps or stopped is not None
                scored = step == train.num_steps or step % train.score_every_steps == 0
                if scored or step % train.log_every_steps == 0:
                    scores: dict[str, Any] = self._scalars(state) if scored else {}
                    late.push(step, scores | dict(metrics))
                late.progress(step)
                if last or step % train.save_every_steps == 0:
                    late.flush()
                    writer.flush()
                    self._save(state, step)
        late.progress(step, last=True)
        early = stopped if step < train.num_steps else None
        return state, Outcome(step, train.num_steps, early)

    def write_results(self, state: State) -> None:
        """Writes what is left of a finished run: weights, and how well they do."""
        if jax.process_index() != 0:
            return
        segmenter = self.training.segmenter(state)
        trained = {
            **self.meta,
            "num_params": segmenter.num_params,
            "held_out": {
                str(size): scores_as_json(found)
                for size, found in self._measured(segmenter).items()
            },
        }
        small.save(dataclasses.replace(segmenter, trained=trained), self.workdir / small.FILE)
        files.write_json(self.workdir / SCORES, trained)

    def _measured(self, segmenter: Segmenter) -> dict[int, Agreement]:
        """Scores by size; none without held-out clips."""
        config = self.training.config
        if self.held_out is None:
            return {}
        return {
            size: measure(segmenter, self.held_out, config, size)
            for size in config.train.score_sizes
        }

    def _scalars(self, state: State) -> dict[str, float]:
        scalars = {}
        for size, found in self._measured(self.training.segmenter(state)).items():
            scalars[f"held_out_{size}/pixel_accuracy"] = found.pixel_accuracy
            scalars[f"held_out_{size}/mean_iou"] = found.mean_iou
        return scalars

    def _save(self, state: State, step: int) -> None:
        if jax.process_index() == 0:
            checkpoint.save(self.workdir, step, state, self.frames.samples, self.meta)


def _restore_or_start(
    training: Training, mesh: Mesh, workdir: Path, frames: Frames, meta: Mapping[str, Any]
) -> tuple[State, int]:
    like = jax.eval_shape(training.initial_state)
    found = checkpoint.restore(workdir, like)
    if found is None:
        return training.make_initial(mesh)(), 0
    state, before = found
    if before["classes"] != meta["classes"]:
        raise ValueError(
            f"{workdir} holds a run that learnt the classes {before['classes']}, and the data set "
            f"has {meta['classes']}; give another --workdir"
        )
    frames.go_to(before["samples"])
    tell_changes(before["config"], meta["config"])
    return jax.device_put(state, sharding.replicated(mesh)), before["step"]


def _update(
    network: UNet,
    optimizer: optax.GradientTransformation,
    target_table: np.ndarray,
    state: State,
    batch: Batch,
) -> tuple[State, Metrics]:
    """One update."""
    targets = jnp.asarray(target_table)[batch.label_map]
    labelled = targets != _UNLABELLED
    count = jnp.maximum(jnp.sum(labelled), 1)

    def loss(params: Any) -> tuple[jax.Array, Any]:
        variables = {"params": params, BATCH_STATS: state.batch_stats}
        frames = to_unit_range(jnp.asarray(batch.frames))
        logits, changed = network.apply(variables, frames, mutable=[BATCH_STATS])
        entropies = optax.softmax_cross_entropy_with_integer_labels(
            logits, jnp.where(labelled, targets, 0)
        )
        right = jnp.sum((jnp.argmax(logits, axis=-1) == targets) & labelled) / count
        return jnp.sum(entropies * labelled) / count, (changed[BATCH_STATS], right)

    grads_of = jax.value_and_grad(loss, has_aux=True)
    (value, (batch_stats, right)), grads = grads_of(state.params)
    updates, opt_state = optimizer.update(grads, state.opt_state, state.params)
    changed = State(optax.apply_updates(state.params, updates), batch_stats, opt_state)
    return changed, {"loss": value, "pixel_accuracy": right}


def _target_table(classes: Sequence[int]) -> np.ndarray:
    """int32 `[256]`: id → index into `classes`, `_UNLABELLED` for all others."""
    table = np.full(256, _UNLABELLED, np.int32)
    table[list(classes)] = np.arange(len(classes))
    return table

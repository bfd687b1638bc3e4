"""The collapse watch: measures of what the generator makes, and limits that nothing should cross.

The thesis's 3D ResNet GAN, trained from scratch, collapsed within an epoch: the generator's loss
stayed near 10 nats, with spikes as it changed from squares of one colour to squares of another
(Egan 2019, section 4.4, figure 4-13). Each sign of such a collapse has a limit in `config.watch`.
"""

import collections
import dataclasses
import statistics
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import Mesh

from vidgan_jax.config import Config
from vidgan_jax.experiment import Experiment
from vidgan_jax.losses.accuracy import ACCURACY
from vidgan_jax.terms import GEN_ADVERSARIAL
from vidgan_jax.train import sharding
from vidgan_jax.train.passes import forward
from vidgan_jax.train.state import GanState
from vidgan_jax.types import Metrics

DIVERSITY, MOTION, CONTRAST = "watch/diversity", "watch/motion", "watch/contrast"


class CollapseError(ValueError):
    """Training collapsed, and the config has it stop then."""


def diversity(examples: jax.Array) -> jax.Array:
    """How much examples differ: the deviation over the examples, mean over pixels and colours.

    Args:
      examples: float in [-1, 1], `[n, *axes, c]`.

    Returns:
      float32 scalar in [0, 1]; 0 where all examples are the same (of one example, too), 1 where
      every pixel is black in one half and white in the other.
    """
    return jnp.mean(jnp.std(examples.astype(jnp.float32), axis=0))


def motion(clips: jax.Array) -> jax.Array:
    """How much moves: the absolute difference of consecutive frames, mean over all else.

    Args:
      clips: float in [-1, 1], `[n, t, h, w, c]`, of two frames or more.

    Returns:
      float32 scalar in [0, 2]; 0 of still clips.
    """
    clips = clips.astype(jnp.float32)
    return jnp.mean(jnp.abs(clips[:, 1:] - clips[:, :-1]))


def contrast(examples: jax.Array) -> jax.Array:
    """How much there is to see: the deviation over a frame, mean over frames and colours.

    Each colour by itself: a green square has as little contrast as a black one.

    Args:
      examples: float in [-1, 1], `[n, *t, h, w, c]`.

    Returns:
      float32 scalar in [0, 1]; 0 of frames of one colour.
    """
    return jnp.mean(jnp.std(examples.astype(jnp.float32), axis=(-3, -2)))


def measures(examples: jax.Array) -> Metrics:
    """All of these that examples have: one alone has no diversity, images have no motion.

    Args:
      examples: float in [-1, 1], `[n, h, w, c]` or `[n, t, h, w, c]`.

    Returns:
      float32 scalars by the names that they are logged under.
    """
    found = {CONTRAST: contrast(examples)}
    if examples.shape[0] > 1:
        found[DIVERSITY] = diversity(examples)
    if examples.ndim == 5 and examples.shape[1] > 1:
        found[MOTION] = motion(examples)
    return found


@dataclasses.dataclass(frozen=True)
class _Limit:
    """A limit of `config.watch`.

    Attributes:
      metric: that it is for, as logged.
      field: its name in the config.
      value: that the metric must not cross.
      is_most: what lies above is across, not what lies below.
      meaning: of a metric that did cross it.
      remedy: what to do then.
      by_median: the metric's median over the patience counts, not its mean.
    """

    metric: str
    field: str
    value: float
    is_most: bool
    meaning: str
    remedy: str
    by_median: bool = False

    def middle(self, values: Sequence[float]) -> float:
        """What counts of several values."""
        return statistics.median(values) if self.by_median else statistics.fmean(values)

    def is_crossed(self, middle: float) -> bool:
        """Whether a mean or median lies across."""
        return middle > self.value if self.is_most else middle < self.value

    def told(self, middle: float, since: int) -> str:
        """What is said of one that lies across."""
        side = "above" if self.is_most else "below"
        kind = "median" if self.by_median else "mean"
        return (
            f"{self.metric} is {middle:.3g}, its {kind} since step {since}, {side} "
            f"config.watch.{self.field} (={self.value:g}): {self.meaning}; {self.remedy}"
        )


def _limits(experiment: Experiment) -> tuple[_Limit, ...]:
    """Those that have a meaning for the experiment's losses and examples."""
    config: Config = experiment.config
    watch, clips = config.watch, config.model.num_frames > 0
    inflated = clips and bool(config.init.path)
    inputs = "label map" if config.model.num_labels else "latent"
    slower = "lower config.disc_optimizer.learning_rate"
    if clips and not inflated:
        slower += ", or start from a trained 2D GAN (config.init.path)"
    still = f"make sure that the data moves at config.data.stride (={config.data.stride})"
    if inflated:
        still = "inflated networks start so: give them time, or config.init.temporal_noise"
    limits = [
        _Limit(
            DIVERSITY,
            "min_diversity",
            watch.min_diversity,
            False,
            f"the generator makes nearly the same of every {inputs}",
            "go back to a checkpoint from before, with lower learning rates",
        ),
        _Limit(MOTION, "min_motion", watch.min_motion, False, "clips stand still", still),
        _Limit(
            CONTRAST,
            "min_contrast",
            watch.min_contrast,
            False,
            "generated frames are of one colour each",
            slower,
        ),
    ]
    if experiment.objective.boundary is not None:  # of others, losses may be anything
        limits += [
            _Limit(
                GEN_ADVERSARIAL,
                "max_gen_loss",
                watch.max_gen_loss,
                True,
                "the generator hardly ever fools the discriminator",
                slower,
                by_median=True,  # it has no bound: one batch could make a mean
            ),
            _Limit(
                ACCURACY,
                "max_disc_accuracy",
                watch.max_disc_accuracy,
                True,
                "the discriminator tells nearly every fake, and the generator learns little",
                slower,
            ),
        ]
    return tuple(limits)


@dataclasses.dataclass
class _History:
    """What is remembered of one limit.

    Attributes:
      values: of its metric, with their steps: the last `patience_steps`.
      times: that it was told.
      told: the step at which it was told last.
    """

    values: collections.deque[tuple[int, float]] = dataclasses.field(
        default_factory=collections.deque
    )
    times: int = 0
    told: int = 0

    def has_lasted(self, step: int, patience_steps: int) -> bool:
        """Drops what is older than the patience that ends at `step`; whether values span that.

        Where they are farther apart than the patience is long, the last two do.
        """
        oldest = step - patience_steps
        while len(self.values) > 1 and self.values[1][0] <= oldest:
            self.values.popleft()
        return self.values[0][0] <= oldest

    def may_tell(self, step: int, patience_steps: int) -> bool:
        """Whether it was told long enough ago: twice as long each time, so that lines stay few."""
        return not self.times or step - self.told >= patience_steps << self.times


class Watch:
    """Looks at the generator now and then, and judges what is logged.

    A limit counts as crossed where its metric's mean over the last `patience_steps` lies across (a
    loss's median): a batch's accuracy jumps, and a collapsed generator's loss has dips and spikes.

    Every process must call it: all come to the same judgement at the same step, since metrics are
    the same everywhere, and the first one prints it.

    Args:
      experiment: whose generator and limits these are.
      mesh: of devices.
      inputs: what the generator takes at every look, the same as for samples: latents `[n, z_dim]`,
        label maps `[n, h, w]` where it takes any.

    Attributes:
      collapsed: what has happened, once training is to stop for it; else None.
    """

    def __init__(self, experiment: Experiment, mesh: Mesh, inputs: tuple[Any, ...]) -> None:
        self._config = experiment.config.watch
        self._limits = _limits(experiment)
        self._histories = {limit.field: _History() for limit in self._limits}
        self.collapsed: str | None = None
        everywhere = sharding.replicated(mesh)
        # Running statistics, as in samples. Those of the batch would hide what is looked for: they
        # scale whatever little difference latents still make up to that of a healthy generator.
        divides = len(inputs[0]) % mesh.devices.size == 0
        by_devices = sharding.batch_sharding(mesh) if divides else everywhere

        def look(variables: Any) -> Metrics:
            # Whole parameters: what XLA would make of divided ones is slower than gathering them.
            whole = jax.lax.with_sharding_constraint(variables, everywhere)
            placed = jax.lax.with_sharding_constraint(inputs, by_devices)
            return measures(forward(experiment.generator, whole, *placed))

        self._look = jax.jit(look, out_shardings=everywhere)

    def is_due(self, step: int) -> bool:
        """Whether the generator is to be looked at after so many steps."""
        return self._config.on_collapse != "off" and step % self._config.every_steps == 0

    def look(self, state: GanState) -> Metrics:
        """Measures what the generator makes of the same inputs as always.

        The generator itself, not its average, which would show a collapse late.

        Returns:
          `measures`, on the devices: nothing waits for them here.
        """
        found: Metrics = self._look(state.gen.variables)
        return found

    def judge(self, step: int, values: Mapping[str, float]) -> None:
        """Takes what was logged, warns on stderr or sets `collapsed`.

        Args:
          step: above that of the call before.
          values: all that was logged of it; what no limit is for is left aside.
        """
        if self._config.on_collapse == "off":
            return
        patience, findings = self._config.patience_steps, []
        for limit in self._limits:
            if limit.metric not in values:
                continue
            history = self._histories[limit.field]
            history.values.append((step, values[limit.metric]))
            if not history.has_lasted(step, patience):
                continue
            middle = limit.middle([value for _, value in history.values])
            if not limit.is_crossed(middle):
                continue
            told = limit.told(middle, since=history.values[0][0])
            if self._config.on_collapse == "stop":
                findings.append(told)
            elif history.may_tell(step, patience):
                history.times, history.told = history.times + 1, step
                _warn(f"step {step}: {told}")
        if findings and self.collapsed is None:
            # A list has its lines told as such.
            self.collapsed = "\n  ".join([f"training collapsed by step {step}:", *findings])
            # Whoever goes on from there has changed something, and gets the patience anew.
            self._histories = {limit.field: _History() for limit in self._limits}

    def state(self) -> dict[str, Any]:
        """What `restore` takes, for a checkpoint's `meta`: JSON, as long as the patience is."""
        return {
            field: {
                "values": [[step, value] for step, value in history.values],
                "times": history.times,
                "told": history.told,
            }
            for field, history in self._histories.items()
        }

    def restore(self, state: Mapping[str, Any] | None) -> None:
        """Goes on as if not interrupted.

        Args:
          state: of `state`; None, of checkpoints that have none, starts anew.
        """
        self.collapsed = None
        for field in self._histories:
            known = (state or {}).get(field)
            self._histories[field] = _History()
            if known is not None:
                values = collections.deque((step, value) for step, value in known["values"])
                self._histories[field] = _History(values, known["times"], known["told"])


def _warn(text: str) -> None:
    # To what stderr is now: while a progress bar is shown, it stays below what is printed there.
    if jax.process_index() == 0:
        print(f"warning: {text}", file=sys.stderr, flush=True)

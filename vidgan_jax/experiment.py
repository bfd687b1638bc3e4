"""From a ConfigDict to a frozen, checked `Experiment`: what every verb builds on."""

import contextlib
import dataclasses
import difflib
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import optax
from absl import flags
from flax import linen as nn
from ml_collections import ConfigDict, config_flags

from vidgan_jax import inflation
from vidgan_jax.config import Config, OptimizerConfig, parse
from vidgan_jax.losses.objective import Objective
from vidgan_jax.models.resnet import LAYOUTS
from vidgan_jax.models.spade import STARTS
from vidgan_jax.models.vgg import Vgg19Features
from vidgan_jax.networks import MODELS
from vidgan_jax.terms import ADVERSARIAL, check_terms, objective
from vidgan_jax.types import ClipSpec


def _rmsprop(config: OptimizerConfig, rate: optax.Schedule) -> optax.GradientTransformation:
    # The root before eps, as PyTorch has it.
    return optax.rmsprop(rate, decay=config.decay, eps=config.eps, eps_in_sqrt=False)


def _adam(config: OptimizerConfig, rate: optax.Schedule) -> optax.GradientTransformation:
    return optax.adam(rate, b1=config.beta1, b2=config.beta2, eps=config.eps)


OPTIMIZERS: dict[str, Callable[[OptimizerConfig, optax.Schedule], optax.GradientTransformation]] = {
    "rmsprop": _rmsprop,
    "adam": _adam,
}


@dataclasses.dataclass(frozen=True)
class Experiment:
    """A checked config and what it describes, as far as no data is needed for it.

    Attributes:
      config: all sections.
      generator: maps `gen_inputs` to examples.
      discriminator: maps `disc_inputs` to logits.
      objective: both players' terms.
      clip_spec: how examples are cut.
      vgg: VGG19's first layers, where a term looks through them; they are in no checkpoint.
    """

    config: Config
    generator: nn.Module
    discriminator: nn.Module
    objective: Objective
    clip_spec: ClipSpec
    vgg: nn.Module | None

    @property
    def example_shape(self) -> tuple[int, ...]:
        """Shape of one example, `(size, size, 3)` or `(t, size, size, 3)`."""
        model = self.config.model
        time = (model.num_frames,) if model.num_frames else ()
        return (*time, model.size, model.size, 3)

    @property
    def cond_shape(self) -> tuple[int, ...] | None:
        """Shape of the condition of one example: a label map's, or `()` of a class's id.

        None of networks without a condition.
        """
        model = self.config.model
        if model.num_labels:
            return (model.size, model.size)
        return () if model.num_classes else None

    def gen_inputs(self, n: int = 1) -> tuple[jax.ShapeDtypeStruct, ...]:
        """What the generator takes in training for `n` examples: latents, condition, style."""
        model = self.config.model
        style = (self._examples(n),) if model.encoder else ()
        z = jax.ShapeDtypeStruct((n, model.z_dim), jax.numpy.float32)
        return (z, *self._conditions(n), *style)

    def disc_inputs(self, n: int = 1) -> tuple[jax.ShapeDtypeStruct, ...]:
        """What the discriminator takes for `n` examples: themselves, and their condition."""
        return (self._examples(n), *self._conditions(n))

    def _examples(self, n: int) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct((n, *self.example_shape), jax.numpy.float32)

    def _conditions(self, n: int) -> tuple[jax.ShapeDtypeStruct, ...]:
        if self.cond_shape is None:
            return ()
        return (jax.ShapeDtypeStruct((n, *self.cond_shape), jax.numpy.int32),)

    def num_steps(self, num_clips: int) -> int:
        """Steps of the whole run over a data set of `num_clips` clips."""
        train = self.config.train
        return train.num_steps or max(1, round(train.num_epochs * num_clips / train.batch_size))

    def optimizers(
        self, num_steps: int
    ) -> tuple[optax.GradientTransformation, optax.GradientTransformation]:
        """The generator's and the discriminator's optimiser for a run of `num_steps`."""
        train = self.config.train
        gen, disc = self.config.gen_optimizer, self.config.disc_optimizer
        return (
            OPTIMIZERS[gen.name](gen, learning_rate(gen, num_steps)),
            OPTIMIZERS[disc.name](disc, learning_rate(disc, num_steps * train.num_disc_steps)),
        )

    def init_variables(self, key: jax.Array) -> tuple[Any, Any]:
        """Random variables of both networks; under `jax.eval_shape`, their shapes."""
        gen_key, disc_key = jax.random.split(key)
        return (
            self.generator.init(gen_key, *map(_zeros, self.gen_inputs())),
            self.discriminator.init(disc_key, *map(_zeros, self.disc_inputs())),
        )


def _zeros(like: jax.ShapeDtypeStruct) -> jax.Array:
    """Of the same kind; of real numbers, as precise as JAX's default is."""
    is_real = jax.numpy.issubdtype(like.dtype, jax.numpy.floating)
    return jax.numpy.zeros(like.shape, float if is_real else like.dtype)


def learning_rate(config: OptimizerConfig, num_updates: int) -> optax.Schedule:
    """Constant, then linearly to 0 from the share `decay_from` of the updates on.

    Args:
      config: of the optimiser.
      num_updates: in the whole run.

    Returns:
      A schedule: update number (from 0) → rate.
    """
    start = int(config.decay_from * num_updates)
    if start >= num_updates:
        return optax.constant_schedule(config.learning_rate)
    return optax.linear_schedule(config.learning_rate, 0.0, num_updates - start, start)


def build(config: ConfigDict | Mapping[str, Any]) -> Experiment:
    """Checks a config and builds what it describes.

    Args:
      config: sections as `configs/` composes them.

    Raises:
      ValueError: an unknown, missing, mistyped or impossible field; the message names it.
    """
    raw = config.to_dict() if isinstance(config, ConfigDict) else config
    checked = parse(
        raw,
        {
            "model.name": MODELS,
            "loss.adversarial": ADVERSARIAL,
            "gen_optimizer.name": OPTIMIZERS,
            "disc_optimizer.name": OPTIMIZERS,
            "init.mode": inflation.MODES,
            "model.layout": LAYOUTS,
            "model.start": STARTS,
            "init.profile": inflation.PROFILES,
        },
    )
    model, data = checked.model, checked.data
    generator, discriminator = MODELS[model.name](model)
    check_terms(checked.loss, model)
    spec = ClipSpec(
        num_frames=model.num_frames,
        stride=data.stride,
        size=model.size,
        resize=data.resize,
        flip=data.flip,
        start_frames=data.start_frames or None,
        label_maps=model.num_labels > 0,
        num_labels=model.num_labels,
        dont_care=data.dont_care,
    )
    vgg = Vgg19Features() if checked.loss.vgg_weight else None
    terms = objective(checked.loss, vgg)
    experiment = Experiment(checked, generator, discriminator, terms, spec, vgg)
    # The networks refuse impossible sizes as they are traced, which costs no compilation.
    try:
        jax.eval_shape(experiment.init_variables, jax.random.key(0))
        if vgg is not None:
            jax.eval_shape(vgg.init, jax.random.key(0), experiment.disc_inputs()[0])
    except ValueError as error:
        raise ValueError(f"config.model: {error}") from error
    return experiment


def load_config(path: str, overrides: Sequence[str] = ()) -> ConfigDict:
    """Reads a config file as ml_collections' flags do.

    Args:
      path: `FILE.py` or `FILE.py:VARIANT`.
      overrides: `--config.SECTION.FIELD=VALUE`, parsed to the field's type.

    Raises:
      ValueError: no such file or variant, an unknown field, a value of another type.
    """
    file = path.split(":")[0]
    if not Path(file).is_file():
        raise ValueError(f"--config {file}: no such file; this package's are in configs/")
    if "get_config" not in Path(file).read_text():
        raise ValueError(f"--config {file} has no get_config(); configs/resnet2d.py shows one")
    with _importable(Path(file)):
        config = _read(path, [])
        for override in overrides:
            _check_override(override, config)
        return _read(path, overrides) if overrides else config


def _read(path: str, overrides: Sequence[str]) -> ConfigDict:
    arguments = ["vidgan_jax", f"--config={path}", *overrides]
    values = flags.FlagValues()
    holder = config_flags.DEFINE_config_file("config", flag_values=values, sys_argv=arguments)
    try:
        values(arguments)
    except flags.Error as error:
        # The last line says it; a traceback out of the config file may stand before.
        raise ValueError(f"--config {path}: {str(error).strip().splitlines()[-1]}") from error
    return values[holder.name].value


def _check_override(override: str, config: ConfigDict) -> None:
    """Refuses `--config.SECTION.FIELD=VALUE` where there is no such field."""
    path, equals, _ = override.partition("=")
    if not path.startswith("--config.") or not equals:
        raise ValueError(f"unknown argument {override}; fields are set by --config.SECTION.FIELD=…")
    section: Any = config
    for name in path.split(".")[1:]:
        known = list(section) if isinstance(section, ConfigDict) else []
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            homes = [f"config.{s}.{name}" for s in config if name in (config[s] or ())]
            fields = f"known there: {', '.join(known)}" if known else "that is a value, no section"
            hint = f"did you mean {(homes or near)[0]}?" if homes or near else fields
            raise ValueError(f"unknown field {path[2:]}: no {name!r}; {hint}")
        section = section[name]


@contextlib.contextmanager
def _importable(config_file: Path) -> Iterator[None]:
    """Lets a config import its neighbours as `configs.…`, wherever one types the command."""
    root = str(config_file.resolve().parent.parent)
    sys.path.append(root)
    try:
        yield
    finally:
        sys.path.remove(root)

"""From a ConfigDict to a frozen, checked `Experiment`: what every verb builds on."""

import contextlib
import dataclasses
import difflib
import functools
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
from vidgan_jax.config import Config, LossConfig, ModelConfig, OptimizerConfig, parse
from vidgan_jax.losses import adversarial, penalties
from vidgan_jax.losses.objective import Objective, Pass, Term
from vidgan_jax.models import dcgan, resnet, vgan
from vidgan_jax.types import ClipSpec


@dataclasses.dataclass(frozen=True)
class AdversarialLoss:
    """The three sides of an adversarial loss, each a function of logits."""

    disc_real: Callable[[jax.Array], jax.Array]
    disc_fake: Callable[[jax.Array], jax.Array]
    gen_fake: Callable[[jax.Array], jax.Array]


def _fixed(loss: AdversarialLoss) -> Callable[[LossConfig], AdversarialLoss]:
    return lambda config: loss


def _least_squares(config: LossConfig) -> AdversarialLoss:
    fake, real, fool = config.least_squares
    return AdversarialLoss(
        functools.partial(adversarial.least_squares, label=real),
        functools.partial(adversarial.least_squares, label=fake),
        functools.partial(adversarial.least_squares, label=fool),
    )


ADVERSARIAL: dict[str, Callable[[LossConfig], AdversarialLoss]] = {
    "logistic": _fixed(
        AdversarialLoss(
            adversarial.logistic_real,
            adversarial.logistic_fake,
            adversarial.logistic_non_saturating,
        )
    ),
    "logistic_minimax": _fixed(
        AdversarialLoss(
            adversarial.logistic_real, adversarial.logistic_fake, adversarial.logistic_minimax
        )
    ),
    "hinge": _fixed(
        AdversarialLoss(
            adversarial.hinge_real, adversarial.hinge_fake, adversarial.linear_generator
        )
    ),
    "least_squares": _least_squares,
    "wasserstein": _fixed(
        AdversarialLoss(
            adversarial.wasserstein_real,
            adversarial.wasserstein_fake,
            adversarial.linear_generator,
        )
    ),
}


def _resnet(model: ModelConfig) -> tuple[nn.Module, nn.Module]:
    for name in ("gen_batch_norm", "disc_batch_norm"):
        if getattr(model, name):
            raise ValueError(
                f"config.model.{name} (=True): the ResNet GAN has no place for batch norm; set it "
                "to False"
            )
    shared: dict[str, Any] = {
        "size": model.size,
        "features": model.features,
        "max_features": model.max_features,
        "time_stages": model.time_stages,
        "init_scale": model.init_scale,
    }
    generator = resnet.ResnetGenerator(
        **shared, num_frames=model.num_frames, spectral_norm=model.gen_spectral_norm
    )
    discriminator = resnet.ResnetDiscriminator(**shared, spectral_norm=model.disc_spectral_norm)
    return generator, discriminator


def _layouts(model: ModelConfig) -> tuple[dcgan.Layout, dcgan.Layout]:
    """DCGAN's, the generator's and the discriminator's."""
    gen = dcgan.Layout(
        size=model.size,
        num_frames=model.num_frames,
        features=model.features,
        max_features=model.max_features,
        time_stages=model.time_stages,
        init_scale=model.init_scale,
        batch_norm=model.gen_batch_norm,
        spectral_norm=model.gen_spectral_norm,
    )
    disc = dataclasses.replace(
        gen, batch_norm=model.disc_batch_norm, spectral_norm=model.disc_spectral_norm
    )
    return gen, disc


def _dcgan(model: ModelConfig) -> tuple[nn.Module, nn.Module]:
    gen, disc = _layouts(model)
    return dcgan.DcganGenerator(gen), dcgan.DcganDiscriminator(disc)


def _vgan(model: ModelConfig) -> tuple[nn.Module, nn.Module]:
    gen, disc = _layouts(model)
    return vgan.VganGenerator(gen), dcgan.DcganDiscriminator(disc)


# Family → (generator, discriminator).
MODELS: dict[str, Callable[[ModelConfig], tuple[nn.Module, nn.Module]]] = {
    "dcgan": _dcgan,
    "resnet": _resnet,
    "vgan": _vgan,
}


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
    """A checked config and what it describes, as far as no data is needed for it."""

    config: Config
    generator: nn.Module
    discriminator: nn.Module
    objective: Objective
    clip_spec: ClipSpec

    @property
    def example_shape(self) -> tuple[int, ...]:
        """Shape of one example, `(size, size, 3)` or `(t, size, size, 3)`."""
        model = self.config.model
        time = (model.num_frames,) if model.num_frames else ()
        return (*time, model.size, model.size, 3)

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
        z = jax.numpy.zeros((1, self.config.model.z_dim))
        x = jax.numpy.zeros((1, *self.example_shape))
        return self.generator.init(gen_key, z), self.discriminator.init(disc_key, x)


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
            "init.profile": inflation.PROFILES,
        },
    )
    model, data = checked.model, checked.data
    generator, discriminator = MODELS[model.name](model)
    if checked.loss.mask_weight and model.name != "vgan":
        raise ValueError(
            f"config.loss.mask_weight (={checked.loss.mask_weight}) is of VGAN's mask, and "
            f"config.model.name is {model.name!r}; set it to 0"
        )
    spec = ClipSpec(
        num_frames=model.num_frames,
        stride=data.stride,
        size=model.size,
        resize=data.resize,
        flip=data.flip,
        start_frames=data.start_frames or None,
    )
    experiment = Experiment(checked, generator, discriminator, objective(checked.loss), spec)
    # The networks refuse impossible sizes as they are traced, which costs no compilation.
    try:
        jax.eval_shape(experiment.init_variables, jax.random.key(0))
    except ValueError as error:
        raise ValueError(f"config.model: {error}") from error
    return experiment


def objective(loss: LossConfig) -> Objective:
    """The players' terms; names as in the thesis's figure 4-13."""
    sides = ADVERSARIAL[loss.adversarial](loss)

    def real(outputs: Pass) -> jax.Array:
        return sides.disc_real(_given(outputs.real_logits))

    def fake(outputs: Pass) -> jax.Array:
        return sides.disc_fake(outputs.fake_logits)

    def fool(outputs: Pass) -> jax.Array:
        return sides.gen_fake(outputs.fake_logits)

    def r1(outputs: Pass) -> jax.Array:
        return penalties.r1_penalty(_given(outputs.critic), outputs.real)

    def r2(outputs: Pass) -> jax.Array:
        return penalties.r2_penalty(_given(outputs.critic), outputs.fake)

    def wgan_gp(outputs: Pass) -> jax.Array:
        mix = jax.random.uniform(_given(outputs.key), outputs.real.shape[:1])
        critic = _given(outputs.critic)
        return penalties.wgan_gp_penalty(critic, outputs.real, outputs.fake, mix)

    def mask(outputs: Pass) -> jax.Array:
        masks: jax.Array = outputs.outputs["streams"]["mask"]
        return masks.mean(axis=range(1, masks.ndim))

    regularisers = (
        ("reg", r1, loss.r1_gamma / 2),
        ("reg_fake", r2, loss.r2_gamma / 2),
        ("gp", wgan_gp, loss.gp_weight),
    )
    disc = [Term("D_real", real), Term("D_fake", fake)]
    for name, term, weight in regularisers:
        if weight:
            disc.append(Term(name, term, weight=weight, every_steps=loss.r1_every_steps))
    gen = [Term("G_fake", fool)]
    if loss.mask_weight:
        gen.append(Term("G_mask", mask, weight=loss.mask_weight))
    return Objective(gen=tuple(gen), disc=tuple(disc))


def _given(value: Any) -> Any:
    if value is None:
        raise ValueError("a term of the discriminator was evaluated in the generator's pass")
    return value


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
            fields = f"known there: {', '.join(known)}" if known else "that is a value, no section"
            hint = f"did you mean {near[0]}?" if near else fields
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

"""What the players minimise, as the config's section `loss` says: adversarial losses and terms."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
from flax import linen as nn

from vidgan_jax.config import LossConfig, ModelConfig
from vidgan_jax.losses import adversarial, matching, penalties
from vidgan_jax.losses.objective import Objective, Pass, Term, per_example

VGG = "vgg"
"""VGG19's name among the frozen networks of a `Pass`."""
GEN_ADVERSARIAL = "G_fake"
"""Name of the generator's adversarial term."""


@dataclasses.dataclass(frozen=True)
class AdversarialLoss:
    """The three sides of an adversarial loss, each a function of logits.

    Attributes:
      disc_real: the discriminator's loss at real examples.
      disc_fake: its loss at fake ones.
      gen_fake: the generator's.
      boundary: the logit where the discriminator's two losses pull as hard: above it, an example
        counts as real. None where there is no such logit.
    """

    disc_real: Callable[[jax.Array], jax.Array]
    disc_fake: Callable[[jax.Array], jax.Array]
    gen_fake: Callable[[jax.Array], jax.Array]
    boundary: float | None = 0.0


def _fixed(loss: AdversarialLoss) -> Callable[[LossConfig], AdversarialLoss]:
    return lambda config: loss


def _least_squares(config: LossConfig) -> AdversarialLoss:
    fake, real, fool = config.least_squares
    return AdversarialLoss(
        functools.partial(adversarial.least_squares, label=real),
        functools.partial(adversarial.least_squares, label=fake),
        functools.partial(adversarial.least_squares, label=fool),
        # Where fakes' label is the higher one, reals are not above anything.
        boundary=(fake + real) / 2 if real > fake else None,
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
            boundary=None,  # a critic's zero is anywhere
        )
    ),
}


def check_terms(loss: LossConfig, model: ModelConfig) -> None:
    """Refuses terms that the networks give nothing for."""
    conditional = "compares a fake with the real example of the same label map"
    patches = "needs one logit an example, and SPADE's discriminator judges patches"
    encoder = "is of the encoder's latents, and config.model.encoder is False"
    of_spade = model.name == "spade"
    rules = {
        "mask_weight": (model.name == "vgan", "is of VGAN's mask"),
        "l1_weight": (of_spade, conditional),
        "vgg_weight": (of_spade, conditional),
        "feature_weight": (of_spade, conditional),
        "kl_weight": (model.encoder, encoder),
        "r1_gamma": (not of_spade, patches),
        "r2_gamma": (not of_spade, patches),
        "gp_weight": (not of_spade, patches),
    }
    for name, (has_meaning, what) in rules.items():
        if getattr(loss, name) and not has_meaning:
            raise ValueError(
                f"config.loss.{name} (={getattr(loss, name)}) {what}; config.model.name is "
                f"{model.name!r}; set it to 0"
            )


def objective(loss: LossConfig, vgg: nn.Module | None = None) -> Objective:
    """The players' terms; names as in the thesis's figure 4-13.

    Args:
      loss: weights.
      vgg: what the term of `vgg_weight` looks through.
    """
    sides = ADVERSARIAL[loss.adversarial](loss)

    def real(outputs: Pass) -> jax.Array:
        return per_example(sides.disc_real, _given(outputs.real_logits))

    def fake(outputs: Pass) -> jax.Array:
        return per_example(sides.disc_fake, outputs.fake_logits)

    def fool(outputs: Pass) -> jax.Array:
        return per_example(sides.gen_fake, outputs.fake_logits)

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

    def l1(outputs: Pass) -> jax.Array:
        return matching.l1(outputs.fake, outputs.real)

    def perceptual(outputs: Pass) -> jax.Array:
        look = functools.partial(_given(vgg).apply, outputs.frozen[VGG])
        return matching.perceptual(look(outputs.fake), look(outputs.real))

    def features(outputs: Pass) -> jax.Array:
        return matching.feature_matching(
            _given(outputs.fake_features), _given(outputs.real_features)
        )

    def kl(outputs: Pass) -> jax.Array:
        return matching.kl_divergence(**outputs.outputs["posterior"])

    regularisers = (
        ("reg", r1, loss.r1_gamma / 2),
        ("reg_fake", r2, loss.r2_gamma / 2),
        ("gp", wgan_gp, loss.gp_weight),
    )
    disc = [Term("D_real", real), Term("D_fake", fake)]
    for name, term, weight in regularisers:
        if weight:
            disc.append(Term(name, term, weight=weight, every_steps=loss.r1_every_steps))
    gen = [Term(GEN_ADVERSARIAL, fool)]
    for name, term, weight in (
        ("G_mask", mask, loss.mask_weight),
        ("G_l1", l1, loss.l1_weight),
        ("G_vgg", perceptual, loss.vgg_weight),
        ("G_feature", features, loss.feature_weight),
        ("G_kl", kl, loss.kl_weight),
    ):
        if weight:
            gen.append(Term(name, term, weight=weight, needs_features=term is features))
    return Objective(gen=tuple(gen), disc=tuple(disc), boundary=sides.boundary)


def _given(value: Any) -> Any:
    if value is None:
        raise ValueError("a term was evaluated in a pass that lacks what it looks at")
    return value

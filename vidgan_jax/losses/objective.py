"""What the two players minimise: weighted terms over what a pass through the networks gives."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp

from vidgan_jax.types import Critic, PyTree

Logits = Any
"""One array, or a tuple of one for each scale of the discriminator."""


@dataclasses.dataclass(frozen=True)
class Pass:
    """What one player's pass through the networks hands to the terms.

    Attributes:
      real: real examples in [-1, 1], float32, `[b, *axes, c]`.
      fake: generated examples, likewise.
      fake_logits: D(fake), `[b]`; of a discriminator of patches `[b, *axes]`, one for each scale.
      real_logits: D(real), likewise; None in the generator's pass.
      critic: D as a function of examples, statistics frozen; None in the generator's pass.
      key: for what a term of the discriminator draws; None in the generator's pass.
      outputs: what the generator gave beside the examples, in its own pass.
      fake_features: what the discriminator's layers made of the fakes, in the generator's pass;
        None where no term needs it.
      real_features: likewise of the reals, without a gradient.
      frozen: variables of networks that no player trains, by name.
    """

    real: jax.Array
    fake: jax.Array
    fake_logits: Logits
    real_logits: Logits | None = None
    critic: Critic | None = None
    key: jax.Array | None = None
    outputs: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    fake_features: PyTree | None = None
    real_features: PyTree | None = None
    frozen: Mapping[str, PyTree] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Term:
    """One weighted part of a player's loss.

    Attributes:
      name: under which its weighted mean is logged.
      loss: maps a `Pass` to one float32 value an example, `[b]`.
      weight: factor on the mean.
      every_steps: evaluated in every so many-th step only, with `every_steps` times the weight
        ("lazy" regularisation: Karras et al. 2020, arXiv:1912.04958, section 3.1).
      needs_features: of the generator's terms: looks at the discriminator's features.
    """

    name: str
    loss: Callable[[Pass], jax.Array]
    weight: float = 1.0
    every_steps: int = 1
    needs_features: bool = False

    def __post_init__(self) -> None:
        if self.every_steps < 1:
            raise ValueError(
                f"every_steps (={self.every_steps}) of {self.name!r} must be at least 1"
            )

    def is_due(self, step: int) -> bool:
        """Whether the term is part of the loss at `step` (counted from 0)."""
        return step % self.every_steps == 0


@dataclasses.dataclass(frozen=True)
class Objective:
    """The two players' terms; a new model adds an objective, never a trainer.

    Attributes:
      gen: the generator's.
      disc: the discriminator's.
      boundary: the logit above which the discriminator takes an example for a real one; None where
        no logit parts reals from fakes.
    """

    gen: tuple[Term, ...]
    disc: tuple[Term, ...]
    boundary: float | None = None

    def due(self, step: int) -> Objective:
        """The objective with just the terms that are due at `step`."""
        return dataclasses.replace(
            self,
            gen=tuple(t for t in self.gen if t.is_due(step)),
            disc=tuple(t for t in self.disc if t.is_due(step)),
        )


def per_example(loss: Callable[[jax.Array], jax.Array], logits: Logits) -> jax.Array:
    """A loss of logits, its mean over an example's patches, and over the scales.

    Every scale counts the same, however many patches it has, as in the code of Wang et al. 2018
    (pix2pixHD), arXiv:1711.11585, whose discriminator this is for.

    Args:
      loss: maps logits to a loss for each of them.
      logits: `[b]` or `[b, *axes]`, or a tuple of such.

    Returns:
      float32 `[b]`.
    """
    means = [jnp.mean(loss(scale), axis=range(1, scale.ndim)) for scale in jax.tree.leaves(logits)]
    return jnp.mean(jnp.stack(means), axis=0)


def weighted_sum(terms: tuple[Term, ...], outputs: Pass) -> tuple[jax.Array, dict[str, jax.Array]]:
    """Evaluates a player's terms.

    Returns:
      The loss, a float32 scalar, and each term's share: its mean over the (global) batch times the
      weight the user gave. A lazy term's share enters the loss `every_steps`-fold.
    """
    total = jnp.zeros((), jnp.float32)
    shares = {}
    for term in terms:
        shares[term.name] = term.weight * jnp.mean(term.loss(outputs).astype(jnp.float32))
        total = total + term.every_steps * shares[term.name]
    return total, shares

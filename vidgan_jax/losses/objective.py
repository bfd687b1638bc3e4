"""What the two players minimise: weighted terms over what a pass through the networks gives."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp

from vidgan_jax.types import Critic


@dataclasses.dataclass(frozen=True)
class Pass:
    """What one player's pass through the networks hands to the terms.

    Attributes:
      real: real examples in [-1, 1], float32, `[b, *axes, c]`.
      fake: generated examples, likewise.
      fake_logits: D(fake), `[b]`.
      real_logits: D(real), `[b]`; None in the generator's pass.
      critic: D as a function of examples, statistics frozen; None in the generator's pass.
      key: for what a term of the discriminator draws; None in the generator's pass.
      outputs: what the generator gave beside the examples, in its own pass.
    """

    real: jax.Array
    fake: jax.Array
    fake_logits: jax.Array
    real_logits: jax.Array | None = None
    critic: Critic | None = None
    key: jax.Array | None = None
    outputs: Mapping[str, Any] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Term:
    """One weighted part of a player's loss.

    Attributes:
      name: under which its weighted mean is logged.
      loss: maps a `Pass` to one float32 value an example, `[b]`.
      weight: factor on the mean.
      every_steps: evaluated in every so many-th step only, with `every_steps` times the weight
        ("lazy" regularisation: Karras et al. 2020, arXiv:1912.04958, section 3.1).
    """

    name: str
    loss: Callable[[Pass], jax.Array]
    weight: float = 1.0
    every_steps: int = 1

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
    """The two players' terms; a new model adds an objective, never a trainer."""

    gen: tuple[Term, ...]
    disc: tuple[Term, ...]

    def due(self, step: int) -> Objective:
        """The objective with just the terms that are due at `step`."""
        return Objective(
            gen=tuple(t for t in self.gen if t.is_due(step)),
            disc=tuple(t for t in self.disc if t.is_due(step)),
        )


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

"""Adversarial losses: pure functions of logits, one value for each example, float32.

Source: Goodfellow et al. 2014, arXiv:1406.2661; Egan 2019 (MIT thesis), chapter 2.
"""

import jax
import jax.numpy as jnp


def _softplus(logits: jax.Array) -> jax.Array:
    return jax.nn.softplus(logits.astype(jnp.float32))


def logistic_real(logits: jax.Array) -> jax.Array:
    """The discriminator's loss at real examples, `-log σ(logits)`.

    Args:
      logits: float `[b]`, D(real).

    Returns:
      float32 `[b]`, nats.
    """
    return _softplus(-logits)


def logistic_fake(logits: jax.Array) -> jax.Array:
    """The discriminator's loss at fake examples, `-log(1 - σ(logits))`.

    Args:
      logits: float `[b]`, D(fake).

    Returns:
      float32 `[b]`, nats.
    """
    return _softplus(logits)


def logistic_non_saturating(logits: jax.Array) -> jax.Array:
    """The generator's loss `-log σ(logits)`: its gradient lives while the discriminator wins.

    Args:
      logits: float `[b]`, D(fake).

    Returns:
      float32 `[b]`, nats.
    """
    return _softplus(-logits)


def logistic_minimax(logits: jax.Array) -> jax.Array:
    """The generator's loss of the zero-sum game, `log(1 - σ(logits))`.

    Args:
      logits: float `[b]`, D(fake).

    Returns:
      float32 `[b]`, nats, never positive.
    """
    return -_softplus(logits)

"""Adversarial losses: pure functions of logits, one value for each logit, float32.

Logits are `[b]`, or `[b, *axes]` from a discriminator of patches; a loss has their shape and takes
no mean. `D` is the logit itself: nothing but the logistic losses squashes it.

Source: Goodfellow et al. 2014, arXiv:1406.2661; Egan 2019 (MIT thesis), chapter 2, section 2.1.2.
"""

import jax
import jax.numpy as jnp


def _softplus(logits: jax.Array) -> jax.Array:
    return jax.nn.softplus(logits.astype(jnp.float32))


def logistic_real(logits: jax.Array) -> jax.Array:
    """The discriminator's loss at real examples, `-log σ(logits)`.

    Args:
      logits: float `[b, ...]`, D(real).

    Returns:
      float32 `[b, ...]`, nats.
    """
    return _softplus(-logits)


def logistic_fake(logits: jax.Array) -> jax.Array:
    """The discriminator's loss at fake examples, `-log(1 - σ(logits))`.

    Args:
      logits: float `[b, ...]`, D(fake).

    Returns:
      float32 `[b, ...]`, nats.
    """
    return _softplus(logits)


def logistic_non_saturating(logits: jax.Array) -> jax.Array:
    """The generator's loss `-log σ(logits)`: its gradient lives while the discriminator wins.

    Args:
      logits: float `[b, ...]`, D(fake).

    Returns:
      float32 `[b, ...]`, nats.
    """
    return _softplus(-logits)


def logistic_minimax(logits: jax.Array) -> jax.Array:
    """The generator's loss of the zero-sum game, `log(1 - σ(logits))`.

    Args:
      logits: float `[b, ...]`, D(fake).

    Returns:
      float32 `[b, ...]`, nats, never positive.
    """
    return -_softplus(logits)


def hinge_real(logits: jax.Array) -> jax.Array:
    """The discriminator's loss at real examples, `max(0, 1 - logits)`.

    Args:
      logits: float `[b, ...]`, D(real).

    Returns:
      float32 `[b, ...]`, never negative; 0, with slope 0, where the logits are 1 or more.

    Source: Lim, Ye 2017, arXiv:1705.02894.
    """
    return jax.nn.relu(1 - logits.astype(jnp.float32))


def hinge_fake(logits: jax.Array) -> jax.Array:
    """The discriminator's loss at fake examples, `max(0, 1 + logits)`.

    Args:
      logits: float `[b, ...]`, D(fake).

    Returns:
      float32 `[b, ...]`, never negative; 0, with slope 0, where the logits are -1 or less.

    Source: Lim, Ye 2017, arXiv:1705.02894.
    """
    return jax.nn.relu(1 + logits.astype(jnp.float32))


def least_squares(logits: jax.Array, label: float) -> jax.Array:
    """Half the squared distance to a label, `½ (logits - label)²`: any side's loss.

    The thesis and the paper call the label `b` at real examples, `a` at fake ones and `c` in the
    generator's loss. The paper trains with (a, b, c) = (-1, 1, 0), whose value at the best
    discriminator is a Pearson χ² divergence, or with (0, 1, 1).

    Args:
      logits: float `[b, ...]`, D(real) or D(fake).
      label: what the logits should be.

    Returns:
      float32 `[b, ...]`, never negative.

    Source: Mao et al. 2016, arXiv:1611.04076.
    """
    return jnp.square(logits.astype(jnp.float32) - label) / 2


def wasserstein_real(logits: jax.Array) -> jax.Array:
    """The critic's loss at real examples, `-logits`.

    With `wasserstein_fake` it is the negative of the value that the thesis prints, which the critic
    maximises. It has no lower bound: the critic must be held to slopes of 1, by clipped weights or
    by `penalties.wgan_gp_penalty`.

    Args:
      logits: float `[b, ...]`, D(real).

    Returns:
      float32 `[b, ...]`.

    Source: Arjovsky, Chintala, Bottou 2017, arXiv:1701.07875.
    """
    return -logits.astype(jnp.float32)


def wasserstein_fake(logits: jax.Array) -> jax.Array:
    """The critic's loss at fake examples, `+logits`.

    Args:
      logits: float `[b, ...]`, D(fake).

    Returns:
      float32 `[b, ...]`.

    Source: Arjovsky, Chintala, Bottou 2017, arXiv:1701.07875.
    """
    return logits.astype(jnp.float32)


def linear_generator(logits: jax.Array) -> jax.Array:
    """The generator's loss of both the hinge and the Wasserstein game, `-logits`.

    The thesis prints the hinge game's with a plus, E D(G(z)): a misprint, since the generator would
    help the discriminator. Lim and Ye have the minus.

    Args:
      logits: float `[b, ...]`, D(fake).

    Returns:
      float32 `[b, ...]`.

    Source: Lim, Ye 2017, arXiv:1705.02894; Arjovsky, Chintala, Bottou 2017, arXiv:1701.07875.
    """
    return -logits.astype(jnp.float32)

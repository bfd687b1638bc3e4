"""How well a discriminator tells real from fake: not a loss, but what one reads beside it."""

import jax
import jax.numpy as jnp

from vidgan_jax.losses.objective import Logits

ACCURACY = "D_accuracy"
"""Under which the mean of both shares, of reals and of fakes, is logged."""


def share_right(logits: Logits, boundary: float, *, real: bool) -> jax.Array:
    """The share of logits on the right side of the boundary between reals and fakes.

    Every scale counts the same, however many patches it has, as in `objective.per_example`.

    Args:
      logits: float `[b]` or `[b, *axes]`, or a tuple of such, one for each scale.
      boundary: reals belong above it, fakes below; a logit just on it is on neither side.
      real: whether the logits are of real examples.

    Returns:
      float32 scalar in [0, 1], without a gradient.

    Raises:
      ValueError: no logits.
    """
    scales = jax.tree.leaves(logits)
    if not scales:
        raise ValueError("share_right needs at least one scale of logits")
    # In float32, since a bfloat16 boundary may be another one.
    values = [scale.astype(jnp.float32) for scale in scales]
    right = [value > boundary if real else value < boundary for value in values]
    return jnp.mean(jnp.stack([jnp.mean(each.astype(jnp.float32)) for each in right]))

"""Penalties on the discriminator's gradient with respect to its input."""

import jax
import jax.numpy as jnp

from vidgan_jax.types import Critic


def r1_penalty(critic: Critic, real: jax.Array) -> jax.Array:
    """Squared gradient norm of the critic at real examples, one value an example.

    The caller applies the weight ½·γ and the mean. (The GAN-stability code leaves the ½ out of
    its γ; the paper and this package have it.)

    Args:
      critic: maps examples `[b, *axes, c]` to logits `[b]`; must not mix examples and must not
        update spectral statistics.
      real: examples in [-1, 1], float32, `[b, *axes, c]`.

    Returns:
      float32 `[b]`: logit² per pixel-value², summed over axes and channels.

    Raises:
      ValueError: the logits are not of rank 1; the message gives their shape.

    Source: Mescheder, Geiger, Nowozin 2018, arXiv:1801.04406, equation 9.
    """

    def total(x: jax.Array) -> jax.Array:
        logits = critic(x)
        if logits.ndim != 1:
            raise ValueError(f"R1 needs one logit an example, [b]; the critic gave {logits.shape}")
        # Examples don't mix, so the gradient of the sum holds each example's own gradient.
        return jnp.sum(logits.astype(jnp.float32))

    gradient = jax.grad(total)(real).astype(jnp.float32)
    return jnp.sum(jnp.square(gradient), axis=range(1, gradient.ndim))

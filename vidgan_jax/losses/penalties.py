"""Penalties on the discriminator's gradient with respect to its input, one value an example.

The caller applies the weight and the mean. Examples are taken as data: a penalty stops no gradient,
so that the caller stops the one from fakes to their generator.
"""

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
    return _squared_norm(_input_gradient(critic, real))


def r2_penalty(critic: Critic, fake: jax.Array) -> jax.Array:
    """Squared gradient norm of the critic at fake examples: `r1_penalty`, elsewhere.

    Args:
      critic: as in `r1_penalty`.
      fake: examples in [-1, 1], float32, `[b, *axes, c]`, without a gradient to the generator.

    Returns:
      float32 `[b]`: logit² per pixel-value², summed over axes and channels.

    Raises:
      ValueError: the logits are not of rank 1; the message gives their shape.

    Source: Mescheder, Geiger, Nowozin 2018, arXiv:1801.04406, equation 10.
    """
    return _squared_norm(_input_gradient(critic, fake))


def wgan_gp_penalty(critic: Critic, real: jax.Array, fake: jax.Array, mix: jax.Array) -> jax.Array:
    """How far the critic's slope between real and fake examples is from 1, squared: (‖∇D‖ - 1)².

    The gradient is taken at `mix · real + (1 - mix) · fake`. Where it is 0 the norm has no
    derivative, and 0 is taken for it: the penalty is 1 there and pulls at no weight.

    Args:
      critic: as in `r1_penalty`.
      real: examples in [-1, 1], float32, `[b, *axes, c]`.
      fake: likewise, without a gradient to the generator; the first real example is mixed with the
        first fake one, and so on.
      mix: the real one's share of each example, float32 `[b]` in [0, 1]; the caller draws it
        uniformly. Values are not checked.

    Returns:
      float32 `[b]`, never negative.

    Raises:
      ValueError: `real` and `fake` differ in shape, `mix` isn't one number an example, or the
        logits are not of rank 1; the message gives the shapes.

    Source: Gulrajani et al. 2017, arXiv:1704.00028, equation 3 and algorithm 1.
    """
    if fake.shape != real.shape:
        raise ValueError(f"fake {fake.shape} must have the shape of real {real.shape}")
    if mix.shape != real.shape[:1]:
        raise ValueError(
            f"mix {mix.shape} must be one number an example, {real.shape[:1]}, for examples "
            f"{real.shape}"
        )
    mix = jnp.expand_dims(mix, tuple(range(1, real.ndim)))
    gradient = _input_gradient(critic, mix * real + (1 - mix) * fake)
    return jnp.square(_norm(gradient) - 1)


def _input_gradient(critic: Critic, examples: jax.Array) -> jax.Array:
    """Each example's gradient of its own logit, float32, `[b, *axes, c]`."""

    def total(x: jax.Array) -> jax.Array:
        logits = critic(x)
        if logits.ndim != 1:
            raise ValueError(
                f"a penalty needs one logit an example, [b]; the critic gave {logits.shape}"
            )
        # Examples don't mix, so the gradient of the sum holds each example's own gradient.
        return jnp.sum(logits.astype(jnp.float32))

    return jax.grad(total)(examples).astype(jnp.float32)


def _squared_norm(x: jax.Array) -> jax.Array:
    return jnp.sum(jnp.square(x), axis=range(1, x.ndim))


def _norm(x: jax.Array) -> jax.Array:
    """Each example's Euclidean norm, with the derivative 0 at 0."""
    squared = _squared_norm(x)
    # Numbers below the least normal one count as 0, since processors may flush them to it.
    is_zero = squared < jnp.finfo(jnp.float32).tiny
    # sqrt has an infinite slope at 0, and an infinity that the outer `where` drops would still be
    # NaN in the gradient: the inner one keeps 0 from sqrt.
    return jnp.where(is_zero, 0.0, jnp.sqrt(jnp.where(is_zero, 1.0, squared)))

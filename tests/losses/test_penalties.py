"""R1: closed forms, PyTorch's double backward, examples apart."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

from tests.reference_torch import derivatives
from vidgan_jax.losses.penalties import r1_penalty

SHAPES = pytest.mark.parametrize("shape", [(4, 4, 3), (2, 4, 4, 3)], ids=["image", "clip"])


def draw(*shape: int) -> np.ndarray:
    return np.random.default_rng(shape).standard_normal(shape, np.float32)


@SHAPES
def test_r1_of_a_linear_critic_is_its_squared_weight(shape: tuple[int, ...]) -> None:
    """D(x) = w·x + c has the gradient w everywhere."""
    w, real = jnp.asarray(draw(*shape)), jnp.asarray(draw(3, *shape))
    penalty = r1_penalty(lambda x: jnp.sum(w * x, axis=range(1, x.ndim)) + 7, real)
    chex.assert_shape(penalty, (3,))
    chex.assert_type(penalty, jnp.float32)
    np.testing.assert_allclose(penalty, [float(jnp.sum(w**2))] * 3, rtol=1e-5)


@SHAPES
def test_r1_of_a_quadratic_critic_tells_examples_apart(shape: tuple[int, ...]) -> None:
    """D(x) = ½‖x‖² has the gradient x: each example's own squared norm, not a mean."""
    real = jnp.asarray(draw(3, *shape)) * jnp.arange(1.0, 4).reshape(-1, *(1,) * len(shape))
    axes = range(1, real.ndim)
    penalty = r1_penalty(lambda x: jnp.sum(x**2, axis=axes) / 2, real)
    np.testing.assert_allclose(penalty, jnp.sum(real**2, axis=axes), rtol=1e-5)


@SHAPES
def test_r1_of_a_constant_critic_is_zero(shape: tuple[int, ...]) -> None:
    real = jnp.asarray(draw(3, *shape))
    np.testing.assert_array_equal(r1_penalty(lambda x: jnp.full(len(x), 5.0), real), [0, 0, 0])


def test_r1_is_pytorchs_to_the_second_order() -> None:
    """A two-layer critic: the penalty, and its gradient with respect to both layers."""
    real, w, v = draw(3, 2, 2, 3), draw(12, 5), draw(5)

    def penalty(w: jax.Array, v: jax.Array) -> jax.Array:
        def critic(x: jax.Array) -> jax.Array:
            return jnp.tanh(x.reshape(len(x), -1) @ w) @ v

        return r1_penalty(critic, jnp.asarray(real))

    (w_torch, v_torch) = (torch.from_numpy(a).requires_grad_() for a in (w, v))
    expected = derivatives.r1(
        lambda x: (x.flatten(1) @ w_torch).tanh() @ v_torch, torch.from_numpy(real)
    )
    weights = np.array([0.5, 1.0, -2.0], np.float32)
    (expected * torch.from_numpy(weights)).sum().backward()

    values, pullback = jax.vjp(penalty, jnp.asarray(w), jnp.asarray(v))
    dw, dv = pullback(jnp.asarray(weights))
    assert w_torch.grad is not None
    assert v_torch.grad is not None
    np.testing.assert_allclose(values, expected.detach(), rtol=1e-5)
    np.testing.assert_allclose(dw, w_torch.grad, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(dv, v_torch.grad, rtol=1e-4, atol=1e-4)


def test_r1_of_low_precision_logits_is_float32() -> None:
    real = jnp.asarray(draw(2, 4, 4, 3))
    penalty = r1_penalty(lambda x: jnp.sum(x, axis=(1, 2, 3)).astype(jnp.bfloat16), real)
    chex.assert_type(penalty, jnp.float32)
    np.testing.assert_allclose(penalty, [48, 48], rtol=1e-5)


@pytest.mark.parametrize(
    ("logits_shape", "text"), [((2, 1), r"\[b\]; the critic gave \(2, 1\)"), ((), r"gave \(\)")]
)
def test_r1_refuses_logits_of_another_rank(logits_shape: tuple[int, ...], text: str) -> None:
    real = jnp.zeros((2, 4, 4, 3))
    with pytest.raises(ValueError, match=text):
        r1_penalty(lambda x: jnp.zeros(logits_shape) + jnp.sum(x), real)

"""Adversarial losses: closed forms, PyTorch's values and gradients, extreme logits."""

import math
from collections.abc import Callable

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

from vidgan_jax.losses import adversarial

Loss = Callable[[jax.Array], jax.Array]
LOSSES: list[Loss] = [
    adversarial.logistic_real,
    adversarial.logistic_fake,
    adversarial.logistic_non_saturating,
    adversarial.logistic_minimax,
]
LOGITS = np.array([-30.0, -3.0, -0.5, 0.0, 0.1, 2.0, 25.0], np.float32)


def torch_real(logits: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.binary_cross_entropy_with_logits(
        logits, torch.ones_like(logits), reduction="none"
    )


def torch_fake(logits: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.binary_cross_entropy_with_logits(
        logits, torch.zeros_like(logits), reduction="none"
    )


def torch_minimax(logits: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.logsigmoid(-logits)


@pytest.mark.parametrize(
    ("loss", "reference"),
    [
        (adversarial.logistic_real, torch_real),
        (adversarial.logistic_fake, torch_fake),
        (adversarial.logistic_non_saturating, torch_real),
        (adversarial.logistic_minimax, torch_minimax),
    ],
)
def test_losses_are_pytorchs(loss: Loss, reference: Callable[[torch.Tensor], torch.Tensor]) -> None:
    """Cross-entropies with labels 1 and 0: each value and each gradient."""
    logits = torch.from_numpy(LOGITS).requires_grad_()
    expected = reference(logits)
    expected.sum().backward()
    assert logits.grad is not None
    np.testing.assert_allclose(loss(jnp.asarray(LOGITS)), expected.detach(), rtol=1e-5, atol=1e-12)
    gradient = jax.vmap(jax.grad(loss))(jnp.asarray(LOGITS))
    np.testing.assert_allclose(gradient, logits.grad, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("loss", LOSSES)
def test_undecided_discriminator(loss: Loss) -> None:
    """At logit 0, σ is ½ and every loss ± log 2."""
    sign = -1 if loss is adversarial.logistic_minimax else 1
    np.testing.assert_allclose(loss(jnp.zeros(3)), [sign * math.log(2)] * 3, rtol=1e-6)


def test_relations() -> None:
    """Minimax is the fake side, negated; the generator's logits are judged as if they were real."""
    logits = jnp.asarray(LOGITS)
    minimax = adversarial.logistic_minimax(logits)
    non_saturating = adversarial.logistic_non_saturating(logits)
    chex.assert_trees_all_equal(minimax, -adversarial.logistic_fake(logits))
    chex.assert_trees_all_equal(non_saturating, adversarial.logistic_real(logits))
    # log σ(l) - log(1 - σ(l)) = l
    np.testing.assert_allclose(-non_saturating - minimax, logits, rtol=1e-5, atol=1e-6)
    chex.assert_trees_all_close(
        adversarial.logistic_real(logits), adversarial.logistic_fake(-logits), rtol=1e-6
    )


def test_non_saturating_gradient_lives_while_the_discriminator_wins() -> None:
    lost = jnp.float32(-20.0)
    assert float(jax.grad(adversarial.logistic_non_saturating)(lost)) < -0.99
    assert abs(float(jax.grad(adversarial.logistic_minimax)(lost))) < 1e-6


@pytest.mark.parametrize("loss", LOSSES)
def test_extreme_logits_stay_finite(loss: Loss) -> None:
    """A loss is about 0 or ±|logit| there, its slope 0 or ±1; nothing overflows."""
    logits = jnp.array([-1e4, 1e4])
    np.testing.assert_allclose(np.sort(np.abs(loss(logits))), [0, 1e4], rtol=1e-6)
    gradient = jax.vmap(jax.grad(loss))(logits)
    np.testing.assert_allclose(np.sort(np.abs(gradient)), [0, 1], atol=1e-6)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16, jnp.float32])
def test_low_precision_logits_give_float32(loss: Loss, dtype: jnp.dtype) -> None:
    """The cast comes first: the loss is that of the rounded logits, in full precision."""
    logits = jnp.asarray(LOGITS, dtype)
    values = loss(logits)
    chex.assert_type(values, jnp.float32)
    chex.assert_trees_all_equal(values, loss(logits.astype(jnp.float32)))


@pytest.mark.parametrize("loss", LOSSES)
def test_one_value_an_example(loss: Loss) -> None:
    """No mean inside: examples alone give what they give together."""
    logits = jnp.asarray(LOGITS)
    each = jnp.stack([loss(logit) for logit in logits])
    chex.assert_trees_all_close(loss(logits), each, rtol=1e-6)

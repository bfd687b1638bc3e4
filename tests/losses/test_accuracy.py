"""Accuracy of a discriminator: by hand, at the boundary, over scales; each loss's boundary."""

import dataclasses
import math

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import common
from vidgan_jax.config import LossConfig
from vidgan_jax.losses.accuracy import share_right
from vidgan_jax.losses.objective import Objective, Term, per_example
from vidgan_jax.terms import ADVERSARIAL, objective

LOGITS = jnp.array([-2.0, -0.5, 0.0, 3.0])


def loss_config(name: str, **fields: object) -> LossConfig:
    return LossConfig(**(common.loss(name).to_dict() | fields))


@pytest.mark.parametrize(
    ("boundary", "real", "fake"), [(0.0, 0.25, 0.5), (0.5, 0.25, 0.75), (-1.0, 0.75, 0.25)]
)
def test_by_hand(boundary: float, real: float, fake: float) -> None:
    """The logit that is just on the boundary 0 is right for neither side."""
    shares = [share_right(LOGITS, boundary, real=side) for side in (True, False)]
    assert list(map(float, shares)) == [real, fake]
    chex.assert_shape(shares, ())
    chex.assert_type(shares, jnp.float32)


def test_scales_count_the_same_as_in_the_losses() -> None:
    """One scale has all of 2 right, the other 1 of 8."""
    fine = jnp.full((2, 2, 2), -1.0).at[0, 0, 0].set(1.0)
    scales = (jnp.ones(2), fine)
    assert float(share_right(scales, 0.0, real=True)) == (1 + 1 / 8) / 2
    per = per_example(lambda logits: (logits > 0).astype(jnp.float32), scales)
    assert float(jnp.mean(per)) == (1 + 1 / 8) / 2


def test_low_precision_is_compared_in_float32() -> None:
    """0.1 in bfloat16 is above 0.1: a boundary rounded likewise would have nothing above it."""
    logits = jnp.array([0.1], jnp.bfloat16)
    assert float(logits[0]) > 0.1
    assert float(share_right(logits, 0.1, real=True)) == 1.0


def test_no_gradient_flows() -> None:
    gradient = jax.grad(lambda x: share_right(x, 0.25, real=True))(LOGITS)
    np.testing.assert_array_equal(gradient, 0)


def test_no_logits_are_refused() -> None:
    with pytest.raises(ValueError, match="at least one scale"):
        share_right((), 0.0, real=True)


@pytest.mark.parametrize("name", ["logistic", "logistic_minimax", "hinge", "least_squares"])
def test_the_two_losses_balance_at_the_boundary(name: str) -> None:
    """There, and on no other side, lowering one of D's losses raises the other as much."""
    config = loss_config(name, least_squares=(0.0, 1.0, 1.0))
    sides = ADVERSARIAL[name](config)
    assert sides.boundary == (0.5 if name == "least_squares" else 0.0)
    for offset, sign in ((-0.25, -1), (0.0, 0), (0.25, 1)):
        logit = jnp.float32(sides.boundary + offset)
        real, fake = jnp.sum(sides.disc_real(logit)), jnp.sum(sides.disc_fake(logit))
        difference = float(fake - real)  # how much rather D would have the logit on a real one
        assert math.isclose(difference, 0.0, abs_tol=1e-6) if not sign else difference * sign > 0


@pytest.mark.parametrize(
    "config",
    [
        loss_config("wasserstein"),
        loss_config("least_squares", least_squares=(1.0, -1.0, 0.0)),
        loss_config("least_squares", least_squares=(1.0, 1.0, 1.0)),
    ],
    ids=["wasserstein", "labels swapped", "labels equal"],
)
def test_a_loss_without_a_boundary_has_no_accuracy(config: LossConfig) -> None:
    assert ADVERSARIAL[config.adversarial](config).boundary is None
    assert objective(config).boundary is None


def test_the_boundary_reaches_every_step() -> None:
    config = loss_config("least_squares", r1_gamma=1.0, r1_every_steps=3)
    config = dataclasses.replace(config, least_squares=(0.0, 1.0, 1.0))
    whole = objective(config)
    assert [whole.due(step).boundary for step in range(4)] == [0.5] * 4
    assert len(whole.due(1).disc) == len(whole.disc) - 1
    assert Objective(gen=(Term("g", lambda outputs: outputs.fake),), disc=()).boundary is None

"""Adversarial losses: closed forms, PyTorch's values and gradients, best logits, extreme ones."""

import functools
import math
from collections.abc import Callable

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from vidgan_jax.losses import adversarial

Loss = Callable[[jax.Array], jax.Array]
LOGISTIC: list[Loss] = [
    adversarial.logistic_real,
    adversarial.logistic_fake,
    adversarial.logistic_non_saturating,
    adversarial.logistic_minimax,
]
LOGITS = np.array([-30.0, -3.0, -0.5, 0.0, 0.1, 2.0, 25.0], np.float32)
# The labels (a, b, c) of fakes, of reals and of the generator: (-1, 1, 0), and one that is odd.
LEAST_SQUARES = {
    f"least_squares {label:g}": functools.partial(adversarial.least_squares, label=label)
    for label in (-1.0, 0.0, 1.0, 0.3)
}


def torch_cross_entropy(logits: torch.Tensor, label: float) -> torch.Tensor:
    labels = torch.full_like(logits, label)
    return F.binary_cross_entropy_with_logits(logits, labels, reduction="none")


def torch_hinge(logits: torch.Tensor, label: float) -> torch.Tensor:
    """max(0, 1 - label · (logits - 0))."""
    zeros, labels = torch.zeros_like(logits), torch.full_like(logits, label)
    return F.margin_ranking_loss(logits, zeros, labels, margin=1.0, reduction="none")


def torch_least_squares(logits: torch.Tensor, label: float) -> torch.Tensor:
    return 0.5 * F.mse_loss(logits, torch.full_like(logits, label), reduction="none")


REFERENCES: dict[str, tuple[Loss, Callable[[torch.Tensor], torch.Tensor]]] = {
    "logistic_real": (
        adversarial.logistic_real,
        functools.partial(torch_cross_entropy, label=1.0),
    ),
    "logistic_fake": (
        adversarial.logistic_fake,
        functools.partial(torch_cross_entropy, label=0.0),
    ),
    "logistic_non_saturating": (
        adversarial.logistic_non_saturating,
        functools.partial(torch_cross_entropy, label=1.0),
    ),
    "logistic_minimax": (adversarial.logistic_minimax, lambda logits: F.logsigmoid(-logits)),
    "hinge_real": (adversarial.hinge_real, functools.partial(torch_hinge, label=1.0)),
    "hinge_fake": (adversarial.hinge_fake, functools.partial(torch_hinge, label=-1.0)),
    **{
        name: (loss, functools.partial(torch_least_squares, label=loss.keywords["label"]))
        for name, loss in LEAST_SQUARES.items()
    },
    "wasserstein_real": (adversarial.wasserstein_real, torch.neg),
    "wasserstein_fake": (adversarial.wasserstein_fake, torch.clone),
    "linear_generator": (adversarial.linear_generator, torch.neg),
}
LOSSES = pytest.mark.parametrize(
    "loss", [loss for loss, _ in REFERENCES.values()], ids=list(REFERENCES)
)


@pytest.mark.parametrize(("loss", "reference"), list(REFERENCES.values()), ids=list(REFERENCES))
def test_losses_are_pytorchs(loss: Loss, reference: Callable[[torch.Tensor], torch.Tensor]) -> None:
    """Each value and each gradient, by the losses that PyTorch has."""
    logits = torch.from_numpy(LOGITS).requires_grad_()
    expected = reference(logits)
    expected.sum().backward()
    assert logits.grad is not None
    np.testing.assert_allclose(loss(jnp.asarray(LOGITS)), expected.detach(), rtol=1e-5, atol=1e-12)
    gradient = jax.vmap(jax.grad(loss))(jnp.asarray(LOGITS))
    np.testing.assert_allclose(gradient, logits.grad, rtol=1e-5, atol=1e-7)


# --- closed forms


@pytest.mark.parametrize("loss", LOGISTIC)
def test_undecided_discriminator(loss: Loss) -> None:
    """At logit 0, σ is ½ and every logistic loss ± log 2."""
    sign = -1 if loss is adversarial.logistic_minimax else 1
    np.testing.assert_allclose(loss(jnp.zeros(3)), [sign * math.log(2)] * 3, rtol=1e-6)


@pytest.mark.parametrize(
    ("name", "values", "slopes"),
    [
        ("hinge_real", [3, 2, 1, 0.5, 0, 0], [-1, -1, -1, -1, 0, 0]),
        ("hinge_fake", [0, 0, 1, 1.5, 2, 4], [0, 0, 1, 1, 1, 1]),
        ("least_squares 1", [4.5, 2, 0.5, 0.125, 0, 2], [-3, -2, -1, -0.5, 0, 2]),
        ("least_squares -1", [0.5, 0, 0.5, 1.125, 2, 8], [-1, 0, 1, 1.5, 2, 4]),
        ("wasserstein_real", [2, 1, 0, -0.5, -1, -3], [-1] * 6),
        ("wasserstein_fake", [-2, -1, 0, 0.5, 1, 3], [1] * 6),
        ("linear_generator", [2, 1, 0, -0.5, -1, -3], [-1] * 6),
    ],
)
def test_by_hand(name: str, values: list[float], slopes: list[float]) -> None:
    """Exactly; a hinge has the slope 0 from its margin on, the margin included."""
    loss, logits = REFERENCES[name][0], jnp.array([-2, -1, 0, 0.5, 1, 3])
    np.testing.assert_array_equal(loss(logits), values)
    np.testing.assert_array_equal(jax.vmap(jax.grad(loss))(logits), slopes)


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


@settings(max_examples=50, deadline=None)
@given(
    logits=st.lists(st.floats(-1e6, 1e6, width=32), min_size=8, max_size=8),
    label=st.floats(-2, 2, width=32),
)
def test_piecewise_polynomials_are_numpys_in_float64(logits: list[float], label: float) -> None:
    """Within the rounding of a few operations in float32."""
    exact, given_logits = np.array(logits), jnp.array(logits, jnp.float32)
    chex.assert_trees_all_close(
        (
            adversarial.hinge_real(given_logits),
            adversarial.hinge_fake(given_logits),
            adversarial.least_squares(given_logits, label),
            adversarial.wasserstein_real(given_logits),
            adversarial.wasserstein_fake(given_logits),
            adversarial.linear_generator(given_logits),
        ),
        (
            np.where(exact < 1, 1 - exact, 0.0),
            np.where(exact > -1, 1 + exact, 0.0),
            (exact - label) ** 2 / 2,
            -exact,
            exact,
            -exact,
        ),
        rtol=3e-7,
        atol=1e-12,
    )


# --- what the losses are for: best logits, and what they are worth

SHARES = st.lists(st.floats(0.01, 1), min_size=4, max_size=4).map(
    lambda weights: np.array(weights) / sum(weights)
)


def game(
    real: Loss, fake: Loss, p: np.ndarray, q: np.ndarray, logits: np.ndarray
) -> tuple[float, jax.Array]:
    """The discriminator's expected loss with four possible examples, and its gradient by logits.

    Of each example, `p` is the share among real ones and `q` among fakes.
    """

    def expected(logits: jax.Array) -> jax.Array:
        return jnp.sum(p * real(logits) + q * fake(logits))

    value, gradient = jax.value_and_grad(expected)(jnp.asarray(logits, jnp.float32))
    return float(value), gradient


@settings(max_examples=25, deadline=None)
@given(p=SHARES, q=SHARES)
def test_the_best_logistic_discriminator_measures_jensen_shannons_divergence(
    p: np.ndarray, q: np.ndarray
) -> None:
    """Its D is p/(p+q), and its value -log 4 + 2 JSD (thesis, section 2.1.1)."""
    loss, gradient = game(adversarial.logistic_real, adversarial.logistic_fake, p, q, np.log(p / q))
    np.testing.assert_allclose(gradient, np.zeros(4), atol=1e-6)
    middle = (p + q) / 2
    divergence = np.sum(p * np.log(p / middle) + q * np.log(q / middle)) / 2
    np.testing.assert_allclose(-loss, -math.log(4) + 2 * divergence, rtol=1e-5, atol=1e-6)


@settings(max_examples=25, deadline=None)
@given(p=SHARES, q=SHARES, a=st.floats(-2, 0), b=st.floats(0, 2))
def test_the_best_least_squares_discriminator_is_the_weighted_label(
    p: np.ndarray, q: np.ndarray, a: float, b: float
) -> None:
    """(b·p + a·q)/(p+q)."""
    best = (b * p + a * q) / (p + q)
    real = functools.partial(adversarial.least_squares, label=b)
    fake = functools.partial(adversarial.least_squares, label=a)
    _, gradient = game(real, fake, p, q, best)
    np.testing.assert_allclose(gradient, np.zeros(4), atol=1e-6)


@settings(max_examples=25, deadline=None)
@given(p=SHARES, q=SHARES)
def test_the_least_squares_generator_measures_pearsons_divergence(
    p: np.ndarray, q: np.ndarray
) -> None:
    """With (a, b, c) = (-1, 1, 0): ½ χ²(p + q ‖ 2q), as the thesis has it, section 2.1.2.

    The label c is compared at real examples too, which is a constant to the generator.
    """
    best = jnp.asarray((p - q) / (p + q), jnp.float32)
    value = np.sum((p + q) * adversarial.least_squares(best, 0.0))
    divergence = np.sum((2 * q - (p + q)) ** 2 / (p + q))
    np.testing.assert_allclose(value, divergence / 2, rtol=1e-5, atol=1e-6)


@settings(max_examples=25, deadline=None)
@given(p=SHARES, q=SHARES, logits=st.lists(st.floats(-5, 5), min_size=4, max_size=4))
def test_the_best_hinge_discriminator_is_the_sign(
    p: np.ndarray, q: np.ndarray, logits: list[float]
) -> None:
    """On the margin of the likelier side, where the loss is Σ 2 min(p, q); none is better."""
    sides = adversarial.hinge_real, adversarial.hinge_fake
    best, _ = game(*sides, p, q, np.sign(p - q))
    np.testing.assert_allclose(best, 2 * np.sum(np.minimum(p, q)), rtol=1e-5)
    assert game(*sides, p, q, np.array(logits))[0] >= best - 1e-5


def test_the_wasserstein_critic_is_free_to_a_constant() -> None:
    """The loss is the fakes' mean less the real ones', whatever is added to all logits."""
    p, q = np.array([0.5, 0.5, 0, 0]), np.array([0, 0.25, 0.25, 0.5])
    sides = adversarial.wasserstein_real, adversarial.wasserstein_fake
    logits = np.array([1.0, 2.0, -4.0, 0.0])
    assert game(*sides, p, q, logits)[0] == -0.5 - 1.5
    assert game(*sides, p, q, logits + 8)[0] == -0.5 - 1.5


def test_every_generator_is_led_to_higher_logits() -> None:
    """The thesis prints the hinge game's with the other sign."""
    for loss in (
        adversarial.logistic_non_saturating,
        adversarial.logistic_minimax,
        LEAST_SQUARES["least_squares 1"],
        adversarial.linear_generator,
    ):
        assert np.all(jax.vmap(jax.grad(loss))(jnp.linspace(-3, 0.9, 5)) < 0)


def test_non_saturating_gradient_lives_while_the_discriminator_wins() -> None:
    lost = jnp.float32(-20.0)
    assert float(jax.grad(adversarial.logistic_non_saturating)(lost)) < -0.99
    assert abs(float(jax.grad(adversarial.logistic_minimax)(lost))) < 1e-6


# --- any loss


@pytest.mark.parametrize("loss", LOGISTIC)
def test_extreme_logits_stay_finite(loss: Loss) -> None:
    """A loss is about 0 or ±|logit| there, its slope 0 or ±1; nothing overflows."""
    logits = jnp.array([-1e4, 1e4])
    np.testing.assert_allclose(np.sort(np.abs(loss(logits))), [0, 1e4], rtol=1e-6)
    gradient = jax.vmap(jax.grad(loss))(logits)
    np.testing.assert_allclose(np.sort(np.abs(gradient)), [0, 1], atol=1e-6)


@LOSSES
@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16, jnp.float32])
def test_low_precision_logits_give_float32(loss: Loss, dtype: jnp.dtype) -> None:
    """The cast comes first: the loss is that of the rounded logits, in full precision."""
    logits = jnp.asarray(LOGITS, dtype)
    values = loss(logits)
    chex.assert_type(values, jnp.float32)
    chex.assert_trees_all_equal(values, loss(logits.astype(jnp.float32)))


@LOSSES
def test_one_value_an_example(loss: Loss) -> None:
    """No mean inside: examples alone give what they give together."""
    logits = jnp.asarray(LOGITS)
    each = jnp.stack([loss(logit) for logit in logits])
    chex.assert_trees_all_close(loss(logits), each, rtol=1e-6)


@LOSSES
@pytest.mark.parametrize("shape", [(2, 3, 4), (2, 2, 3, 2)], ids=["image", "clip"])
def test_one_value_a_patch(loss: Loss, shape: tuple[int, ...]) -> None:
    """Logits of patches keep their shape."""
    logits = jnp.linspace(-3, 4, 24)
    values = loss(logits.reshape(shape))
    chex.assert_shape(values, shape)
    chex.assert_trees_all_close(values.ravel(), loss(logits), rtol=1e-6)

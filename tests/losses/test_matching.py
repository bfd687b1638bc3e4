"""Losses between a fake and its real: closed forms, PyTorch's values and gradients, refusals."""

from collections.abc import Callable
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
import torch.nn.functional as F

from vidgan_jax.losses import matching

WEIGHTS = (0.25, 1.0, 3.0)
SHAPES = ((2, 4, 6, 5), (2, 3, 2, 2, 7), (2, 9))


def draw(*shape: int, seed: int = 0) -> Any:
    return np.random.default_rng((seed, *shape)).standard_normal(shape, np.float32)


def both(seed: int) -> list[Any]:
    return [draw(*shape, seed=seed) for shape in SHAPES]


# --- closed forms


@pytest.mark.parametrize("shape", [(2, 3, 3, 3), (2, 4, 3, 3, 3), (2, 5)])
def test_l1_of_a_constant_difference_is_that(shape: tuple[int, ...]) -> None:
    """Of each example its own, not the batch's."""
    real = draw(*shape)
    shift = np.array([0.5, -2.0], np.float32).reshape(2, *(1,) * (len(shape) - 1))
    np.testing.assert_allclose(matching.l1(real + shift, jnp.asarray(real)), [0.5, 2], rtol=1e-6)


def test_feature_matching_sums_layers_and_averages_scales() -> None:
    """Three layers of difference 1 and one of difference 2: (3 + 2) / 2, whatever their sizes."""
    real = [[jnp.zeros(shape) for shape in SHAPES], [jnp.zeros((2, 8))]]
    fake = [[x + 1 for x in real[0]], [x - 2 for x in real[1]]]
    np.testing.assert_allclose(matching.feature_matching(fake, real), np.array([2.5, 2.5]))


def test_perceptual_weighs_layers() -> None:
    """At differences of 1, 10 and 100, the weights 1/4, 1 and 3 give 310¼."""
    real = both(0)
    fake = [jnp.asarray(x + 10**i) for i, x in enumerate(real)]
    np.testing.assert_allclose(matching.perceptual(fake, real, WEIGHTS), [310.25] * 2, rtol=1e-6)


def test_the_weights_of_vggs_layers() -> None:
    assert matching.PERCEPTUAL_WEIGHTS == (0.03125, 0.0625, 0.125, 0.25, 1.0)
    real, fake = [jnp.zeros((1, 2))] * 5, [jnp.ones((1, 2))] * 5
    np.testing.assert_allclose(matching.perceptual(fake, real), np.array([1.46875]))


def test_kl_of_standard_normals_is_zero() -> None:
    np.testing.assert_array_equal(matching.kl_divergence(jnp.zeros((3, 4)), jnp.zeros((3, 4))), 0)


def test_kl_sums_over_components() -> None:
    """½μ² a component at σ = 1; ½(σ² - 1) - log σ a component at μ = 0."""
    mean = jnp.array([[1.0, 2.0], [0.0, 0.0]])
    log_variance = jnp.array([[0.0, 0.0], [2 * np.log(3.0), 0.0]])
    divergence = matching.kl_divergence(mean, log_variance)
    np.testing.assert_allclose(divergence, [2.5, 4 - np.log(3.0)], rtol=1e-6)


def test_kl_has_its_digits_near_zero() -> None:
    """¼x² at the log variance x: not the rounding error of 1 + x - eˣ."""
    x = np.float32(1e-3)
    divergence = matching.kl_divergence(jnp.zeros((1, 1)), jnp.full((1, 1), x))
    np.testing.assert_allclose(divergence, float(x) ** 2 / 4, rtol=1e-3)


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
def test_losses_are_float32(dtype: Any) -> None:
    features = [jnp.asarray(x, dtype) for x in both(0)]
    losses = [
        matching.l1(features[0], features[0]),
        matching.feature_matching([features], [features]),
        matching.perceptual(features, features, WEIGHTS),
        matching.kl_divergence(features[2], features[2]),
    ]
    chex.assert_type(losses, jnp.float32)
    chex.assert_shape(losses, (2,))


# --- PyTorch's values and gradients


def check(
    ours: Callable[[Any], jax.Array], theirs: Callable[[Any], torch.Tensor], inputs: list[Any]
) -> None:
    """The mean over examples, and its gradient at every input."""
    value, gradient = jax.value_and_grad(lambda x: jnp.mean(ours(x)))(inputs)
    leaves = [torch.from_numpy(x).requires_grad_() for x in inputs]
    expected = theirs(leaves)
    expected.backward()
    np.testing.assert_allclose(value, expected.detach(), rtol=2e-6)
    for got, leaf in zip(gradient, leaves, strict=True):
        assert leaf.grad is not None
        np.testing.assert_allclose(got, leaf.grad, rtol=2e-5, atol=1e-8)


def test_l1_is_pytorchs() -> None:
    real = draw(*SHAPES[0], seed=1)
    check(
        lambda x: matching.l1(x[0], jnp.asarray(real)),
        lambda x: F.l1_loss(x[0], torch.from_numpy(real)),
        [draw(*SHAPES[0])],
    )


def test_feature_matching_is_pytorchs() -> None:
    """Two scales, the second of fewer layers."""
    real = both(1)

    def theirs(x: Any) -> torch.Tensor:
        each = [F.l1_loss(a, torch.from_numpy(b)) for a, b in zip(x, real, strict=True)]
        return (sum(each) + each[0]) / 2

    check(
        lambda x: matching.feature_matching([x, x[:1]], [real, real[:1]]),
        theirs,
        list(both(0)),
    )


def test_perceptual_is_pytorchs() -> None:
    real = both(1)

    def theirs(x: Any) -> torch.Tensor:
        parts = zip(WEIGHTS, x, real, strict=True)
        return torch.stack([w * F.l1_loss(a, torch.from_numpy(b)) for w, a, b in parts]).sum()

    check(lambda x: matching.perceptual(x, real, WEIGHTS), theirs, list(both(0)))


def test_kl_is_pytorchs() -> None:
    def theirs(x: Any) -> torch.Tensor:
        posterior = torch.distributions.Normal(x[0], torch.exp(x[1] / 2))
        return torch.distributions.kl_divergence(
            posterior, torch.distributions.Normal(0.0, 1.0)
        ).sum(1).mean()  # fmt: skip

    check(lambda x: matching.kl_divergence(*x), theirs, [draw(3, 4), draw(3, 4, seed=1)])


def test_reals_get_no_gradient() -> None:
    """The side that is data; the fakes' does get one."""
    fake, real = both(0), both(1)
    for loss in (
        lambda f, r: matching.feature_matching([f], [r]).sum(),
        lambda f, r: matching.perceptual(f, r, WEIGHTS).sum(),
    ):
        to_fake, to_real = jax.grad(loss, argnums=(0, 1))(fake, real)
        assert not any(np.any(g) for g in to_real)
        assert all(np.all(g) for g in to_fake)


# --- refusals


def test_mistakes_are_refused() -> None:
    x = draw(2, 3)
    with pytest.raises(ValueError, match=r"fake \(2, 3\) and real \(2, 1\) must have the same"):
        matching.l1(jnp.asarray(x), jnp.asarray(x[:, :1]))
    with pytest.raises(ValueError, match="scales: 2 of the fakes and 1 of the reals"):
        matching.feature_matching([[x], [x]], [[x]])
    with pytest.raises(ValueError, match="layers of scale 1: 1 of the fakes and 2 of the reals"):
        matching.feature_matching([[x], [x]], [[x], [x, x]])
    with pytest.raises(ValueError, match="scales: 0 of the fakes and 0 of the reals"):
        matching.feature_matching([], [])
    with pytest.raises(ValueError, match=r"weights \(=\(1.0, 1.0\)\) must be one for each"):
        matching.perceptual([x], [x], (1.0, 1.0))
    with pytest.raises(ValueError, match=r"mean \(2, 3\) and log_variance \(2, 2\) must have"):
        matching.kl_divergence(x, x[:, :2])

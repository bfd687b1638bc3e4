"""Penalties: closed forms, PyTorch's double backward, examples apart, slopes of 0."""

import functools
from collections.abc import Callable
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

from tests.models.networks import small_gan
from tests.reference_torch import derivatives, weights
from vidgan_jax.losses.penalties import r1_penalty, r2_penalty, wgan_gp_penalty
from vidgan_jax.types import Critic, PyTree

Penalty = Callable[[Critic, jax.Array], jax.Array]
SHAPES = pytest.mark.parametrize("shape", [(4, 4, 3), (2, 4, 4, 3)], ids=["image", "clip"])
RANKS = pytest.mark.parametrize("num_frames", [0, 4], ids=["image", "clip"])

# R1 and R2 are one function of one batch, wherever its examples come from.
SQUARED = pytest.mark.parametrize("penalty", [r1_penalty, r2_penalty])
MIX = np.array([0.25, 0.5, 0.875], np.float32)
# What three penalties are summed with, so that no two count alike.
FACTORS = np.array([0.5, 1.0, -2.0], np.float32)


def at_one_place(critic: Critic, x: jax.Array) -> jax.Array:
    """WGAN-GP where real and fake are the same, and so is everything between them."""
    return wgan_gp_penalty(critic, x, x, jnp.full(len(x), 0.5))


EACH = pytest.mark.parametrize("penalty", [r1_penalty, r2_penalty, at_one_place])


def draw(*shape: int) -> np.ndarray:
    return np.random.default_rng(shape).standard_normal(shape, np.float32)


def linear(w: jax.Array) -> Critic:
    """D(x) = w·x + 7, with the gradient w everywhere."""
    return lambda x: jnp.sum(w * x, axis=range(1, x.ndim)) + 7


def half_square(x: jax.Array) -> jax.Array:
    """D(x) = ½‖x‖², with the gradient x."""
    return jnp.sum(x**2, axis=range(1, x.ndim)) / 2


def relative_error(ours: Any, expected: torch.Tensor) -> float:
    """‖ours - expected‖ / ‖expected‖ over all elements."""
    wanted = expected.detach().numpy()
    assert np.linalg.norm(wanted) > 0
    return float(np.linalg.norm(np.asarray(ours) - wanted) / np.linalg.norm(wanted))


# --- closed forms


@SHAPES
def test_a_linear_critic(shape: tuple[int, ...]) -> None:
    """R1 and R2 are ‖w‖², WGAN-GP is (‖w‖ - 1)², anywhere."""
    w, real, fake = jnp.asarray(draw(*shape)), jnp.asarray(draw(3, *shape)), jnp.ones((3, *shape))
    norm = float(np.linalg.norm(np.asarray(w, np.float64)))
    for penalty, expected in (
        (r1_penalty(linear(w), real), norm**2),
        (r2_penalty(linear(w), fake), norm**2),
        (wgan_gp_penalty(linear(w), real, fake, jnp.asarray(MIX)), (norm - 1) ** 2),
    ):
        chex.assert_shape(penalty, (3,))
        chex.assert_type(penalty, jnp.float32)
        np.testing.assert_allclose(penalty, [expected] * 3, rtol=1e-5)


@SHAPES
def test_a_linear_critic_of_slope_1_pays_no_wgan_gp(shape: tuple[int, ...]) -> None:
    """Nor is it pulled, while its scale is pulled back on either side of 1."""
    real, fake, w = jnp.asarray(draw(3, *shape)), jnp.ones((3, *shape)), draw(*shape)
    w /= np.linalg.norm(w)

    def penalty(scale: jax.Array) -> jax.Array:
        return jnp.sum(wgan_gp_penalty(linear(scale * w), real, fake, jnp.asarray(MIX)))

    for scale, expected in ((1.0, 0.0), (0.5, 3 * 0.25), (3.0, 3 * 4.0)):
        value, slope = jax.value_and_grad(penalty)(scale)
        np.testing.assert_allclose(value, expected, rtol=1e-5, atol=1e-10)
        np.testing.assert_allclose(slope, 3 * 2 * (scale - 1), rtol=1e-5, atol=1e-5)


@SHAPES
@EACH
def test_a_quadratic_critic(penalty: Penalty, shape: tuple[int, ...]) -> None:
    """D(x) = ½xᵀAx with a symmetric A has the gradient Ax: each example's own, not a mean."""
    real = draw(3, *shape) * np.arange(1.0, 4, dtype=np.float32).reshape(-1, *(1,) * len(shape))
    half = draw(real[0].size, real[0].size)
    a = half + half.T

    def critic(x: jax.Array) -> jax.Array:
        flat = x.reshape(len(x), -1)
        return jnp.sum(flat @ a * flat, axis=1) / 2

    norms = np.linalg.norm(real.reshape(3, -1).astype(np.float64) @ a, axis=1)
    expected = (norms - 1) ** 2 if penalty is at_one_place else norms**2
    np.testing.assert_allclose(penalty(critic, jnp.asarray(real)), expected, rtol=1e-5)


@SHAPES
def test_wgan_gp_looks_between_real_and_fake(shape: tuple[int, ...]) -> None:
    """Each example has its own share of the real one: 0 is the fake one, 1 the real one."""
    real, fake = draw(3, *shape), 5 * draw(3, *shape)[::-1]
    mix = np.array([0, 1, 0.25], np.float32)
    between = np.stack([fake[0], real[1], 0.25 * real[2] + 0.75 * fake[2]])
    norms = np.linalg.norm(between.reshape(3, -1).astype(np.float64), axis=1)
    penalty = wgan_gp_penalty(half_square, jnp.asarray(real), jnp.asarray(fake), jnp.asarray(mix))
    np.testing.assert_allclose(penalty, (norms - 1) ** 2, rtol=1e-5)


@SHAPES
@EACH
def test_a_constant_critic(penalty: Penalty, shape: tuple[int, ...]) -> None:
    """A slope of 0: 0 for R1 and R2, (0 - 1)² for WGAN-GP."""
    values = penalty(lambda x: jnp.full(len(x), 5.0), jnp.asarray(draw(3, *shape)))
    np.testing.assert_array_equal(values, [float(penalty is at_one_place)] * 3)


# --- WGAN-GP where the critic is flat


def test_no_slope_no_pull() -> None:
    """Weights of 0: the penalty's gradient is 0, as PyTorch's is, and no NaN on the way to it."""
    inputs, w = (draw(3, 4, 4, 3), draw(3, 4, 4, 3) / 3, MIX), jnp.zeros((4, 4, 3))

    def penalty(w: jax.Array) -> jax.Array:
        return jnp.sum(wgan_gp_penalty(linear(w), *map(jnp.asarray, inputs)))

    with jax.debug_nans(True):
        value, gradient = jax.jit(jax.value_and_grad(penalty))(w)
    assert float(value) == 3
    np.testing.assert_array_equal(gradient, w)

    w_torch = torch.zeros(4, 4, 3, requires_grad=True)
    derivatives.wgan_gp(
        lambda x: (w_torch * x).sum((1, 2, 3)), *map(torch.from_numpy, inputs)
    ).sum().backward()
    assert w_torch.grad is not None
    np.testing.assert_array_equal(gradient, w_torch.grad)


def test_one_flat_example_leaves_the_others_their_pull() -> None:
    """A ReLU that is dead at the second example."""
    real = jnp.array([1.0, -1.0, 2.0]).reshape(3, 1, 1, 1) * jnp.ones((3, 2, 2, 1))

    def penalties(w: jax.Array) -> jax.Array:
        def critic(x: jax.Array) -> jax.Array:
            return jax.nn.relu(jnp.sum(w * x, axis=(1, 2, 3)))

        return wgan_gp_penalty(critic, real, real, jnp.asarray(MIX))

    w = jnp.ones((2, 2, 1))
    with jax.debug_nans(True):
        values, jacobian = penalties(w), jax.jacrev(penalties)(w)
    np.testing.assert_array_equal(values, [1, 1, 1])  # ‖w‖ is 2
    # 2 (‖w‖ - 1) w/‖w‖
    np.testing.assert_array_equal(
        jacobian, np.array([1, 0, 1]).reshape(3, 1, 1, 1) * np.ones_like(w)
    )


@pytest.mark.parametrize("scale", [1e-3, 1e-15])
def test_a_small_slope_is_pulled_as_strongly_as_any(scale: float) -> None:
    """The pull is 2 (‖w‖ - 1) w/‖w‖: an ε under the root would weaken it."""
    direction = draw(4, 4, 3)
    direction /= np.linalg.norm(direction)
    x = jnp.asarray(draw(1, 4, 4, 3))
    gradient = jax.grad(lambda w: at_one_place(linear(w), x)[0])(jnp.asarray(scale * direction))
    np.testing.assert_allclose(gradient, 2 * (scale - 1) * direction, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("scale", [1e-19, 1e-22, 1e-40])
def test_a_slope_whose_square_is_no_normal_number_is_finite(scale: float) -> None:
    """Processors that flush such numbers to 0 must not divide by them."""
    x, w = jnp.zeros((1, 2, 2, 1)), jnp.full((2, 2, 1), scale)
    value, gradient = jax.value_and_grad(lambda w: at_one_place(linear(w), x)[0])(w)
    assert float(value) == 1
    assert float(jnp.max(jnp.abs(gradient))) <= 1.001  # 2 · w/‖w‖ has four equal elements


# --- equality with PyTorch, to the second order


@SQUARED
def test_squared_norms_are_pytorchs_to_the_second_order(penalty: Penalty) -> None:
    """A two-layer critic: the penalty, and its gradient with respect to both layers."""
    real, w, v = draw(3, 2, 2, 3), draw(12, 5), draw(5)

    def penalties(w: jax.Array, v: jax.Array) -> jax.Array:
        def critic(x: jax.Array) -> jax.Array:
            return jnp.tanh(x.reshape(len(x), -1) @ w) @ v

        return penalty(critic, jnp.asarray(real))

    (w_torch, v_torch) = (torch.from_numpy(a).requires_grad_() for a in (w, v))
    expected = derivatives.r1(
        lambda x: (x.flatten(1) @ w_torch).tanh() @ v_torch, torch.from_numpy(real)
    )
    (expected * torch.from_numpy(FACTORS)).sum().backward()

    values, pullback = jax.vjp(penalties, jnp.asarray(w), jnp.asarray(v))
    dw, dv = pullback(jnp.asarray(FACTORS))
    assert w_torch.grad is not None
    assert v_torch.grad is not None
    np.testing.assert_allclose(values, expected.detach(), rtol=1e-5)
    np.testing.assert_allclose(dw, w_torch.grad, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(dv, v_torch.grad, rtol=1e-4, atol=1e-4)


@functools.cache
def _penalties_of_a_network(num_frames: int) -> Any:
    """R2 and WGAN-GP of the small ResNet discriminator, each with its gradient at the weights.

    The gradient is that of the examples' penalties summed with `FACTORS`.
    """
    module = small_gan(num_frames).discriminator

    def run(params: PyTree, real: jax.Array, fake: jax.Array, mix: jax.Array) -> Any:
        def r2(critic: Critic) -> jax.Array:
            return r2_penalty(critic, fake)

        def wgan_gp(critic: Critic) -> jax.Array:
            return wgan_gp_penalty(critic, real, fake, mix)

        def with_gradient(penalty: Callable[[Critic], jax.Array]) -> tuple[jax.Array, PyTree]:
            def total(params: PyTree) -> tuple[jax.Array, jax.Array]:
                each = penalty(functools.partial(_apply, module, params))
                return jnp.sum(FACTORS * each), each

            gradient, each = jax.grad(total, has_aux=True)(params)
            return each, gradient

        return with_gradient(r2), with_gradient(wgan_gp)

    return jax.jit(run)


def _apply(module: Any, params: PyTree, x: jax.Array) -> jax.Array:
    return module.apply({"params": params}, x)


def _inputs(num_frames: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Real examples, fake ones and shares."""
    noise = draw(6, *small_gan(num_frames).example_shape)
    return np.tanh(noise[:3]), np.tanh(noise[3:] / 2), MIX


@RANKS
def test_penalties_of_a_network_are_pytorchs(num_frames: int) -> None:
    """Convolutions, LeakyReLUs, skips and pools; R1's is in `models/test_resnet.py`."""
    gan, inputs = small_gan(num_frames), _inputs(num_frames)
    outcomes = _penalties_of_a_network(num_frames)(gan.disc_params, *inputs)

    real, fake, mix = map(torch.from_numpy, inputs)
    references: list[Callable[[torch.nn.Module], torch.Tensor]] = [
        lambda critic: derivatives.r1(critic, fake),  # R2 is R1 at fakes
        lambda critic: derivatives.wgan_gp(critic, real, fake, mix),
    ]
    for (penalties, gradient), reference in zip(outcomes, references, strict=True):
        critic = gan.torch_discriminator()
        expected = reference(critic)
        (expected * torch.from_numpy(FACTORS)).sum().backward()
        assert relative_error(penalties, expected) < 1e-5
        ours = weights.as_torch(gradient)
        for name, parameter in weights.named_parameters(critic).items():
            if parameter.grad is None or not parameter.grad.any():
                assert not ours[name].any(), name
            else:
                assert relative_error(ours[name], parameter.grad) < 1e-4, name


# --- examples apart


@RANKS
def test_wgan_gp_does_not_mix_examples(num_frames: int) -> None:
    """A value follows its own example, fake and share, wherever they stand in the batch."""
    gan, inputs = small_gan(num_frames), _inputs(num_frames)

    def run(*inputs: np.ndarray) -> jax.Array:
        return _penalties_of_a_network(num_frames)(gan.disc_params, *inputs)[1][0]

    penalties, order = run(*inputs), np.array([2, 0, 1])
    chex.assert_trees_all_close(run(*(a[order] for a in inputs)), penalties[order], rtol=1e-5)
    others = [np.concatenate([a[:1], 1 - a[1:]]) for a in inputs]
    changed = run(*others)
    chex.assert_trees_all_close(changed[0], penalties[0], rtol=1e-5)
    assert np.all(np.abs(changed[1:] - penalties[1:]) > 1e-3)


@EACH
def test_examples_alone_give_what_they_give_together(
    penalty: Penalty,
) -> None:
    x, w = jnp.asarray(draw(3, 4, 4, 3)), jnp.asarray(draw(48, 5))

    def critic(x: jax.Array) -> jax.Array:
        return jnp.sum(jnp.sin(x.reshape(len(x), -1) @ w), axis=1)

    each = jnp.concatenate([penalty(critic, x[i : i + 1]) for i in range(3)])
    chex.assert_trees_all_close(penalty(critic, x), each, rtol=1e-5)
    assert float(jnp.std(each)) > 0.1


# --- precision and refusals


@EACH
def test_low_precision_logits_give_float32(
    penalty: Penalty,
) -> None:
    x = jnp.asarray(draw(2, 4, 4, 3))
    values = penalty(lambda x: jnp.sum(x, axis=(1, 2, 3)).astype(jnp.bfloat16), x)
    chex.assert_type(values, jnp.float32)
    expected = (48**0.5 - 1) ** 2 if penalty is at_one_place else 48
    np.testing.assert_allclose(values, [expected] * 2, rtol=1e-5)


@EACH
@pytest.mark.parametrize(
    ("logits_shape", "text"),
    [
        ((2, 1), r"\[b\]; the critic gave \(2, 1\)"),
        ((2, 3, 3), r"gave \(2, 3, 3\)"),
        ((), r"gave \(\)"),
    ],
)
def test_logits_of_another_rank_are_refused(
    penalty: Penalty, logits_shape: tuple[int, ...], text: str
) -> None:
    x = jnp.zeros((2, 4, 4, 3))
    with pytest.raises(ValueError, match=text):
        penalty(lambda x: jnp.zeros(logits_shape) + jnp.sum(x), x)


@pytest.mark.parametrize("shape", [(), (1,), (3,), (2, 1), (2, 1, 1, 1)])
def test_a_mix_of_another_shape_is_refused(shape: tuple[int, ...]) -> None:
    """One share for all would pass by broadcasting."""
    x = jnp.zeros((2, 4, 4, 3))
    text = rf"mix \({', '.join(map(str, shape))},?\) must be one .*\(2,\), for .*\(2, 4, 4, 3\)"
    with pytest.raises(ValueError, match=text):
        wgan_gp_penalty(half_square, x, x, jnp.zeros(shape))


@pytest.mark.parametrize("shape", [(1, 4, 4, 3), (3, 4, 4, 3), (2, 4, 4, 1), (2, 2, 4, 4, 3)])
def test_fakes_of_another_shape_are_refused(shape: tuple[int, ...]) -> None:
    real, fake = jnp.zeros((2, 4, 4, 3)), jnp.zeros(shape)
    with pytest.raises(ValueError, match=r"fake \(.*\) must have the shape of real \(2, 4, 4, 3\)"):
        wgan_gp_penalty(half_square, real, fake, jnp.zeros(2))

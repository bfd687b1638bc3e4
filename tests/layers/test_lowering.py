"""The CPU's forms of convolutions against XLA's own, in float64, and their derivatives."""

import functools
import itertools
from collections.abc import Callable, Iterator

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vidgan_jax.layers import conv_transpose, conv_upsampled, lowering, upsample_nearest
from vidgan_jax.layers.conv import Padding, conv, pads_of, spreading
from vidgan_jax.layers.geometry import Geometry
from vidgan_jax.layers.lowering import Forms

ALIKE, TO_MORE, TO_FEWER = (2, 3), (2, 9), (9, 2)

# Size, widths, strides, padding, channels. Clips: wider kernels than there are frames, strides over
# time with and without taps for each remainder, one matrix product, each choice by channels.
CONVOLUTIONS = [
    ((6, 5), (3, 3), (1, 1), "same", ALIKE),
    ((6, 5), (4, 4), (2, 2), "same", ALIKE),
    ((7, 5), (4, 4), (2, 2), 2, ALIKE),
    ((6, 5), (3, 3), (2, 2), "same", ALIKE),
    ((5, 7), (1, 2), (2, 1), "same", ALIKE),
    ((5, 5), (1, 1), (2, 2), "same", ALIKE),
    ((5, 5), (1, 1), (1, 1), "same", ALIKE),
    ((4, 4), (4, 4), (1, 1), "valid", ALIKE),
    ((5, 6), (4, 3), (1, 2), "valid", ALIKE),
    *(((4, 6, 5), (3, 3, 3), (1, 1, 1), "same", c) for c in (ALIKE, TO_MORE, TO_FEWER)),
    ((1, 4, 4), (5, 3, 3), (1, 1, 1), "same", TO_MORE),
    ((2, 4, 4), (4, 3, 3), (1, 1, 1), "same", TO_FEWER),
    *(((6, 6, 4), (4, 4, 4), (2, 2, 2), "same", c) for c in (ALIKE, TO_MORE, TO_FEWER)),
    ((3, 5, 4), (2, 3, 1), (2, 1, 2), "same", ALIKE),
    ((4, 8, 6), (3, 4, 4), (1, 2, 2), 2, ALIKE),
    ((7, 4, 4), (1, 3, 3), (3, 1, 1), "same", ALIKE),
    ((3, 4, 4), (1, 1, 1), (1, 1, 1), "same", ALIKE),
    ((3, 4, 4), (3, 4, 4), (1, 1, 1), "valid", ALIKE),
    ((3, 4, 5), (2, 4, 3), (1, 1, 2), "valid", ALIKE),
]
# Size of the data, widths (after upsampling, of the kernel for it), strides or factors.
SPREADING = [
    ((3, 4), (3, 3), (2, 2)),
    ((3, 4), (4, 3), (4, 1)),
    ((1, 1), (4, 4), (4, 4)),
    ((3, 3, 4), (4, 4, 4), (2, 2, 2)),
    ((1, 3, 4), (4, 4, 4), (2, 2, 2)),
    ((2, 3, 4), (5, 3, 4), (2, 2, 3)),
    ((2, 2, 2), (6, 4, 4), (2, 2, 2)),
]


@pytest.fixture(autouse=True)
def float64() -> Iterator[None]:
    with jax.enable_x64(True):
        yield


def draw(*shape: int) -> jax.Array:
    return jnp.asarray(np.random.default_rng(shape).standard_normal(shape))


def check_forms(
    cpu: Forms, native: Forms, geometry: Geometry, x: jax.Array, kernel: jax.Array
) -> None:
    """The three linear functions, each of arrays that the others did not make."""

    @functools.partial(jax.jit, static_argnums=0)
    def results(forms: Forms, dy: jax.Array) -> tuple[jax.Array, ...]:
        return (
            forms.forward(geometry, x, kernel),
            forms.data_gradient(geometry, dy, kernel),
            forms.kernel_gradient(geometry, x, dy),
        )

    dy = draw(*jax.eval_shape(functools.partial(native.forward, geometry), x, kernel).shape)
    for ours, expected in zip(results(cpu, dy), results(native, dy), strict=True):
        assert float(jnp.max(jnp.abs(expected))) > 0.01
        np.testing.assert_allclose(ours, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("size", "widths", "strides", "padding", "channels"), CONVOLUTIONS)
def test_convolution(
    size: tuple[int, ...],
    widths: tuple[int, ...],
    strides: tuple[int, ...],
    padding: Padding,
    channels: tuple[int, int],
) -> None:
    pads = pads_of(widths, padding)
    time = pads[0] if len(size) == 3 else (0, 0)
    geometry = Geometry(size, widths, strides, time, tuple(pads[-2:]))
    x, kernel = draw(2, *size, channels[0]), draw(*widths, *channels)
    check_forms(lowering.CPU_CONV, lowering.NATIVE_CONV, geometry, x, kernel)


@pytest.mark.parametrize(("size", "widths", "strides"), SPREADING)
@pytest.mark.parametrize("upsampled", [False, True])
def test_transposed_and_upsampled_convolution(
    size: tuple[int, ...], widths: tuple[int, ...], strides: tuple[int, ...], upsampled: bool
) -> None:
    kernel_widths = widths
    if upsampled:
        widths = tuple(k + s - 1 for k, s in zip(widths, strides, strict=True))
    geometry = spreading(size, widths, strides)
    assert geometry.out == size
    assert geometry.widths_upsampled == kernel_widths or not upsampled
    cpu, native = (
        (lowering.CPU_UPSAMPLED, lowering.NATIVE_UPSAMPLED)
        if upsampled
        else (lowering.CPU_TRANSPOSED, lowering.NATIVE_TRANSPOSED)
    )
    for channels in (ALIKE, TO_MORE, TO_FEWER) if len(size) == 3 else (ALIKE,):
        x, kernel = draw(2, *size, channels[0]), draw(*kernel_widths, *channels)
        check_forms(cpu, native, geometry, x, kernel)


@pytest.mark.parametrize("factors", [(2, 2), (1, 2, 2), (2, 2, 2)])
def test_upsampled_convolution_is_that_of_what_is_upsampled(factors: tuple[int, ...]) -> None:
    x = draw(2, *(3, 4, 3)[-len(factors) :], 2)
    kernel = draw(*(3,) * len(factors), 2, 3)
    expected = jax.jit(lambda x, k: conv(upsample_nearest(x, factors), k))(x, kernel)
    ours = jax.jit(functools.partial(conv_upsampled, factors=factors))(x, kernel)
    np.testing.assert_allclose(ours, expected, rtol=1e-12, atol=1e-12)


FUNCTIONS: dict[str, tuple[Callable[..., jax.Array], Forms]] = {
    "conv": (functools.partial(conv, strides=2), lowering.NATIVE_CONV),
    "conv_transpose": (functools.partial(conv_transpose, strides=2), lowering.NATIVE_TRANSPOSED),
    "conv_upsampled": (functools.partial(conv_upsampled, factors=2), lowering.NATIVE_UPSAMPLED),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_order_of_differentiation_is_closed(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """R1's gradient, and one order more, of a chain of two, against XLA's own derivatives."""
    function, native = FUNCTIONS[name]
    x, kernels = draw(2, 2, 4, 4, 2), (draw(4, 3, 4, 2, 2), draw(4, 3, 4, 2, 2))

    def third(x: jax.Array, kernels: tuple[jax.Array, ...]) -> jax.Array:
        def critic(x: jax.Array) -> jax.Array:
            for kernel in kernels:
                x = jnp.tanh(function(x, kernel))
            return jnp.sum(x)

        def penalty(x: jax.Array) -> jax.Array:
            return jnp.sum(jnp.square(jax.grad(critic)(x)))

        return jnp.sum(jnp.square(jax.grad(penalty)(x)))

    # Functions of their own, as what is traced for one is kept.
    ours = jax.jit(jax.grad(lambda x, k: third(x, k), argnums=(0, 1)))(x, kernels)
    monkeypatch.setattr(lowering, name, native.forward)
    expected = jax.jit(jax.grad(lambda x, k: third(x, k), argnums=(0, 1)))(x, kernels)
    for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(expected), strict=True):
        assert float(jnp.max(jnp.abs(b))) > 1e-6
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-9 * float(jnp.max(jnp.abs(b))))


def test_numbers_that_are_none_stay_so() -> None:
    """Nothing is replaced on the way to a kernel's gradient, wherever it stands."""
    kernel = draw(3, 3, 3, 2, 3)
    gradient = jax.jit(jax.grad(lambda k, x: jnp.sum(conv(x, k))))
    for bad, place in itertools.product((jnp.nan, jnp.inf), ((0, 0, 0, 0, 0), (1, 2, 1, 1, 1))):
        x = jnp.ones((2, 3, 4, 4, 2)).at[place].set(bad)
        assert not bool(jnp.all(jnp.isfinite(gradient(kernel, x))))

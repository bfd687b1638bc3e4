"""Transposed convolutions against PyTorch, numpy and closed forms; float64: errors are of code."""

import functools
import itertools
import math
import re
from collections.abc import Iterator, Sequence

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from jax import lax

from tests.reference_torch import derivatives
from tests.reference_torch.layers import ConvTranspose as TorchConvTranspose
from vidgan_jax.layers import ConvTranspose, conv_transpose

# Axes of the data, kernel widths, strides.
Case = tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]
IMAGES: list[Case] = [
    ((4, 3), (4, 4), (2, 2)),
    ((3, 4), (3, 3), (2, 2)),
    ((3, 2), (5, 5), (2, 2)),
    ((2, 3), (4, 4), (4, 4)),
    ((4, 3), (3, 3), (1, 1)),
    ((3, 2), (2, 2), (2, 2)),
    ((2, 3), (7, 7), (3, 3)),
    ((3, 4), (4, 3), (2, 1)),
    ((1, 1), (4, 4), (4, 4)),
]
CLIPS: list[Case] = [
    ((3, 2, 3), (4, 4, 4), (2, 2, 2)),
    ((3, 3, 2), (3, 4, 4), (1, 2, 2)),
    ((1, 1, 1), (2, 4, 4), (2, 4, 4)),
    ((1, 2, 3), (3, 3, 3), (2, 2, 2)),
    ((2, 2, 1), (7, 1, 2), (3, 1, 2)),
    ((3, 2, 2), (4, 5, 3), (1, 2, 1)),
    ((2, 3, 2), (1, 4, 4), (1, 2, 2)),
]
IN, OUT = 2, 3


@pytest.fixture
def float64() -> Iterator[None]:
    with jax.enable_x64(True):
        yield


def draw(shape: Sequence[int], seed: int = 0) -> np.ndarray:
    return np.random.default_rng([seed, *shape]).standard_normal(shape)


run = jax.jit(conv_transpose, static_argnums=2)


def torch_layer(kernel: np.ndarray, strides: Sequence[int]) -> TorchConvTranspose:
    widths = kernel.shape[:-2]
    layer = TorchConvTranspose(IN, OUT, widths, strides, bias=False).double()
    weight = np.moveaxis(kernel, (-2, -1), (0, 1)).copy()
    layer.layer.weight.data = torch.from_numpy(weight)
    return layer


def gradient_of(layer: TorchConvTranspose) -> np.ndarray:
    """In our layout."""
    gradient = layer.layer.weight.grad
    assert isinstance(gradient, torch.Tensor)
    return np.moveaxis(gradient.numpy(), (0, 1), (-2, -1))


# --- what it is


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize(("axes", "widths", "strides"), IMAGES + CLIPS)
def test_conv_transpose_is_pytorchs(
    axes: tuple[int, ...], widths: tuple[int, ...], strides: tuple[int, ...]
) -> None:
    """Values, and the gradients with respect to data and kernel."""
    x, kernel = draw((2, *axes, IN)), draw((*widths, IN, OUT))
    toward = draw((2, *np.multiply(axes, strides), OUT), seed=1)

    @jax.jit
    def values_and_gradients(x: jax.Array, kernel: jax.Array) -> tuple[jax.Array, ...]:
        y, pullback = jax.vjp(functools.partial(conv_transpose, strides=strides), x, kernel)
        return y, *pullback(jnp.asarray(toward))

    y, dx, dkernel = values_and_gradients(jnp.asarray(x), jnp.asarray(kernel))
    reference = torch_layer(kernel, strides)
    x_torch = torch.from_numpy(x).requires_grad_()
    y_torch = reference(x_torch.movedim(-1, 1)).movedim(1, -1)
    np.testing.assert_allclose(y, y_torch.detach(), rtol=1e-12, atol=1e-12)

    y_torch.backward(torch.from_numpy(toward))
    assert x_torch.grad is not None
    np.testing.assert_allclose(dx, x_torch.grad, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(dkernel, gradient_of(reference), rtol=1e-12, atol=1e-12)


@pytest.mark.usefixtures("float64")
def test_r1_through_a_transposed_convolution_is_pytorchs() -> None:
    """The second order too: the gradient of a penalty on the gradient, with respect to kernels."""
    x, kernel, strides = draw((2, 2, 3, 2, IN)), draw((4, 4, 4, IN, OUT)), (2, 2, 2)

    def penalty(kernel: jax.Array) -> jax.Array:
        def critic(x: jax.Array) -> jax.Array:
            return jnp.sum(jnp.tanh(conv_transpose(x, kernel, strides)))

        return jnp.sum(jnp.square(jax.grad(critic)(jnp.asarray(x))))

    value, gradient = jax.jit(jax.value_and_grad(penalty))(jnp.asarray(kernel))
    reference = torch_layer(kernel, strides)
    expected = derivatives.r1(
        lambda x: reference(x.movedim(-1, 1)).tanh().flatten(1).sum(1), torch.from_numpy(x)
    ).sum()
    expected.backward()
    np.testing.assert_allclose(value, expected.item(), rtol=1e-12)
    np.testing.assert_allclose(gradient, gradient_of(reference), rtol=1e-11, atol=1e-11)


def by_definition(x: np.ndarray, kernel: np.ndarray, strides: Sequence[int]) -> np.ndarray:
    """`y[s·i + j - crop] += x[i] · kernel[j]`, position by position, tap by tap.

    In time, which is the first of three axes, `i` goes beyond both ends of the clip, where its end
    frames are.
    """
    axes, widths = x.shape[1:-1], kernel.shape[:-2]
    sizes = tuple(np.multiply(axes, strides))
    y = np.zeros((x.shape[0], *sizes, kernel.shape[-1]))
    beyond = [widths[0] if len(axes) == 3 else 0, 0, 0]
    positions = [range(-b, n + b) for n, b in zip(axes, beyond, strict=False)]
    for i in itertools.product(*positions):
        seen = x[(slice(None), *np.clip(i, 0, np.subtract(axes, 1)))]
        for j in itertools.product(*map(range, widths)):
            crop = [(k - s + 1) // 2 for k, s in zip(widths, strides, strict=True)]
            to = tuple(np.multiply(strides, i) + j - crop)
            if all(0 <= place < n for place, n in zip(to, sizes, strict=True)):
                y[(slice(None), *to)] += seen @ kernel[j]
    return y


@st.composite
def cases(draw_from: st.DrawFn) -> Case:
    """Two or three axes, kernels up to 6 wide (4 in clips), no stride above its kernel's width."""
    rank = draw_from(st.sampled_from([2, 3]))
    axes = draw_from(st.tuples(*[st.integers(1, 3)] * rank))
    widths = draw_from(st.tuples(*[st.integers(1, 6 if rank == 2 else 4)] * rank))
    strides = draw_from(st.tuples(*[st.integers(1, k) for k in widths]))
    return axes, widths, strides


@settings(max_examples=20, deadline=None, derandomize=True)
@given(cases())
def test_conv_transpose_is_its_definition(case: Case) -> None:
    axes, widths, strides = case
    with jax.enable_x64(True):
        x, kernel = draw((1, *axes, 1)), draw((*widths, 1, 2))
        y = run(x, kernel, strides)
        assert y.dtype == jnp.float64
        np.testing.assert_allclose(y, by_definition(x, kernel, strides), rtol=1e-12, atol=1e-12)


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize(
    ("widths", "strides"), [((4, 4), (2, 2)), ((5, 3), (2, 3)), ((1, 4, 3), (1, 2, 1))]
)
def test_it_is_the_adjoint_of_the_strided_convolution(
    widths: tuple[int, ...], strides: tuple[int, ...]
) -> None:
    """⟨conv_transpose(x), y⟩ = ⟨x, conv(y)⟩; in space, where nothing is repeated at the ends."""
    axes, rank = (2, 3, 4)[-len(widths) :], len(widths)
    x, kernel = draw((2, *axes, IN)), draw((*widths, IN, OUT))
    y = draw((2, *np.multiply(axes, strides), OUT), seed=1)
    front = [(k - s + 1) // 2 for k, s in zip(widths, strides, strict=True)]
    padding = [(c, k - s - c) for c, k, s in zip(front, widths, strides, strict=True)]
    layout = "N" + "DHWC"[-1 - rank :]
    numbers = (layout, layout.replace("N", "").replace("C", "OI"), layout)

    @jax.jit
    def products(x: jax.Array, y: jax.Array, kernel: jax.Array) -> tuple[jax.Array, jax.Array]:
        back = lax.conv_general_dilated(y, kernel, strides, padding, dimension_numbers=numbers)
        return jnp.vdot(conv_transpose(x, kernel, strides), y), jnp.vdot(x, back)

    forth, back = products(x, y, kernel)
    np.testing.assert_allclose(forth, back, rtol=1e-12)


# --- closed forms


@pytest.mark.parametrize("time", [(), (2,)])
def test_ones_count_the_inputs_that_a_pixel_sees(time: tuple[int, ...]) -> None:
    """k4 s2: 2 a row within, 1 at its ends; in time always 2, as the clip goes on."""
    rank = len(time) + 2
    x, kernel = np.ones((1, *time, 3, 2, 1), np.float32), np.ones((*(4,) * rank, 1, 1), np.float32)
    y = run(x, kernel, 2)
    frame = np.outer([1, 2, 2, 2, 2, 1], [1, 2, 2, 1])
    expected = np.broadcast_to(frame, (2 * time[0], *frame.shape)) * 2 if time else frame
    np.testing.assert_array_equal(y[0, ..., 0], expected)


def test_an_impulse_leaves_the_kernel() -> None:
    """Unflipped, from `s·i - crop` on: frames from 2·2 - 1, rows from 2·1 - 1, columns from 0."""
    kernel = np.arange(1, 49, dtype=np.float32).reshape(4, 4, 3, 1, 1)
    x = np.zeros((1, 5, 3, 2, 1), np.float32)
    x[0, 2, 1, 0] = 1
    y = run(x, kernel, (2, 2, 3))[0, ..., 0]
    expected = np.zeros((10, 6, 6))
    expected[3:7, 1:5, :3] = kernel[..., 0, 0]
    np.testing.assert_array_equal(y, expected)


@pytest.mark.parametrize("rank", [2, 3])
def test_a_single_position_is_a_matrix_product(rank: int) -> None:
    """Where stride and width are one, each tap has a place of its own: DCGAN's first layer."""
    widths = (2, 4, 4)[-rank:]
    z, kernel = draw((3, 5)), draw((*widths, 5, 2))
    y = run(z.reshape(3, *(1,) * rank, 5), kernel, widths)
    expected = np.moveaxis(z @ kernel, -2, 0)
    np.testing.assert_allclose(y, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize(("width", "stride"), [(4, 2), (3, 1), (4, 1), (5, 2), (7, 3), (2, 2)])
def test_still_clips_stay_still(width: int, stride: int) -> None:
    """Phase by phase: a frame is the image's result with the sum of its phase's taps as kernel.

    Where these sums are the same, equal frames come out.
    """
    image, kernel = draw((2, 3, 2, IN)), draw((width, 4, 4, IN, OUT))
    alike = kernel.copy()  # all phases sum to the same
    for phase in range(stride):
        alike[phase] += kernel[:stride].sum(0) - kernel[phase::stride].sum(0)
    clip = np.repeat(image[:, None], 4, axis=1)

    crop = (width - stride + 1) // 2
    phases = [kernel[(r + crop) % stride :: stride].sum(0) for r in range(stride)]
    on_images = jax.jit(jax.vmap(lambda taps: conv_transpose(jnp.asarray(image), taps, 2)))
    expected = np.moveaxis(np.asarray(on_images(np.stack(phases))), 0, 1)
    frames = run(clip, kernel, (stride, 2, 2))
    np.testing.assert_allclose(frames, np.tile(expected, (1, 4, 1, 1, 1)), rtol=1e-12, atol=1e-12)
    still = np.asarray(run(clip, alike, (stride, 2, 2)))
    np.testing.assert_allclose(still, np.broadcast_to(still[:, :1], still.shape), atol=1e-12)


# --- what it costs


@pytest.mark.parametrize(
    ("widths", "strides"),
    [
        ((4, 4), (2, 2)),
        ((4, 4), (4, 4)),
        ((4, 4, 4), (2, 2, 2)),
        ((3, 4, 4), (1, 2, 2)),
        ((6, 4, 3), (3, 4, 1)),
    ],
)
def test_cpus_multiply_by_no_zeros(widths: tuple[int, ...], strides: tuple[int, ...]) -> None:
    """One 2D convolution, of what there is: a multiplication for each pair of position and tap.

    Beyond these there are just those with the zeros around a frame.
    """
    axes = (3, 5, 6)[-len(widths) :]
    shapes = jnp.zeros((2, *axes, IN)), jnp.zeros((*widths, IN, OUT))
    text = run.trace(*shapes, strides).lower(lowering_platforms=("cpu",)).as_text()
    ((window, taps, result),) = re.findall(
        r"stablehlo.convolution.*window = \{(.*?)\}.*tensor<(\S+)xf32>\) -> tensor<(\S+)xf32>", text
    )
    assert not re.search(r"dilate = \[[^a-z]*(?:[2-9]|1\d)", window), window
    *seen, _ = map(int, taps.split("x"))
    frames = 2 * math.prod(axes[:-2])
    pixels = [n + k // s - 1 for n, k, s in zip(axes[-2:], widths[-2:], strides[-2:], strict=True)]
    multiplications = math.prod(seen) * math.prod(map(int, result.split("x")))
    assert multiplications == frames * math.prod(pixels) * math.prod(widths) * IN * OUT


def test_other_devices_get_the_dilated_convolution() -> None:
    """Which is the one that their libraries know as a gradient."""
    shapes = jnp.zeros((2, 3, 5, 6, IN)), jnp.zeros((4, 4, 4, IN, OUT))
    text = run.trace(*shapes, (2, 2, 2)).lower(lowering_platforms=("cuda",)).as_text()
    (dilated,) = re.findall(r"stablehlo.convolution.*lhs_dilate = (\[.*?\])", text)
    assert dilated == "[2, 2, 2]"


# --- the module


@pytest.mark.parametrize("time", [(), (3,)])
def test_module_adds_one_bias(time: tuple[int, ...]) -> None:
    x = jnp.asarray(draw((2, *time, 3, 2, IN)), jnp.float32)
    kernel = jnp.asarray(draw((*(4,) * (x.ndim - 2), IN, OUT)), jnp.float32)
    bias = jnp.asarray([1.0, -2.0, 3.0])
    layer = ConvTranspose(OUT)
    y = jax.jit(layer.apply)({"params": {"kernel": kernel, "bias": bias}}, x)
    chex.assert_trees_all_close(y, run(x, kernel, 2) + bias, rtol=1e-5, atol=1e-5)

    found = jax.eval_shape(layer.init, jax.random.key(0), x)["params"]
    chex.assert_trees_all_equal_shapes_and_dtypes(found, {"kernel": kernel, "bias": bias})
    without = jax.eval_shape(ConvTranspose(OUT, use_bias=False).init, jax.random.key(0), x)
    assert set(without) == {"params"}
    assert set(without["params"]) == {"kernel"}


def test_module_takes_widths_and_strides_for_each_axis() -> None:
    clip = jax.ShapeDtypeStruct((1, 3, 4, 4, IN), jnp.float32)
    layer = ConvTranspose(OUT, (1, 4, 3), (1, 2, 3))
    y, variables = jax.eval_shape(layer.init_with_output, jax.random.key(0), clip)
    chex.assert_shape([y, variables["params"]["kernel"]], [(1, 3, 8, 12, OUT), (1, 4, 3, IN, OUT)])


# --- refusals


@pytest.mark.parametrize(
    ("x", "kernel", "text"),
    [
        ((1, 4, 4, 2), (3, 3, 3, 2, 1), r"\(1, 4, 4, 2\) and kernel \(3, 3, 3, 2, 1\) do not fit"),
        ((1, 2, 4, 4, 2), (3, 3, 2, 1), r"2 axes \(image\) or 3 \(clip\) wanted"),
        ((1, 4, 4, 2), (3, 3, 3, 1), "do not fit"),
        ((1, 4, 2), (3, 2, 1), "do not fit"),
    ],
)
def test_shapes_refused(x: tuple[int, ...], kernel: tuple[int, ...], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        conv_transpose(jnp.zeros(x), jnp.zeros(kernel))


def test_strides_refused() -> None:
    """Above a kernel's width they would leave holes; a wrong number of them is a mistake."""
    clip, kernel = jnp.zeros((1, 2, 4, 4, 2)), jnp.zeros((3, 4, 4, 2, 1))
    text = r"strides \(=\(4, 2, 2\)\) must not be above the kernel's widths \(3, 4, 4\)"
    with pytest.raises(ValueError, match=text):
        conv_transpose(clip, kernel, (4, 2, 2))
    with pytest.raises(
        ValueError, match=r"strides \(=\(2, 2\)\) must be one positive number, or 3"
    ):
        conv_transpose(clip, kernel, (2, 2))
    with pytest.raises(ValueError, match=r"strides \(=0\) must be one positive number"):
        conv_transpose(clip, kernel, 0)
    with pytest.raises(ValueError, match=r"kernel_size \(=\(4, 4\)\) must be one positive number"):
        ConvTranspose(3, (4, 4)).init(jax.random.key(0), clip)

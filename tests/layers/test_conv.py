"""Convolutions of images and clips, against PyTorch, in float64: errors there are of code."""

import functools
import re
from collections.abc import Iterator

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

from tests.reference_torch import derivatives
from tests.reference_torch.layers import Conv as TorchConv
from vidgan_jax.layers import Conv, conv
from vidgan_jax.layers.conv import per_axis

# Axes of the data, kernel widths, strides: odd, even, unequal and unit widths; strides 1 and 2.
Case = tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]
IMAGES: list[Case] = [
    ((6, 5), (3, 3), (1, 1)),
    ((6, 5), (4, 4), (2, 2)),
    ((5, 7), (1, 2), (2, 1)),
]
CLIPS: list[Case] = [
    ((4, 6, 5), (3, 3, 3), (1, 1, 1)),
    ((5, 6, 5), (4, 4, 4), (2, 2, 2)),
    ((3, 5, 4), (2, 3, 1), (2, 1, 2)),
    ((1, 4, 4), (3, 3, 3), (1, 1, 1)),
    ((3, 4, 4), (1, 1, 1), (1, 1, 1)),
]
IN, OUT = 2, 3


@pytest.fixture
def float64() -> Iterator[None]:
    with jax.enable_x64(True):
        yield


def draw(shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    return np.random.default_rng([seed, *shape]).standard_normal(shape)


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize(("axes", "widths", "strides"), IMAGES + CLIPS)
def test_conv_is_pytorchs(
    axes: tuple[int, ...], widths: tuple[int, ...], strides: tuple[int, ...]
) -> None:
    """Values, and the gradients with respect to data and kernel."""
    x, kernel = draw((2, *axes, IN)), draw((*widths, IN, OUT))
    out_axes = [-(-n // s) for n, s in zip(axes, strides, strict=True)]
    toward = draw((2, *out_axes, OUT), seed=1)

    @jax.jit
    def values_and_gradients(x: jax.Array, kernel: jax.Array) -> tuple[jax.Array, ...]:
        y, pullback = jax.vjp(functools.partial(conv, strides=strides), x, kernel)
        return y, *pullback(jnp.asarray(toward))

    y, dx, dkernel = values_and_gradients(jnp.asarray(x), jnp.asarray(kernel))
    reference = TorchConv(IN, OUT, widths, strides, bias=False).double()
    reference.layer.weight.data = torch.from_numpy(np.moveaxis(kernel, (-1, -2), (0, 1)).copy())
    x_torch = torch.from_numpy(x).requires_grad_()
    y_torch = reference(x_torch.movedim(-1, 1)).movedim(1, -1)
    np.testing.assert_allclose(y, y_torch.detach(), rtol=1e-12, atol=1e-12)

    y_torch.backward(torch.from_numpy(toward))
    assert x_torch.grad is not None
    assert reference.layer.weight.grad is not None
    np.testing.assert_allclose(dx, x_torch.grad, rtol=1e-12, atol=1e-12)
    expected = np.moveaxis(reference.layer.weight.grad.numpy(), (0, 1), (-1, -2))
    np.testing.assert_allclose(dkernel, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize(
    ("axes", "widths", "strides"),
    [
        ((5, 6), (4, 3), (1, 2)),
        ((3, 4, 5), (2, 4, 3), (1, 1, 2)),
        ((2, 4, 4), (2, 4, 4), (1, 1, 1)),
    ],
)
def test_valid_convolution_is_pytorchs(
    axes: tuple[int, ...], widths: tuple[int, ...], strides: tuple[int, ...]
) -> None:
    """No padding in space, none in time; the last case is a discriminator's to one logit."""
    x, kernel = draw((2, *axes, IN)), draw((*widths, IN, OUT))
    out_axes = [(n - k) // s + 1 for n, k, s in zip(axes, widths, strides, strict=True)]
    toward = draw((2, *out_axes, OUT), seed=1)

    @jax.jit
    def values_and_gradients(x: jax.Array, kernel: jax.Array) -> tuple[jax.Array, ...]:
        form = functools.partial(conv, strides=strides, padding="valid")
        y, pullback = jax.vjp(form, x, kernel)
        return y, *pullback(jnp.asarray(toward))

    y, dx, dkernel = values_and_gradients(jnp.asarray(x), jnp.asarray(kernel))
    convolve = torch.nn.functional.conv2d if len(axes) == 2 else torch.nn.functional.conv3d
    x_torch = torch.from_numpy(x).requires_grad_()
    kernel_torch = torch.from_numpy(kernel).requires_grad_()
    weight = kernel_torch.movedim((-1, -2), (0, 1))
    y_torch = convolve(x_torch.movedim(-1, 1), weight, stride=strides).movedim(1, -1)
    y_torch.backward(torch.from_numpy(toward))
    assert x_torch.grad is not None
    assert kernel_torch.grad is not None
    np.testing.assert_allclose(y, y_torch.detach(), rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(dx, x_torch.grad, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(dkernel, kernel_torch.grad, rtol=1e-12, atol=1e-12)


@pytest.mark.usefixtures("float64")
def test_r1_through_a_clip_convolution_is_pytorchs() -> None:
    """The second order too: the gradient of a penalty on the gradient, with respect to kernels."""
    x, kernel = draw((2, 4, 5, 5, IN)), draw((3, 3, 3, IN, OUT))

    def penalty(kernel: jax.Array) -> jax.Array:
        gradient = jax.grad(lambda x: jnp.sum(jnp.tanh(conv(x, kernel))))(jnp.asarray(x))
        return jnp.sum(jnp.square(gradient))

    value, gradient = jax.jit(jax.value_and_grad(penalty))(jnp.asarray(kernel))
    reference = TorchConv(IN, OUT, (3, 3, 3), bias=False).double()
    reference.layer.weight.data = torch.from_numpy(np.moveaxis(kernel, (-1, -2), (0, 1)).copy())
    expected = derivatives.r1(
        lambda x: reference(x.movedim(-1, 1)).tanh().flatten(1).sum(1), torch.from_numpy(x)
    ).sum()
    expected.backward()
    assert reference.layer.weight.grad is not None
    np.testing.assert_allclose(value, expected.item(), rtol=1e-12)
    in_our_layout = np.moveaxis(reference.layer.weight.grad.numpy(), (0, 1), (-1, -2))
    np.testing.assert_allclose(gradient, in_our_layout, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize(
    ("platform", "dimensions"), [("cpu", "[b, 0, 1, f]"), ("cuda", "[b, 0, 1, 2, f]")]
)
def test_each_platform_gets_its_form(platform: str, dimensions: str) -> None:
    """Clips are convolved in 2D on CPUs only; other devices get their library's 3D convolution."""
    shapes = jnp.zeros((1, 4, 4, 4, IN)), jnp.zeros((3, 3, 3, IN, OUT))
    text = jax.jit(conv).trace(*shapes).lower(lowering_platforms=(platform,)).as_text()
    assert set(re.findall(r"stablehlo.convolution.*dim_numbers = (\[.*?\])", text)) == {dimensions}


@pytest.mark.parametrize(
    ("widths", "stride"), [((3, 3, 3), 1), ((4, 4, 4), 1), ((2, 1, 1), 1), ((3, 3, 3), 2)]
)
def test_still_clips_stay_still(widths: tuple[int, ...], stride: int) -> None:
    """A still clip gives, in every frame, what its image gives with the taps' sum as kernel."""
    image, kernel = (jnp.asarray(draw(s), jnp.float32) for s in ((2, 5, 5, IN), (*widths, IN, OUT)))
    clip = jnp.repeat(image[:, None], 5, axis=1)
    frames = jax.jit(conv, static_argnums=2)(clip, kernel, (stride, 1, 1))
    still = jax.jit(conv)(image, kernel.sum(0))
    expected = jnp.broadcast_to(still[:, None], (2, -(-5 // stride), *still.shape[1:]))
    chex.assert_trees_all_close(frames, expected, rtol=1e-5, atol=1e-5)


def test_zeros_surround_the_frame_in_space() -> None:
    """A kernel of ones counts the pixels that it sees: 4 at corners, 6 at edges, 9 within."""
    y = conv(jnp.ones((1, 2, 4, 4, 1)), jnp.ones((1, 3, 3, 1, 1)))[0, :, :, :, 0]
    rows = [[4, 6, 6, 4], [6, 9, 9, 6], [6, 9, 9, 6], [4, 6, 6, 4]]
    np.testing.assert_array_equal(y, [rows, rows])


@pytest.mark.parametrize("time", [(), (4,)])
def test_module_adds_one_bias_to_the_convolution(time: tuple[int, ...]) -> None:
    x = jnp.asarray(draw((2, *time, 5, 5, IN)), jnp.float32)
    kernel = jnp.asarray(draw((*(3,) * (x.ndim - 2), IN, OUT)), jnp.float32)
    bias = jnp.asarray([1.0, -2.0, 3.0])
    layer = Conv(OUT, strides=2)
    y = jax.jit(layer.apply)({"params": {"kernel": kernel, "bias": bias}}, x)
    chex.assert_trees_all_close(y, conv(x, kernel, 2) + bias, rtol=1e-5)

    expected = {"kernel": kernel, "bias": bias}
    found = jax.eval_shape(layer.init, jax.random.key(0), x)["params"]
    chex.assert_trees_all_equal_shapes_and_dtypes(found, expected)
    without = jax.eval_shape(Conv(OUT, use_bias=False).init, jax.random.key(0), x)["params"]
    assert set(without) == {"kernel"}


def test_module_takes_widths_for_each_axis() -> None:
    clip = jax.ShapeDtypeStruct((1, 4, 8, 8, IN), jnp.float32)
    layer = Conv(OUT, kernel_size=(1, 4, 4), strides=(1, 2, 2))
    y, variables = jax.eval_shape(layer.init_with_output, jax.random.key(0), clip)
    chex.assert_shape([y, variables["params"]["kernel"]], [(1, 4, 4, 4, OUT), (1, 4, 4, IN, OUT)])


def test_module_takes_a_padding() -> None:
    clip = jax.ShapeDtypeStruct((1, 4, 8, 8, IN), jnp.float32)
    for padding, axes in (("same", (4, 8, 8)), ("valid", (2, 6, 6)), (2, (4, 10, 10))):
        layer = Conv(OUT, padding=padding)  # type: ignore[arg-type]
        y, _ = jax.eval_shape(layer.init_with_output, jax.random.key(0), clip)
        chex.assert_shape(y, (1, *axes, OUT))


def test_another_padding_is_refused() -> None:
    with pytest.raises(ValueError, match=r"padding \(='full'\) must be 'same' or 'valid'"):
        conv(jnp.zeros((1, 4, 4, 2)), jnp.zeros((3, 3, 2, 1)), padding="full")  # type: ignore[arg-type]
    with pytest.raises(
        ValueError, match=r"padding \(=-1\) must be .* or zeros on each side, from 0"
    ):
        conv(jnp.zeros((1, 4, 4, 2)), jnp.zeros((3, 3, 2, 1)), padding=-1)


def test_per_axis() -> None:
    assert per_axis(2, 3, "strides") == (2, 2, 2)
    assert per_axis([1, 2, 2], 3, "strides") == (1, 2, 2)


@pytest.mark.parametrize(
    ("x", "kernel", "text"),
    [
        ((1, 4, 4, 2), (3, 3, 3, 2, 1), r"\(1, 4, 4, 2\) and kernel \(3, 3, 3, 2, 1\) do not fit"),
        ((1, 2, 4, 4, 2), (3, 3, 2, 1), r"2 axes \(image\) or 3 \(clip\) wanted"),
        ((1, 4, 4, 2), (3, 3, 3, 1), "do not fit"),
        ((1, 4, 2), (3, 2, 1), "do not fit"),
        ((1, 2, 2, 4, 4, 2), (1, 1, 3, 3, 2, 1), "do not fit"),
    ],
)
def test_conv_refuses_shapes(x: tuple[int, ...], kernel: tuple[int, ...], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        conv(jnp.zeros(x), jnp.zeros(kernel))


@pytest.mark.parametrize("value", [0, (1, 2), (2, 0, 1), (1, 1, 1, 1), -1])
def test_per_axis_refuses(value: int | tuple[int, ...]) -> None:
    text = r"strides \(=.*\) must be one positive number, or 3 of them, for data of rank 3"
    with pytest.raises(ValueError, match=text):
        conv(jnp.zeros((1, 4, 4, 4, 2)), jnp.zeros((3, 3, 3, 2, 1)), value)


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("zeros", [0, 2])
@pytest.mark.parametrize("axes", [(5, 6), (3, 5, 6)])
def test_a_number_of_zeros_is_pytorchs_padding(axes: tuple[int, ...], zeros: int) -> None:
    """In space; in time the end frames are repeated as ever. Values and gradients."""
    widths, strides = (3, 4, 4)[-len(axes) :], (1, 2, 2)[-len(axes) :]
    x, kernel = draw((2, *axes, IN)), draw((*widths, IN, OUT))
    x_torch = torch.from_numpy(x).requires_grad_()
    kernel_torch = torch.from_numpy(kernel).requires_grad_()
    padded = x_torch.movedim(-1, 1)
    if len(axes) == 3:
        padded = torch.nn.functional.pad(padded, (0, 0, 0, 0, 1, 1), mode="replicate")
    convolve = torch.nn.functional.conv2d if len(axes) == 2 else torch.nn.functional.conv3d
    weight, around = kernel_torch.movedim((-1, -2), (0, 1)), (0, zeros, zeros)[-len(axes) :]
    y_torch = convolve(padded, weight, stride=strides, padding=around).movedim(1, -1)
    toward = draw(tuple(y_torch.shape), seed=1)
    y_torch.backward(torch.from_numpy(toward))

    @jax.jit
    def values_and_gradients(x: jax.Array, kernel: jax.Array) -> tuple[jax.Array, ...]:
        form = functools.partial(conv, strides=strides, padding=zeros)
        y, pullback = jax.vjp(form, x, kernel)
        return y, *pullback(jnp.asarray(toward))

    y, dx, dkernel = values_and_gradients(jnp.asarray(x), jnp.asarray(kernel))
    assert x_torch.grad is not None
    assert kernel_torch.grad is not None
    np.testing.assert_allclose(y, y_torch.detach(), rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(dx, x_torch.grad, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(dkernel, kernel_torch.grad, rtol=1e-12, atol=1e-12)

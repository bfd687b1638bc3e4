"""Upsampling and pooling of images and clips, against PyTorch."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

from tests.reference_torch import layers as reference
from vidgan_jax.layers import avg_pool, upsample_nearest


def draw(shape: tuple[int, ...]) -> np.ndarray:
    return np.random.default_rng(shape).standard_normal(shape, np.float32)


def channels_first(x: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(x).movedim(-1, 1)


@pytest.mark.parametrize(
    ("axes", "factors"), [((3, 4), (2, 2)), ((3, 4), (1, 3)), ((2, 3, 4), (2, 2, 2)),
                          ((2, 3, 4), (1, 2, 2)), ((2, 3, 4), (1, 1, 1))]
)  # fmt: skip
def test_upsampling_is_pytorchs(axes: tuple[int, ...], factors: tuple[int, ...]) -> None:
    x = draw((2, *axes, 3))
    expected = reference.upsample(channels_first(x), factors).movedim(1, -1)
    np.testing.assert_array_equal(upsample_nearest(jnp.asarray(x), factors), expected)


def test_one_factor_stands_for_all_axes() -> None:
    x = jnp.asarray(draw((1, 2, 2, 3, 1)))
    np.testing.assert_array_equal(upsample_nearest(x, 2), upsample_nearest(x, (2, 2, 2)))


@pytest.mark.parametrize(
    ("axes", "window", "strides"),
    [
        ((8, 8), (3, 3), (2, 2)),
        ((7, 8), (3, 3), (2, 2)),
        ((6, 6), (2, 2), (2, 2)),
        ((4, 8, 8), (2, 3, 3), (2, 2, 2)),
        ((4, 8, 8), (1, 3, 3), (1, 2, 2)),
    ],
)
def test_pooling_is_pytorchs(
    axes: tuple[int, ...], window: tuple[int, ...], strides: tuple[int, ...]
) -> None:
    """Values and the gradient; padding is counted, so borders of ones are below one."""
    x = draw((2, *axes, 3))
    x_torch = channels_first(x).requires_grad_()
    y_torch = reference.avg_pool(x_torch, window, strides)
    toward = draw(tuple(y_torch.movedim(1, -1).shape))
    (dx_torch,) = torch.autograd.grad(y_torch, x_torch, channels_first(toward))

    @jax.jit
    def value_and_gradient(x: jax.Array) -> tuple[jax.Array, jax.Array]:
        y, pullback = jax.vjp(lambda x: avg_pool(x, window, strides), x)
        return y, pullback(jnp.asarray(toward))[0]

    y, dx = value_and_gradient(jnp.asarray(x))
    np.testing.assert_allclose(y, y_torch.movedim(1, -1).detach(), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(dx, dx_torch.movedim(1, -1), rtol=1e-5, atol=1e-6)


def test_padding_is_counted_in_space() -> None:
    """The corner of a picture of ones sees 4 of 9 ones, an edge 6; in time nothing is padded."""
    y = avg_pool(jnp.ones((1, 4, 4, 4, 1)), (2, 3, 3), (2, 2, 2))[0, :, :, :, 0]
    frame = [[4 / 9, 6 / 9], [6 / 9, 1]]
    np.testing.assert_allclose(y, [frame, frame], rtol=1e-6)


def test_still_clips_stay_still() -> None:
    """Every frame of a still clip, pooled or upsampled, is its image pooled or upsampled."""
    image = jnp.asarray(draw((2, 8, 8, 3)))
    clip = jnp.repeat(image[:, None], 4, axis=1)
    pooled = avg_pool(clip, (2, 3, 3), (2, 2, 2))
    assert pooled.shape == (2, 2, 4, 4, 3)
    for frame in jnp.unstack(pooled, axis=1):
        np.testing.assert_allclose(frame, avg_pool(image, (3, 3), (2, 2)), rtol=1e-6, atol=1e-7)
    upsampled = upsample_nearest(clip, 2)
    assert upsampled.shape == (2, 8, 16, 16, 3)
    for frame in jnp.unstack(upsampled, axis=1):
        np.testing.assert_array_equal(frame, upsample_nearest(image, 2))


@pytest.mark.parametrize(
    ("axes", "window", "strides"),
    [
        ((8, 8), (3, 3), (2, 2)),
        ((7, 5), (3, 3), (2, 2)),
        ((4, 8, 8), (3, 3, 3), (2, 2, 2)),
        ((3, 7, 8), (3, 3, 3), (2, 2, 2)),
        ((4, 8, 8), (2, 3, 3), (2, 2, 2)),
    ],
)
def test_pooling_without_padding_is_pytorchs(
    axes: tuple[int, ...], window: tuple[int, ...], strides: tuple[int, ...]
) -> None:
    """Values and the gradient where what lies beyond the edge is not counted, in time neither."""
    x = draw((2, *axes, 3))
    x_torch = channels_first(x).requires_grad_()
    pool = torch.nn.functional.avg_pool2d if len(axes) == 2 else torch.nn.functional.avg_pool3d
    padding = tuple((k - 1) // 2 if k % 2 else 0 for k in window)
    y_torch = pool(x_torch, window, strides, padding, count_include_pad=False)
    toward = draw(tuple(y_torch.movedim(1, -1).shape))
    (dx_torch,) = torch.autograd.grad(y_torch, x_torch, channels_first(toward))

    @jax.jit
    def value_and_gradient(x: jax.Array) -> tuple[jax.Array, jax.Array]:
        y, pullback = jax.vjp(lambda x: avg_pool(x, window, strides, count_padding=False), x)
        return y, pullback(jnp.asarray(toward))[0]

    y, dx = value_and_gradient(jnp.asarray(x))
    np.testing.assert_allclose(y, y_torch.movedim(1, -1).detach(), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(dx, dx_torch.movedim(1, -1), rtol=1e-5, atol=1e-6)


def test_without_padding_ones_stay_ones() -> None:
    y = avg_pool(jnp.ones((1, 3, 4, 5, 1)), (3, 3, 3), (2, 2, 2), count_padding=False)
    np.testing.assert_allclose(y, np.ones((1, 2, 2, 3, 1)), rtol=1e-6)


def test_still_clips_stay_still_without_padding() -> None:
    """With an odd window over time, which counted padding would dim."""
    image = jnp.asarray(draw((2, 8, 8, 3)))
    clip = jnp.repeat(image[:, None], 4, axis=1)
    pooled = avg_pool(clip, (3, 3, 3), (2, 2, 2), count_padding=False)
    assert pooled.shape == (2, 2, 4, 4, 3)
    for frame in jnp.unstack(pooled, axis=1):
        expected = avg_pool(image, (3, 3), (2, 2), count_padding=False)
        np.testing.assert_allclose(frame, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("axes", "window", "strides", "text"),
    [
        ((4, 8, 8), (3, 3, 3), (2, 2, 2), r"window over time \(=3\) must be 1 or even"),
        ((4, 8, 8), (3, 3), (2, 2, 2), r"window \(=\(3, 3\)\) must be .* 3 of them"),
        ((8, 8), (3, 3), (2, 2, 2), r"strides \(=\(2, 2, 2\)\) must be .* 2 of them"),
        ((8, 8), (0, 3), (2, 2), r"window \(=\(0, 3\)\) must be one positive number"),
    ],
)
def test_pooling_refuses(
    axes: tuple[int, ...], window: tuple[int, ...], strides: tuple[int, ...], text: str
) -> None:
    with pytest.raises(ValueError, match=text):
        avg_pool(jnp.zeros((1, *axes, 1)), window, strides)


def test_upsampling_refuses_factors_of_another_rank() -> None:
    with pytest.raises(ValueError, match=r"factors \(=\(1, 2, 2\)\) must be .* data of rank 2"):
        upsample_nearest(jnp.zeros((1, 4, 4, 1)), (1, 2, 2))

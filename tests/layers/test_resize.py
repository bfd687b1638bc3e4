"""Resizing and pooling: PyTorch's values, for sizes that divide and sizes that don't."""

import jax.numpy as jnp
import numpy as np
import pytest
import torch
import torch.nn.functional as F

from vidgan_jax.layers.resize import (
    adaptive_avg_pool,
    apply_weights,
    linear_weights,
    mean_weights,
    resize_bilinear,
)

SHAPE = (2, 7, 10, 3)


def draw(*shape: int) -> np.ndarray:
    return np.random.default_rng(shape).standard_normal(shape, np.float32)


@pytest.mark.parametrize("size", [(7, 10), (14, 20), (15, 11), (3, 7), (1, 40)])
def test_interpolation_is_pytorchs(size: tuple[int, int]) -> None:
    """Enlarging and, without antialiasing, shrinking."""
    x = draw(*SHAPE)
    wanted = F.interpolate(
        torch.from_numpy(x).movedim(-1, 1), size, mode="bilinear", align_corners=False
    )
    found = resize_bilinear(jnp.asarray(x), size)
    np.testing.assert_allclose(found, wanted.movedim(1, -1), atol=2e-6)


@pytest.mark.parametrize("bins", [1, 2, 3, 6, 9])
def test_means_of_parts_are_pytorchs(bins: int) -> None:
    """More of them than rows, too."""
    x = draw(*SHAPE)
    wanted = F.adaptive_avg_pool2d(torch.from_numpy(x).movedim(-1, 1), bins)
    found = adaptive_avg_pool(jnp.asarray(x), bins)
    np.testing.assert_allclose(found, wanted.movedim(1, -1), atol=2e-6)


def test_weights() -> None:
    np.testing.assert_allclose(linear_weights(2, 4), np.array([[4, 0], [3, 1], [1, 3], [0, 4]]) / 4)
    np.testing.assert_allclose(linear_weights(4, 2), [[0.5, 0.5, 0, 0], [0, 0, 0.5, 0.5]])
    wide = np.array([[3, 3, 1, 0], [0, 1, 3, 3]]) / 7
    np.testing.assert_allclose(linear_weights(4, 2, antialias=True), wide)
    np.testing.assert_allclose(
        mean_weights(3, 2), [[0.5, 0.5, 0], [0, 0.5, 0.5]]
    )  # the middle is in both
    np.testing.assert_array_equal(linear_weights(5, 5, antialias=True), np.eye(5))


def test_each_axis_has_its_matrix() -> None:
    x, weights = draw(1, 2, 3, 1), np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
    by_rows = apply_weights(jnp.asarray(x), weights, 1)
    np.testing.assert_allclose(by_rows[0, 2, :, 0], x[0, 0, :, 0] + x[0, 1, :, 0], rtol=1e-6)
    by_columns = apply_weights(jnp.asarray(x.swapaxes(1, 2)), weights, 2)
    np.testing.assert_allclose(by_columns, by_rows.swapaxes(1, 2), rtol=1e-6)

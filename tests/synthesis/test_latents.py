"""Latents by number, and paths through them."""

import jax.numpy as jnp
import numpy as np
import pytest

from vidgan_jax.synthesis.latents import INTERPOLATIONS, draw_latents, interpolate, pick_latents

Z_DIM = 4


def draw(seed: int = 0, num: int = 3, truncation: float | None = None) -> np.ndarray:
    return np.asarray(draw_latents(seed, num, Z_DIM, truncation))


# Latents.


@pytest.mark.parametrize("truncation", [None, 1.0])
@pytest.mark.parametrize(("num", "many"), [(1, 2), (3, 8)])
def test_number_i_is_the_same_however_many_there_are(
    num: int, many: int, truncation: float | None
) -> None:
    few, all_of_them = draw(5, num, truncation), draw(5, many, truncation)
    np.testing.assert_array_equal(few, all_of_them[:num])


def test_latents_are_picked_by_number() -> None:
    picked = np.asarray(pick_latents(5, (99_999, 2, 0, 2), Z_DIM, None))
    np.testing.assert_array_equal(picked[1:], draw(5)[[2, 0, 2]])
    assert not np.isin(picked[0], picked[1:]).any()


def test_latents_are_standard_normal_and_seeds_differ() -> None:
    latents = np.asarray(draw_latents(0, 2000, 16, None))
    assert latents.dtype == np.float32
    assert abs(latents.mean()) < 0.02
    assert abs(latents.std() - 1) < 0.02
    assert len(np.unique(latents.round(4), axis=0)) == 2000
    assert not np.isin(draw(seed=1), draw(seed=0)).any()


@pytest.mark.parametrize("truncation", [0.5, 2.0])
def test_truncation_bounds_every_component(truncation: float) -> None:
    latents = np.asarray(draw_latents(0, 500, 16, truncation))
    assert np.abs(latents).max() <= truncation
    assert np.abs(latents).max() > 0.95 * truncation
    assert abs(latents.mean()) < 0.03


# Paths.


def path_of(latents: np.ndarray | list[list[float]], steps: int, kind: str) -> np.ndarray:
    return np.asarray(interpolate(jnp.asarray(latents), steps, kind))


def lengths_of(path: np.ndarray) -> np.ndarray:
    return np.linalg.norm(path, axis=1)


@pytest.mark.parametrize("kind", INTERPOLATIONS)
@pytest.mark.parametrize("steps", [1, 2, 5])
def test_a_path_hits_its_latents_and_is_closed(steps: int, kind: str) -> None:
    latents = draw(num=3)
    path = path_of(latents, steps, kind)
    assert path.shape == (3 * steps, Z_DIM)
    assert path.dtype == np.float32
    np.testing.assert_allclose(path[::steps], latents, rtol=1e-5)
    # On from the last towards the first: no jump, and no stop.
    strides = lengths_of(np.roll(path, -1, axis=0) - path)
    assert strides.max() < lengths_of(latents - np.roll(latents, -1, axis=0)).max() + 1e-5
    assert strides.min() > 0


def test_spherical_is_what_is_meant_unless_told() -> None:
    latents = jnp.asarray(draw(num=3))
    np.testing.assert_array_equal(interpolate(latents, 4), path_of(draw(num=3), 4, "spherical"))


def test_a_spherical_path_between_unit_latents_is_a_great_circle() -> None:
    """Equal angles from step to step, and length 1 all the way."""
    path = path_of([[1.0, 0, 0], [0, 1, 0], [0, 0, 1]], 9, "spherical")
    np.testing.assert_allclose(lengths_of(path), 1, rtol=1e-5)
    cosines = np.sum(path * np.roll(path, -1, axis=0), axis=1)
    np.testing.assert_allclose(np.arccos(cosines), np.pi / 2 / 9, rtol=1e-3)


def test_a_spherical_path_between_equal_lengths_is_slerp() -> None:
    """By White's own formula, in float64."""
    latents = draw(num=2).astype(np.float64)
    latents *= 3 / lengths_of(latents)[:, None]
    first, last = latents
    angle = np.arccos(first @ last / 9)
    t = np.arange(6)[:, None] / 6
    slerp = (np.sin((1 - t) * angle) * first + np.sin(t * angle) * last) / np.sin(angle)
    path = path_of(latents.astype(np.float32), 6, "spherical")
    np.testing.assert_allclose(path[:6], slerp, atol=1e-5)
    np.testing.assert_allclose(lengths_of(path), 3, rtol=1e-5)


def test_a_spherical_path_changes_length_evenly() -> None:
    latents = draw(num=2)
    first, last = lengths_of(latents)
    path = path_of(latents, 5, "spherical")
    np.testing.assert_allclose(lengths_of(path)[:5], np.linspace(first, last, 6)[:5], rtol=1e-5)


def test_a_linear_path_is_straight_and_half_way_the_mean() -> None:
    latents = draw(num=2)
    path = path_of(latents, 4, "linear")
    np.testing.assert_allclose(path[2], latents.mean(axis=0), atol=1e-6)
    np.testing.assert_allclose(np.diff(path[:5], n=2, axis=0), 0, atol=1e-6)


def test_a_linear_path_leaves_the_sphere_and_a_spherical_one_does_not() -> None:
    """Half-way between independent normal latents, √2 shorter."""
    latents = np.asarray(draw_latents(0, 8, 4096, None))
    half_way = lengths_of(path_of(latents, 2, "linear")[1::2]) / 64
    np.testing.assert_allclose(half_way, np.sqrt(0.5), rtol=0.05)
    half_way = lengths_of(path_of(latents, 2, "spherical")[1::2]) / 64
    np.testing.assert_allclose(half_way, 1, rtol=0.05)


@pytest.mark.parametrize("kind", INTERPOLATIONS)
def test_a_path_between_equal_latents_stands_still(kind: str) -> None:
    np.testing.assert_allclose(path_of(np.ones((2, Z_DIM)), 4, kind), 1, rtol=1e-5)
    np.testing.assert_allclose(path_of(np.ones((1, Z_DIM)), 4, kind), 1, rtol=1e-5)
    assert not path_of(np.zeros((2, Z_DIM)), 4, kind).any()


@pytest.mark.parametrize("away", [0.0, 1e-7, 1e-5, 1e-3])
@pytest.mark.parametrize("length", [1.0, 2.0])
def test_opposite_latents_are_joined_by_half_a_circle(away: float, length: float) -> None:
    """And nearly opposite ones, where White's formula divides by nearly 0."""
    first = np.array([0.6, 0.0, -0.8])
    last = -length * (first + away * np.array([0.8, 0.0, 0.6]))
    steps = 8
    path = path_of(np.stack([first, last]).astype(np.float32), steps, "spherical")
    expected = np.linspace(1, length, steps + 1)
    np.testing.assert_allclose(lengths_of(path)[: steps + 1], expected, rtol=1e-3)
    units = path / lengths_of(path)[:, None]
    cosines = np.sum(units * np.roll(units, -1, axis=0), axis=1)
    np.testing.assert_allclose(np.arccos(cosines), np.pi / steps, rtol=0.01)


def test_opposite_latents_of_one_component_are_joined_through_0() -> None:
    path = path_of([[1.0], [-1.0]], 2, "spherical")
    np.testing.assert_allclose(path[:, 0], [1, 0, -1, 0], atol=1e-6)


def test_the_way_from_0_is_straight() -> None:
    """0 has no direction to turn from."""
    path = path_of([[0.0, 0.0], [3.0, 4.0]], 4, "spherical")
    quarters = np.array([0, 1, 2, 3, 4, 3, 2, 1])[:, None] / 4
    np.testing.assert_allclose(path, quarters * [3, 4], atol=1e-6)


@pytest.mark.parametrize(
    ("steps", "kind", "message"),
    [
        (0, "linear", r"steps \(=0\) must be at least 1"),
        (2, "cubic", r"kind \(='cubic'\) must be one of spherical, linear"),
    ],
)
def test_a_wrong_path_is_refused(steps: int, kind: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        path_of(draw(), steps, kind)

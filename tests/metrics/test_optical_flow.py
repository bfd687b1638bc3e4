"""Optical flow: known movements, no movement, and OpenCV's flow of rendered clips."""

import cv2
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import ndimage

from tests.metrics.examples import to_bytes
from vidgan_jax.data.scenes import render_clip
from vidgan_jax.metrics.optical_flow import optical_flow, to_grey, warp

SIZE = 48
PAIRS = 7  # all tests but one share a shape, and so a program


def turned(degrees: float, zoom: float = 1.0) -> np.ndarray:
    angle = np.deg2rad(degrees)
    return zoom * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])


STILL, IDENTITY = (0.0, 0.0), np.eye(2)
# A map of the plane about the frame's centre and a shift, each; and the mean error allowed, pixels.
MOVEMENTS = {
    "a third of a pixel": (IDENTITY, (0.3, -0.2), 0.06),
    "one and a half": (IDENTITY, (-1.5, 0.7), 0.06),
    "three": (IDENTITY, (1.4, 3.0), 0.06),
    "six": (IDENTITY, (6.0, -4.0), 0.15),
    "a turn": (turned(4), STILL, 0.12),
    "a zoom": (turned(0, 1.05), STILL, 0.08),
    "both, and a shift": (turned(-2, 0.97), (1.0, 2.0), 0.1),
}


def make_texture(seed: int, size: int) -> np.ndarray:
    """Noise of several scales, grey levels; float64 `[size, size]`."""
    rng = np.random.default_rng(seed)
    weights = {1.2: 1.2, 3.0: 3.0, 7.0: 10.0}
    texture = sum(
        weight * ndimage.gaussian_filter(rng.normal(size=(size, size)), scale, mode="wrap")
        for scale, weight in weights.items()
    )
    return 128 + 40 * (texture - np.mean(texture)) / np.std(texture)


def moved(seed: int, matrix: np.ndarray, shift: tuple[float, float]) -> list[np.ndarray]:
    """A frame, the next one, the true flow, and where that stays inside; by cubic splines."""
    texture, margin = make_texture(seed, 2 * SIZE), SIZE // 2
    y, x = np.mgrid[:SIZE, :SIZE].astype(np.float64)
    centre = (SIZE - 1) / 2
    here = np.stack([x, y], axis=-1)
    there = (here - centre) @ matrix.T + centre + shift
    origin = (here - centre - shift) @ np.linalg.inv(matrix).T + centre

    def look(at: np.ndarray) -> np.ndarray:
        return to_bytes(
            ndimage.map_coordinates(texture, [at[..., 1] + margin, at[..., 0] + margin])
        )

    inside = ((there >= 0) & (there <= SIZE - 1)).all(axis=-1)
    return [look(here), look(origin), there - here, inside]


def flow_of(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    return np.asarray(optical_flow(*(jnp.asarray(x, jnp.float32) for x in (first, second))))


def test_known_movements_are_found() -> None:
    """All in one batch: pixels' mean distance from the true flow, where it stays in the frame."""
    made = [moved(seed, *case[:2]) for seed, case in enumerate(MOVEMENTS.values())]
    first, second, true, inside = (np.stack(x) for x in zip(*made, strict=True))
    assert len(made) == PAIRS
    errors = np.linalg.norm(flow_of(first, second) - true, axis=-1)
    for name, error, within in zip(MOVEMENTS, errors, inside, strict=True):
        assert error[within].mean() < MOVEMENTS[name][2], name


def test_small_frames_of_odd_sides() -> None:
    height, width = 17, 23
    texture = make_texture(5, 64)
    first = texture[20 : 20 + height, 20 : 20 + width]
    second = texture[19 : 19 + height, 22 : 22 + width]  # two to the left, one down
    flow = flow_of(first[None], second[None])[0]
    np.testing.assert_allclose(flow[2:-2, 3:-2].mean((0, 1)), [-2, 1], atol=0.1)


def test_nothing_moves_nothing() -> None:
    """Exactly, where frames are equal; and nothing to follow is not followed, if it brightens."""
    noise = np.random.default_rng(0).integers(0, 256, (PAIRS, SIZE, SIZE)) / 3
    assert not flow_of(noise, noise).any()
    flat = np.full((PAIRS, SIZE, SIZE), 30)
    np.testing.assert_allclose(flow_of(flat, flat + 50), 0, atol=1e-3)


def test_a_pair_does_not_depend_on_its_batch() -> None:
    frames = np.random.default_rng(0).uniform(0, 255, (2, PAIRS, SIZE, SIZE))
    together, turned_round = flow_of(*frames), flow_of(*frames[:, ::-1])
    np.testing.assert_array_equal(together, turned_round[::-1])


def test_agrees_with_opencv() -> None:
    """On beaches, lakes, rivers and waterfalls, with Farnebäck's flow and dense inverse search.

    They differ from one another, too: ours is to be about as near to each as they are.
    """
    clips = [render_clip(seed, num_frames=3, size=SIZE, supersampling=1) for seed in range(PAIRS)]
    first, second = (
        np.stack([cv2.cvtColor(clip.frames[t], cv2.COLOR_RGB2GRAY) for clip in clips])
        for t in (0, 2)
    )
    search = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    search.setFinestScale(0)
    pairs = list(zip(first, second, strict=True))
    zero = np.zeros((SIZE, SIZE, 2), np.float32)  # copied: they write into what they are given
    flows = [
        flow_of(first, second),
        np.stack([search.calc(*pair, zero.copy()) for pair in pairs]),
        np.stack(
            [
                cv2.calcOpticalFlowFarneback(*pair, zero.copy(), 0.5, 3, 11, 3, 5, 1.1, 0)
                for pair in pairs
            ]
        ),
    ]
    ours, *theirs = (np.linalg.norm(flow, axis=-1).ravel() for flow in flows)
    apart = np.linalg.norm(flows[1] - flows[2], axis=-1).mean()
    agreement = np.corrcoef(*theirs)[0, 1]
    assert agreement > 0.7
    for flow, length in zip(flows[1:], theirs, strict=True):
        assert np.linalg.norm(flows[0] - flow, axis=-1).mean() < 1.2 * apart
        assert np.corrcoef(ours, length)[0, 1] > agreement - 0.05
    means = [length.mean() for length in theirs]
    assert 0.8 * min(means) < ours.mean() < 1.25 * max(means)


def test_warping_looks_up_where_the_flow_points() -> None:
    image = np.arange(30, dtype=np.float32).reshape(1, 5, 6) / 3
    flow = np.zeros((1, 5, 6, 2), np.float32)
    same, inside = warp(jnp.asarray(image), jnp.asarray(flow))
    np.testing.assert_array_equal(same, image)
    assert np.asarray(inside).all()
    flow[..., 0], flow[..., 1] = 0.5, -1
    found, inside = (np.asarray(x)[0] for x in warp(jnp.asarray(image), jnp.asarray(flow)))
    expected = ndimage.map_coordinates(
        image[0], np.mgrid[:5, :6] + np.array([-1, 0.5])[:, None, None], order=1, mode="nearest"
    )
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    assert inside[1:, :-1].all()
    assert not inside[0].any()
    assert not inside[:, -1].any()


def test_grey_is_luma() -> None:
    colours = np.array([[255, 255, 255], [255, 0, 0], [0, 255, 0], [0, 0, 255]], np.uint8)
    expected = 255 * np.array([1, 0.299, 0.587, 0.114])
    np.testing.assert_allclose(to_grey(jnp.asarray(colours)), expected, atol=0.6)
    assert to_grey(jnp.asarray(colours))[0] == 255


def test_mistakes() -> None:
    with pytest.raises(ValueError, match=r"grey frames \[n, h, w\] of one shape; got \[1, 9, 9\]"):
        optical_flow(jnp.zeros((1, 9, 9)), jnp.zeros((1, 9, 8)))
    with pytest.raises(ValueError, match="at least 8×8 pixels; got 7×20"):
        optical_flow(jnp.zeros((1, 7, 20)), jnp.zeros((1, 7, 20)))

"""Statistics of movement: closed forms, and SciPy for distances."""

import numpy as np
import pytest
from scipy import stats
from scipy.spatial.distance import jensenshannon

from tests.metrics.examples import make_waves
from vidgan_jax.metrics.motion import (
    EDGES,
    NUM_BINS,
    histogram_distance,
    histogram_divergence,
    measure_motion,
    sample_distance,
)


def histogram(magnitudes: np.ndarray) -> np.ndarray:
    return np.histogram(magnitudes, EDGES)[0]


def test_change_and_bend_are_exact() -> None:
    clips = np.zeros((2, 4, 8, 8, 3), np.uint8)
    clips[0, 1] = 255  # up and down again
    clips[1, 2:, :, :, 0] = 30  # up once in one channel
    found = measure_motion(clips)
    np.testing.assert_array_equal(found.change, [[255, 255, 0], [0, 10, 0]])
    np.testing.assert_array_equal(found.bend, [[510, 255], [10, 10]])


def test_still_clips_have_no_flow_at_all() -> None:
    clips = np.repeat(make_waves(3, frames=1, size=8), 4, axis=1)
    found = measure_motion(clips)
    for name in ("change", "bend", "flow", "pan", "down", "unwarped", "warped"):
        assert not getattr(found, name).any(), name
    np.testing.assert_array_equal(found.histogram[:, 0], 3 * 64)
    assert found.histogram.shape == (3, NUM_BINS)


def test_a_sinking_picture() -> None:
    """One pixel a frame downwards: all flow is the frame's, and explains the change."""
    picture = make_waves(2, frames=1, size=32, seed=3)[:, 0]
    clips = np.stack([picture[:, 8 - t : 32 - t, :24] for t in range(4)], axis=1)
    found = measure_motion(clips)
    np.testing.assert_allclose(found.flow, 1, atol=0.1)
    np.testing.assert_allclose(found.pan, 1, atol=0.1)
    np.testing.assert_allclose(found.down, 1, atol=0.1)
    assert (found.warped < 0.15 * found.unwarped).all()
    assert found.unwarped.min() > 1
    # Nearly all pixels lie within a quarter of an octave of one pixel.
    near = (EDGES[:-1] > 0.8) & (EDGES[:-1] < 1.2)
    assert (found.histogram[:, near].sum(1) > 0.9 * 3 * 24 * 24).all()
    assert (found.histogram.sum(1) == 3 * 24 * 24).all()


def test_a_clip_does_not_depend_on_the_others() -> None:
    clips = make_waves(3, frames=4, size=8, seed=1)
    together, alone = measure_motion(clips), measure_motion(clips[2:])
    for name, values in vars(together).items():
        np.testing.assert_array_equal(values[2:], getattr(alone, name), err_msg=name)


def test_histogram_distance_is_that_of_the_magnitudes() -> None:
    """To within a bin's width: an eleventh of a magnitude, and the first edge."""
    rng = np.random.default_rng(0)
    a, b = rng.gamma(2, 0.4, 4000), rng.gamma(3, 0.5, 3000)
    found = histogram_distance(histogram(a), histogram(b))
    assert found == pytest.approx(stats.wasserstein_distance(a, b), rel=0.01)
    assert found == pytest.approx(histogram_distance(histogram(b), histogram(a)))
    crossed = np.concatenate([np.full(1000, 0.01), np.full(1000, 3.0)]), np.full(1000, 1.1)
    assert histogram_distance(*map(histogram, crossed)) == pytest.approx(
        stats.wasserstein_distance(*crossed), rel=0.05
    )
    assert histogram_distance(histogram(a), 3 * histogram(a)) == pytest.approx(0, abs=1e-12)


def test_histogram_distance_within_one_bin_crosses() -> None:
    """Cumulative gaps of +½ and −½ at a bin's ends: two triangles, not none."""
    a, b = np.zeros(NUM_BINS, int), np.zeros(NUM_BINS, int)
    a[1], a[2], a[3] = 1, 0, 1
    b[2] = 2
    width = np.diff(EDGES)
    expected = 0.25 * (width[1] + width[2] + width[3])
    assert histogram_distance(a, b) == pytest.approx(expected, rel=1e-12)


def test_divergence_is_scipys() -> None:
    a, b = np.array([4, 0, 1, 5, 0]), np.array([1, 3, 0, 2, 0])
    expected = jensenshannon(a, b, base=2) ** 2
    assert histogram_divergence(a, b) == pytest.approx(expected)
    assert histogram_divergence(a, 7 * a) == 0
    assert histogram_divergence(np.array([1, 0]), np.array([0, 1])) == 1


def test_sample_distance_is_scipys() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.normal(0, 1, 30), rng.normal(0.5, 2, 41)
    assert sample_distance(a, b) == pytest.approx(stats.wasserstein_distance(a, b))
    assert sample_distance(a, np.concatenate([a, a])) == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((2, 1, 8, 8, 3), "at least 2 frames"),
        ((2, 8, 8, 3), r"must be uint8 \[n, t, h, w, 3\]"),
        ((2, 4, 8, 6, 3), "at least 8×8 pixels; got 8×6"),
        ((0, 4, 8, 8, 3), "n > 0"),
    ],
)
def test_mistakes(shape: tuple[int, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        measure_motion(np.zeros(shape, np.uint8))

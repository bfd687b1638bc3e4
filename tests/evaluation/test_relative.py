"""Measure "relative": distances by a fixed random network."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from tests.evaluation.observing import conclude, observe
from tests.metrics.examples import make_waves, to_bytes
from vidgan_jax.evaluation.measure import FAKES, FLOOR, REFERENCE, Part
from vidgan_jax.evaluation.relative import Relative, check_num
from vidgan_jax.metrics import features
from vidgan_jax.metrics.frechet import fit, frechet_distance
from vidgan_jax.metrics.kernel import kernel_distance
from vidgan_jax.metrics.precision_recall import precision_recall

NUM, FRAMES, SIZE = 96, 3, 8
REAL, OTHER, GOOD = np.split(make_waves(3 * NUM, frames=FRAMES, size=SIZE), 3)
CLIPS, IMAGES = Relative(is_clips=True), Relative(is_clips=False)
KEYS = {"frechet", "kernel", "precision", "recall", "density", "coverage"}


def noisy(clips: np.ndarray, strength: float) -> np.ndarray:
    return to_bytes(clips + np.random.default_rng(0).normal(0, strength, clips.shape))


@pytest.fixture(scope="module")
def found() -> Mapping[str, Any]:
    """Of a generator of real clips."""
    return conclude(CLIPS, GOOD, REAL, OTHER)


def test_frechet_distances_are_of_all_frames_and_of_clips(found: Mapping[str, Any]) -> None:
    assert (found["num"], found["num_reference"]) == (NUM, NUM)
    for name, examples in (("generated", GOOD), ("floor", OTHER)):
        assert set(found[name]) == {"frames", "clips"}
        frames, of_real = (x.reshape(-1, SIZE, SIZE, 3) for x in (examples, REAL))
        expected = frechet_distance(
            fit(features.frame_features(frames)), fit(features.frame_features(of_real))
        )
        assert found[name]["frames"]["frechet"] == pytest.approx(expected, rel=1e-6)
        expected = frechet_distance(
            fit(features.clip_features(examples)), fit(features.clip_features(REAL))
        )
        assert found[name]["clips"]["frechet"] == pytest.approx(expected, rel=1e-6)


def test_the_frechet_distance_is_of_all_frames(found: Mapping[str, Any]) -> None:
    fake, real = (fit(features.frame_features(x.reshape(-1, *x.shape[2:]))) for x in (GOOD, REAL))
    expected = frechet_distance(fake, real)
    assert found["generated"]["frames"]["frechet"] == pytest.approx(expected, rel=1e-6)


def test_the_rest_is_of_one_frame_a_clip(found: Mapping[str, Any]) -> None:
    """The others of the clip are its neighbours."""
    for name, examples in (("generated", GOOD), ("floor", OTHER)):
        assert set(found[name]["frames"]) == set(found[name]["clips"]) == KEYS
        a, b = (features.frame_features(clips[:, FRAMES // 2]) for clips in (examples, REAL))
        expected = {"kernel": kernel_distance(a, b), **vars(precision_recall(b, a, k=3))}
        for key, value in expected.items():
            assert found[name]["frames"][key] == pytest.approx(value, rel=1e-6), key


def test_equal_sets_are_at_no_distance() -> None:
    found = conclude(CLIPS, REAL, REAL, OTHER)
    for kind in ("frames", "clips"):
        equal, floor = found["generated"][kind], found["floor"][kind]
        assert equal["frechet"] < 1e-9 < floor["frechet"]
        assert (equal["precision"], equal["recall"], equal["coverage"]) == (1, 1, 1)


def test_noise_is_far_off_and_a_collapsed_generator_recalls_nothing(
    found: Mapping[str, Any],
) -> None:
    one = np.repeat(REAL[:1], NUM, axis=0)
    bad = conclude(CLIPS, noisy(GOOD, 50), REAL, one)
    noise, collapsed, good = bad["generated"], bad["floor"], found["generated"]
    for kind in ("frames", "clips"):
        assert noise[kind]["frechet"] > 4 * good[kind]["frechet"]
        assert noise[kind]["kernel"] > 4 * abs(good[kind]["kernel"])
        assert noise[kind]["precision"] < 0.5 < good[kind]["precision"]
        assert collapsed[kind]["precision"] == 1
        assert collapsed[kind]["recall"] < 0.05 < good[kind]["recall"]
        assert collapsed[kind]["coverage"] < 0.2 < good[kind]["coverage"]


def test_parts_do_not_matter() -> None:
    whole, parts = observe(CLIPS, REAL, NUM), observe(CLIPS, REAL, 7)
    for name, rows in whole.rows.items():
        np.testing.assert_array_equal(rows, parts.rows[name])
        assert rows.dtype == np.float32
    assert whole.rows["frames"].shape == (NUM, FRAMES, features.NUM_FEATURES)


def test_images_have_frames_only() -> None:
    found = conclude(IMAGES, GOOD[:, 0], REAL[:, 0], OTHER[:, 0])
    assert found["generated"]["clips"] is None
    assert found["floor"]["clips"] is None
    (table,) = IMAGES.tables(found)
    assert table.title == "frames: 96 generated against 96 real"
    assert list(IMAGES.headline(found)) == ["FD-random frames"]


def test_what_is_told() -> None:
    """Nobody takes the numbers for FID or FVD."""
    found = conclude(CLIPS, GOOD[:90], REAL, OTHER)
    frames, clips = CLIPS.tables(found)
    assert clips.title == "clips: 90 generated against 96 real"
    assert [row[0] for row in clips.rows] == ["generated", "floor: real, another draw"]
    assert all(len(row) == len(clips.columns) for row in clips.rows)
    assert f"{found['generated']['clips']['frechet']:.4f}" in clips.rows[0]
    assert "no FID, KID or FVD" in clips.caption
    assert "the floor is of 96" in clips.caption
    assert frames.caption == ""  # once is enough
    headline = CLIPS.headline(found)
    assert headline == {
        "FD-random frames": found["generated"]["frames"]["frechet"],
        "FD-random clips": found["generated"]["clips"]["frechet"],
    }
    assert CLIPS.settings()["features"] == features.VERSION


def test_mistakes() -> None:
    with pytest.raises(ValueError, match=r"num \(=80\) must be above 80, the number of features"):
        check_num(80)
    check_num(81)
    with pytest.raises(ValueError, match=r"images can't be compared with clips; .* want clips"):
        CLIPS.observe(Part(0, REAL[:2, 0]))
    with pytest.raises(ValueError, match=r"images can't be compared with clips; .* want images"):
        IMAGES.observe(Part(0, REAL[:2]))
    with pytest.raises(ValueError, match="at least 8×8 pixels"):
        CLIPS.observe(Part(0, REAL[:2, :, :4]))
    seen = {stream: observe(CLIPS, REAL) for stream in (FAKES, REFERENCE)}
    with pytest.raises(ValueError, match=r"floor \(=9\) must be above 80"):
        CLIPS.conclude(seen | {FLOOR: observe(CLIPS, OTHER[:9])})

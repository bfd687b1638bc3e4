"""Measure "diversity": is the latent ignored, are examples copies of one another?"""

import numpy as np
import pytest

from tests.evaluation.observing import conclude, observe
from tests.metrics.examples import make_waves, to_bytes
from vidgan_jax.evaluation.diversity import Diversity
from vidgan_jax.evaluation.measure import FAKES, LABELLED, REFERENCE, VARIATIONS
from vidgan_jax.metrics.features import frame_features

MAPS, LATENTS, SIZE = 6, 4, 8
OF_MAPS = Diversity(LATENTS, conditional=True)
AS_A_WHOLE = Diversity(2, conditional=False)
REAL = make_waves(64, size=SIZE)
# A clip a map, whatever the latent, as the thesis's VAE made them.
IGNORANT = np.repeat(make_waves(MAPS, size=SIZE, seed=1), LATENTS, axis=0)
KINDS = ("frames", "motion", "pixels")


def plain(*greys: int) -> np.ndarray:
    """Images of one grey level each."""
    return np.tile(np.array(greys, np.uint8)[:, None, None, None], (1, SIZE, SIZE, 3))


def noisy(clips: np.ndarray, strength: float) -> np.ndarray:
    return to_bytes(clips + np.random.default_rng(0).normal(0, strength, clips.shape))


# Of conditional generators.


def test_a_generator_that_ignores_its_latent_gets_exactly_0() -> None:
    found = conclude(OF_MAPS, IGNORANT, REAL)
    for kind in KINDS:
        row = found[kind]
        assert (row["within"], row["least"], row["ratio"]) == (0, 0, 0)
        assert row["within_by_map"] == [0] * MAPS
        assert row["between"] > 0.1
    assert found["equal_pairs"] == found["pairs"] == MAPS * LATENTS * (LATENTS - 1) // 2
    assert set(OF_MAPS.headline(found).values()) == {0}


def test_it_is_0_however_the_examples_come() -> None:
    """Parts begin within a map."""
    seen = {VARIATIONS: observe(OF_MAPS, IGNORANT, 7), LABELLED: observe(OF_MAPS, REAL)}
    assert OF_MAPS.conclude(seen) == conclude(OF_MAPS, IGNORANT, REAL)


def test_a_latent_that_decides_everything_is_as_good_as_a_map() -> None:
    found = conclude(OF_MAPS, make_waves(MAPS * LATENTS, size=SIZE, seed=1), REAL)
    for kind in KINDS:
        row = found[kind]
        assert row["ratio"] == row["within"] / row["between"] == pytest.approx(1, abs=0.2)
        assert row["between"] == pytest.approx(row["real"], rel=0.3)
    assert found["equal_pairs"] == 0


def test_a_map_where_the_latent_does_nothing_is_found() -> None:
    clips = make_waves(MAPS * LATENTS, size=SIZE, seed=1)
    clips[2 * LATENTS : 3 * LATENTS] = clips[2 * LATENTS]
    found = conclude(OF_MAPS, clips, REAL)
    for kind in KINDS:
        row = found[kind]
        assert (row["least"], row["least_map"]) == (0, 2)
        assert np.count_nonzero(row["within_by_map"]) == MAPS - 1
        assert row["within"] == pytest.approx(np.mean(row["within_by_map"]))
    assert found["equal_pairs"] == LATENTS * (LATENTS - 1) // 2


def test_pixels_are_in_grey_levels() -> None:
    measure = Diversity(3, conditional=True)
    found = conclude(measure, plain(10, 20, 40, 100, 100, 100), plain(0, 50))
    row = found["pixels"]
    assert row["within_by_map"] == [(10 + 20 + 30) / 3, 0]
    assert row["between"] == pytest.approx((90 + 80 + 60) / 3)
    assert row["ratio"] == pytest.approx(10 / (230 / 3))
    assert row["real"] == 50
    assert (found["num_maps"], found["num_variations"], found["num_real"]) == (2, 3, 2)
    assert found["motion"] is None


def test_features_are_in_units_of_their_spread_among_reals() -> None:
    images = make_waves(2 * 2, size=SIZE, seed=1)[:, 0]
    found = conclude(Diversity(2, conditional=True), images, REAL[:, 0])["frames"]
    made, real = frame_features(images).astype(float), frame_features(REAL[:, 0]).astype(float)
    scaled = made / real.std(axis=0, ddof=1)
    expected = [np.abs(scaled[i] - scaled[i + 1]).mean() for i in (0, 2)]
    assert found["within_by_map"] == pytest.approx(expected, rel=1e-4)
    pairs = [np.abs(scaled[i] - scaled[j]).mean() for i in (0, 1) for j in (2, 3)]
    assert found["between"] == pytest.approx(np.mean(pairs), rel=1e-4)


def test_the_look_and_the_motion_are_told_apart() -> None:
    """Latents of which the first one only stops what moves with the others."""
    clips = IGNORANT.copy()
    clips[::LATENTS] = clips[::LATENTS, 1:2]
    found = conclude(OF_MAPS, clips, REAL)
    assert found["motion"]["ratio"] > 3 * found["frames"]["ratio"] > 0


def test_noise_is_diversity_in_pixels_and_hardly_in_features() -> None:
    found = conclude(OF_MAPS, noisy(IGNORANT, 2), REAL)
    assert found["pixels"]["within"] == pytest.approx(4 / np.sqrt(np.pi), rel=0.05)
    assert 0 < found["frames"]["ratio"] < 0.1
    assert found["equal_pairs"] == 0


def test_still_clips_have_no_ratio_of_motion() -> None:
    still = np.repeat(IGNORANT[:, :1], IGNORANT.shape[1], axis=1)
    found = conclude(OF_MAPS, still, REAL)
    assert found["motion"]["between"] < 0.01
    assert found["motion"]["ratio"] is None
    assert list(OF_MAPS.headline(found)) == ["diversity, z / maps"]
    (table,) = OF_MAPS.tables(found)
    assert "–" in table.rows[1]


def test_one_map_has_nothing_to_compare_with() -> None:
    found = conclude(OF_MAPS, make_waves(LATENTS, size=SIZE), REAL)
    assert found["frames"]["within"] > 0
    assert found["frames"]["between"] is None
    assert found["frames"]["ratio"] is None
    assert OF_MAPS.headline(found) == {}


def test_large_frames_are_compared_in_some_pixels() -> None:
    """Always the same ones; a change anywhere is seen by the digests."""
    images = np.repeat(make_waves(1, size=80)[:, 0], LATENTS, axis=0)
    images[1:] = 255 - images[1:]
    images[2, 0, 0] ^= 1
    seen = observe(OF_MAPS, images)
    assert seen.rows["pixels"].shape == (LATENTS, 4096 * 3)
    expected = np.abs(images[0].astype(float) - images[1]).mean()
    found = conclude(OF_MAPS, images, images)
    assert found["pixels"]["within"] == pytest.approx(expected / 2, rel=0.03)
    assert found["equal_pairs"] == 1


# Of generators without maps.


def collapsed(modes: int, num: int = len(REAL)) -> np.ndarray:
    """Real clips, but few of them, again and again."""
    return make_waves(num, size=SIZE, seed=3)[np.arange(num) % modes]


def test_real_examples_are_as_diverse_as_real_ones() -> None:
    found = conclude(AS_A_WHOLE, make_waves(len(REAL), size=SIZE, seed=3), REAL)
    for kind in KINDS:
        assert found[kind]["ratio"] == pytest.approx(1, abs=0.15)
    for kind in ("frames", "motion"):
        assert 0.05 <= found[kind]["near"]["share_real"] < 0.1
    assert found["frames"]["near"]["share"] < 0.15
    assert found["equal_pairs"] == 0


@pytest.mark.parametrize("strength", [0, 1])
def test_few_modes_are_seen_by_near_copies_even_if_far_apart(strength: int) -> None:
    found = conclude(AS_A_WHOLE, noisy(collapsed(16), strength), REAL)
    assert found["frames"]["ratio"] > 0.8
    assert found["frames"]["near"]["share"] == 1
    each = len(REAL) // 16
    assert found["equal_pairs"] == (0 if strength else 16 * each * (each - 1) // 2)
    assert AS_A_WHOLE.headline(found)["near copies"] == 1


def test_one_mode_is_no_diversity_at_all() -> None:
    found = conclude(AS_A_WHOLE, collapsed(1), REAL)
    for kind in KINDS:
        assert (found[kind]["generated"], found[kind]["ratio"]) == (0, 0)
    assert found["equal_pairs"] == found["pairs"] == 64 * 63 // 2


def test_near_copies_are_of_equal_numbers() -> None:
    """Among twice as many, everything has nearer neighbours."""
    found = conclude(AS_A_WHOLE, make_waves(2 * len(REAL), size=SIZE, seed=3), REAL)
    assert (found["num"], found["frames"]["near"]["num"]) == (128, 64)
    assert found["frames"]["near"]["share"] < 0.15


# Both.


@pytest.mark.parametrize("measure", [OF_MAPS, AS_A_WHOLE], ids=["of maps", "as a whole"])
def test_what_is_told(measure: Diversity) -> None:
    found = conclude(measure, make_waves(24, size=SIZE, seed=1), REAL)
    (table,) = measure.tables(found)
    assert [row[0] for row in table.rows] == ["colour, texture", "motion", "grey levels (0 to 255)"]
    assert all(len(row) == len(table.columns) for row in table.rows)
    assert f"{found['frames']['ratio']:.4f}" in table.rows[0]
    headline = measure.headline(found)
    of = "z / maps" if measure.conditional else "fake / real"
    assert headline[f"diversity, {of}"] == found["frames"]["ratio"]
    assert headline[f"diversity of motion, {of}"] == found["motion"]["ratio"]


def test_streams_and_settings_are_those_of_the_generator() -> None:
    assert OF_MAPS.streams == (VARIATIONS, LABELLED)
    assert AS_A_WHOLE.streams == (FAKES, REFERENCE)
    assert OF_MAPS.settings() != Diversity(LATENTS + 1, conditional=True).settings()
    assert AS_A_WHOLE.settings() == Diversity(LATENTS, conditional=False).settings()
    assert OF_MAPS.settings() != AS_A_WHOLE.settings()


def test_mistakes() -> None:
    with pytest.raises(ValueError, match=r"num_variations \(=1\) must be at least 2"):
        Diversity(1, conditional=True)
    seen = {VARIATIONS: observe(OF_MAPS, IGNORANT[:10]), LABELLED: observe(OF_MAPS, REAL)}
    with pytest.raises(ValueError, match=r"10 variations are not 4 \(num_variations\) of each map"):
        OF_MAPS.conclude(seen)
    with pytest.raises(ValueError, match="at least 2 examples of labelled, got 1"):
        conclude(OF_MAPS, IGNORANT, REAL[:1])

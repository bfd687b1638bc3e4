"""Scores: what is measured of examples, and the reference that they are compared with."""

from pathlib import Path

import numpy as np
import pytest

from tests.datasets import make_dataset
from tests.metrics.examples import make_waves
from vidgan_jax.data.clips import training_loader
from vidgan_jax.data.records import ClipSource
from vidgan_jax.metrics import scores
from vidgan_jax.metrics.features import clip_features, frame_features
from vidgan_jax.metrics.frechet import fit
from vidgan_jax.types import ClipSpec

SPEC = ClipSpec(num_frames=3, stride=2, size=8, resize=10)
IMAGES = ClipSpec(num_frames=0, stride=1, size=8, resize=10)
NUM = 100


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> ClipSource:
    folder = tmp_path_factory.mktemp("data")
    return ClipSource(make_dataset(folder, num_videos=4, size=10), "train")


def test_motion_is_the_mean_change_in_grey_levels() -> None:
    clips = np.zeros((2, 3, 4, 4, 3), np.uint8)
    assert scores.motion(clips) == 0
    clips[0, 1] = 255  # up and down again, in one of two clips
    assert scores.motion(clips) == 255 / 2
    clips[1, 2, :, :, 0] = 30  # up once in one channel
    assert scores.motion(clips) == pytest.approx((2 * 255 + 30 / 3) / 4)


def test_a_summary_is_of_all_frames_and_clips_however_they_come() -> None:
    clips = make_waves(12, frames=3, size=8)
    whole, parts = scores.summarise([clips]), scores.summarise(np.split(clips, [5, 6]))
    assert whole.num == parts.num == 12
    assert whole.frames.count == 36
    assert whole.clips is not None
    assert whole.clips.count == 12
    assert whole.motion == pytest.approx(scores.motion(clips))
    expected = fit(frame_features(clips.reshape(-1, 8, 8, 3))), fit(clip_features(clips))
    for found in (whole, parts):
        for one, other in zip((found.frames, found.clips), expected, strict=True):
            assert one is not None
            np.testing.assert_allclose(one.mean, other.mean, atol=1e-5)
            np.testing.assert_allclose(one.covariance, other.covariance, atol=1e-5)


def test_images_have_frames_only() -> None:
    images = make_waves(12, size=8)[:, 0]
    summary = scores.summarise([images])
    assert (summary.clips, summary.motion) == (None, None)
    found = scores.compare(summary, summary)
    assert found.frames == pytest.approx(0, abs=1e-9)
    assert (found.clips, found.motion) == (None, None)


def test_images_are_not_compared_with_clips() -> None:
    clips = make_waves(4, size=8)
    with pytest.raises(ValueError, match="images can't be compared with clips"):
        scores.compare(scores.summarise([clips[:, 0]]), scores.summarise([clips]))


def test_a_reference_is_drawn_as_training_draws(source: ClipSource) -> None:
    """Its first set is the loader's first examples, its floor's set the next ones."""
    reference = scores.read_reference(source, SPEC, num=NUM, seed=3)
    with training_loader(source, SPEC, batch_size=2 * 128, seed=3) as loader:
        frames = np.asarray(next(loader).frames)
    first, then = frames[:NUM], frames[128 : 128 + NUM]
    assert reference.real.num == NUM
    assert scores.score(first, reference).clips == pytest.approx(0, abs=1e-6)
    found = scores.score(then, reference)
    assert found.frames == pytest.approx(reference.floor.frames, rel=1e-3)
    assert found.clips == pytest.approx(reference.floor.clips, rel=1e-3)
    assert found.motion == pytest.approx(reference.floor.motion)
    assert found.clips is not None
    assert found.clips > 0


def test_a_reference_is_the_same_again_and_of_its_seed(source: ClipSource) -> None:
    one, again, other = (
        scores.read_reference(source, SPEC, num=NUM, seed=seed).floor for seed in (0, 0, 1)
    )
    assert one == again
    assert one != other


def test_a_reference_of_images(source: ClipSource) -> None:
    reference = scores.read_reference(source, IMAGES, num=NUM, seed=0)
    assert reference.real.clips is None
    assert 0 < reference.floor.frames < 1


def test_mistakes(source: ClipSource, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"num \(=80\) must be above 80, the number of features"):
        scores.read_reference(source, SPEC, num=80, seed=0)
    long = ClipSpec(num_frames=6, stride=2, size=8, resize=10)
    with pytest.raises(ValueError, match="needs clips of 11 frames"):
        scores.read_reference(source, long, num=NUM, seed=0)
    alone = make_dataset(tmp_path, num_videos=1, clips_per_video=1, size=10)
    with pytest.raises(ValueError, match="split 'train' has only 1 clip of the 5 frames needed"):
        scores.read_reference(ClipSource(alone, "train"), SPEC, num=NUM, seed=0)

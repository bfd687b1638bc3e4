"""FID, KID, IS and FVD by detectors whose features the tests choose: closed forms, references."""

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.linalg

from tests.metrics import scripted
from vidgan_jax.evaluation.distances import Fvd, Inception, choose_frames
from vidgan_jax.evaluation.measure import FAKES, FLOOR, REFERENCE, Measure, Observation, Part
from vidgan_jax.metrics.detectors import I3D_LOGITS, INCEPTION_CLASSES, INCEPTION_FEATURES

DIMS = 3
FEATURES = dataclasses.replace(INCEPTION_FEATURES, dims=DIMS)
CLASSES = dataclasses.replace(INCEPTION_CLASSES, dims=scripted.CLASSES)
VGG = dataclasses.replace(INCEPTION_FEATURES, dims=2)
LOGITS = dataclasses.replace(I3D_LOGITS, dims=DIMS)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("files")
    scripted.write(scripted.Inception(DIMS), folder / "inception.pt")
    scripted.write(scripted.Inception(2), folder / "vgg.pt")
    scripted.write(scripted.I3d(DIMS), folder / "i3d.pt")
    return folder


@pytest.fixture(scope="module")
def inception(folder: Path) -> Inception:
    return Inception(folder / "inception.pt", features=FEATURES, classes=CLASSES)


@pytest.fixture(scope="module")
def fvd(folder: Path) -> Fvd:
    return Fvd(folder / "i3d.pt", logits=LOGITS)


def showing(features: np.ndarray, *frames: int) -> np.ndarray:
    """Images, or clips of as many frames, whose features by the scripted detectors are given.

    Args:
      features: whole numbers from 0 to 255, `[n, d]`.
    """
    images = np.zeros((len(features), 4, 4, 3), np.uint8)
    images[:, 0, : features.shape[1], 0] = features
    return np.tile(images[:, None], (1, *frames, 1, 1, 1)) if frames else images


def corners(mean: tuple[int, ...], spread: tuple[int, ...]) -> np.ndarray:
    """Features `[16, 3]` of exactly this mean; their covariance is 16/15 · diag(spread²)."""
    signs = np.array(np.meshgrid(*[(-1, 1)] * 3)).reshape(3, -1).T
    return np.tile(np.asarray(mean) + signs * spread, (2, 1))


def score(measure: Measure, **streams: np.ndarray) -> Mapping[str, Any]:
    """What a measure concludes of examples, shown to it in two parts each."""
    seen = {}
    for stream in measure.streams:
        frames = streams[stream]
        cut = len(frames) // 3
        bounds = [(0, cut), (cut, len(frames))] if cut else [(0, len(frames))]
        parts = [measure.observe(Part(a, frames[a:b])).rows for a, b in bounds]
        rows = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        seen[stream] = Observation(rows=rows)
    found = measure.conclude(seen)
    json.dumps(found, allow_nan=False)
    return found


A = corners((100, 120, 90), (10, 20, 30))
B = corners((103, 116, 90), (10, 25, 18))
# ‖μ₁ − μ₂‖² + Σ (σ₁ − σ₂)², unbiased.
A_TO_B = 3**2 + 4**2 + (5**2 + 12**2) * 16 / 15


def test_fid_of_known_gaussians(inception: Inception) -> None:
    found = score(inception, fakes=showing(A), reference=showing(B), floor=showing(B))
    assert found[FAKES]["fid"] == pytest.approx(A_TO_B, rel=1e-12)
    assert found[FLOOR]["fid"] == pytest.approx(0, abs=1e-9)
    assert inception.headline(found)["FID"] == found[FAKES]["fid"]


def test_fvd_of_known_gaussians(fvd: Fvd) -> None:
    found = score(fvd, fakes=showing(A, 16), reference=showing(B, 16), floor=showing(B, 16))
    assert found[FAKES]["fvd"] == pytest.approx(A_TO_B / 127.5**2, rel=1e-6)
    assert found[FLOOR]["fvd"] == pytest.approx(0, abs=1e-9)
    assert fvd.headline(found) == {"FVD": found[FAKES]["fvd"]}


def published_frechet(fakes: np.ndarray, real: np.ndarray) -> float:
    """As FVD's and FID's public code computes it, by a root of the covariances' product."""
    (mean_a, a), (mean_b, b) = ((f.mean(axis=0), np.cov(f, rowvar=False)) for f in (fakes, real))
    root = np.real(scipy.linalg.sqrtm(a @ b))
    return float(np.square(mean_a - mean_b).sum() + np.trace(a + b - 2 * root))


def test_the_same_as_published_code(inception: Inception, fvd: Fvd) -> None:
    rng = np.random.default_rng(0)
    a, b, c = (rng.integers(0, high, (40, DIMS)) for high in (256, 200, 100))
    images = score(inception, fakes=showing(a), reference=showing(b), floor=showing(c))
    clips = score(fvd, fakes=showing(a, 9), reference=showing(b, 9), floor=showing(c, 9))
    for stream, features in ((FAKES, a), (FLOOR, c)):
        expected = published_frechet(features, b)
        assert images[stream]["fid"] == pytest.approx(expected, rel=1e-6)
        assert clips[stream]["fvd"] == pytest.approx(expected / 127.5**2, rel=1e-6)
        kid = published_kid(features, b)
        assert images[stream]["kid"] == pytest.approx(kid, rel=1e-9)
        assert images[stream]["kid_of_all"] == pytest.approx(kid, rel=1e-9)


def published_kid(x: np.ndarray, y: np.ndarray) -> float:
    """One subset of all examples, as many of each."""
    m, d = x.shape
    within = (x @ x.T / d + 1) ** 3 + (y @ y.T / d + 1) ** 3
    between = (x @ y.T / d + 1) ** 3
    return float((within.sum() - np.trace(within)) / (m * (m - 1)) - 2 * between.sum() / (m * m))


def test_inception_score_counts_the_classes_found(inception: Inception) -> None:
    """Where a classifier is sure it is their number, if all are equally frequent."""
    reds = np.full((40, DIMS), 10)
    every, one = reds.copy(), reds + np.arange(40)[:, None] % 2
    every[:, 0] = 64 * (np.arange(40) % scripted.CLASSES)
    found = score(inception, fakes=showing(every), reference=showing(one), floor=showing(one))
    assert 2.5 < found[FAKES]["inception_score"] <= scripted.CLASSES
    assert found[FAKES]["inception_score_splits"] == 4
    assert found[FLOOR]["inception_score"] == pytest.approx(1)


def test_precision_and_recall_of_fakes_that_show_one_corner(inception: Inception) -> None:
    rng = np.random.default_rng(0)
    real, again = rng.integers(60, 200, (2, 60, DIMS))
    corner = rng.integers(60, 90, (60, DIMS))
    found = score(inception, fakes=showing(corner), reference=showing(real), floor=showing(again))
    assert found[FAKES]["recall"] < 0.1 < 0.5 < found[FLOOR]["recall"]
    assert found[FAKES]["coverage"] < 0.2 < 0.7 < found[FLOOR]["coverage"]


def test_vgg_gives_precision_where_there_is_one(folder: Path) -> None:
    """The scripted one does not see the third feature, by which reals and fakes differ."""
    measure = Inception(
        folder / "inception.pt",
        folder / "vgg.pt",
        features=FEATURES,
        classes=CLASSES,
        vgg_features=VGG,
    )
    assert measure.settings()["vgg"]["file"] == "vgg.pt"
    fakes, real = B.copy(), B.copy()
    fakes[:, 2] = 255
    found = score(measure, fakes=showing(fakes), reference=showing(real), floor=showing(real))
    assert (found[FAKES]["precision"], found["precision_recall_by"]) == (1, "vgg16")
    assert "VGG" not in measure.tables(found)[0].caption


def test_frames_of_clips_are_of_all_times_equally() -> None:
    t, num = 5, 20
    times = np.broadcast_to(np.arange(t, dtype=np.uint8)[:, None, None, None], (num, t, 1, 1, 3))
    for per_clip in (1, 2, 3):
        whole = choose_frames(Part(0, times), per_clip)[:, 0, 0, 0].reshape(num, per_clip)
        assert all(len(set(row)) == per_clip for row in whole)
        np.testing.assert_array_equal(np.bincount(whole.ravel()), num * per_clip / t)
        later = choose_frames(Part(7, times[7:]), per_clip)[:, 0, 0, 0]
        np.testing.assert_array_equal(later, whole[7:].ravel())
    for every in (0, t, t + 1):
        frames = choose_frames(Part(3, times), every)
        np.testing.assert_array_equal(frames, times.reshape(-1, 1, 1, 3))
    images = np.zeros((4, 2, 2, 3), np.uint8)
    assert choose_frames(Part(0, images), 3).shape == images.shape


def test_two_runs_give_the_same_json(folder: Path) -> None:
    rng = np.random.default_rng(0)
    streams = {
        stream: rng.integers(0, 256, (30, 4, 4, 4, 3), np.uint8)
        for stream in (FAKES, REFERENCE, FLOOR)
    }
    texts = [
        json.dumps(
            score(
                Inception(
                    folder / "inception.pt", frames_per_clip=2, features=FEATURES, classes=CLASSES
                ),
                **streams,
            )
        )
        for _ in range(2)
    ]
    assert texts[0] == texts[1]
    assert json.loads(texts[0])["frames"] == {"fakes": 60, "reference": 60, "floor": 60}


def test_settings_tell_the_files(folder: Path, inception: Inception, fvd: Fvd) -> None:
    settings = inception.settings()
    json.dumps(settings, allow_nan=False)
    assert settings["detector"]["file"] == "inception.pt"
    assert str(folder) not in json.dumps([settings, fvd.settings()])
    more = Inception(folder / "inception.pt", frames_per_clip=2, features=FEATURES, classes=CLASSES)
    assert more.settings() != settings
    assert len(fvd.settings()["detector"]["sha256"]) == 64


def test_tables(inception: Inception, fvd: Fvd) -> None:
    (table,) = inception.tables(
        score(inception, fakes=showing(A), reference=showing(B), floor=showing(B))
    )
    assert [row[0] for row in table.rows] == ["generated", "real again"]
    assert all(len(row) == len(table.columns) for row in table.rows)
    assert float(table.rows[0][1]) == pytest.approx(A_TO_B, abs=0.005)
    for words in (
        "By unknown file inception.pt.",
        "n = 16 frames against 16 real",
        "KID is of subsets of 16 frames, published ones of 1000.",
        "IS is of splits of 16, published ones of 5000.",
        "by Inception, published ones by VGG16.",
    ):
        assert words in table.caption
    assert "rank" not in table.caption
    assert "±" not in table.rows[0][2]  # of the only subset of 16
    (table,) = inception.tables(
        score(inception, fakes=showing(A[:8]), reference=showing(B), floor=showing(B))
    )
    assert ["±" in row[2] for row in table.rows] == [True, False]
    assert "KID is of subsets of 8 and 16 frames, published" in table.caption
    (table,) = fvd.tables(
        score(fvd, fakes=showing(A[:3], 9), reference=showing(B, 9), floor=showing(B, 9))
    )
    assert table.columns == ("", "FVD")
    assert "With n = 3, not above the 3 dimensions, covariances are rank-def" in table.caption


def test_mistakes(folder: Path, inception: Inception, fvd: Fvd) -> None:
    with pytest.raises(ValueError, match=r"at least 9 frames.*got clips of 8 frames.*takes 16"):
        fvd.observe(Part(0, showing(A, 8)))
    with pytest.raises(ValueError, match=r"at least 9 frames.*got images"):
        fvd.observe(Part(0, showing(A)))
    with pytest.raises(ValueError, match="at least 2 clips of the stream 'floor', got 1"):
        score(fvd, fakes=showing(A, 9), reference=showing(B, 9), floor=showing(B[:1], 9))
    with pytest.raises(ValueError, match="at least 4 frames of the stream 'fakes', got 3"):
        score(inception, fakes=showing(A[:3]), reference=showing(B), floor=showing(B))
    with pytest.raises(ValueError, match=r"frames_per_clip \(=-1\) must be at least 1, or 0"):
        Inception(folder / "inception.pt", frames_per_clip=-1)
    with pytest.raises(ValueError, match="does not give Inception-v3's"):
        Inception(folder / "i3d.pt")
    with pytest.raises(ValueError, match="does not give I3D's logits"):
        Fvd(folder / "inception.pt")

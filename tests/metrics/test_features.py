"""The fixed networks: weights that never change, and what distances of their features notice."""

import itertools
import math

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from tests.metrics.examples import make_waves, to_bytes
from vidgan_jax.metrics import features
from vidgan_jax.metrics.features import NUM_FEATURES, clip_features, draw_normal, frame_features
from vidgan_jax.metrics.frechet import fit, frechet_distance

REAL, OTHER = np.split(make_waves(400, size=12), 2)


def frame_distance(a: np.ndarray, b: np.ndarray) -> float:
    """Of all single frames of clips."""
    one, other = (fit(frame_features(clips.reshape(-1, *clips.shape[2:]))) for clips in (a, b))
    return frechet_distance(one, other)


def clip_distance(a: np.ndarray, b: np.ndarray) -> float:
    return frechet_distance(fit(clip_features(a)), fit(clip_features(b)))


FLOORS = {"frames": frame_distance(REAL, OTHER), "clips": clip_distance(REAL, OTHER)}


# Weights.


RAW = 10609392481462229716
NORMAL = [1.2895888479813378, -1.4605041982306795]
KERNEL_SUMS = {2: [407.043640, 110.057556, 152.884750], 3: [1394.506104, 134.126160, 187.989349]}
FRAME_SUM, CLIP_SUM = 43.512588, 16.542233


def test_weights_are_the_same_for_ever() -> None:
    """Recorded: a change makes numbers that can't be compared; then raise `features.VERSION`."""
    assert features.VERSION == 2
    assert np.random.PCG64(2000).random_raw() == RAW
    np.testing.assert_allclose(draw_normal(2000, (2,)), NORMAL, rtol=1e-12)
    for rank, expected in KERNEL_SUMS.items():
        sums = [float(np.abs(layer.kernel).sum()) for layer in features.make_layers(rank)]
        np.testing.assert_allclose(sums, expected, rtol=1e-5)
    ramp = np.arange(2 * 8 * 8 * 3, dtype=np.uint8).reshape(1, 2, 8, 8, 3)
    assert float(frame_features(ramp[0]).sum()) == pytest.approx(FRAME_SUM, abs=1e-3)
    assert float(clip_features(ramp).sum()) == pytest.approx(CLIP_SUM, abs=1e-3)


def test_draws_are_standard_normal() -> None:
    drawn = draw_normal(7, (200, 100))
    assert abs(drawn.mean()) < 0.02
    assert abs(drawn.std() - 1) < 0.02
    assert abs((drawn**4).mean() - 3) < 0.15
    assert not np.isin(drawn, draw_normal(8, (200, 100))).any()


def test_filters_respond_to_the_assumed_field_with_variance_1() -> None:
    """Σ of weight · weight · correlation over all pairs of taps, spelled out."""
    for rank, correlations in ((2, (0.95,) * 2), (3, (0.95,) * 3)):
        kernel = features.make_layers(rank)[0].kernel.astype(float)
        places = list(itertools.product(*map(range, kernel.shape[:-1])))
        weights = kernel.reshape(-1, kernel.shape[-1])

        def correlation(
            p: tuple[int, ...], q: tuple[int, ...], along: tuple = correlations
        ) -> float:
            axes = zip(along, p[:-1], q[:-1], strict=True)
            return math.prod(r ** abs(i - j) for r, i, j in axes) * (1 if p[-1] == q[-1] else 0.8)

        field = np.array([[correlation(p, q) for q in places] for p in places])
        np.testing.assert_allclose(np.einsum("if,ij,jf->f", weights, field, weights), 1, rtol=1e-5)


def torch_features(examples: np.ndarray) -> np.ndarray:
    """The same by PyTorch's layers."""
    rank = examples.ndim - 2
    axes = tuple(range(2, rank + 2))
    x = torch.from_numpy(np.moveaxis(examples, -1, 1) / 127.5 - 1).float()
    found = []
    for number, layer in enumerate(features.make_layers(rank)):
        if number:
            x = F.avg_pool2d(x, 2) if rank == 2 else F.avg_pool3d(x, (1, 2, 2))
        kernel = torch.from_numpy(np.moveaxis(layer.kernel, (-1, -2), (0, 1)).copy())
        padded = F.pad(2 * x, (1, 1, 1, 1)) if rank == 2 else F.pad(2 * x, (1, 1, 1, 1, 0, 0))
        if rank == 3:  # the end frames repeated
            padded = torch.cat([padded[:, :, :1], padded, padded[:, :, -1:]], dim=2)
        convolve = F.conv2d if rank == 2 else F.conv3d
        x = torch.tanh(convolve(padded, kernel, torch.from_numpy(layer.bias)))
        found += [x.mean(axes), x.std(axes, correction=0)]
    return torch.cat(found, dim=1).numpy()


def test_against_pytorch() -> None:
    frames = OTHER[:3].reshape(-1, *OTHER.shape[2:])
    np.testing.assert_allclose(frame_features(frames), torch_features(frames), atol=2e-5)
    np.testing.assert_allclose(clip_features(OTHER[:3]), torch_features(OTHER[:3]), atol=2e-5)


# Values.


@pytest.mark.parametrize("shape", [(2, 2, 8, 8, 3), (1, 4, 16, 16, 3), (1, 3, 128, 128, 3)])
def test_features_are_bounded_and_of_every_example_alone(shape: tuple[int, ...]) -> None:
    clips = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    for found, alone in (
        (frame_features(clips[:, 0]), frame_features(clips[:1, 0])),
        (clip_features(clips), clip_features(clips[:1])),
    ):
        assert found.shape == (shape[0], NUM_FEATURES)
        assert found.dtype == np.float32
        assert np.abs(found).max() <= 1
        np.testing.assert_allclose(found[:1], alone, atol=1e-5)


def test_no_feature_outweighs_the_rest() -> None:
    for found in (frame_features(REAL[:, 0]), clip_features(REAL)):
        variances = found.var(axis=0)
        assert variances.max() < 0.15 * variances.sum()
        assert np.median(variances) > 0.01 * variances.max()


# What distances notice.


@pytest.mark.parametrize("kind", ["frames", "clips"])
def test_distances_grow_with_the_damage(kind: str) -> None:
    """Noise, blur, brightness, greyness: each more than chance, and more of it farther away."""
    distance = {"frames": frame_distance, "clips": clip_distance}[kind]
    noise = np.random.default_rng(0).normal(size=OTHER.shape)

    def blurred(clips: np.ndarray, times: int) -> np.ndarray:
        values = clips.astype(float)
        for _ in range(times):
            for axis in (2, 3):
                values = (values + np.roll(values, 1, axis)) / 2
        return to_bytes(values)

    grey = OTHER.mean(axis=-1, keepdims=True)
    damages = {
        "noise": [to_bytes(OTHER + s * noise) for s in (6, 12, 24)],
        "blur": [blurred(OTHER, times) for times in (2, 4, 8)],
        "brightness": [to_bytes(OTHER + shift) for shift in (30.0, 45.0, 60.0)],
        "greyness": [to_bytes((1 - s) * OTHER + s * grey) for s in (0.4, 0.7, 1.0)],
        "fewer scenes": [OTHER[np.arange(200) % n] for n in (24, 6, 1)],
    }
    for name, grades in damages.items():
        distances = [FLOORS[kind], *(distance(REAL, damaged) for damaged in grades)]
        assert distances == sorted(distances), name
        assert distances[-1] > 5 * FLOORS[kind], name


def test_one_stream_sees_changes_only_and_the_other_what_is_shown() -> None:
    """Of still clips the changes' features are all the same; of shuffled ones, what is shown."""
    sizes = [size for size in (4, 8, 8) for _ in range(2)]  # means and deviations of each layer
    changes = np.concatenate([np.repeat([False, True], size) for size in sizes])
    assert len(changes) == NUM_FEATURES
    np.testing.assert_array_equal(features.motion_features(), changes)
    still = np.repeat(REAL[:, :1], REAL.shape[1], axis=1)
    found = clip_features(still)
    assert found[:, changes].std(axis=0).max() < 1e-5
    assert found[:, ~changes].std(axis=0).min() > 1e-3
    assert clip_features(REAL)[:, changes].std(axis=0).min() > 1e-3
    # A filter that sums over time responds alike in the first layer, wherever a frame stands.
    first = np.arange(NUM_FEATURES) < 4
    there, back = (clip_features(clips)[:, first] for clips in (REAL, REAL[:, ::-1]))
    np.testing.assert_allclose(there, back, atol=1e-5)


def test_still_clips_are_far_off_in_time_only() -> None:
    still = np.repeat(OTHER[:, :1], OTHER.shape[1], axis=1)
    assert frame_distance(REAL, still) < 2 * FLOORS["frames"]
    assert clip_distance(REAL, still) > 10 * FLOORS["clips"]


def test_the_order_of_frames_counts_for_clips_only() -> None:
    shuffled = OTHER[:, [2, 0, 3, 1]]
    assert frame_distance(REAL, shuffled) == pytest.approx(FLOORS["frames"], rel=1e-4)
    assert clip_distance(REAL, shuffled) > 3 * FLOORS["clips"]


# Mistakes.


@pytest.mark.parametrize(
    ("examples", "message"),
    [
        (np.zeros((2, 16, 16, 3), np.float32), r"frames must be uint8 \[n, h, w, 3\]; got float32"),
        (np.zeros((2, 4, 16, 16, 3), np.uint8), r"frames must be uint8 .* got uint8 \[2, 4, 16"),
        (np.zeros((2, 16, 16, 1), np.uint8), "frames must be uint8"),
        (np.zeros((2, 16, 4, 3), np.uint8), "must have at least 8×8 pixels to have features"),
    ],
)
def test_mistakes(examples: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        frame_features(examples)


def test_mistakes_of_clips() -> None:
    with pytest.raises(ValueError, match="at least 2 frames of 8×8 pixels"):
        clip_features(np.zeros((2, 1, 16, 16, 3), np.uint8))
    with pytest.raises(ValueError, match=r"clips must be uint8 \[n, t, h, w, 3\]"):
        clip_features(np.zeros((2, 16, 16, 3), np.uint8))

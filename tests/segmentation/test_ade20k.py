"""Segmentation at several scales: PyTorch's probabilities, Pillow's pixels, batches."""

import inspect

import chex
import jax
import numpy as np
import pytest
from PIL import Image

from tests.models.segmenters import tiny_variables, torch_tiny
from vidgan_jax import devices
from vidgan_jax.segmentation import ade20k
from vidgan_jax.segmentation.ade20k import SCALES, Ade20kSegmenter, resize_frames, size_at


def segmenter(*scales: int) -> Ade20kSegmenter:
    return Ade20kSegmenter(tiny_variables(), scales)


def draw(*shape: int) -> np.ndarray:
    return np.random.default_rng(shape).integers(0, 256, shape).astype(np.uint8)


@pytest.mark.parametrize(("size", "scales"), [((20, 27), (40, 61)), ((90, 50), (36,))])
def test_probabilities_are_the_public_codes(size: tuple[int, int], scales: tuple[int, ...]) -> None:
    """Frames that are enlarged, to 40×56 and 64×88, and such as shrink, to 64×40."""
    frames, ours = draw(2, *size, 3), segmenter(*scales)
    found = ours.probabilities(frames)
    assert (found.dtype, found.shape) == (np.float32, (2, *size, 5))
    wanted = np.stack([torch_tiny().probabilities(frame, scales) for frame in frames])
    assert np.ptp(wanted, axis=(0, 1, 2)).max() > 0.1
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-4)
    np.testing.assert_array_equal(ours(frames), wanted.argmax(axis=-1))


@pytest.mark.parametrize(
    ("size", "wanted"),
    [((160, 160), (304, 304)), ((37, 91), (304, 752)), ((70, 50), (48, 40)), ((1, 3), (8, 24))],
)
def test_frames_are_resized_as_pillow_does_it(
    size: tuple[int, int], wanted: tuple[int, int]
) -> None:
    """Bit by bit."""
    frame = draw(*size, 3)
    height, width = wanted
    theirs = Image.fromarray(frame).resize((width, height), Image.Resampling.BILINEAR)
    found = jax.jit(resize_frames, static_argnums=1)(frame[None], wanted)
    np.testing.assert_array_equal(found[0], np.asarray(theirs))


@pytest.mark.parametrize(
    ("scale", "size", "wanted"),
    [
        (300, (160, 160), (304, 304)),
        (600, (160, 160), (600, 600)),
        (450, (120, 160), (456, 600)),
        (600, (90, 160), (568, 1000)),
        (375, (1080, 1920), (376, 672)),
        (300, (5000, 1), (1000, 8)),
    ],
)
def test_sizes(scale: int, size: tuple[int, int], wanted: tuple[int, int]) -> None:
    """Short sides by scale, long ones up to 1000, multiples of 8."""
    assert size_at(scale, *size) == wanted
    assert SCALES == (300, 375, 450, 525, 600)


def test_any_number_of_frames_and_axes_and_nothing_is_compiled_twice(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clips, ours = draw(2, 3, 16, 20, 3), segmenter(24)
    plain = inspect.unwrap(ade20k._add)
    traced = jax.jit(chex.assert_max_traces(plain, 1), static_argnums=(0, 1), donate_argnums=4)
    monkeypatch.setattr(ade20k, "_add", traced)
    whole = ours(clips, batch_size=4)  # four, then two and two more that fill up
    assert (whole.dtype, whole.shape) == (np.uint8, clips.shape[:-1])
    assert {0} < set(np.unique(whole)) | {0} <= set(ours.classes) == set(range(5))
    np.testing.assert_array_equal(ours(clips[:, ::-1], batch_size=4), whole[:, ::-1])
    monkeypatch.undo()
    np.testing.assert_array_equal(ours(clips[1, 2], batch_size=4), whole[1, 2])
    assert ours(clips[:0]).shape == (0, 3, 16, 20)
    assert ours.probabilities(clips[:0]).shape == (0, 3, 16, 20, 5)


def test_devices_share_the_frames(monkeypatch: pytest.MonkeyPatch) -> None:
    frames = draw(3, 16, 20, 3)
    whole = segmenter(24)(frames, batch_size=4)
    monkeypatch.setattr(devices, "usable", lambda: jax.local_devices()[:2])
    ours = segmenter(24)
    np.testing.assert_array_equal(ours(frames, batch_size=4), whole)
    [(_, total)] = ours._totals(frames, 4)
    assert len(total.sharding.device_set) == 2


def test_identity_is_of_weights_and_scales() -> None:
    ours = segmenter(40, 61)
    assert ours.identity == segmenter(40, 61).identity
    assert ours.identity != segmenter(40).identity
    changed = jax.tree.map(np.copy, ours.variables)
    changed["params"]["decoder"]["conv_logit"]["bias"][0] += 1e-6
    assert ours.identity != Ade20kSegmenter(changed, (40, 61)).identity


@pytest.mark.parametrize(
    "frames",
    [
        np.zeros((1, 8, 8, 3), np.float32),
        np.zeros((8, 8), np.uint8),
        np.zeros((8, 8, 4), np.uint8),
        np.zeros((2, 0, 8, 3), np.uint8),
    ],
)
def test_frames_that_are_none_are_refused(frames: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"frames must be uint8 \[\.\.\., h, w, 3\]; got"):
        segmenter(40)(frames)


def test_numbers_out_of_range_are_refused() -> None:
    for scales in ((), (0,), (300, 1001)):
        with pytest.raises(ValueError, match="must be short sides of frames, one at least, each"):
            segmenter(*scales)
    with pytest.raises(ValueError, match=r"batch_size \(=0\) must be at least 1"):
        segmenter(40)(draw(1, 8, 8, 3), batch_size=0)

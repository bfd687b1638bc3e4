"""Frames and label maps as images: exact where they should be, and clear about bad input."""

import contextlib
from typing import Any

import numpy as np
import pytest

from tests.datasets import make_clip
from vidgan_jax.data import records


def test_png_frames_are_lossless() -> None:
    frames = np.random.default_rng(0).integers(0, 256, (3, 5, 7, 3), dtype=np.uint8)
    encoded = records.encode_frames(frames, image_format="png")
    np.testing.assert_array_equal([records.decode_frame(frame) for frame in encoded], frames)
    assert records.read_header(encoded[0]) == ("png", 5, 7)


def test_jpeg_frames_are_close_and_small() -> None:
    frames = make_clip(0, 0, num_frames=2, size=64)
    encoded = records.encode_frames(frames, image_format="jpeg")
    decoded = np.stack([records.decode_frame(frame) for frame in encoded])
    assert records.read_header(encoded[0]) == ("jpeg", 64, 64)
    assert np.abs(decoded.astype(int) - frames).mean() < 3
    assert len(encoded[0]) < frames[0].size / 4


def test_jpeg_keeps_the_channels_in_order() -> None:
    red = np.zeros((1, 16, 16, 3), np.uint8)
    red[..., 0] = 200
    decoded = records.decode_frame(records.encode_frames(red)[0])
    np.testing.assert_allclose(decoded.mean((0, 1)), [200, 0, 0], atol=3)


def test_label_maps_are_exact() -> None:
    label_map = np.arange(256, dtype=np.uint8).reshape(8, 32)
    encoded = records.encode_label_map(label_map)
    np.testing.assert_array_equal(records.decode_label_map(encoded), label_map)


@pytest.mark.parametrize(
    ("frames", "keywords", "text"),
    [
        (np.zeros((4, 4, 3), np.uint8), {}, r"uint8 \[t, h, w, 3\].*\[4, 4, 3\]"),
        (np.zeros((1, 4, 4, 3)), {}, "uint8.*float64"),
        (np.zeros((0, 4, 4, 3), np.uint8), {}, "not empty"),
        (np.zeros((1, 4, 4, 3), np.uint8), {"quality": 0}, r"quality \(=0\)"),
        (np.zeros((1, 4, 4, 3), np.uint8), {"image_format": "gif"}, "'gif'.*'jpeg' or 'png'"),
    ],
)
def test_encode_frames_refuses(frames: np.ndarray, keywords: dict[str, Any], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        records.encode_frames(frames, **keywords)


def test_label_map_errors() -> None:
    with pytest.raises(ValueError, match=r"uint8 \[h, w\].*int64"):
        records.encode_label_map(np.zeros((2, 2), int))
    rgb, jpeg = (
        records.encode_frames(np.zeros((1, 4, 4, 3), np.uint8), image_format=image_format)[0]
        for image_format in ("png", "jpeg")
    )
    with pytest.raises(ValueError, match="8-bit PNG with one channel, got Pillow mode 'RGB'"):
        records.decode_label_map(rgb)
    with pytest.raises(ValueError, match="a JPEG where a PNG is needed"):
        records.decode_label_map(jpeg)


@pytest.mark.parametrize("image_format", ["jpeg", "png"])
def test_damaged_image_is_a_value_error(image_format: Any) -> None:
    (encoded,) = records.encode_frames(
        np.zeros((1, 16, 16, 3), np.uint8), image_format=image_format
    )
    for length in range(len(encoded) - 2):
        # Either decoder may repair the very end of a file; no other exception comes out.
        with contextlib.suppress(ValueError):
            records.decode_frame(encoded[:length])
    with pytest.raises(ValueError, match="neither JPEG nor PNG: 5 bytes that begin b'hello'"):
        records.decode_frame(b"hello")

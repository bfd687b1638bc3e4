"""Files in memory: whole, playable, and the same every time."""

import io
import zipfile
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from vidgan_jax.data import media
from vidgan_jax.serving import outputs


def make_frames(num_frames: int = 5, side: int = 16) -> np.ndarray:
    frames = np.zeros((num_frames, side, side, 3), np.uint8)
    frames[..., 0] = np.linspace(40, 200, side)
    frames[..., 1] = (30 + 200 // num_frames * np.arange(num_frames))[:, None, None]
    return frames


def read_mp4(data: bytes) -> np.ndarray:
    with av.open(io.BytesIO(data), "r") as container:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])


def read_picture(data: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(data)) as image:
        frames = []
        for i in range(getattr(image, "n_frames", 1)):
            image.seek(i)
            frames.append(np.asarray(image.convert("RGB")))
        return np.stack(frames)


def test_frames_go_forth_and_back() -> None:
    frames = make_frames(4)
    assert outputs.played(frames, "once") is frames
    np.testing.assert_array_equal(outputs.played(frames, "pingpong"), frames[[0, 1, 2, 3, 2, 1]])
    np.testing.assert_array_equal(outputs.played(frames[:2], "pingpong"), frames[:2])
    np.testing.assert_array_equal(outputs.played(frames[:1], "pingpong"), frames[:1])
    with pytest.raises(ValueError, match="must be one of once, pingpong"):
        outputs.played(frames, "backwards")


def test_mp4_in_memory_is_the_file_on_disk(tmp_path: Path) -> None:
    """So that its index stands first, and browsers play it while it loads."""
    frames = make_frames()
    file = outputs.encode(frames, format="mp4", fps=8, loops=2)
    media.write_mp4(tmp_path / "a.mp4", frames, fps=8, loops=2)
    assert file.data == (tmp_path / "a.mp4").read_bytes()
    assert 0 < file.data.index(b"moov") < file.data.index(b"mdat")
    decoded = read_mp4(file.data)
    assert np.abs(decoded.astype(int) - np.concatenate([frames] * 2)).mean() < 4


@pytest.mark.parametrize("format", outputs.FORMATS)
def test_the_same_frames_give_the_same_bytes(format: str) -> None:
    files = [
        outputs.encode(make_frames(), format=format, fps=8, playback="pingpong") for _ in range(3)
    ]
    assert files[0] == files[1] == files[2]


@pytest.mark.parametrize("format", ["gif", "webp", "mp4"])
def test_a_clip_has_all_frames_played_forth_and_back(format: str) -> None:
    frames = make_frames()
    file = outputs.encode(frames, format=format, fps=8, playback="pingpong")
    decoded = (read_mp4 if format == "mp4" else read_picture)(file.data)
    expected = outputs.played(frames, "pingpong")
    assert decoded.shape == expected.shape
    assert np.abs(decoded.astype(int) - expected).mean() < 12


def test_frames_come_as_a_zip_of_pngs() -> None:
    frames = make_frames(3)
    file = outputs.encode(frames, format="png", fps=8, playback="pingpong")
    assert file.media_type == "application/zip"
    with zipfile.ZipFile(io.BytesIO(file.data)) as archive:
        assert archive.testzip() is None
        assert archive.namelist() == [f"frame_{i:04d}.png" for i in range(4)]
        decoded = np.stack([read_picture(archive.read(name))[0] for name in archive.namelist()])
    np.testing.assert_array_equal(decoded, frames[[0, 1, 2, 1]])


@pytest.mark.parametrize("format", ["png", "webp", "gif"])
def test_an_image_is_one_picture(format: str) -> None:
    (frame,) = frames = make_frames(1)
    # Models of images may have no rate.
    file = outputs.encode(frames, format=format, fps=0.0)
    assert file.media_type == f"image/{format}"
    (decoded,) = read_picture(file.data)
    assert np.abs(decoded.astype(int) - frame).mean() < 12


def test_ids_come_back_as_they_were() -> None:
    ids = np.arange(256, dtype=np.uint8).reshape(16, 16)
    with Image.open(io.BytesIO(outputs.encode_ids(ids))) as image:
        assert image.mode == "L"
        np.testing.assert_array_equal(np.asarray(image), ids)


def test_an_unknown_format_is_refused() -> None:
    with pytest.raises(ValueError, match="must be one of mp4, webp, gif, png"):
        outputs.encode(make_frames(), format="avi", fps=8)

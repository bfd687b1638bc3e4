"""One example out of a user's picture or video."""

from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from tests.preparation.numbered import write_video
from vidgan_jax.preparation.example import read_example


def read(path: Path, num_frames: int = 0, fps: float = 24.0, size: int = 8) -> np.ndarray:
    example = read_example(path, size=size, num_frames=num_frames, fps=fps)
    assert example.dtype == np.uint8
    assert example.shape == ((num_frames,) if num_frames else ()) + (size, size, 3)
    return example.astype(int)


def halves(height: int, width: int) -> np.ndarray:
    """Black on the left, white on the right, red outside of the square in the middle."""
    image = np.full((height, width, 3), (255, 0, 0), np.uint8)
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    square = image[top : top + side, left : left + side]
    square[:, : side // 2], square[:, side // 2 :] = 0, 255
    return image


@pytest.mark.parametrize("shape", [(32, 32), (32, 80), (64, 32)])
@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".gif", ".bmp", ".tif"])
def test_the_square_in_the_middle(tmp_path: Path, shape: tuple[int, int], suffix: str) -> None:
    Image.fromarray(halves(*shape)).save(tmp_path / f"a{suffix}")
    example = read(tmp_path / f"a{suffix}")
    np.testing.assert_allclose(example[:, :3].mean(axis=2), 0, atol=40)
    np.testing.assert_allclose(example[:, 5:].mean(axis=2), 255, atol=40)


def test_a_picture_stands_still_in_a_clip(tmp_path: Path) -> None:
    Image.fromarray(halves(8, 8)).save(tmp_path / "a.png")
    clip = read(tmp_path / "a.png", num_frames=3)
    np.testing.assert_array_equal(clip, np.stack([halves(8, 8)] * 3))


def test_cameras_that_were_held_upright(tmp_path: Path) -> None:
    """Orientation 6 in EXIF: a player turns the picture clockwise by 90°."""
    image = Image.fromarray(halves(16, 16))
    exif = image.getexif()
    exif[0x0112] = 6
    image.save(tmp_path / "a.png", exif=exif)
    np.testing.assert_array_equal(read(tmp_path / "a.png", size=16), np.rot90(halves(16, 16), -1))


def test_what_is_transparent_is_white(tmp_path: Path) -> None:
    pixels = np.zeros((8, 8, 4), np.uint8)
    pixels[:4, :, 3] = 255
    Image.fromarray(pixels).save(tmp_path / "a.png")
    assert read(tmp_path / "a.png")[[0, 7], 0].tolist() == [[0, 0, 0], [255, 255, 255]]


@pytest.mark.parametrize("suffix", [".mp4", ".gif", ".mpg"])
def test_the_beginning_of_a_video(tmp_path: Path, suffix: str) -> None:
    frames = [np.full((32, 48, 3), 10 * i, np.uint8) for i in range(24)]
    path = tmp_path / f"a{suffix}"
    if suffix == ".gif":
        first, *rest = [Image.fromarray(frame) for frame in frames[::2]]
        first.save(path, save_all=True, append_images=rest, duration=80)
    else:
        codec = "mpeg1video" if suffix == ".mpg" else "libx264"
        write_video(path, frames, codec=codec)
    shades = read(path, num_frames=3, fps=6).mean(axis=(1, 2, 3))
    np.testing.assert_allclose(shades, [0, 40, 80], atol=12)
    np.testing.assert_allclose(read(path), 0, atol=3)


def test_what_is_damaged_and_what_is_neither(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(noise).save(path)
    path.write_bytes(path.read_bytes()[:3000])
    with pytest.raises(ValueError, match=r"a\.png: damaged or cut short"):
        read(path)
    path.write_text("no picture\n" * 60)
    with pytest.raises(ValueError, match=r"a\.png: damaged in .*; no example can be taken from it"):
        read(path)
    with pytest.raises(ValueError, match=r"b\.png: cannot be read \(No such file"):
        read(tmp_path / "b.png")
    Image.fromarray(np.full((4, 4), 40_000, np.uint16)).save(path)
    with pytest.raises(ValueError, match=r"a\.png: has more than 8 bits a channel; save it with 8"):
        read(path)
    write_video(tmp_path / "a.mp4", [np.zeros((32, 32, 3), np.uint8)] * 6)
    message = r"a\.mp4: too short: 4 frames at 8 a second take 0\.50 s"
    with pytest.raises(ValueError, match=message):
        read(tmp_path / "a.mp4", num_frames=4, fps=8)


def test_the_sound_part_of_a_damaged_video(tmp_path: Path) -> None:
    """It is taken, and said; where the part that is read is sound, there is nothing to say."""
    frames = [np.full((32, 32, 3), 90, np.uint8)] * 48
    path = write_video(tmp_path / "a.mkv", frames, codec="mjpeg", pix_fmt="yuvj420p")
    with av.open(str(path)) as container:
        packets = [bytes(packet) for packet in container.demux(video=0) if packet.size]
    data = path.read_bytes()
    at = data.index(packets[2])
    path.write_bytes(data[: at + 40] + bytes(len(packets[2]) - 40) + data[at + len(packets[2]) :])
    told: list[str] = []
    example = read_example(path, size=8, num_frames=6, fps=24, warn=told.append)
    np.testing.assert_allclose(example.astype(int), 90, atol=4)
    assert read_example(path, size=8, num_frames=0, fps=24, warn=told.append).shape == (8, 8, 3)
    assert len(told) == 1
    assert "a.mkv: damaged in 1 places" in told[0]

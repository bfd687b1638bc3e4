"""Reading real files, made here by real encoders: times, picture, bad input."""

from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from tests.preparation.numbered import (
    numbered_frame,
    read_numbers,
    write_numbered,
    write_video,
)
from vidgan_jax.preparation import videos
from vidgan_jax.preparation.videos import Cutting, VideoError


def _cutting(num_frames: int, fps: float = 24.0, **options: Any) -> Cutting:
    base: dict[str, Any] = {"size": 32, "fit": "stretch"}
    return Cutting(num_frames=num_frames, fps=fps, **base | options)


def _numbers(path: Path, cutting: Cutting) -> list[list[int]]:
    return [read_numbers(clip.frames) for clip in videos.read_clips(path, cutting)]


def _consecutive(count: int, num_frames: int) -> list[list[int]]:
    starts = range(0, count - num_frames + 1, num_frames)
    return [list(range(start, start + num_frames)) for start in starts]


@pytest.mark.parametrize(
    ("name", "codec"),
    [
        ("a.mp4", "libx264"),
        ("a.mkv", "libx264"),
        ("a.avi", "mpeg4"),
        ("a.ts", "mpeg2video"),
        ("a.webm", "libvpx-vp9"),
        ("a.flv", "libx264"),
        ("a.mov", "mjpeg"),
    ],
)
def test_every_frame_once_and_in_order(tmp_path: Path, name: str, codec: str) -> None:
    pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
    path = write_numbered(tmp_path / name, 50, codec=codec, pix_fmt=pix_fmt)
    assert _numbers(path, _cutting(8)) == _consecutive(50, 8)


@pytest.mark.parametrize("threads", [1, 4])
def test_threads_change_nothing(tmp_path: Path, threads: int) -> None:
    path = write_numbered(tmp_path / "a.mp4", 30)
    clips = videos.read_clips(path, _cutting(10), threads=threads)
    assert [read_numbers(clip.frames) for clip in clips] == _consecutive(30, 10)


@pytest.mark.parametrize("fps", [12, 25, 30, 30_000 / 1001])
@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_resampling_holds_the_last_frame(tmp_path: Path, fps: float, suffix: str) -> None:
    path = write_numbered(tmp_path / f"a{suffix}", 60, fps=fps)
    expected = [int(step / 24 * fps + 1e-3 * fps) for step in range(24)]
    assert _numbers(path, _cutting(24))[0] == expected


def test_variable_frame_rate(tmp_path: Path) -> None:
    times_s = [0.0, 0.05, 0.2, 0.21, 0.22, 0.5, 0.55, 0.9, 1.0]
    path = write_numbered(tmp_path / "a.mp4", len(times_s), times_s=times_s)
    assert _numbers(path, _cutting(10, fps=10))[0] == [0, 1, 2, 4, 4, 5, 6, 6, 6, 7]


@pytest.mark.parametrize("suffix", [".mp4", ".ts"])
def test_a_stream_that_starts_late(tmp_path: Path, suffix: str) -> None:
    times_s = [5 + number / 24 for number in range(20)]
    path = write_numbered(tmp_path / f"a{suffix}", 20, times_s=times_s)
    clips = list(videos.read_clips(path, _cutting(8)))
    assert [read_numbers(clip.frames) for clip in clips] == _consecutive(20, 8)
    assert [clip.start_s for clip in clips] == pytest.approx([0, 8 / 24], abs=1e-6)


def test_no_clip_reaches_over_a_jump_in_time(tmp_path: Path) -> None:
    times_s = [number / 24 for number in range(10)] + [60 + number / 24 for number in range(10)]
    path = write_numbered(tmp_path / "a.mp4", 20, times_s=times_s)
    assert _numbers(path, _cutting(8)) == [list(range(8)), list(range(10, 18))]


def test_spacing_and_number_of_clips(tmp_path: Path) -> None:
    path = write_numbered(tmp_path / "a.mp4", 96)

    def starts(**options: Any) -> list[int]:
        return [clip[0] for clip in _numbers(path, _cutting(12, **options))]

    assert starts() == [0, 12, 24, 36, 48, 60, 72, 84]
    assert starts(every_s=1.0) == [0, 24, 48, 72]
    assert starts(every_s=0.25) == list(range(0, 85, 6))
    assert starts(max_clips=3) == [0, 32, 64]
    assert starts(max_clips=1) == [0]
    assert starts(max_clips=99) == [0, 12, 24, 36, 48, 60, 72, 84]


def test_a_file_shorter_than_a_clip_gives_none(tmp_path: Path) -> None:
    assert _numbers(write_numbered(tmp_path / "a.mp4", 7), _cutting(8)) == []


def test_sound_makes_no_difference(tmp_path: Path) -> None:
    path = write_numbered(tmp_path / "a.mp4", 20, with_audio=True)
    assert _numbers(path, _cutting(8)) == _consecutive(20, 8)


def test_ten_bits(tmp_path: Path) -> None:
    path = write_numbered(tmp_path / "a.mp4", 10, pix_fmt="yuv420p10le")
    with av.open(str(path)) as container:
        assert next(container.decode(video=0)).format.name == "yuv420p10le"
    (clip,) = videos.read_clips(path, _cutting(10))
    assert read_numbers(clip.frames) == list(range(10))
    assert clip.frames.min() <= 2
    assert clip.frames.max() >= 253


@pytest.mark.parametrize("pix_fmt", ["yuv420p", "yuvj420p", "yuv444p"])
def test_colours_come_through(tmp_path: Path, pix_fmt: str) -> None:
    colours = np.array([[255, 255, 255], [0, 0, 0], [200, 30, 30], [20, 60, 220]], np.uint8)
    image = np.repeat(np.repeat(colours[None], 64, 0), 16, 1)
    path = write_video(tmp_path / "a.mp4", [image] * 4, pix_fmt=pix_fmt)
    (clip,) = videos.read_clips(path, _cutting(4, size=64))
    found = clip.frames[2, 32, 8::16].astype(int)
    np.testing.assert_allclose(found, colours.astype(int), atol=6)


def _quadrants(width: int, height: int) -> np.ndarray:
    """Top left 250, top right 170, bottom left 90, bottom right 10."""
    image = np.empty((height, width, 3), np.uint8)
    image[: height // 2, : width // 2], image[: height // 2, width // 2 :] = 250, 170
    image[height // 2 :, : width // 2], image[height // 2 :, width // 2 :] = 90, 10
    return image


def _corners(image: np.ndarray) -> np.ndarray:
    quarter = image.shape[0] // 4
    return image[quarter :: 2 * quarter, quarter :: 2 * quarter, 0].astype(int)


@pytest.mark.skipif(
    not hasattr(av.VideoStream, "set_display_rotation"),
    reason="this PyAV cannot write a display matrix",
)
@pytest.mark.parametrize("rotation", [0, 90, 180, 270])
@pytest.mark.parametrize("mirror", [(False, False), (True, False), (False, True)])
def test_rotation_and_mirroring(tmp_path: Path, rotation: int, mirror: tuple[bool, bool]) -> None:
    image = _quadrants(96, 64)
    path = write_video(tmp_path / "a.mp4", [image] * 3, rotation=(rotation, *mirror))
    (clip,) = videos.read_clips(path, _cutting(3))
    shown = np.rot90(image, rotation // 90)
    shown = shown[:: -1 if mirror[1] else 1, :: -1 if mirror[0] else 1]
    height, width, _ = shown.shape
    expected = shown[height // 4 :: height // 2, width // 4 :: width // 2, 0].astype(int)
    np.testing.assert_allclose(_corners(clip.frames[1]), expected, atol=6)
    info = videos.probe(path)
    assert (info.width, info.height) == (width, height)


def test_crop_keeps_the_square_in_the_middle_and_stretch_the_whole(tmp_path: Path) -> None:
    image = np.repeat(np.array([0, 90, 170, 250], np.uint8), 32)[None, :, None]
    image = np.broadcast_to(image, (64, 128, 3)).copy()
    path = write_video(tmp_path / "a.mp4", [image] * 2)
    (cropped,) = videos.read_clips(path, _cutting(2, fit="crop"))
    (stretched,) = videos.read_clips(path, _cutting(2))
    np.testing.assert_allclose(cropped.frames[0, 16, [8, 24], 0].astype(int), [90, 170], atol=6)
    np.testing.assert_allclose(
        stretched.frames[0, 16, 4::8, 0].astype(int), [0, 90, 170, 250], atol=6
    )
    assert cropped.frames.shape == stretched.frames.shape == (2, 32, 32, 3)


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_pixels_that_are_not_square(tmp_path: Path, suffix: str) -> None:
    """Stored 64×64 and shown 128×64: the middle square is the middle half of what is stored."""
    image = np.repeat(np.array([0, 90, 170, 250], np.uint8), 16)[None, :, None]
    image = np.broadcast_to(image, (64, 64, 3)).copy()
    path = write_video(tmp_path / f"a{suffix}", [image] * 2, pixel_aspect=Fraction(2))
    info = videos.probe(path)
    assert (info.width, info.height) == (128, 64)
    (clip,) = videos.read_clips(path, _cutting(2, fit="crop"))
    np.testing.assert_allclose(clip.frames[0, 16, [8, 24], 0].astype(int), [90, 170], atol=6)


@pytest.mark.parametrize("shape", [(16, 16), (50, 34), (34, 50), (17, 301)])
@pytest.mark.parametrize("fit", ["crop", "stretch"])
def test_any_size_becomes_the_square(tmp_path: Path, shape: tuple[int, int], fit: str) -> None:
    height, width = shape
    frames = [numbered_frame(0, width, height)] * 2
    path = write_video(tmp_path / "a.mkv", frames, codec="ffv1", pix_fmt="yuv444p")
    (clip,) = videos.read_clips(path, _cutting(2, fit=fit))
    assert clip.frames.shape == (2, 32, 32, 3)
    assert clip.frames.dtype == np.uint8


def test_probe(tmp_path: Path) -> None:
    info = videos.probe(write_numbered(tmp_path / "a.mp4", 48))
    assert info.duration_s == pytest.approx(2.0, abs=0.05)
    assert info.fps == pytest.approx(24)
    assert (info.codec, info.width, info.height) == ("h264", 64, 64)
    assert "mp4" in info.container


@pytest.mark.parametrize("name", ["with space é.mp4", "a:b.mp4", "50%d.mp4", "-x.mp4"])
def test_odd_file_names(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    (write_numbered(tmp_path / "plain.mp4", 8)).rename(tmp_path / name)
    monkeypatch.chdir(tmp_path)
    assert _numbers(Path(name), _cutting(8)) == [list(range(8))]


def _read(path: Path, **options: Any) -> list[list[int]]:
    return _numbers(path, _cutting(8, **options))


def test_text_named_mp4(tmp_path: Path) -> None:
    path = tmp_path / "notes.mp4"
    path.write_text("Not a film.\n" * 100)
    with pytest.raises(VideoError, match=r"notes\.mp4: is a text file, not a video"):
        _read(path)


def test_text_is_not_shown_as_a_terminal(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("Not a film.\n" * 100)
    with pytest.raises(VideoError, match="is a text file, not a video"):
        _read(path)


def test_empty_file(tmp_path: Path) -> None:
    path = tmp_path / "empty.mp4"
    path.touch()
    with pytest.raises(VideoError, match=r"empty\.mp4: is empty \(0 bytes\)"):
        _read(path)


def test_missing_file_and_folder(tmp_path: Path) -> None:
    with pytest.raises(VideoError, match=r"none\.mp4: cannot be read: No such file"):
        _read(tmp_path / "none.mp4")
    with pytest.raises(VideoError, match="cannot be read: Is a directory"):
        _read(tmp_path)


def test_no_read_permission(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_numbered(tmp_path / "mine.mp4", 8)

    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")  # Permissions do not bind root.

    monkeypatch.setattr(videos, "open", refuse, raising=False)
    with pytest.raises(VideoError, match=r"mine\.mp4: cannot be read: Permission denied"):
        _read(path)


def test_random_bytes(tmp_path: Path) -> None:
    path = tmp_path / "noise.mkv"
    path.write_bytes(np.random.default_rng(0).bytes(5000))
    with pytest.raises(VideoError, match=r"noise\.mkv: not a video that FFmpeg can read"):
        _read(path)


def test_sound_only(tmp_path: Path) -> None:
    path = tmp_path / "song.m4a"
    with av.open(str(path), "w") as container:
        sound = container.add_stream("aac", rate=48_000)
        silence = av.AudioFrame.from_ndarray(
            np.zeros((1, 48_000), np.float32), format="fltp", layout="mono"
        )
        silence.sample_rate = 48_000
        container.mux(sound.encode(silence))
        container.mux(sound.encode(None))
    with pytest.raises(VideoError, match=r"song\.m4a: has no video stream, only audio"):
        _read(path)


def _noise_video(path: Path, count: int = 96, **options: Any) -> Path:
    """Incompressible, so that half of the bytes is half of the frames."""
    rng = np.random.default_rng(0)
    frames = [rng.integers(0, 256, (64, 64, 3), np.uint8) for _ in range(count)]
    return write_video(path, frames, **options)


def test_truncated_mp4(tmp_path: Path) -> None:
    path = _noise_video(tmp_path / "cut.mp4")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(VideoError, match=r"cut\.mp4: truncated or damaged: an MP4 without"):
        _read(path)


def test_truncated_mp4_with_its_index_in_front(tmp_path: Path) -> None:
    path = _noise_video(tmp_path / "cut.mp4", options={"movflags": "faststart"})
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(VideoError, match=r"cut\.mp4: (damaged|truncated).*--keep-damaged"):
        _read(path)
    told: list[str] = []
    cutting = _cutting(8, keep_damaged=True)
    clips = list(videos.read_clips(path, cutting, warn=told.append))
    assert 4 <= len(clips) <= 6
    assert len(told) == 1
    assert "cut.mp4: damaged" in told[0]


def test_damage_in_the_middle_costs_only_its_place(tmp_path: Path) -> None:
    path = write_numbered(tmp_path / "a.mkv", 96, codec="mjpeg", pix_fmt="yuvj420p")
    with av.open(str(path)) as container:
        packets = [bytes(packet) for packet in container.demux(video=0) if packet.size]
    assert packets.count(packets[40]) == 1
    path.write_bytes(path.read_bytes().replace(packets[40], bytes(len(packets[40]))))
    with pytest.raises(VideoError, match=r"a\.mkv: damaged after 1\.\d\d s"):
        _read(path)
    clips = _read(path, keep_damaged=True)
    assert clips == _consecutive(40, 8) + [list(range(s, s + 8)) for s in range(41, 89, 8)]


def test_a_playlist_reaches_nothing(tmp_path: Path) -> None:
    path = tmp_path / "list.m3u8"
    path.write_text("#EXTM3U\n#EXTINF:10,\nhttp://127.0.0.1:9/x.ts\n#EXT-X-ENDLIST\n")
    with pytest.raises(VideoError, match=r"list\.m3u8"):
        _read(path)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_frames": 0}, r"num_frames \(=0\) must be at least 1"),
        ({"size": -1}, r"size \(=-1\) must be at least 1"),
        ({"fps": 0.0}, r"fps \(=0\) must be above 0"),
        ({"fps": float("nan")}, r"fps \(=nan\) must be above 0"),
        ({"fit": "pad"}, r"fit \(='pad'\) must be one of crop, stretch"),
        ({"every_s": 0.0}, r"every_s \(=0\) must be at least one frame"),
        ({"max_clips": 0}, r"max_clips \(=0\) must be at least 1"),
    ],
)
def test_settings_out_of_range(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Cutting(**options)

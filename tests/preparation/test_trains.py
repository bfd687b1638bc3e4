"""Synthetic Trains: from an LMDB and from folders, resumed, and out of bad images."""

import contextlib
import io
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import lmdb
import numpy as np
import pytest
from PIL import Image

from vidgan_jax import prepare
from vidgan_jax.data import records
from vidgan_jax.preparation import dataset, trains
from vidgan_jax.preparation.encoding import Encoding
from vidgan_jax.preparation.panning import Panning

_ROOT = Path(__file__).parents[2]
_SMALL = Panning(num_frames=3, size=16)
_FORMATS = ("WEBP", "JPEG", "PNG")
_FLAGS = ["--num-frames", "3", "--size", "16"]


def _image(seed: int, width: int = 40, height: int = 32) -> Image.Image:
    rng = np.random.default_rng(seed)
    noise = Image.fromarray(rng.integers(0, 256, (6, 8, 3), np.uint8))
    return noise.resize((width, height), Image.Resampling.BICUBIC)


def _encoded(image: Image.Image, image_format: str) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, image_format)
    return buffer.getvalue()


def _lmdb(folder: Path, values: Mapping[str, bytes]) -> Path:
    with (
        lmdb.open(str(folder), map_size=1 << 26) as environment,
        environment.begin(write=True) as transaction,
    ):
        for key, value in values.items():
            transaction.put(key.encode(), value)
    return folder


def _mixed(folder: Path, count: int = 12) -> Path:
    """An LMDB as LSUN's, with WebP and JPEG and PNG under keys that don't say which."""
    return _lmdb(
        folder,
        {f"{i * 7 % count:040x}": _encoded(_image(i), _FORMATS[i % 3]) for i in range(count)},
    )


def _recipe(source: Path, panning: Panning = _SMALL, **options: Any) -> dataset.Recipe:
    return trains.trains_recipe(source, panning, Encoding("png"), **options)


def _made(out: Path, recipe: dataset.Recipe, workers: int = 0) -> dict[str, bytes]:
    """Makes a data set; its shards."""
    dataset.prepare(recipe, out, layout=dataset.Layout(), workers=workers, progress=False)
    return {path.name: path.read_bytes() for path in sorted(out.glob("*.tfrecord"))}


def _clips(out: Path) -> dict[str, records.ClipRecord]:
    found: dict[str, records.ClipRecord] = {}
    for split in ("train", "validation"):
        with contextlib.closing(records.ClipSource(out, split)) as source:
            found |= {source[i].clip_id: source[i] for i in range(len(source))}
    return found


def test_clips_of_an_lmdb(tmp_path: Path) -> None:
    source = _mixed(tmp_path / "lsun")
    _made(tmp_path / "out", _recipe(source))
    clips = _clips(tmp_path / "out")
    assert sorted(clip.video_id for clip in clips.values()) == [f"{i:040x}" for i in range(12)]
    info = records.load_info(tmp_path / "out")
    assert (info.height, info.width, info.fps) == (16, 16, 24)
    assert {name: split.num_clips for name, split in info.splits.items()} == {
        "train": 11,
        "validation": 1,
    }
    # Each clip is of the image under its key, and of no other.
    for i in range(12):
        name = f"{i * 7 % 12:040x}"
        image = Image.open(io.BytesIO(_encoded(_image(i), _FORMATS[i % 3]))).convert("RGB")
        expected = _SMALL.render(image, _SMALL.draw(name, 0, 40, 32))
        frames = [records.decode_frame(frame) for frame in clips[f"{name}#00000"].frames]
        np.testing.assert_array_equal(frames, expected)


def test_a_folder_gives_the_same_whatever_the_order_and_the_workers(tmp_path: Path) -> None:
    folder = tmp_path / "in" / "deep"
    folder.mkdir(parents=True)
    for i in range(8):
        _image(i).save(folder / f"{i}.{('png', 'jpg', 'webp')[i % 3]}")
    first = _made(tmp_path / "a", _recipe(tmp_path / "in"))
    assert first == _made(tmp_path / "b", _recipe(tmp_path / "in"), workers=2)
    assert sorted(clip.video_id for clip in _clips(tmp_path / "a").values())[:2] == [
        "deep/0.png",
        "deep/1.jpg",
    ]
    # One image less, and the others' clips are what they were.
    (folder / "3.png").unlink()
    _made(tmp_path / "c", _recipe(tmp_path / "in"))
    whole, less = _clips(tmp_path / "a"), _clips(tmp_path / "c")
    assert less == {name: clip for name, clip in whole.items() if name != "deep/3.png#00000"}
    other = _made(tmp_path / "d", _recipe(tmp_path / "in", Panning(3, 16, seed=1)))
    assert other != first


def test_images_are_chosen_by_lot_and_may_give_several_clips(tmp_path: Path) -> None:
    source = _mixed(tmp_path / "lsun")
    chosen = [image.name for job in _recipe(source, num_clips=5).jobs for image in job.task.images]
    assert chosen == sorted(chosen)
    assert len(chosen) == 5
    assert chosen != [f"{i:040x}" for i in range(5)]
    more = {image.name for job in _recipe(source, num_clips=7).jobs for image in job.task.images}
    assert more > set(chosen)

    recipe = _recipe(source, num_clips=11, clips_per_image=3)
    _made(tmp_path / "out", recipe)
    clips = _clips(tmp_path / "out")
    assert len(clips) == 9
    assert len({clip.video_id for clip in clips.values()}) == 3
    assert len({clip.frames for clip in clips.values()}) == 9
    info = records.load_info(tmp_path / "out")
    assert [split.num_videos for split in info.splits.values()] == [2, 1]
    assert not recipe.notes
    (note,) = _recipe(source, num_clips=100, clips_per_image=2).notes
    assert "12 images, enough for 24 of 100 clips" in note


def test_odd_images(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    image = _image(0)
    image.convert("L").save(folder / "grey.png")
    image.convert("CMYK").save(folder / "cmyk.jpg")
    image.convert("RGBA").save(folder / "alpha.png")
    image.convert("P").save(folder / "palette.gif")
    Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 256).save(
        folder / "deep.png"
    )
    image.save(folder / "moving.gif", save_all=True, append_images=[_image(1)])
    turned = Image.Exif()
    turned[0x0112] = 6
    _image(0, 64, 32).save(folder / "turned.jpg", exif=turned)
    _made(tmp_path / "out", _recipe(folder))
    assert sorted(clip.video_id for clip in _clips(tmp_path / "out").values()) == sorted(
        path.name for path in folder.iterdir()
    )


def test_a_large_jpeg_is_decoded_small(tmp_path: Path) -> None:
    _image(0, 1024, 640).save(tmp_path / "large.jpg")
    read = trains.SourceImage("large.jpg", tmp_path / "large.jpg").read(_SMALL)
    assert read.size == (128, 80)
    assert min(read.size) >= 2 * _SMALL.size * _SMALL.zoom[1]


def test_bad_images_cost_themselves(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    values = {f"{i}": _encoded(_image(i), "WEBP") for i in range(4)}
    values |= {
        "empty": b"",
        "text": b"not an image" * 9,
        "small": _encoded(_image(0, 17, 17), "PNG"),
        "short": _encoded(_image(0, 300, 300), "JPEG")[:900],
    }
    source, out = _lmdb(tmp_path / "lsun", values), tmp_path / "out"
    command = ["trains", "--source", str(source), "--out", str(out), *_FLAGS, "--workers", "0"]
    assert prepare.main([*command, "--quiet"]) == 0
    written = capsys.readouterr()
    assert len(_clips(out)) == 4
    file = source / "data.mdb"
    for problem in (
        f"{file}: empty: is no picture that Pillow can read",
        f"{file}: text: is no picture that Pillow can read",
        f"{file}: small is 17×17, too small: at zoom 1.25 for frames of 16 pixels the shorter side "
        "must be at least 20",
        f"{file}: short: damaged or cut short",
    ):
        assert f"note: not used: {problem}" in written.err
    assert "8 images, enough for 8 of 100,005 clips" in written.err
    assert prepare.main([*command, "--quiet"]) == 0
    assert "nothing was to be done" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("none", "no such file or folder"),
        ("notes.txt", "is no LMDB, or is damaged at its start"),
        ("hollow", "there are no pictures in it; pictures are known by their suffix"),
        ("above", "give --source {tmp}/above/train_lmdb"),
        ("cut", "was cut short: it has 9,000 of"),
        ("bare", "is an LMDB without images"),
    ],
)
def test_sources_that_cannot_be_used(
    tmp_path: Path, source: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "notes.txt").write_text("trains are nice\n" * 99)
    (tmp_path / "hollow").mkdir()
    (tmp_path / "above").mkdir()
    _mixed(tmp_path / "above" / "train_lmdb")
    os.truncate(_mixed(tmp_path / "cut") / "data.mdb", 9000)
    _lmdb(tmp_path / "bare", {})
    out = tmp_path / "out"
    command = ["trains", "--source", str(tmp_path / source), "--out", str(out), *_FLAGS]
    assert prepare.main(command) == 2
    said = capsys.readouterr().err
    assert message.format(tmp=tmp_path) in said
    assert len(said.strip().splitlines()) == 1
    assert not out.exists()


def test_a_folder_that_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Root may read everything, so the system's refusal is put in its mouth."""
    (tmp_path / "locked").mkdir()
    scan = os.scandir

    def refuse(path: str) -> object:
        if str(path).endswith("locked"):
            raise PermissionError(13, "Permission denied", str(path))
        return scan(path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(ValueError, match=r"locked: folder cannot be read: Permission denied\)"):
        _recipe(tmp_path)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_clips": 0}, r"num_clips \(=0\)"),
        ({"clips_per_image": 0}, r"clips_per_image \(=0\)"),
        ({"num_clips": 2, "clips_per_image": 3}, r"num_clips \(=2\) must be at least clips_per"),
    ],
)
def test_bad_numbers(tmp_path: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        _recipe(_mixed(tmp_path / "lsun"), **options)


def test_killed_and_resumed_it_gives_the_same_bytes(tmp_path: Path) -> None:
    values = {f"{i:03d}": _encoded(_image(i, 60, 50), "JPEG") for i in range(192)}
    source, out = _lmdb(tmp_path / "lsun", values), tmp_path / "out"
    flags = ["--num-frames", "16", "--size", "24", "--format", "png", "--workers", "0"]
    command = ["trains", "--source", str(source), "--out", str(out), *flags]
    run = subprocess.Popen(
        [sys.executable, "-m", "vidgan_jax.prepare", *command],
        env=os.environ | {"PYTHONPATH": str(_ROOT)},
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 60
    while len(list(out.glob(".parts/*.tfrecord"))) < 5:
        assert run.poll() is None, "it was done before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.01)
    run.kill()
    run.wait()
    finished = {path.name: path.stat().st_mtime_ns for path in out.glob(".parts/*.json")}
    assert not (out / "info.json").exists()

    panning = Panning(num_frames=16, size=24)
    resumed = _made(out, _recipe(source, panning))
    assert len(finished) > 4
    assert resumed == _made(tmp_path / "whole", _recipe(source, panning))

"""The commands of `python -m vidgan_jax.prepare`, as a user types them."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.preparation.numbered import write_numbered
from vidgan_jax import prepare
from vidgan_jax.data import records
from vidgan_jax.data.labels import colorize
from vidgan_jax.prepare_commands.common import frame_rate

_ROOT = Path(__file__).parents[1]


def _command(*arguments: str | Path) -> list[str]:
    return [sys.executable, "-m", "vidgan_jax.prepare", *map(str, arguments)]


def _environment() -> dict[str, str]:
    return os.environ | {"PYTHONPATH": str(_ROOT)}


def _type(*arguments: str | Path) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        _command(*arguments), env=_environment(), capture_output=True, text=True, check=False
    )


def _scenes(out: Path, num_videos: int = 2) -> list[str]:
    clips = ["--clips-per-video", "2", "--num-frames", "4", "--size", "24"]
    scenes = ["--num-videos", str(num_videos), "--supersampling", "1"]
    return ["scenes", "--out", str(out), *scenes, *clips]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with two videos, one file that is none, and one that lies."""
    folder = tmp_path / "in"
    folder.mkdir()
    write_numbered(folder / "a.mp4", 30)
    write_numbered(folder / "b.webm", 30, codec="libvpx-vp9")
    (folder / "notes.txt").write_text("buy film")
    (folder / "liar.mp4").write_text("not a film\n" * 50)
    return folder


def test_scenes_check_and_index(tmp_path: Path) -> None:
    out = tmp_path / "out"
    made = _type(*_scenes(out))
    assert made.returncode == 0, made.stderr
    assert f"written to {out}" in made.stdout
    assert f"--config.data.path={out}" in made.stdout
    assert "2/2 videos" in made.stderr
    assert (out / "preview.png").exists()

    again = _type(*_scenes(out))
    assert again.returncode == 0, again.stderr
    assert "nothing was to be done" in again.stdout

    checked = _type("check", out)
    assert checked.returncode == 0, checked.stderr
    assert "all sound" in checked.stdout

    index = out / "train-00000-of-00001.tfrecord.index.npz"
    index.unlink()
    checked = _type("check", out)
    assert checked.returncode == 1
    assert "index" in checked.stderr
    rebuilt = _type("index", out)
    assert rebuilt.returncode == 0, rebuilt.stderr
    assert index.exists()
    assert _type("check", out).returncode == 0


def test_check_finds_a_corrupted_byte(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert prepare.main([*_scenes(tmp_path), "--workers", "0", "--quiet"]) == 0
    shard = tmp_path / "train-00000-of-00001.tfrecord"
    data = bytearray(shard.read_bytes())
    data[len(data) // 2] ^= 1
    shard.write_bytes(data)
    assert prepare.main(["check", str(tmp_path)]) == 1
    assert "train-00000-of-00001.tfrecord, record" in capsys.readouterr().err


def test_videos(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    options = ["--clip-seconds", "0.5", "--size", "32", "--fit", "stretch"]
    made = _type("videos", "--source", folder, "--out", out, *options)
    assert made.returncode == 0, made.stderr
    assert "left out 1 files that are no videos: notes.txt" in made.stdout
    assert f"not used: {folder / 'liar.mp4'}: is a text file, not a video" in made.stderr
    info = records.load_info(out)
    assert {name: split.num_clips for name, split in info.splits.items()} == {
        "train": 2,
        "validation": 2,
    }
    assert info.splits["train"].num_frames == 24
    assert json.loads((out / "report.json").read_text())["num_failed"] == 1
    again = _type("videos", "--source", folder, "--out", out, *options, "--strict")
    assert again.returncode == 1
    assert "nothing was to be done; --overwrite tries again" in again.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--source", "{empty}"], "no video files in"),
        (["--source", "{empty}/none.mp4"], "no such file or folder"),
        (["--source", "{in}/liar.mp4"], "is a text file, not a video"),
        (["--source", "{in}", "--num-frames", "0"], "num_frames (=0) must be at least 1"),
        (["--source", "{in}", "--num-frames", "500"], "a.mp4: too short for a clip"),
        (["--source", "{in}", "--quality", "0"], "quality (=0) must be from 1 to 100"),
        (["--source", "{in}", "--validation-fraction", "1"], "validation_fraction (=1) must be"),
    ],
)
def test_mistakes_are_one_clear_error(
    folder: Path,
    tmp_path: Path,
    arguments: list[str],
    message: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "empty").mkdir()
    places = {"empty": tmp_path / "empty", "in": folder}
    typed = [argument.format(**places) for argument in arguments]
    out = tmp_path / "out"
    assert prepare.main(["videos", *typed, "--out", str(out), "--workers", "0", "--quiet"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert message in error
    assert not list(out.glob("*.tfrecord"))
    assert not (out / "info.json").exists()


def test_videos_with_label_maps(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One of two has a map; what has none is told, and `check` finds the ids of no class."""
    maps, out = tmp_path / "maps", tmp_path / "out"
    maps.mkdir()
    ids = np.full((64, 64), 2, np.uint8)
    ids[32:] = 26
    Image.fromarray(colorize(ids)).save(maps / "a.png")
    cut = ["--clip-seconds", "0.5", "--size", "32", "--workers", "0", "--quiet"]
    typed = ["videos", "--source", str(folder), "--out", str(out), *cut, "--label-maps", str(maps)]
    assert prepare.main([*typed, "--num-labels", "27"]) == 0
    said = capsys.readouterr()
    assert f"2 of 3 videos have no label map in {maps}" in said.err
    assert "b.webm, liar.mp4" in said.err
    assert "label maps of 2 clips, with 2 classes in them" in said.out
    assert records.load_info(out).label_ids == (2, 26)
    assert json.loads((out / "report.json").read_text())["notes"][0].startswith("2 of 3 videos")
    assert prepare.main(["check", str(out), "--num-labels", "27"]) == 0
    capsys.readouterr()
    assert prepare.main(["check", str(out), "--num-labels", "26"]) == 1
    assert "label_map holds the id 26, but ids are 0 to 25" in capsys.readouterr().err
    assert prepare.main(["check", str(out), "--num-labels", "26", "--dont-care", "26"]) == 0


@pytest.mark.parametrize(
    ("typed", "message"),
    [
        (["videos", "--num-labels", "5"], "--num-labels is of --label-maps DIR; give that, too"),
        (["videos", "--dont-care", "0"], "--dont-care is of --label-maps DIR; give that, too"),
        (["videos", "--nearest-colours"], "--nearest-colours is of --label-maps DIR"),
        (["videos", "--label-maps", "{in}"], "holds no label map of any of the 3 videos"),
        (["videos", "--label-maps", "{in}", "--num-labels", "0"], "num_labels (=0) must be from 1"),
        (["check", "--dont-care", "3"], "--dont-care is of --num-labels N; give that, too"),
        (["check", "--num-labels", "300"], "num_labels (=300) must be from 1 to 255"),
    ],
)
def test_mistakes_with_label_maps(
    folder: Path,
    tmp_path: Path,
    typed: list[str],
    message: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    command, *options = (argument.format_map({"in": folder}) for argument in typed)
    out = str(tmp_path / "out")
    paths = [out] if command == "check" else ["--source", str(folder), "--out", out, "--quiet"]
    assert prepare.main([command, *paths, *options]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert message in error
    assert not (tmp_path / "out").exists()


def test_a_place_that_cannot_be_written_is_said_before_any_work(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("mine")
    out = str(tmp_path / "file" / "out")
    assert prepare.main(["videos", "--source", str(folder), "--out", out, "--quiet"]) == 2
    assert "file/out: cannot be written to" in capsys.readouterr().err


def test_no_such_data_set(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for command in ("check", "index"):
        assert prepare.main([command, str(tmp_path)]) == 2
        assert "the folder is empty" in capsys.readouterr().err


def test_options_are_not_abbreviated_nor_ignored(capsys: pytest.CaptureFixture[str]) -> None:
    for typed in (["scenes", "--num-vid", "2"], ["check", ".", "--deep"], []):
        with pytest.raises(SystemExit) as stop:
            prepare.main(typed)
        assert stop.value.code == 2
    assert "error" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "rate"), [("24", 24.0), ("30000/1001", 30000 / 1001), ("7.5", 7.5)]
)
def test_frame_rates(text: str, rate: float) -> None:
    assert frame_rate(text) == rate


def test_importing_it_does_not_import_jax() -> None:
    code = "import sys, vidgan_jax.prepare; sys.exit('jax' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], env=_environment(), check=True)


@pytest.mark.parametrize("stop", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_stopped_and_repeated_it_is_as_if_it_had_never_been_stopped(
    tmp_path: Path, stop: signal.Signals
) -> None:
    out, count = tmp_path / "out", 16
    # What a script starts in the background ignores Ctrl-C, and so would the tests' children.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    process = subprocess.Popen(
        _command(*_scenes(out, count), "--workers", "2"),
        env=_environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    signal.signal(signal.SIGINT, before)
    deadline = time.monotonic() + 30
    while len(list((out / ".parts").glob("[!.]*.tfrecord"))) < 3:
        assert time.monotonic() < deadline, "no parts after 30 s"
        assert process.poll() is None, "ended too early to be stopped"
        time.sleep(0.01)
    workers = _children(process.pid)
    process.send_signal(stop)
    assert process.wait(timeout=10) == (130 if stop == signal.SIGINT else -stop)
    assert not (out / "info.json").exists()
    while any(_is_alive(worker) for worker in workers):
        assert time.monotonic() < deadline, "a worker has outlived the run"
        time.sleep(0.01)
    made = {path.name for path in (out / ".parts").glob("[!.]*.tfrecord")}

    assert prepare.main([*_scenes(out, count), "--workers", "0", "--quiet"]) == 0
    assert 3 <= len(made) < count
    assert not (out / ".parts").exists()
    reference = tmp_path / "reference"
    assert prepare.main([*_scenes(reference, count), "--workers", "0", "--quiet"]) == 0
    assert records.load_info(out).checksum == records.load_info(reference).checksum
    assert not [path for path in out.iterdir() if path.name.startswith(".")]


def _children(process: int) -> list[int]:
    numbers = [int(entry.name) for entry in Path("/proc").glob("[0-9]*")]
    return [number for number in numbers if _stat(number)[1:2] == [str(process)]]


def _is_alive(process: int) -> bool:
    return _stat(process)[:1] not in ([], ["Z"])  # Nobody may be there to reap it.


def _stat(process: int) -> list[str]:
    """State, parent … of a process; empty where there is none."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()
    except OSError:
        return []

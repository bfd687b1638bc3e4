"""`python -m vidgan_jax.studio`: what it serves, and what it says where it can't."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.models_on_disk import save_model
from tests.runs import ROOT, fields, refuse
from vidgan_jax import studio

TINY = (
    *fields(model_size=16, model_features=2, model_max_features=2, model_z_dim=3),
    *fields(model_label_features=2, model_disc_features=2, model_disc_scales=1),
    *fields(model_disc_layers=1, data_resize=16),
)


@pytest.fixture(scope="module")
def maps(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of images of label maps, as the quickstart names it."""
    here = tmp_path_factory.mktemp("here")
    save_model(here / "quickstart/maps2d", "spade2d.py:smoke", TINY)
    return here


@contextlib.contextmanager
def started(folder: Path, *arguments: str) -> Iterator["subprocess.Popen[str]"]:
    """The verb in a process of its own, below a folder; ended whatever happens."""
    process = subprocess.Popen(
        [sys.executable, "-m", "vidgan_jax.studio", *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), "XDG_CACHE_HOME": str(folder / "cache")},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    killer = threading.Timer(120, process.kill)
    killer.start()
    try:
        yield process
    finally:
        killer.cancel()
        process.kill()
        process.communicate()


def test_it_serves_what_the_quickstart_trained_until_ctrl_c(maps: Path) -> None:
    with started(maps, "--port", "0") as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line.startswith("draw at http://127.0.0.1:")
        url = line.split()[2]
        with urllib.request.urlopen(f"{url}api/model", timeout=60) as answer:
            told = json.load(answer)
        assert (told["name"], told["size"], told["num_frames"]) == ("spade2d", 16, 0)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert out == ""
    first, last = err.splitlines()
    assert first.startswith("spade2d, step 0, of quickstart/maps2d; its 10 labels: the embedded")
    assert last == "interrupted"


def test_clips_come_before_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("maps2d", "maps3d"):
        (tmp_path / "quickstart" / name / "checkpoints/5/meta").mkdir(parents=True)
        (tmp_path / "quickstart" / name / "checkpoints/5/_CHECKPOINT_METADATA").touch()
    assert studio.trained_here() == Path("quickstart/maps3d")


def test_without_a_model_it_says_how_to_get_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    said = refuse(capsys, studio.main)
    assert "`bash launch/quickstart.sh maps` trains one" in said
    assert "no checkpoint in it" in refuse(capsys, studio.main, "--checkpoint", tmp_path)


def test_a_model_without_label_maps_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tiny = fields(model_size=8, model_features=4, model_max_features=4, model_z_dim=3)
    save_model(tmp_path, "resnet2d.py:smoke", (*tiny, *fields(data_resize=8)))
    said = refuse(capsys, studio.main, "--checkpoint", tmp_path, "--port", "0")
    assert "takes no label maps" in said
    assert "give a SPADE model's checkpoint" in said


def test_a_port_in_use_is_told_before_the_model_is_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        said = refuse(capsys, studio.main, "--checkpoint", tmp_path, "--port", str(port))
    assert said.startswith(f"error: --port (={port}) is in use; ")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--port", "65536"), r"--port (=65536) must be from 0, for any free one, to 65535"),
        (("--port", "-1"), r"--port (=-1) must be"),
        (("--host", "192.0.2.1", "--port", "0"), r"--host (=192.0.2.1) is no address of this"),
        (("--host", "no such name", "--port", "0"), r"--host (=no such name): "),
    ],
)
def test_mistakes(
    arguments: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert said in refuse(capsys, studio.main, "--checkpoint", "any", *arguments)


def test_without_the_extra_it_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delitem(sys.modules, "vidgan_jax.serving.app", raising=False)
    monkeypatch.setitem(sys.modules, "starlette.applications", None)
    said = refuse(capsys, studio.main, "--checkpoint", "any")
    assert "is not installed" in said
    assert said.endswith('pip install ".[studio]"\n')


def test_a_mistake_in_the_server_is_no_missing_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "vidgan_jax.serving.app", None)
    with pytest.raises(ImportError, match=r"vidgan_jax\.serving\.app"):
        studio.main(["--checkpoint", "any"])


class _Server:
    """In place of uvicorn's: compiles nothing, and is interrupted at once."""

    def __init__(self, app: Any, **_: object) -> None:
        self._compilation = app.state.compilation

    def run(self, sockets: list[socket.socket]) -> None:
        self._compilation.state = "ready"  # or the verb ends the process where it is
        raise KeyboardInterrupt


def test_other_hosts_are_warned_of(
    maps: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from vidgan_jax.serving import app

    monkeypatch.chdir(maps)
    monkeypatch.setattr(app, "make_server", _Server)
    assert studio.main(["--host", "0.0.0.0", "--port", "0"]) == 130
    written = capsys.readouterr()
    assert written.out.startswith(f"draw at http://{socket.gethostname()}:")
    assert "warning: --host 0.0.0.0 lets other machines use this one" in written.err
    assert studio.main(["--host", "localhost", "--port", "0"]) == 130
    assert "warning" not in capsys.readouterr().err


def test_names_by_which_browsers_may_call_it() -> None:
    for loopback in ("127.0.0.1", "::1", "localhost", "127.0.0.2"):
        assert studio.names_of(loopback) == []
    assert studio.names_of("0.0.0.0") == ["0.0.0.0", socket.gethostname()]

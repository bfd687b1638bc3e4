"""Conversion of VGG19, and of files that are none."""

import os
import pickle
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.reference_torch.vgg import Vgg19
from tests.runs import names, refuse, succeed
from vidgan_jax import convert
from vidgan_jax.models.vgg import Vgg19Features
from vidgan_jax.train import checkpoint, weights


class Reckless:
    """What runs a command as it is unpickled."""

    def __reduce__(self) -> Any:
        return os.mkdir, ("made-by-a-pickle",)


@pytest.fixture(scope="module")
def vgg19(tmp_path_factory: pytest.TempPathFactory) -> tuple[Vgg19, Path]:
    torch.manual_seed(0)
    module, path = Vgg19(), tmp_path_factory.mktemp("vgg") / "vgg19.pth"
    torch.save(module.state_dict(), path)
    return module, path


def test_vgg19(
    vgg19: tuple[Vgg19, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its features are PyTorch's; layers that nothing looks at are left aside."""
    module, path = vgg19
    out = tmp_path / "vgg19"
    succeed(convert.main, "vgg19", path, "--out", out)
    assert "VGG19 up to relu5_1, 12,944,960 parameters" in capsys.readouterr().out
    assert names(out) == ["network"]
    variables = weights.load_network(out)
    assert list(variables) == ["params"]
    frames = np.tanh(np.random.default_rng(0).standard_normal((1, 16, 16, 3), np.float32))
    features = Vgg19Features().apply(variables, frames)
    for ours, theirs in zip(features, module(torch.from_numpy(frames)), strict=True):
        wanted = theirs.detach().numpy()
        np.testing.assert_allclose(ours, wanted, rtol=0, atol=1e-5 * np.abs(wanted).max())
    text = refuse(capsys, convert.main, "vgg19", path, "--out", out)
    assert "has a network already; choose another --out" in text


def test_vgg19_is_told_from_others(
    vgg19: tuple[Vgg19, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """By names: an unknown one is refused, as is one that is missing or of another shape."""
    state = vgg19[0].state_dict()
    file, arguments = tmp_path / "other.pth", ("--out", tmp_path / "out")
    for change, text in (
        ({"features.36.weight": torch.ones(1)}, "has what VGG19 has not: features.36.weight"),
        ({"fc.weight": torch.ones(1)}, "has what VGG19 has not: fc.weight"),
        ({"features.0.weight": torch.ones(64, 3, 5, 5)}, "features.0.weight is (64, 3, 5, 5), and"),
    ):
        torch.save({**state, **change}, file)
        assert text in refuse(capsys, convert.main, "vgg19", file, *arguments)
    torch.save({k: v for k, v in state.items() if k != "features.28.bias"}, file)
    text = refuse(capsys, convert.main, "vgg19", file, *arguments)
    assert f"{file} lacks features.28.bias, which VGG19 has" in text
    assert not (tmp_path / "out").exists()


def test_networks_are_found_or_not(tmp_path: Path) -> None:
    written = weights.save_network(tmp_path / "net", {"params": {"w": np.ones(2)}}, {"a": 1})
    for path in (tmp_path / "net", written):
        np.testing.assert_array_equal(weights.load_network(path)["params"]["w"], np.ones(2))
    with pytest.raises(checkpoint.CheckpointError, match="nowhere does not exist"):
        weights.load_network(tmp_path / "nowhere")
    with pytest.raises(checkpoint.CheckpointError, match="has no network in it; python -m vidga"):
        weights.load_network(tmp_path)
    with pytest.raises(checkpoint.CheckpointError, match="has no checkpoint in it"):
        weights.load_weights(tmp_path / "net")
    for part in (written / "state").rglob("*"):
        if part.is_file():
            part.write_bytes(b"")
    with pytest.raises(checkpoint.CheckpointError, match="can't be read"):
        weights.load_network(tmp_path / "net")


# --- files


def test_both_formats_of_torch_are_read(vgg19: tuple[Vgg19, Path], tmp_path: Path) -> None:
    """The one before version 1.6, too; half precision; the names of DataParallel."""
    state = {f"module.{k}": v.half() for k, v in vgg19[0].state_dict().items()}
    torch.save(state, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    succeed(convert.main, "vgg19", tmp_path / "old.pth", "--out", tmp_path / "out")
    kernel = weights.load_network(tmp_path / "out")["params"]["conv1_1"]["kernel"]
    wanted = state["module.features.0.weight"].float().permute(2, 3, 1, 0)
    np.testing.assert_array_equal(kernel, wanted)
    assert kernel.dtype == np.float32


def test_files_that_are_none(
    vgg19: tuple[Vgg19, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """One line each, and no code of theirs is run."""
    monkeypatch.chdir(tmp_path)
    whole = vgg19[1].read_bytes()
    Path("cut.pth").write_bytes(whole[: len(whole) // 2])
    Path("text.pth").write_text("These are not weights.\n")
    Path("empty.pth").write_bytes(b"")
    Path("pickle.pth").write_bytes(pickle.dumps(Reckless()))
    torch.save({"a": Reckless()}, "code.pth")
    torch.save({}, "nothing.pth")
    torch.save(torch.ones(2), "tensor.pth")
    for file, text in (
        ("cut.pth", "cut.pth can't be read as a file of torch.save"),
        ("text.pth", "text.pth can't be read as a file of torch.save"),
        ("empty.pth", "empty.pth can't be read as a file of torch.save"),
        ("pickle.pth", "pickle.pth can't be read as a file of torch.save (Unpickl"),
        ("code.pth", "code.pth holds Python objects (posix.mkdir), which are run as they are"),
        ("nothing.pth", "nothing.pth holds an empty mapping; a state dict, names and tensors"),
        ("tensor.pth", "tensor.pth holds Tensor; a state dict, names and tensors, is wanted"),
        ("missing.pth", "missing.pth: No such file or directory"),
        (".", ".: Is a directory"),
    ):
        for form in ("vgg19", "spade"):
            assert text in refuse(capsys, convert.main, form, file, "--out", "out"), file
    assert not Path("made-by-a-pickle").exists()


def test_without_torch_the_user_is_told_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    text = refuse(capsys, convert.main, "vgg19", "a.pth", "--out", tmp_path / "out")
    assert 'torch, which is not installed: pip install ".[convert]"' in text


def test_flags_are_checked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for value in ("0", "nan", "1000"):
        arguments = ("spade", "g.pth", "--fps", value, "--out", tmp_path)
        assert "must be above 0 and at most 240" in refuse(capsys, convert.main, *arguments)
    with pytest.raises(SystemExit):
        convert.main(["onnx", "a.onnx", "--out", "out"])
    assert "invalid choice: 'onnx'" in capsys.readouterr().err

"""Conversion of CSAIL's segmenter, and of files that are none."""

from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
import torch

from tests.models.segmenters import TINY, tiny_variables, torch_tiny, write_tiny
from tests.runs import names, read_json, refuse, succeed
from vidgan_jax import convert
from vidgan_jax.models.segmenter import network_of
from vidgan_jax.segmentation import loading
from vidgan_jax.train import weights


@pytest.fixture(scope="module")
def paths(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return write_tiny(tmp_path_factory.mktemp("torch"))


def states() -> tuple[dict[str, Any], dict[str, Any]]:
    theirs = torch_tiny()
    return dict(theirs.encoder.state_dict()), dict(theirs.decoder.state_dict())


def test_segmenter(
    paths: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every weight is where it belongs; training's buffers are left aside, and nothing else."""
    out = tmp_path / "out"
    assert sum(name.endswith("_tmp_running_mean") for name in states()[0]) > 20
    succeed(convert.main, "segmenter", *paths, "--out", out)
    text = capsys.readouterr().out
    assert "dilated ResNet-20 with pyramid pooling, 5 classes" in text
    assert f"prepare nature --segmenter {out}" in text
    assert names(out) == ["network"]
    variables = weights.load_network(out)
    assert network_of(variables["params"]) == TINY
    jax.tree.map(np.testing.assert_array_equal, variables, tiny_variables())
    layer = variables["params"]["encoder"]["layer3_1"]
    statistics = variables["batch_stats"]["decoder"]["bn_pool_2"]
    of_encoder, of_decoder = states()
    kernel = of_encoder["layer3.1.conv2.weight"].permute(2, 3, 1, 0)
    np.testing.assert_array_equal(layer["conv_2"]["kernel"], kernel)
    np.testing.assert_array_equal(layer["bn_3"]["scale"], of_encoder["layer3.1.bn3.weight"])
    np.testing.assert_array_equal(statistics["var"], of_decoder["ppm.2.2.running_var"])
    assert loading.load(str(out)).classes == (0, 1, 2, 3, 4)
    text = refuse(capsys, convert.main, "segmenter", *paths, "--out", out)
    assert "has a network already; choose another --out" in text


def test_where_it_came_from_is_kept(paths: tuple[Path, Path], tmp_path: Path) -> None:
    succeed(convert.main, "segmenter", *paths, "--out", tmp_path)
    meta = read_json(tmp_path / "network" / "0" / "meta" / "metadata")
    assert meta["name"] == "segmenter"
    assert [file["file"] for file in meta["converted"]["files"]] == ["encoder.pth", "decoder.pth"]


def test_half_precision_and_names_of_several_devices(tmp_path: Path) -> None:
    files = tmp_path / "e.pth", tmp_path / "d.pth"
    for state, path in zip(states(), files, strict=True):
        half = {k: v.half() if v.is_floating_point() else v for k, v in state.items()}
        torch.save({f"module.{k}": v for k, v in half.items()}, path)
    succeed(convert.main, "segmenter", *files, "--out", tmp_path / "out")
    found = weights.load_network(tmp_path / "out")
    for ours, wanted in zip(jax.tree.leaves(found), jax.tree.leaves(tiny_variables()), strict=True):
        np.testing.assert_array_equal(ours, wanted.astype(np.float16).astype(np.float32))


def test_files_are_told_apart(
    paths: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    encoder, decoder = paths
    out = ("--out", tmp_path / "out")
    text = refuse(capsys, convert.main, "segmenter", decoder, encoder, *out)
    assert "the files are swapped: give the encoder first, then the decoder" in text
    text = refuse(capsys, convert.main, "segmenter", encoder, encoder, *out)
    assert "encoder.pth lacks conv_last.4.weight, which the segmenter's decoder has" in text
    text = refuse(capsys, convert.main, "segmenter", decoder, decoder, *out)
    assert "decoder.pth lacks layer1.0.conv1.weight, which the segmenter's encoder has" in text
    text = refuse(capsys, convert.main, "segmenter", encoder, tmp_path / "none.pth", *out)
    assert "none.pth: No such file or directory" in text
    (tmp_path / "text.pth").write_text("These are not weights.\n")
    text = refuse(capsys, convert.main, "segmenter", tmp_path / "text.pth", decoder, *out)
    assert "text.pth can't be read as a file of torch.save" in text
    with pytest.raises(SystemExit):
        convert.main(["segmenter", str(encoder), "--out", "out"])
    assert "the following arguments are required: DECODER" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("part", "name", "value", "text"),
    [
        (0, "layer4.1.bn2.running_var", None, "lacks layer4.1.bn2.running_var, which the segment"),
        (0, "layer4.0.conv1.weight", None, "lacks layer4.0.conv1.weight, which the segmenter's e"),
        (0, "layer1.0.conv3.weight", None, "lacks layer1.0.conv3.weight"),  # a ResNet-18 or -34
        (0, "fc.weight", torch.ones(2, 2), "has what the segmenter's encoder has not: fc.weight"),
        (0, "conv1.weight", torch.ones(4, 3, 7, 7), "conv1.weight is (4, 3, 7, 7), and (4, 3, 3,"),
        (1, "ppm.1.2.weight", torch.full((6,), torch.nan), "has values that are not finite"),
        (1, "ppm.4.1.weight", torch.ones(1), "has what the segmenter's decoder has not: ppm.4.1"),
        (1, "conv_last_deepsup.bias", None, "lacks conv_last_deepsup.bias"),
        (1, "conv_last.4.weight", torch.ones(256, 6, 1, 1), "256 classes, and at most 255 fit"),
        (1, "conv_last.4.weight", torch.ones(5, 6), "conv_last.4.weight (5, 6) must have 4 axes"),
    ],
)
def test_other_networks_are_refused(
    part: int,
    name: str,
    value: torch.Tensor | None,
    text: str,
    paths: tuple[Path, Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    state = {k: v for k, v in states()[part].items() if k != name}
    changed = tmp_path / "changed.pth"
    torch.save(state if value is None else {**state, name: value}, changed)
    files = [changed if i == part else path for i, path in enumerate(paths)]
    said = refuse(capsys, convert.main, "segmenter", *files, "--out", tmp_path / "out")
    assert text in said
    assert not (tmp_path / "out").exists()

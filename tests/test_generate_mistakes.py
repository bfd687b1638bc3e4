"""What `python -m vidgan_jax.generate` refuses, in one line and before any work."""

from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.runs import Runs, names, refuse, trained
from vidgan_jax import generate
from vidgan_jax.train.weights import save_weights


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--num=0"], r"--num \(=0\) must be at least 1"),
        (["--batch-size=0"], r"--batch-size \(=0\) must be at least 1"),
        (["--seed=-1"], r"--seed \(=-1\) must be from 0 to 4294967295"),
        (["--seed=4294967296"], "--seed .* must be from 0 to 4294967295"),
        (["--truncation=-1"], r"--truncation \(=-1.0\) must be above 0"),
        (["--truncation=nan"], r"--truncation \(=nan\) must be above 0"),
        (["--interpolate=4", "--num=1"], r"of at least two \(--num is 1\)"),
        (["--interpolate=-4"], r"--interpolate \(=-4\) is the number of frames"),
        (["--fps=0"], r"--fps \(=0.0\) must be above 0 and at most 240"),
        (["--fps=1e9"], "--fps .* must be above 0 and at most 240"),
        (["--interpolation=linear"], r"--interpolation \(=linear\) is of --interpolate FRAMES"),
        (["--no-rescale"], "--no-rescale is of --arithmetic EXPRESSION"),
        (
            ["--arithmetic=0 - 1", "--interpolate=4"],
            r"--arithmetic \('0 - 1'\) shows .* --interpolate \(=4\) .*; give one of the two",
        ),
        (["--arithmetic=3 - "], "arithmetic '3 - ': at the end: a latent's number, or a list"),
        (["--arithmetic="], "arithmetic '': at the end: a latent's number"),
        (["--arithmetic=(0,1\n)+x"], r"'\(0,1\\n\)\+x': at character 8 \('x'\): a latent's"),
        (["--arithmetic=100000"], "numbered from 0 to 99999"),
        (["--arithmetic=3 - 3"], "arithmetic '3 - 3' gives a latent of length 0"),
        (["--checkpoint={data}"], "has no checkpoint in it; give a workdir that was trained"),
        (["--checkpoint={data}/no"], "does not exist; give a workdir that was trained"),
        (["--out={data}/info.json/out"], "--out .*: nothing can be written there"),
        (["--out={data}/info.json"], "--out .*: nothing can be written there"),
    ],
)
def test_mistakes_are_told_before_any_work(
    runs: Runs,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    options: list[str],
    message: str,
) -> None:
    monkeypatch.delattr(generate, "run_generator")
    out = tmp_path / "out"
    filled = [option.format_map(vars(runs)) for option in options]
    with pytest.raises(ValueError, match=message):
        raise ValueError(
            refuse(capsys, generate.main, f"--checkpoint={runs.clips}", f"--out={out}", *filled)
        )
    assert not out.exists()


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("--format=.avi", "invalid choice: '.avi' (choose from"),
        ("--interpolation=cubic", "invalid choice: 'cubic' (choose from"),
        ("--num=few", "invalid int value: 'few'"),
        ("--config.model.size=3", "unknown argument --config.model.size=3"),
    ],
)
def test_unknown_values_show_the_usage(
    runs: Runs, tmp_path: Path, capsys: pytest.CaptureFixture[str], option: str, message: str
) -> None:
    with pytest.raises(SystemExit) as stopped:
        generate.main([f"--checkpoint={runs.clips}", f"--out={tmp_path / 'out'}", option])
    assert stopped.value.code == 2
    assert message in capsys.readouterr().err


def test_a_checkpoint_of_another_version_is_refused(
    runs: Runs, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A field that this code does not know: the message names it, and who wrote it."""
    _, weights = trained(runs.images)
    config = {**weights.meta["config"], "wings": 2}
    meta = {**weights.meta, "config": config, "code": "9.9"}
    save_weights(tmp_path / "new", gen=weights.gen, disc=weights.disc, ema=weights.ema, meta=meta)
    said = refuse(capsys, generate.main, f"--checkpoint={tmp_path / 'new'}", f"--out={tmp_path}")
    assert "config.wings" in said
    assert "it was saved by 9.9: use that" in said


def test_a_full_disk_leaves_whole_files_only(
    runs: Runs,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    whole = Image.Image.save

    def save(image: Image.Image, path: Path, **options: Any) -> None:
        if "0001" in path.name:
            path.write_bytes(b"half")
            raise OSError(28, "No space left on device", str(path))
        whole(image, path, **options)

    monkeypatch.setattr(Image.Image, "save", save)
    said = refuse(capsys, generate.main, f"--checkpoint={runs.images}", f"--out={tmp_path}")
    assert "No space left on device" in said
    assert names(tmp_path) == ["image_0000.png"]

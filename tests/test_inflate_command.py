"""`python -m vidgan_jax.inflate`: what it writes, what it measures, what it refuses."""

from pathlib import Path
from typing import Any

import chex
import jax
import numpy as np
import orbax.checkpoint as ocp
import pytest

from tests.runs import (
    CONFIG_3D,
    NUM_FRAMES,
    NUM_STEPS,
    TINY_2D,
    TINY_3D,
    Runs,
    fields,
    names,
    read_json,
    refuse,
    succeed,
    trained,
    type_in,
)
from vidgan_jax import inflate, main
from vidgan_jax.inflation import PROFILES, inflate_params

NETWORKS = {"generator", "generator_ema", "discriminator"}


def test_the_report_holds_what_was_measured(runs: Runs) -> None:
    report = read_json(runs.inflated / inflate.REPORT)
    assert report["tolerance"] == 1e-5
    assert report["within_tolerance"]
    assert set(report["networks"]) == NETWORKS
    for error in report["networks"].values():
        assert 0 <= error["relative"] < 1e-5
        assert 0 <= error["largest"] < 1e-5
    assert report["from"]["path"] == str(runs.images)
    assert report["from"]["step"] == NUM_STEPS
    assert report["profile"] == "average"
    assert names(runs.inflated) == ["checkpoints", inflate.REPORT]


def test_the_checkpoint_is_the_inflated_one(runs: Runs) -> None:
    """Both networks and the average, for the config given, at its frame rate."""
    exp, weights = trained(runs.inflated)
    source, images = trained(runs.images)
    assert exp.config.model.num_frames == NUM_FRAMES
    assert source.config.model.num_frames == 0
    assert weights.step == 0
    assert weights.meta["fps"] == 24.0 / exp.config.data.stride
    noise = exp.config.init.temporal_noise
    shapes = jax.eval_shape(exp.init_variables, jax.random.key(0))
    for got, have, wanted in (
        (weights.gen["params"], images.gen["params"], shapes[0]["params"]),
        (weights.disc["params"], images.disc["params"], shapes[1]["params"]),
        (weights.ema["params"], images.ema["params"], shapes[0]["params"]),
    ):
        expected = inflate_params(have, wanted, temporal_noise=noise)
        chex.assert_trees_all_equal(got, expected)


def test_the_measurement_is_one(runs: Runs) -> None:
    """What `measure` says of equal and of disturbed networks."""
    target, after = trained(runs.inflated)
    source, before = trained(runs.images)
    errors = {e.network: e for e in inflate.measure(source, target, before, after)}
    assert set(errors) == NETWORKS
    after.gen["params"]["conv_img"]["bias"] += np.float32(0.1)
    disturbed = {e.network: e for e in inflate.measure(source, target, before, after)}
    assert disturbed["generator"].relative > 1e-3
    assert disturbed["generator_ema"] == errors["generator_ema"]
    assert disturbed["discriminator"] == errors["discriminator"]


def test_above_tolerance_the_status_is_1_and_there_is_no_checkpoint(
    runs: Runs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A profile that does not sum to 1 is found out by the measurement, and told."""
    monkeypatch.setitem(PROFILES, "average", lambda taps: np.full(len(taps), 0.4))
    assert inflate.main([*TINY_3D, f"--from={runs.images}", f"--out={tmp_path}"]) == 1
    written = capsys.readouterr()
    assert written.err.startswith("error: the 3D networks differ from the 2D ones, so no checkp")
    assert names(tmp_path) == [inflate.REPORT]
    assert "above 1e-05" in written.out
    report = read_json(tmp_path / inflate.REPORT)
    assert not report["within_tolerance"]
    assert report["networks"]["generator"]["relative"] > 1e-5


def test_no_verify_measures_nothing(
    runs: Runs, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "a" / "b"
    succeed(inflate.main, *TINY_3D, "--no-verify", f"--from={runs.images}", f"--out={out}")
    assert names(out) == ["checkpoints"]
    assert str(out / "checkpoints" / "0") in capsys.readouterr().out


@pytest.mark.parametrize(
    "settings",
    [{"init_profile": "central", "init_temporal_noise": 0.0}, {"init_temporal_noise": 0.5}],
)
def test_profile_and_noise_come_from_the_config(
    runs: Runs, tmp_path: Path, settings: dict[str, Any]
) -> None:
    """Whatever they are, the contract holds."""
    start = f"--from={runs.images / 'checkpoints' / '2'}"
    succeed(inflate.main, *TINY_3D, *fields(**settings), start, f"--out={tmp_path}")
    report = read_json(tmp_path / inflate.REPORT)
    assert report["from"]["step"] == 2
    for name, value in settings.items():
        assert report[name.removeprefix("init_")] == value


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((*TINY_2D, "--from={images}"), r"of images \(model.num_frames = 0\); a 3D one is wanted"),
        ((*TINY_3D, "--from={clips}"), "holds a 3D network already; train on from it"),
        ((*TINY_3D, "--from={inflated}"), "holds a 3D network already"),
        ((*TINY_3D, "--from={data}"), "has no checkpoint in it; give a workdir"),
        ((*TINY_3D, "--from={data}/nowhere"), "nowhere does not exist; give a workdir"),
        (
            (*TINY_3D, *fields(model_z_dim=8), "--from={images}"),
            "of another architecture: model.z_dim is 4 there and 8 here; set these",
        ),
        (
            (*TINY_3D, *fields(model_features=8), "--from={images}"),
            "of another architecture: model.features is 4 there and 8 here",
        ),
        ((*TINY_3D, *fields(model_num_frames=3), "--from={images}"), "num_frames.*multiple of 2"),
        ((*TINY_3D, *fields(init_profile="mean"), "--from={images}"), "profile.*mean.*one of"),
        ((f"{CONFIG_3D}l", "--from={images}"), "no variant 'smokel'"),
    ],
)
def test_what_can_t_be_inflated_is_refused_and_nothing_made(
    runs: Runs,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    arguments: tuple[str, ...],
    message: str,
) -> None:
    out = tmp_path / "out"
    filled = [a.format_map(vars(runs)) for a in arguments]
    with pytest.raises(ValueError, match=message):
        raise ValueError(refuse(capsys, inflate.main, *filled, f"--out={out}"))
    assert not out.exists()


def test_out_must_be_free_and_writable(runs: Runs, capsys: pytest.CaptureFixture[str]) -> None:
    before = read_json(runs.inflated / inflate.REPORT)
    start = f"--from={runs.images}"
    said = refuse(capsys, inflate.main, *TINY_3D, start, f"--out={runs.inflated}")
    assert "has checkpoints already; choose another --out" in said
    assert read_json(runs.inflated / inflate.REPORT) == before
    for out in (runs.data / "info.json", runs.data / "info.json" / "below"):
        said = refuse(capsys, inflate.main, *TINY_3D, start, f"--out={out}")
        assert f"--out {out}: nothing can be written there" in said


def test_on_a_full_disk_no_half_of_a_checkpoint_stays(
    runs: Runs,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def full(manager: Any, step: int, **_: Any) -> None:
        cut_short = Path(manager.directory) / f"{step}.orbax-checkpoint-tmp" / "state"
        cut_short.mkdir(parents=True)
        # As tensorstore has it: no OSError.
        raise ValueError("RESOURCE_EXHAUSTED: Failed writing: No space left on device [spec]")

    monkeypatch.setattr(ocp.CheckpointManager, "save", full)
    typed = [*TINY_3D, "--no-verify", f"--from={runs.images}", f"--out={tmp_path}"]
    said = refuse(capsys, inflate.main, *typed)
    assert said == f"error: could not write {tmp_path}/checkpoints: no space left on the device\n"
    assert names(tmp_path / "checkpoints") == []
    monkeypatch.undo()
    succeed(inflate.main, *TINY_3D, f"--from={runs.images}", f"--out={tmp_path}")


def test_a_damaged_checkpoint_is_refused(
    runs: Runs, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    workdir, out = tmp_path / "damaged", tmp_path / "out"
    succeed(inflate.main, *TINY_3D, "--no-verify", f"--from={runs.images}", f"--out={workdir}")
    for item, kind in (("meta", "metadata"), ("state", "_METADATA")):
        (workdir / "checkpoints" / "0" / item / kind).unlink()
        on_it = [*TINY_3D, f"--config.data.path={runs.data}", f"--config.init.path={workdir}"]
        said = refuse(capsys, main.main, *on_it, f"--workdir={out}")
        assert f"{workdir / 'checkpoints' / '0'} can't be read (" in said
        assert "it is damaged" in said
        assert not out.exists()


def test_the_command_as_a_user_types_it(runs: Runs, tmp_path: Path) -> None:
    """A path relative to where one stands, a config relative to it, and overrides."""
    config = ["--config", "configs/resnet3d.py:smoke", *TINY_3D[1:]]
    made = type_in("inflate", "--from", runs.images, "--out", tmp_path / "out", *config)
    assert made.returncode == 0, made.stderr
    assert made.stderr == ""
    assert f"inflated {runs.images} (step {NUM_STEPS}) by 'average'" in made.stdout
    assert made.stdout.count("ok") == len(NETWORKS)
    assert (tmp_path / "out" / inflate.REPORT).exists()

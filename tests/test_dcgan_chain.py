"""DCGAN by the commands: trains, resumes, inflates, trains on in 3D, generates."""

import json
from pathlib import Path
from typing import Any

import chex
import numpy as np
import pytest

from tests.runs import (
    NUM_STEPS,
    ROOT,
    TINY_2D,
    TINY_3D,
    Runs,
    fields,
    logged,
    names,
    one_device,
    read_json,
    refuse,
    succeed,
    trained,
)
from vidgan_jax import generate, inflate, main
from vidgan_jax.train.weights import load_weights

CONFIG = f"--config={ROOT / 'configs'}"
PLAIN = fields(model_size=16, data_resize=16)
IMAGES = (f"{CONFIG}/dcgan2d.py:smoke", *TINY_2D[1:], *PLAIN)
CLIPS = (
    f"{CONFIG}/dcgan3d.py:smoke",
    *TINY_3D[1:],
    *PLAIN,
    *fields(model_num_frames=4, model_time_stages="(0,1)", data_stride=2),
)


def leaves(workdir: Path) -> Any:
    """All variables of a workdir's newest checkpoint."""
    weights = load_weights(workdir)
    return weights.gen, weights.disc, weights.ema


@pytest.fixture(scope="module")
def images(runs: Runs, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Trained to step 2, then on to step 3."""
    workdir = tmp_path_factory.mktemp("dcgan") / "images"
    data, place = f"--config.data.path={runs.data}", f"--workdir={workdir}"
    with one_device():
        succeed(main.main, *IMAGES, data, place, *fields(train_num_steps=NUM_STEPS - 1))
        succeed(main.main, *IMAGES, data, place)
    return workdir


def test_a_resumed_run_equals_one_that_was_not_interrupted(
    runs: Runs, images: Path, tmp_path: Path, fast: None
) -> None:
    """Running statistics and spectral vectors, too, bit for bit."""
    succeed(main.main, *IMAGES, f"--config.data.path={runs.data}", f"--workdir={tmp_path}")
    assert load_weights(tmp_path).step == load_weights(images).step == NUM_STEPS
    chex.assert_trees_all_equal(leaves(tmp_path), leaves(images))
    assert [line["step"] for line in logged(images)] == [1, 2, 3]


def test_inflated_with_the_moments_it_trains_and_generates(
    runs: Runs, images: Path, tmp_path: Path, fast: None
) -> None:
    start, clips, out = tmp_path / "start", tmp_path / "clips", tmp_path / "out"
    carry = fields(init_opt_state=True, init_profile="central")
    succeed(inflate.main, *CLIPS, *carry, f"--from={images}", f"--out={start}")
    report = read_json(start / inflate.REPORT)
    assert report["within_tolerance"]
    ways = {
        f"{network}{way}"
        for network in ("generator", "generator_ema", "discriminator")
        for way in ("", "_training")
    }
    assert set(report["networks"]) == ways
    moments = load_weights(start, moments=True).moments
    assert moments is not None
    kernel = moments["gen"]["nu"]["deconv_img"]["kernel"]
    chex.assert_shape(kernel, (4, 4, 4, 4, 3))
    assert (np.asarray(kernel) > 0).all()
    assert int(moments["gen"]["count"]) == NUM_STEPS
    on_it = [f"--config.data.path={runs.data}", f"--config.init.path={start}"]
    succeed(main.main, *CLIPS, *carry, *on_it, f"--workdir={clips}")
    exp, weights = trained(clips)
    assert weights.step == NUM_STEPS
    after = load_weights(clips, moments=True).moments
    assert after is not None
    assert int(after["gen"]["count"]) == 2 * NUM_STEPS  # went on, where schedules start anew
    succeed(generate.main, f"--checkpoint={clips}", "--num=2", f"--out={out}")
    assert {"clip_0000.mp4", "clip_0001.mp4", "contact_sheet.png"} <= set(names(out))
    assert json.loads((out / "generation.json").read_text())["shape"] == [2, *exp.example_shape]


def test_the_thesis_s_mode_is_written_and_said_not_to_be_exact(
    images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    how = fields(init_mode="thesis", init_temporal_noise=0.0)
    succeed(inflate.main, *CLIPS, *how, f"--from={images}", f"--out={tmp_path}")
    assert "mode 'thesis' is not exact, as measured" in capsys.readouterr().err
    report = read_json(tmp_path / inflate.REPORT)
    assert not report["within_tolerance"]
    assert report["mode"] == "thesis"
    relative = {name: error["relative"] for name, error in report["networks"].items()}
    assert relative["discriminator"] > 0.1
    # Transposed, 4 wide and of stride 2, averaged: ‖a‖₂ is 1, and the thesis's formula right.
    assert relative["generator"] < 1e-5


def test_moments_are_refused_where_there_are_none_or_of_another_optimiser(
    images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    start = tmp_path / "start"
    succeed(inflate.main, *CLIPS, "--no-verify", f"--from={images}", f"--out={start}")
    carry = [*CLIPS, *fields(init_opt_state=True), "--dry_run"]
    said = refuse(capsys, main.main, *carry, f"--config.init.path={start}")
    assert "has no optimisers' moments, which config.init.opt_state=True asks for" in said
    other = "--config.gen_optimizer.name=rmsprop"
    said = refuse(capsys, main.main, *carry, other, f"--config.init.path={images}")
    assert "config.gen_optimizer.name (='rmsprop') is 'adam' in" in said


def test_a_run_goes_on_with_the_same_layers_only(
    runs: Runs, images: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Spectral norm leaves no trace in the parameters, but in the state."""
    more = [f"--config.data.path={runs.data}", f"--workdir={images}", *fields(train_num_steps=9)]
    said = refuse(capsys, main.main, *IMAGES, *fields(model_disc_spectral_norm=False), *more)
    assert "holds other networks than the config describes: disc/spectral/" in said

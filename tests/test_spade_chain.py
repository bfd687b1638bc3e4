"""SPADE by the commands: trains on label maps, resumes, inflates, trains on in 3D, is refused."""

from pathlib import Path
from typing import Any

import chex
import numpy as np
import pytest
from PIL import Image

from tests.datasets import NUM_LABELS, make_dataset
from tests.runs import (
    NUM_STEPS,
    ROOT,
    TINY_2D,
    TINY_3D,
    fields,
    logged,
    names,
    one_device,
    read_json,
    refuse,
    succeed,
    trained,
)
from vidgan_jax import inflate, main
from vidgan_jax.train.weights import load_weights

CONFIG = f"--config={ROOT / 'configs'}"
SIZE = 16
PLAIN = (
    *fields(model_size=SIZE, model_label_features=4, model_num_labels=NUM_LABELS),
    *fields(model_disc_features=4, model_encoder_time_stages="(0,1)", data_resize=SIZE),
    "--config.loss.feature_weight=1.0",
)
IMAGES = (f"{CONFIG}/spade2d.py:smoke_vae", *TINY_2D[1:], *PLAIN)
CLIPS = (
    f"{CONFIG}/spade3d.py:smoke_vae",
    *TINY_3D[1:],
    *PLAIN,
    *fields(model_num_frames=4, data_stride=2),
)


def leaves(workdir: Path) -> Any:
    """All variables of a workdir's newest checkpoint."""
    weights = load_weights(workdir)
    return weights.gen, weights.disc, weights.ema


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_dataset(tmp_path_factory.mktemp("data"), size=SIZE, label_maps=True)


@pytest.fixture(scope="module")
def images(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Trained to step 2, then on to step 3."""
    workdir = tmp_path_factory.mktemp("spade") / "images"
    where = (f"--config.data.path={data}", f"--workdir={workdir}")
    with one_device():
        succeed(main.main, *IMAGES, *where, *fields(train_num_steps=NUM_STEPS - 1))
        succeed(main.main, *IMAGES, *where)
    return workdir


def test_a_resumed_run_equals_one_that_was_not_interrupted(
    data: Path, images: Path, tmp_path: Path, fast: None
) -> None:
    succeed(main.main, *IMAGES, f"--config.data.path={data}", f"--workdir={tmp_path}")
    assert load_weights(tmp_path).step == load_weights(images).step == NUM_STEPS
    chex.assert_trees_all_equal(leaves(tmp_path), leaves(images))
    lines = logged(images)
    assert [line["step"] for line in lines] == [1, 2, 3]
    terms = {"D", "D_fake", "D_real", "G", "G_fake", "G_l1", "G_kl", "G_feature"}
    assert terms <= set(lines[0])


def test_samples_stand_beside_their_maps(images: Path) -> None:
    """Four samples in a square, each as wide as two pictures: the map, in ADE20K's colours."""
    picture = np.asarray(Image.open(images / "samples" / "00000003.png"))
    height, width = picture.shape[:2]
    assert 1.8 < width / height < 2.2
    wall = np.array([0x78, 0x78, 0x78])  # id 0
    assert (picture == wall).all(-1).any()


def test_inflated_it_computes_the_same_and_trains(
    data: Path, images: Path, tmp_path: Path, fast: None
) -> None:
    start, clips = tmp_path / "start", tmp_path / "clips"
    succeed(inflate.main, *CLIPS, f"--from={images}", f"--out={start}")
    report = read_json(start / inflate.REPORT)
    assert report["within_tolerance"]
    parts = ("generator", "generator_ema", "encoder")
    both_modes = {f"{part}{way}" for part in parts for way in ("", "_training")}
    assert set(report["networks"]) == {*both_modes, "discriminator"}
    before, after = load_weights(images), load_weights(start)
    # What is read again is what was measured, the average's gains too.
    source, target = trained(images)[0], trained(start)[0]
    assert target.config.init.temporal_noise > 0
    assert all(e.relative < 1e-5 for e in inflate.measure(source, target, before, after))
    for name in ("mlp_shared", "mlp_gamma", "mlp_beta"):
        path = lambda weights, n=name: weights.gen["params"]["head"]["norm_0"][n]  # noqa: E731
        chex.assert_trees_all_equal(path(before), path(after))
    on_it = [f"--config.data.path={data}", f"--config.init.path={start}"]
    succeed(main.main, *CLIPS, *on_it, f"--workdir={clips}")
    exp, weights = trained(clips)
    assert weights.step == NUM_STEPS
    assert exp.example_shape == (4, SIZE, SIZE, 3)
    assert {"00000003.png", "00000003.mp4"} <= set(names(clips / "samples"))


def test_the_plan_is_shown_without_data(capsys: pytest.CaptureFixture[str]) -> None:
    succeed(main.main, f"{CONFIG}/spade3d.py:mid", "--config.loss.vgg_weight=0.0", "--dry_run")
    said = capsys.readouterr().out
    # The count with 182 labels, less 32 labels in the first layer of 18 norms.
    assert f"generator: {70_303_651 - 32 * 9 * 128 * 18:,} parameters" in said
    assert "mlp_gamma" in said


def test_vgg19_is_asked_for_before_anything_else(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [*IMAGES, f"--config.data.path={data}", f"--workdir={tmp_path / 'run'}"]
    said = refuse(capsys, main.main, *arguments, "--config.loss.vgg_weight=10.0")
    assert "config.loss.vgg_weight (=10.0) needs VGG19's weights" in said
    assert not (tmp_path / "run").exists()


def test_label_maps_that_do_not_fit_are_refused(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [*IMAGES, f"--workdir={tmp_path / 'run'}"]
    fewer = [f"--config.data.path={data}", *fields(model_num_labels=NUM_LABELS - 1)]
    said = refuse(capsys, main.main, *arguments, *fewer)
    assert str(data) in said
    assert f"{NUM_LABELS - 1}" in said
    plain = make_dataset(tmp_path / "plain", size=SIZE)
    said = refuse(capsys, main.main, *arguments, f"--config.data.path={plain}")
    assert "label maps are needed" in said
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["--config.model.num_labels=0"], "num_labels (=0) must be at least 1"),
        (["--config.loss.r1_gamma=1.0"], "r1_gamma (=1.0) needs one logit an example"),
        (["--config.model.disc_batch_norm=True"], "SPADE's discriminator has instance norm"),
        (["--config.model.encoder=False"], "kl_weight (=0.05) is of the encoder's latents"),
        (["--config.model.start=labels"], "config.model.start (='labels') has no use for any"),
        (["--config.model.start=noise"], "start (='noise') must be one of dense, labels"),
        (["--config.model.size=24", "--config.data.resize=24"], "config.model: size (=24) must be"),
        (
            ["--config.loss.vgg_weight=1.0", "--config.model.size=8"],
            "config.model: ",
        ),
        (["--config.vgg_weights=x"], "did you mean config.loss.vgg_weights?"),
    ],
)
def test_configs_that_make_no_sense_are_refused(
    overrides: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert words in refuse(capsys, main.main, *IMAGES, *overrides, "--dry_run")


@pytest.mark.parametrize("name", ["l1_weight", "vgg_weight", "feature_weight", "kl_weight"])
def test_terms_of_spade_are_refused_elsewhere(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    said = refuse(capsys, main.main, *TINY_2D, f"--config.loss.{name}=1.0", "--dry_run")
    assert f"config.loss.{name} (=1.0) " in said
    assert "set it to 0" in said

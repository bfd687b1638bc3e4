"""Weights of networks that nobody trains: found, checked, or asked for."""

from pathlib import Path

import jax
import jax.numpy as jnp
import pytest

from vidgan_jax import experiment
from vidgan_jax.experiment import Experiment
from vidgan_jax.train.checkpoint import CheckpointError
from vidgan_jax.train.frozen import frozen_weights
from vidgan_jax.train.weights import save_network


def built(*overrides: str) -> Experiment:
    config = experiment.load_config("configs/spade2d.py:small", overrides)
    return experiment.build(config)


def test_nothing_is_needed_where_no_term_looks_through_anything() -> None:
    assert frozen_weights(built("--config.loss.vgg_weight=0.0")) == {}


def test_the_user_is_told_how_to_get_vgg19_or_to_do_without() -> None:
    with pytest.raises(ValueError, match=r"vgg_weight \(=10\.0\) needs VGG19's weights") as error:
        frozen_weights(built())
    assert "convert vgg19 FILE.pth --out DIR" in str(error.value)
    assert "config.loss.vgg_weights=DIR; or switch the term off by" in str(error.value)


def test_weights_are_of_vgg19(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"nowhere"):
        frozen_weights(built(f"--config.loss.vgg_weights={tmp_path / 'nowhere'}"))
    other = tmp_path / "other"
    save_network(other, {"params": {"conv": {"kernel": jnp.zeros((3, 3, 3, 4))}}}, {})
    with pytest.raises(CheckpointError, match=r"conv1_1.*missing in the checkpoint"):
        frozen_weights(built(f"--config.loss.vgg_weights={other}"))


def test_they_are_read(tmp_path: Path) -> None:
    exp = built(f"--config.loss.vgg_weights={tmp_path / 'vgg19'}")
    assert exp.vgg is not None
    shapes = jax.eval_shape(exp.vgg.init, jax.random.key(0), exp.disc_inputs()[0])
    weights = jax.tree.map(lambda s: jnp.full(s.shape, 0.5), shapes)
    save_network(tmp_path / "vgg19", weights, {"name": "vgg19"})
    found = frozen_weights(exp)
    assert set(found) == {"vgg"}
    assert jax.tree.map(jnp.shape, found["vgg"]) == jax.tree.map(jnp.shape, weights)
    assert float(found["vgg"]["params"]["conv5_1"]["bias"][0]) == 0.5

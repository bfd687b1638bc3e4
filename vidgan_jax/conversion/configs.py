"""Whole configs around converted networks: the thesis's recipes, at the networks' size."""

import dataclasses
import pprint
import textwrap
from typing import Any

from vidgan_jax.config import (
    Config,
    DataConfig,
    InitConfig,
    LossConfig,
    ModelConfig,
    OptimizerConfig,
)
from vidgan_jax.config_run import TrainConfig


def spade(model: ModelConfig) -> dict[str, Any]:
    """SPADE's: hinge, L1 and VGG losses, Adam."""
    loss = LossConfig(
        adversarial="hinge",
        r1_gamma=0.0,
        r1_every_steps=1,
        l1_weight=10.0,
        vgg_weight=10.0,
        kl_weight=0.05 if model.encoder else 0.0,
    )
    adam = _optimizer("adam", learning_rate=2e-4, beta2=0.9)
    return _whole("spade2d", model, loss, adam, _train(batch_size=32, num_epochs=40.0))


def resnet(model: ModelConfig) -> dict[str, Any]:
    """The ResNet GAN's: logistic loss and R1, RMSProp."""
    loss = LossConfig(adversarial="logistic", r1_gamma=10.0, r1_every_steps=1)
    rmsprop = _optimizer("rmsprop", learning_rate=1e-4, decay_from=0.5)
    return _whole("resnet2d", model, loss, rmsprop, _train(batch_size=64, num_epochs=400.0))


def as_file(config: dict[str, Any]) -> str:
    """A config as a file for `--config`."""
    literal = textwrap.indent(pprint.pformat(config, width=92, sort_dicts=False), " " * 8)
    return (
        '"""The config of the converted networks that lie beside this file."""\n'
        "\n"
        "from ml_collections import ConfigDict\n"
        "\n"
        "\n"
        "def get_config() -> ConfigDict:\n"
        '    """What the networks are, and the recipe to train them on by."""\n'
        f"    return ConfigDict(\n{literal}\n    )\n"
    )


def _optimizer(
    name: str, *, learning_rate: float, beta2: float = 0.999, decay_from: float = 1.0
) -> OptimizerConfig:
    return OptimizerConfig(
        name=name,
        learning_rate=learning_rate,
        decay=0.99,
        beta1=0.0,
        beta2=beta2,
        eps=1e-8,
        decay_from=decay_from,
    )


def _train(*, batch_size: int, num_epochs: float) -> TrainConfig:
    return TrainConfig(
        seed=0,
        batch_size=batch_size,
        num_epochs=num_epochs,
        num_steps=0,
        num_disc_steps=1,
        ema_decay=0.999,
        log_every_steps=10,
        sample_every_steps=1000,
        save_every_steps=1000,
        keep_checkpoints=3,
        num_samples=16,
    )


def _whole(
    name: str, model: ModelConfig, loss: LossConfig, optimizer: OptimizerConfig, train: TrainConfig
) -> dict[str, Any]:
    data = DataConfig(
        path="",
        split="train",
        resize=model.size * 5 // 4,  # 160 for 128, as the thesis has it
        stride=3,
        start_frames=8,
        flip=True,
        num_workers=0,
        num_threads=2,
        num_scene_videos=96,
        num_scene_clips=2,
    )
    return dataclasses.asdict(
        Config(
            name=name,
            model=model,
            data=data,
            loss=loss,
            gen_optimizer=optimizer,
            disc_optimizer=optimizer,
            train=train,
            init=InitConfig(path="", profile="average"),
        )
    )

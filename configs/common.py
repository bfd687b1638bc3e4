"""Sections that the configs are composed of: literals only.

`vidgan_jax/config.py` says what every field means; a field that it doesn't know is refused.
"""

from ml_collections import ConfigDict


def resnet(*, num_frames: int) -> ConfigDict:
    """The ResNet GAN at the thesis's size; `num_frames` = 0 for images."""
    return ConfigDict(
        {
            "name": "resnet",
            "size": 128,
            "num_frames": num_frames,
            "z_dim": 256,
            "features": 64,
            "max_features": 1024,
            "time_stages": (0,),
            "init_scale": 1 / 3,
        }
    )


def data(*, stride: int = 3) -> ConfigDict:
    """Resized to 160×160, cropped, flipped; the embedded scenes where `path` is empty."""
    return ConfigDict(
        {
            "path": "",
            "split": "train",
            "resize": 160,
            "stride": stride,
            "start_frames": 8,
            "flip": True,
            "num_workers": 0,
            "num_threads": 2,
            "num_scene_videos": 96,
            "num_scene_clips": 2,
        }
    )


def logistic_r1() -> ConfigDict:
    """The logistic loss, non-saturating for the generator, with R1 in every step."""
    return ConfigDict({"adversarial": "logistic", "r1_gamma": 10.0, "r1_every_steps": 1})


def rmsprop(learning_rate: float, *, decay_from: float) -> ConfigDict:
    """RMSProp; the rate falls linearly to 0 from the share `decay_from` of training on."""
    return ConfigDict(
        {
            "name": "rmsprop",
            "learning_rate": learning_rate,
            "decay": 0.99,
            "beta1": 0.0,
            "beta2": 0.999,
            "eps": 1e-8,
            "decay_from": decay_from,
        }
    )


def training(*, batch_size: int, num_epochs: float) -> ConfigDict:
    """Length, logging, samples, checkpoints."""
    return ConfigDict(
        {
            "seed": 0,
            "batch_size": batch_size,
            "num_epochs": num_epochs,
            "num_steps": 0,
            "num_disc_steps": 1,
            "ema_decay": 0.999,
            "log_every_steps": 10,
            "sample_every_steps": 1000,
            "save_every_steps": 1000,
            "keep_checkpoints": 3,
            "num_samples": 16,
        }
    )


def init(*, path: str = "") -> ConfigDict:
    """Start from trained weights, inflated where they are of the 2D network."""
    return ConfigDict({"path": path, "profile": "average", "temporal_noise": 0.0})


def shrink(config: ConfigDict) -> None:
    """Makes a config learn something in minutes on two CPU cores.

    32×32 frames, narrow networks, a larger initial scale, lazy and weaker R1 (its weight goes with
    the number of pixels), and Adam, whose first steps are not as large as RMSProp's.
    """
    config.model.update(size=32, z_dim=64, features=16, max_features=128, init_scale=2.0)
    config.data.update(resize=40)
    config.loss.update(r1_gamma=0.2, r1_every_steps=4)
    for optimizer in (config.gen_optimizer, config.disc_optimizer):
        optimizer.update(name="adam", beta2=0.99)
    config.train.update(
        num_epochs=0.0, sample_every_steps=250, save_every_steps=250, ema_decay=0.99
    )

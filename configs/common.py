"""Sections that the configs are composed of: literals only.

`vidgan_jax/config.py` and `config_run.py` say what every field means; one that they don't know is
refused.
"""

from ml_collections import ConfigDict


def _model(name: str, num_frames: int, **fields: object) -> ConfigDict:
    return ConfigDict(
        {
            "name": name,
            "size": 128,
            "num_frames": num_frames,
            "gen_batch_norm": False,
            "disc_batch_norm": False,
            "gen_spectral_norm": False,
            "disc_spectral_norm": False,
            "gen_dtype": "float32",
            "disc_dtype": "float32",
            "gen_remat": False,
            "disc_remat": False,
            **fields,
        }
    )


def resnet(*, num_frames: int) -> ConfigDict:
    """The ResNet GAN at the thesis's size; `num_frames` = 0 for images."""
    return _model(
        "resnet",
        num_frames,
        z_dim=256,
        features=64,
        max_features=1024,
        time_stages=(0,),
        init_scale=1 / 3,
        layout="resnet",
        num_classes=0,
        embed_dim=0,
    )


def dcgan(*, num_frames: int) -> ConfigDict:
    """DCGAN at the thesis's size, with its spectral norm; `num_frames` = 0 for images."""
    return _model(
        "dcgan",
        num_frames,
        z_dim=64,
        features=64,
        max_features=512,
        time_stages=(0, 1, 2, 3, 4),
        init_scale=0.0,
        gen_batch_norm=True,
        disc_batch_norm=True,
        gen_spectral_norm=True,
        disc_spectral_norm=True,
    )


def vgan(*, num_frames: int) -> ConfigDict:
    """VGAN with two streams, 64×64, as in its paper; `num_frames` = 0 for images."""
    return _model(
        "vgan",
        num_frames,
        size=64,
        z_dim=100,
        features=64,
        max_features=512,
        time_stages=(0, 1, 2, 3),
        init_scale=0.0,
        gen_batch_norm=True,
        disc_batch_norm=True,
    )


def spade(
    *, num_frames: int, features: int, middle_blocks: int = 2, encoder: bool = False
) -> ConfigDict:
    """SPADE at the thesis's size; `num_frames` = 0 for images, `encoder` for the VAE."""
    return _model(
        "spade",
        num_frames,
        z_dim=256,
        features=features,
        max_features=16 * features,
        time_stages=(0, 1),
        init_scale=0.0,
        gen_batch_norm=True,
        gen_spectral_norm=True,
        disc_spectral_norm=True,
        num_labels=150,
        dont_care_channel=False,
        instance_edges=False,
        base_size=4,
        middle_blocks=middle_blocks,
        middle_upsampling=False,
        start="dense",
        label_features=128,
        encoder=encoder,
        encoder_size=0,
        encoder_time_stages=(0, 1, 2),
        disc_features=64,
        disc_layers=3,
        disc_scales=2,
        disc_last_stride=2,
        disc_padding=0,
    )


def data(*, resize: int = 160, stride: int = 3, start_frames: int = 8) -> ConfigDict:
    """Resized, cropped, flipped; the embedded scenes where `path` is empty."""
    return ConfigDict(
        {
            "path": "",
            "split": "train",
            "resize": resize,
            "stride": stride,
            "start_frames": start_frames,
            "flip": True,
            "num_workers": 0,
            "num_threads": 2,
            "num_scene_videos": 96,
            "num_scene_clips": 2,
            "dont_care": 255,
        }
    )


def loss(
    adversarial: str,
    *,
    r1_gamma: float = 0.0,
    mask_weight: float = 0.0,
    l1_weight: float = 0.0,
    vgg_weight: float = 0.0,
    kl_weight: float = 0.0,
) -> ConfigDict:
    """An adversarial loss; R1, R2, WGAN-GP's penalty and weight clipping go with any."""
    return ConfigDict(
        {
            "adversarial": adversarial,
            "r1_gamma": r1_gamma,
            "r1_every_steps": 1,
            "r2_gamma": 0.0,
            "gp_weight": 0.0,
            "weight_clip": 0.0,
            "least_squares": (-1.0, 1.0, 0.0),
            "mask_weight": mask_weight,
            "l1_weight": l1_weight,
            "vgg_weight": vgg_weight,
            "vgg_weights": "",
            "feature_weight": 0.0,
            "kl_weight": kl_weight,
        }
    )


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


def adam(learning_rate: float, *, beta1: float, beta2: float = 0.999) -> ConfigDict:
    """Adam at a constant rate."""
    return ConfigDict(
        {
            "name": "adam",
            "learning_rate": learning_rate,
            "decay": 0.99,
            "beta1": beta1,
            "beta2": beta2,
            "eps": 1e-8,
            "decay_from": 1.0,
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
            "grad_accum_steps": 1,
        }
    )


def init(*, path: str = "") -> ConfigDict:
    """Start from trained weights, inflated where they are of the 2D network."""
    return ConfigDict(
        {
            "path": path,
            "profile": "average",
            "temporal_noise": 0.0,
            "mode": "exact",
            "opt_state": False,
        }
    )


def mesh() -> ConfigDict:
    """All devices divide the batch, each with the whole state."""
    return ConfigDict({"data": -1, "fsdp": 1, "min_shard_size": 65536})


def faults() -> ConfigDict:
    """Whatever breaks ends the run, with what was trained until then saved."""
    return ConfigDict(
        {
            "not_finite": "stop",
            "max_rollbacks": 3,
            "damaged_records": "stop",
            "max_skipped_records": 100,
            "failed_saves": "stop",
        }
    )


def watch() -> ConfigDict:
    """Signs of collapse are warned of."""
    return ConfigDict(
        {
            "on_collapse": "warn",
            "every_steps": 100,
            "patience_steps": 500,
            "max_gen_loss": 7.0,
            "max_disc_accuracy": 0.99,
            "min_diversity": 0.01,
            "min_motion": 0.0005,
            "min_contrast": 0.02,
        }
    )


def shrink(config: ConfigDict) -> None:
    """Makes a config one for minutes on two CPU cores: 32×32 frames, narrow networks."""
    config.model.update(size=32, z_dim=64, features=16, max_features=128)
    config.data.update(resize=40)
    config.train.update(
        num_epochs=0.0, sample_every_steps=250, save_every_steps=250, ema_decay=0.99
    )
    config.watch.update(every_steps=25, patience_steps=100)


def hurry_resnet(config: ConfigDict) -> None:
    """Makes a shrunk ResNet GAN learn within minutes.

    A larger initial scale, lazy and weaker R1 (its weight goes with the number of pixels), and
    Adam, whose first steps are not as large as RMSProp's, at a higher rate.
    """
    config.model.init_scale = 2.0
    config.loss.update(r1_gamma=0.2, r1_every_steps=4)
    for optimizer in (config.gen_optimizer, config.disc_optimizer):
        optimizer.update(name="adam", beta2=0.99, learning_rate=1e-3)


def study_clips(config: ConfigDict, *, num_steps: int) -> None:
    """Makes a shrunk config of clips one of `launch/inflation_study.sh`'s, scored four times."""
    config.model.num_frames = 8
    config.data.update(stride=3, start_frames=8)
    config.train.update(
        batch_size=16,
        num_steps=num_steps,
        log_every_steps=4,
        sample_every_steps=num_steps,
        save_every_steps=num_steps // 4,
        keep_checkpoints=4,
        ema_decay=0.95,  # forgets its start within the first quarter
    )


def spade_recipe(name: str, variant: str, *, num_frames: int) -> ConfigDict:
    """The thesis's recipe for SPADE, in one of its sizes; batch and epochs are left to the caller.

    Raises:
      ValueError: no such variant; `configs/NAME.py` lists them.
    """
    sizes = {"small": (16, 1), "mid": (32, 2), "full": (64, 2), "smoke": (16, 1)}
    size, _, style = (variant or "small").partition("_")
    if size not in sizes or style not in ("", "vae") or (size, style) == ("full", "vae"):
        raise ValueError(
            f"configs/{name}.py has no variant {variant!r}; there are :small, :mid, :full, "
            ":small_vae, :mid_vae, :smoke, :smoke_vae"
        )
    features, middle_blocks = sizes[size]
    vae = style == "vae"
    return ConfigDict(
        {
            "name": name,
            "model": spade(
                num_frames=num_frames,
                features=features,
                middle_blocks=middle_blocks,
                encoder=vae,
            ),
            "data": data(),
            "loss": loss("hinge", l1_weight=10.0, vgg_weight=10.0, kl_weight=0.05 if vae else 0.0),
            "gen_optimizer": adam(2e-4, beta1=0.0, beta2=0.9),
            "disc_optimizer": adam(2e-4, beta1=0.0, beta2=0.9),
            "train": training(batch_size=1, num_epochs=1.0),
            "init": init(),
            "mesh": mesh(),
            "faults": faults(),
            "watch": watch(),
        }
    )


def shrink_spade(config: ConfigDict) -> None:
    """Makes a recipe for SPADE one for minutes on two CPU cores: 64×64 frames, narrow networks.

    VGG19, whose weights are a file of yours, is switched off.
    """
    config.loss.vgg_weight = 0.0
    config.model.update(size=64, z_dim=64, max_features=128, label_features=32, disc_features=32)
    config.data.update(resize=80)
    config.train.update(
        num_epochs=0.0, sample_every_steps=250, save_every_steps=250, ema_decay=0.99
    )
    config.watch.update(every_steps=25, patience_steps=100)

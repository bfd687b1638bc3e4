"""VGAN, two streams: a moving foreground in front of a still background; clips of 32 frames, 64×64.

`:2d` is its network of images, to be inflated from; `:smoke` and `:smoke2d` are for two CPU cores.
"""

from ml_collections import ConfigDict

from configs import common


def get_config(variant: str = "") -> ConfigDict:
    """The config of a variant: "", "2d", "smoke" or "smoke2d"."""
    if variant not in ("", "2d", "smoke", "smoke2d"):
        raise ValueError(
            f"configs/vgan.py has no variant {variant!r}; there are :2d, :smoke and :smoke2d"
        )
    images = variant.endswith("2d")
    config = ConfigDict(
        {
            "name": "vgan2d" if images else "vgan",
            "model": common.vgan(num_frames=0 if images else 32),
            "data": common.data(resize=80, stride=1, start_frames=0),
            "loss": common.loss("logistic", mask_weight=0.1),
            "gen_optimizer": common.adam(2e-4, beta1=0.5),
            "disc_optimizer": common.adam(2e-4, beta1=0.5),
            "train": common.training(batch_size=64, num_epochs=100.0),
            "init": common.init(),
            "mesh": common.mesh(),
            "faults": common.faults(),
            "watch": common.watch(),
        }
    )
    if variant.startswith("smoke"):
        common.shrink(config)
        config.model.features = 32
        config.train.update(batch_size=16, num_steps=2000)
    if variant == "smoke":
        config.model.update(num_frames=16, time_stages=(0, 1, 2))
        config.data.stride = 2
        config.train.update(batch_size=8, num_steps=150)
        config.init.temporal_noise = 1.0
    return config

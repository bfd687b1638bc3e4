"""ResNet GAN on single frames, the thesis's recipe; `:smoke` for two CPU cores and minutes."""

from ml_collections import ConfigDict

from configs import common


def get_config(variant: str = "") -> ConfigDict:
    """The config of a variant: "" or "smoke"."""
    config = ConfigDict(
        {
            "name": "resnet2d",
            "model": common.resnet(num_frames=0),
            "data": common.data(),
            "loss": common.loss("logistic", r1_gamma=10.0),
            "gen_optimizer": common.rmsprop(1e-4, decay_from=0.5),
            "disc_optimizer": common.rmsprop(1e-4, decay_from=0.5),
            "train": common.training(batch_size=64, num_epochs=400.0),
            "init": common.init(),
        }
    )
    if variant == "smoke":
        common.shrink(config)
        common.hurry_resnet(config)
        config.train.update(batch_size=16, num_steps=3000)
    elif variant:
        raise ValueError(f"configs/resnet2d.py has no variant {variant!r}; there is :smoke")
    return config

"""ResNet GAN on single frames, the thesis's recipe; `:smoke` for two CPU cores and minutes, and
`:study` for `launch/inflation_study.sh`."""

from ml_collections import ConfigDict

from configs import common


def get_config(variant: str = "") -> ConfigDict:
    """The config of a variant: "", "smoke" or "study"."""
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
            "mesh": common.mesh(),
            "faults": common.faults(),
            "watch": common.watch(),
        }
    )
    if variant == "smoke":
        common.shrink(config)
        common.hurry_resnet(config)
        config.train.update(batch_size=16, num_steps=3000)
    elif variant == "study":
        common.shrink(config)
        common.hurry_resnet(config)
        config.model.update(size=16, max_features=64)
        config.data.resize = 20
        config.train.update(batch_size=16, num_steps=1500)
    elif variant:
        raise ValueError(
            f"configs/resnet2d.py has no variant {variant!r}; there are :smoke, :study"
        )
    return config

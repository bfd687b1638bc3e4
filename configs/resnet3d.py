"""ResNet GAN on clips of 8 frames, the thesis's recipe; `:smoke` for two CPU cores and minutes, and
`:study` for `launch/inflation_study.sh`.

Set `init.path` to a trained 2D workdir or to an inflated checkpoint: from scratch, the thesis saw
this network collapse within an epoch.
"""

from ml_collections import ConfigDict

from configs import common


def get_config(variant: str = "") -> ConfigDict:
    """The config of a variant: "", "smoke" or "study"."""
    config = ConfigDict(
        {
            "name": "resnet3d",
            "model": common.resnet(num_frames=8),
            "data": common.data(),
            "loss": common.loss("logistic", r1_gamma=10.0),
            "gen_optimizer": common.rmsprop(1e-5, decay_from=1.0),
            "disc_optimizer": common.rmsprop(3e-5, decay_from=1.0),
            "train": common.training(batch_size=16, num_epochs=20.0),
            "init": common.init(),
            "mesh": common.mesh(),
            "faults": common.faults(),
            "watch": common.watch(),
        }
    )
    if variant == "smoke":
        common.shrink(config)
        common.hurry_resnet(config)
        config.train.update(batch_size=8, num_steps=150)
        config.init.temporal_noise = 1.0  # movement within hundreds of steps, not thousands
    elif variant == "study":
        common.shrink(config)
        common.hurry_resnet(config)
        config.model.update(size=16, max_features=64)
        config.data.resize = 20
        common.study_clips(config, num_steps=120)
        config.train.batch_size = 8
    elif variant:
        raise ValueError(
            f"configs/resnet3d.py has no variant {variant!r}; there are :smoke, :study"
        )
    return config

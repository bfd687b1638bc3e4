"""DCGAN on clips of 32 frames, the thesis's recipe; `:smoke` for two CPU cores and minutes, and
`:study` for `launch/inflation_study.sh`.

Set `init.path` to a trained 2D workdir or to an inflated checkpoint; without it, it is VGAN's
one-stream network from scratch. Five stages double time, 1 to 32 frames; with `size=64` there are
four, so set `model.time_stages=(0,1,2,3)`: clips then grow from 2 frames.
"""

from ml_collections import ConfigDict

from configs import common


def get_config(variant: str = "") -> ConfigDict:
    """The config of a variant: "", "smoke" or "study"."""
    config = ConfigDict(
        {
            "name": "dcgan3d",
            "model": common.dcgan(num_frames=32),
            "data": common.data(stride=1, start_frames=0),
            "loss": common.loss("hinge"),
            "gen_optimizer": common.adam(2e-4, beta1=0.0),
            "disc_optimizer": common.adam(2e-4, beta1=0.0),
            "train": common.training(batch_size=32, num_epochs=80.0),
            "init": common.init(),
            "mesh": common.mesh(),
            "faults": common.faults(),
            "watch": common.watch(),
        }
    )
    if variant == "smoke":
        common.shrink(config)
        config.model.update(num_frames=16, features=32, time_stages=(0, 1, 2))
        config.data.stride = 2
        config.train.update(batch_size=8, num_steps=150)
        config.init.temporal_noise = 1.0  # movement within hundreds of steps, not thousands
    elif variant == "study":
        common.shrink(config)
        config.model.update(features=32, time_stages=(0, 1, 2))
        common.study_clips(config, num_steps=160)
    elif variant:
        raise ValueError(f"configs/dcgan3d.py has no variant {variant!r}; there are :smoke, :study")
    return config

"""DCGAN on single frames, the thesis's recipe; `:smoke` for two CPU cores and minutes, and
`:study` for `launch/inflation_study.sh`.

Other sizes by `--config.model.size=64`, with `--config.data.resize=80`.
"""

from ml_collections import ConfigDict

from configs import common


def get_config(variant: str = "") -> ConfigDict:
    """The config of a variant: "", "smoke" or "study"."""
    config = ConfigDict(
        {
            "name": "dcgan2d",
            "model": common.dcgan(num_frames=0),
            "data": common.data(stride=1, start_frames=0),
            "loss": common.loss("hinge"),
            "gen_optimizer": common.adam(2e-4, beta1=0.0),
            "disc_optimizer": common.adam(2e-4, beta1=0.0),
            "train": common.training(batch_size=64, num_epochs=100.0),
            "init": common.init(),
            "mesh": common.mesh(),
            "faults": common.faults(),
            "watch": common.watch(),
        }
    )
    if variant == "smoke":
        common.shrink(config)
        config.model.features = 32
        config.train.update(batch_size=16, num_steps=2000)
    elif variant == "study":
        common.shrink(config)
        config.model.features = 32
        config.train.update(batch_size=16, num_steps=1500)
    elif variant:
        raise ValueError(f"configs/dcgan2d.py has no variant {variant!r}; there are :smoke, :study")
    return config

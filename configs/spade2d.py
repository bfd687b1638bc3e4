"""SPADE on single frames, label maps to images, the thesis's recipe in its sizes: `:small` (the
default), `:mid`, `:full`, `:small_vae`, `:mid_vae`; `:smoke` and `:smoke_vae` for two CPU cores and
minutes.

The loss looks through VGG19, whose weights are a file of yours: `config.loss.vgg_weights`.
"""

from ml_collections import ConfigDict

from configs import common


def get_config(variant: str = "") -> ConfigDict:
    """The config of a variant, see above."""
    config = common.spade_recipe("spade2d", variant, num_frames=0)
    config.train.update(batch_size=32, num_epochs=40.0)
    if variant.startswith("smoke"):
        common.shrink_spade(config)
        config.train.update(batch_size=8, num_steps=1500)
    return config

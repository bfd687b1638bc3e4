"""SPADE on clips of 8 frames, label maps to video, the thesis's recipe in its sizes: `:small` (the
default), `:mid`, `:full`, `:small_vae`, `:mid_vae`; `:smoke` and `:smoke_vae` for two CPU cores and
minutes.

Set `init.path` to a 2D workdir of the same size, or to an inflated checkpoint. The loss looks
through VGG19, whose weights are a file of yours: `config.loss.vgg_weights`.
"""

from ml_collections import ConfigDict

from configs import common


def get_config(variant: str = "") -> ConfigDict:
    """The config of a variant, see above."""
    config = common.spade_recipe("spade3d", variant, num_frames=8)
    config.train.update(batch_size=8, num_epochs=5.0)
    if variant.startswith("smoke"):
        common.shrink_spade(config)
        config.train.update(batch_size=4, num_steps=150)
        # Movement sooner: taps that differ, none that smoothes what the small end brings in, and
        # less of the L1 that asks for the mean of all clips, which is a still one.
        config.init.update(profile="central", temporal_noise=0.3)
        config.loss.l1_weight = 1.0
    return config

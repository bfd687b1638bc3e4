"""Networks that nobody trains, which terms of a loss look through."""

import jax
from flax.typing import VariableDict

from vidgan_jax.experiment import Experiment
from vidgan_jax.terms import VGG
from vidgan_jax.train import checkpoint, weights


def frozen_shapes(experiment: Experiment) -> dict[str, VariableDict]:
    """Shapes of the weights that the config's loss needs, by the network's name."""
    if experiment.vgg is None:
        return {}
    example = jax.ShapeDtypeStruct((1, *experiment.example_shape), "float32")
    return {VGG: jax.eval_shape(experiment.vgg.init, jax.random.key(0), example)}


def frozen_weights(experiment: Experiment) -> dict[str, VariableDict]:
    """Reads the weights that the config's loss needs, by the network's name.

    Raises:
      ValueError: VGG19's are needed, and the config doesn't say where they are; how to get them.
      CheckpointError: they can't be read, or are of another network.
    """
    loss = experiment.config.loss
    if experiment.vgg is None:
        return {}
    if not loss.vgg_weights:
        raise ValueError(
            f"config.loss.vgg_weight (={loss.vgg_weight}) needs VGG19's weights: get torchvision's "
            "vgg19 .pth file, convert it by `python -m vidgan_jax.convert vgg19 FILE.pth --out "
            "DIR`, and set config.loss.vgg_weights=DIR; or switch the term off by "
            "config.loss.vgg_weight=0"
        )
    found = weights.load_network(loss.vgg_weights)
    wanted = frozen_shapes(experiment)[VGG]
    checkpoint.check_same_networks(found, wanted, where=loss.vgg_weights)
    return {VGG: found}

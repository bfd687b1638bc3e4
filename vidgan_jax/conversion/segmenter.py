"""CSAIL's segmenter of ADE20K: the files of its encoder, `resnet50dilated`, and its decoder.

The decoder is `ppm_deepsup`. Channels, blocks and classes are read from the shapes: a ResNet-101,
or a segmenter of fewer classes, is converted likewise.
"""

import re

from flax.typing import VariableDict

from vidgan_jax.conversion.state_dicts import Names, Path, StateDict, to_variables
from vidgan_jax.models.segmenter import Segmenter

ENCODER, DECODER = "the segmenter's encoder", "the segmenter's decoder"
_MAX_CLASSES = 255  # an id is one byte, and 255 is of no class
# What its synchronised batch norm keeps beside the statistics that evaluation uses.
_UNUSED = re.compile(
    r"(.+\.)?(_tmp_running_mean|_tmp_running_var|_running_iter|num_batches_tracked)"
)
_OF_ENCODER, _OF_DECODER = "layer1.0.conv1.weight", "conv_last.4.weight"
_IN_BLOCK = {"conv_shortcut": "downsample.0", "bn_shortcut": "downsample.1"}
_DECODER_LAYERS = {
    "conv_join": "conv_last.0",
    "bn_join": "conv_last.1",
    "conv_logit": "conv_last.4",
    "conv_deep": "cbr_deepsup.0",
    "bn_deep": "cbr_deepsup.1",
    "conv_deep_logit": "conv_last_deepsup",
}
_IN_POOL = {"conv": "1", "bn": "2"}


def network(encoder: StateDict, decoder: StateDict) -> Segmenter:
    """The network that two state dicts are of.

    Raises:
      ValueError: the files are swapped, or of another network.
    """
    if _OF_DECODER in encoder and _OF_ENCODER in decoder:
        raise ValueError("the files are swapped: give the encoder first, then the decoder")
    blocks = []
    for i in (1, 2, 3, 4):
        encoder.shape(f"layer{i}.0.conv1.weight", 4)
        number = 1
        while f"layer{i}.{number}.conv1.weight" in encoder:
            number += 1
        blocks.append(number)
    num_classes = decoder.shape(_OF_DECODER, 4)[0]
    if num_classes > _MAX_CLASSES:
        raise ValueError(f"the decoder has {num_classes} classes, and at most 255 fit a label map")
    return Segmenter(
        num_classes=num_classes,
        stem=tuple(encoder.shape(f"conv{i}.weight", 4)[0] for i in (1, 2, 3)),
        blocks=tuple(blocks),
        features=encoder.shape(_OF_ENCODER, 4)[0],
        head_features=decoder.shape("conv_last.0.weight", 4)[0],
    )


def variables(wanted: VariableDict, encoder: StateDict, decoder: StateDict) -> VariableDict:
    """The segmenter's variables.

    Raises:
      ValueError: something is missing, left over or of another shape.
    """
    found: dict[str, dict[str, VariableDict]] = {collection: {} for collection in wanted}
    for part, state, layer in (
        ("encoder", encoder, _encoder_layer),
        ("decoder", decoder, _decoder_layer),
    ):
        of_part = {collection: tree[part] for collection, tree in wanted.items()}
        for collection, tree in to_variables(of_part, state, Names(layer)).items():
            found[collection][part] = tree
        state.refuse_the_rest(lambda name: bool(_UNUSED.fullmatch(name)))
    return found


def _encoder_layer(path: Path) -> str:
    *block, layer = path
    name = _IN_BLOCK.get(layer, layer.replace("_", ""))
    return ".".join([*(part.replace("_", ".") for part in block), name])


def _decoder_layer(path: Path) -> str:
    (layer,) = path
    kind, _, number = layer.partition("_pool_")
    return f"ppm.{number}.{_IN_POOL[kind]}" if number else _DECODER_LAYERS[layer]

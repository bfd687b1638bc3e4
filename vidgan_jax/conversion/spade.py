"""NVlabs/SPADE's generator, discriminator and encoder.

Facts of its public code (Park, Liu, Wang, Zhu 2019, arXiv:1903.07291): the small end has 16·nf
channels and is made of the label map, or of a latent where there is an encoder; five upsamplings,
six ("more") or seven ("most", with another block); batch norm in SPADE's normalisation, or instance
norm, which has no state.
"""

import dataclasses
import math
import re
from collections.abc import Mapping
from typing import Any

from flax.typing import VariableDict

from vidgan_jax.config import ModelConfig
from vidgan_jax.conversion.state_dicts import Names, Path, StateDict, to_variables

UPSAMPLINGS = {"normal": 5, "more": 6, "most": 7}
DEFAULT_SIZE = 256
GENERATOR, DISCRIMINATOR, ENCODER = (
    f"SPADE's {network}" for network in ("generator", "discriminator", "encoder")
)

_START = 16  # times nf: channels at the small end
_ENCODER_END = 4  # height and width of what the encoder's dense layers see
_PADDING = 2
# Channels of label maps → (classes, don't care, edges) of the public weights that have as many:
# ADE20K, COCO-Stuff, Cityscapes.
_KNOWN_CHANNELS = {151: (150, True, False), 184: (182, True, True), 36: (35, False, True)}
# Layers before the logits → stride of the last: of the code's present version, and of its first.
_LAST_STRIDES = {4: 1, 3: 2}
_UNUSED = re.compile(r".*\.param_free_norm\.num_batches_tracked")
_BLOCKS = {"head": "head_0", "middle_0": "G_middle_0", "middle_1": "G_middle_1"}
_IN_NORM = {"mlp_shared": "mlp_shared.0", "bn": "param_free_norm"}


@dataclasses.dataclass(frozen=True)
class Told:
    """What weights don't tell, as far as the user does; None where not.

    Attributes:
      size: height and width, pixels.
      upsampling: a name of `UPSAMPLINGS`.
      num_labels: classes.
      dont_care: whether there is a channel of the pixels of no class.
      edges: whether there is one of instances' edges.
      disc_last_stride: stride of the discriminator's last layer before the logits.
    """

    size: int | None = None
    upsampling: str | None = None
    num_labels: int | None = None
    dont_care: bool | None = None
    edges: bool | None = None
    disc_last_stride: int | None = None


@dataclasses.dataclass(frozen=True)
class Files:
    """The state dicts.

    Attributes:
      generator: always there.
      discriminator: None where it isn't given.
      encoder: likewise.
    """

    generator: StateDict
    discriminator: StateDict | None = None
    encoder: StateDict | None = None


def model_config(files: Files, told: Told) -> ModelConfig:
    """The networks that state dicts are of.

    Raises:
      ValueError: they are of no SPADE, don't go together, or don't tell what only the user can.
    """
    generator = files.generator
    features = generator.shape("conv_img.weight", 4)[1]
    is_most = any(name.startswith("up_4.") for name in generator)
    nf = features * (2 if is_most else 1)
    hidden, channels = generator.shape("head_0.norm_0.mlp_shared.0.weight", 4)[:2]
    num_labels, dont_care, edges = _label_channels(channels, told)
    upsampling = _upsampling(told, is_most=is_most)
    is_dense = generator.rank("fc.weight") == 2
    base = _base_of_dense(generator, nf) if is_dense else 0
    size = _size(base, upsampling, told)
    return ModelConfig(
        name="spade",
        size=size,
        num_frames=0,
        z_dim=generator.shape("fc.weight", 2)[1] if is_dense else 256,
        features=features,
        max_features=_START * nf,
        time_stages=(0, 1),
        init_scale=0.0,
        gen_batch_norm="head_0.norm_0.param_free_norm.running_mean" in generator,
        gen_spectral_norm="head_0.conv_0.weight_orig" in generator,
        num_labels=num_labels,
        dont_care_channel=dont_care,
        instance_edges=edges,
        base_size=size >> UPSAMPLINGS[upsampling],
        middle_blocks=2,
        middle_upsampling=upsampling != "normal",
        start="dense" if is_dense else "labels",
        label_features=hidden,
        **_encoder_fields(files.encoder, features, size, is_dense=is_dense),
        **_disc_fields(files.discriminator, told),
    )


def _label_channels(channels: int, told: Told) -> tuple[int, bool, bool]:
    """Classes, and whether there are channels of don't care and of edges."""
    given = (told.num_labels, told.dont_care, told.edges)
    if given == (None, None, None):
        if channels not in _KNOWN_CHANNELS:
            raise ValueError(
                f"the generator's label maps have {channels} channels, and which they are can't be "
                "told from weights: give --num-labels, with --dont-care-channel and "
                "--instance-edges where one channel more is of either"
            )
        return _KNOWN_CHANNELS[channels]
    dont_care, edges = bool(told.dont_care), bool(told.edges)
    num_labels = channels - dont_care - edges if told.num_labels is None else told.num_labels
    if num_labels < 1 or num_labels + dont_care + edges != channels:
        raise ValueError(
            f"--num-labels (={num_labels}), --dont-care-channel (={dont_care}) and "
            f"--instance-edges (={edges}) make {num_labels + dont_care + edges} channels, and the "
            f"generator's label maps have {channels}"
        )
    return num_labels, dont_care, edges


def _upsampling(told: Told, *, is_most: bool) -> str:
    chosen = told.upsampling or ("most" if is_most else "normal")
    if (chosen == "most") != is_most:
        has = "has" if is_most else "lacks"
        raise ValueError(
            f"--upsampling (={chosen}): the generator {has} the block up_4, which just 'most' has"
        )
    return chosen


def _base_of_dense(generator: StateDict, nf: int) -> int:
    """Height and width of what the dense layer makes."""
    outputs = generator.shape("fc.weight", 2)[0]
    base = math.isqrt(outputs // (_START * nf))
    if not base or base * base * _START * nf != outputs:
        raise ValueError(
            f"the generator's fc makes {outputs} numbers, which are no square of {_START * nf} "
            "channels; networks of other than square frames can't be converted"
        )
    return base


def _size(base: int, upsampling: str, told: Told) -> int:
    factor = 1 << UPSAMPLINGS[upsampling]
    if not base:
        size = DEFAULT_SIZE if told.size is None else told.size
        if size < factor or size % factor:
            raise ValueError(
                f"--size (={size}) must be a multiple of {factor}: --upsampling (={upsampling}) "
                f"doubles {UPSAMPLINGS[upsampling]} times"
            )
        return size
    if told.size not in (None, base * factor):
        sizes = ", ".join(f"{base << n} with {name!r}" for name, n in UPSAMPLINGS.items())
        raise ValueError(
            f"--size (={told.size}): the generator's fc makes {base}×{base}, from where "
            f"--upsampling (={upsampling}) makes {base * factor}; it makes {sizes}"
        )
    return base * factor


def _encoder_fields(
    encoder: StateDict | None, features: int, size: int, *, is_dense: bool
) -> dict[str, Any]:
    if encoder is None:
        return {}
    if not is_dense:
        raise ValueError(
            "the generator begins with the label map and has no use for latents; leave --encoder "
            "out, or give the generator that was trained with it"
        )
    first = encoder.shape("layer1.0.weight_orig", 4)[0]
    if first != features:
        raise ValueError(
            f"the encoder begins with {first} channels and the generator ends with {features}; "
            "they are not of one training, or of --num_upsampling_layers most, whose encoder can't "
            "be converted: leave --encoder out"
        )
    layers = 1
    while f"layer{layers + 1}.0.weight_orig" in encoder:
        layers += 1
    seen = _ENCODER_END << layers
    return {"encoder": True, "encoder_size": 0 if seen == size else seen}


def _disc_fields(discriminator: StateDict | None, told: Told) -> dict[str, Any]:
    if discriminator is None:
        return {"disc_spectral_norm": True}
    features = discriminator.shape("discriminator_0.model0.0.weight", 4)[0]
    scales = layers = 1
    while f"discriminator_{scales}.model0.0.weight" in discriminator:
        scales += 1
    while f"discriminator_0.model{layers}.0.0.weight_orig" in discriminator:
        layers += 1
    last_stride = told.disc_last_stride or _LAST_STRIDES.get(layers)
    if last_stride is None:
        raise ValueError(
            f"the discriminator has {layers} layers before the logits; give the stride of the last "
            "of them, which weights don't tell: --disc-last-stride 1 in the public code's present "
            "version, 2 in its first"
        )
    return {
        "disc_spectral_norm": True,
        "disc_features": features,
        "disc_layers": layers,
        "disc_scales": scales,
        "disc_last_stride": last_stride,
        "disc_padding": _PADDING,
    }


def generator_variables(wanted: VariableDict, files: Files, model: ModelConfig) -> VariableDict:
    """The generator's variables, the encoder's among them.

    Raises:
      ValueError: something is missing, left over or of another shape.
    """
    of_encoder = {c: tree["encoder"] for c, tree in wanted.items() if "encoder" in tree}
    of_itself = {c: {k: v for k, v in t.items() if k != "encoder"} for c, t in wanted.items()}
    positions: Mapping[Path, int] = {("fc",): model.base_size**2} if model.start == "dense" else {}
    names = Names(_generator_layer, makes_map=positions)
    found: dict[str, Any] = dict(to_variables(of_itself, files.generator, names))
    files.generator.refuse_the_rest(lambda name: bool(_UNUSED.fullmatch(name)))
    if files.encoder is not None:
        seen: Mapping[Path, int] = dict.fromkeys((("fc_mu",), ("fc_var",)), _ENCODER_END**2)
        encoder = to_variables(of_encoder, files.encoder, Names(_encoder_layer, sees_map=seen))
        files.encoder.refuse_the_rest()
        for collection, tree in encoder.items():
            found[collection] = {**found.get(collection, {}), "encoder": tree}
    return found


def discriminator_variables(wanted: VariableDict, discriminator: StateDict) -> VariableDict:
    """The discriminator's variables.

    Raises:
      ValueError: something is missing, left over or of another shape.
    """
    last = len(wanted["params"]["scale_0"]) - 1

    def layer(path: Path) -> str:
        scale, conv = (part.rpartition("_")[2] for part in path)
        if conv in ("0", "logit"):
            return f"discriminator_{scale}.model{0 if conv == '0' else last}.0"
        return f"discriminator_{scale}.model{conv}.0.0"

    found = to_variables(wanted, discriminator, Names(layer))
    discriminator.refuse_the_rest()
    return found


def _generator_layer(path: Path) -> str:
    block, *within = path
    return ".".join([_BLOCKS.get(block, block), *(_IN_NORM.get(part, part) for part in within)])


def _encoder_layer(path: Path) -> str:
    kind, _, number = path[0].rpartition("_")
    return f"layer{int(number) + 1}.0" if kind == "conv" else path[0]

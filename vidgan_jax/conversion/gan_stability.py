"""Checkpoints of LMescheder/GAN_stability, the code of Mescheder et al. 2018, arXiv:1801.04406.

A checkpoint holds a generator, a discriminator, mostly an averaged generator ("generator_test"),
the optimisers and the number of iterations. Class ids choose a row of the generator's embedding and
one of the discriminator's logits; a GAN of no classes has one.
"""

import dataclasses
import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from flax.typing import VariableDict

from vidgan_jax.config import ModelConfig
from vidgan_jax.conversion import torch_files
from vidgan_jax.conversion.state_dicts import Names, Path, StateDict, to_variables
from vidgan_jax.models.resnet import LAYOUTS, block_names, plan

_NETWORKS = ("generator", "discriminator", "generator_test")
# What else a checkpoint may hold, none of which is of use here.
_UNUSED = ("g_optimizer", "d_optimizer", "it", "epoch_idx")
_EMBEDDING, _FC = "embedding.weight", "fc.weight"


@dataclasses.dataclass(frozen=True)
class Networks:
    """The state dicts of a checkpoint.

    Attributes:
      generator: the average where there is just that.
      average: of the generator; the generator itself where none was kept.
      discriminator: None where there is none.
      iterations: of training; None where the file doesn't tell.
    """

    generator: StateDict
    average: StateDict
    discriminator: StateDict | None
    iterations: int | None


def networks(checkpoint: Any, origin: str, *, class_id: int | None, new_disc: bool) -> Networks:
    """Takes a checkpoint apart.

    Args:
      checkpoint: what the file holds.
      origin: the file, for errors.
      class_id: keep this class only.
      new_disc: leave the discriminator aside.

    Raises:
      ValueError: it is no such checkpoint; an unknown entry; no such class.
    """
    if not isinstance(checkpoint, Mapping) or not {"generator", "generator_test"} & set(checkpoint):
        raise ValueError(
            f"{origin} is no checkpoint of GAN_stability: it has no entry 'generator' or "
            "'generator_test'"
        )
    if strange := [key for key in checkpoint if key not in (*_NETWORKS, *_UNUSED)]:
        raise ValueError(
            f"{origin} has the entry {strange[0]!r}; known are {', '.join((*_NETWORKS, *_UNUSED))}"
        )
    found = {}
    for entry in _NETWORKS:
        if entry not in checkpoint or (entry == "discriminator" and new_disc):
            continue
        what = f"{origin}, {entry}"
        arrays = torch_files.arrays(checkpoint[entry], what)
        rows = (_FC, "fc.bias") if entry == "discriminator" else (_EMBEDDING,)
        if class_id is not None:
            kept = {name: _row(arrays[name], class_id, what) for name in rows if name in arrays}
            arrays |= kept
        kind = "discriminator" if entry == "discriminator" else "generator"
        found[entry] = StateDict(arrays, what, f"GAN_stability's {kind}")
    iterations = checkpoint.get("it")
    generators = [found[entry] for entry in ("generator", "generator_test") if entry in found]
    return Networks(
        generator=generators[0],
        average=generators[-1],
        discriminator=found.get("discriminator"),
        iterations=iterations if isinstance(iterations, int) else None,
    )


def _row(array: np.ndarray, class_id: int, origin: str) -> np.ndarray:
    num_classes = array.shape[0] if array.ndim else 0
    if not 0 <= class_id < num_classes:
        raise ValueError(
            f"--class-id (={class_id}) must be below {num_classes}, the number of classes of "
            f"{origin}"
        )
    return array[class_id : class_id + 1]


def model_config(found: Networks) -> ModelConfig:
    """The networks that state dicts are of.

    Raises:
      ValueError: they are of none of the layouts, or don't go together.
    """
    generator = found.generator
    layout = _layout(generator)
    features = generator.shape("conv_img.weight", 4)[1]
    outputs, inputs = generator.shape(_FC, 2)
    num_classes, embed_dim = generator.shape(_EMBEDDING, 2)
    size, max_features = _sizes(layout, generator, features, outputs)
    if (z_dim := inputs - embed_dim) < 1:
        raise ValueError(
            f"the generator's fc sees {inputs} numbers, of which its embedding has {embed_dim}: "
            "none is left for latents"
        )
    if found.discriminator is not None:
        _check_discriminator(found.discriminator, layout, features, size, max_features)
    return ModelConfig(
        name="resnet",
        size=size,
        num_frames=0,
        z_dim=z_dim,
        features=features,
        max_features=max_features,
        time_stages=(0,),
        init_scale=1 / 3,
        layout=layout,
        num_classes=num_classes,
        embed_dim=embed_dim,
    )


def _layout(generator: StateDict) -> str:
    """By the blocks that just one layout has."""
    for block, layout in (
        ("resnet.0", "resnet"),
        ("resnet_0_1", "resnet2"),
        ("resnet_6_0", "resnet4"),
        ("resnet_0_0", "resnet3"),
    ):
        if f"{block}.conv_0.weight" in generator:
            return layout
    raise ValueError(
        "the generator has no block resnet.0 or resnet_0_0; GAN_stability's resnet, resnet2, "
        "resnet3 and resnet4 have"
    )


def _sizes(layout: str, generator: StateDict, features: int, outputs: int) -> tuple[int, int]:
    """Height and width of frames, and the most channels anywhere."""
    if layout == "resnet":
        pattern = re.compile(r"resnet\.(\d+)\.conv_0\.weight")
        found = (pattern.fullmatch(name) for name in generator)
        stages = max(int(match[1]) for match in found if match) // 2
        size = 4 << stages
        base = 4
        most = outputs // base**2
    else:
        blocks = LAYOUTS[layout](0)
        most = blocks.start * features
        base = math.isqrt(outputs // most)
        size = base << blocks.stages
    if most < 1 or outputs != most * base**2:
        raise ValueError(
            f"the generator's fc makes {outputs} numbers, which are no square map of {most} "
            f"channels, as the layout {layout!r} has"
        )
    return size, most


def _check_discriminator(
    discriminator: StateDict, layout: str, features: int, size: int, max_features: int
) -> None:
    """Refuses one that the generator's sizes don't fit; one config has to do for both."""
    own = discriminator.shape("conv_img.weight", 4)[0]
    blocks, base = plan(layout, size)
    most = discriminator.shape(_FC, 2)[1] // base**2
    multiple = max(w for widths in blocks.disc for w in widths)
    for name, of_generator, of_discriminator in (
        ("nfilter", features, own),
        ("nfilter_max", min(max_features, multiple * features), most),
    ):
        if of_generator != of_discriminator:
            raise ValueError(
                f"the generator's {name} is {of_generator} and the discriminator's "
                f"{of_discriminator}, and a config has one for both; leave the discriminator "
                "aside by --new-disc"
            )


def generator_variables(
    wanted: VariableDict, generator: StateDict, model: ModelConfig
) -> VariableDict:
    """The generator's variables.

    Raises:
      ValueError: something is missing, left over or of another shape.
    """
    blocks, base = plan(model.layout, model.size)
    # From the small end up, as ours are counted.
    layer = _layer_names(model.layout, blocks.gen, range(len(blocks.gen)))
    found = to_variables(wanted, generator, Names(layer, makes_map={("fc",): base**2}))
    generator.refuse_the_rest()
    return found


def discriminator_variables(
    wanted: VariableDict, discriminator: StateDict, model: ModelConfig
) -> VariableDict:
    """The discriminator's variables.

    Raises:
      ValueError: something is missing, left over or of another shape.
    """
    blocks, base = plan(model.layout, model.size)
    # From full resolution down, where ours are counted from the small end.
    layer = _layer_names(model.layout, blocks.disc, range(blocks.stages, -1, -1))
    found = to_variables(wanted, discriminator, Names(layer, sees_map={("fc",): base**2}))
    discriminator.refuse_the_rest()
    return found


def _layer_names(
    layout: str, widths: Sequence[Sequence[int]], resolutions: Sequence[int]
) -> Callable[[Path], str]:
    """How the code calls our layers, in whose blocks it counts the resolutions that have any."""
    names = {}
    number = 0
    for resolution, multiples in zip(resolutions, widths, strict=True):
        for j, ours in enumerate(block_names(resolution, len(multiples))):
            # A sequence of block, upsampling (or pooling), block, … in the paper's layout.
            names[ours] = f"resnet.{2 * number}" if layout == "resnet" else f"resnet_{number}_{j}"
        number += bool(multiples)
    return lambda path: ".".join((names.get(path[0], path[0]), *path[1:]))

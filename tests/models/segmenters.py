"""The large segmenter with few channels, in PyTorch, and as files that CSAIL's would be."""

import functools
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import torch

from tests.reference_torch import segmenter as reference
from vidgan_jax.conversion import segmenter, torch_files
from vidgan_jax.conversion.state_dicts import StateDict
from vidgan_jax.models.segmenter import Segmenter

# Blocks of every dilation.
TINY = Segmenter(num_classes=5, stem=(4, 4, 6), blocks=(1, 1, 2, 2), features=2, head_features=6)


@functools.cache
def torch_tiny() -> reference.Segmenter:
    """PyTorch's, with drawn weights."""
    torch.manual_seed(0)
    return reference.Segmenter(5, TINY.stem, TINY.blocks, TINY.features, TINY.head_features)


@functools.cache
def tiny_variables() -> Any:
    """The same weights as ours."""
    return variables_of(TINY, torch_tiny())


def variables_of(network: Segmenter, theirs: reference.Segmenter) -> Any:
    """Ours, of PyTorch's."""
    example = jnp.zeros((1, 16, 16, 3))
    wanted = jax.eval_shape(network.init, jax.random.key(0), example)
    states = (
        StateDict(torch_files.arrays(module.state_dict(), name), name, name)
        for module, name in (
            (theirs.encoder, segmenter.ENCODER),
            (theirs.decoder, segmenter.DECODER),
        )
    )
    return segmenter.variables(wanted, *states)


def write_tiny(folder: Path) -> tuple[Path, Path]:
    """Writes the files of the encoder and of the decoder; returns their paths."""
    paths = folder / "encoder.pth", folder / "decoder.pth"
    theirs = torch_tiny()
    for path, module in zip(paths, (theirs.encoder, theirs.decoder), strict=True):
        torch.save(module.state_dict(), path)
    return paths

"""Variables of this package's networks as PyTorch has them."""

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
import torch
from flax import traverse_util
from torch import nn

from vidgan_jax.types import BATCH_STATS, SPECTRAL

_NAMES = {"kernel": "weight", "scale": "weight", "bias": "bias"}
_STATE_NAMES = {"mean": "running_mean", "var": "running_var", "u": "weight_u", "v": "weight_v"}
_TRANSPOSED = (nn.ConvTranspose2d, nn.ConvTranspose3d)


def as_torch(
    params: Mapping[str, Any], transposed: Collection[str] = ()
) -> dict[str, torch.Tensor]:
    """Kernels, scales and biases (or their gradients) by PyTorch's names, in its layout.

    Kernels `[*widths, i, o]` become `[o, i, *widths]`, those of convolutions that are `transposed`
    `[i, o, *widths]`; dense ones, `[i, o]`, become `[o, i]`.
    """
    tensors = {}
    for path, leaf in traverse_util.flatten_dict(params).items():
        name = ".".join((*path[:-1], _NAMES[path[-1]]))
        order = (0, 1) if name in transposed else (1, 0)
        array = np.asarray(leaf)
        if array.ndim > 1:
            array = np.moveaxis(array, (-2, -1), order)
        tensors[name] = torch.from_numpy(np.array(array, order="C"))
    return tensors


def collections_as_torch(variables: Mapping[str, Any]) -> dict[str, torch.Tensor]:
    """Running statistics and singular vectors by PyTorch's names, in its layout.

    Raises:
      ValueError: a gain, which PyTorch does not have, is not 1.
    """
    tensors = {}
    for collection in (BATCH_STATS, SPECTRAL):
        for path, leaf in traverse_util.flatten_dict(variables.get(collection, {})).items():
            if path[-1] == "gain":
                if leaf != 1:
                    raise ValueError(f"{path}: PyTorch has no gain, and this one is {leaf}")
                continue
            array = np.asarray(leaf)
            if path[-1] == "v":  # [*widths, i] → [i · widths]
                array = np.moveaxis(array, -1, 0).ravel()
            tensors[".".join((*path[:-1], _STATE_NAMES[path[-1]]))] = torch.from_numpy(
                np.array(array)
            )
    return tensors


def named_parameters(module: nn.Module) -> dict[str, nn.Parameter]:
    """A module's parameters by the names of `as_torch`."""
    return {
        _plain(name).replace("weight_orig", "weight"): p for name, p in module.named_parameters()
    }


def named_collections(module: nn.Module) -> dict[str, torch.Tensor]:
    """A module's buffers by the names of `collections_as_torch`."""
    buffers = {_plain(name): b for name, b in module.named_buffers()}
    return {k: b for k, b in buffers.items() if not k.endswith("num_batches_tracked")}


def transposed(module: nn.Module) -> set[str]:
    """Names of the weights of a module's transposed convolutions."""
    layers = module.named_modules()
    return {_plain(f"{name}.weight") for name, m in layers if isinstance(m, _TRANSPOSED)}


def load(
    module: nn.Module, params: Mapping[str, Any], collections: Mapping[str, Any] | None = None
) -> None:
    """Copies parameters and collections into `module`, which takes their dtype.

    Raises:
      ValueError: names or shapes differ; none stays random, none is left over.
    """
    theirs, ours = named_parameters(module), as_torch(params, transposed(module))
    _check_same(theirs, ours)
    for name, parameter in theirs.items():
        parameter.data = ours[name]
    states, our_states = named_collections(module), collections_as_torch(collections or {})
    _check_same(states, our_states)
    for name, buffer in states.items():
        buffer.data = our_states[name]


def _check_same(theirs: Mapping[str, torch.Tensor], ours: Mapping[str, torch.Tensor]) -> None:
    if {k: v.shape for k, v in theirs.items()} != {k: v.shape for k, v in ours.items()}:
        raise ValueError(f"variables differ: {sorted(theirs)} here, {sorted(ours)} there")


def _plain(name: str) -> str:
    """A name without the `layer` that wrappers of the reference add."""
    return f".{name}".replace(".layer.", ".").removeprefix(".")

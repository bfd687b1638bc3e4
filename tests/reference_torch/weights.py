"""Parameters of this package's networks as PyTorch has them."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from flax import traverse_util
from torch import nn

_NAMES = {"kernel": "weight", "bias": "bias"}


def as_torch(params: Mapping[str, Any]) -> dict[str, torch.Tensor]:
    """A tree of kernels and biases (or of their gradients) by PyTorch's names, in its layout.

    Kernels `[*widths, i, o]` become `[o, i, *widths]`, dense ones `[i, o]` become `[o, i]`.
    """
    tensors = {}
    for path, leaf in traverse_util.flatten_dict(params).items():
        array = np.moveaxis(np.asarray(leaf), (-1, -2)[: leaf.ndim], (0, 1)[: leaf.ndim])
        name = ".".join((*path[:-1], _NAMES[path[-1]]))
        tensors[name] = torch.from_numpy(np.array(array))
    return tensors


def named_parameters(module: nn.Module) -> dict[str, nn.Parameter]:
    """A module's parameters by the names of `as_torch`."""
    return {name.replace(".layer.", "."): p for name, p in module.named_parameters()}


def load(module: nn.Module, params: Mapping[str, Any]) -> None:
    """Copies parameters into `module`, which takes their dtype.

    Raises:
      ValueError: names or shapes differ; none stays random, none is left over.
    """
    theirs, ours = named_parameters(module), as_torch(params)
    if {k: v.shape for k, v in theirs.items()} != {k: v.shape for k, v in ours.items()}:
        raise ValueError(f"parameters differ: {sorted(theirs)} here, {sorted(ours)} there")
    for name, parameter in theirs.items():
        parameter.data = ours[name]

"""What inflation must know of the 3D network: shapes, and which layers are transposed."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
from flax import linen as nn
from flax.typing import VariableDict

from vidgan_jax.layers import ConvTranspose
from vidgan_jax.layers.conv import per_axis

Path = tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Target:
    """A 3D network, as far as inflation asks for it.

    Attributes:
      variables: its collections, leaves with `shape`.
      strides: of transposed convolutions over time, by the layer's path.
    """

    variables: VariableDict
    strides: Mapping[Path, int]


def target_of(module: nn.Module, *inputs: Any) -> Target:
    """Follows a 3D network's calls on shapes; nothing is computed.

    Args:
      module: the 3D network.
      *inputs: for its `__call__`, arrays or `jax.ShapeDtypeStruct`s.

    Raises:
      ValueError: a convolution of flax that pads time by zeros, or a transposed one, whose ends
        come out wrong: with those no inflation is exact.
    """
    strides: dict[Path, int] = {}

    def look(call: Any, args: Any, kwargs: Any, context: nn.module.InterceptorContext) -> Any:
        layer = context.module
        data = next(iter((*args, *kwargs.values())), None)
        if context.method_name == "__call__" and getattr(data, "ndim", 0) == 5:
            if isinstance(layer, ConvTranspose):
                strides[layer.path] = per_axis(layer.strides, 3, "strides")[0]
            _refuse_zeros_in_time(layer)
        return call(*args, **kwargs)

    with nn.intercept_methods(look):
        variables = jax.eval_shape(module.init, jax.random.key(0), *inputs)
    return Target(variables, strides)


def _refuse_zeros_in_time(layer: nn.Module) -> None:
    wrong = isinstance(layer, nn.ConvTranspose)
    if isinstance(layer, nn.Conv):
        sizes = layer.kernel_size
        width = sizes if isinstance(sizes, int) else sizes[0]
        wrong = width > 1 and layer.padding not in ("VALID", "CIRCULAR")
    if wrong:
        name = type(layer).__name__
        raise ValueError(
            f"{'/'.join(layer.path)} is flax's nn.{name}, which sees zeros beyond a clip's ends: "
            f"inflation can't be exact; use vidgan_jax.layers.{name}, which repeats the end frames"
        )

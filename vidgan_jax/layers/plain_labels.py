"""Layers of label maps as papers write them: what `vidgan_jax.layers.labels` must equal, and beat.

The one-hot map is made at full resolution, brought to a layer's by nearest neighbour or average
pooling, repeated for every frame, joined with the frames, and convolved like any data. For tests
and for `python -m vidgan_jax.bench labels`.
"""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from vidgan_jax.layers.conv import Padding, conv
from vidgan_jax.layers.labels import LabelConv, LabelledConv, LabelMap
from vidgan_jax.layers.resample import avg_pool


def resize_one_hot(one_hot: jax.Array, height: int, width: int) -> jax.Array:
    """Nearest neighbour: `[b, h, w, n]` to `[b, height, width, n]`."""
    rows, columns = (
        np.arange(out) * size // out
        for size, out in zip(one_hot.shape[1:3], (height, width), strict=True)
    )
    return one_hot[:, rows[:, None], columns]


def conv_resized(one_hot: jax.Array, kernel: jax.Array, height: int, width: int) -> jax.Array:
    """3×3 convolution at a lower resolution, as of SPADE's layers."""
    return conv(resize_one_hot(one_hot, height, width), kernel)


def conv_joined(
    x: jax.Array,
    one_hot: jax.Array,
    kernel: jax.Array,
    strides: Sequence[int],
    padding: Padding = "same",
) -> jax.Array:
    """Convolution of frames behind their label map, as of the discriminator's first layer.

    Args:
      x: frames `[b, [t,] h, w, c]`.
      one_hot: `[b, H, W, n]`; pooled until it has the frames' height.
      kernel: `[*widths, n + c, f]`.
      strides: one for each axis.
      padding: as for `conv`.
    """
    while one_hot.shape[1] > x.shape[-3]:
        one_hot = avg_pool(one_hot, (3, 3), (2, 2), count_padding=False)
    if x.ndim == 5:
        one_hot = jnp.repeat(one_hot[:, None], x.shape[1], axis=1)
    return conv(jnp.concatenate([one_hot, x], axis=-1), kernel, strides, padding)


def apply_plainly(module: nn.Module, variables: Any, labels: LabelMap, *inputs: Any) -> Any:
    """`module.apply(variables, *inputs)` in training mode, with all layers of label maps plain.

    Args:
      module: a network.
      variables: its.
      labels: what it reads from its condition, at full resolution.
      *inputs: of the network.

    Returns:
      The network's result, and the collections that it changed.
    """
    one_hot = labels.one_hot()
    moving = [name for name in variables if name != "params"]

    def call(method: Any, args: Any, kwargs: Any, context: nn.module.InterceptorContext) -> Any:
        layer = context.module
        if context.method_name != "__call__" or not isinstance(layer, LabelConv | LabelledConv):
            return method(*args, **kwargs)
        kernel: Any = layer.get_variable("params", "kernel")
        bias: Any = layer.get_variable("params", "bias")
        if isinstance(layer, LabelConv):
            return conv_resized(one_hot, kernel, *args[0].ids.shape[1:]) + bias
        frames = args[0]
        strides = (1,) * (frames.ndim - 4) + (layer.stride,) * 2
        return conv_joined(frames, one_hot, kernel, strides, layer.padding) + bias

    with nn.intercept_methods(call):
        return module.apply(variables, *inputs, mutable=moving)

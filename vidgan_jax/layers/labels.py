"""Label maps as convolutions see them: one channel a class, made of the ids where it is cheap.

Whatever is written here about a *one-hot map* is float `[b, h, w, n]`: a channel for each class,
where one was asked for a channel of the pixels of no class, and last a channel of edges.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
import math
import operator
from collections.abc import Iterable, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from flax import struct
from jax import lax
from jax.typing import DTypeLike

from vidgan_jax.layers import initializers
from vidgan_jax.layers.conv import Padding, conv, pads_of, per_axis
from vidgan_jax.layers.resample import avg_pool, seen_by_windows

_NO_CHANNEL = -1


@dataclasses.dataclass(frozen=True)
class LabelChannels:
    """What the channels of a one-hot map are.

    Attributes:
      num_labels: classes, ids from 0.
      dont_care: one channel more for pixels of no class, which are zero in all channels otherwise.
      edges: one channel more, the last, of the edges of instances.
    """

    num_labels: int
    dont_care: bool = False
    edges: bool = False

    @property
    def of_ids(self) -> int:
        """Channels of which a pixel has at most one."""
        return self.num_labels + self.dont_care

    @property
    def count(self) -> int:
        """All channels."""
        return self.of_ids + self.edges


class LabelMap(struct.PyTreeNode):
    """A batch of label maps.

    Attributes:
      ids: int32 `[b, h, w]`, each pixel's channel; -1 where it has none.
      edges: bool `[b, h, w]`, whether a pixel differs from a neighbour; None without that channel.
      channels: what they are.
    """

    ids: jax.Array
    edges: jax.Array | None
    channels: LabelChannels = struct.field(pytree_node=False)

    def resized(self, height: int, width: int) -> LabelMap:
        """The map at another resolution, by nearest neighbour: row i is row `⌊i·in/out⌋`."""
        rows, columns = (
            np.arange(out) * size // out
            for size, out in zip(self.ids.shape[1:], (height, width), strict=True)
        )
        pick = operator.itemgetter((slice(None), rows[:, None], columns))
        edges = None if self.edges is None else pick(self.edges)
        return LabelMap(pick(self.ids), edges, self.channels)

    def one_hot(self) -> jax.Array:
        """float32 `[b, h, w, n]`."""
        classes = jax.nn.one_hot(self.ids, self.channels.of_ids, dtype=jnp.float32)
        if self.edges is None:
            return classes
        return jnp.concatenate([classes, self.edges[..., None].astype(jnp.float32)], axis=-1)


def pyramid(labels: LabelMap, sizes: Iterable[int]) -> dict[int, LabelMap]:
    """A map at several resolutions, each made once for all layers there; by height and width."""
    return {size: labels.resized(size, size) for size in sizes}


def read_label_map(
    cond: jax.Array | None, channels: LabelChannels, size: int, batch_size: int
) -> LabelMap:
    """Reads what a network is conditioned on.

    Args:
      cond: whole numbers, ids of classes `[b, size, size]`, or with ids of instances
        `[b, size, size, 2]`. Ids outside 0 … num_labels - 1 are of no class.
      channels: wanted.
      size: height and width, pixels.
      batch_size: examples.

    Returns:
      The map. Edges are where a pixel's instance is not the one of all four neighbours, or its
      class, where `cond` has no instances.

    Raises:
      ValueError: `cond` is None, or not of that shape, or not of whole numbers.
    """
    if cond is None:
        raise ValueError(
            f"this network needs a label map: give cond, ids of classes [b, {size}, {size}]"
        )
    plain = (batch_size, size, size)
    if cond.shape not in (plain, (*plain, 2)):
        raise ValueError(
            f"cond {cond.shape} must be {plain}, ids of classes, or {(*plain, 2)}, these and ids "
            "of instances"
        )
    if not jnp.issubdtype(cond.dtype, jnp.integer):
        raise ValueError(f"cond is of {cond.dtype}; ids must be whole numbers, uint8 or int32")
    cond = jnp.asarray(cond)
    classes = cond if cond.ndim == 3 else cond[..., 0]
    known = (classes >= 0) & (classes < channels.num_labels)
    nowhere = channels.num_labels if channels.dont_care else _NO_CHANNEL
    ids = jnp.where(known, classes.astype(jnp.int32), nowhere)
    edges = None
    if channels.edges:
        edges = find_edges(ids if cond.ndim == 3 else cond[..., 1])
    return LabelMap(ids, edges, channels)


def find_edges(ids: jax.Array) -> jax.Array:
    """Where an id differs from one of its four neighbours.

    Args:
      ids: `[b, h, w]`.

    Returns:
      bool `[b, h, w]`.
    """
    below = ids[:, 1:] != ids[:, :-1]
    right = ids[:, :, 1:] != ids[:, :, :-1]
    edges = jnp.pad(below, ((0, 0), (0, 1), (0, 0))) | jnp.pad(below, ((0, 0), (1, 0), (0, 0)))
    return (
        edges | jnp.pad(right, ((0, 0), (0, 0), (0, 1))) | jnp.pad(right, ((0, 0), (0, 0), (1, 0)))
    )


def pool_labels(labels: LabelMap | jax.Array) -> jax.Array:
    """The one-hot map at half the resolution: means over 3×3, what lies beyond edges not counted.

    Args:
      labels: a map, or a one-hot map of fractions, of which there are more with each pooling.

    Returns:
      float32 `[b, ⌈h/2⌉, ⌈w/2⌉, n]`. Of a map it is counted pixel by pixel at that resolution: its
      one-hot map, four times as large, is never made.
    """
    if not isinstance(labels, LabelMap):
        return avg_pool(labels, (3, 3), (2, 2), count_padding=False)

    def sum_of(ids: jax.Array, num: int) -> jax.Array:
        seen = _windows(ids, (3, 3), 2, ((1, 1), (1, 1)), _NO_CHANNEL)
        one_hot = functools.partial(jax.nn.one_hot, num_classes=num, dtype=jnp.float32)
        return functools.reduce(operator.add, map(one_hot, seen))

    total = sum_of(labels.ids, labels.channels.of_ids)
    if labels.edges is not None:
        total = jnp.concatenate([total, sum_of(_as_ids(labels.edges), 1)], axis=-1)
    rows, columns = (seen_by_windows(size, 3, 2) for size in labels.ids.shape[1:])
    return total / (rows[:, None, None] * columns[:, None]).astype(np.float32)


def conv_labels(
    labels: LabelMap | jax.Array,
    kernel: jax.Array,
    stride: int = 1,
    padding: Padding = "same",
    dtype: DTypeLike | None = None,
) -> jax.Array:
    """`conv` of the one-hot map.

    A pixel's one-hot vector times a tap of the kernel is a row of that tap. So the convolution is a
    sum of rows, one for each tap, and the kernel's gradient adds each output's to those rows. On
    CPUs it is computed so: 6 to 13 times as fast as the convolution, the gradient included (150
    classes to 128 channels, 4 maps of 32×32 to 128×128, two cores, jax 0.10.2; `python -m
    vidgan_jax.bench labels`). Elsewhere it is a convolution of the one-hot map: adding to few rows
    from many threads makes them wait for one another, and matrix products are what GPUs are good
    at. That is a guess, not a measurement.

    Args:
      labels: a map, or a one-hot map of fractions.
      kernel: float `[k, k, n, c]`.
      stride: of both axes.
      padding: as for `conv`.
      dtype: of the result, and of the convolution's data; None for the kernel's.

    Returns:
      `[b, h', w', c]`.
    """
    dtype = kernel.dtype if dtype is None else dtype
    if not isinstance(labels, LabelMap):
        return conv(labels.astype(dtype), kernel.astype(dtype), stride, padding)

    # Not in `dtype`: rows and their gradients are added one after the other, by the thousand.
    def by_rows(labels: LabelMap, kernel: jax.Array) -> jax.Array:
        return conv_by_rows(labels, kernel, stride, padding).astype(dtype)

    def one_hot(labels: LabelMap, kernel: jax.Array) -> jax.Array:
        return conv_one_hot(labels, kernel.astype(dtype), stride, padding)

    return lax.platform_dependent(labels, kernel, cpu=by_rows, default=one_hot)


def conv_one_hot(
    labels: LabelMap, kernel: jax.Array, stride: int = 1, padding: Padding = "same"
) -> jax.Array:
    """`conv_labels` as a convolution of the one-hot map."""
    return conv(labels.one_hot().astype(kernel.dtype), kernel, stride, padding)


def conv_by_rows(
    labels: LabelMap, kernel: jax.Array, stride: int = 1, padding: Padding = "same"
) -> jax.Array:
    """`conv_labels` as a sum of the kernel's rows."""
    pads = pads_of(kernel.shape[:2], padding)
    of_ids, of_edges = jnp.split(kernel, [labels.channels.of_ids], axis=2)

    def sum_rows(ids: jax.Array, kernel: jax.Array) -> jax.Array:
        nothing = kernel.shape[2]
        taps = jnp.pad(kernel, ((0, 0), (0, 0), (0, 1), (0, 0)))  # the last row is zero
        taps = taps.reshape(-1, *taps.shape[2:])
        ids = jnp.where(ids == _NO_CHANNEL, nothing, ids)
        seen = jnp.stack(_windows(ids, kernel.shape[:2], stride, pads, nothing))

        def add(y: jax.Array, tap: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, None]:
            rows, ids = tap
            return y + rows.at[ids].get(mode="promise_in_bounds"), None

        # A loop: as one expression, XLA keeps the rows of all taps at once before it adds them,
        # which took 3 times as long and 3 times the memory within a network (jax 0.10.2).
        zeros = jnp.zeros((*seen.shape[1:], kernel.shape[-1]), kernel.dtype)
        return lax.scan(add, zeros, (taps, seen))[0]

    y = sum_rows(labels.ids, of_ids)
    return y if labels.edges is None else y + sum_rows(_as_ids(labels.edges), of_edges)


def _as_ids(edges: jax.Array) -> jax.Array:
    """Edges as the one class of a map."""
    return jnp.where(edges, 0, _NO_CHANNEL)


def _windows(
    ids: jax.Array,
    widths: Sequence[int],
    stride: int,
    pads: Sequence[tuple[int, int]],
    beyond: int,
) -> list[jax.Array]:
    """What each tap of a kernel sees: its ids `[b, h', w']`, in the order of the taps."""
    padded = jnp.pad(ids, ((0, 0), *pads), constant_values=beyond)
    ends = [size - width for size, width in zip(padded.shape[1:], widths, strict=True)]
    return [
        padded[:, i : i + ends[0] + 1 : stride, j : j + ends[1] + 1 : stride]
        for i, j in itertools.product(*map(range, widths))
    ]


class LabelConv(nn.Module):
    """3×3 convolution of a label map, always 2D.

    Attributes:
      features: output channels.
      init_scale: of the initial kernel, see `vidgan_jax.layers.initializers.kernel`.
      dtype: that it computes in, which a label map can't tell it; None for its parameters'.
    """

    features: int
    init_scale: float = initializers.PYTORCH_SCALE
    dtype: DTypeLike | None = None

    @nn.compact
    def __call__(self, labels: LabelMap) -> jax.Array:
        """Maps a label map to float `[b, h, w, features]`."""
        shape = (3, 3, labels.channels.count, self.features)
        kernel = self.param("kernel", initializers.kernel(self.init_scale), shape)
        bias_init = initializers.bias_uniform(9 * labels.channels.count)
        y = conv_labels(labels, kernel, dtype=self.dtype)
        return (y + self.param("bias", bias_init, (self.features,))).astype(y.dtype)


class LabelledConv(nn.Module):
    """Convolution of frames and their label map, as if its channels came first in every frame.

    The kernel of clips is 3D all over, but time is continued by its end frames and all frames have
    one map, so they see it through the sum of the kernel over time: the map's part stays 2D.

    Attributes:
      features: output channels.
      kernel_size: width along each axis, time first.
      stride: in space; it is 1 in time.
      init_scale: of the initial kernel, see `vidgan_jax.layers.initializers.kernel`.
      padding: as for `conv`.
    """

    features: int
    kernel_size: Sequence[int]
    stride: int = 1
    init_scale: float = initializers.PYTORCH_SCALE
    padding: Padding = "same"

    @nn.compact
    def __call__(self, x: jax.Array, labels: LabelMap | jax.Array) -> jax.Array:
        """Maps frames `[b, [t,] h, w, c]` and a label map `[b, h, w]` to `[b, [t,] h', w', f]`.

        Args:
          x: frames, in the dtype to compute in.
          labels: a map, or a one-hot map of fractions.
        """
        rank = x.ndim - 2
        channels = labels.channels.count if isinstance(labels, LabelMap) else labels.shape[-1]
        widths = per_axis(self.kernel_size, rank, "kernel_size")
        shape = (*widths, channels + x.shape[-1], self.features)
        kernel = self.param("kernel", initializers.kernel(self.init_scale), shape)
        bias_init = initializers.bias_uniform(math.prod(shape[:-1]))
        bias = self.param("bias", bias_init, (self.features,))
        of_labels, of_frames = jnp.split(kernel, [channels], axis=-2)
        strides = (1,) * (rank - 2) + (self.stride,) * 2
        if rank == 3:
            of_labels = of_labels.sum(axis=0)
        y = conv_labels(labels, of_labels, self.stride, self.padding, x.dtype) + bias
        frames = conv(x, of_frames.astype(x.dtype), strides, self.padding)
        return (frames + (y[:, None] if rank == 3 else y)).astype(x.dtype)

"""Convolutions as XLA has them, which is what GPUs and TPUs are good at."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jax import lax

from vidgan_jax.layers.geometry import Geometry, Pads

IMAGES = ("NHWC", "HWIO", "NHWC")
CLIPS = ("NDHWC", "DHWIO", "NDHWC")


def repeat_ends(x: jax.Array, before: int, after: int) -> jax.Array:
    """Repeats the first frame `before` and the last one `after` times; `x` is `[b, t, ...]`."""
    if before == 0 and after == 0:
        return x
    first = jnp.broadcast_to(x[:, :1], (x.shape[0], before, *x.shape[2:]))
    last = jnp.broadcast_to(x[:, -1:], (x.shape[0], after, *x.shape[2:]))
    return jnp.concatenate([first, x, last], axis=1)


def conv_2d(
    x: jax.Array, kernel: jax.Array, strides: Sequence[int], padding: Sequence[Pads]
) -> jax.Array:
    """Of images `[b, h, w, c_in]`, padded by zeros."""
    return lax.conv_general_dilated(x, kernel, strides, padding, dimension_numbers=IMAGES)


def conv_3d(
    x: jax.Array, kernel: jax.Array, strides: Sequence[int], padding: Sequence[Pads]
) -> jax.Array:
    """Of clips `[b, t, h, w, c_in]`, padded by zeros."""
    return lax.conv_general_dilated(x, kernel, strides, padding, dimension_numbers=CLIPS)


def forward(geometry: Geometry, x: jax.Array, kernel: jax.Array) -> jax.Array:
    """The convolution; see `vidgan_jax.layers.lowering.conv`."""
    if len(geometry.size) == 2:
        return conv_2d(x, kernel, geometry.strides, geometry.space)
    x = repeat_ends(x, *geometry.time)
    return conv_3d(x, kernel, geometry.strides, [(0, 0), *geometry.space])


def transposed(geometry: Geometry, x: jax.Array, kernel: jax.Array) -> jax.Array:
    """The transposed convolution; see `vidgan_jax.layers.lowering.conv_transpose`."""
    widths, strides = geometry.widths, geometry.strides
    begin = [before for before, _ in geometry.pads]
    if len(widths) == 3:
        # So many that no kernel sees farther; what they make of themselves is cut off.
        more = -(-widths[0] // strides[0])
        x = repeat_ends(x, more, more)
        begin[0] += more * strides[0]
    axes = range(len(widths))
    y = lax.conv_general_dilated(
        x,
        jnp.flip(kernel, axes),
        (1,) * len(widths),
        [(k - 1, k - 1) for k in widths],
        lhs_dilation=strides,
        dimension_numbers=CLIPS if len(widths) == 3 else IMAGES,
    )
    # Behind the last input, a stride above what is left of the kernel leaves zeros.
    behind = [max(0, b + n - m) for b, n, m in zip(begin, geometry.size, y.shape[1:], strict=False)]
    y = jnp.pad(y, ((0, 0), *((0, n) for n in behind), (0, 0)))
    ends = [b + n for b, n in zip(begin, geometry.size, strict=True)]
    return lax.slice(y, (0, *begin, 0), (y.shape[0], *ends, y.shape[-1]))


def upsampled(geometry: Geometry, x: jax.Array, kernel: jax.Array) -> jax.Array:
    """The convolution of what is upsampled; see `vidgan_jax.layers.lowering.conv_upsampled`."""
    widths = geometry.widths_upsampled
    pads = tuple(((k - 1) // 2, k // 2) for k in widths)
    time = pads[0] if len(widths) == 3 else (0, 0)
    whole = Geometry(geometry.size, widths, (1,) * len(widths), time, pads[-2:])
    return forward(whole, upsample(x, geometry.strides), kernel)


def upsample(x: jax.Array, factors: Sequence[int]) -> jax.Array:
    """Repeats every position `factors` times along each axis; `x` is `[b, *axes, c]`."""
    for axis, factor in enumerate(factors, start=1):
        if factor > 1:
            x = jnp.repeat(x, factor, axis=axis)
    return x

"""Convolutions and their gradients for CPUs: 2D convolutions of frames, matrix products, sums.

XLA's 3D convolution is slow on CPUs, and so are the gradients of strided ones. Here, time becomes
channels: one 2D convolution makes of each frame what it gives to every tap over time, and these
parts are added up, shifted against one another; frames that stand in for those beyond a clip's ends
are never convolved. Where one side has few channels, its frames are laid together before the 2D
convolution instead. The gradient of a strided convolution makes `s·s` times the channels, which are
then laid out as pixels. What the forms are worth: `python -m vidgan_jax.bench convs`.

Nothing is unrolled over space: memory stays within a kernel's width over time of data and result.
"""

import functools
import math
import operator
from collections.abc import Callable, Iterable, Iterator, Sequence

import jax
import jax.numpy as jnp

from vidgan_jax.layers.geometry import Form, Geometry
from vidgan_jax.layers.native_conv import conv_2d, repeat_ends

# By so many times must one side's channels be fewer for its frames to be laid together.
_FEWER = 4


def forward(geometry: Geometry, x: jax.Array, kernel: jax.Array) -> jax.Array:
    """Of `vidgan_jax.layers.lowering.conv`."""
    c_in, c_out = kernel.shape[-2:]
    if columns := _columns(geometry, c_in):
        y = x.reshape(-1, columns) @ kernel.reshape(columns, c_out)
        return y.reshape(x.shape[0], *geometry.out, c_out)
    if len(geometry.size) == 2:
        return conv_2d(x, kernel, geometry.strides, geometry.space)
    if geometry.strides[0] > 1:
        x = repeat_ends(x, *geometry.time)
        return _sum(forward(g, x[:, seen], kernel[taps]) for g, seen, taps in _classes(geometry))
    if c_in * _FEWER <= c_out:
        return _in_frames(forward, geometry, _lay_together(geometry, x), _taps_in(kernel))
    return _add_up(geometry, _in_frames(forward, geometry, x, _taps_out(kernel)))


def data_gradient(geometry: Geometry, dy: jax.Array, kernel: jax.Array) -> jax.Array:
    """Of `vidgan_jax.layers.lowering.conv`, with respect to the data."""
    c_in, c_out = kernel.shape[-2:]
    if columns := _columns(geometry, c_in):
        dx = dy.reshape(-1, c_out) @ kernel.reshape(columns, c_out).T
        return dx.reshape(dy.shape[0], *geometry.size, c_in)
    if len(geometry.size) == 2:
        return _image_gradient(geometry, dy, kernel)
    if geometry.strides[0] > 1:
        parts = [data_gradient(g, dy, kernel[taps]) for g, _, taps in _classes(geometry)]
        length = geometry.size[0] + sum(geometry.time)
        frames = _interleave(parts, geometry.strides[0], length, axis=1)
        return _transpose(lambda x: repeat_ends(x, *geometry.time), frames, geometry.size, c_in)
    if c_out * _FEWER <= c_in:
        return _in_frames(data_gradient, geometry, _given(geometry, dy), _taps_out(kernel))
    seen = _in_frames(data_gradient, geometry, dy, _taps_in(kernel))
    return _transpose(functools.partial(_lay_together, geometry), seen, geometry.size, c_in)


def kernel_gradient(geometry: Geometry, x: jax.Array, dy: jax.Array) -> jax.Array:
    """Of `vidgan_jax.layers.lowering.conv`, with respect to the kernel."""
    c_in, c_out = x.shape[-1], dy.shape[-1]
    shape = (*geometry.widths, c_in, c_out)
    if columns := _columns(geometry, c_in):
        return (x.reshape(-1, columns).T @ dy.reshape(-1, c_out)).reshape(shape)
    if len(geometry.size) == 2:
        convolve = functools.partial(conv_2d, x, strides=geometry.strides, padding=geometry.space)
        return jax.linear_transpose(convolve, jax.ShapeDtypeStruct(shape, x.dtype))(dy)[0]
    if geometry.strides[0] > 1:
        x = repeat_ends(x, *geometry.time)
        parts = [kernel_gradient(g, x[:, seen], dy) for g, seen, _ in _classes(geometry)]
        return _interleave(parts, geometry.strides[0], geometry.widths[0], axis=0)
    x, dy = _in_memory(x), _in_memory(dy)
    taps = geometry.widths[0]
    if c_in * _FEWER <= c_out:
        flat = _in_frames(kernel_gradient, geometry, _lay_together(geometry, x), dy)
        return flat.reshape(*shape[1:3], taps, c_in, c_out).transpose(2, 0, 1, 3, 4)
    flat = _in_frames(kernel_gradient, geometry, x, _given(geometry, dy))
    return flat.reshape(*shape[1:4], taps, c_out).transpose(3, 0, 1, 2, 4)


def transposed(geometry: Geometry, x: jax.Array, kernel: jax.Array) -> jax.Array:
    """Of `vidgan_jax.layers.lowering.conv_transpose`."""
    if len(geometry.size) == 2:
        return data_gradient(geometry, x, kernel.swapaxes(-1, -2))
    return _add_spread(geometry, _in_frames(data_gradient, geometry, x, _taps_spread(kernel)))


def transposed_data_gradient(geometry: Geometry, dy: jax.Array, kernel: jax.Array) -> jax.Array:
    """Of `vidgan_jax.layers.lowering.conv_transpose`, with respect to the data."""
    if len(geometry.size) == 2:
        return forward(geometry, dy, kernel.swapaxes(-1, -2))
    return _in_frames(forward, geometry, _spread(geometry, dy), _taps_spread(kernel))


def transposed_kernel_gradient(geometry: Geometry, x: jax.Array, dy: jax.Array) -> jax.Array:
    """Of `vidgan_jax.layers.lowering.conv_transpose`, with respect to the kernel."""
    if len(geometry.size) == 2:
        return kernel_gradient(geometry, dy, x).swapaxes(-1, -2)
    flat = _in_frames(kernel_gradient, geometry, _spread(geometry, dy), x)
    taps, c_out = geometry.widths[0], dy.shape[-1]
    flat = flat.reshape(*geometry.widths[1:], taps, c_out, x.shape[-1])
    return flat.transpose(2, 0, 1, 4, 3)


def upsampled(geometry: Geometry, x: jax.Array, kernel: jax.Array) -> jax.Array:
    """Of `vidgan_jax.layers.lowering.conv_upsampled`."""
    return transposed(geometry, x, _added_up(geometry, kernel))


def upsampled_data_gradient(geometry: Geometry, dy: jax.Array, kernel: jax.Array) -> jax.Array:
    """Of `vidgan_jax.layers.lowering.conv_upsampled`, with respect to the data."""
    return transposed_data_gradient(geometry, dy, _added_up(geometry, kernel))


def upsampled_kernel_gradient(geometry: Geometry, x: jax.Array, dy: jax.Array) -> jax.Array:
    """Of `vidgan_jax.layers.lowering.conv_upsampled`, with respect to the kernel."""
    sums = transposed_kernel_gradient(geometry, x, dy)
    shape = (*geometry.widths_upsampled, x.shape[-1], dy.shape[-1])
    kernel = jax.ShapeDtypeStruct(shape, sums.dtype)
    return jax.linear_transpose(functools.partial(_added_up, geometry), kernel)(sums)[0]


def _in_memory(x: jax.Array) -> jax.Array:
    """The same, but computed before it is looked at.

    The gradient of a kernel looks at data in another order than they are made in. XLA would make
    them in that order then, all that leads to them once more for each such look, at a tenth of the
    speed: a step of `resnet3d:smoke` took 1.12 times as long. Nothing is drawn into a conditional
    (`lax.optimization_barrier` is taken out before that), and no number is above infinity.
    """
    return jax.lax.cond(x.ravel()[0] > jnp.inf, jnp.zeros_like, lambda x: x, x)


def _added_up(geometry: Geometry, kernel: jax.Array) -> jax.Array:
    """The transposed convolution's kernel: what each position gives to each that it comes to be."""
    axes = tuple(range(len(geometry.widths)))
    kernel = jnp.flip(kernel, axes)
    for axis, factor in enumerate(geometry.strides):
        shifts = (
            [(i, factor - 1 - i) if a == axis else (0, 0) for a in range(kernel.ndim)]
            for i in range(factor)
        )
        kernel = _sum(jnp.pad(kernel, shift) for shift in shifts)
    return kernel


def _columns(geometry: Geometry, c_in: int) -> int:
    """How many numbers each position sees, where none is seen by two; 0 elsewhere.

    Such a convolution is one matrix product.
    """
    if any(map(any, geometry.pads)):
        return 0
    single = set(geometry.widths) == {1} == set(geometry.strides)
    return math.prod(geometry.widths) * c_in if single or geometry.widths == geometry.size else 0


def _image_gradient(geometry: Geometry, dy: jax.Array, kernel: jax.Array) -> jax.Array:
    """The gradient with respect to images, `[b, h, w, c_in]`."""
    c_in, c_out = kernel.shape[-2:]
    if geometry.strides == (1, 1):
        convolve = functools.partial(conv_2d, kernel=kernel, strides=(1, 1), padding=geometry.space)
        return _transpose(convolve, dy, geometry.size, c_in)
    # y[i] gives to x[s·i + j - p] through the kernel's entry j = s·q + r: for each remainder r that
    # is a convolution over q, with stride 1, and the remainders are neighbouring pixels.
    (sh, sw), (kh, kw) = geometry.strides, geometry.widths
    qh, qw = -(-kh // sh), -(-kw // sw)
    kernel = jnp.pad(kernel, ((0, qh * sh - kh), (0, qw * sw - kw), (0, 0), (0, 0)))
    kernel = kernel.reshape(qh, sh, qw, sw, c_in, c_out)[::-1, :, ::-1]
    kernel = kernel.transpose(0, 2, 5, 1, 3, 4).reshape(qh, qw, c_out, sh * sw * c_in)
    pixels = conv_2d(dy, kernel, (1, 1), ((qh - 1, qh - 1), (qw - 1, qw - 1)))
    b, h, w, _ = pixels.shape
    pixels = pixels.reshape(b, h, w, sh, sw, c_in).transpose(0, 1, 3, 2, 4, 5)
    pixels = pixels.reshape(b, h * sh, w * sw, c_in)
    begin = [before for before, _ in geometry.space]
    # No kernel saw what lies behind.
    more = [
        max(0, p + n - m) for p, n, m in zip(begin, geometry.size, (h * sh, w * sw), strict=True)
    ]
    pixels = jnp.pad(pixels, ((0, 0), (0, more[0]), (0, more[1]), (0, 0)))
    rows, columns = (slice(p, p + n) for p, n in zip(begin, geometry.size, strict=True))
    return pixels[:, rows, columns]


def _in_frames(form: Form, geometry: Geometry, a: jax.Array, b: jax.Array) -> jax.Array:
    """A form for images, of clips (and of a kernel, which is no clip) frame by frame."""
    frames = next(x.shape[:2] for x in (a, b) if x.ndim == 5)
    flat = (x.reshape(-1, *x.shape[2:]) if x.ndim == 5 else x for x in (a, b))
    y = form(geometry.of_frame, *flat)
    return y if form is kernel_gradient else y.reshape(*frames, *y.shape[1:])


def _taps_in(kernel: jax.Array) -> jax.Array:
    """The kernel of frames laid together, `[kh, kw, kt · c_in, c_out]`."""
    _, kh, kw, _, c_out = kernel.shape
    return kernel.transpose(1, 2, 0, 3, 4).reshape(kh, kw, -1, c_out)


def _taps_out(kernel: jax.Array) -> jax.Array:
    """The kernel to what a frame gives to all taps, `[kh, kw, c_in, kt · c_out]`."""
    _, kh, kw, c_in, _ = kernel.shape
    return kernel.transpose(1, 2, 3, 0, 4).reshape(kh, kw, c_in, -1)


def _taps_spread(kernel: jax.Array) -> jax.Array:
    """The kernel of a transposed convolution, `[kh, kw, kt · c_out, c_in]`."""
    return _taps_in(kernel.swapaxes(-1, -2))


def _frames(x: jax.Array, start: int, count: int) -> jax.Array:
    """Frames `start` … `start + count - 1` of a clip that goes on with its end frames."""
    before, after = min(count, max(0, -start)), min(count, max(0, start + count - x.shape[1]))
    within = count - before - after
    parts = []
    if before:
        parts.append(jnp.broadcast_to(x[:, :1], (x.shape[0], before, *x.shape[2:])))
    if within:
        parts.append(x[:, max(start, 0) : max(start, 0) + within])
    if after:
        parts.append(jnp.broadcast_to(x[:, -1:], (x.shape[0], after, *x.shape[2:])))
    return parts[0] if len(parts) == 1 else jnp.concatenate(parts, axis=1)


def _sum(parts: Iterable[jax.Array]) -> jax.Array:
    return functools.reduce(operator.add, parts)


def _lay_together(geometry: Geometry, x: jax.Array) -> jax.Array:
    """All frames that the taps see, in the channels: `[b, t', ..., kt · c]`."""
    before, _ = geometry.time
    taps = range(geometry.widths[0])
    return jnp.concatenate([_frames(x, i - before, geometry.out[0]) for i in taps], axis=-1)


def _add_up(geometry: Geometry, given: jax.Array) -> jax.Array:
    """What the taps were given, `[b, t, ..., kt · c]`, at the frames that see it."""
    before, _ = geometry.time
    parts = enumerate(jnp.split(given, geometry.widths[0], axis=-1))
    return _sum(_frames(part, i - before, geometry.out[0]) for i, part in parts)


def _given(geometry: Geometry, dy: jax.Array) -> jax.Array:
    """`_add_up` transposed."""
    size = (geometry.size[0], *geometry.out[1:])
    channels = geometry.widths[0] * dy.shape[-1]
    return _transpose(functools.partial(_add_up, geometry), dy, size, channels)


def _add_spread(geometry: Geometry, spread: jax.Array) -> jax.Array:
    """What frames give to a transposed convolution's, `[b, t, ..., kt · c]`, at those."""
    before, stride = geometry.time[0], geometry.strides[0]
    parts = jnp.split(spread, geometry.widths[0], axis=-1)
    # Through the kernel's entry j, frame i gives to frame s·i + j - p.
    phases = [
        _sum(
            _frames(parts[j], (phase + before - j) // stride, geometry.out[0])
            for j in range((phase + before) % stride, geometry.widths[0], stride)
        )
        for phase in range(stride)
    ]
    y = jnp.stack(phases, axis=2)
    return y.reshape(y.shape[0], -1, *y.shape[3:])


def _spread(geometry: Geometry, dy: jax.Array) -> jax.Array:
    """`_add_spread` transposed."""
    size = (geometry.out[0], *geometry.size[1:])
    channels = geometry.widths[0] * dy.shape[-1]
    return _transpose(functools.partial(_add_spread, geometry), dy, size, channels)


def _transpose(
    function: Callable[[jax.Array], jax.Array], y: jax.Array, size: Sequence[int], channels: int
) -> jax.Array:
    """Applies the transpose of a linear function of data `[b, *size, channels]` to `y`."""
    x = jax.ShapeDtypeStruct((y.shape[0], *size, channels), y.dtype)
    return jax.linear_transpose(function, x)(y)[0]


def _classes(geometry: Geometry) -> Iterator[tuple[Geometry, slice, slice]]:
    """A convolution strided over time as a sum of some that are not.

    Yields:
      For each remainder of frames by the stride: the geometry, which of the frames (the repeated
      ones among them) it is of, and which taps.
    """
    width, stride, out = geometry.widths[0], geometry.strides[0], geometry.out[0]
    for first in range(min(stride, width)):
        taps = len(range(first, width, stride))
        part = Geometry(
            (out + taps - 1, *geometry.size[1:]),
            (taps, *geometry.widths[1:]),
            (1, *geometry.strides[1:]),
            (0, 0),
            geometry.space,
        )
        seen = slice(first, first + stride * (part.size[0] - 1) + 1, stride)
        yield part, seen, slice(first, None, stride)


def _interleave(parts: Sequence[jax.Array], stride: int, length: int, axis: int) -> jax.Array:
    """Puts part r at the positions r, r + stride, … of an axis of that length; zeros elsewhere."""
    longest = -(-length // stride)
    filled = []
    for part in parts:
        widths = [(0, longest - n if i == axis else 0) for i, n in enumerate(part.shape)]
        filled.append(jnp.pad(part, widths))
    filled += [jnp.zeros_like(filled[0])] * (stride - len(filled))
    y = jnp.stack(filled, axis=axis + 1)
    y = y.reshape(*y.shape[:axis], -1, *y.shape[axis + 2 :])
    return jax.lax.slice_in_dim(y, 0, length, axis=axis)

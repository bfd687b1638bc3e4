"""Fixed feature networks: what frames and clips are compared by. No download, no training.

Random convolutional filters, three layers of them, and of every channel the mean and the standard
deviation over space (and time): statistics of colour, texture and, for clips, of movement. Random
filters are a fair basis for that: Ustyuzhaninov et al. 2016 (arXiv:1606.00021) synthesise textures
from one random layer, Naeem et al. 2020 (arXiv:2002.09797) evaluate by random networks where the
data are far from ImageNet. But they know no objects. Distances of these features compare runs of
this package with one another on the same data; they are **not** the FID or FVD that papers publish,
neither in scale nor in what they see.

A filter is a random direction in the space of patches after whitening: else nearly all of its
response would be brightness, since neighbouring pixels, and frames, are nearly equal. The patches'
covariance isn't estimated but assumed, the separable first-order Markov field of image coding
(Ahmed, Natarajan, Rao 1974, "Discrete cosine transform"): unit variance, and one correlation from a
pixel or frame to the next, another from a colour to the others. Filters are scaled to respond to
such a field with variance 1, and a tanh follows: all features lie in [-1, 1], and of what they see
none outweighs the rest.

For clips there are two streams that never meet, of half the channels each: one whose first filters
sum over time and so see what a clip shows, and one whose first filters have the sum 0 over time and
so see nothing of a still clip. In one stream fine texture would pass for movement.

The filters are drawn from PCG64's raw bits, whose stream is promised never to change (NEP 19), so
they are the same whatever the versions of NumPy and JAX, and the device.
"""

import dataclasses
import functools
import itertools
import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from vidgan_jax.devices import spread
from vidgan_jax.layers import avg_pool, conv

# Enters the name of what is measured: a change here makes other, incomparable numbers.
VERSION = 2
MIN_SIZE = 8
MIN_FRAMES = 2

_CHANNELS = (8, 16, 16)
_WIDTH = 3  # of filters, pixels and frames
# The assumed field.
_CORRELATION = 0.95  # of neighbouring pixels, and of successive frames
_COLOUR_CORRELATION = 0.8  # of red, green and blue; channels further in are taken for independent
_GAIN = 2.0  # frames, and outputs of tanh, have a standard deviation of about ½

NUM_FEATURES = 2 * sum(_CHANNELS)

# Gone through at once, on all devices together, at most.
_ROWS = 32
_PIXELS = 2**22


@dataclasses.dataclass(frozen=True)
class Layer:
    """Weights of one layer.

    Attributes:
      kernel: float32 `[*widths, c_in, c_out]`.
      bias: float32 `[c_out]`.
    """

    kernel: np.ndarray
    bias: np.ndarray


def frame_features(frames: np.ndarray) -> np.ndarray:
    """Features of single frames: colour and texture.

    Args:
      frames: uint8 `[n, h, w, 3]`, at least 8×8; those that are compared must be of one size.

    Returns:
      float32 `[n, NUM_FEATURES]`.

    Raises:
      ValueError: another dtype or shape.
    """
    _check(frames, 4, "frames")
    return _run(frames)


def clip_features(clips: np.ndarray) -> np.ndarray:
    """Features of clips: colour, texture and movement.

    Filters of the first layer reach over three frames, those of the last over seven, and the order
    of frames counts.

    Args:
      clips: uint8 `[n, t, h, w, 3]`, at least 2 frames of 8×8; those that are compared must be of
        one length and size.

    Returns:
      float32 `[n, NUM_FEATURES]`.

    Raises:
      ValueError: another dtype or shape.
    """
    _check(clips, 5, "clips")
    return _run(clips)


def motion_features() -> np.ndarray:
    """Which of a clip's features see nothing of a still clip, bool `[NUM_FEATURES]`.

    They are those of the second stream: half of each layer's means, and of its deviations.
    """
    changes = [np.arange(channels) >= channels // 2 for channels in _CHANNELS]
    return np.concatenate([half for half in changes for _ in ("mean", "deviation")])


def _check(examples: np.ndarray, rank: int, name: str) -> None:
    layout = {4: "[n, h, w, 3]", 5: "[n, t, h, w, 3]"}[rank]
    shape = examples.shape
    if examples.dtype != np.uint8 or examples.ndim != rank or shape[-1] != 3:
        raise ValueError(f"{name} must be uint8 {layout}; got {examples.dtype} {list(shape)}")
    if min(shape[-3:-1]) < MIN_SIZE or (rank == 5 and shape[1] < MIN_FRAMES):
        frames = f"{MIN_FRAMES} frames of " if rank == 5 else ""
        raise ValueError(
            f"{name} must have at least {frames}{MIN_SIZE}×{MIN_SIZE} pixels to have features; got "
            f"{list(shape)}"
        )


def _run(examples: np.ndarray) -> np.ndarray:
    rows = max(1, min(_ROWS, _PIXELS // math.prod(examples.shape[1:-1])))
    return np.asarray(_spread(rows)(examples))


@functools.cache
def _spread(rows: int) -> Callable[..., Any]:
    return spread(_features, rows=rows)


def _features(examples: jax.Array) -> jax.Array:
    """`[n, *axes, 3]` → `[n, NUM_FEATURES]`, whatever the rank."""
    rank = examples.ndim - 2
    axes = tuple(range(1, rank + 1))
    x = examples.astype(jnp.float32) / 127.5 - 1.0
    found = []
    with jax.default_matmul_precision("highest"):  # the same numbers on devices with short floats
        for number, layer in enumerate(make_layers(rank)):
            if number:
                halves = (1,) * (rank - 2) + (2, 2)
                x = avg_pool(x, halves, halves)
            x = jnp.tanh(conv(_GAIN * x, jnp.asarray(layer.kernel)) + layer.bias)
            found += [x.mean(axes), x.std(axes)]
    return jnp.concatenate(found, axis=-1)


@functools.cache
def make_layers(rank: int) -> tuple[Layer, ...]:
    """The network for images (rank 2) or clips (rank 3); always the same."""
    seeds = itertools.count(1000 * rank)
    layers: list[Layer] = []
    for c_in, c_out in itertools.pairwise((3, *_CHANNELS)):
        field = _independent(rank, c_in) if layers else _pixels(rank)
        directions = draw_normal(next(seeds), (math.prod(map(len, field)), c_out))
        kernel = _product(map(_whitening, field)) @ directions
        if rank == 3:
            kernel = _in_streams(kernel, c_in, first=not layers)
        kernel /= np.sqrt(np.sum(kernel * (_product(field) @ kernel), axis=0))
        shape = (_WIDTH,) * rank + (c_in, c_out)
        bias = 0.5 * draw_normal(next(seeds), (c_out,))
        layers.append(Layer(kernel.reshape(shape).astype(np.float32), bias.astype(np.float32)))
    return tuple(layers)


def _in_streams(kernel: np.ndarray, c_in: int, *, first: bool) -> np.ndarray:
    """Divides a clip's filters, `[taps · c_in, c_out]`, among what is shown and what changes."""
    shown, changes = np.split(kernel.reshape(_WIDTH, -1, c_in, kernel.shape[1]), 2, axis=-1)
    if first:
        mean = shown.mean(axis=0, keepdims=True)
        shown, changes = np.broadcast_to(mean, shown.shape), changes - changes.mean(axis=0)
    else:
        belongs = np.arange(c_in)[:, None] < c_in // 2
        shown, changes = np.where(belongs, shown, 0), np.where(belongs, 0, changes)
    return np.concatenate([shown, changes], axis=-1).reshape(kernel.shape)


def _pixels(rank: int) -> list[np.ndarray]:
    """Covariances along the axes of a patch `[t, h, w, 3]` of a clip, or `[h, w, 3]`."""
    position = np.arange(_WIDTH)
    axis = _CORRELATION ** np.abs(position[:, None] - position)
    return [axis] * rank + [np.where(np.eye(3), 1.0, _COLOUR_CORRELATION)]


def _independent(rank: int, channels: int) -> list[np.ndarray]:
    """The same for responses of filters, which hardly resemble their neighbours."""
    return [np.eye(_WIDTH)] * rank + [np.eye(channels)]


def _whitening(covariance: np.ndarray) -> np.ndarray:
    """The symmetric root of the inverse of a covariance, of the same shape.

    What is small in the field is amplified up to a bound: to the covariance comes noise of as much
    variance as the difference between neighbours has.
    """
    noise = 2 * (1 - covariance[0, 1]) * np.eye(len(covariance))
    values, vectors = np.linalg.eigh(covariance + noise)
    return (vectors / np.sqrt(values)) @ vectors.T


def _product(axes: Iterable[np.ndarray]) -> np.ndarray:
    """Matrices along single axes → the one of the whole patch, flattened."""
    return functools.reduce(np.kron, axes)


def draw_normal(seed: int, shape: Sequence[int]) -> np.ndarray:
    """Standard normal numbers by Box and Muller from PCG64's raw bits, float64 of `shape`."""
    size = math.prod(shape)
    bits = np.random.PCG64(seed).random_raw(2 * size)
    uniform = (bits >> np.uint64(11)) * 2.0**-53  # [0, 1)
    radius = np.sqrt(-2 * np.log1p(-uniform[:size]))
    return (radius * np.cos(2 * np.pi * uniform[size:])).reshape(shape)

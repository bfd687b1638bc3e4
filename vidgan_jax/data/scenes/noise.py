"""Seeded noise and the small pieces of arithmetic that all painters of scenes share.

Noise is made of waves of drawn phase, so that one seed gives one field whatever the resolution: a
small picture shows the same scene as a large one, only without its finest detail.
"""

import functools
import zlib

import numpy as np

_TILE_SIDE = 256  # cycles up to half of it are drawn; a larger picture is softer, not richer


def stream(seed: int, *names: str | int) -> np.random.Generator:
    """An independent generator for one purpose, e.g. `stream(seed, "layout", 2)`."""
    keys = [zlib.crc32(name.encode()) if isinstance(name, str) else name for name in names]
    return np.random.default_rng([seed, *keys])


Value = np.ndarray | np.floating | float


def mix(a: Value, b: Value, weight: Value) -> np.ndarray:
    """`a` where `weight` is 0, `b` where it is 1, linear between."""
    return np.asarray(a + (b - a) * weight)


def smoothstep(low: float, high: float, value: np.ndarray) -> np.ndarray:
    """0 below `low`, 1 above `high`, a smooth rise between; falls where `high < low`."""
    t = np.clip((value - low) / (high - low), 0, 1)
    return t * t * (3 - 2 * t)


def tile_side(pixels: int) -> int:
    """Side of the noise tiles that suit a picture of so many pixels: a power of two."""
    return min(_TILE_SIDE, 1 << max(4, (pixels - 1).bit_length()))


@functools.lru_cache(maxsize=64)
def _amplitudes(slope: float, stretch_y: float, stretch_x: float, low_cut: float) -> np.ndarray:
    """Amplitude of each wave of a tile, float32 `[256, 129]`."""
    fy = np.fft.fftfreq(_TILE_SIDE)[:, None] * _TILE_SIDE * stretch_y
    fx = np.arange(_TILE_SIDE // 2 + 1)[None] * stretch_x
    frequency = np.hypot(fy, fx)
    frequency[0, 0] = 1
    amplitude = frequency**-slope
    amplitude[frequency < low_cut] = 0
    amplitude[0, 0] = amplitude[:, -1] = 0  # no mean, and no wave without a mirror image
    return amplitude.astype(np.float32)


def noise_tile(
    rng: np.random.Generator,
    side: int,
    *,
    slope: float,
    stretch: tuple[float, float] = (1.0, 1.0),
    low_cut: float = 0.0,
) -> np.ndarray:
    """Periodic Gaussian noise with amplitudes `frequency ** -slope`.

    Args:
      rng: source of the phases; as many numbers are drawn at every `side`.
      side: pixels of the tile; a power of two, at most 256.
      slope: 1 is rough as rock, 1.5 billows, 2 is smooth.
      stretch: above 1 makes features longer along (y, x).
      low_cut: cycles a tile below which there are no waves.

    Returns:
      float32 `[side, side]` of mean 0; the variance is 1 at the full side of 256.
    """
    amplitude = _amplitudes(slope, *stretch, low_cut)
    parts = rng.standard_normal((2, *amplitude.shape), np.float32)
    spectrum = amplitude * (parts[0] + 1j * parts[1])
    # Waves along y are in the spectrum twice, mirrored, and have to agree for a real picture.
    upright = spectrum[:, 0]
    spectrum[:, 0] = (upright + np.conj(np.roll(upright[::-1], 1))) / np.sqrt(2)
    power = 2 * np.sum(np.abs(spectrum[:, 1:]) ** 2) + np.sum(np.abs(spectrum[:, 0]) ** 2)
    rows = np.r_[: side // 2, _TILE_SIDE - side // 2 : _TILE_SIDE]
    spectrum = spectrum[rows, : side // 2 + 1] * np.float32(side * side / np.sqrt(power))
    return np.fft.irfft2(spectrum, (side, side)).astype(np.float32)


def cell_tile(rng: np.random.Generator, side: int, count: int) -> np.ndarray:
    """Periodic cells round random points, as broken stone has faces and seams.

    Args:
      rng: source of the points.
      side: pixels of the tile.
      count: cells in the tile.

    Returns:
      float32 `[side, side, 2]`: each cell's own value (unit variance), and the distance to the
      nearest seam in units of the mean cell's width.
    """
    points = rng.uniform(size=(count, 2)).astype(np.float32)
    values = rng.standard_normal(count, np.float32)
    centres = ((np.arange(side) + 0.5) / side).astype(np.float32)
    offsets = np.abs(points[:, :, None] - centres)
    offsets = np.minimum(offsets, 1 - offsets) ** 2
    nearest = np.full((side, side), np.inf, np.float32)
    second = nearest.copy()
    value = np.zeros((side, side), np.float32)
    for (rows, columns), own in zip(offsets, values, strict=True):
        square = rows[:, None] + columns[None, :]
        closer = square < nearest
        second = np.minimum(second, np.maximum(nearest, square))
        nearest = np.minimum(nearest, square)
        value[closer] = own
    seam = (np.sqrt(second) - np.sqrt(nearest)) * np.float32(np.sqrt(count))
    return np.stack([value, seam], -1)


def noise_line(
    rng: np.random.Generator, x: np.ndarray, *, slope: float, low_cut: float = 1.0
) -> np.ndarray:
    """Noise along a line, for shores and ridges.

    Args:
      rng: source of the phases.
      x: positions; the picture's width or height is 1. The noise repeats after 3.
      slope: 1 is ragged, 2 smooth.
      low_cut: cycles a unit below which there are no waves.

    Returns:
      float32 of `x`'s shape, of mean 0 and about unit variance.
    """
    cycles = np.arange(1, 241) / 3
    amplitude = np.where(cycles < low_cut, 0, cycles**-slope)
    amplitude /= np.sqrt(np.sum(amplitude**2) / 2)
    phases = rng.uniform(0, 2 * np.pi, cycles.shape)
    waves = np.cos(2 * np.pi * cycles[:, None] * np.ravel(x) + phases[:, None])
    return (amplitude @ waves).reshape(np.shape(x)).astype(np.float32)


def sample(tile: np.ndarray, v: np.ndarray, u: np.ndarray) -> np.ndarray:
    """Reads a periodic tile between its pixels, bilinearly.

    Args:
      tile: `[side, side]` or `[side, side, c]`; `side` a power of two.
      v: rows, in tiles: 0 and 1 are the same row.
      u: columns, likewise.

    Returns:
      float32 of the shape of `v`, or that and `c`.
    """
    side = tile.shape[0]
    row, column = np.asarray(v * side, np.float32), np.asarray(u * side, np.float32)
    row_floor, column_floor = np.floor(row), np.floor(column)
    wy, wx = row - row_floor, column - column_floor
    top = row_floor.astype(np.int32) & (side - 1)
    left = column_floor.astype(np.int32) & (side - 1)
    bottom, right = (top + 1) & (side - 1), (left + 1) & (side - 1)
    if tile.ndim == 3:
        wy, wx = wy[..., None], wx[..., None]
    texels = tile.reshape(side * side, *tile.shape[2:])
    upper = mix(texels.take(top * side + left, 0), texels.take(top * side + right, 0), wx)
    lower = mix(texels.take(bottom * side + left, 0), texels.take(bottom * side + right, 0), wx)
    return mix(upper, lower, wy)


def blur(image: np.ndarray, radius: float) -> np.ndarray:
    """Gaussian blur that lets nothing in over the edges.

    Args:
      image: `[n, n]`.
      radius: standard deviation; the picture's side is 1.

    Returns:
      float32 `[n, n]`.
    """
    n = image.shape[0]
    centres = (np.arange(n) + 0.5) / n
    kernel = np.exp(-0.5 * ((centres[:, None] - centres) / radius) ** 2)
    kernel = (kernel / kernel.sum(1, keepdims=True)).astype(np.float32)
    return kernel @ image.astype(np.float32) @ kernel.T

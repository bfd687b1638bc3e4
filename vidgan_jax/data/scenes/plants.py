"""Grass and trees in the wind."""

import numpy as np

from vidgan_jax.data.scenes import materials
from vidgan_jax.data.scenes.layout import GRASS, TREE, WOOD, Layout
from vidgan_jax.data.scenes.noise import mix, noise_tile, sample, smoothstep, stream, tile_side
from vidgan_jax.data.scenes.palette import Palette


class _Turf:
    """Reads a tile at a scale that follows the distance, yet upright everywhere.

    A tile laid on the ground in perspective would fan out; blades stand upright. So two copies,
    each of one power of two in scale, are blended row by row.
    """

    def __init__(self, x: np.ndarray, y: np.ndarray, near: np.ndarray):
        octave = np.clip(np.log2(0.5 / (near + 0.06)), 0, 3)
        fine = np.floor(octave).astype(np.float32)
        self._weight = (octave - fine).astype(np.float32)
        self._scale = 2**fine
        self._x, self._y = x, y

    def look_up(self, tile: np.ndarray, bend: np.ndarray) -> np.ndarray:
        """The tile, shifted sideways by `bend` (tiles), `[m]`."""
        v, u = self._y * self._scale, self._x * self._scale + bend
        return mix(sample(tile, v, u), sample(tile, 2 * v, 2 * u - bend), self._weight)


class Grass:
    """Paints grass that bends as gusts pass over it; in some scenes with flowers."""

    def __init__(self, seed: int, layout: Layout, palette: Palette):
        rng, view = stream(seed, "grass"), layout.view
        self.pixels = layout.pixels(GRASS)
        x, y = view.at(self.pixels)
        side = tile_side(view.side)
        self._blades = noise_tile(rng, side, slope=0.75, stretch=(2.2, 0.7), low_cut=7)
        self._gusts = noise_tile(rng, side, slope=1.8, stretch=(1, 1.3), low_cut=2)
        self._spots = noise_tile(rng, side, slope=1.4, low_cut=22)
        patches = noise_tile(rng, side, slope=1.6)
        near = view.drop(y)
        self._v, self._u = 0.5 * np.log(near + 0.12), 0.5 * (x - 0.5) / (near + 0.12)
        self._turf = _Turf(x, y, near)
        self._near = np.clip(near / 0.45, 0.12, 1).astype(np.float32)
        self._wind = rng.choice((-1, 1)) * rng.uniform(0.1, 0.22)  # tiles a second
        self._bend = 0.016 * rng.uniform(0.7, 1.3)
        patch = sample(patches, self._v, self._u)
        hue = mix(1.0, np.array((1.22, 1.03, 0.8)), 0.35 * patch[:, None])
        colour = palette.grass * 1.12 * hue * (1 + 0.07 * patch[:, None]) * palette.daylight
        haze = (0.4 * np.exp(-np.abs(y - view.horizon) / 0.05))[:, None]
        shade = (materials.ground_shadow(layout) * (0.6 + layout.form)).ravel()[self.pixels, None]
        self._colour = (mix(colour, palette.horizon, haze) * shade).astype(np.float32)
        self._contrast = (0.24 * (0.3 + 0.7 * self._near)).astype(np.float32)
        blooming = rng.random() < 0.45
        bloom = smoothstep(-0.2, 1.2, patch) * (0.9 if blooming else 0.0)
        self._bloom = bloom.astype(np.float32)
        self._petals = (palette.flowers * palette.daylight).astype(np.float32)

    def paint(self, time: float, canvas: np.ndarray) -> np.ndarray:
        """Colours of `pixels` at a time in seconds, `[m, 3]`."""
        gust = sample(self._gusts, 0.8 * self._v, 0.8 * self._u - self._wind * time % 1)
        bend = self._bend * gust
        light = 1 + self._contrast * self._turf.look_up(self._blades, bend)
        light += 0.13 * (0.4 + 0.6 * self._near) * gust
        colour = self._colour * light[:, None]
        if not self._bloom.any():
            return colour
        bloom = smoothstep(0.8, 1.4, self._turf.look_up(self._spots, bend)) * self._bloom
        return mix(colour, self._petals, bloom[:, None])


class Trees:
    """Paints trees whose leaves sway within their outline."""

    def __init__(self, seed: int, layout: Layout, palette: Palette):
        rng, view = stream(seed, "trees"), layout.view
        self.pixels = layout.pixels(TREE)
        self._side = view.side
        self._row_start = self.pixels // view.side * view.side
        self._column = (self.pixels % view.side).astype(np.float32)
        self._leaves = materials.foliage(seed, layout, palette).reshape(-1, 3)
        x, y = view.at(self.pixels)
        clumps = sample(noise_tile(rng, tile_side(view.side), slope=1.3, low_cut=3), y, x)
        self._clumps = clumps * 2.2
        haze = layout.haze.ravel()[self.pixels]
        wood = layout.plant.ravel()[self.pixels] == WOOD
        reach = 0.013 * np.exp(-5 * haze) * np.where(wood, 0.25, 1) * view.side
        self._reach = (reach * rng.uniform(0.7, 1.2)).astype(np.float32)
        self._flutter = np.where(wood, 0, 0.13).astype(np.float32)
        self._turns = 2 * np.pi * np.array((rng.uniform(0.35, 0.55), 1.25, 1.0))  # rad/s

    def paint(self, time: float, canvas: np.ndarray) -> np.ndarray:
        """Colours of `pixels` at a time in seconds, `[m, 3]`."""
        slow, quick, blink = (self._turns * time % (2 * np.pi)).astype(np.float32)
        sway = np.sin(slow + 0.5 * self._clumps) + 0.45 * np.sin(quick + 1.7 * self._clumps)
        column = np.clip(self._column + self._reach * sway, 0, self._side - 1.001)
        left = column.astype(np.int32)
        start = self._row_start + left
        leaves = mix(
            self._leaves.take(start, 0), self._leaves.take(start + 1, 0), (column - left)[:, None]
        )
        return leaves * (1 + self._flutter * np.sin(blink + 3 * self._clumps))[:, None]

"""Falling water."""

import numpy as np

from vidgan_jax.data.scenes.foam import foam_colour
from vidgan_jax.data.scenes.layout import WATERFALL, Fall, Layout
from vidgan_jax.data.scenes.noise import mix, noise_tile, sample, smoothstep, stream, tile_side
from vidgan_jax.data.scenes.palette import Palette


class Waterfall:
    """Paints a waterfall: streaks that stretch as they fall, thin sides, mist at the foot."""

    def __init__(self, seed: int, layout: Layout, palette: Palette, fall: Fall, rock: np.ndarray):
        """Args: rock: the cliff's picture `[n * n, 3]`, which shows through where water is thin."""
        rng, view = stream(seed, "fall"), layout.view
        self.pixels = layout.pixels(WATERFALL)
        x, y = view.at(self.pixels)
        row = self.pixels // view.side
        side = tile_side(view.side)
        self._streaks = noise_tile(rng, side, slope=0.95, stretch=(7, 0.8), low_cut=5)
        self._sheets = noise_tile(rng, side, slope=1.3, stretch=(2.5, 1), low_cut=3)
        self._mists = noise_tile(rng, side, slope=1.6, low_cut=2)
        self._fallen = np.clip((y - fall.lip) / (fall.pool - fall.lip), 0, 1)
        # Water gathers speed: a steady step along v is a longer and longer way down.
        self._v, self._u = 0.35 * np.log1p(2.5 * self._fallen), x
        self._x, self._y = x, y
        self._speed = rng.uniform(0.28, 0.42)  # tiles a second
        self._across = np.abs(x - fall.middle[row]) / fall.half_width[row]
        self._rock = (0.75 * rock[self.pixels]).astype(np.float32)
        self._bright = foam_colour(palette)
        self._dim = (self._bright * (0.56, 0.65, 0.72)).astype(np.float32)

    def paint(self, time: float, canvas: np.ndarray) -> np.ndarray:
        """Colours of `pixels` at a time in seconds, `[m, 3]`."""
        streaks = sample(self._streaks, self._v - self._speed * time % 1, self._u)
        sheets = sample(self._sheets, self._v - 0.8 * self._speed * time % 1, self._u)
        light = smoothstep(-1.8, 1.6, streaks + 0.7 * sheets)
        colour = mix(self._dim, self._bright, light[:, None])
        thin = smoothstep(0.55, 1.15, self._across - 0.12 * streaks - 0.1 * sheets)
        colour = mix(colour, self._rock, 0.8 * thin[:, None])
        mist = sample(self._mists, 0.8 * self._y + 0.1 * time % 1, 0.8 * self._x + 0.07 * time % 1)
        mist = smoothstep(0.7, 1.05, self._fallen + 0.06 * mist) * (0.85 + 0.1 * mist)
        return mix(colour, self._bright, np.clip(mist, 0, 1)[:, None])

"""The sky: a gradient, the sun's halo, and clouds that drift and slowly change."""

import dataclasses

import numpy as np

from vidgan_jax.data.scenes.layout import SKY, Layout
from vidgan_jax.data.scenes.noise import mix, noise_tile, sample, smoothstep, stream, tile_side
from vidgan_jax.data.scenes.palette import Palette


@dataclasses.dataclass(frozen=True)
class _Clouds:
    slope: float  # roughness of their outline, as in `noise_tile`
    stretch: tuple[float, float]  # (away, across)
    threshold: tuple[float, float]  # density where they begin, from and to: coverage
    softness: float  # density from thin edge to full
    opacity: float


_CUMULUS = _Clouds(1.6, (2.0, 1.0), (-0.1, 0.6), 0.9, 0.95)
_BANKS = _Clouds(1.5, (1.5, 1.8), (-0.5, 0.3), 1.4, 0.9)
_WISPS = _Clouds(1.35, (0.9, 2.6), (-0.2, 0.7), 2.6, 0.6)
_FEW = _Clouds(1.55, (1.5, 1.2), (0.7, 1.3), 1.0, 0.85)
_CLOSED = _Clouds(1.55, (1.5, 1.5), (-1.8, -1.0), 1.8, 0.95)


def _draw_clouds(rng: np.random.Generator, palette: Palette) -> _Clouds:
    if palette.sunshine < 1:
        return _CLOSED
    choice = rng.choice(4, p=(0.38, 0.26, 0.22, 0.14))
    return (_CUMULUS, _BANKS, _WISPS, _FEW)[choice]


def _shift(tile: np.ndarray, dv: float, du: float) -> np.ndarray:
    """A periodic tile moved by a fraction of itself, so that row `v` shows row `v + dv`."""
    side = tile.shape[0]
    for axis, offset in ((0, dv * side), (1, du * side)):
        whole = int(np.floor(offset))
        part = np.float32(offset - whole)
        near = np.roll(tile, -whole, axis)
        tile = mix(near, np.roll(near, -1, axis), part)
    return tile


class Sky:
    """Paints the sky's pixels."""

    def __init__(self, seed: int, layout: Layout, palette: Palette):
        rng, view = stream(seed, "sky"), layout.view
        self.pixels = layout.pixels(SKY)
        x, y = view.at(self.pixels)
        kind = _draw_clouds(rng, palette)
        self._threshold = rng.uniform(*kind.threshold)
        self._softness, self._opacity = kind.softness, kind.opacity
        side = tile_side(view.side)
        self._large = noise_tile(rng, side, slope=kind.slope, stretch=kind.stretch, low_cut=2)
        self._small = 0.4 * noise_tile(rng, side, slope=1.2, stretch=kind.stretch, low_cut=6)
        # Clouds hang on a plane overhead, so that they shrink towards the horizon.
        up = np.maximum(view.horizon - y, 0)
        distance = rng.uniform(0.28, 0.4) / (up + 0.24)
        self._v, self._u = distance, (x - 0.5) * distance
        wind = rng.choice((-1, 1)) * rng.uniform(0.022, 0.05)  # tiles a second
        self._wind = (rng.uniform(-0.25, 0.25) * wind, wind)
        self._light = (-0.018, 0.014 * layout.light_side)
        self._background = self._gradient(palette, view.horizon, x, y)
        self._thinning = (self._opacity * smoothstep(-0.02, 0.16, up)).astype(np.float32)
        air = mix(palette.horizon, palette.cloud_lit, 0.4)
        far = np.exp(-up / 0.07)[:, None]
        self._lit = mix(palette.cloud_lit, air, far).astype(np.float32)
        self._shade = mix(palette.cloud_shade, air, 0.7 * far).astype(np.float32)

    @staticmethod
    def _gradient(palette: Palette, horizon: float, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        height = np.clip((horizon - y) / max(horizon, 0.3), 0, 1)[:, None]
        colour = mix(palette.horizon, palette.zenith, 1 - (1 - height) ** 1.6)
        sun_y = horizon - palette.sun_height
        away = np.hypot(x - palette.sun_x, y - sun_y)[:, None]
        halo = np.exp(-away / 0.28) * palette.glow
        return mix(colour, np.minimum(palette.daylight * 1.15, 1), halo).astype(np.float32)

    def _drifted(self, tile: np.ndarray, time: float) -> np.ndarray:
        away, across = self._wind
        return _shift(tile, away * time % 1, across * time % 1)

    def paint(self, time: float, canvas: np.ndarray) -> np.ndarray:
        """Colours of `pixels` at a time in seconds, `[m, 3]`."""
        density = self._drifted(self._large, time) + self._drifted(self._small, 1.4 * time)
        sunward = _shift(density, *self._light)
        lit = np.clip(0.62 + 0.55 * (density - sunward), 0, 1)
        thick = density - self._threshold
        lit *= 1 - 0.3 * np.clip(thick - 0.5 * self._softness, 0, 1.6) / 1.6
        cover = smoothstep(0, self._softness, thick)
        both = sample(np.stack([cover, lit], -1), self._v, self._u)
        cloud = mix(self._shade, self._lit, both[:, 1:])
        return mix(self._background, cloud, (both[:, 0] * self._thinning)[:, None])

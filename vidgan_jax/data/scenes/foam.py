"""What lies on moving water: surf on a beach, foam round rocks and falls, streaks, whitecaps."""

import numpy as np

from vidgan_jax.data.scenes.layout import Layout
from vidgan_jax.data.scenes.noise import (
    blur,
    mix,
    noise_line,
    noise_tile,
    sample,
    smoothstep,
    tile_side,
)
from vidgan_jax.data.scenes.palette import Palette
from vidgan_jax.data.scenes.water import Surface


def foam_colour(palette: Palette) -> np.ndarray:
    """White in the day's light, which colours it less than the land; float32 `[3]`."""
    light = mix(palette.daylight, palette.daylight.mean(), 0.4)
    return np.minimum(0.9 * light + 0.08, 0.98).astype(np.float32)


class _Foam:
    """Base of all foam: a lacy pattern that drifts on the water."""

    def __init__(
        self, rng: np.random.Generator, surface: Surface, palette: Palette, scale: float = 0.6
    ):
        """Args: scale: tiles of the pattern for each camera height, side by side."""
        side = tile_side(surface.side)
        web = noise_tile(rng, side, slope=1.3, low_cut=6)
        self._lace = np.exp(-2.2 * np.abs(web))
        self._colour = foam_colour(palette)
        # Far foam is less foreshortened than it should be, so that its pattern remains readable;
        # where a pixel still spans several of the tile's, it takes the pattern's mean.
        self._v, self._u = 1.6 * scale * np.sqrt(surface.depth), scale * surface.east
        texels = 0.8 * scale * surface.drop**-1.5 * side / surface.side
        self._detail = np.clip(2 / texels, 0, 1).astype(np.float32)
        self._mean = np.float32(self._lace.mean())

    def _pattern(self, drift: float) -> np.ndarray:
        """The pattern after it drifted so many tiles towards the camera, about 0 to 1, `[m]`."""
        return mix(self._mean, sample(self._lace, self._v + drift % 1, self._u), self._detail)

    def _cover(self, colour: np.ndarray, coverage: np.ndarray) -> np.ndarray:
        return mix(colour, self._colour, np.clip(coverage, 0, 1)[:, None])


class Whitecaps(_Foam):
    """Crests that break on open water."""

    def __init__(self, rng: np.random.Generator, surface: Surface, palette: Palette, amount: float):
        super().__init__(rng, surface, palette, scale=0.35)
        self._amount = amount * np.clip(surface.drop / 0.08, 0, 1)

    def apply(self, colour: np.ndarray, time: float, height: np.ndarray) -> np.ndarray:
        """Paints over the water's colours `[m, 3]`."""
        lace = self._pattern(0.1 * time)
        crest = smoothstep(0.9, 2.4, height + 0.4 * self._amount)
        web = smoothstep(0.3, 0.95, lace + 0.12 * height)
        return self._cover(colour, 0.9 * self._amount * crest * web)


class EdgeFoam(_Foam):
    """Foam where water meets something that stands in it: rocks, or a waterfall."""

    def __init__(
        self, rng: np.random.Generator, surface: Surface, palette: Palette, *, obstacle: np.ndarray,
        radius: float, strength: float, drift: float,
    ):  # fmt: skip
        """Args: obstacle: bool `[n, n]`; radius: reach of the foam; drift: tiles a second."""
        super().__init__(rng, surface, palette)
        # Only at an obstacle's foot: over its top one sees water that lies far behind it.
        foot = np.zeros(obstacle.shape, np.float32)
        foot[1:] = obstacle[:-1] & ~obstacle[1:]
        close = blur(foot, radius) + blur(foot, 0.4 * radius)
        along_line = 2.5 * radius * surface.side  # makes it 1 + 1 / 0.4 on a straight foot
        self._close = (strength * along_line * close.ravel()[surface.pixels] / 3.5).astype(
            np.float32
        )
        self._drift = drift

    def apply(self, colour: np.ndarray, time: float, height: np.ndarray) -> np.ndarray:
        """Paints over the water's colours `[m, 3]`."""
        lace = self._pattern(self._drift * time)
        coverage = smoothstep(0.62, 1.25, self._close * (1 + 0.3 * height) + 0.55 * lace)
        return self._cover(colour, coverage * smoothstep(0.05, 0.3, self._close))


class Streaks(_Foam):
    """Lines of foam that a river carries along."""

    def __init__(self, rng: np.random.Generator, surface: Surface, palette: Palette, speed: float):
        """Args: speed: of the river, camera heights a second."""
        super().__init__(rng, surface, palette)
        self._lace = noise_tile(
            rng, tile_side(surface.side), slope=1.1, stretch=(3, 0.7), low_cut=4
        )
        self._mean = np.float32(0)
        self._speed = 0.25 * speed

    def apply(self, colour: np.ndarray, time: float, height: np.ndarray) -> np.ndarray:
        """Paints over the water's colours `[m, 3]`."""
        lines = self._pattern(self._speed * time)
        colour = colour * (1 + 0.09 * lines)[:, None]
        return self._cover(colour, 0.55 * smoothstep(1.2, 2.6, lines + 0.25 * height))


class Surf(_Foam):
    """Breakers that roll towards a beach, and the sheet of water that runs up it and back.

    The sea's region reaches up to the highest run-up, and wet sand shows where the sheet is not.
    """

    def __init__(
        self, rng: np.random.Generator, layout: Layout, surface: Surface, palette: Palette,
        shore: np.ndarray, sand: np.ndarray,
    ):  # fmt: skip
        """Args: shore: row of the water's edge by column; sand: the beach's `[n * n, 3]`."""
        super().__init__(rng, surface, palette)
        column = surface.pixels % surface.side
        shore_drop = layout.view.drop(shore)[column]
        self._out = np.maximum(surface.depth - 1 / shore_drop, 0)  # distance from the shore
        self._wet = (sand[surface.pixels] * np.float32(0.94)).astype(np.float32)
        self._sky = mix(palette.horizon, palette.zenith, 0.4).astype(np.float32)
        self._shallow = palette.water_shallow
        wobble = noise_line(rng, layout.view.centres, slope=1.7)[column]
        self._wobble = wobble
        self._period = rng.uniform(2.6, 4.0)  # seconds from wave to wave
        self._spacing = rng.uniform(0.7, 1.3)
        self._reach = rng.uniform(2.0, 3.6)
        self._run = rng.uniform(0.16, 0.32)
        self._phase = rng.uniform()
        self._gaps = noise_tile(rng, tile_side(surface.side), slope=1.4, low_cut=2)

    def apply(self, colour: np.ndarray, time: float, height: np.ndarray) -> np.ndarray:
        """Paints over the water's colours `[m, 3]`."""
        beat = time / self._period + self._phase
        edge = self._run * (1.1 + np.sin(2 * np.pi * (beat % 1) + 0.7 * self._wobble))
        sheet = self._out - edge  # > 0 where there is water
        lace = self._pattern(0.05 * np.sin(2 * np.pi * beat))
        colour, breaking = self._breakers(colour, beat, sheet, lace)
        film = np.clip(1 - np.exp(-np.maximum(sheet, 0) / 0.45), 0, 1)
        wet = mix(self._wet, self._sky, np.clip(0.12 + 0.1 * sheet / self._run, 0, 0.3)[:, None])
        colour = mix(wet, colour, (0.15 + 0.85 * film)[:, None] * (sheet > 0)[:, None])
        lip = np.exp(-((sheet / (0.05 * self._run + 0.012)) ** 2))
        trail = 0.8 * np.exp(-np.maximum(sheet, 0) / 0.35) * smoothstep(0.35, 0.8, lace)
        return self._cover(colour, np.maximum(np.maximum(lip, trail), breaking) * (sheet > -0.03))

    def _breakers(
        self, colour: np.ndarray, beat: float, sheet: np.ndarray, lace: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """The waves' steep faces, painted, and how much foam follows their fronts."""
        march = self._out / self._spacing + beat + 0.35 * self._wobble
        number = np.floor(march)
        behind = march - number  # 0 at a front, growing seawards to the next one's foot
        gap = sample(self._gaps, 0.137 * number, 0.2 * self._u + 0.31 * number)
        strength = np.exp(-((self._out / self._reach) ** 2)) * smoothstep(0, 0.25, sheet)
        broken = np.clip(0.75 + 0.5 * gap, 0, 1) * strength
        face = smoothstep(0.72, 0.98, behind) * strength
        colour = mix(colour, self._shallow * 0.75, 0.6 * face[:, None])
        foam = smoothstep(0.25, 0.75, broken * np.exp(-3.2 * behind) * (0.7 + 0.9 * lace))
        return colour, foam

"""Light and colour of a scene: a mood of the day and the materials' own colours."""

import dataclasses

import numpy as np

from vidgan_jax.data.scenes import noise

Rgb = tuple[float, float, float]

# Every colour is RGB in [0, 1] as displayed (no linear light), so that mixing is plain arithmetic.


@dataclasses.dataclass(frozen=True)
class Mood:
    """One kind of daylight."""

    share: float  # of the scenes
    zenith: Rgb
    horizon: Rgb
    sunlight: Rgb  # tint of what the sun shines on
    cloud_lit: Rgb
    cloud_shade: Rgb
    brightness: float  # of land and water
    sun_height: tuple[float, float]  # tangent of the sun's elevation, from and to
    glow: float  # strength of the halo round the sun


MOODS: dict[str, Mood] = {
    "clear": Mood(
        share=0.2,
        zenith=(0.18, 0.40, 0.76),
        horizon=(0.73, 0.85, 0.94),
        sunlight=(1.00, 0.98, 0.92),
        cloud_lit=(1.00, 1.00, 1.00),
        cloud_shade=(0.76, 0.81, 0.88),
        brightness=1.0,
        sun_height=(0.50, 0.90),
        glow=0.15,
    ),
    "tropical": Mood(
        share=0.14,
        zenith=(0.08, 0.43, 0.76),
        horizon=(0.66, 0.88, 0.94),
        sunlight=(1.00, 0.99, 0.93),
        cloud_lit=(1.00, 1.00, 0.99),
        cloud_shade=(0.78, 0.86, 0.90),
        brightness=1.04,
        sun_height=(0.50, 0.90),
        glow=0.15,
    ),
    "hazy": Mood(
        share=0.14,
        zenith=(0.43, 0.60, 0.79),
        horizon=(0.87, 0.90, 0.91),
        sunlight=(1.00, 0.97, 0.91),
        cloud_lit=(0.98, 0.97, 0.95),
        cloud_shade=(0.80, 0.83, 0.87),
        brightness=0.95,
        sun_height=(0.30, 0.70),
        glow=0.25,
    ),
    "golden": Mood(
        share=0.14,
        zenith=(0.34, 0.47, 0.68),
        horizon=(0.97, 0.82, 0.60),
        sunlight=(1.00, 0.86, 0.64),
        cloud_lit=(1.00, 0.92, 0.78),
        cloud_shade=(0.66, 0.60, 0.63),
        brightness=0.92,
        sun_height=(0.12, 0.35),
        glow=0.5,
    ),
    "sunset": Mood(
        share=0.12,
        zenith=(0.27, 0.30, 0.52),
        horizon=(0.98, 0.62, 0.41),
        sunlight=(1.00, 0.70, 0.50),
        cloud_lit=(1.00, 0.73, 0.55),
        cloud_shade=(0.47, 0.38, 0.48),
        brightness=0.78,
        sun_height=(0.04, 0.16),
        glow=0.7,
    ),
    "dawn": Mood(
        share=0.1,
        zenith=(0.46, 0.54, 0.76),
        horizon=(0.97, 0.80, 0.78),
        sunlight=(1.00, 0.87, 0.83),
        cloud_lit=(1.00, 0.90, 0.88),
        cloud_shade=(0.68, 0.65, 0.76),
        brightness=0.86,
        sun_height=(0.06, 0.20),
        glow=0.4,
    ),
    "overcast": Mood(
        share=0.09,
        zenith=(0.59, 0.65, 0.71),
        horizon=(0.80, 0.83, 0.85),
        sunlight=(0.93, 0.95, 0.97),
        cloud_lit=(0.87, 0.89, 0.91),
        cloud_shade=(0.62, 0.66, 0.71),
        brightness=0.83,
        sun_height=(0.50, 0.90),
        glow=0.0,
    ),
    "storm": Mood(
        share=0.07,
        zenith=(0.29, 0.35, 0.42),
        horizon=(0.68, 0.73, 0.75),
        sunlight=(0.84, 0.88, 0.92),
        cloud_lit=(0.78, 0.81, 0.84),
        cloud_shade=(0.36, 0.41, 0.47),
        brightness=0.72,
        sun_height=(0.40, 0.80),
        glow=0.0,
    ),
}

_WATER_DEEP: tuple[Rgb, ...] = (
    (0.02, 0.20, 0.29), (0.02, 0.13, 0.27), (0.07, 0.19, 0.21), (0.00, 0.30, 0.40),
)  # fmt: skip
_WATER_SHALLOW: tuple[Rgb, ...] = (
    (0.13, 0.46, 0.50), (0.12, 0.38, 0.48), (0.27, 0.40, 0.38), (0.16, 0.62, 0.64),
)  # fmt: skip
_SAND: tuple[Rgb, ...] = (
    (0.86, 0.77, 0.60), (0.78, 0.65, 0.48), (0.90, 0.86, 0.77), (0.66, 0.60, 0.53),
)  # fmt: skip
_ROCK: tuple[Rgb, ...] = (
    (0.56, 0.54, 0.52), (0.58, 0.46, 0.36), (0.40, 0.40, 0.43), (0.66, 0.50, 0.38),
    (0.70, 0.67, 0.60),
)  # fmt: skip
_GRASS: tuple[Rgb, ...] = (
    (0.34, 0.52, 0.17), (0.45, 0.56, 0.20), (0.26, 0.43, 0.17), (0.66, 0.58, 0.29),
    (0.50, 0.53, 0.25),
)  # fmt: skip
_FOLIAGE: tuple[Rgb, ...] = (
    (0.28, 0.45, 0.15), (0.22, 0.38, 0.16), (0.36, 0.47, 0.15), (0.20, 0.35, 0.20),
    (0.62, 0.42, 0.14),
)  # fmt: skip
_NEEDLES: tuple[Rgb, ...] = ((0.17, 0.32, 0.16), (0.15, 0.30, 0.20), (0.24, 0.34, 0.15))
_MOUNTAIN: tuple[Rgb, ...] = (
    (0.42, 0.44, 0.43), (0.36, 0.42, 0.34), (0.46, 0.40, 0.36), (0.34, 0.38, 0.44),
)  # fmt: skip
_FLOWERS: tuple[Rgb, ...] = (
    (0.98, 0.96, 0.90), (0.96, 0.82, 0.22), (0.84, 0.24, 0.20), (0.66, 0.45, 0.80),
)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Palette:
    """All colours of one scene, float32 RGB `[3]` in [0, 1], and where the sun stands.

    `daylight` is what a material's colour is multiplied with. `sun_x` is the sun's place in the
    picture (0 left, 1 right; it may stand outside); `sun_height` the tangent of its elevation.
    """

    mood: str
    zenith: np.ndarray
    horizon: np.ndarray
    cloud_lit: np.ndarray
    cloud_shade: np.ndarray
    daylight: np.ndarray
    sun_x: float
    sun_height: float
    glow: float
    water_deep: np.ndarray
    water_shallow: np.ndarray
    sand: np.ndarray
    rock: np.ndarray
    grass: np.ndarray
    foliage: np.ndarray
    needles: np.ndarray
    mountain: np.ndarray
    flowers: np.ndarray

    @property
    def light_side(self) -> float:
        """-1 where light comes from the left, 1 where from the right."""
        return -1.0 if self.sun_x < 0.5 else 1.0

    @property
    def sunshine(self) -> float:
        """How directional the light is: 0.35 under a closed sky to 1 under a clear one."""
        return 0.35 if self.mood in ("overcast", "storm") else 1.0


def _vary(rng: np.random.Generator, colour: Rgb, amount: float) -> np.ndarray:
    """A colour a little brighter or darker, and a little off in hue."""
    shade = 1 + rng.normal(0, amount)
    hue = rng.normal(0, amount * 0.3, 3)
    return np.clip(np.array(colour) * shade + hue * np.mean(colour), 0, 1).astype(np.float32)


def draw_palette(rng: np.random.Generator) -> Palette:
    """Draws the light and the colours of a scene."""
    name = str(rng.choice(list(MOODS), p=[mood.share for mood in MOODS.values()]))
    mood = MOODS[name]
    water = rng.integers(len(_WATER_DEEP))  # deep and shallow go together
    cloud_air = noise.mix(np.array(mood.zenith), np.array(mood.cloud_shade), 0.88)
    tint = noise.mix(1.0, np.array(mood.sunlight), 0.8) * mood.brightness
    sky_light = 0.55 + 0.45 * mood.brightness  # water and plants darken with the day

    def one_of(colours: tuple[Rgb, ...]) -> np.ndarray:
        return _vary(rng, colours[rng.integers(len(colours))], 0.06)

    return Palette(
        mood=name,
        zenith=_vary(rng, mood.zenith, 0.04),
        horizon=_vary(rng, mood.horizon, 0.02),
        cloud_lit=_vary(rng, mood.cloud_lit, 0.01),
        cloud_shade=cloud_air.astype(np.float32),
        daylight=tint.astype(np.float32),
        sun_x=rng.uniform(-0.1, 1.1),
        sun_height=rng.uniform(*mood.sun_height),
        glow=mood.glow,
        water_deep=_vary(rng, _WATER_DEEP[water], 0.08) * np.float32(sky_light),
        water_shallow=_vary(rng, _WATER_SHALLOW[water], 0.06) * np.float32(sky_light),
        sand=one_of(_SAND),
        rock=one_of(_ROCK),
        grass=one_of(_GRASS),
        foliage=one_of(_FOLIAGE),
        needles=one_of(_NEEDLES),
        mountain=one_of(_MOUNTAIN),
        flowers=one_of(_FLOWERS),
    )

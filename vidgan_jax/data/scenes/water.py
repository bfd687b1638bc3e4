"""Water: travelling waves seen in perspective, reflecting what stands behind them."""

import dataclasses
from collections.abc import Sequence
from typing import Protocol

import numpy as np

from vidgan_jax.data.scenes.layout import Layout
from vidgan_jax.data.scenes.noise import mix
from vidgan_jax.data.scenes.palette import Palette


class Surface:
    """The visible pixels of a body of water and where they lie in the world.

    Attributes:
      pixels: flat pixel numbers `[m]`.
      x, y: their place in the picture.
      drop: rows below the horizon.
      depth, east: place on the water, in camera heights; `east` follows a river's bends.
    """

    def __init__(self, layout: Layout, pixels: np.ndarray):
        view = layout.view
        self.pixels = pixels
        self.side = view.side
        self.x, self.y = view.at(pixels)
        self.drop = view.drop(self.y)
        self.depth = 1 / self.drop
        middle = np.float32(0.5)
        if layout.river is not None:
            middle = layout.river.middle[pixels // view.side]
        self.east = (self.x - middle) * self.depth


@dataclasses.dataclass(frozen=True)
class Spectrum:
    """Which waves run over a water.

    Attributes:
      longest, shortest: wavelengths, camera heights.
      steepness: root mean square of the slope.
      heading: direction of travel, radians; 0 is right, -π/2 towards the camera.
      spread: standard deviation of the waves' directions round it, radians.
      flow: speed of the water itself towards the camera, camera heights a second.
    """

    longest: float
    shortest: float
    steepness: float
    heading: float
    spread: float
    flow: float = 0.0


class Waves:
    """A sum of sine waves, cheap over time: each moment is one product with a fixed basis."""

    COUNT = 40
    GRAVITY = 5.0  # camera heights per s²: a camera about 2 m over the water
    FASTEST = 10.0  # rad/s: quicker ripples would jump between the frames of a clip

    def __init__(self, rng: np.random.Generator, surface: Surface, spectrum: Spectrum):
        # One wave in each of COUNT bands of equal width in log wavelength.
        bands = (np.arange(self.COUNT) + rng.uniform(0, 1, self.COUNT)) / self.COUNT
        lengths = spectrum.longest * (spectrum.shortest / spectrum.longest) ** bands
        number = 2 * np.pi / lengths
        headings = rng.normal(spectrum.heading, spectrum.spread, self.COUNT)
        kx, kz = number * np.cos(headings), number * np.sin(headings)
        steepness = number**-0.1 * rng.uniform(0.6, 1.3, self.COUNT)
        steepness *= spectrum.steepness * np.sqrt(2 / np.sum(steepness**2))
        rate = np.sqrt(self.GRAVITY * number)
        self._rate = rate / (1 + rate / self.FASTEST) - kz * spectrum.flow
        height = steepness / number
        height /= np.sqrt(np.sum(height**2) / 2)
        self.steepness = spectrum.steepness
        # Rows: height, then slope to the right and away. Height is a cosine, slopes are sines.
        self._even = np.stack([height, np.zeros_like(height), np.zeros_like(height)])
        self._odd = np.stack([np.zeros_like(height), -steepness * kx, -steepness * kz])
        self._odd[1:] /= number
        self._basis = self._make_basis(surface, kx, kz, rng.uniform(0, 2 * np.pi, self.COUNT))

    @staticmethod
    def _make_basis(
        surface: Surface, kx: np.ndarray, kz: np.ndarray, phase: np.ndarray
    ) -> np.ndarray:
        """Cosines and sines over the pixels, float32 `[2 · COUNT, m]`.

        A pixel shows the mean over its footprint on the water, so that waves too short for it fade.
        """
        columns = [np.asarray(k, np.float32)[:, None] for k in (kx, kz, phase)]
        angle = columns[0] * surface.east + columns[1] * surface.depth + columns[2]
        across, along = surface.depth / surface.side, surface.depth**2 / surface.side
        blurred = (columns[0] * across) ** 2 + (columns[1] * along) ** 2
        visible = np.exp(-0.22 * blurred)
        return np.concatenate([visible * np.cos(angle), visible * np.sin(angle)])

    def at(self, time: float) -> np.ndarray:
        """The water at a time in seconds.

        Returns:
          float32 `[3, m]`: height (about unit variance where all waves are visible), and slope to
          the right and away from the camera.
        """
        # cos(a - b) = cos a · cos b + sin a · sin b, with b the phase run through until now.
        turn = self._rate * time
        cos, sin = np.cos(turn), np.sin(turn)
        on_cos = self._even * cos - self._odd * sin
        on_sin = self._even * sin + self._odd * cos
        return np.concatenate([on_cos, on_sin], 1).astype(np.float32) @ self._basis


class Overlay(Protocol):
    """Something that lies on the water: foam, or the wet sand of a shore."""

    def apply(self, colour: np.ndarray, time: float, height: np.ndarray) -> np.ndarray:
        """Paints over the water's colours `[m, 3]`; `height` is the waves' `[m]`."""
        ...


class Water:
    """Paints a water's pixels: its own colour, mirror images, sparkle, and what lies on it."""

    def __init__(
        self,
        layout: Layout,
        palette: Palette,
        surface: Surface,
        waves: Waves,
        overlays: Sequence[Overlay] = (),
        mirror_strength: float = 1.0,
    ):
        self.pixels = surface.pixels
        self._surface, self._waves, self._overlays = surface, waves, overlays
        self._palette = palette
        self._mirror_strength = mirror_strength
        self._smear = 0.15 * waves.steepness
        self._mirror_row = 2 * layout.mirror - surface.y + surface.drop
        # Rows above all of the water: there is nothing in them that is not painted yet.
        self._lowest_row = max(int(surface.pixels[0]) // surface.side - 1, 0)
        across = surface.x - 0.5
        length = np.sqrt(1 + across**2 + surface.drop**2)
        self._to_eye = np.stack([-across, surface.drop, -np.ones_like(across)]) / length
        self._air = (0.45 * np.exp(-surface.drop / 0.03))[:, None].astype(np.float32)

    def paint(self, time: float, canvas: np.ndarray) -> np.ndarray:
        """Colours of `pixels` at a time in seconds, `[m, 3]`.

        Args:
          time: seconds.
          canvas: the picture `[n * n, 3]` with everything that the water mirrors.
        """
        palette = self._palette
        height, slope_x, slope_z = self._waves.at(time)
        facing, column, rise = self._mirrored(slope_x, slope_z)
        mirrored = self._look_up(canvas, column, rise)
        fresnel = 0.03 + 0.97 * (1 - facing) ** 5
        body = mix(
            palette.water_deep, palette.water_shallow, np.clip(0.2 + 0.16 * height, 0, 1)[:, None]
        )
        colour = mix(body, mirrored, (self._mirror_strength * fresnel)[:, None])
        colour = mix(colour, palette.horizon, self._air)
        colour += self._sparkle(column, rise)[:, None] * palette.daylight
        for overlay in self._overlays:
            colour = overlay.apply(colour, time, height)
        return colour

    def _mirrored(
        self, slope_x: np.ndarray, slope_z: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """How squarely the eye meets the water, and where the mirrored ray goes.

        Returns:
          Cosine of the angle between eye and normal; the picture column that the mirrored ray
          meets; the tangent of its elevation. Each `[m]`.
        """
        eye_x, eye_y, eye_z = self._to_eye
        shorten = 1 / np.sqrt(1 + slope_x**2 + slope_z**2)
        facing = np.clip((eye_y - eye_x * slope_x - eye_z * slope_z) * shorten, 0.03, 1)
        twice = 2 * facing * shorten
        away = np.maximum(-twice * slope_z - eye_z, 0.1)
        rise = (twice - eye_y) / away
        column = 0.5 - (twice * slope_x + eye_x) / away
        return facing, column, rise

    def _look_up(self, canvas: np.ndarray, column: np.ndarray, rise: np.ndarray) -> np.ndarray:
        """Colours of the picture where mirrored rays meet it, `[m, 3]`.

        The mean of two rows, as ripples too small to be drawn smear a mirror image vertically.
        """
        side = self._surface.side
        column = np.clip(column * side, 0, side - 1).astype(np.int32)
        colours = np.zeros((len(column), 3), np.float32)
        for smear in (-self._smear, self._smear):
            row = (self._mirror_row - rise + smear) * side
            row = np.clip(row, 0, self._lowest_row).astype(np.int32)
            colours += 0.5 * canvas.take(row * side + column, 0)
        return colours

    def _sparkle(self, column: np.ndarray, rise: np.ndarray) -> np.ndarray:
        """The sun's own image, broken up by the waves."""
        palette = self._palette
        off = ((column - palette.sun_x) / 0.1) ** 2 + ((rise - palette.sun_height) / 0.14) ** 2
        return (0.35 + 0.5 * palette.glow) * (palette.sunshine == 1) * np.exp(-off)

"""Outlines of what stands in a scene: ridges, rocks, trees, as masks with a simple light on them.

All lengths are in units of the picture's side, x to the right and y down. A shape's `form` is how
brightly its body catches the light, about 0 to 1; materials add their texture to it.
"""

from typing import NamedTuple

import numpy as np

from vidgan_jax.data.scenes.noise import mix, noise_line, noise_tile, sample, smoothstep, tile_side


class View:
    """The pixel grid and the ground plane seen in it.

    The camera looks level, at a height of 1 world unit over the ground, with a focal length of one
    picture side: what lies on the ground at row `y` is `1 / (y - horizon)` away.

    Attributes:
      side: pixels along each side, after supersampling.
      horizon: row of the horizon.
      x, y: float32 `[side, side]`, the pixels' centres in [0, 1].
    """

    def __init__(self, side: int, horizon: float):
        self.side = side
        self.horizon = horizon
        self.centres = ((np.arange(side) + 0.5) / side).astype(np.float32)
        self.x = np.broadcast_to(self.centres[None, :], (side, side))
        self.y = np.broadcast_to(self.centres[:, None], (side, side))

    def at(self, pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(x, y) of flat pixel numbers."""
        return self.centres[pixels % self.side], self.centres[pixels // self.side]

    def drop(self, y: np.ndarray) -> np.ndarray:
        """How far rows lie below the horizon; at least half a pixel, so that distances end."""
        return np.maximum(y - self.horizon, 0.5 / self.side)


class Shape(NamedTuple):
    """Where a thing is seen (bool `[n, n]`) and the light on its body (float32 `[n, n]`)."""

    mask: np.ndarray
    form: np.ndarray


def ridge_line(
    rng: np.random.Generator, view: View, *, height: float, relief: float, slope: float = 1.5
) -> np.ndarray:
    """Row of a skyline over each column, float32 `[n]`: `height` over the horizon on average."""
    line = noise_line(rng, view.centres, slope=slope, low_cut=0.6)
    return view.horizon - np.maximum(height + relief * line, 0)


def boulder(
    rng: np.random.Generator, view: View, x: float, base: float, width: float, height: float,
    light_side: float,
) -> Shape:  # fmt: skip
    """An angular rock that stands on row `base`.

    Args:
      rng: source of the outline.
      view: the pixel grid.
      x: its middle.
      base: row where it meets the ground or the water.
      width: from its middle to either end.
      height: of its top over `base`.
      light_side: -1 for light from the left, 1 from the right.
    """
    corners = np.sort(rng.uniform(-0.95, 0.95, 7))
    dome = (1 - np.abs(corners) ** rng.uniform(1.6, 3.2)) * rng.uniform(0.72, 1.1, 7)
    across = (view.centres - x) / width
    outline = np.interp(across, np.r_[-1, corners, 1], np.r_[0, dome, 0], left=-1, right=-1)
    chips = noise_line(rng, view.centres / width, slope=1.3, low_cut=1)
    top = base - height * (outline + 0.04 * chips)
    foot = base + 0.1 * height * (1 - across**2) + 0.015 * width * chips
    mask = (view.y > top) & (view.y < foot) & (np.abs(across) < 1)
    rise = np.clip((foot - view.y) / np.maximum(foot - top, 1e-3), 0, 1)
    form = 0.28 + 0.3 * rise + 0.3 * light_side * across
    return Shape(mask, form.astype(np.float32))


def headland(
    rng: np.random.Generator, view: View, *, from_right: bool, reach: float, height: float,
    base: float, light_side: float,
) -> Shape:  # fmt: skip
    """A cliff that comes in from one side of the picture.

    Args:
      rng: source of the outline.
      view: the pixel grid.
      from_right: the side it comes from.
      reach: how far it comes in.
      height: of its top over the horizon, at the picture's edge.
      base: row of its foot at the picture's edge.
      light_side: -1 for light from the left, 1 from the right.
    """
    inward = 1 - view.centres if from_right else view.centres
    fade = np.clip(1 - inward / reach, 0, 1)
    crags = noise_line(rng, view.centres, slope=1.2, low_cut=2)
    top = view.horizon - height * fade ** rng.uniform(0.35, 0.7) * (1 + 0.13 * crags)
    foot = mix(view.horizon + 0.03, base, fade ** rng.uniform(0.8, 1.6)) + 0.008 * crags
    mask = (view.y > top) & (view.y < foot) & (fade > 0)
    rise = np.clip((foot - view.y) / np.maximum(foot - top, 1e-3), 0, 1)
    facing = light_side * (-1 if from_right else 1)
    form = 0.33 + 0.22 * rise + 0.16 * facing + 0.06 * crags * light_side
    return Shape(mask, form.astype(np.float32))


def tree_line(
    rng: np.random.Generator, view: View, base: np.ndarray, *, height: float, pointed: bool,
    gaps: float = 0.0,
) -> Shape:  # fmt: skip
    """A row of distant trees.

    Args:
      rng: source of the trees.
      view: the pixel grid.
      base: row on which they stand, `[n]`.
      height: of the tallest.
      pointed: conifers, else round crowns.
      gaps: share of the row that is left open, 0 to 1.
    """
    count = int(np.clip(2.4 / height, 12, 70))
    middles = rng.uniform(-0.05, 1.05, count)
    sizes = rng.uniform(0.4, 1.0, count) * (0.8 + 0.2 * noise_line(rng, middles, slope=1.2))
    sizes = np.where(rng.uniform(size=count) < gaps, 0.15, np.maximum(sizes, 0.2))
    widths = height * sizes * (rng.uniform(0.2, 0.32, count) if pointed else 0.6)
    shades = rng.uniform(0.3, 0.62, count)
    across = np.abs(view.centres - middles[:, None]) / widths[:, None]
    profile = np.clip(1 - across, 0, 1) if pointed else np.sqrt(np.clip(1 - across**2, 0, 1))
    tops = height * sizes[:, None] * profile  # [count, n]
    tallest = tops.argmax(0)
    hedge = height * 0.16 * (1.2 + 0.5 * noise_line(rng, view.centres, slope=1.0, low_cut=4))
    crown = np.maximum(tops.max(0), hedge)
    mask = (view.y > base - crown) & (view.y <= base)
    rise = np.clip((base - view.y) / np.maximum(crown, 1e-3), 0, 1)
    form = shades[tallest] * (0.55 + 0.6 * rise)
    return Shape(mask, form.astype(np.float32))


def conifer(
    rng: np.random.Generator, view: View, x: float, base: float, height: float, light_side: float
) -> Shape:
    """A single fir of tiered branches that stands on row `base`."""
    tiers = rng.integers(9, 14)
    bottoms = np.linspace(0.16, 1.0, tiers) + rng.uniform(-0.25, 0.25, tiers) / tiers
    bottoms[-1] = 1.0
    twigs = noise_line(rng, view.centres / height, slope=0.8, low_cut=8)
    mask = np.zeros(view.x.shape, bool)
    form = np.full(view.x.shape, 0.15, np.float32)
    for bottom in bottoms[::-1]:  # the upper branches lie over the lower
        reach = height * (0.03 + 0.19 * bottom) * rng.uniform(0.8, 1.1)
        across = (view.x - x) / reach
        tall = 0.12 + 0.16 * bottom
        foot = base - height * (1 - bottom) - height * 0.1 * across**2 * bottom
        up = (foot - view.y + 0.012 * height * twigs) / (height * tall)  # 0 at the tier's rim
        inside = (up > 0) & (up < 1) & (np.abs(across) < 1 - up * 0.85)
        lit = 0.22 + 0.24 * np.clip(1.4 * up, 0, 1) + 0.16 * light_side * across
        form[inside] = (lit + rng.uniform(-0.04, 0.04))[inside]
        mask |= inside
    return Shape(mask, form)


def crown(
    rng: np.random.Generator, view: View, x: float, y: float, radius: tuple[float, float],
    light_side: float, clumps: int = 14,
) -> Shape:  # fmt: skip
    """A leafy crown: clumps of foliage within an ellipse, each lit from above.

    Args:
      rng: source of the clumps.
      view: the pixel grid.
      x, y: the crown's middle.
      radius: (across, up) of the ellipse.
      light_side: -1 for light from the left, 1 from the right.
      clumps: how many.
    """
    leaves = noise_tile(rng, tile_side(view.side), slope=1.4, low_cut=8)
    fringe = 0.16 * sample(leaves, view.y, view.x)
    angles = rng.permutation(clumps) * (2 * np.pi / clumps) + rng.uniform(-0.4, 0.4, clumps)
    reaches = np.sqrt(rng.uniform(0, 1, clumps)) * 0.72
    mask = np.zeros(view.x.shape, bool)
    form = np.full(view.x.shape, 0.2, np.float32)
    for angle, reach in sorted(zip(angles, reaches, strict=True), key=lambda c: np.sin(c[0])):
        size = rng.uniform(0.32, 0.5)
        dx = (view.x - x) / radius[0] - reach * np.cos(angle)
        dy = (view.y - y) / radius[1] - reach * np.sin(angle)
        inside = (dx * dx + dy * dy) / (size * size) + fringe * 2.2 < 1
        lit = 0.45 - (0.26 * dy - 0.2 * light_side * dx) / size + rng.uniform(-0.06, 0.06)
        lit -= 0.12 * reach * np.sin(angle)  # the lower clumps stand in the others' shade
        form[inside] = lit[inside]
        mask |= inside
    return Shape(mask, form)


def trunk(
    rng: np.random.Generator, view: View, x: float, top: float, base: float, thickness: float
) -> np.ndarray:
    """Mask of a stem from row `top` to row `base`, a little crooked and wider at its foot."""
    along = np.clip((view.y - top) / (base - top), 0, 1)
    lean = rng.uniform(-0.04, 0.04) * along + 0.012 * np.sin(rng.uniform(3, 6) * along)
    half_width = thickness * (0.35 + 0.4 * along + 0.5 * smoothstep(0.85, 1.0, along))
    return (np.abs(view.x - x - lean) < half_width) & (view.y > top) & (view.y < base)

"""Colours of what stands still: rock, sand, mountains; and of trees before the wind moves them.

Every function returns a float32 `[n, n, 3]` picture of the material over the whole view; the label
map decides what is seen of it.
"""

import numpy as np

from vidgan_jax.data.scenes.layout import (
    GRASS,
    LEAVES,
    NEEDLES,
    ROCK,
    SAND,
    TREE,
    WATERS,
    WOOD,
    Layout,
)
from vidgan_jax.data.scenes.noise import (
    blur,
    cell_tile,
    mix,
    noise_line,
    noise_tile,
    sample,
    smoothstep,
    stream,
    tile_side,
)
from vidgan_jax.data.scenes.palette import Palette


def _slope_light(relief: np.ndarray, light_side: float) -> np.ndarray:
    """Light on a relief by a sun above and to one side; 0 on the flat. Heights: picture sides."""
    n = relief.shape[0]
    down, right = np.gradient(relief * n)
    return ((right * -light_side + down) / np.sqrt(1 + right**2 + down**2)).astype(np.float32)


def _aerial(colour: np.ndarray, layout: Layout, palette: Palette) -> np.ndarray:
    """Fades what is far into the colour of the air at the horizon."""
    return mix(colour, palette.horizon, layout.haze[..., None])


def rock(seed: int, layout: Layout, palette: Palette) -> np.ndarray:
    """Weathered rock: broken faces, seams, layers and blotches, dark where it meets water."""
    rng, view = stream(seed, "rock"), layout.view
    side = tile_side(view.side)
    # Bent coordinates keep the texture from looking like one tile laid everywhere.
    bend = noise_tile(rng, side, slope=1.6, low_cut=2)
    v = view.y + 0.022 * sample(bend, view.y, view.x)
    u = view.x + 0.022 * sample(bend, view.y + 0.37, view.x + 0.61)
    tilt = rng.uniform(-0.6, 0.6)
    faces = sample(cell_tile(rng, side // 2, 70), v + tilt * u, rng.uniform(0.8, 1.6) * u)
    chips = sample(cell_tile(rng, side // 2, 160), 1.4 * v, 1.4 * u - tilt * v)
    relief = 0.014 * sample(noise_tile(rng, side, slope=1.7, low_cut=3), v, u)
    layers = noise_tile(rng, side, slope=1.3, stretch=(0.8, 4), low_cut=4)
    grain = sample(noise_tile(rng, side, slope=0.7, low_cut=12), v, u)
    light = layout.form + 0.05 * sample(layers, v + tilt * u, u) + 0.025 * grain
    light += palette.sunshine * 0.2 * _slope_light(relief, layout.light_side)
    light += (0.45 + 0.55 * palette.sunshine) * (0.1 * faces[..., 0] + 0.055 * chips[..., 0])
    light -= 0.16 * np.exp(-faces[..., 1] / 0.09) + 0.07 * np.exp(-chips[..., 1] / 0.1)
    blotches = sample(bend, 1.7 * view.y, 1.7 * view.x + 0.3)
    colour = palette.rock * mix(1.0, np.array((1.06, 0.97, 0.9)), 0.6 * blotches[..., None])
    moss = smoothstep(0.6, 1.6, blotches + 0.4 * faces[..., 0] + rng.uniform(-1.2, 0.6))
    colour = mix(colour, palette.grass * 0.8, 0.45 * moss[..., None])
    shadow = np.array((0.26, 0.27, 0.31)) * palette.rock.mean()
    lit = mix(shadow, colour * 1.25 * palette.daylight, np.clip(light * 1.5, 0, 1)[..., None])
    return _aerial(lit * (1 - 0.45 * _wetness(layout))[..., None], layout, palette)


def _wetness(layout: Layout) -> np.ndarray:
    """1 at the edge of water, fading within a few hundredths of the picture."""
    water = np.isin(layout.labels, list(WATERS))
    return smoothstep(0.02, 0.45, blur(water, 0.012))


def ground_shadow(layout: Layout) -> np.ndarray:
    """Light that reaches the ground beside rocks and trees, about 0.5 to 1, `[n, n]`."""
    rooted = (layout.labels == TREE) & (layout.plant != LEAVES)  # crowns hang in the air
    standing = rooted | (layout.labels == ROCK)
    foot = np.zeros(standing.shape, np.float32)
    foot[1:] = standing[:-1] & np.isin(layout.labels[1:], (GRASS, SAND))
    radius = 0.012
    foot = np.roll(foot, round(-0.4 * radius * layout.view.side * layout.light_side), 1)
    dense = blur(foot, radius) * (2.5 * radius * layout.view.side)  # 1 along a straight foot
    return 1 - 0.5 * smoothstep(0.0, 0.9, dense)


def sand(seed: int, layout: Layout, palette: Palette) -> np.ndarray:
    """Sand in perspective: ripples, grain, and a dark wet strip along a shore."""
    rng, view = stream(seed, "sand"), layout.view
    side = tile_side(view.side)
    near = np.clip(view.drop(view.y), 0.03, 1)
    rippled = noise_tile(rng, side, slope=0.9, stretch=(0.8, 4), low_cut=6)
    ripples = sample(rippled, 0.4 / near, 0.25 * view.x / near) * np.clip(near * 2.5, 0, 1)
    dunes = sample(noise_tile(rng, side, slope=1.8), 1.5 * view.y, view.x)
    grain = sample(noise_tile(rng, side, slope=0.3, low_cut=30), view.y, view.x)
    light = 1 + 0.05 * dunes + 0.035 * ripples + 0.025 * grain
    if layout.shore is None:
        light *= 1 - 0.3 * _wetness(layout)
    else:
        tide = noise_line(rng, view.centres, slope=1.6)
        above_water = (view.y - layout.shore) / near
        light *= 1 - 0.4 * smoothstep(0.32, 0.0, above_water + 0.05 * tide)
    light *= ground_shadow(layout)
    return _aerial(palette.sand * palette.daylight * light[..., None], layout, palette)


def mountain(seed: int, layout: Layout, palette: Palette) -> np.ndarray:
    """Ranges with sunlit and shaded flanks, some with snow above a line."""
    rng, view = stream(seed, "mountain"), layout.view
    side = tile_side(view.side)
    flanks = noise_tile(rng, side, slope=1.7, stretch=(1.3, 0.9), low_cut=3)
    skew = 0.5 * layout.light_side * view.y
    relief = sample(flanks, 1.1 * view.y, view.x + skew)
    faces = sample(cell_tile(rng, side // 2, 60), 1.6 * view.y, 1.8 * view.x + 0.05 * relief + skew)
    fine = sample(noise_tile(rng, side, slope=0.9, low_cut=10), view.y, view.x)
    slope = _slope_light(-0.03 * np.abs(relief), layout.light_side)
    light = 0.58 + palette.sunshine * (0.4 * slope + 0.09 * faces[..., 0]) + 0.035 * fine
    light = np.clip(light, 0.1, 1.1)
    woods = mix(palette.foliage, palette.mountain, 0.45)
    height = layout.form + 0.08 * relief
    colour = mix(woods, palette.mountain, smoothstep(0.1, 0.55, height)[..., None])
    if rng.random() < 0.4:
        snow_line = rng.uniform(0.4, 0.7)
        snow = smoothstep(snow_line, snow_line + 0.12, height + 0.06 * fine)
        colour = mix(colour, np.float32(0.97), snow[..., None])
    shadow = palette.zenith * 0.35 + 0.06
    lit = mix(shadow, colour * 1.15 * palette.daylight, light[..., None])
    return _aerial(lit, layout, palette)


def foliage(seed: int, layout: Layout, palette: Palette) -> np.ndarray:
    """Leaves over the whole view, lit as the trees' shapes are, and the trunks."""
    rng, view = stream(seed, "foliage"), layout.view
    side = tile_side(view.side)
    leaves = sample(noise_tile(rng, side, slope=0.8, low_cut=8), view.y, view.x)
    hues = sample(noise_tile(rng, side, slope=1.5), view.y, view.x)
    light = np.clip(1.25 * layout.form + 0.1 * leaves, 0, 1)
    trees = layout.labels == TREE
    # The nearest tree's kind, as wind moves leaves over the outline as well.
    needles = blur(trees & (layout.plant == NEEDLES), 0.01)
    is_needle = needles > blur(trees & (layout.plant == LEAVES), 0.01)
    green = np.where(is_needle[..., None], palette.needles, palette.foliage)
    sunny = green * (1.22, 1.2, 1.05) * palette.daylight
    shade = green * (0.2, 0.26, 0.3)
    hue = mix(1.0, np.array((1.12, 1.0, 0.85)), 0.5 * hues[..., None])
    colour = mix(shade, sunny * hue, light[..., None])
    bark = np.array((0.27, 0.21, 0.16)) * palette.daylight * (0.8 + 0.25 * leaves[..., None])
    colour = np.where((layout.plant == WOOD)[..., None], bark, colour)
    return _aerial(colour, layout, palette).astype(np.float32)

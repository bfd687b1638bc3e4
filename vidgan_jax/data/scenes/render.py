"""Rendering of procedural nature clips."""

import dataclasses
from typing import Protocol

import numpy as np

from vidgan_jax.data.scenes import materials
from vidgan_jax.data.scenes.fall import Waterfall
from vidgan_jax.data.scenes.foam import EdgeFoam, Streaks, Surf, Whitecaps
from vidgan_jax.data.scenes.layout import (
    GRASS,
    MOUNTAIN,
    RIVER,
    ROCK,
    SAND,
    SCENE_KINDS,
    SEA,
    SKY,
    STATIC_LABELS,
    TREE,
    WATER,
    WATERFALL,
    Layout,
    draw_kind,
    draw_layout,
)
from vidgan_jax.data.scenes.noise import stream
from vidgan_jax.data.scenes.palette import Palette, draw_palette
from vidgan_jax.data.scenes.plants import Grass, Trees
from vidgan_jax.data.scenes.sky import Sky
from vidgan_jax.data.scenes.water import Overlay, Spectrum, Surface, Water, Waves

MIN_SIZE = 16
_HOUR_S = 3600.0


@dataclasses.dataclass(frozen=True)
class SceneClip:
    """A rendered clip.

    Attributes:
      frames: uint8 `[t, h, w, 3]`, RGB.
      label_map: uint8 `[h, w]`, ADE20K ids from 0; it holds for every frame.
      kind: one of `SCENE_KINDS`.
    """

    frames: np.ndarray
    label_map: np.ndarray
    kind: str


class _Painter(Protocol):
    pixels: np.ndarray

    def paint(self, time: float, canvas: np.ndarray) -> np.ndarray: ...


def render_clip(
    seed: int,
    clip: int = 0,
    *,
    num_frames: int = 32,
    size: int = 128,
    fps: float = 24.0,
    kind: str | None = None,
    supersampling: int = 2,
) -> SceneClip:
    """Renders a clip of a nature scene with its exact label map.

    A seed is a scene: its layout, colours and light, at every size. Its clips show other moments of
    it. The camera stands still, and things move only within their own region of the label map;
    mountains, rocks and sand do not move at all.

    Args:
      seed: the scene; at least 0.
      clip: which moment of it; at least 0.
      num_frames: at least 1.
      size: height and width, pixels; at least 16.
      fps: frames a second.
      kind: one of `SCENE_KINDS`; None lets the seed choose.
      supersampling: each pixel is the mean of so many by so many; 1 is quickest, and jagged.

    Returns:
      The clip; the same arguments give the same one.

    Raises:
      ValueError: an argument is out of its range; the message names it.
    """
    _check(seed, clip, num_frames, size, fps, kind, supersampling)
    kind = kind or draw_kind(seed)
    palette = draw_palette(stream(seed, "palette"))
    layout = draw_layout(seed, kind, size * supersampling, palette.light_side)
    label_map = _majority(layout.labels, supersampling)
    start = stream(seed, "moment", clip).uniform(0, _HOUR_S)
    canvas, painters = _prepare(seed, layout, palette)
    frames = np.empty((num_frames, size, size, 3), np.uint8)
    for i in range(num_frames):
        for painter in painters:
            canvas[painter.pixels] = painter.paint(start + i / fps, canvas)
        frames[i] = _downsample(canvas, size, supersampling)
    # A pixel on the edge between rock and water blends both, and the water moves. What the map
    # calls static has to be so to the last bit: such pixels keep the first frame's blend.
    static = np.isin(label_map, list(STATIC_LABELS))
    frames[:, static] = frames[0, static]
    return SceneClip(frames, label_map, kind)


def _check(
    seed: int, clip: int, num_frames: int, size: int, fps: float, kind: str | None,
    supersampling: int,
) -> None:  # fmt: skip
    at_least = {
        "seed": (seed, 0),
        "clip": (clip, 0),
        "num_frames": (num_frames, 1),
        "size": (size, MIN_SIZE),
        "supersampling": (supersampling, 1),
    }
    for name, (value, least) in at_least.items():
        if value < least:
            raise ValueError(f"`{name}` (={value}) must be at least {least}")
    if not fps > 0:
        raise ValueError(f"`fps` (={fps}) must be above 0")
    if kind is not None and kind not in SCENE_KINDS:
        raise ValueError(f"`kind` (={kind!r}) must be one of {', '.join(SCENE_KINDS)}, or None")


def _majority(labels: np.ndarray, factor: int) -> np.ndarray:
    """The commonest label within each output pixel, uint8 `[n / factor, n / factor]`."""
    n = labels.shape[0] // factor
    blocks = labels.reshape(n, factor, n, factor)
    present = np.unique(labels)
    counts = np.stack([(blocks == label).sum((1, 3)) for label in present])
    return present[counts.argmax(0)]


def _downsample(canvas: np.ndarray, size: int, factor: int) -> np.ndarray:
    """Means over pixels as uint8 `[size, size, 3]`."""
    blocks = canvas.reshape(size, factor, size, factor, 3)
    mean = blocks.sum((1, 3)) * (255 / factor**2)
    return (np.clip(mean, 0, 255) + 0.5).astype(np.uint8)


def _prepare(seed: int, layout: Layout, palette: Palette) -> tuple[np.ndarray, list[_Painter]]:
    """Paints what stands still, and sets up what moves.

    Returns:
      The canvas, float32 `[n * n, 3]`, and painters in the order in which to call them.
    """
    canvas = np.zeros((layout.view.side**2, 3), np.float32)
    recipes = {ROCK: materials.rock, SAND: materials.sand, MOUNTAIN: materials.mountain}
    pictures = {}
    needed = set(np.unique(layout.labels).tolist())
    for label, recipe in recipes.items():
        shown_through = {ROCK: layout.fall, SAND: layout.shore}.get(label) is not None
        if label in needed or shown_through:
            pictures[label] = recipe(seed, layout, palette).reshape(-1, 3)
            pixels = layout.pixels(label)
            canvas[pixels] = pictures[label][pixels]
    painters: list[_Painter] = []
    # Water comes last: it mirrors the rest.
    if SKY in needed:
        painters.append(Sky(seed, layout, palette))
    if TREE in needed:
        painters.append(Trees(seed, layout, palette))
    if GRASS in needed:
        painters.append(Grass(seed, layout, palette))
    if layout.fall is not None:
        painters.append(Waterfall(seed, layout, palette, layout.fall, pictures[ROCK]))
    for label in needed & set(_WATERS):
        painters.append(_WATERS[label](seed, layout, palette, pictures))
    return canvas, painters


def _sea(seed: int, layout: Layout, palette: Palette, pictures: dict[int, np.ndarray]) -> Water:
    rng = stream(seed, "water")
    surface = Surface(layout, layout.pixels(SEA))
    heading = -np.pi / 2 + rng.normal(0, 0.35)
    rough = rng.uniform(0.6, 1.2)
    spectrum = Spectrum(rng.uniform(3, 6), 0.04, 0.14 * rough, heading, rng.uniform(0.3, 0.6))
    overlays: list[Overlay] = []
    if rng.random() < 0.6:
        overlays.append(Whitecaps(rng, surface, palette, rough))
    if (layout.labels == ROCK).any():
        overlays.append(_rock_foam(rng, layout, surface, palette, 0.018, 1.0))
    if layout.shore is not None:
        overlays.append(Surf(rng, layout, surface, palette, layout.shore, pictures[SAND]))
    return Water(layout, palette, surface, Waves(rng, surface, spectrum), overlays, 0.85)


def _still_water(
    seed: int, layout: Layout, palette: Palette, pictures: dict[int, np.ndarray]
) -> Water:
    rng = stream(seed, "water")
    surface = Surface(layout, layout.pixels(WATER))
    heading = rng.uniform(-np.pi, 0)
    spectrum = Spectrum(rng.uniform(0.7, 1.4), 0.04, rng.uniform(0.02, 0.06), heading, 0.7)
    overlays: list[Overlay] = []
    if layout.fall is not None:
        spectrum = Spectrum(0.8, 0.04, rng.uniform(0.05, 0.09), -np.pi / 2, 0.9)
        foot = layout.labels == WATERFALL
        overlays.append(
            EdgeFoam(rng, surface, palette, obstacle=foot, radius=0.08, strength=2.2, drift=0.12)
        )
    return Water(layout, palette, surface, Waves(rng, surface, spectrum), overlays)


def _river(seed: int, layout: Layout, palette: Palette, pictures: dict[int, np.ndarray]) -> Water:
    rng = stream(seed, "water")
    surface = Surface(layout, layout.pixels(RIVER))
    flow = rng.uniform(0.35, 0.6)
    spectrum = Spectrum(1.2, 0.1, rng.uniform(0.06, 0.11), -np.pi / 2, 0.6, flow)
    overlays: list[Overlay] = [Streaks(rng, surface, palette, flow)]
    if (layout.labels == ROCK).any():
        overlays.append(_rock_foam(rng, layout, surface, palette, 0.012, 0.9))
    return Water(layout, palette, surface, Waves(rng, surface, spectrum), overlays)


def _rock_foam(
    rng: np.random.Generator, layout: Layout, surface: Surface, palette: Palette, radius: float,
    strength: float,
) -> EdgeFoam:  # fmt: skip
    return EdgeFoam(
        rng, surface, palette, obstacle=layout.labels == ROCK, radius=radius, strength=strength,
        drift=0.08,
    )  # fmt: skip


_WATERS = {SEA: _sea, WATER: _still_water, RIVER: _river}

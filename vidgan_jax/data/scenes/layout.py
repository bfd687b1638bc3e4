"""What stands where: the label map of each kind of scene, and the light on the shapes in it.

A layout is painted back to front; whatever is stamped later hides what lay there.
"""

import dataclasses
from collections.abc import Callable

import numpy as np

from vidgan_jax.data.labels import class_id
from vidgan_jax.data.scenes import shapes
from vidgan_jax.data.scenes.noise import noise_line, stream
from vidgan_jax.data.scenes.shapes import Shape, View

SKY, TREE, GRASS, MOUNTAIN = map(class_id, ("sky", "tree", "grass", "mountain"))
WATER, SEA, ROCK, SAND = map(class_id, ("water", "sea", "rock", "sand"))
RIVER, WATERFALL = map(class_id, ("river", "waterfall"))

LEAVES, NEEDLES, WOOD = range(3)  # see `Layout.plant`

WATERS = frozenset({WATER, SEA, RIVER, WATERFALL})

STATIC_LABELS = frozenset({MOUNTAIN, ROCK, SAND})
"""Classes that never move: their pixels are the same in every frame of a clip."""


@dataclasses.dataclass(frozen=True)
class Stream:
    """A river's course, float32 `[n]` by row: its middle, and half its width."""

    middle: np.ndarray
    half_width: np.ndarray


@dataclasses.dataclass(frozen=True)
class Fall:
    """A waterfall: its middle and half its width by row `[n]`, and the rows of its lip and pool."""

    middle: np.ndarray
    half_width: np.ndarray
    lip: float
    pool: float


class Layout:
    """A scene's label map while it is being painted, and what the painters need to know of it.

    Attributes:
      view: pixel grid and perspective.
      light_side: -1 for light from the left, 1 from the right.
      labels: uint8 `[n, n]`.
      form: float32 `[n, n]`, how brightly each shape catches the light.
      haze: float32 `[n, n]`, how much air lies before each shape, 0 to 1.
      plant: uint8 `[n, n]`: what a tree shows here, `LEAVES`, `NEEDLES` or `WOOD`.
      mirror: row about which still water mirrors what stands behind it.
      shore: row of the water's edge over each column of a beach, or None.
      river, fall: the courses of moving water, or None.
    """

    def __init__(self, view: View, light_side: float, ground: int):
        self.view = view
        self.light_side = light_side
        self.labels = np.where(view.y > view.horizon, np.uint8(ground), np.uint8(SKY))
        self.form = np.full((view.side, view.side), 0.4, np.float32)
        self.haze = np.zeros((view.side, view.side), np.float32)
        self.plant = np.full((view.side, view.side), LEAVES, np.uint8)
        self.mirror = view.horizon
        self.shore: np.ndarray | None = None
        self.river: Stream | None = None
        self.fall: Fall | None = None

    def stamp(
        self, label: int, shape: Shape | np.ndarray, haze: float = 0.0, plant: int = LEAVES
    ) -> None:
        """Paints a shape, or a mask of even light, over what is there."""
        mask, form = shape if isinstance(shape, Shape) else (shape, 0.4)
        self.labels[mask] = label
        self.form = np.where(mask, form, self.form).astype(np.float32)
        self.haze[mask] = haze
        self.plant[mask] = plant

    def is_dry(self, x: float, y: float) -> bool:
        """Whether the ground at a place (clipped to the picture) is no water."""
        row, column = (int(np.clip(c, 0, 0.999) * self.view.side) for c in (y, x))
        return self.labels[row, column] not in WATERS

    def pixels(self, *labels: int) -> np.ndarray:
        """Flat numbers of the pixels of these classes, in reading order."""
        return np.flatnonzero(np.isin(self.labels, labels))


def _mountains(rng: np.random.Generator, layout: Layout, height: float) -> None:
    """One to three ranges, each nearer one lower and clearer."""
    view = layout.view
    count = int(rng.integers(1, 4))
    for i in range(count):
        tall = height * (1 - 0.55 * i / count)
        line = shapes.ridge_line(rng, view, height=tall * 0.62, relief=tall * 0.3, slope=1.4)
        mask = (view.y > line) & (view.y <= view.horizon)
        rise = np.clip((view.horizon - view.y) / max(1.4 * height, 1e-3), 0, 1)
        layout.stamp(MOUNTAIN, Shape(mask, rise), haze=0.62 - 0.42 * (i + 1) / count)


def _far_trees(rng: np.random.Generator, layout: Layout, height: float, gaps: float) -> None:
    """A line of trees along the horizon."""
    view = layout.view
    base = np.full(view.side, view.horizon + 0.006, np.float32)
    pointed = bool(rng.random() < 0.6)
    line = shapes.tree_line(rng, view, base, height=height, pointed=pointed, gaps=gaps)
    layout.stamp(TREE, line, rng.uniform(0.08, 0.35), NEEDLES if pointed else LEAVES)


def _side_tree(rng: np.random.Generator, layout: Layout) -> None:
    """A tree near the camera, at the picture's left or right."""
    view = layout.view
    left = rng.random() < 0.5
    inset = rng.uniform(-0.06, 0.14)
    x = inset if left else 1 - inset
    base = rng.uniform(0.86, 1.05)
    if not layout.is_dry(x, base):
        base = 1.12  # a tree does not grow out of a lake: it stands nearer than the picture shows
    if rng.random() < 0.3:
        fir = shapes.conifer(rng, view, x, base, rng.uniform(0.6, 0.95), layout.light_side)
        layout.stamp(TREE, fir, plant=NEEDLES)
        return
    y = rng.uniform(0.16, 0.4)
    radius = (rng.uniform(0.24, 0.38), rng.uniform(0.24, 0.34))
    stem = shapes.trunk(rng, view, x, y, base, rng.uniform(0.022, 0.036))
    layout.stamp(TREE, stem, plant=WOOD)
    layout.stamp(TREE, shapes.crown(rng, view, x, y, radius, layout.light_side))


def _boulders(
    rng: np.random.Generator, layout: Layout, count: int, rows: tuple[float, float], size: float,
    columns: tuple[float, float] = (-0.05, 1.05),
) -> None:  # fmt: skip
    """Rocks on the ground between two rows, the nearer ones larger and in front."""
    view = layout.view
    for base in np.sort(rng.uniform(*rows, count)):
        near = (base - view.horizon) / max(rows[1] - view.horizon, 1e-3)
        width = size * rng.uniform(0.5, 1.2) * (0.35 + 0.65 * near)
        height = width * rng.uniform(0.55, 1.3)
        x = rng.uniform(*columns)
        rock = shapes.boulder(rng, view, x, base, width, height, layout.light_side)
        layout.stamp(ROCK, rock, haze=0.15 * (1 - near))


def _bank(rng: np.random.Generator, layout: Layout, label: int, row: float) -> None:
    """Land that closes the picture's foreground, below an uneven row."""
    view = layout.view
    tilt = rng.uniform(-0.22, 0.22) * (view.centres - 0.5)
    line = row + tilt + 0.03 * noise_line(rng, view.centres, slope=2)
    if label != SAND:
        line = line + 0.012 * noise_line(rng, view.centres, slope=1.0, low_cut=5)  # tufts, stones
    layout.stamp(label, view.y > line)


def _beach(rng: np.random.Generator, layout: Layout) -> None:
    view = layout.view
    if rng.random() < 0.4:
        _mountains(rng, layout, rng.uniform(0.05, 0.16))
    if rng.random() < 0.45:
        cliff = shapes.headland(
            rng, view, from_right=bool(rng.random() < 0.5), reach=rng.uniform(0.25, 0.6),
            height=rng.uniform(0.05, 0.16), base=view.horizon + rng.uniform(0.04, 0.09),
            light_side=layout.light_side,
        )  # fmt: skip
        layout.stamp(ROCK if rng.random() < 0.5 else TREE, cliff, haze=rng.uniform(0.15, 0.35))
    tilt = rng.normal(0, 0.28)
    shore = rng.uniform(0.6, 0.76) + tilt * (view.centres - 0.5)
    shore += 0.02 * noise_line(rng, view.centres, slope=2.2)
    highest = view.horizon + 0.12  # approached softly, so that the line has no corner there
    layout.shore = (highest + 0.06 * np.logaddexp(0, (shore - highest) / 0.06)).astype(np.float32)
    layout.stamp(SAND, view.y > layout.shore)
    if rng.random() < 0.4:
        _boulders(rng, layout, int(rng.integers(1, 5)), (0.62, 0.95), 0.12)
    if rng.random() < 0.25:
        _bank(rng, layout, GRASS, rng.uniform(0.88, 0.95))
    if rng.random() < 0.22:
        _side_tree(rng, layout)


def _coast(rng: np.random.Generator, layout: Layout) -> None:
    view = layout.view
    if rng.random() < 0.35:
        _mountains(rng, layout, rng.uniform(0.05, 0.15))
    from_right = bool(rng.random() < 0.5)
    has_cliff = rng.random() < 0.65
    if has_cliff:
        height, base = rng.uniform(0.12, 0.3), rng.uniform(view.horizon + 0.15, 0.9)
        reach = rng.uniform(0.4, 0.85)
        cliff = shapes.headland(
            rng, view, from_right=from_right, reach=reach, height=height, base=base,
            light_side=layout.light_side,
        )  # fmt: skip
        layout.stamp(ROCK, cliff, haze=0.06)
        if rng.random() < 0.6:
            _cliff_top(rng, layout, cliff, rng.uniform(0.12, 0.3))
    rows = (view.horizon + 0.08, rng.uniform(0.7, 0.97))
    _boulders(rng, layout, int(rng.integers(1 if has_cliff else 2, 6)), rows, 0.2)
    if rng.random() < 0.3:
        _boulders(rng, layout, 4, (1.0, 1.1), 0.26)
    if rng.random() < 0.12:
        _side_tree(rng, layout)


def _cliff_top(rng: np.random.Generator, layout: Layout, cliff: Shape, share: float) -> None:
    """Grass over the uppermost part of a cliff."""
    view = layout.view
    top = np.where(cliff.mask.any(0), cliff.mask.argmax(0) / view.side, 2.0)
    depth = np.clip(cliff.mask.sum(0) / view.side, 0, 0.4) * share
    ragged = 1 + 0.35 * noise_line(rng, view.centres, slope=1.8, low_cut=2)
    grassy = cliff.mask & (view.y < top + depth * ragged)
    layout.stamp(GRASS, Shape(grassy, 0.8 * cliff.form))


def _lake(rng: np.random.Generator, layout: Layout) -> None:
    _mountains(rng, layout, rng.uniform(0.1, 0.3))
    _far_trees(rng, layout, rng.uniform(0.04, 0.13), gaps=rng.uniform(0, 0.5))
    foreground = rng.random()
    if foreground < 0.3:
        _bank(rng, layout, GRASS, rng.uniform(0.82, 0.93))
    elif foreground < 0.6:
        _boulders(rng, layout, int(rng.integers(3, 9)), (0.82, 1.04), 0.15)
    elif foreground < 0.75:
        _bank(rng, layout, SAND, rng.uniform(0.85, 0.93))
    if rng.random() < 0.45:
        _side_tree(rng, layout)


def _meadow(rng: np.random.Generator, layout: Layout) -> None:
    view = layout.view
    if rng.random() < 0.75:
        _mountains(rng, layout, rng.uniform(0.1, 0.28))
    if rng.random() < 0.8:
        _far_trees(rng, layout, rng.uniform(0.04, 0.12), gaps=rng.uniform(0, 0.7))
    hill = shapes.ridge_line(
        rng, view, height=rng.uniform(-0.02, 0.03), relief=rng.uniform(0.005, 0.03), slope=2.2
    )
    layout.stamp(GRASS, view.y > hill)
    for base in np.sort(rng.uniform(view.horizon + 0.04, 0.72, int(rng.integers(0, 4)))):
        _field_tree(rng, layout, rng.uniform(0, 1), base)
    if rng.random() < 0.3:
        _boulders(rng, layout, int(rng.integers(1, 4)), (0.62, 0.95), 0.09)
    if rng.random() < 0.35:
        _side_tree(rng, layout)


def _field_tree(rng: np.random.Generator, layout: Layout, x: float, base: float) -> None:
    """A tree that stands on the ground at row `base`, as tall as it looks from there."""
    view = layout.view
    tall = np.clip(rng.uniform(0.7, 1.2) * (base - view.horizon), 0.05, 0.5)
    haze = 0.25 * float(np.exp(-8 * (base - view.horizon)))
    if rng.random() < 0.5:
        tree = shapes.conifer(rng, view, x, base, 1.25 * tall, layout.light_side)
        layout.stamp(TREE, tree, haze, NEEDLES)
        return
    stem = shapes.trunk(rng, view, x, base - 0.6 * tall, base, 0.05 * tall)
    layout.stamp(TREE, stem, haze, WOOD)
    radius = (0.45 * tall, 0.4 * tall)
    leaves = shapes.crown(rng, view, x, base - 0.66 * tall, radius, layout.light_side, clumps=8)
    layout.stamp(TREE, leaves, haze)


def _river(rng: np.random.Generator, layout: Layout) -> None:
    view = layout.view
    _mountains(rng, layout, rng.uniform(0.14, 0.3))
    _far_trees(rng, layout, rng.uniform(0.05, 0.13), gaps=rng.uniform(0, 0.4))
    drop = view.drop(view.centres)
    nearness = np.log(drop / 0.5)
    bend = rng.uniform(0.25, 0.5) * np.sin(rng.uniform(2.2, 3.6) * nearness + rng.uniform(0, 6.3))
    middle = rng.uniform(0.35, 0.65) + (rng.uniform(-0.3, 0.3) + bend) * drop
    half_width = rng.uniform(0.26, 0.5) * drop + 0.006
    layout.river = Stream(middle.astype(np.float32), half_width.astype(np.float32))
    ragged = [0.1 * noise_line(rng, nearness / 3, slope=1.2, low_cut=1) for _ in range(2)]
    side = np.where(view.x > middle[:, None], ragged[0][:, None], ragged[1][:, None])
    across = np.abs(view.x - middle[:, None]) / half_width[:, None] + side
    ground = view.y > view.horizon + 0.012
    if rng.random() < 0.55:
        gravel = 1 + np.maximum(0.18 + 0.25 * noise_line(rng, nearness / 2, slope=1.6), 0)
        layout.stamp(SAND if rng.random() < 0.5 else ROCK, ground & (across < gravel[:, None]))
    layout.stamp(RIVER, ground & (across < 1))
    for base in np.sort(rng.uniform(view.horizon + 0.02, 0.8, int(rng.integers(3, 9)))):
        row = min(int(base * view.side), view.side - 1)
        off = half_width[row] * 1.2 + rng.uniform(0.2, 1.0) * (base - view.horizon)
        _field_tree(rng, layout, middle[row] + rng.choice([-1, 1]) * off, base)
    if rng.random() < 0.6:
        _boulders(rng, layout, int(rng.integers(2, 7)), (0.6, 1.0), 0.08)
    if rng.random() < 0.3:
        _side_tree(rng, layout)


def _waterfall(rng: np.random.Generator, layout: Layout) -> None:
    view = layout.view
    pool = view.horizon + rng.uniform(0.2, 0.3)
    layout.mirror = pool
    lip = pool - rng.uniform(0.38, 0.55)
    edge = lip + 0.03 * noise_line(rng, view.centres, slope=1.3)
    cliff_light = 0.4 + 0.05 * noise_line(rng, view.centres, slope=1.2, low_cut=1)
    layout.labels[:] = SKY
    if rng.random() < 0.4:
        layout.stamp(MOUNTAIN, view.y > lip - 0.1 - 0.05 * noise_line(rng, view.centres, slope=1.5))
    pointed, height = bool(rng.random() < 0.6), rng.uniform(0.1, 0.2)
    trees = shapes.tree_line(rng, view, edge + 0.05, height=height, pointed=pointed)
    layout.stamp(TREE, trees, 0.08, NEEDLES if pointed else LEAVES)
    layout.stamp(ROCK, Shape(view.y > edge, np.broadcast_to(cliff_light, view.y.shape)))
    shoreline = pool + 0.012 * noise_line(rng, view.centres, slope=1.6)
    layout.stamp(WATER, view.y > shoreline)
    wobble = 0.02 * noise_line(rng, view.centres, slope=2)
    middle = rng.uniform(0.32, 0.68) + wobble
    widening = 0.8 + 0.5 * np.clip((view.centres - lip) / (pool - lip), 0, 1)
    frayed = 1 + 0.07 * noise_line(rng, view.centres, slope=1.3, low_cut=2)
    half_width = rng.uniform(0.05, 0.17) * widening * frayed
    layout.fall = Fall(middle.astype(np.float32), half_width.astype(np.float32), lip, pool)
    inside = np.abs(view.x - middle[:, None]) < half_width[:, None]
    layout.stamp(WATERFALL, inside & (view.y > edge - 0.004) & (view.y < shoreline + 0.015))
    _fall_surroundings(rng, layout, pool)


def _fall_surroundings(rng: np.random.Generator, layout: Layout, pool: float) -> None:
    """Rocks in the pool, trees or a bank before it."""
    for columns in ((-0.1, 0.32), (0.68, 1.1)):
        rows = (pool + 0.01, pool + 0.12)
        _boulders(rng, layout, int(rng.integers(1, 4)), rows, 0.13, columns)
    if rng.random() < 0.35:
        _bank(rng, layout, GRASS, rng.uniform(0.88, 0.95))
    elif rng.random() < 0.5:
        _boulders(rng, layout, 4, (0.98, 1.1), 0.2)
    if rng.random() < 0.45:
        _side_tree(rng, layout)


@dataclasses.dataclass(frozen=True)
class _Kind:
    paint: Callable[[np.random.Generator, Layout], None]
    ground: int
    horizon: tuple[float, float]  # row, from and to
    weight: float  # share among scenes of no given kind
    labels: frozenset[int]  # the classes that may occur


_SHARED = frozenset({SKY, TREE, GRASS, MOUNTAIN, ROCK})
_KINDS: dict[str, _Kind] = {
    "beach": _Kind(_beach, SEA, (0.28, 0.44), 0.24, _SHARED | {SEA, SAND}),
    "coast": _Kind(_coast, SEA, (0.28, 0.46), 0.2, _SHARED | {SEA}),
    "lake": _Kind(_lake, WATER, (0.4, 0.54), 0.16, _SHARED | {WATER, SAND}),
    "meadow": _Kind(_meadow, GRASS, (0.36, 0.54), 0.13, _SHARED),
    "waterfall": _Kind(_waterfall, WATER, (0.4, 0.5), 0.13, _SHARED | {WATER, WATERFALL}),
    "river": _Kind(_river, GRASS, (0.34, 0.48), 0.14, _SHARED | {RIVER, SAND}),
}

SCENE_KINDS: tuple[str, ...] = tuple(_KINDS)
SCENE_LABELS: dict[str, frozenset[int]] = {name: kind.labels for name, kind in _KINDS.items()}
"""The classes that may occur in each kind of scene."""


def draw_kind(seed: int) -> str:
    """The kind of a scene whose kind is not given."""
    weights = [kind.weight for kind in _KINDS.values()]
    return str(stream(seed, "kind").choice(SCENE_KINDS, p=weights))


def draw_layout(seed: int, kind: str, side: int, light_side: float) -> Layout:
    """Lays out a scene of the given kind.

    Args:
      seed: the scene's number.
      kind: one of `SCENE_KINDS`.
      side: pixels along each side.
      light_side: -1 for light from the left, 1 from the right.

    Returns:
      The layout; the same scene at every `side`.
    """
    rng = stream(seed, "layout")
    recipe = _KINDS[kind]
    view = View(side, rng.uniform(*recipe.horizon))
    layout = Layout(view, light_side, recipe.ground)
    recipe.paint(rng, layout)
    return layout

"""What a comparison shows: each run's examples of the same latents and label maps, side by side."""

import dataclasses
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from vidgan_jax.data import media
from vidgan_jax.data.collection import Clips
from vidgan_jax.data.labels import DONT_CARE, colorize, resize_label_map
from vidgan_jax.experiment import Experiment
from vidgan_jax.metrics.maps import read_labelled
from vidgan_jax.reports.compared import Compared
from vidgan_jax.synthesis.conditions import read_sketches
from vidgan_jax.synthesis.latents import draw_latents
from vidgan_jax.synthesis.run import run_generator

_LEAST_S = 2.0  # of a film, so that it can be seen in players that don't repeat it
_MOST_PIXELS = 8192  # of a side: browsers show no larger films
_GREY = 128  # of margins: pages are light or dark
_EPS = 1e-9


@dataclasses.dataclass(frozen=True)
class Maps:
    """The label maps that all runs of label maps get.

    Attributes:
      label_maps: uint8 `[m, size, size]`, 255 for "don't care", at the largest run's size.
      said: where they are from, in words.
      paths: of files that they were read from; none where they are a data set's.
      real: the real examples that they are of, uint8 `[m, h, w, 3]` or `[m, t, h, w, 3]`; None of
        files.
      fps: frames a second of `real`.
    """

    label_maps: np.ndarray
    said: str
    paths: Sequence[str] = ()
    real: np.ndarray | None = None
    fps: float = 1.0

    def of(self, run: Compared) -> np.ndarray:
        """The maps at a run's size, integers `[m, size, size]`.

        Raises:
          ValueError: its model knows fewer classes.
        """
        config = run.experiment.config
        if self.paths:
            return np.stack([sketch.cond for sketch in read_sketches(config, self.paths)])
        known = config.model.num_labels
        cared = self.label_maps[self.label_maps != DONT_CARE]
        if cared.size and cared.max() >= known:
            raise ValueError(
                f"{run.place.given} knows {known} classes (config.model.num_labels), but the maps "
                f"are {self.said} and have the id {cared.max()}; give others with --label-map or "
                "--data"
            )
        return np.stack([resize_label_map(ids, config.model.size) for ids in self.label_maps])


@dataclasses.dataclass(frozen=True)
class Column:
    """One column of the picture that has all runs in it.

    Attributes:
      name: its head.
      examples: uint8 `[n, h, w, 3]` or `[n, t, h, w, 3]`.
      fps: frames a second of clips.
    """

    name: str
    examples: np.ndarray
    fps: float

    @property
    def num_frames(self) -> int:
        """1 for images."""
        return self.examples.shape[1] if self.examples.ndim == 5 else 1


@dataclasses.dataclass(frozen=True)
class Picture:
    """A film, or a picture where nothing moves, as a file.

    Attributes:
      path: of the file, .mp4 or .png.
      columns: of the grid in it, and their heads where it has all runs.
      width: pixels.
      height: pixels.
      fps: frames a second of a film.
    """

    path: Path
    columns: Sequence[str] | int
    width: int
    height: int
    fps: float | None = None


def maps_of_files(paths: Sequence[str], runs: Sequence[Compared]) -> Maps:
    """Reads label maps from files.

    Args:
      paths: of the files.
      runs: those that take label maps; at least one.

    Raises:
      ValueError: a file can't be used.
    """
    sketches = read_sketches(_largest(runs).config, paths)
    label_maps = np.stack([sketch.label_map for sketch in sketches])
    names = ", ".join(Path(path).name for path in paths)
    return Maps(label_maps, f"of the files {names}", paths)


def maps_of_data(source: Clips, name: str, runs: Sequence[Compared], *, num: int) -> Maps:
    """Reads some of a split's label maps, evenly spaced, and what they are of.

    Args:
      source: the split.
      name: of the data set.
      runs: those that take label maps; at least one.
      num: maps at most.

    Raises:
      ValueError: the split has none.
    """
    longest = max(runs, key=lambda run: run.experiment.clip_spec.num_frames)
    time = longest.experiment.clip_spec
    spec = dataclasses.replace(
        _largest(runs).clip_spec, num_frames=time.num_frames, stride=time.stride
    )
    real, label_maps = read_labelled(source, spec, num=num)
    said = f"from the split {source.split!r} of {name}"
    return Maps(label_maps, said, real=real, fps=longest.fps)


def _largest(runs: Sequence[Compared]) -> Experiment:
    return max((run.experiment for run in runs), key=lambda exp: exp.config.model.size)


def examples_of(
    run: Compared, maps: Maps | None, *, num: int, seed: int, batch_size: int, averaged: bool
) -> np.ndarray:
    """What a run makes of the first latents of a seed; row i is of latent i.

    A run of label maps gets them in turn, one of classes its classes in turn.

    Args:
      run: the run.
      maps: for a run that takes label maps; others don't look at them.
      num: how many.
      seed: of the latents.
      batch_size: at once.
      averaged: which of its generators.

    Returns:
      uint8 `[num, size, size, 3]` or `[num, t, size, size, 3]`.

    Raises:
      ValueError: the maps are not for this run.
    """
    model = run.experiment.config.model
    cond = None
    if model.num_labels:
        if maps is None:
            raise ValueError(f"{run.place.given} makes frames of label maps, and there are none")
        own = maps.of(run)
        cond = own[np.arange(num) % len(own)]
    elif model.num_classes:
        cond = np.arange(num, dtype=np.int32) % model.num_classes
    return run_generator(
        run.experiment,
        run.weights,
        draw_latents(seed, num, model.z_dim, None),
        batch_size=batch_size,
        averaged=averaged,
        cond=cond,
        label=run.name,
    )


def columns_of(maps: Maps | None, runs: Sequence[Column]) -> list[Column]:
    """All columns: of the maps, of what is real, where there are any, and of the runs."""
    if maps is None:
        return list(runs)
    rows = np.arange(len(runs[0].examples)) % len(maps.label_maps)
    first = [Column("label map", colorize(maps.label_maps)[rows], maps.fps)]
    if maps.real is not None:
        first.append(Column("real", maps.real[rows], maps.fps))
    return [*first, *runs]


def join(columns: Sequence[Column]) -> tuple[np.ndarray, float]:
    """Lays columns side by side, all at one size and one speed; row i has each one's example i.

    Smaller examples are enlarged by repeating pixels, images stand still, and shorter clips begin
    again until the longest one ends. Every clip keeps its own speed: the frames shown are those
    that are due.

    Args:
      columns: of as many examples each.

    Returns:
      uint8 `[t, h, w, 3]`, and frames a second; t is 1 where nothing moves.
    """
    moving = [column for column in columns if column.num_frames > 1]
    fps = max((column.fps for column in moving), default=1.0)
    seconds = max((column.num_frames / column.fps for column in moving), default=0.0)
    num_frames = max(1, math.ceil(seconds * fps - _EPS))
    size = media.enlarge(max((c.examples for c in columns), key=lambda e: e.shape[-2])).shape[-2]
    parts = [_fitted(column, num_frames, fps, size) for column in columns]
    cells = np.stack(parts, axis=1).reshape(-1, num_frames, size, size, 3)
    return media.tile_images(cells, len(columns), background=_GREY), fps


def _fitted(column: Column, num_frames: int, fps: float, size: int) -> np.ndarray:
    """Examples at a number of frames, a speed and a size: uint8 `[n, t, size, size, 3]`."""
    clips = column.examples if column.examples.ndim == 5 else column.examples[:, None]
    due = np.floor(np.arange(num_frames) * column.fps / fps + _EPS).astype(int)
    clips = clips[:, due % clips.shape[1]]
    nearest = np.arange(size) * clips.shape[-2] // size
    return clips[:, :, nearest][:, :, :, nearest]


def write_picture(
    stem: Path, frames: np.ndarray, fps: float, columns: Sequence[str] | int
) -> Picture:
    """Writes a film as `STEM.mp4`, or one frame as `STEM.png`.

    Args:
      stem: path without a suffix.
      frames: uint8 `[t, h, w, 3]`.
      fps: frames a second.
      columns: of the grid in it.

    Raises:
      ValueError: it is larger than browsers can show.
    """
    num_frames, height, width, _ = frames.shape
    if max(height, width) > _MOST_PIXELS:
        raise ValueError(
            f"{stem.name} would have {width}×{height} pixels, and browsers show {_MOST_PIXELS} at "
            "most; use a smaller --num, or compare fewer runs"
        )
    if num_frames == 1:
        path = stem.with_name(f"{stem.name}.png")
        media.write_png(path, frames[0])
        return Picture(path, columns, width, height)
    path = stem.with_name(f"{stem.name}.mp4")
    loops = max(1, math.ceil(_LEAST_S * fps / num_frames - _EPS))
    media.write_mp4(path, frames, fps=fps, loops=loops)
    return Picture(path, columns, width, height, fps)


def write_run(stem: Path, column: Column) -> Picture:
    """Writes all of a run's examples as a grid."""
    clips = media.enlarge(column.examples)
    clips = clips if clips.ndim == 5 else clips[:, None]
    columns = _columns(len(clips))
    grid = media.tile_images(clips, columns, background=_GREY)
    return write_picture(stem, grid, column.fps, columns)


def _columns(num: int) -> int:
    """Of a grid about as wide as high; of one without empty places, if there is such a one."""
    least = math.ceil(math.sqrt(num))
    whole = (columns for columns in range(least, least + 2) if num % columns == 0)
    return next(whole, least)


def latents_said(runs: Sequence[Compared], seed: int, num: int) -> list[str]:
    """Which runs have the same latents, in words; several lines where not all do."""
    by_size: dict[int, list[str]] = {}
    without = []
    for run in runs:
        model = run.experiment.config.model
        if model.start == "labels":
            without.append(run.name)
        else:
            by_size.setdefault(model.z_dim, []).append(run.name)
    drawn = f"latents 0 to {num - 1} of seed {seed}"
    said = []
    if len(by_size) == 1 and not without and len(runs) > 1:
        said.append(f"All runs have the same {drawn} ({next(iter(by_size))} numbers each).")
    else:
        for z_dim, names in by_size.items():
            said.append(f"{', '.join(names)}: {drawn}, {z_dim} numbers each.")
        if len(by_size) > 1:
            said.append("Latents of different lengths have nothing to do with one another.")
        if without:
            said.append(f"{', '.join(without)}: no latents, one example of each label map.")
    return said


def classes_said(runs: Sequence[Compared]) -> list[str]:
    """What runs of classes show, in words; nothing where there are none."""
    classes = {run.name: run.experiment.config.model.num_classes for run in runs}
    return [
        f"{name}: row i is of class i, {n} classes in turn." for name, n in classes.items() if n > 1
    ]


def sizes_said(columns: Sequence[Column]) -> list[str]:
    """How runs of different sizes, lengths or speeds are shown, in words."""
    said = []
    if len({column.examples.shape[-2] for column in columns}) > 1:
        said.append("Smaller examples are enlarged by repeating pixels.")
    moving = [column for column in columns if column.num_frames > 1]
    if moving and len(moving) < len(columns):
        still = ", ".join(column.name for column in columns if column.num_frames == 1)
        said.append(f"{still}: images, which stand still.")
    if len({column.num_frames / column.fps for column in moving}) > 1:
        said.append("Shorter clips begin again until the longest one ends.")
    if len({column.fps for column in moving}) > 1:
        speeds = ", ".join(f"{column.name} {column.fps:g}" for column in moving)
        said.append(f"Each at its own speed, in frames a second: {speeds}.")
    return said

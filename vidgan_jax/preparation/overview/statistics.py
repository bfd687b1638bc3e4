"""Statistics of a data set: what it holds, which classes fill its label maps, what was measured.

Taken from records one after another (`Tally.visit`, for `records.verify`). Memory: 8 bytes for each
measure of each clip, and the names of videos.
"""

import array
import collections
import csv
import dataclasses
import io
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vidgan_jax import files
from vidgan_jax.data import labels, records

STATISTICS_NAME = "statistics.json"
FREQUENCY_NAME = "label_frequency"
SCORE = "label_map_score"

MAIN_SHARE = 0.01
"""Classes with at least this share of the pixels are those that scores of maps are averaged over.

Source: the thesis's evaluation of label maps; see `metrics`."""

_NUM_BINS = 20
_QUANTILES = {"p05": 0.05, "p25": 0.25, "median": 0.5, "p75": 0.75, "p95": 0.95}


@dataclasses.dataclass(frozen=True)
class LabelFrequency:
    """How often a class occurs in label maps.

    Attributes:
      label: its id, from 0.
      name: its name.
      pixels: of it in all maps.
      pixel_share: of the pixels of all classes ("don't care" is none), 0 to 1.
      cumulative_share: of this class and all more frequent ones.
      clips: whose maps have it.
      clip_share: of the clips with maps, 0 to 1.
      pixel_share_by_split: `pixel_share` within each split.
    """

    label: int
    name: str
    pixels: int
    pixel_share: float
    cumulative_share: float
    clips: int
    clip_share: float
    pixel_share_by_split: Mapping[str, float]


@dataclasses.dataclass(frozen=True)
class Distribution:
    """How values are distributed.

    Attributes:
      count: of the values.
      mean: of them.
      std: standard deviation of them, of the whole population.
      low: the least.
      high: the greatest.
      quantiles: by name: "p05", "p25", "median", "p75", "p95", between neighbours linearly.
      histogram: values in each of 20 bins of equal width from `low` to `high`.
    """

    count: int
    mean: float
    std: float
    low: float
    high: float
    quantiles: Mapping[str, float]
    histogram: tuple[int, ...]


@dataclasses.dataclass(frozen=True)
class SplitStatistics:
    """What a split holds.

    Attributes:
      clips: in it.
      videos: that they are cut from.
      frames: of all clips.
      seconds: of all clips.
      num_bytes: of all records.
      label_maps: clips with one.
      clips_per_video: over videos.
      measures: by name, over clips; `SCORE` is one of them where clips have it.
    """

    clips: int
    videos: int
    frames: int
    seconds: float
    num_bytes: int
    label_maps: int
    clips_per_video: Distribution
    measures: Mapping[str, Distribution]


@dataclasses.dataclass(frozen=True)
class Statistics:
    """What is in a data set.

    Attributes:
      checksum: of the data set (see `DatasetInfo`).
      splits: by name.
      total: of all splits.
      fps: clips by frame rate, "24".
      sizes: clips by width and height in pixels, "160×160".
      clip_frames: clips by number of frames.
      formats: clips by format of frames.
      dont_care_share: pixels of no class, of all pixels of maps, 0 to 1.
      label_frequency: the classes that occur, the most frequent first.
    """

    checksum: str
    splits: Mapping[str, SplitStatistics]
    total: SplitStatistics
    fps: Mapping[str, int]
    sizes: Mapping[str, int]
    clip_frames: Mapping[str, int]
    formats: Mapping[str, int]
    dont_care_share: float
    label_frequency: tuple[LabelFrequency, ...]

    def to_json(self) -> dict[str, Any]:
        """Everything, as JSON has it."""
        return dataclasses.asdict(self)


class _SplitTally:
    """What is counted of one split."""

    def __init__(self) -> None:
        self.num_bytes = self.label_maps = 0
        # By frame rate: sums of seconds would gather rounding.
        self.frames: collections.Counter[float] = collections.Counter()
        self.videos: collections.Counter[str] = collections.Counter()
        self.pixels = np.zeros(256, np.int64)
        self.clips_with = np.zeros(256, np.int64)
        self.values: dict[str, array.array[float]] = {}

    def visit(self, seen: records.Seen) -> None:
        record = seen.record
        self.frames[record.fps] += len(record.frames)
        self.num_bytes += seen.num_bytes
        self.videos[record.video_id] += 1
        if seen.pixels is not None:
            self.label_maps += 1
            self.pixels += seen.pixels
            self.clips_with += seen.pixels > 0
        for name, value in values_of(record).items():
            self.values.setdefault(name, array.array("d")).append(value)


class Tally:
    """Counts clips as they are visited."""

    def __init__(self) -> None:
        self._splits: dict[str, _SplitTally] = {}
        self._fps: collections.Counter[str] = collections.Counter()
        self._sizes: collections.Counter[str] = collections.Counter()
        self._clip_frames: collections.Counter[str] = collections.Counter()
        self._formats: collections.Counter[str] = collections.Counter()

    def visit(self, seen: records.Seen) -> None:
        """Counts a clip."""
        record = seen.record
        self._splits.setdefault(seen.split, _SplitTally()).visit(seen)
        self._fps[f"{record.fps:g}"] += 1
        self._sizes[f"{record.width}×{record.height}"] += 1
        self._clip_frames[str(len(record.frames))] += 1
        self._formats[seen.image_format] += 1

    def statistics(self, info: records.DatasetInfo) -> Statistics:
        """What was counted so far.

        Args:
          info: of the data set; its splits give the order.

        Raises:
          ValueError: nothing was.
        """
        if not self._splits:
            raise ValueError("no clip could be read, so there is nothing to count")
        splits = {name: self._splits[name] for name in info.splits if name in self._splits}
        pixels = sum((split.pixels for split in splits.values()), np.zeros(256, np.int64))
        return Statistics(
            checksum=info.checksum,
            splits={name: _summary([split]) for name, split in splits.items()},
            total=_summary(list(splits.values())),
            fps=_most_first(self._fps),
            sizes=_most_first(self._sizes),
            clip_frames=_most_first(self._clip_frames),
            formats=_most_first(self._formats),
            dont_care_share=float(pixels[labels.DONT_CARE] / max(pixels.sum(), 1)),
            label_frequency=_label_frequency(splits),
        )


def values_of(record: records.ClipRecord) -> dict[str, float]:
    """What was measured of a clip, with the score of its label map, if it has one."""
    values = dict(record.measures)
    if record.label_map_score is not None:
        values[SCORE] = record.label_map_score
    return values


def distribution(values: Iterable[float]) -> Distribution:
    """How values are distributed.

    Raises:
      ValueError: there are none.
    """
    numbers = np.fromiter(values, np.float64)
    if not numbers.size:
        raise ValueError("values is empty; a distribution needs at least one")
    quantiles = np.quantile(numbers, list(_QUANTILES.values())).tolist()
    return Distribution(
        count=numbers.size,
        mean=float(numbers.mean()),
        std=float(numbers.std()),
        low=float(numbers.min()),
        high=float(numbers.max()),
        quantiles=dict(zip(_QUANTILES, quantiles, strict=True)),
        histogram=tuple(_histogram(numbers).tolist()),
    )


def _histogram(values: np.ndarray) -> np.ndarray:
    low, width = values.min(), np.ptp(values)
    place = (values - low) / width * _NUM_BINS if width else np.zeros(len(values))
    return np.bincount(np.minimum(place.astype(int), _NUM_BINS - 1), minlength=_NUM_BINS)


def _summary(splits: Sequence[_SplitTally]) -> SplitStatistics:
    videos: collections.Counter[str] = collections.Counter()
    frames: collections.Counter[float] = collections.Counter()
    values: dict[str, array.array[float]] = {}
    for split in splits:
        frames.update(split.frames)
        videos.update(split.videos)
        for name, some in split.values.items():
            values.setdefault(name, array.array("d")).extend(some)
    return SplitStatistics(
        clips=videos.total(),
        videos=len(videos),
        frames=frames.total(),
        seconds=sum(count / fps for fps, count in frames.items()),
        num_bytes=sum(split.num_bytes for split in splits),
        label_maps=sum(split.label_maps for split in splits),
        clips_per_video=distribution(videos.values()),
        measures={name: distribution(values[name]) for name in sorted(values)},
    )


def _most_first(counts: "collections.Counter[str]") -> dict[str, int]:
    return dict(counts.most_common())


def _label_frequency(splits: Mapping[str, _SplitTally]) -> tuple[LabelFrequency, ...]:
    nothing = np.zeros(256, np.int64)
    pixels = sum((split.pixels for split in splits.values()), nothing)[: labels.DONT_CARE]
    clips = sum((split.clips_with for split in splits.values()), nothing)
    num_maps = sum(split.label_maps for split in splits.values())
    total = max(int(pixels.sum()), 1)
    classes = {name: split.pixels[: labels.DONT_CARE] for name, split in splits.items()}
    rows = []
    so_far = 0
    for label in sorted(np.flatnonzero(pixels).tolist(), key=lambda label: (-pixels[label], label)):
        so_far += int(pixels[label])
        rows.append(
            LabelFrequency(
                label=label,
                name=labels.class_name(label),
                pixels=int(pixels[label]),
                pixel_share=int(pixels[label]) / total,
                cumulative_share=so_far / total,
                clips=int(clips[label]),
                clip_share=int(clips[label]) / num_maps,
                pixel_share_by_split={
                    name: float(found[label] / max(found.sum(), 1))
                    for name, found in classes.items()
                },
            )
        )
    return tuple(rows)


def write(statistics: Statistics, directory: str | os.PathLike[str]) -> list[Path]:
    """Writes statistics.json and, where there are label maps, label_frequency.csv and .md.

    A table of an earlier state of the data set that no longer has maps is removed.

    Returns:
      The files' paths.
    """
    folder = Path(directory)
    table = {
        folder / f"{FREQUENCY_NAME}.csv": frequency_csv,
        folder / f"{FREQUENCY_NAME}.md": frequency_markdown,
    }
    for path, text in table.items():
        if statistics.label_frequency:
            files.write_bytes(path, text(statistics).encode())
        else:
            path.unlink(missing_ok=True)
    files.write_json(folder / STATISTICS_NAME, statistics.to_json())
    return [*(table if statistics.label_frequency else ()), folder / STATISTICS_NAME]


def frequency_csv(statistics: Statistics) -> str:
    """The table of label frequencies as CSV; shares are from 0 to 1."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    fields = ("label", "name", "pixels", "pixel_share", "cumulative_share", "clips", "clip_share")
    splits = list(statistics.splits)
    writer.writerow(["rank", *fields, *(f"pixel_share_{split}" for split in splits)])
    for rank, row in enumerate(statistics.label_frequency, start=1):
        shares = [row.pixel_share_by_split[split] for split in splits]
        values = [getattr(row, field) for field in fields] + shares
        writer.writerow([rank, *(f"{v:.6f}" if isinstance(v, float) else v for v in values)])
    return text.getvalue()


def frequency_markdown(statistics: Statistics) -> str:
    """The table of label frequencies as Markdown, with a sentence that says of what."""
    rows = statistics.label_frequency
    total = statistics.total
    main = [row for row in rows if row.pixel_share >= MAIN_SHARE]
    splits = list(statistics.splits) if len(statistics.splits) > 1 else []
    header = ["class", "id", "pixels", "cumulative", "clips", *splits]
    cells = [
        [
            row.name.replace("|", "\\|"),
            str(row.label),
            percent(row.pixel_share),
            percent(row.cumulative_share),
            percent(row.clip_share),
            *(percent(row.pixel_share_by_split[split]) for split in splits),
        ]
        for row in rows
    ]
    lines = [
        f"Label frequency over the maps of {total.label_maps:,} clips of {total.videos:,} videos. "
        f"`pixels`: share of all pixels of classes; `clips`: share of clips in whose map the class "
        f"occurs"
        + (f"; {', '.join(splits)}: share of that split's pixels" if splits else "")
        + f". {percent(statistics.dont_care_share)} of the maps' pixels are of no class. "
        f"{len(main)} of {len(rows)} classes have at least {percent(MAIN_SHARE)} of the pixels, "
        f"together {percent(sum(row.pixel_share for row in main))}.",
        "",
        f"| {' | '.join(header)} |",
        f"| {' | '.join(['---', *['---:'] * (len(header) - 1)])} |",
        *(f"| {' | '.join(row)} |" for row in cells),
    ]
    return "\n".join(lines) + "\n"


def percent(share: float) -> str:
    """A share as people read it: "36.4 %", and "<0.1 %" for little that is not nothing."""
    return "<0.1 %" if 0 < share < 0.0005 else f"{100 * share:.1f} %"


def load_shares(directory: str | os.PathLike[str], checksum: str) -> dict[int, float]:
    """Pixel shares by class id out of a statistics.json that was written before.

    Args:
      directory: where it may lie.
      checksum: of the data set that it must be of.

    Returns:
      The shares, 0 to 1; empty where there is no such file, or it is of another data set.
    """
    try:
        known = json.loads((Path(directory) / STATISTICS_NAME).read_bytes())
        if known["checksum"] != checksum:
            return {}
        return {int(row["label"]): float(row["pixel_share"]) for row in known["label_frequency"]}
    except (OSError, ValueError, KeyError, TypeError):
        return {}  # Made by something else; it only saves reading the data set once more.

"""From jobs to a finished data set: parts, split by video, shards, report, info.json, preview.

    OUT/train-00000-of-00002.tfrecord …   the shards (`data/records.py`)
    OUT/report.json                       what became of each video, and why
    OUT/info.json                         written when all shards are in place
    OUT/preview.png                       some clips as film strips, to look at

Until info.json is there, OUT is no data set, and repeating the command goes on where it stopped
(`parts.py`). Nothing there is removed before its replacement has been made.
"""

import contextlib
import dataclasses
import hashlib
import json
import os
import shutil
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from vidgan_jax import files, version
from vidgan_jax.data import media, records, tfexample
from vidgan_jax.preparation.jobs import num_cores, run_jobs
from vidgan_jax.preparation.parts import (
    PARTS_NAME,
    BusyError,
    Job,
    Outcome,
    OutputError,
    Parts,
    Work,
    difference,
    said_clearly,
)

INFO_NAME = "info.json"
REPORT_NAME = "report.json"
PREVIEW_NAME = "preview.png"
TRAIN, VALIDATION = "train", "validation"

_POLL_S = 0.2
_PREVIEW_CLIPS = 8
_PREVIEW_SIZE = 160


@dataclasses.dataclass(frozen=True)
class Layout:
    """How clips are dealt to splits and shards.

    Attributes:
      validation_fraction: share of the videos (not clips) kept for validation, 0 to below 1. Above
        0, at least one video of two is, and at least one stays for training.
      seed: of the split. A video's lot depends on its name and the seed only.
      clips_per_shard: most clips in a shard.
    """

    validation_fraction: float = 0.1
    seed: int = 0
    clips_per_shard: int = 256

    def __post_init__(self) -> None:
        if not 0 <= self.validation_fraction < 1:
            raise ValueError(
                f"validation_fraction (={self.validation_fraction:g}) must be at least 0 and below "
                "1; it is a share of the videos"
            )
        if self.clips_per_shard < 1:
            raise ValueError(f"clips_per_shard (={self.clips_per_shard}) must be at least 1")

    def split(self, video_ids: Iterable[str]) -> dict[str, list[str]]:
        """Deals videos to splits.

        Returns:
          Sorted names by split; "validation" is missing where no video goes there.
        """
        videos = sorted(set(video_ids))
        count = round(self.validation_fraction * len(videos))
        if self.validation_fraction > 0:
            count = max(count, 1)
        count = max(0, min(count, len(videos) - 1))
        lots = sorted(videos, key=self._lot)
        splits = {TRAIN: sorted(lots[count:]), VALIDATION: sorted(lots[:count])}
        return {name: members for name, members in splits.items() if members}

    def _lot(self, video: str) -> bytes:
        return hashlib.sha256(f"{self.seed} {video}".encode()).digest()


@dataclasses.dataclass(frozen=True)
class Recipe:
    """What a data set is made of.

    Attributes:
      name: of the recipe: "scenes", "videos".
      work: makes the clips of one video.
      jobs: the videos.
      settings: everything that the clips depend on, besides their sources; JSON-able.
      skipped: what was found but not taken, and why: (name, reason).
      notes: sentences worth telling the user when the data set is there.
    """

    name: str
    work: Work
    jobs: Sequence[Job]
    settings: Mapping[str, Any]
    skipped: Sequence[tuple[str, str]] = ()
    notes: Sequence[str] = ()


@dataclasses.dataclass(frozen=True)
class Result:
    """A finished data set.

    Attributes:
      out: its folder.
      info: its info.json.
      outcomes: of all videos, with those that gave nothing; empty where report.json is lost.
      was_there: nothing was to be done.
      seconds: the run took.
    """

    out: Path
    info: records.DatasetInfo
    outcomes: tuple[Outcome, ...]
    was_there: bool
    seconds: float = 0.0

    @property
    def failed(self) -> list[Outcome]:
        """The videos that could not be used."""
        return [outcome for outcome in self.outcomes if outcome.error is not None]


def prepare(
    recipe: Recipe,
    out: str | os.PathLike[str],
    *,
    layout: Layout,
    workers: int | None = None,
    overwrite: bool = False,
    wait: bool = False,
    progress: bool = True,
) -> Result:
    """Makes a data set, or goes on with one, or finds that it is there.

    Args:
      recipe: what it is made of.
      out: its folder; made if need be.
      layout: splits and shards.
      workers: processes; None for one a core, 0 for none.
      overwrite: replace a data set of other settings or sources, and throw away their unfinished
        work. Without it, that is an error.
      wait: wait while another run is at work in `out`, and take what it makes, instead of refusing.
      progress: report on stderr.

    Returns:
      What was made.

    Raises:
      OutputError: `out` cannot be written, or the disk is full; finished videos are kept.
      BusyError: another run is at work in `out`, without `wait`.
      ValueError: `out` holds something else, there are no jobs, or no video gave a clip.
    """
    started = time.monotonic()
    while True:
        try:
            result = _prepare(recipe, Path(out), layout, workers, overwrite, progress)
            return dataclasses.replace(result, seconds=time.monotonic() - started)
        except BusyError:
            if not wait:
                raise
            time.sleep(_POLL_S)


def _prepare(
    recipe: Recipe, out: Path, layout: Layout, workers: int | None, overwrite: bool, progress: bool
) -> Result:
    spec = _spec(recipe, layout)
    parts = Parts(out, recipe.name, recipe.settings)
    found = _find(out, spec, overwrite)
    if found is None:
        with parts.opened(overwrite=overwrite):
            # Another run may have finished since.
            found = _find(out, spec, overwrite)
            if found is None:
                return _make(recipe, parts, out, layout, spec, workers, progress)
    # The last run may have been stopped just before its end.
    parts.remove_if_same()
    if not (out / PREVIEW_NAME).exists():
        _try_preview(out)
    return Result(out, found, _read_report(out), True)


def _make(
    recipe: Recipe,
    parts: Parts,
    out: Path,
    layout: Layout,
    spec: Mapping[str, Any],
    workers: int | None,
    progress: bool,
) -> Result:
    started = time.monotonic()
    outcomes = run_jobs(
        recipe.jobs,
        recipe.work,
        parts,
        workers=num_cores() if workers is None else workers,
        title=f"prepare {recipe.name}",
        progress=progress,
    )
    with said_clearly(out):
        _write_report(out, recipe, outcomes, time.monotonic() - started)
        if not any(outcome.num_clips for outcome in outcomes):
            parts.remove()
            raise ValueError(_nothing_written(out, outcomes))
        merge(parts, outcomes, layout, out)
        info = records.finalize(out, spec=spec)
        parts.remove()
    _try_preview(out)
    return Result(out, info, tuple(outcomes), False)


def merge(parts: Parts, outcomes: Sequence[Outcome], layout: Layout, out: Path) -> None:
    """Copies the records of all parts into shards, replacing what data set there is.

    Raises:
      OutputError: there is too little room for the shards beside the parts.
    """
    needed = sum(outcome.num_bytes for outcome in outcomes)
    free = shutil.disk_usage(out).free
    if free < needed:
        raise OutputError(
            f"{out}: the disk is too full: joining the finished videos takes {needed / 1e9:.1f} GB "
            f"more and {free / 1e9:.1f} GB are free. They are kept: free some space and repeat the "
            "same command"
        )
    _remove_dataset(out)
    written = {outcome.video_id: outcome for outcome in outcomes if outcome.num_clips}
    for split, videos in layout.split(written).items():
        members = [written[video] for video in videos]
        payloads = _payloads(parts.directory, members)
        num_clips = sum(outcome.num_clips for outcome in members)
        num_shards = -(-num_clips // layout.clips_per_shard)
        for number in range(num_shards):
            first, end = (num_clips * n // num_shards for n in (number, number + 1))
            with records.ShardWriter(out / records.shard_name(split, number, num_shards)) as shard:
                for _ in range(first, end):
                    shard.write_serialized(next(payloads))


def write_preview(directory: str | os.PathLike[str]) -> Path:
    """Writes preview.png: some training clips from all over a data set, a film strip each.

    Returns:
      Its path.
    """
    path = Path(directory) / PREVIEW_NAME
    source = records.ClipSource(directory, TRAIN)
    chosen = np.unique(np.linspace(0, len(source) - 1, _PREVIEW_CLIPS).round().astype(int))
    strips = []
    for i in chosen.tolist():
        frames = source[i].frames
        shown = np.linspace(0, len(frames) - 1, min(len(frames), _PREVIEW_CLIPS)).round()
        strips += [_thumbnail(records.decode_frame(frames[int(t)])) for t in shown]
    source.close()
    shown_strips = media.enlarge(np.stack(strips))
    media.write_png(path, media.tile_images(shown_strips, len(strips) // len(chosen)))
    return path


def _try_preview(out: Path) -> None:
    # The data set is complete without it; a disk that is now full must not make it look unfinished.
    with contextlib.suppress(OSError):
        write_preview(out)


def _thumbnail(image: np.ndarray) -> np.ndarray:
    if max(image.shape[:2]) <= _PREVIEW_SIZE:
        return image
    scale = _PREVIEW_SIZE / max(image.shape[:2])
    size = round(image.shape[1] * scale), round(image.shape[0] * scale)
    return np.asarray(Image.fromarray(image).resize(size, Image.Resampling.LANCZOS))


def _payloads(directory: Path, outcomes: Iterable[Outcome]) -> Iterator[bytes]:
    for outcome in outcomes:
        if outcome.part is not None:
            with open(directory / outcome.part, "rb") as file:
                for _, payload in tfexample.scan(file, outcome.num_bytes, outcome.part):
                    yield bytes(payload)


def _spec(recipe: Recipe, layout: Layout) -> dict[str, Any]:
    """What info.json says about the making; equal for equal data sets, but for the version."""
    sources = sorted([job.video_id, job.source] for job in recipe.jobs)
    spec = {
        "recipe": recipe.name,
        "settings": dict(recipe.settings),
        "layout": dataclasses.asdict(layout),
        "sources": {
            "num_videos": len(sources),
            "sha256": hashlib.sha256(json.dumps(sources).encode()).hexdigest(),
        },
        "version": version.__version__,
    }
    return dict(json.loads(json.dumps(spec)))


def _find(out: Path, spec: Mapping[str, Any], overwrite: bool) -> records.DatasetInfo | None:
    """The finished data set, if it is the one wanted; an error where there is another."""
    with said_clearly(out):
        shards = sorted(out.glob("*-?????-of-?????.tfrecord")) if out.is_dir() else []
    if not (out / INFO_NAME).exists():
        if shards and not (out / PARTS_NAME).exists() and not overwrite:
            raise ValueError(
                f"{out}: holds shards ({shards[0].name}) that are not of this command; choose "
                "another --out, or give --overwrite to replace them"
            )
        return None
    if overwrite:
        return None
    info = records.load_info(out)
    changes = _changes(info.spec, spec)
    if changes:
        raise ValueError(
            f"{out}: holds a data set made differently ({changes}); choose another --out, or give "
            "--overwrite to replace it"
        )
    for split in info.splits.values():
        for shard in split.shards:
            if not (out / shard.name).is_file():
                raise ValueError(
                    f"{out}: {shard.name} is gone from this data set; restore it, or give "
                    "--overwrite to make all of it again"
                )
    return info


def _changes(old: Mapping[str, Any], new: Mapping[str, Any]) -> str:
    """In what two data sets are made differently; empty where they are not."""
    compared = ("recipe", "settings", "layout")
    changes = [difference({n: old.get(n) for n in compared}, {n: new.get(n) for n in compared})]
    old_sources, new_sources = old.get("sources", {}), new["sources"]
    if old_sources != new_sources:
        changes.append(
            f"the source videos are not the same: {old_sources.get('num_videos')} then, "
            f"{new_sources['num_videos']} now, compared by name, size and time of change"
        )
    return "; ".join(filter(None, changes))


def _remove_dataset(out: Path) -> None:
    """Removes the files of a data set; info.json first, so that what is left is none."""
    (out / INFO_NAME).unlink(missing_ok=True)
    (out / PREVIEW_NAME).unlink(missing_ok=True)
    for shard in out.glob("*-?????-of-?????.tfrecord"):
        records.index_path(shard).unlink(missing_ok=True)
        shard.unlink()


def _write_report(out: Path, recipe: Recipe, outcomes: Sequence[Outcome], seconds: float) -> None:
    files.write_json(
        out / REPORT_NAME,
        {
            "recipe": recipe.name,
            "settings": dict(recipe.settings),
            "num_written": sum(outcome.num_clips > 0 for outcome in outcomes),
            "num_without_clips": sum(
                outcome.num_clips == 0 and outcome.error is None for outcome in outcomes
            ),
            "num_failed": sum(outcome.error is not None for outcome in outcomes),
            "seconds": round(seconds, 2),
            "videos": [dataclasses.asdict(outcome) for outcome in outcomes],
            "skipped": [{"name": name, "reason": reason} for name, reason in recipe.skipped],
            "notes": list(recipe.notes),
        },
    )


def _read_report(out: Path) -> tuple[Outcome, ...]:
    try:
        videos = json.loads((out / REPORT_NAME).read_bytes())["videos"]
        return tuple(Outcome(**video | {"notes": tuple(video["notes"])}) for video in videos)
    except (OSError, ValueError, KeyError, TypeError):
        return ()  # The data set does not need it.


def _nothing_written(out: Path, outcomes: Sequence[Outcome]) -> str:
    if not outcomes:
        return f"{out}: there are no videos to make clips of"
    reasons = [line for o in outcomes for line in ([o.error] if o.error else o.notes)]
    shown = "".join(f"\n  {reason}" for reason in reasons[:10])
    more = f"\n  … and {len(reasons) - 10} more, in {out / REPORT_NAME}" if reasons[10:] else ""
    return f"none of the {len(outcomes)} videos gave a clip, so nothing was written:{shown}{more}"

"""From jobs to a finished data set: parts, split by video, shards, report, info.json, preview.

    OUT/train-00000-of-00002.tfrecord …   the shards (`data/records.py`)
    OUT/report.json                       what became of each video, and why
    OUT/info.json                         written when all shards are in place
    OUT/preview.png                       some clips as film strips, to look at
    OUT/overview/                         what `prepare stats` and `browse` make of it

Until info.json is there, OUT is no data set, and repeating the command goes on where it stopped
(`parts.py`). Nothing there is removed before its replacement has been made.
"""

import contextlib
import dataclasses
import functools
import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from pathlib import Path
from typing import Any, NamedTuple

from vidgan_jax import files, version
from vidgan_jax.data import records, tfexample
from vidgan_jax.preparation.jobs import run_jobs
from vidgan_jax.preparation.layout import Layout, read_list
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
from vidgan_jax.preparation.preview import PREVIEW_NAME, write_preview

__all__ = [
    "Layout",
    "Recipe",
    "Result",
    "find",
    "merge",
    "prepare",
    "read_list",
    "write_preview",
]

INFO_NAME = "info.json"
REPORT_NAME = "report.json"
OVERVIEW_NAME = "overview"

_POLL_S = 0.2

# Makes the parts of jobs, see `jobs.run_jobs`.
RunJobs = Callable[..., list[Outcome]]


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
      one_video_a_job: each job's `video_id` names the one video that its clips are of.
      unit: what the progress report calls the jobs.
      what: it calls the work; None for "prepare NAME".
    """

    name: str
    work: Work
    jobs: Sequence[Job]
    settings: Mapping[str, Any]
    skipped: Sequence[tuple[str, str]] = ()
    notes: Sequence[str] = ()
    one_video_a_job: bool = True
    unit: str = "videos"
    what: str | None = None

    @property
    def title(self) -> str:
        """What the progress report calls the work."""
        return f"prepare {self.name}" if self.what is None else self.what


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
    execute: RunJobs = run_jobs,
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
      execute: runs the jobs.

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
            run = functools.partial(execute, workers=workers, progress=progress)
            result = _prepare(recipe, Path(out), layout, overwrite, run)
            return dataclasses.replace(result, seconds=time.monotonic() - started)
        except BusyError:
            if not wait:
                raise
            time.sleep(_POLL_S)


def find(
    recipe: Recipe, out: str | os.PathLike[str], layout: Layout, overwrite: bool = False
) -> records.DatasetInfo | None:
    """The finished data set in `out`, if it is the one that `prepare` would make.

    Raises:
      ValueError: `out` holds something else, without `overwrite`.
    """
    return _find(Path(out), _spec(recipe, layout), overwrite)


def _prepare(recipe: Recipe, out: Path, layout: Layout, overwrite: bool, run: RunJobs) -> Result:
    if recipe.one_video_a_job:
        layout.check(job.video_id for job in recipe.jobs)
    spec = _spec(recipe, layout)
    parts = Parts(out, recipe.name, recipe.settings)
    found = _find(out, spec, overwrite)
    if found is None:
        with parts.opened(overwrite=overwrite):
            # Another run may have finished since.
            found = _find(out, spec, overwrite)
            if found is None:
                return _make(recipe, parts, out, layout, spec, run)
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
    run: RunJobs,
) -> Result:
    started = time.monotonic()
    outcomes = run(recipe.jobs, recipe.work, parts, title=recipe.title, unit=recipe.unit)
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
    members = [_Member.of(parts.directory, outcome) for outcome in outcomes if outcome.part]
    videos = {video for member in members for video in member.video_ids}
    for split, names in layout.split(videos).items():
        in_split = frozenset(names)
        payloads = _payloads(members, in_split)
        num_clips = sum(member.count(in_split) for member in members)
        num_shards = -(-num_clips // layout.clips_per_shard)
        for number in range(num_shards):
            first, end = (num_clips * n // num_shards for n in (number, number + 1))
            with records.ShardWriter(out / records.shard_name(split, number, num_shards)) as shard:
                for _ in range(first, end):
                    shard.write_serialized(next(payloads))


class _Member(NamedTuple):
    """A finished part, and the video of each of its clips."""

    path: Path
    num_bytes: int
    video_ids: list[str]

    @staticmethod
    def of(directory: Path, outcome: Outcome) -> "_Member":
        path = directory / str(outcome.part)
        return _Member(path, outcome.num_bytes, list(map(str, records.load_index(path).video_id)))

    def count(self, videos: Set[str]) -> int:
        return sum(video in videos for video in self.video_ids)


def _try_preview(out: Path) -> None:
    # The data set is complete without it; a disk that is now full must not make it look unfinished.
    with contextlib.suppress(OSError):
        write_preview(out)


def _payloads(members: Iterable[_Member], videos: Set[str]) -> Iterator[bytes]:
    """The serialized clips of these videos."""
    for member in members:
        if not member.count(videos):
            continue
        with open(member.path, "rb") as file:
            payloads = tfexample.scan(file, member.num_bytes, member.path.name)
            for video, (_, payload) in zip(member.video_ids, payloads, strict=True):
                if video in videos:
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
    shutil.rmtree(out / OVERVIEW_NAME, ignore_errors=True)
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

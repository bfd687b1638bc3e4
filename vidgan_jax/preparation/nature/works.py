"""What each stage of `prepare nature` does with one video."""

import base64
import dataclasses
import functools
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from vidgan_jax.data import records, tfexample
from vidgan_jax.preparation import videos
from vidgan_jax.preparation.encoding import Encoding
from vidgan_jax.preparation.footage import SourceFile
from vidgan_jax.preparation.nature import suitability
from vidgan_jax.preparation.nature.cutting import Shot, ShotCutting, read_shots
from vidgan_jax.preparation.nature.shots import Transition
from vidgan_jax.preparation.parts import DamagedPartError, Findings, WriteClip

PEOPLE, CONSTANCY = "people", "constancy"
PERSON = 12  # of ADE20K's classes
# Enters the keys of what was measured: goes up when `suitability.measure` changes.
MEASURES_VERSION = 1
_CLIPS_AT_ONCE = 4
_LEAST_FRAMES = 8


class SegmentFrames(Protocol):
    """A segmenter: frames uint8 `[..., h, w, 3]` to class ids uint8 `[..., h, w]`."""

    def __call__(self, frames: np.ndarray) -> np.ndarray:
        """Segments frames."""


@dataclasses.dataclass(frozen=True)
class CuttingTask:
    """What a worker needs to cut one video.

    Attributes:
      source: the file.
      cutting: how.
      encoding: of the stored frames.
      threads: for decoding.
      known: the transitions, where they are known.
      want_clips: cut clips; otherwise find the shots only.
    """

    source: SourceFile
    cutting: ShotCutting
    encoding: Encoding
    threads: int
    known: tuple[Transition, ...] | None = None
    want_clips: bool = True


@dataclasses.dataclass(frozen=True)
class ClipsTask:
    """What a later stage needs of one video.

    Attributes:
      video_id: its name.
      part: the file with the candidates.
      num_bytes: its size.
      clip_ids: those to look at, in the order of the file; None for all.
      told: what to write to them: measures and label map by clip; of the last stage.
      error: why the video can't be used, if so; of the last stage.
      notes: what earlier stages had to tell; of the last stage.
    """

    video_id: str
    part: Path
    num_bytes: int
    clip_ids: tuple[str, ...] | None = None
    told: Mapping[str, "Told"] | None = None
    error: str | None = None
    notes: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Told:
    """What the stages found of a clip that is kept.

    Attributes:
      measures: by name.
      label_map: PNG; None without a segmenter.
    """

    measures: Mapping[str, float]
    label_map: bytes | None


def cut_video(task: Any, write: WriteClip) -> Findings:
    """Finds the shots of a video, and writes a clip of each that is long enough.

    Args:
      task: a `CuttingTask`.
      write: takes the clips.

    Returns:
      Details: `shots`, a list of {start, end (frames), start_s, end_s, ended_by, transition, clip};
      `transition` is [start, end, kind, score] or None, `clip` an id or None.

    Raises:
      VideoError: the file cannot be used.
    """
    if not isinstance(task, CuttingTask):
        raise TypeError(f"task must be a CuttingTask, got {type(task).__name__}")
    path, cutting, video_id = task.source.path, task.cutting, task.source.video_id
    duration_s = videos.probe(path).duration_s
    notes: list[str] = []
    shots: list[dict[str, Any]] = []
    for shot in read_shots(
        path,
        video_id,
        cutting,
        known=task.known,
        want_clips=task.want_clips,
        threads=task.threads,
        warn=notes.append,
    ):
        share = min(shot.end_s / duration_s, 1.0) if duration_s else 0.0
        clip_id = None
        if shot.clip is None:
            write(None, share)
        else:
            clip_id = f"{video_id}#{len(shots):05d}@{shot.clip.start_s:.2f}s"
            record = records.ClipRecord(
                frames=task.encoding.encode(shot.clip.frames),
                height=cutting.size,
                width=cutting.size,
                fps=cutting.fps,
                video_id=video_id,
                clip_id=clip_id,
            )
            write(record, share)
        shots.append(_shot_details(shot, clip_id))
    lengths = [length for shot in shots if (length := shot["end"] - shot["start"])]
    if not lengths:
        notes.append(f"{path}: shows nothing but transitions and plain colours")
    elif max(lengths) < cutting.least_frames:
        notes.append(
            f"{path}: too short for a clip: the longest of its {len(lengths)} shots has "
            f"{max(lengths) / cutting.fps:.2f} s, and a clip takes "
            f"{cutting.least_frames / cutting.fps:.2f} s with its margins"
        )
    return Findings(notes, {"shots": shots})


def _shot_details(shot: Shot, clip_id: str | None) -> dict[str, Any]:
    return {
        "start": shot.start,
        "end": shot.end,
        "start_s": round(shot.start_s, 4),
        "end_s": round(shot.end_s, 4),
        "ended_by": shot.ended_by,
        "transition": None if shot.transition is None else list(shot.transition),
        "clip": clip_id,
    }


def transitions_of(details: Mapping[str, Any]) -> tuple[Transition, ...]:
    """The transitions that `cut_video` has found."""
    found = [shot["transition"] for shot in details["shots"]]
    return tuple(Transition(*transition) for transition in found if transition is not None)


def measure_clips(task: Any, write: WriteClip) -> Findings:
    """Measures the candidates of a video.

    Args:
      task: a `ClipsTask`.
      write: is told of each clip.

    Returns:
      Details: `measures`, by clip; see `suitability.measure`.
    """
    found = {}
    for number, (record, total) in enumerate(_candidates(task), start=1):
        frames = np.stack([records.decode_frame(frame) for frame in record.frames])
        found[record.clip_id] = suitability.measure(frames, record.fps)
        write(None, number / total)
    return Findings(details={"measures": found})


@dataclasses.dataclass(frozen=True)
class SegmentClips:
    """Segments some frames of each clip.

    Attributes:
      load: makes the segmenter; a function of a module, so that it can be pickled.
      where: what it is called with.
      num_frames: frames of each clip, odd, so that the one in the middle is among them.
    """

    load: Callable[[str], SegmentFrames]
    where: str
    num_frames: int = 5

    def __call__(self, task: Any, write: WriteClip) -> Findings:
        """Segments the candidates of a video that are left.

        Args:
          task: a `ClipsTask`.
          write: is told of each clip.

        Returns:
          Details by clip: `measures`, the share of pixels of each frame that agree with the middle
          one's map (the least of them), and the largest share of people; `label_maps`, the middle
          frame's, PNG in base64.
        """
        segment = _loaded(self.load, self.where)
        measures, label_maps = {}, {}
        number = 0
        candidates = _candidates(task)
        while chunk := list(itertools.islice(candidates, _CLIPS_AT_ONCE)):
            frames = np.concatenate([self._frames(record) for record, _ in chunk])
            # Segmenters compile anew for fewer frames than they take at once.
            enough = np.resize(frames, (max(len(frames), _LEAST_FRAMES), *frames.shape[1:]))
            found = segment(enough)[: len(frames)]
            for (record, total), maps in zip(chunk, np.split(found, len(chunk)), strict=True):
                middle = maps[len(maps) // 2]
                measures[record.clip_id] = {
                    CONSTANCY: float(np.mean(maps == middle, axis=(1, 2)).min()),
                    PEOPLE: float(np.mean(maps == PERSON, axis=(1, 2)).max()),
                }
                png = records.encode_label_map(middle)
                label_maps[record.clip_id] = base64.b64encode(png).decode()
                number += 1
                write(None, number / total)
        return Findings(details={"measures": measures, "label_maps": label_maps})

    def _frames(self, record: records.ClipRecord) -> np.ndarray:
        shown = looked_at(len(record.frames), self.num_frames)
        return np.stack([records.decode_frame(record.frames[i]) for i in shown])


@functools.lru_cache(maxsize=1)
def _loaded(load: Callable[[str], SegmentFrames], where: str) -> SegmentFrames:
    """Once a process."""
    return load(where)


def looked_at(total: int, num: int) -> Sequence[int]:
    """`num` frames, evenly over all `total`, with the middle one in their middle."""
    half = num // 2
    middle = total // 2
    before = np.linspace(0, middle, half + 1).round().astype(int)[:-1]
    after = np.linspace(middle, total - 1, half + 1).round().astype(int)[1:]
    return [*before.tolist(), middle, *after.tolist()]


def keep_clips(task: Any, write: WriteClip) -> Findings:
    """Writes the clips that are kept, with what was found of them.

    Args:
      task: a `ClipsTask`.
      write: takes the clips.

    Raises:
      ValueError: the video could not be used.
    """
    if not isinstance(task, ClipsTask) or task.told is None:
        raise TypeError("task must be a ClipsTask with what was told of its clips")
    if task.error is not None:
        raise ValueError(task.error)
    if not task.told:
        return Findings(task.notes)
    for number, (record, total) in enumerate(_candidates(task), start=1):
        told = task.told[record.clip_id]
        kept = dataclasses.replace(
            record,
            measures=told.measures,
            label_map=told.label_map,
            label_map_score=None if told.label_map is None else told.measures[CONSTANCY],
        )
        write(kept, number / total)
    return Findings(task.notes)


def _candidates(task: Any) -> Iterator[tuple[records.ClipRecord, int]]:
    """The candidates of a video that are to be looked at, and how many there are."""
    if not isinstance(task, ClipsTask):
        raise TypeError(f"task must be a ClipsTask, got {type(task).__name__}")
    try:
        index = records.load_index(task.part)
        wanted = set(index.clip_id.tolist()) if task.clip_ids is None else set(task.clip_ids)
        with open(task.part, "rb") as file:
            for where, payload in tfexample.scan(file, task.num_bytes, task.part.name):
                record = records.parse(payload, where=f"{task.part.name}, record {where}")
                if record.clip_id in wanted:
                    yield record, len(wanted)
    except (tfexample.RecordError, OSError) as error:
        # Not the video's fault: without its clips the split would be another one.
        task.part.unlink(missing_ok=True)
        raise DamagedPartError(
            f"{task.part.parent}: the clips of {task.video_id} were damaged there ({error}) and "
            "are removed; repeat the same command to cut them again"
        ) from error

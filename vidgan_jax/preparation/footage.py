"""The recipe "videos": files found in folders, each cut into clips."""

import dataclasses
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from vidgan_jax.data import records
from vidgan_jax.preparation import finding, picture, videos
from vidgan_jax.preparation.dataset import Recipe
from vidgan_jax.preparation.drawn import LabelFile, LabelSettings, find_label_maps
from vidgan_jax.preparation.encoding import Encoding
from vidgan_jax.preparation.jobs import num_cores
from vidgan_jax.preparation.parts import Job, WriteClip

_SUFFIXES = """
    3g2 3gp apng asf avi divx dv f4v flv gif h264 h265 hevc ivf m1v m2t m2ts m2v m4v mjpeg mjpg mkv
    mov mp4 mpe mpeg mpg mts mxf nut ogm ogv qt rm rmvb ts vob webm wmv y4m
"""
# What is taken from a folder; files named one by one are always tried.
SUFFIXES = frozenset(f".{suffix}" for suffix in _SUFFIXES.split())


@dataclasses.dataclass(frozen=True)
class SourceFile:
    """A video file and its name in the data set: its path within the folder that was given."""

    path: Path
    video_id: str


@dataclasses.dataclass(frozen=True)
class VideoTask:
    """What a worker needs to cut one file.

    Attributes:
      source: the file.
      cutting: how it is cut.
      encoding: of the stored frames.
      threads: for decoding.
      label_map: that holds for the whole video; None without.
    """

    source: SourceFile
    cutting: videos.Cutting
    encoding: Encoding
    threads: int
    label_map: LabelFile | None = None


def videos_recipe(
    sources: Sequence[str | os.PathLike[str]],
    cutting: videos.Cutting,
    encoding: Encoding,
    *,
    workers: int | None = None,
    leave_out: str | os.PathLike[str] | None = None,
    label_maps: str | os.PathLike[str] | None = None,
    labels: LabelSettings | None = None,
) -> Recipe:
    """What `dataset.prepare` needs to cut video files into clips.

    Args:
      sources: see `find_videos`.
      cutting: length, rate and size of the clips.
      encoding: of the stored frames.
      workers: processes there will be, as for `dataset.prepare`; cores are shared among them.
      leave_out: see `find_videos`.
      label_maps: folder of the videos' label maps, see `find_label_maps`; None without any.
      labels: what is in those; None for the defaults.

    Raises:
      ValueError: no videos in `sources`, or no map of any in `label_maps`.
    """
    found, skipped = find_videos(sources, leave_out=leave_out)
    cores = num_cores()
    processes = min(cores if workers is None else max(workers, 1), len(found))
    settings = dataclasses.asdict(cutting) | dataclasses.asdict(encoding)
    maps: Mapping[str, LabelFile] = {}
    notes: Sequence[str] = ()
    if label_maps is not None:
        labels = labels or LabelSettings()
        drawn = find_label_maps(label_maps, [source.video_id for source in found], labels)
        maps, notes = drawn.files, drawn.notes
        settings["label_maps"] = dataclasses.asdict(labels)
    jobs = []
    for source in found:
        label_map = maps.get(source.video_id)
        task = VideoTask(source, cutting, encoding, max(1, cores // processes), label_map)
        changed = stamp(source.path)
        if label_map is not None:
            changed += f"; label map {label_map.path.name}: {stamp(label_map.path)}"
        jobs.append(Job(source.video_id, changed, task, float(source.path.stat().st_size)))
    return Recipe("videos", cut_video, jobs, settings, skipped, notes)


def stamp(path: Path) -> str:
    """Changes when the file does: its size and time of change."""
    status = path.stat()
    return f"{status.st_size} bytes, changed {status.st_mtime_ns}"


def cut_video(task: Any, write: WriteClip) -> list[str]:
    """Cuts one file: the `Work` of this recipe.

    Args:
      task: a `VideoTask`.
      write: takes the clips.

    Returns:
      What to tell the user: damage, or that it is too short.

    Raises:
      VideoError: the file cannot be used.
      ValueError: its label map cannot.
    """
    if not isinstance(task, VideoTask):
        raise TypeError(f"task must be a VideoTask, got {type(task).__name__}")
    path, cutting, video_id = task.source.path, task.cutting, task.source.video_id
    info = videos.probe(path)
    duration_s, label_map = info.duration_s, _label_map(task, info)
    notes: list[str] = []
    count = 0
    for clip in videos.read_clips(path, cutting, threads=task.threads, warn=notes.append):
        record = records.ClipRecord(
            frames=task.encoding.encode(clip.frames),
            height=cutting.size,
            width=cutting.size,
            fps=cutting.fps,
            video_id=video_id,
            clip_id=f"{video_id}#{count:05d}@{clip.start_s:.2f}s",
            label_map=label_map,
        )
        end_s = clip.start_s + cutting.clip_s
        write(record, min(end_s / duration_s, 1.0) if duration_s else 0.0)
        count += 1
    if not count:
        length = "" if duration_s is None else f": {duration_s:.2f} s"
        notes.append(
            f"{path}: too short for a clip{length}, and a clip takes {cutting.clip_s:.2f} s "
            "without a break"
        )
    return notes


def _label_map(task: VideoTask, info: videos.VideoInfo) -> bytes | None:
    """The map of all clips, on their frames' square."""
    if task.label_map is None:
        return None
    whole = task.label_map.read()
    try:
        square = picture.square_label_map(whole, info.shape, task.cutting.size, task.cutting.fit)
    except ValueError as error:
        raise ValueError(f"{task.label_map.path} {error} ({info.path})") from error
    return records.encode_label_map(square)


def find_videos(
    sources: Sequence[str | os.PathLike[str]], *, leave_out: str | os.PathLike[str] | None = None
) -> tuple[list[SourceFile], list[tuple[str, str]]]:
    """Finds video files.

    Args:
      sources: files, which are taken whatever their name, and folders, from which files with a
        video's suffix are taken, sub-folders included. Hidden files are left out. A file that is
        found twice is taken once.
      leave_out: a folder that is not searched: the data set's own.

    Returns:
      The files with their names in the data set, and what was left out of the folders:
      (path, reason).

    Raises:
      ValueError: a source does not exist, or there is no video in any of them.
    """
    found, skipped = finding.find(sources, SUFFIXES, "a video", leave_out)
    if not found:
        seen = f"; left out: {finding.few(name for name, _ in skipped)}" if skipped else ""
        raise ValueError(
            f"no video files in {finding.few(map(str, sources))}{seen}. Videos are known by their "
            "suffix (.mp4, .mkv, .webm …); name other files one by one"
        )
    return [SourceFile(path, name) for path, name in found], skipped

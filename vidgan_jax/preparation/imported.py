"""The recipe "import": videos that are clips already, with label maps, from tars and folders."""

import dataclasses
import json
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from vidgan_jax.data import records
from vidgan_jax.data.label_files import read_label_map
from vidgan_jax.preparation import archives, finding, footage, picture, videos
from vidgan_jax.preparation.archives import Sample, SampleError
from vidgan_jax.preparation.dataset import Recipe
from vidgan_jax.preparation.drawn import LabelSettings
from vidgan_jax.preparation.encoding import Encoding
from vidgan_jax.preparation.jobs import num_cores
from vidgan_jax.preparation.parts import Job, WriteClip

TAR_SUFFIXES = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz")
# What is taken from a folder: those of a compressed one must be named one by one.
_FOUND_SUFFIXES = footage.SUFFIXES | {".tar", ".tgz"}


@dataclasses.dataclass(frozen=True)
class Importing:
    """How clips are taken over.

    Attributes:
      max_frames: most frames of a clip; of a longer video the first ones are taken.
      fps: frame rate that videos are resampled to; None for the frames that they have.
      size: height and width of the clips, pixels; None for each video's shorter side.
      fit: see `videos.Cutting`.
      keep_damaged: take damaged and truncated videos up to where they are damaged.
      label_maps: take label maps; without, there may be other pictures beside the videos.
      labels: what is in the maps.
      video_id_pattern: a regular expression found in keys; its first group, or all of it, names
        the video that a clip is of. None: each sample is a video of its own.
    """

    max_frames: int = 300
    fps: float | None = None
    size: int | None = None
    fit: picture.Fit = "crop"
    keep_damaged: bool = False
    label_maps: bool = True
    labels: LabelSettings = dataclasses.field(default_factory=LabelSettings)
    video_id_pattern: str | None = None

    def __post_init__(self) -> None:
        for name, value in (("max_frames", self.max_frames), ("size", self.size)):
            if value is not None and value < 1:
                raise ValueError(f"{name} (={value}) must be at least 1")
        if self.fps is not None and not 0 < self.fps <= 1000:
            raise ValueError(f"fps (={self.fps:g}) must be above 0 and at most 1000")
        if self.fit not in picture.FITS:
            raise ValueError(f"fit (={self.fit!r}) must be one of {', '.join(picture.FITS)}")
        try:
            re.compile(self.video_id_pattern or "")
        except re.error as error:
            raise ValueError(
                f"video_id_pattern (={self.video_id_pattern!r}) is no regular expression: {error}"
            ) from error


@dataclasses.dataclass(frozen=True)
class ImportTask:
    """What a worker needs to take over a file.

    Attributes:
      path: an archive, or a video with files of its name beside it.
      name: of the file in the data set.
      is_archive: which of these.
      importing: how.
      encoding: of the stored frames.
      threads: for decoding.
    """

    path: Path
    name: str
    is_archive: bool
    importing: Importing
    encoding: Encoding
    threads: int


def import_recipe(
    sources: Sequence[str | os.PathLike[str]],
    importing: Importing,
    encoding: Encoding,
    *,
    workers: int | None = None,
    leave_out: str | os.PathLike[str] | None = None,
) -> Recipe:
    """What `dataset.prepare` needs to take over clips.

    Args:
      sources: tar archives, video files, and folders that are searched for both.
      importing: how.
      encoding: of the stored frames.
      workers: processes there will be, as for `dataset.prepare`; cores are shared among them.
      leave_out: a folder that is not searched: the data set's own.

    Raises:
      ValueError: a source does not exist, or there is nothing in any of them.
    """
    found, skipped = _find(sources, leave_out)
    cores = num_cores()
    processes = min(cores if workers is None else max(workers, 1), len(found))
    jobs = []
    for path, name in found:
        is_archive = _is_archive(path)
        task = ImportTask(path, name, is_archive, importing, encoding, max(1, cores // processes))
        stamps = [_stamp(path)]
        if not is_archive:
            sample = archives.sample_of(path)
            stamps += [_stamp(Path(sample.where + suffix)) for suffix in sorted(sample.files)]
        jobs.append(Job(name, "; ".join(stamps), task, float(path.stat().st_size)))
    settings = dataclasses.asdict(importing) | dataclasses.asdict(encoding)
    return Recipe("import", import_file, jobs, settings, skipped, one_video_a_job=False)


def _stamp(path: Path) -> str:
    return f"{path.name}: {footage.stamp(path)}"


def _is_archive(path: Path) -> bool:
    return path.suffix.lower() not in footage.SUFFIXES


def _find(
    sources: Sequence[str | os.PathLike[str]], leave_out: str | os.PathLike[str] | None
) -> tuple[list[tuple[Path, str]], list[tuple[str, str]]]:
    """Files with their names in the data set, and what was left out of folders."""
    found, skipped = finding.find(sources, _FOUND_SUFFIXES, "a video or tar archive", leave_out)
    if not found:
        raise ValueError(
            f"--source: no videos and no tar archives in {finding.few(map(str, sources))}; they "
            "are known by their suffix (.mp4, .webm, .tar …); name other archives one by one"
        )
    beside = {
        str(path.with_suffix("")) + suffix
        for path, _ in found
        for suffix in (*archives.MAP_SUFFIXES, archives.INFO_SUFFIX)
    }
    return found, [(name, reason) for name, reason in skipped if name not in beside]


def import_file(task: Any, write: WriteClip) -> list[str]:
    """Takes over the clips of one file: the `Work` of this recipe.

    Args:
      task: an `ImportTask`.
      write: takes the clips.

    Returns:
      What to tell the user: samples that can't be used, and why; videos of which not all is taken.

    Raises:
      ValueError: the file can't be used at all.
    """
    if not isinstance(task, ImportTask):
        raise TypeError(f"task must be an ImportTask, got {type(task).__name__}")
    notes: list[str] = []
    cut: list[str] = []
    if not task.is_archive:
        sample = archives.sample_of(task.path)
        clip_id, _ = archives.split_name(task.name) or (task.name, "")
        write(_record(task, sample._replace(key=clip_id), clip_id, notes, cut), 1.0)
    else:
        _import_archive(task, write, notes, cut)
    if cut:
        notes.append(
            f"{task.path}: {len(cut)} of its videos have more than max_frames "
            f"(={task.importing.max_frames}), of which the first are taken: {finding.few(cut)}"
        )
    return notes


def _import_archive(task: ImportTask, write: WriteClip, notes: list[str], cut: list[str]) -> None:
    archive = archives.Archive(task.path)
    base = task.name
    for suffix in TAR_SUFFIXES:
        base = base.removesuffix(suffix)
    num_samples = 0
    for sample in archive.samples():
        num_samples += 1
        try:
            if isinstance(sample, SampleError):
                raise sample
            record = _record(task, sample, f"{base}/{sample.key}", notes, cut)
        except ValueError as error:
            notes.append(f"not used: {error}")
            write(None, archive.share)
        else:
            write(record, archive.share)
    if archive.damage:
        notes.append(archive.damage)
    elif not num_samples:
        notes.append(f"{task.path}: holds no videos, label maps or descriptions")


def _record(
    task: ImportTask, sample: Sample, clip_id: str, notes: list[str], cut: list[str]
) -> records.ClipRecord:
    """One clip.

    Args:
      task: whose it is.
      sample: its files.
      clip_id: its name in the data set.
      notes: what is worth telling is put here.
      cut: keys of videos that are longer than a clip may be are put here.

    Raises:
      ValueError: it can't be used; the message names it.
    """
    info = _info(sample)
    clip = _read(task, sample, notes, cut)
    fps = task.importing.fps or info.get("fps") or clip.fps
    if fps is None:
        raise SampleError(
            f"{sample.where}: its video says no frame rate; give --fps, or fps in its .json"
        )
    return records.ClipRecord(
        frames=clip.frames,
        height=clip.size,
        width=clip.size,
        fps=fps,
        video_id=info.get("video_id") or _video_id(task.importing, sample, clip_id),
        clip_id=clip_id,
        label_map=_label_map(task.importing, sample, clip),
    )


class _Clip(NamedTuple):
    """A video's encoded frames, squares of `size` pixels; `shape` is that of its pictures."""

    frames: tuple[bytes, ...]
    size: int
    shape: picture.Shape
    fps: float | None


def _read(task: ImportTask, sample: Sample, notes: list[str], cut: list[str]) -> _Clip:
    importing, suffix = task.importing, sample.video()
    file = sample.files[suffix]
    name = file if isinstance(file, Path) else f"{sample.where}{suffix}"
    frames: list[bytes] = []
    shape: picture.Shape | None = None
    with videos.open_grid(
        name,
        importing.fps,
        data=file if isinstance(file, bytes) else None,
        keep_damaged=importing.keep_damaged,
        threads=task.threads,
        warn=notes.append,
    ) as grid:
        last: Any = None
        for frame, step, time_s in grid.frames:
            if shape is None:
                shape = picture.Shape.of(frame, grid.aspect)
                size = importing.size or min(shape.shown)
                pictures = picture.SquarePictures(size, importing.fit, grid.aspect)
            elif step == 0:
                notes.append(f"{name}: time jumps after {time_s:.2f} s, where its clip ends")
                break
            if len(frames) == importing.max_frames:
                cut.append(sample.key)
                break
            if frame is not last:  # A held one need not be encoded again.
                last, (image,) = frame, task.encoding.encode(pictures.convert(frame)[None])
            frames.append(image)
        fps = grid.fps
    if shape is None:
        raise SampleError(f"{name}: no frame of its video can be decoded")
    return _Clip(tuple(frames), size, shape, fps)


def _label_map(importing: Importing, sample: Sample, clip: _Clip) -> bytes | None:
    suffix = next((suffix for suffix in archives.MAP_SUFFIXES if suffix in sample.files), None)
    if suffix is None or not importing.label_maps:
        return None
    name, labels = f"{sample.where}{suffix}", importing.labels
    whole = read_label_map(
        name,
        labels.num_labels,
        labels.dont_care,
        labels.nearest_colours,
        data=sample.read(suffix),
    )
    try:
        square = picture.square_label_map(whole, clip.shape, clip.size, importing.fit)
    except ValueError as error:
        raise SampleError(f"{name} {error}") from error
    return records.encode_label_map(square)


def _info(sample: Sample) -> dict[str, Any]:
    """What its JSON says of `fps` and `video_id`, where it does."""
    if archives.INFO_SUFFIX not in sample.files:
        return {}
    name = f"{sample.where}{archives.INFO_SUFFIX}"
    encoded = sample.read(archives.INFO_SUFFIX)
    try:
        said = json.loads(encoded)
    except (ValueError, RecursionError) as error:
        raise SampleError(f"{name}: is no JSON ({error})") from error
    if not isinstance(said, dict):
        raise SampleError(f'{name}: must be an object, as {{"fps": 24}}')
    info = {name: said[name] for name in ("fps", "video_id") if said.get(name) is not None}
    fps = info.get("fps", 1)
    if isinstance(fps, bool) or not isinstance(fps, int | float) or not 0 < fps <= 1000:
        raise SampleError(f"{name}: fps (={fps!r}) must be a number above 0 and at most 1000")
    video_id = info.get("video_id", "-")
    if isinstance(video_id, bool) or not isinstance(video_id, int | str) or video_id == "":
        raise SampleError(f"{name}: video_id (={video_id!r}) must be a text that is not empty")
    return info | ({"video_id": str(video_id)} if "video_id" in info else {})


def _video_id(importing: Importing, sample: Sample, clip_id: str) -> str:
    if importing.video_id_pattern is None:
        return clip_id
    match = re.search(importing.video_id_pattern, sample.key)
    name = match and (match.group(1) if match.re.groups else match.group())
    if not name:
        raise SampleError(
            f"{sample.where}: video_id_pattern (={importing.video_id_pattern!r}) is not in its key "
            f"{sample.key!r}, or matches nothing"
        )
    return name

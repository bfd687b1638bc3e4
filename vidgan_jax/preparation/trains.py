"""The recipe "trains": Synthetic Trains, clips that zoom into and pan over single images.

Source: the thesis's section 4.1.2, which takes the images of LSUN's "train" category.
"""

import dataclasses
import hashlib
import heapq
import io
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from PIL import Image

from vidgan_jax.data import picture_files, records
from vidgan_jax.preparation import finding, lsun
from vidgan_jax.preparation.dataset import Recipe
from vidgan_jax.preparation.encoding import Encoding
from vidgan_jax.preparation.panning import Panning, to_rgb
from vidgan_jax.preparation.parts import Job, WriteClip

NUM_CLIPS = 100_005

_SUFFIXES = "avif bmp dib gif jfif jpe jpeg jpg jp2 mpo pbm pgm png pnm ppm tga tif tiff webp"
# What is taken from a folder.
SUFFIXES = frozenset(f".{suffix}" for suffix in _SUFFIXES.split())

# A job for each image would make as many files as images.
_MOST_IMAGES_A_JOB = 256
_FEWEST_JOBS = 64


class SourceImage(NamedTuple):
    """An image of the source.

    Attributes:
      name: in the data set: its path within the folder, or its key in the database.
      path: the file that it is, or is in.
      value: where it lies in the database; None where it is a file.
    """

    name: str
    path: Path
    value: lsun.Value | None = None

    def read(self, panning: Panning) -> Image.Image:
        """Decodes it, upright, RGB, and no larger than `panning` needs where that saves time.

        Raises:
          ValueError: it can't be read, is no picture, is damaged or too small; the message names
            it.
        """
        shown = self.path if self.value is None else f"{self.path}: {self.name}"

        def shrink(image: Image.Image, _: int) -> None:
            image.draft(None, panning.enough(*image.size))

        try:
            if self.value is None:
                image = picture_files.load_picture(self.path, shrink)
            else:
                encoded = lsun.read_value(self.path, self.value)
                image = picture_files.decode_picture(io.BytesIO(encoded), shown, shrink)
        except picture_files.NotAPictureError as error:
            raise ValueError(f"{shown}: is no picture that Pillow can read") from error
        try:
            panning.check(*image.size)
            return to_rgb(image)
        except ValueError as error:
            raise ValueError(f"{shown} {error}") from error


@dataclasses.dataclass(frozen=True)
class TrainsTask:
    """What a worker needs to make the clips of some images.

    Attributes:
      images: they.
      clips_per_image: clips of each.
      panning: how windows move.
      encoding: of the stored frames.
    """

    images: tuple[SourceImage, ...]
    clips_per_image: int
    panning: Panning
    encoding: Encoding


def trains_recipe(
    source: str | os.PathLike[str],
    panning: Panning,
    encoding: Encoding,
    *,
    num_clips: int = NUM_CLIPS,
    clips_per_image: int = 1,
    leave_out: str | os.PathLike[str] | None = None,
) -> Recipe:
    """What `dataset.prepare` needs to make clips of images.

    Each image counts as a video, so that no image is in two splits. Of more images than are needed
    some are chosen by lot.

    Args:
      source: see `find_images`.
      panning: how windows move.
      encoding: of the stored frames.
      num_clips: most clips that are made; images that can't be used are not made up for.
      clips_per_image: clips of each image.
      leave_out: see `find_images`.

    Raises:
      ValueError: a number is out of range, or there are no images in `source`.
    """
    for name, value in (("clips_per_image", clips_per_image), ("num_clips", num_clips)):
        if value < 1:
            raise ValueError(f"{name} (={value}) must be at least 1")
    if num_clips < clips_per_image:
        raise ValueError(
            f"num_clips (={num_clips}) must be at least clips_per_image (={clips_per_image})"
        )
    found, skipped = find_images(source, leave_out=leave_out)
    wanted = num_clips // clips_per_image
    images = _chosen(found, wanted, panning.seed)
    notes = []
    if len(found) < wanted:
        notes.append(
            f"{source} has {len(found):,} images, enough for {len(found) * clips_per_image:,} of "
            f"{num_clips:,} clips (num_clips); more clips of each image (clips_per_image) make more"
        )
    chunk = max(1, min(_MOST_IMAGES_A_JOB, len(images) // _FEWEST_JOBS))
    jobs = []
    for first in range(0, len(images), chunk):
        some = images[first : first + chunk]
        task = TrainsTask(tuple(some), clips_per_image, panning, encoding)
        jobs.append(Job(f"images from {first:08d}", _stamp(some), task, float(len(some))))
    settings = dataclasses.asdict(panning) | dataclasses.asdict(encoding)
    settings["clips_per_image"] = clips_per_image
    return Recipe(
        "trains",
        pan_images,
        jobs,
        settings,
        skipped,
        tuple(notes),
        one_video_a_job=False,
        unit="chunks of images",
    )


def _chosen(images: Sequence[SourceImage], count: int, seed: int) -> Sequence[SourceImage]:
    """So many of them, in their order; an image's lot depends on its name and the seed only."""
    if len(images) <= count:
        return images

    def lot(number: int) -> bytes:
        return hashlib.sha256(f"{seed} {images[number].name}".encode()).digest()

    return [images[number] for number in sorted(heapq.nsmallest(count, range(len(images)), lot))]


def _stamp(images: Sequence[SourceImage]) -> str:
    """Changes when one of the images, or their number, does."""
    rows: list[Any] = []
    for path in sorted({image.path for image in images}):
        status = path.stat()
        rows.append([os.fsencode(path.name).hex(), status.st_size, status.st_mtime_ns])
    rows += [[image.name, image.value] for image in images]
    return f"{len(images)} images, {hashlib.sha256(json.dumps(rows).encode()).hexdigest()}"


def find_images(
    source: str | os.PathLike[str], *, leave_out: str | os.PathLike[str] | None = None
) -> tuple[list[SourceImage], list[tuple[str, str]]]:
    """Finds the images of a source.

    Args:
      source: an LMDB (its file, or the folder that holds data.mdb), or a folder, from which files
        with a picture's suffix are taken, sub-folders included.
      leave_out: a folder that is not searched: the data set's own.

    Returns:
      The images, in the order of their keys or names, and what was left out: (path, reason).

    Raises:
      ValueError: there is no such source, there are no images in it, or it is a damaged database.
    """
    source = Path(source)
    if not source.exists():
        raise ValueError(f"--source {source}: no such file or folder")
    database = lsun.data_file(source)
    if database is None and source.is_dir():
        return _images_in(source, leave_out)
    # What is neither is told by the reader of databases.
    database = database or source
    images = [SourceImage(value.name, database, value) for value in lsun.list_values(database)]
    if not images:
        raise ValueError(f"--source {source}: is an LMDB without images")
    return images, []


def _images_in(
    folder: Path, leave_out: str | os.PathLike[str] | None
) -> tuple[list[SourceImage], list[tuple[str, str]]]:
    skipped: list[tuple[str, str]] = []
    visited = set() if leave_out is None else {os.path.realpath(leave_out)}
    paths = list(finding.walk(folder, SUFFIXES, "a picture", skipped, visited))
    if not paths:
        databases = [name for name, _ in skipped if Path(name).name == lsun.FILE_NAME]
        hint = "pictures are known by their suffix (.jpg, .png, .webp …)"
        if databases:
            hint = f"to read {databases[0]}, give --source {Path(databases[0]).parent}"
        unreadable = [f"{name}: {why}" for name, why in skipped if why.startswith("folder")]
        seen = f" ({finding.few(unreadable)})" if unreadable else ""
        raise ValueError(f"--source {folder}: there are no pictures in it{seen}; {hint}")
    names = finding.names_of([(folder, path) for path in paths])
    images = [SourceImage(name, path) for name, path in zip(names, paths, strict=True)]
    return sorted(images, key=lambda image: image.name), skipped


def pan_images(task: Any, write: WriteClip) -> list[str]:
    """Makes the clips of some images: the `Work` of this recipe.

    Args:
      task: a `TrainsTask`.
      write: takes the clips.

    Returns:
      Which images could not be used, and why.
    """
    if not isinstance(task, TrainsTask):
        raise TypeError(f"task must be a TrainsTask, got {type(task).__name__}")
    panning, notes = task.panning, []
    total = len(task.images) * task.clips_per_image
    for done, image in enumerate(task.images):
        try:
            picture = image.read(panning)
        except ValueError as error:
            notes.append(f"not used: {error}")
            write(None, (done + 1) / len(task.images))
            continue
        for number in range(task.clips_per_image):
            window = panning.draw(image.name, number, *picture.size)
            record = records.ClipRecord(
                frames=task.encoding.encode(panning.render(picture, window)),
                height=panning.size,
                width=panning.size,
                fps=panning.fps,
                video_id=image.name,
                clip_id=f"{image.name}#{number:05d}",
            )
            write(record, (done * task.clips_per_image + number + 1) / total)
    return notes

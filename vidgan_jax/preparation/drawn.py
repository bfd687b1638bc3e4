"""Label maps that people have drawn for their videos: files by the videos' names."""

import dataclasses
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath

import numpy as np

from vidgan_jax.data.label_files import read_label_map
from vidgan_jax.data.labels import DONT_CARE, check_num_labels

SUFFIX = ".png"


@dataclasses.dataclass(frozen=True)
class LabelSettings:
    """What the ids and colours in label maps mean.

    Attributes:
      num_labels: classes; other ids are refused.
      dont_care: an id in the files that means no class, as 255 does.
      nearest_colours: see `read_label_map`.
    """

    num_labels: int = 150
    dont_care: int = DONT_CARE
    nearest_colours: bool = False

    def __post_init__(self) -> None:
        check_num_labels(self.num_labels)


@dataclasses.dataclass(frozen=True)
class LabelFile:
    """A label map's file, and what is in it."""

    path: Path
    settings: LabelSettings

    def read(self) -> np.ndarray:
        """The map, see `read_label_map`."""
        settings = self.settings
        return read_label_map(
            self.path, settings.num_labels, settings.dont_care, settings.nearest_colours
        )


@dataclasses.dataclass(frozen=True)
class LabelMaps:
    """Which map is whose.

    Attributes:
      files: by the names of the videos that have one.
      notes: what is worth telling the user: videos without a map, maps without a video.
    """

    files: Mapping[str, LabelFile]
    notes: tuple[str, ...]


def find_label_maps(
    folder: str | os.PathLike[str], video_ids: Sequence[str], settings: LabelSettings
) -> LabelMaps:
    """Finds the label maps of videos.

    The map of the video "park/lake.mp4" is the first there is of park/lake.mp4.png, park/lake.png,
    lake.mp4.png and lake.png.

    Args:
      folder: holds the maps.
      video_ids: names of the videos, their paths within the folder that they are from.
      settings: what is in the maps.

    Raises:
      ValueError: no such folder, no map of any video in it, or one map of two videos.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise ValueError(f"--label-maps {folder}: no such folder")
    owners: dict[Path, str] = {}
    for video in video_ids:
        path = next((path for path in _candidates(folder, video) if path.is_file()), None)
        if path is None:
            continue
        if path in owners:
            raise ValueError(
                f"{path}: is it of the video {owners[path]} or of {video}? Name each map after its "
                f"video with the suffix, as {PurePosixPath(video).name}{SUFFIX}"
            )
        owners[path] = video
    if not owners:
        *_, plain = _candidates(folder, video_ids[0])
        raise ValueError(
            f"--label-maps {folder}: holds no label map of any of the {len(video_ids)} videos; "
            f"that of {video_ids[0]} would be {plain}"
        )
    files = {video: LabelFile(path, settings) for path, video in owners.items()}
    return LabelMaps(files, tuple(_notes(folder, owners, video_ids)))


def _candidates(folder: Path, video: str) -> Iterator[Path]:
    inside = PurePosixPath(video)
    for name in (inside, PurePosixPath(inside.name)):
        if ".." not in name.parts:
            yield folder / f"{name}{SUFFIX}"
            yield folder / f"{name.with_suffix('')}{SUFFIX}"


def _notes(folder: Path, owners: Mapping[Path, str], video_ids: Sequence[str]) -> Iterator[str]:
    if without := sorted(set(video_ids) - set(owners.values())):
        yield (
            f"{len(without)} of {len(video_ids)} videos have no label map in {folder}, and their "
            f"clips none either: {_few(without)}"
        )
    others = sorted(set(folder.rglob(f"*{SUFFIX}")) - set(owners))
    if unused := [str(path.relative_to(folder)) for path in others if path.name[0] != "."]:
        yield f"{len(unused)} files in {folder} are not named after a video: {_few(unused)}"


def _few(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if names[3:] else "")

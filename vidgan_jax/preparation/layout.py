"""How clips are dealt to splits and shards."""

import dataclasses
import hashlib
import os
from collections.abc import Iterable
from pathlib import Path

TRAIN, VALIDATION = "train", "validation"


@dataclasses.dataclass(frozen=True)
class Layout:
    """How clips are dealt to splits and shards.

    Attributes:
      validation_fraction: share of the videos (not clips) kept for validation, 0 to below 1. Above
        0, at least one video of two is, and at least one stays for training.
      seed: of the split. A video's lot depends on its name and the seed only.
      clips_per_shard: most clips in a shard.
      validation_videos: names of the videos kept for validation, instead of a share of them by lot;
        None for the lot. All others are for training.
    """

    validation_fraction: float = 0.1
    seed: int = 0
    clips_per_shard: int = 256
    validation_videos: tuple[str, ...] | None = None

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
        if self.validation_videos is not None:
            listed = set(self.validation_videos)
            kept = [video for video in videos if video in listed]
            rest = [video for video in videos if video not in listed]
            return {n: members for n, members in ((TRAIN, rest), (VALIDATION, kept)) if members}
        count = round(self.validation_fraction * len(videos))
        if self.validation_fraction > 0:
            count = max(count, 1)
        count = max(0, min(count, len(videos) - 1))
        lots = sorted(videos, key=self._lot)
        splits = {TRAIN: sorted(lots[count:]), VALIDATION: sorted(lots[:count])}
        return {name: members for name, members in splits.items() if members}

    def check(self, video_ids: Iterable[str]) -> None:
        """Refuses names of videos for validation that are none of these."""
        unknown = sorted(set(self.validation_videos or ()) - set(videos := sorted(video_ids)))
        if unknown:
            raise ValueError(
                f"the list of videos for validation names {len(unknown)} that are not there, such "
                f"as {unknown[0]!r}; names are paths within the source folder, as {videos[0]!r}"
            )

    def _lot(self, video: str) -> bytes:
        return hashlib.sha256(f"{self.seed} {video}".encode()).digest()


def read_list(path: str | os.PathLike[str]) -> tuple[str, ...]:
    """The lines of a file that are neither empty nor begin with #, sorted: names of videos.

    Raises:
      ValueError: it can't be read, or has no such line.
    """
    try:
        lines = Path(path).read_text("utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: the list of videos can't be read: {error}") from error
    names = {line.strip() for line in lines if line.strip() and line[0] != "#"}
    if not names:
        raise ValueError(f"{path}: lists no videos; write the name of one on each line")
    return tuple(sorted(names))

"""The embedded data: procedural scenes, rendered once into the user's cache."""

import dataclasses
import os
import sys
from pathlib import Path

from vidgan_jax import files
from vidgan_jax.data.info import DatasetInfo
from vidgan_jax.data.scenes import MIN_SIZE
from vidgan_jax.preparation.scenes import prepare_scenes

NUM_FRAMES = 32


@dataclasses.dataclass(frozen=True)
class Scenes:
    """A set of procedural scenes.

    Attributes:
      num_videos: scenes.
      clips_per_video: moments of each.
      size: height and width, pixels.
      num_frames: frames of each clip.
      seed: other seeds give other scenes.
    """

    num_videos: int
    clips_per_video: int
    size: int
    num_frames: int = NUM_FRAMES
    seed: int = 0

    @property
    def folder(self) -> Path:
        """Where they lie: below `$XDG_CACHE_HOME/vidgan_jax`, or `~/.cache/vidgan_jax`."""
        cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        name = f"scenes-{self.num_videos}x{self.clips_per_video}-{self.size}px-{self.num_frames}f"
        other = f"-seed{self.seed}" if self.seed else ""
        return cache / "vidgan_jax" / f"{name}{other}"

    def render(self, *, progress: bool = True) -> DatasetInfo:
        """Renders them where they are not there yet; `progress` shows on stderr."""
        return prepare_scenes(
            self.folder,
            num_videos=self.num_videos,
            clips_per_video=self.clips_per_video,
            num_frames=self.num_frames,
            size=self.size,
            seed=self.seed,
            progress=progress,
        )


def data_folder(path: str, scenes: Scenes, *, render: bool) -> Path:
    """A configured data set's folder, or the embedded scenes'.

    Args:
      path: of the config; empty for the scenes.
      scenes: which.
      render: say so on stderr, and render them where they are not there yet.

    Raises:
      ValueError: scenes can't be so small.
    """
    if path:
        return files.path(path)
    if render:
        if scenes.size < MIN_SIZE:
            raise ValueError(
                f"config.data.resize (={scenes.size}) must be at least {MIN_SIZE} for embedded "
                "scenes; or give config.data.path"
            )
        print(f"config.data.path is empty: using embedded scenes, {scenes.folder}", file=sys.stderr)
        scenes.render()
    return scenes.folder

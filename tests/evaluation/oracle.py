"""Embedded scenes, and a segmenter that knows their maps: it has drawn them itself."""

import dataclasses
import functools
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from vidgan_jax.data import scenes
from vidgan_jax.data.records import ClipSource
from vidgan_jax.preparation.scenes import prepare_scenes

NUM_SCENES = 3
NUM_FRAMES = 2
STORED = 20
SIZE = 16  # of the centre crops that are scored
NUM_LABELS = 150


def make_scenes(folder: Path) -> ClipSource:
    """A few scenes, lossless, two moments of each."""
    prepare_scenes(
        folder,
        num_videos=NUM_SCENES,
        clips_per_video=2,
        num_frames=NUM_FRAMES,
        size=STORED,
        image_format="png",
        validation_fraction=0.0,
        workers=0,
        progress=False,
    )
    return ClipSource(folder, "train")


@dataclasses.dataclass(frozen=True)
class Oracle:
    """Finds frames by what they show.

    Attributes:
      change: of the crop's true map, given the whole one; None for none.
    """

    change: Callable[[np.ndarray], np.ndarray] | None = None
    classes: tuple[int, ...] = tuple(range(NUM_LABELS))
    identity: str = "oracle"

    def __call__(
        self, frames: np.ndarray, *, batch_size: int = 8, progress: bool = False
    ) -> np.ndarray:
        wanted = self.change or crop
        flat = frames.reshape(-1, *frames.shape[-3:])
        found = [wanted(_drawn()[frame.tobytes()]) for frame in flat]
        return np.stack(found).reshape(frames.shape[:-1])


def crop(whole: np.ndarray, offset: int = 0) -> np.ndarray:
    """The centre of a picture, or what lies `offset` pixels lower."""
    edge = (STORED - SIZE) // 2
    return whole[edge + offset : edge + offset + SIZE, edge : edge + SIZE]


@functools.cache
def _drawn() -> Mapping[bytes, np.ndarray]:
    """The whole label map of each frame's centre, drawn without records and loaders."""
    known: dict[bytes, np.ndarray] = {}
    for number in range(NUM_SCENES):
        seed = int(np.random.SeedSequence([0, number]).generate_state(1)[0])
        kind = scenes.SCENE_KINDS[number]
        for moment in range(2):
            clip = scenes.render_clip(
                seed, moment, num_frames=NUM_FRAMES, size=STORED, kind=kind, fps=24.0
            )
            known |= {crop(frame).tobytes(): clip.label_map for frame in clip.frames}
    return known

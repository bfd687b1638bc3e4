"""The recipe "scenes": procedural nature clips with label maps."""

import dataclasses
import os
from typing import Any

import numpy as np

from vidgan_jax.data import records, scenes
from vidgan_jax.data.frames import ImageFormat
from vidgan_jax.preparation.dataset import Layout, Recipe, prepare
from vidgan_jax.preparation.encoding import Encoding
from vidgan_jax.preparation.parts import Job, WriteClip

# A drawn label map is exact.
_LABEL_MAP_SCORE = 1.0


@dataclasses.dataclass(frozen=True)
class SceneSettings:
    """What scenes are drawn.

    Attributes:
      num_videos: number of scenes; each is a "video" of one camera, layout and palette. Kinds take
        turns, so that even a small set has all of them.
      clips_per_video: moments of each scene.
      num_frames: frames in a clip.
      size: height and width, pixels.
      fps: frames a second.
      seed: other seeds give other scenes.
      supersampling: samples a pixel is drawn with, each way.
    """

    num_videos: int
    clips_per_video: int = 4
    num_frames: int = 32
    size: int = 160
    fps: float = 24.0
    seed: int = 0
    supersampling: int = 2

    def __post_init__(self) -> None:
        for name in ("num_videos", "clips_per_video", "num_frames", "size", "supersampling"):
            least = scenes.MIN_SIZE if name == "size" else 1
            if getattr(self, name) < least:
                raise ValueError(f"{name} (={getattr(self, name)}) must be at least {least}")
        if not 0 < self.fps <= 1000:
            raise ValueError(f"fps (={self.fps:g}) must be above 0 and at most 1000")
        if self.seed < 0:
            raise ValueError(f"seed (={self.seed}) must be at least 0")


@dataclasses.dataclass(frozen=True)
class SceneTask:
    """What a worker needs to draw one scene.

    Attributes:
      video_id: names the scene.
      number: of the scene, from 0.
      settings: of all scenes.
      encoding: of the stored frames.
    """

    video_id: str
    number: int
    settings: SceneSettings
    encoding: Encoding


def scenes_recipe(settings: SceneSettings, encoding: Encoding) -> Recipe:
    """What `dataset.prepare` needs to draw scenes.

    Args:
      settings: what is drawn.
      encoding: of the stored frames; label maps are lossless.
    """
    digits = max(4, len(str(settings.num_videos - 1)))
    jobs = []
    for number in range(settings.num_videos):
        video_id = f"scene-{settings.seed}-{number:0{digits}d}"
        jobs.append(Job(video_id, "drawn", SceneTask(video_id, number, settings, encoding)))
    # How many scenes there are changes none of them: a larger set takes over what is drawn.
    common = dataclasses.asdict(settings) | dataclasses.asdict(encoding)
    del common["num_videos"]
    return Recipe("scenes", draw_scene, jobs, common)


def prepare_scenes(
    out: str | os.PathLike[str],
    *,
    num_videos: int,
    clips_per_video: int = 4,
    num_frames: int = 32,
    size: int = 160,
    fps: float = 24.0,
    seed: int = 0,
    supersampling: int = 2,
    image_format: ImageFormat = "jpeg",
    quality: int = 90,
    validation_fraction: float = 0.1,
    clips_per_shard: int = 256,
    workers: int | None = None,
    overwrite: bool = False,
    progress: bool = True,
) -> records.DatasetInfo:
    """Draws scenes and writes them as a data set; goes on where it was stopped, in one call.

    Does nothing where `out` holds that data set already, and waits where another process is making
    it.

    Args:
      out: the data set's folder.
      num_videos: see `SceneSettings`, as for all up to `supersampling`.
      clips_per_video: moments of each scene.
      num_frames: frames in a clip.
      size: height and width, pixels.
      fps: frames a second.
      seed: of the scenes and of the split.
      supersampling: samples a pixel is drawn with, each way.
      image_format: see `Encoding`.
      quality: of JPEG.
      validation_fraction: see `Layout`.
      clips_per_shard: most clips in a shard.
      workers: processes; None for one a core, 0 to work in this process. Processes import the main
        module of this one.
      overwrite: replace a data set made differently.
      progress: report on stderr.

    Returns:
      The data set's info.

    Raises:
      ValueError: a setting is out of range, or `out` holds something else; see `dataset.prepare`.
      OutputError: `out` cannot be written.
    """
    settings = SceneSettings(
        num_videos=num_videos,
        clips_per_video=clips_per_video,
        num_frames=num_frames,
        size=size,
        fps=fps,
        seed=seed,
        supersampling=supersampling,
    )
    return prepare(
        scenes_recipe(settings, Encoding(image_format, quality)),
        out,
        layout=Layout(validation_fraction, seed, clips_per_shard),
        workers=workers,
        overwrite=overwrite,
        wait=True,
        progress=progress,
    ).info


def draw_scene(task: Any, write: WriteClip) -> list[str]:
    """Draws all clips of one scene: the `Work` of this recipe.

    Args:
      task: a `SceneTask`.
      write: takes the clips.

    Returns:
      Nothing to tell.
    """
    if not isinstance(task, SceneTask):
        raise TypeError(f"task must be a SceneTask, got {type(task).__name__}")
    settings = task.settings
    kind = scenes.SCENE_KINDS[task.number % len(scenes.SCENE_KINDS)]
    scene_seed = int(np.random.SeedSequence([settings.seed, task.number]).generate_state(1)[0])
    for number in range(settings.clips_per_video):
        clip = scenes.render_clip(
            scene_seed,
            number,
            num_frames=settings.num_frames,
            size=settings.size,
            fps=settings.fps,
            kind=kind,
            supersampling=settings.supersampling,
        )
        record = records.ClipRecord(
            frames=task.encoding.encode(clip.frames),
            height=settings.size,
            width=settings.size,
            fps=settings.fps,
            video_id=task.video_id,
            clip_id=f"{task.video_id}-{clip.kind}#{number:05d}",
            label_map=records.encode_label_map(clip.label_map),
            label_map_score=_LABEL_MAP_SCORE,
        )
        write(record, (number + 1) / settings.clips_per_video)
    return []

"""Builders that prepare: raw videos, or nothing at all, in; clips out.

Preparing takes place in a folder beside TFDS's own, `DATA_DIR/.vidgan_jax/CONFIGURATION`, as the
command `prepare` does it: in several processes, and it goes on where it was stopped. The folder is
removed when TFDS has taken the clips over; until then there must be room for them twice.
"""

import contextlib
import dataclasses
import hashlib
import json
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from vidgan_jax.preparation import dataset, footage, scenes, videos
from vidgan_jax.preparation.encoding import Encoding
from vidgan_jax.tfds_builders.builder import ClipsBuilder, Contents, configuration_name

_SCRATCH = ".vidgan_jax"

Options = Mapping[str, Any]


class RecipeBuilder(ClipsBuilder, skip_registration=True):  # type: ignore[call-arg]
    """Prepares a recipe's clips.

    The configuration's name tells the recipe, its settings, its sources and its layout: where one
    of them changes, TFDS makes another data set.

    Args:
      recipe: what is made.
      layout: of splits and shards.
      size: height and width of the clips, pixels.
      encoding: of the stored frames.
      label_maps: see `Contents`.
      workers: processes; None for one a core, 0 for none.
      arguments: see `ClipsBuilder`.
      data_dir: see `ClipsBuilder`.
      version: see `ClipsBuilder`.
      file_format: see `ClipsBuilder`.
    """

    def __init__(
        self,
        recipe: dataset.Recipe,
        layout: dataset.Layout,
        *,
        size: int,
        encoding: Encoding,
        label_maps: bool,
        workers: int | None,
        arguments: dict[str, Any],
        data_dir: str | os.PathLike[str] | None,
        version: str | None,
        file_format: str | None,
    ):
        self._recipe, self._layout, self._workers = recipe, layout, workers
        sources = sorted([job.video_id, job.source] for job in recipe.jobs)
        made_of = [recipe.name, dict(recipe.settings), dataclasses.asdict(layout), sources]
        digest = hashlib.sha256(json.dumps(made_of, sort_keys=True).encode()).hexdigest()
        contents = Contents(
            name=configuration_name(recipe.name, f"{size}px", digest[:8]),
            description=f"Clips of {len(recipe.jobs)} videos, by the recipe {recipe.name!r}: "
            f"{json.dumps(dict(recipe.settings), sort_keys=True)}",
            height=size,
            width=size,
            image_format=encoding.image_format,
            label_maps=label_maps,
        )
        super().__init__(
            contents, arguments, data_dir=data_dir, version=version, file_format=file_format
        )

    @property
    def scratch(self) -> Path:
        """Where the clips are prepared."""
        return Path(self.data_path).parents[2] / _SCRATCH / self._contents.name

    def _data_set(self) -> Path:
        dataset.prepare(self._recipe, self.scratch, layout=self._layout, workers=self._workers)
        return self.scratch

    def download_and_prepare(self, **options: Any) -> None:
        """TFDS's own, with its options; then the prepared clips are removed."""
        super().download_and_prepare(**options)
        shutil.rmtree(self.scratch, ignore_errors=True)
        with contextlib.suppress(OSError):  # another data set may be in the making there
            self.scratch.parent.rmdir()


class VidganVideos(RecipeBuilder):
    """Clips cut from video files, as `vidgan_videos`.

    Args:
      source: a file or folder, or several; see `footage.find_videos`.
      cutting: fields of `videos.Cutting`.
      encoding: fields of `Encoding`.
      layout: fields of `dataset.Layout`.
      label_maps: folder of the videos' label maps, see `footage.videos_recipe`; clips of videos
        without one are left out then.
      workers: see `RecipeBuilder`.
      data_dir: see `ClipsBuilder`.
      version: see `ClipsBuilder`.
      file_format: see `ClipsBuilder`.

    Raises:
      ValueError: no videos in `source`, or a field out of range.
      TypeError: no such field.
    """

    def __init__(
        self,
        *,
        source: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
        cutting: Options | None = None,
        encoding: Options | None = None,
        layout: Options | None = None,
        label_maps: str | os.PathLike[str] | None = None,
        workers: int | None = None,
        data_dir: str | os.PathLike[str] | None = None,
        version: str | None = None,
        file_format: str | None = None,
    ):
        sources = [source] if isinstance(source, str | os.PathLike) else list(source)
        cut, encoded = videos.Cutting(**cutting or {}), Encoding(**encoding or {})
        super().__init__(
            footage.videos_recipe(sources, cut, encoded, workers=workers, label_maps=label_maps),
            dataset.Layout(**layout or {}),
            size=cut.size,
            encoding=encoded,
            label_maps=label_maps is not None,
            workers=workers,
            arguments={
                "source": sources,
                "cutting": cutting,
                "encoding": encoding,
                "layout": layout,
                "label_maps": label_maps,
                "workers": workers,
            },
            data_dir=data_dir,
            version=version,
            file_format=file_format,
        )


class VidganScenes(RecipeBuilder):
    """Procedural nature clips with label maps, as `vidgan_scenes`.

    Args:
      settings: fields of `scenes.SceneSettings`; `num_videos` at least.
      encoding: fields of `Encoding`.
      layout: fields of `dataset.Layout`.
      workers: see `RecipeBuilder`.
      data_dir: see `ClipsBuilder`.
      version: see `ClipsBuilder`.
      file_format: see `ClipsBuilder`.

    Raises:
      ValueError: a field out of range.
      TypeError: no such field, or one is missing.
    """

    def __init__(
        self,
        *,
        settings: Options,
        encoding: Options | None = None,
        layout: Options | None = None,
        workers: int | None = None,
        data_dir: str | os.PathLike[str] | None = None,
        version: str | None = None,
        file_format: str | None = None,
    ):
        drawn, encoded = scenes.SceneSettings(**settings), Encoding(**encoding or {})
        super().__init__(
            scenes.scenes_recipe(drawn, encoded),
            dataset.Layout(**layout or {}),
            size=drawn.size,
            encoding=encoded,
            label_maps=True,
            workers=workers,
            arguments={
                "settings": settings,
                "encoding": encoding,
                "layout": layout,
                "workers": workers,
            },
            data_dir=data_dir,
            version=version,
            file_format=file_format,
        )

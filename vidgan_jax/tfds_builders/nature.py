"""The builder of `prepare nature`: raw videos in; clips of fixed cameras with label maps out."""

import functools
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from vidgan_jax.preparation import dataset
from vidgan_jax.preparation.encoding import Encoding
from vidgan_jax.preparation.nature.cutting import ShotCutting
from vidgan_jax.preparation.nature.recipe import Nature, Preparation, Segmentation
from vidgan_jax.preparation.nature.run import prepare_nature
from vidgan_jax.preparation.nature.suitability import Limits
from vidgan_jax.tfds_builders.recipes import RecipeBuilder

Options = Mapping[str, Any]


class VidganNature(RecipeBuilder):
    """Shots of raw videos by fixed cameras, with label maps, as `vidgan_nature`.

    Args:
      source: a file or folder of videos, or several.
      segmenter: see `segmentation.loading.load`; None or "none" for no label maps.
      segmenter_scales: likewise.
      segmented_frames: frames of a clip whose maps are compared, odd.
      cutting: fields of `ShotCutting`.
      limits: fields of `Limits`.
      encoding: fields of `Encoding`.
      layout: fields of `dataset.Layout`.
      workers: see `RecipeBuilder`.
      data_dir: see `ClipsBuilder`.
      version: see `ClipsBuilder`.
      file_format: see `ClipsBuilder`.

    Raises:
      ValueError: no videos in `source`, no such segmenter, or a field out of range.
      TypeError: no such field.
    """

    def __init__(
        self,
        *,
        source: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
        segmenter: str | None,
        segmenter_scales: Sequence[int] | None = None,
        segmented_frames: int = 5,
        cutting: Options | None = None,
        limits: Options | None = None,
        encoding: Options | None = None,
        layout: Options | None = None,
        workers: int | None = None,
        data_dir: str | os.PathLike[str] | None = None,
        version: str | None = None,
        file_format: str | None = None,
    ):
        self._sources = [source] if isinstance(source, str | os.PathLike) else list(source)
        segmentation = None
        if segmenter not in (None, "none"):
            # JAX is loaded only where it is needed.
            from vidgan_jax.segmentation import loading

            load = functools.partial(loading.load, scales=segmenter_scales)
            identity = load(segmenter).identity
            segmentation = Segmentation(load, segmenter, identity, segmented_frames)
        cut, encoded = ShotCutting(**cutting or {}), Encoding(**encoding or {})
        self._nature = Nature(cut, encoded, Limits(**limits or {}), segmentation)
        planned = Preparation(self._sources, self._nature, Path(), workers=workers)
        super().__init__(
            planned.recipe({}, {}),
            dataset.Layout(**layout or {}),
            size=cut.size,
            encoding=encoded,
            label_maps=segmentation is not None,
            workers=workers,
            arguments={
                "source": self._sources,
                "segmenter": segmenter,
                "segmenter_scales": segmenter_scales,
                "segmented_frames": segmented_frames,
                "cutting": cutting,
                "limits": limits,
                "encoding": encoding,
                "layout": layout,
                "workers": workers,
            },
            data_dir=data_dir,
            version=version,
            file_format=file_format,
        )

    def _data_set(self) -> Path:
        preparation = Preparation(self._sources, self._nature, self.scratch, workers=self._workers)
        prepare_nature(preparation, layout=self._layout, workers=self._workers)
        return self.scratch

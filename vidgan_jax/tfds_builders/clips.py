"""The builder of a data set that is prepared."""

import os
from pathlib import Path

from vidgan_jax.data.records import load_info
from vidgan_jax.tfds_builders.builder import ClipsBuilder, Contents, configuration_name


class VidganClips(ClipsBuilder):
    """The clips of a prepared data set, as `vidgan_clips`.

    Args:
      data_set: its folder.
      label_maps: take the label maps, too, and only clips that have one. None: if all clips do.
      data_dir: see `ClipsBuilder`.
      version: see `ClipsBuilder`.
      file_format: see `ClipsBuilder`.

    Raises:
      RecordError: there is no data set in `data_set`.
      ValueError: label maps are wanted, and no clip has one.
    """

    def __init__(
        self,
        *,
        data_set: str | os.PathLike[str],
        label_maps: bool | None = None,
        data_dir: str | os.PathLike[str] | None = None,
        version: str | None = None,
        file_format: str | None = None,
    ):
        self._folder = Path(data_set)
        info = load_info(self._folder)
        num_maps = sum(split.num_label_maps for split in info.splits.values())
        num_clips = sum(split.num_clips for split in info.splits.values())
        if label_maps and not num_maps:
            raise ValueError(
                f"label_maps (={label_maps}): no clip of {data_set} has a label map; prepare it "
                "with label maps, or leave label_maps out"
            )
        with_maps = num_maps == num_clips if label_maps is None else label_maps
        maps = "maps" if with_maps else ""
        contents = Contents(
            name=configuration_name(self._folder.absolute().name, info.checksum[:8], maps),
            description=f"Clips of the data set {self._folder.absolute().name}, {info.checksum}",
            height=info.height,
            width=info.width,
            image_format=info.image_format,
            label_maps=with_maps,
        )
        arguments = {"data_set": data_set, "label_maps": label_maps}
        super().__init__(
            contents, arguments, data_dir=data_dir, version=version, file_format=file_format
        )

    def _data_set(self) -> Path:
        return self._folder

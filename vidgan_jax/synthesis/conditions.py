"""What a conditional generator is given beside latents: label maps, a class, an example."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from vidgan_jax.config import Config, ModelConfig
from vidgan_jax.data.label_files import read_instance_map, read_label_map
from vidgan_jax.data.labels import class_name, colorize, resize_label_map


@dataclasses.dataclass(frozen=True)
class Sketch:
    """A label map as a generator sees it.

    Attributes:
      path: of its file.
      width: of the map in the file, pixels.
      height: likewise.
      label_map: uint8 `[size, size]`, ids of classes, 255 for "don't care".
      instance_path: of the file with its instances; None without.
      instances: int32 `[size, size]`, ids of instances; None without.
    """

    path: str
    width: int
    height: int
    label_map: np.ndarray
    instance_path: str | None = None
    instances: np.ndarray | None = None

    @property
    def cond(self) -> np.ndarray:
        """What the generator takes: uint8 `[size, size]`, or int32 `[size, size, 2]`."""
        if self.instances is None:
            return self.label_map
        return np.stack([self.label_map.astype(np.int32), self.instances], axis=-1)

    def describe(self) -> dict[str, Any]:
        """Files, sizes and classes, the largest first, as JSON takes them."""
        ids, counts = np.unique(self.label_map, return_counts=True)
        order = np.argsort(-counts, kind="stable")
        return {
            "file": self.path,
            "width": self.width,
            "height": self.height,
            "instance_map": self.instance_path,
            "classes": [
                {
                    "id": int(ids[i]),
                    "name": class_name(int(ids[i])),
                    "share": round(float(counts[i] / self.label_map.size), 6),
                }
                for i in order
            ],
        }


@dataclasses.dataclass(frozen=True)
class Conditions:
    """What is given beside latents, the same for each of them.

    Attributes:
      sketches: label maps, which all latents are run with in turn; empty of models that take none.
      class_id: of models that know classes; None of others.
      style: an example to draw latents around, uint8 `[size, size, 3]` or `[t, size, size, 3]`;
        None without.
    """

    sketches: Sequence[Sketch] = ()
    class_id: int | None = None
    style: np.ndarray | None = None

    def inputs(self, latents: jax.Array) -> dict[str, Any]:
        """What `run_generator` takes, label map by label map.

        Args:
          latents: float32 `[n, z]`.

        Returns:
          `latents` `[m · n, z]` for m label maps, `cond` and `styles`.
        """
        latents = jnp.tile(latents, (max(1, len(self.sketches)), 1))
        cond = None
        if self.sketches:
            maps = np.stack([sketch.cond for sketch in self.sketches])
            cond = maps.repeat(len(latents) // len(maps), axis=0)
        elif self.class_id is not None:
            cond = np.full(len(latents), self.class_id, np.int32)
        styles = self.style
        if styles is not None:
            styles = np.broadcast_to(styles, (len(latents), *styles.shape))
        return {"latents": latents, "cond": cond, "styles": styles}

    @property
    def maps(self) -> np.ndarray | None:
        """The label maps as people see them, uint8 `[m, size, size, 3]`; None without."""
        if not self.sketches:
            return None
        return colorize(np.stack([sketch.label_map for sketch in self.sketches]))


def check_class_id(model: ModelConfig, class_id: int | None) -> None:
    """Raises ValueError where a class is missing, or no class of the model."""
    classes = model.num_classes
    if class_id is None and classes > 1:
        raise ValueError(
            f"this model knows {classes} classes of images; give one with --class-id, 0 to "
            f"{classes - 1}"
        )
    if class_id is not None and not 0 <= class_id < classes:
        known = f"must be from 0 to {classes - 1}" if classes else "is of models of classes"
        raise ValueError(f"--class-id (={class_id}) {known}: config.model.num_classes is {classes}")


def read_sketches(
    config: Config,
    label_paths: Sequence[str],
    instance_paths: Sequence[str] = (),
    *,
    nearest_colours: bool = False,
) -> list[Sketch]:
    """Reads label maps for a model.

    Args:
      config: of the model: its size, classes, and the data's id of "don't care".
      label_paths: files of label maps.
      instance_paths: files of their instances, as many; or none.
      nearest_colours: see `vidgan_jax.data.label_files.read_label_map`.

    Raises:
      ValueError: the model takes no label maps or no instances, or a file can't be used; the
        message names it.
    """
    model = config.model
    if not model.num_labels:
        raise ValueError(
            f"--label-map {label_paths[0]}: this model takes no label maps (config.model.name is "
            f"{model.name!r}); leave it out"
        )
    if instance_paths and not model.instance_edges:
        raise ValueError(
            f"--instance-map {instance_paths[0]}: this model sees no instances "
            "(config.model.instance_edges is False); leave it out"
        )
    nowhere: Sequence[str | None] = [None] * len(label_paths)
    paths = zip(label_paths, instance_paths or nowhere, strict=True)
    return [_read(config, path, instances, nearest_colours) for path, instances in paths]


def _read(config: Config, path: str, instance_path: str | None, nearest_colours: bool) -> Sketch:
    size = config.model.size
    whole = read_label_map(path, config.model.num_labels, config.data.dont_care, nearest_colours)
    height, width = whole.shape
    label_map = resize_label_map(whole, size)
    if instance_path is None:
        return Sketch(path, width, height, label_map)
    instances = read_instance_map(instance_path)
    if instances.shape != whole.shape:
        raise ValueError(
            f"--instance-map {instance_path} is {instances.shape[1]}×{instances.shape[0]}, but its "
            f"label map {path} is {width}×{height}; they must be of one size"
        )
    instances = resize_label_map(instances, size)
    return Sketch(path, width, height, label_map, instance_path, instances)

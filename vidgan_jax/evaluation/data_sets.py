"""Which data set a checkpoint is of."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vidgan_jax.experiment import Experiment
from vidgan_jax.preparation.embedded import Scenes, data_folder


def trained_on(exp: Experiment, meta: Mapping[str, Any], *, render: bool = True) -> Path | None:
    """The folder of the data set that a checkpoint was trained on.

    Args:
      exp: the checkpoint's experiment.
      meta: what was saved beside it.
      render: embedded scenes that are not there.

    Returns:
      None where the config names none, and the checkpoint was not trained by it: weights that were
      inflated or converted have seen other data than the embedded scenes, which the config means.
    """
    data = exp.config.data
    if not data.path and {"inflated", "converted"} & meta.keys():
        return None
    scenes = Scenes(data.num_scene_videos, data.num_scene_clips, data.resize)
    return data_folder(data.path, scenes, render=render)

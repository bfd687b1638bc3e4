"""Data sets of clips for TensorFlow Datasets, without TensorFlow. Importing this registers them.

    import tensorflow_datasets as tfds
    import vidgan_jax.tfds_builders

    tfds.data_source("vidgan_clips", split="train", data_dir=DIR,
                     builder_kwargs={"data_set": "a prepared data set's folder"})
    tfds.data_source("vidgan_videos", split="train", data_dir=DIR,
                     builder_kwargs={"source": "a folder of videos", "cutting": {"size": 128}})
    tfds.data_source("vidgan_nature", split="train", data_dir=DIR,
                     builder_kwargs={"source": "a folder of videos", "segmenter": "scenes"})
    tfds.data_source("vidgan_scenes", split="train", data_dir=DIR,
                     builder_kwargs={"settings": {"num_videos": 16, "size": 128}})

The first one takes the clips of a data set that is prepared, the others prepare one. What they have
made, `tfds.data_source("vidgan_clips/CONFIGURATION", …)` finds again, and so does the loader, as
`tfds:vidgan_clips?data_dir=DIR`.
"""

from vidgan_jax.tfds_builders.builder import ClipsBuilder, Contents
from vidgan_jax.tfds_builders.clips import VidganClips
from vidgan_jax.tfds_builders.nature import VidganNature
from vidgan_jax.tfds_builders.recipes import RecipeBuilder, VidganScenes, VidganVideos

__all__ = [
    "ClipsBuilder",
    "Contents",
    "RecipeBuilder",
    "VidganClips",
    "VidganNature",
    "VidganScenes",
    "VidganVideos",
]

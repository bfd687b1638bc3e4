"""A small segmenter, trained on label maps of a data set's own, or on the embedded scenes.

The default is how `vidgan_jax/segmentation/scenes.npz` was made, which comes with the package;
`:smoke` is over in a minute, and good enough to see that all works.
"""

from ml_collections import ConfigDict


def get_config(variant: str = "") -> ConfigDict:
    """The config of a variant, see above.

    Raises:
      ValueError: no such variant.
    """
    if variant not in ("", "smoke"):
        raise ValueError(f"configs/segmenter.py has no variant {variant!r}; there is :smoke")
    config = ConfigDict(
        {
            "name": "segmenter",
            "segmenter": {"size": 64, "features": (24, 48, 64, 80, 96), "num_labels": 150},
            "data": {
                "path": "",
                "split": "train",
                "held_out": "validation",
                "resizes": (64, 80, 112, 160),
                "flip": True,
                "num_workers": 0,
                "num_threads": 1,
                "num_scene_videos": 600,
                "num_scene_clips": 1,
                "num_scene_frames": 2,
                "scene_size": 160,
                "scene_seed": 1,
                "dont_care": 255,
            },
            "optimizer": {"learning_rate": 5e-3, "warm_up": 0.1, "weight_decay": 1e-4},
            "train": {
                "seed": 0,
                "batch_size": 16,
                "num_steps": 1600,
                "log_every_steps": 20,
                "score_every_steps": 400,
                "score_sizes": (64, 80, 160),
                "num_scored": 1000,
                "save_every_steps": 250,
            },
        }
    )
    if variant == "smoke":
        config.data.update(
            resizes=(64,), num_scene_videos=60, num_scene_frames=1, scene_size=80, scene_seed=1
        )
        config.train.update(num_steps=100, score_every_steps=50, score_sizes=(64,))
    return config

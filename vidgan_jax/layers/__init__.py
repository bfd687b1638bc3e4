"""Layers written once for images and clips: the rank comes from the data."""

from vidgan_jax.layers.conv import Conv, conv
from vidgan_jax.layers.dense import Dense
from vidgan_jax.layers.resample import avg_pool, upsample_nearest

__all__ = ["Conv", "Dense", "avg_pool", "conv", "upsample_nearest"]

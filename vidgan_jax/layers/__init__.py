"""Layers written once for images and clips: the rank comes from the data."""

from vidgan_jax.layers.conv import Conv, ConvTranspose, conv, conv_transpose, conv_upsampled
from vidgan_jax.layers.dense import Dense
from vidgan_jax.layers.norm import BatchNorm, InstanceNorm
from vidgan_jax.layers.resample import avg_pool, upsample_nearest

__all__ = [
    "BatchNorm",
    "Conv",
    "ConvTranspose",
    "Dense",
    "InstanceNorm",
    "avg_pool",
    "conv",
    "conv_transpose",
    "conv_upsampled",
    "upsample_nearest",
]

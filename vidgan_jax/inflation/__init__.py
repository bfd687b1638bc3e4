"""Inflation: variables of a 2D network become those of a 3D one that agrees on still clips."""

from vidgan_jax.inflation.profiles import PROFILES, temporal_weights
from vidgan_jax.inflation.target import Target, target_of
from vidgan_jax.inflation.transform import (
    MODES,
    inflate_moments,
    inflate_params,
    inflate_variables,
)

__all__ = [
    "MODES",
    "PROFILES",
    "Target",
    "inflate_moments",
    "inflate_params",
    "inflate_variables",
    "target_of",
    "temporal_weights",
]

"""Video synthesis with GANs in JAX: train on frames, inflate to 3D, finetune on clips."""

from vidgan_jax.version import __version__
from vidgan_jax.xla_flags import set_flags

set_flags()

__all__ = ["__version__"]

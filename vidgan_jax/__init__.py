"""Video synthesis with GANs in JAX: train on frames, inflate to 3D, finetune on clips."""

from vidgan_jax.version import __version__

__all__ = ["__version__"]

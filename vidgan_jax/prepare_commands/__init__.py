"""The sub-commands of `python -m vidgan_jax.prepare`: flags in, library calls, words out."""

"""What `python -m vidgan_jax.bench` measures, one module for each of its words."""

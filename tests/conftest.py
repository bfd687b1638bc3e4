"""Settings for all tests: eight simulated devices, programs that compile fast and run slowly."""

import os

# In the environment, for the processes that tests start: their numbers must be the same.
os.environ["JAX_DISABLE_MOST_OPTIMIZATIONS"] = "1"

import jax

jax.config.update("jax_platforms", "cpu")
jax.config.update("jax_num_cpu_devices", 8)

"""The dtype that a network computes in: it casts its data at the entrance, its layers follow them.

Parameters stay as they are stored, float32; a layer rounds its kernel for the product alone, after
spectral norm. Sums over many numbers are float32: statistics, means of windows, biases with their
gradients. So are results: frames and logits.
"""

import jax
import jax.numpy as jnp


def enter(x: jax.Array, dtype: str | None) -> jax.Array:
    """A network's data in the dtype that it computes in, "bfloat16"; None leaves them."""
    return x if dtype is None else x.astype(dtype)


def leave(x: jax.Array) -> jax.Array:
    """A network's result, float32; float64 where it was computed in that."""
    return x.astype(jnp.promote_types(x.dtype, jnp.float32))

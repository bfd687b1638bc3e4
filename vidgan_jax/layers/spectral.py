"""Spectral normalisation: a kernel divided by its largest singular value, found bit by bit.

Source: Miyato, Kataoka, Koyama, Yoshida 2018, arXiv:1802.05957, section 2 and algorithm 1.
"""

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax import lax

from vidgan_jax.types import SPECTRAL

_INITIAL_ITERATIONS = 15
_EPS = 1e-12


def power_iteration(matrix: jax.Array, u: jax.Array) -> tuple[jax.Array, jax.Array]:
    """One step towards the largest singular value's vectors.

    Args:
      matrix: float `[m, n]`.
      u: float `[n]`, a guess of the singular vector on that side.

    Returns:
      `(u, v)`, float `[n]` and `[m]`, each of length 1; `v @ matrix @ u` grows towards σ.
    """
    v = _unit(_product(matrix, u))
    return _unit(_product(matrix.T, v)), v


def spectral_normalize(module: nn.Module, kernel: jax.Array) -> jax.Array:
    """`gain · kernel / σ(kernel)`, for use within a module's `__call__`.

    The kernel is seen as a matrix of output channels against all the rest, of ordinary, transposed
    and dense layers alike, since all of them keep the output channel last. Beside the parameters,
    the collection `spectral` holds at the module's path

    - `u` `[c_out]` and `v` `[*widths, c_in]`: the singular vectors as far as they are known. Where
      the collection is mutable, which is so in a network's own update, one power iteration moves
      them; everywhere else they stay.
    - `gain` `[]`: 1, and never trained; inflation sets it (`vidgan_jax.inflation`).

    σ is `vᵀ·W·u` with u and v as constants, so its gradient is the outer product of the two. The
    stored kernel is never changed.

    Args:
      module: whose scope holds the state.
      kernel: float32 `[*widths, c_in, c_out]`, or `[c_in, c_out]`.

    Returns:
      float32, of the kernel's shape.

    Raises:
      ValueError: the module is applied without that collection.
    """
    matrix = kernel.reshape(-1, kernel.shape[-1])
    frozen = lax.stop_gradient(matrix)
    u_first = v_first = frozen  # never looked at where there is a state
    if not module.has_variable(SPECTRAL, "u"):
        if not module.is_initializing():
            raise ValueError(
                f"the variables lack {SPECTRAL}/{'/'.join(module.path)}, the state of spectral "
                "norm; apply the network to all collections that its init gave"
            )
        u_first, v_first = _converge(frozen, module.make_rng("params"))
    u_state = module.variable(SPECTRAL, "u", lambda: u_first)
    v_state = module.variable(SPECTRAL, "v", lambda: v_first.reshape(kernel.shape[:-1]))
    gain = module.variable(SPECTRAL, "gain", lambda: jnp.ones((), kernel.dtype))
    u, v = u_state.value, v_state.value.reshape(-1)
    if module.is_mutable_collection(SPECTRAL) and not module.is_initializing():
        u, v = power_iteration(frozen, u)
        u_state.value, v_state.value = u, v.reshape(kernel.shape[:-1])
    sigma = jnp.vdot(v, _product(matrix, u))
    return kernel * (lax.stop_gradient(gain.value) / sigma)


def _converge(matrix: jax.Array, key: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Singular vectors good enough to start with."""
    u = _unit(jax.random.normal(key, (matrix.shape[-1],)))
    u = lax.fori_loop(0, _INITIAL_ITERATIONS, lambda _, u: power_iteration(matrix, u)[0], u)
    return power_iteration(matrix, u)


def _product(matrix: jax.Array, vector: jax.Array) -> jax.Array:
    # A GPU's short mantissas would shift all weights of the layer; the product costs little.
    return jnp.dot(matrix, vector, precision=lax.Precision.HIGHEST)


def _unit(vector: jax.Array) -> jax.Array:
    return vector / jnp.maximum(jnp.linalg.norm(vector), _EPS)

"""Latents: drawn by number, and paths through them."""

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp

# Sine of the angle below which two directions leave float32 no plane to turn in.
_SAME_LINE = 1e-5


def draw_latents(seed: int, num: int, z_dim: int, truncation: float | None) -> jax.Array:
    """The first `num` latents of a seed: number i is the same whatever `num` is.

    Args:
      seed: of all.
      num: how many.
      z_dim: length of each.
      truncation: as for `pick_latents`.

    Returns:
      float32 `[num, z_dim]`.
    """
    return pick_latents(seed, range(num), z_dim, truncation)


def pick_latents(
    seed: int, numbers: Sequence[int], z_dim: int, truncation: float | None
) -> jax.Array:
    """Latents of a seed by their numbers, each from a key of its own.

    Args:
      seed: of all.
      numbers: of the latents wanted, from 0; in any order, and more than once if need be.
      z_dim: length of each.
      truncation: components are standard normal within ± this many σ; None for no bound. Smaller is
        more typical and less varied (Brock et al. 2019, arXiv:1809.11096, section 3.1).

    Returns:
      float32 `[len(numbers), z_dim]`.
    """
    # Named, and so the same whatever JAX's defaults are set to.
    root = jax.random.key(seed, impl="threefry2x32")
    keys = jax.vmap(jax.random.fold_in, (None, 0))(root, jnp.asarray(numbers, jnp.int32))

    def draw(key: jax.Array) -> jax.Array:
        if truncation is None:
            return jax.random.normal(key, (z_dim,), jnp.float32)
        return jax.random.truncated_normal(key, -truncation, truncation, (z_dim,), jnp.float32)

    return jax.vmap(draw)(keys)


def interpolate(latents: jax.Array, steps: int, kind: str = "spherical") -> jax.Array:
    """A closed path through latents: from each to the next, and from the last to the first.

    Normal latents of many components lie close to a sphere. A straight line between two of them
    leaves it: half-way between independent ones it is √2 shorter, and the generator has hardly seen
    such. `spherical` turns from one direction to the next at constant speed, along a great circle,
    while the length goes evenly from one to the other; between latents of equal length that is
    White's slerp. It is finite everywhere: opposite latents, which have no great circle of their
    own, are joined by half a circle through a fixed direction at right angles (of one component
    only, through 0), and to or from 0, which has no direction, the path is straight.

    Args:
      latents: float `[n, z]`, n > 0.
      steps: points from one latent to the next, that one not counted; at least 1.
      kind: "spherical" or "linear".

    Returns:
      float `[n · steps, z]`; every `steps`-th is one of the latents.

    Raises:
      ValueError: `steps` is below 1, or `kind` is another.

    Source: White 2016, arXiv:1609.04468, section 2.1.
    """
    if steps < 1:
        raise ValueError(f"steps (={steps}) must be at least 1")
    if kind not in INTERPOLATIONS:
        raise ValueError(f"kind (={kind!r}) must be one of {', '.join(INTERPOLATIONS)}")
    t = (jnp.arange(steps) / steps)[None, :, None]
    path = INTERPOLATIONS[kind](latents[:, None], jnp.roll(latents, -1, axis=0)[:, None], t)
    return path.reshape(-1, latents.shape[-1])


def _linear(start: jax.Array, end: jax.Array, t: jax.Array) -> jax.Array:
    """Points at `t` `[1, steps, 1]` from `start` to `end` `[n, 1, z]`: `[n, steps, z]`."""
    return (1 - t) * start + t * end


def _spherical(start: jax.Array, end: jax.Array, t: jax.Array) -> jax.Array:
    """As `_linear`, by direction and length.

    White's formula divides by the sine of the angle; turning in an orthonormal basis of the plane
    does not lose its digits where that is near 0.
    """
    length, end_length = _length(start), _length(end)
    first, last = _divide(start, length), _divide(end, end_length)
    first = jnp.where(length > 0, first, last)
    last = jnp.where(end_length > 0, last, first)
    cosine = jnp.sum(first * last, axis=-1, keepdims=True)
    across = _across(last, first)
    sine = _length(across)
    # Of opposite ones any direction will do: of the axis that they lean to least.
    axis = jax.nn.one_hot(jnp.argmin(jnp.abs(first), axis=-1), first.shape[-1])
    across = jnp.where((sine < _SAME_LINE) & (cosine < 0), _across(axis, first), across)
    across = _divide(across, _length(across))
    angle = jnp.arctan2(sine, cosine)
    direction = jnp.cos(t * angle) * first + jnp.sin(t * angle) * across
    return _linear(length, end_length, t) * direction


def _length(vectors: jax.Array) -> jax.Array:
    return jnp.linalg.norm(vectors, axis=-1, keepdims=True)


def _divide(vectors: jax.Array, lengths: jax.Array) -> jax.Array:
    """Unit vectors; 0 stays 0."""
    return jnp.where(lengths > 0, vectors / jnp.where(lengths > 0, lengths, 1), 0)


def _across(vectors: jax.Array, units: jax.Array) -> jax.Array:
    """What of `vectors` is at right angles to `units`; twice, since once leaves rounding."""
    for _ in range(2):
        vectors = vectors - jnp.sum(vectors * units, axis=-1, keepdims=True) * units
    return vectors


INTERPOLATIONS: dict[str, Callable[[jax.Array, jax.Array, jax.Array], jax.Array]] = {
    "spherical": _spherical,
    "linear": _linear,
}

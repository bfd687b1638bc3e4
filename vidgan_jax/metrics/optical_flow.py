"""Dense optical flow: where each pixel of a frame is in the next one.

Iterative Lucas and Kanade from coarse to fine. At each level of a pyramid the second frame is
warped by the flow found so far; around each pixel the flow is then the least-squares solution of
brightness constancy, linearised, over a Gaussian window. Two things make it good:

- The linearised equation of a neighbour q is taken at the flow that q was warped by, not at the
  centre's: ∇I(q)·(u(p) − u(q)) + I'(q + u(q)) − I(q) = 0. With the centre's increment alone, as the
  method is mostly written, dense iterations do not converge, and more of them make it worse.
- A little of the coarser level's flow is mixed in (Tikhonov): where there is no texture, or only
  along one direction, what larger windows have found stays, and of all, nothing gives no movement.

What it can't do: motion of more than about a fifth of a frame's height between two frames; things
smaller than their own displacement; edges of motion sharper than the window (about five pixels);
occlusion, where it makes something up; brightness that changes of itself (flicker, fades), which it
takes for movement as far as there are gradients; noise, which it follows a little.
It is deterministic, and the flow of a pair of frames does not depend on the others of its batch.

Source: Lucas, Kanade 1981, "An iterative image registration technique with an application to stereo
vision"; Bouguet 2001, "Pyramidal implementation of the affine Lucas Kanade feature tracker" for the
pyramid; Le Besnerais, Champagnat 2005, "Dense optical flow by iterative local window registration",
for the divergence of the plain dense iteration and the mended equation.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np

# Part of what is measured: a change below makes other numbers.
VERSION = 1
MIN_SIZE = 8

_WINDOW = 2.0  # pixels, standard deviation of the window
_REACH = 3  # the window ends at so many standard deviations
_PRIOR = 1.0  # (grey levels a pixel)²: a mean squared gradient that weighs as much as the prior
_COARSEST = 8  # pixels: the pyramid ends before a side would be shorter
_ITERATIONS = (2, 3, 4)  # at the finest level, the next one, and all others
_LUMA = (77, 150, 29)  # 256ths: ITU-R BT.601, rounded, and so exact in float32


def settings() -> dict[str, object]:
    """All that the flow depends on beside the frames; JSON."""
    return {
        "method": "coarse-to-fine iterative Lucas-Kanade",
        "version": VERSION,
        "window_pixels": _WINDOW,
        "prior": _PRIOR,
        "coarsest_pixels": _COARSEST,
        "iterations": list(_ITERATIONS),
    }


def to_grey(frames: jax.Array) -> jax.Array:
    """Luma (BT.601) of RGB frames: uint8 `[..., 3]` → float32 `[...]`, 0 to 255."""
    red, green, blue = (frames[..., i].astype(jnp.int32) for i in range(3))
    return (_LUMA[0] * red + _LUMA[1] * green + _LUMA[2] * blue).astype(jnp.float32) / 256


@jax.jit
def optical_flow(first: jax.Array, second: jax.Array) -> jax.Array:
    """The flow from each frame to its successor: second(p + flow(p)) ≈ first(p).

    Args:
      first: grey frames `[n, h, w]`, levels 0 to 255, at least 8×8; float32.
      second: their successors, likewise.

    Returns:
      float32 `[n, h, w, 2]`, pixels to the right and down; exactly 0 where frames are equal.

    Raises:
      ValueError: other, or different, shapes, or frames too small.
    """
    if first.ndim != 3 or first.shape != second.shape:
        raise ValueError(
            "optical flow is between grey frames [n, h, w] of one shape; got "
            f"{list(first.shape)} and {list(second.shape)}"
        )
    if min(first.shape[1:]) < MIN_SIZE:
        raise ValueError(
            f"optical flow needs frames of at least {MIN_SIZE}×{MIN_SIZE} pixels; got "
            f"{first.shape[1]}×{first.shape[2]}"
        )
    # Both go through one and the same operation, or rounding could make equal frames differ.
    levels = [jnp.stack([first, second]).astype(jnp.float32)]
    while min(levels[-1].shape[2:]) >= 2 * _COARSEST:
        levels.append(_resize(levels[-1], *((side + 1) // 2 for side in levels[-1].shape[2:])))
    flow = jnp.zeros(levels[-1].shape, jnp.float32)
    for level in reversed(range(len(levels))):
        one, other = levels[level]
        flow = _refine(one, other, flow, _ITERATIONS[min(level, len(_ITERATIONS) - 1)])
    return jnp.moveaxis(flow, 0, -1)


def warp(image: jax.Array, flow: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Looks an image up where the flow points to, by bilinear interpolation.

    Args:
      image: float32 `[n, h, w]`, h, w > 1.
      flow: `[n, h, w, 2]`, pixels to the right and down.

    Returns:
      image(p + flow(p)), float32 `[n, h, w]`, and whether that is inside the frame, bool
      `[n, h, w]`; outside, the value is that of the nearest pixel of the edge.
    """
    n, height, width = image.shape
    x = jnp.arange(width, dtype=jnp.float32) + flow[..., 0]
    y = jnp.arange(height, dtype=jnp.float32)[:, None] + flow[..., 1]
    inside = (x >= 0) & (x <= width - 1) & (y >= 0) & (y <= height - 1)
    x, y = jnp.clip(x, 0, width - 1), jnp.clip(y, 0, height - 1)
    left = jnp.minimum(jnp.floor(x), width - 2)
    top = jnp.minimum(jnp.floor(y), height - 2)
    along, down = x - left, y - top
    pixels = image.reshape(n, -1)
    corner = (top.astype(jnp.int32) * width + left.astype(jnp.int32)).reshape(n, -1)

    def look_up(offset: int) -> jax.Array:
        found = jnp.take_along_axis(pixels, corner + offset, axis=1, mode="promise_in_bounds")
        return found.reshape(image.shape)

    # Written so that pixels looked up at whole numbers, the last ones too, are exactly themselves.
    above = (1 - along) * look_up(0) + along * look_up(1)
    below = (1 - along) * look_up(width) + along * look_up(width + 1)
    return (1 - down) * above + down * below, inside


def _refine(first: jax.Array, second: jax.Array, coarse: jax.Array, iterations: int) -> jax.Array:
    """The flow at one level, `[2, n, h, w]`, from the coarser one's (0, at the coarsest)."""
    height, width = first.shape[1:]
    if coarse.shape[2:] != (height, width):
        scale = jnp.asarray([width / coarse.shape[3], height / coarse.shape[2]], jnp.float32)
        coarse = _resize(coarse, height, width) * scale[:, None, None, None]
    slope_x, slope_y = _slope(first, 2), _slope(first, 1)
    xx, xy, yy = _average(jnp.stack([slope_x * slope_x, slope_x * slope_y, slope_y * slope_y]))
    xx, yy = xx + _PRIOR, yy + _PRIOR
    determinant = xx * yy - xy * xy  # at least the prior's square

    def iterate(_: int, flow: jax.Array) -> jax.Array:
        warped, inside = warp(second, jnp.moveaxis(flow, 0, -1))
        # What is looked up outside the frame is unknown: it votes for the flow that it has.
        change = jnp.where(inside, warped - first, 0)
        rest = slope_x * flow[0] + slope_y * flow[1] - change
        x, y = _average(jnp.stack([slope_x * rest, slope_y * rest])) + _PRIOR * coarse
        return jnp.stack([yy * x - xy * y, xx * y - xy * x]) / determinant

    return jax.lax.fori_loop(0, iterations, iterate, coarse)


def _slope(image: jax.Array, axis: int) -> jax.Array:
    """Central differences along an axis, one-sided at the edges; grey levels a pixel."""
    size = image.shape[axis]
    forward = jnp.diff(image, axis=axis)
    ends = [jax.lax.slice_in_dim(forward, i, i + 1, axis=axis) for i in (0, size - 2)]
    inner = [jax.lax.slice_in_dim(forward, i, i + size - 2, axis=axis) for i in (0, 1)]
    return jnp.concatenate([ends[0], (inner[0] + inner[1]) / 2, ends[1]], axis=axis)


def _average(maps: jax.Array) -> jax.Array:
    """Weighted means around each pixel of maps `[..., h, w]`; at edges of what is inside.

    As two products with matrices: small, quick to compile, and at home on accelerators.
    """
    height, width = maps.shape[-2:]
    rows, columns = (jnp.asarray(_window(side)) for side in (height, width))
    return jnp.einsum("ij,...jk,lk->...il", rows, maps, columns, precision="highest")


@functools.cache
def _window(size: int) -> np.ndarray:
    """Weights `[size, size]` of each pixel's neighbours along an axis; float32, rows sum to 1."""
    distance = np.abs(np.arange(size)[:, None] - np.arange(size))
    weights = np.exp(-0.5 * np.square(distance / _WINDOW)) * (distance <= _REACH * _WINDOW)
    return (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)


def _resize(maps: jax.Array, height: int, width: int) -> jax.Array:
    """Maps `[..., h, w]` at another size: linear, antialiased."""
    shape = (*maps.shape[:-2], height, width)
    return jax.image.resize(maps, shape, "linear", precision=jax.lax.Precision.HIGHEST)

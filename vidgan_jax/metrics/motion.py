"""How clips move: change from frame to frame, optical flow, and how far the flow explains it.

Per clip first, by one program for accelerators (`measure_motion`); then distances between two sets
of such figures. What single figures can't tell, others can: noise changes frames like movement
does, but no flow explains it; a still clip has nothing to explain, and is counted as one.
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from vidgan_jax.devices import spread
from vidgan_jax.metrics.optical_flow import MIN_SIZE, optical_flow, to_grey, warp

VERSION = 1

_OCTAVES = (-5, 6)
_BINS_AN_OCTAVE = 8
# Of the bins of flow magnitudes, pixels a frame: slower than the second edge counts as no movement.
EDGES = np.concatenate(
    [
        [0.0],
        np.exp2(np.arange(_OCTAVES[0] * _BINS_AN_OCTAVE, _OCTAVES[1] * _BINS_AN_OCTAVE + 1) / 8),
    ]
)
NUM_BINS = len(EDGES) - 1


@dataclasses.dataclass(frozen=True)
class ClipMotion:
    """How each of n clips of t frames moves; float64, means over the pixels of a frame.

    Attributes:
      change: |x_{t+1} − x_t| of all channels, grey levels (0 to 255), `[n, t − 1]`.
      bend: |x_{t+1} − 2 x_t + x_{t−1}|, likewise, `[n, t − 2]`.
      flow: magnitude of the flow, pixels, `[n, t − 1]`.
      pan: magnitude of the frame's mean flow, pixels, `[n, t − 1]`; at most `flow`.
      down: mean flow downwards, pixels, negative for upwards, `[n, t − 1]`.
      unwarped: softened luma's |x_{t+1} − x_t|, grey levels, `[n, t − 1]`; 0 is taken where the
        flow leads out of the frame.
      warped: the same with x_{t+1} warped back by the flow, `[n, t − 1]`.
      histogram: pixels in each bin of `EDGES` by the magnitude of their flow, over all steps;
        int32 `[n, NUM_BINS]`. The last bin has what is faster, too.
    """

    change: np.ndarray
    bend: np.ndarray
    flow: np.ndarray
    pan: np.ndarray
    down: np.ndarray
    unwarped: np.ndarray
    warped: np.ndarray
    histogram: np.ndarray


def measure_motion(clips: np.ndarray) -> ClipMotion:
    """Measures clips, each independently of the others.

    Args:
      clips: uint8 `[n, t, h, w, 3]`, at least two frames of 8×8.

    Raises:
      ValueError: another dtype or shape, single frames, or frames too small.
    """
    shape = clips.shape
    if clips.dtype != np.uint8 or clips.ndim != 5 or shape[-1] != 3 or not shape[0]:
        raise ValueError(
            f"clips must be uint8 [n, t, h, w, 3], n > 0; got {clips.dtype} {list(shape)}"
        )
    if shape[1] < 2:
        raise ValueError(
            f"motion is of clips of at least 2 frames; got {list(shape)}, an image each"
        )
    if min(shape[2:4]) < MIN_SIZE:
        raise ValueError(
            f"motion needs frames of at least {MIN_SIZE}×{MIN_SIZE} pixels; got "
            f"{shape[2]}×{shape[3]}"
        )
    found = _measure(clips)
    pixels = shape[2] * shape[3]
    sums = {name: found.pop(name).astype(np.float64) for name in ("change", "bend")}
    return ClipMotion(
        **{name: values / (3 * pixels) for name, values in sums.items()},
        histogram=found.pop("histogram"),
        **{name: values.astype(np.float64) for name, values in found.items()},
    )


def _sums_and_means(clips: jax.Array) -> dict[str, jax.Array]:
    """`measure_motion` of `[n, t, h, w, 3]`, but that "change" and "bend" are exact sums."""
    frames = jnp.moveaxis(clips, 1, 0)
    values = frames.astype(jnp.int32)
    change = jnp.diff(values, axis=0)

    # One step of all clips after another: working sets that fit into caches.
    def step(
        histogram: jax.Array, pair: tuple[jax.Array, jax.Array]
    ) -> tuple[jax.Array, dict[str, jax.Array]]:
        counts, means = _of_pair(*map(to_grey, pair))
        return histogram + counts, means

    start = jnp.zeros((clips.shape[0], NUM_BINS), jnp.int32)
    histogram, means = jax.lax.scan(step, start, (frames[:-1], frames[1:]))
    rows = {
        "change": jnp.abs(change).sum((2, 3, 4)),
        "bend": jnp.abs(jnp.diff(change, axis=0)).sum((2, 3, 4)),
        **means,
    }
    return {"histogram": histogram, **{name: values.T for name, values in rows.items()}}


# Few clips at once: at 128×128 pixels two cores run twice as fast as with 32.
_measure = spread(_sums_and_means, rows=16)


def _of_pair(first: jax.Array, second: jax.Array) -> tuple[jax.Array, dict[str, jax.Array]]:
    """Histograms `[n, NUM_BINS]` and figures `[n]` of grey frames `[n, h, w]` and the next."""
    flow = optical_flow(first, second)
    length = jnp.sqrt(jnp.square(flow).sum(-1))
    number = jnp.floor(_BINS_AN_OCTAVE * (jnp.log2(length) - _OCTAVES[0])) + 1
    number = jnp.where(length < EDGES[1], 0, jnp.clip(number, 1, NUM_BINS - 1)).astype(jnp.int32)
    count = jax.vmap(lambda bins: jnp.zeros(NUM_BINS, jnp.int32).at[bins].add(1))
    mean = flow.mean((1, 2))
    # Looking up between pixels loses detail of their size, which would count as not explained.
    first, second = _soften(first), _soften(second)
    back, inside = warp(second, flow)
    return count(number.reshape(len(first), -1)), {
        "flow": length.mean((1, 2)),
        "pan": jnp.sqrt(jnp.square(mean).sum(-1)),
        "down": mean[:, 1],
        "unwarped": jnp.where(inside, jnp.abs(second - first), 0).mean((1, 2)),
        "warped": jnp.where(inside, jnp.abs(back - first), 0).mean((1, 2)),
    }


def _soften(frames: jax.Array) -> jax.Array:
    """Frames `[n, h, w]` averaged with weights ¼, ½, ¼ along both axes."""
    for axis in (1, 2):
        size = frames.shape[axis]
        edged = jnp.pad(frames, [(int(axis == i),) * 2 for i in range(3)], mode="edge")
        parts = [jax.lax.slice_in_dim(edged, i, i + size, axis=axis) for i in range(3)]
        frames = (parts[0] + 2 * parts[1] + parts[2]) / 4
    return frames


def histogram_distance(a: np.ndarray, b: np.ndarray) -> float:
    """Wasserstein-1 distance of two distributions of flow magnitudes, pixels.

    The magnitudes of a bin are taken to be spread evenly over it.

    Args:
      a: pixels in each bin of `EDGES`, `[NUM_BINS]`, not all 0.
      b: likewise.

    Source: Vallender 1974, "Calculation of the Wasserstein distance between probability
    distributions on the line": the area between the cumulative distributions.
    """
    gap = np.concatenate(
        [[0.0], np.cumsum(a / a.sum(dtype=np.float64) - b / b.sum(dtype=np.float64))]
    )
    left, right = gap[:-1], gap[1:]
    both = np.abs(left) + np.abs(right)
    # Where the sign changes within a bin, the area is two triangles.
    crossed = np.divide(left**2 + right**2, both, out=np.zeros_like(both), where=both > 0)
    return float(np.sum(np.diff(EDGES) * np.where(left * right < 0, crossed, both) / 2))


def histogram_divergence(a: np.ndarray, b: np.ndarray) -> float:
    """Jensen–Shannon divergence of two histograms, bits: 0 for equal ones, at most 1.

    Args:
      a: counts `[bins]`, not all 0.
      b: likewise.

    Source: Lin 1991, "Divergence measures based on the Shannon entropy", equation 4.1.
    """
    shares = [counts / counts.sum(dtype=np.float64) for counts in (a, b)]
    middle = (shares[0] + shares[1]) / 2
    found = 0.0
    for share in shares:
        some = share > 0
        found += float(np.sum(share[some] * np.log2(share[some] / middle[some]))) / 2
    return min(max(found, 0.0), 1.0)


def sample_distance(a: np.ndarray, b: np.ndarray) -> float:
    """Wasserstein-1 distance of two samples of a number, in its unit; `[n]` and `[m]`, not empty.

    Source: as of `histogram_distance`.
    """
    a, b = np.sort(a), np.sort(b)
    values = np.sort(np.concatenate([a, b]))
    shares = [np.searchsorted(x, values[:-1], side="right") / len(x) for x in (a, b)]
    return float(np.sum(np.abs(shares[0] - shares[1]) * np.diff(values)))

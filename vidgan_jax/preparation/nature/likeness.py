"""Whether two small pictures show the same place.

Two shots of a place differ little, or by what a camera or the light does: moved, zoomed, brighter,
half in the shade. `difference` takes no notice of brightness and contrast, `likeness` of any slow
change of the light, and of shifts and zooms.
"""

import functools

import numpy as np

_LUMA = np.array([0.299, 0.587, 0.114], np.float32)

# Pictures are compared in relief: pixels less the mean about them, over the local contrast.
_RELIEF_SIZE = 5
_CONTRAST_SIZE = 11
_FLAT_CONTRAST = 2.0
# Zooms that are tried, of the one picture against the other.
_ZOOMS = (1.0, 0.9, 1 / 0.9, 0.8, 1 / 0.8)
# Shifted pictures are compared where at least so much of them overlaps.
_LEAST_OVERLAP = 0.5
# Wide screen comes with black bars. They are the same in every shot, and cut off.
_BLACK = 20.0
_LEAST_SIDE = 9


def difference(before: np.ndarray, after: np.ndarray) -> float:
    """How far two pictures are from being one but for brightness and contrast.

    Args:
      before: float32 `[..., 3]`, levels.
      after: likewise.

    Returns:
      What the one doesn't explain of the other, root mean square in levels; of the two directions
      the larger.
    """
    a, b = (picture.ravel() - picture.mean() for picture in (before, after))
    aa, bb, ab = (float(x @ y) / a.size for x, y in ((a, a), (b, b), (a, b)))
    explained = max(ab, 0.0) ** 2 / max(min(aa, bb), 1e-6)
    return float(np.sqrt(max(max(aa, bb) - explained, 0.0)))


def likeness(before: np.ndarray, after: np.ndarray, enough: float = 1.0) -> float:
    """Correlation of what two pictures have in relief, at the shift and zoom that suit best.

    Args:
      before: float32 `[h, w, 3]`, levels.
      after: likewise.
      enough: no more is looked for: zooms are tried until one suits so well.

    Returns:
      At most 1: the same place. Below about 0.4 for unlike ones; 0 where one is plain.
    """
    a, b = _without_bars(before @ _LUMA, after @ _LUMA)
    b_relief = _relief(b)
    best = -1.0
    for zoom in _ZOOMS:
        best = max(best, _best_correlation(_relief(_zoomed(a, zoom)), b_relief))
        if best >= enough:
            break
    return best


def _without_bars(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Cuts off the rows and columns at the edges that are black in both pictures."""
    lit = np.maximum(a, b) > _BLACK
    for axis in (0, 1):
        places = np.flatnonzero(lit.any(axis=1 - axis))
        if not len(places) or places[0] == 0 == lit.shape[axis] - 1 - places[-1]:
            continue
        # A bar's edge may lie within a pixel.
        first = places[0] + 1 if places[0] else 0
        last = places[-1] - 1 if places[-1] < lit.shape[axis] - 1 else places[-1]
        if last - first + 1 >= _LEAST_SIDE:
            kept = np.arange(first, last + 1)
            a, b = a.take(kept, axis), b.take(kept, axis)
    return a, b


def _relief(picture: np.ndarray) -> np.ndarray:
    """What stands out from the pixels about it, in units of how much things there do."""
    high = picture - _box_mean(picture, _RELIEF_SIZE)
    return high / np.sqrt(_box_mean(high * high, _CONTRAST_SIZE) + _FLAT_CONTRAST**2)


def _box_mean(picture: np.ndarray, size: int) -> np.ndarray:
    """Means over squares of `size` by `size` pixels, odd; edges are repeated outwards."""
    padded = np.pad(picture, size // 2, mode="edge")
    sums = np.pad(padded, ((1, 0), (1, 0))).cumsum(0, dtype=np.float64).cumsum(1)
    boxes = sums[size:, size:] - sums[:-size, size:] - sums[size:, :-size] + sums[:-size, :-size]
    return boxes.astype(np.float32) / size**2


def _zoomed(picture: np.ndarray, zoom: float) -> np.ndarray:
    """Enlarged about the middle; of a smaller one, the edges are repeated outwards."""
    if zoom == 1:
        return picture
    height, width = picture.shape
    return _stretching(height, zoom) @ picture @ _stretching(width, zoom).T


@functools.cache
def _stretching(size: int, zoom: float) -> np.ndarray:
    """Linear interpolation at places `zoom` times closer to the middle, float32 `[size, size]`."""
    middle = (size - 1) / 2
    places = np.clip((np.arange(size) - middle) / zoom + middle, 0, size - 1)
    left = np.minimum(places.astype(int), size - 2)
    rows = np.arange(size)
    matrix = np.zeros((size, size), np.float32)
    matrix[rows, left + 1] = places - left
    matrix[rows, left] = 1 - matrix[rows, left + 1]
    return matrix


def _best_correlation(a: np.ndarray, b: np.ndarray) -> float:
    """The highest correlation of two reliefs `[h, w]` over all shifts with enough overlap."""
    size = (2 * a.shape[0], 2 * a.shape[1])
    spectra = np.fft.rfft2(np.stack([a, a * a, b, b * b]), size)
    inside, overlap = _overlaps(*a.shape)
    products = np.stack(
        [spectra[0] * spectra[2].conj(), spectra[1] * inside.conj(), inside * spectra[3].conj()]
    )
    both, a_energy, b_energy = np.fft.irfft2(products, size)
    # What is next to plain correlates by its noise.
    least = 0.05 * np.maximum(overlap, 1)
    energy = np.sqrt(np.maximum(a_energy, least) * np.maximum(b_energy, least))
    allowed = overlap >= _LEAST_OVERLAP * a.size
    return float((both[allowed] / energy[allowed]).max())


@functools.cache
def _overlaps(height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Spectrum of a window all ones, and how many pixels overlap at each shift."""
    size = (2 * height, 2 * width)
    inside = np.fft.rfft2(np.ones((height, width)), size)
    return inside, np.fft.irfft2(inside * inside.conj(), size)

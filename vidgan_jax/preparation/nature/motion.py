"""How a camera moves during a clip: shift, zoom and rotation, whatever else moves in the picture.

Small blocks of a frame are looked up in a later one, and the motion of the whole picture that most
of them agree on is the camera's. Blocks without texture in both directions have no vote, since what
they show of a motion is ambiguous, nor have those not found again, as of breaking waves.

**Stillness wins.** Water and clouds may fill most of a frame and drift alike, but nothing stands
still before a moving camera. So where a fair share of the blocks doesn't move, the camera doesn't.

**Lags.** Motion is looked for over growing lags, each search starting from the motion over the lag
before. Fast motion can be followed over short lags only; long ones tell slow motion from none, and
leave behind what moves by itself.
"""

import dataclasses

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

# From a lag to the next, a slow camera stays within reach of the search.
LAGS_S = (1 / 12, 1 / 4, 1.0)
_WINDOWS = 9

_BLOCK = 8  # pixels
# Root mean square gradient across the weakest direction of a block that may vote, levels a pixel.
_LEAST_GRADIENT = 0.5
# Correlation of a block with what is found in the later frame.
_LEAST_CORRELATION = 0.8
_ITERATIONS = 5
# A search that ends farther from its start has lost its way, pixels.
_REACH = 4.0

# A block agrees with a motion that leads so close to where it was found, pixels.
_TOLERANCE = 0.35
_HYPOTHESES = 150
_FITS = 3
_LARGEST_GROWTH = 0.5
# Blocks that a motion must explain and stillness doesn't: so many, and this share of those found.
_LEAST_BLOCKS = 5
_LEAST_SHARE = 0.2
# Still blocks, as a share of those that only the motion explains, that outvote the motion.
_STILL_SHARE = 0.15
# What has moved by more than this share of the frame is not looked for over longer lags.
_FARTHEST = 0.3


@dataclasses.dataclass(frozen=True)
class CameraMotion:
    """The motion of a camera over `n` windows of time of the same length.

    Attributes:
      lag_s: length of each window, seconds.
      shift: float `[n, 2]`, by how much the picture's middle moves right and down, frame widths.
      growth: float `[n]`, by what share the picture grows.
      turn: float `[n]`, by how much the picture turns clockwise, radians.
    """

    lag_s: float
    shift: np.ndarray
    growth: np.ndarray
    turn: np.ndarray


def camera_motion(grey: np.ndarray, fps: float) -> CameraMotion:
    """Estimates the camera's motion over the longest of `LAGS_S` that the clip has.

    A window in which nothing can be followed for so long has the motion of shorter ones in it; one
    in which nothing can be followed at all, none.

    Args:
      grey: brightness, float32 `[t, h, w]` of 0 to 255; 60 to 120 pixels a side serve best.
      fps: frames a second.

    Returns:
      The motion over windows spread evenly over the clip; one window at rest for a single frame.
    """
    blurred = _blurred(grey)
    num_frames, height, width = grey.shape
    models, middles, span = np.zeros((1, 4)), np.zeros(1), 1
    for number, lag_s in enumerate(LAGS_S):
        lag = max(1, round(lag_s * fps))
        if lag >= num_frames:
            break
        starts = np.unique(np.linspace(0, num_frames - 1 - lag, _WINDOWS).round().astype(int))
        first, second = blurred[starts], blurred[starts + lag]
        before = _between(models / span, middles, starts, lag)
        guess = before
        if number == 0:
            guess = np.pad(_correlation_peaks(first, second), ((0, 0), (0, 2)))
        found, known = _motions(first, second, guess)
        known &= np.hypot(before[:, 0], before[:, 1]) < _FARTHEST * min(height, width)
        models = np.where(known[:, None], found, before)
        middles, span = starts + lag / 2, lag
    return CameraMotion(span / fps, models[:, :2] / width, models[:, 2], models[:, 3])


def _between(models: np.ndarray, middles: np.ndarray, starts: np.ndarray, lag: int) -> np.ndarray:
    """The motion over windows of `lag` frames by the motions a frame of shorter windows.

    Args:
      models: `[n, 4]`, motions a frame.
      middles: `[n]`, the times they are for, frames.
      starts: `[m]`, of the windows, frames.
      lag: their length, frames.

    Returns:
      float `[m, 4]`.
    """
    times = starts[:, None] + (np.arange(lag) + 0.5)
    parts = [np.interp(times, middles, column).sum(1) for column in models.T]
    return np.stack(parts, 1)


def _blurred(grey: np.ndarray) -> np.ndarray:
    """Binomial blur of 3×3 pixels: gradients of pixel noise lead nowhere."""
    padded = np.pad(grey, ((0, 0), (1, 1), (1, 1)), mode="edge")
    rows = padded[:, :-2] + 2 * padded[:, 1:-1] + padded[:, 2:]
    blurred: np.ndarray = (rows[..., :-2] + 2 * rows[..., 1:-1] + rows[..., 2:]) / 16
    return blurred


def _correlation_peaks(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """The likeliest shift that isn't none, to whole pixels.

    Args:
      first: float32 `[n, h, w]`.
      second: what `first` has become.

    Returns:
      float `[n, 2]`, pixels right and down.

    Source: Kuglin and Hines 1975, "The phase correlation image alignment method".
    """
    height, width = first.shape[1:]
    window = np.hanning(height)[:, None] * np.hanning(width)
    spectra = [
        np.fft.rfft2((frames - frames.mean((1, 2), keepdims=True)) * window)
        for frames in (first, second)
    ]
    cross = spectra[1] * spectra[0].conj()
    surface = np.fft.irfft2(cross / (np.abs(cross) + 1e-3), s=(height, width))
    # Things that stand still, if only specks on the lens, make a peak of their own.
    for row in (-1, 0, 1):
        for column in (-1, 0, 1):
            surface[:, row, column] = -np.inf
    down, right = np.divmod(surface.reshape(len(first), -1).argmax(1), width)
    down = (down + height // 2) % height - height // 2
    right = (right + width // 2) % width - width // 2
    return np.stack([right, down], 1).astype(float)


def _motions(
    first: np.ndarray, second: np.ndarray, guess: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The camera's motion from each of some frames to another.

    Args:
      first: float32 `[n, h, w]`.
      second: what `first` has become.
      guess: `[n, 4]`, a motion that may be near the true one.

    Returns:
      The motions, float `[n, 4]`: pixels right and down, growth, radians; and which are known.
    """
    blocks = _Blocks(first)
    still, still_match = blocks.find(second, np.zeros((len(blocks.frame), 2)))
    towards = blocks.displacement(guess)
    moved, moved_match = blocks.find(second, towards)
    better = moved_match > still_match
    found = np.where(better[:, None], moved, still)
    voting = np.where(better, moved_match, still_match) > _LEAST_CORRELATION
    models = np.zeros((len(first), 4))
    known = np.zeros(len(first), bool)
    for number in range(len(first)):
        mine = voting & (blocks.frame == number)
        model = _consensus(blocks.place[mine], found[mine])
        if model is not None:
            models[number], known[number] = model, True
    return models, known


class _Blocks:
    """The textured blocks of some frames.

    Attributes:
      frame: int `[m]`, number of the frame that each block is of.
      place: float `[m, 2]`, its middle, pixels right and down of the frame's middle.
    """

    def __init__(self, frames: np.ndarray):
        self._size = np.array(frames.shape[:0:-1])
        counts = (self._size - 2) // _BLOCK
        margin = (self._size - counts * _BLOCK) // 2
        down, right = np.gradient(frames, axis=(1, 2))
        patches, down, right = (_tiles(image, counts, margin) for image in (frames, down, right))
        gradients = np.stack([right, down], 2)  # [frame, block, 2, pixel]
        tensors = gradients @ gradients.swapaxes(2, 3)
        weakest = np.linalg.eigvalsh(tensors)[..., 0] / _BLOCK**2
        self.frame, block = np.nonzero(weakest > _LEAST_GRADIENT**2)
        row, column = np.divmod(block, max(counts[0], 1))
        self._corner = margin + _BLOCK * np.stack([column, row], 1)
        self.place = self._corner + (_BLOCK - 1) / 2 - (self._size - 1) / 2
        patches = patches[self.frame, block]
        self._patches = patches - patches.mean(1, keepdims=True)
        self._gradients = gradients[self.frame, block]
        self._inverse = np.linalg.inv(tensors[self.frame, block])

    def displacement(self, models: np.ndarray) -> np.ndarray:
        """Where motions `[n, 4]` of the frames take each block, `[m, 2]`, pixels."""
        return _displaced(models[self.frame], self.place)

    def find(self, later: np.ndarray, start: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Looks blocks up in later frames, by gradient descent.

        Args:
          later: float32 `[n, h, w]`, one for each of the frames.
          start: `[m, 2]`, displacements to start from, pixels right and down.

        Returns:
          Displacements, float `[m, 2]`, and how well the blocks are found there, float `[m]`:
          correlation, −1 for those lost.

        Source: Lucas and Kanade 1981; the update is Baker and Matthews 2004, "inverse
        compositional".
        """
        found = start.astype(float)
        windows = sliding_window_view(later, (_BLOCK + 1, _BLOCK + 1), axis=(1, 2))
        match = np.full(len(found), -1.0)
        for iteration in range(_ITERATIONS + 1):
            patches, inside = self._sampled(windows, found)
            if iteration == _ITERATIONS:
                match = np.where(inside, self._correlation(patches), -1.0)
                break
            error = patches - self._patches
            slope = (self._gradients @ error[..., None])[..., 0]
            found = found - (self._inverse @ slope[..., None])[..., 0]
            # What has left its surroundings won't come back; it just must not overflow.
            found = np.clip(found, start - 2 * _REACH, start + 2 * _REACH)
        match[np.abs(found - start).max(1, initial=0) > _REACH] = -1.0
        return found, match

    def _sampled(self, windows: np.ndarray, found: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Blocks at displacements, means taken off, `[m, pixel]`, and which lie in the frame."""
        corner = self._corner + found
        most = self._size - _BLOCK - 1
        inside = ((corner >= 0) & (corner <= most)).all(1)
        corner = np.clip(corner, 0, most)
        whole = np.minimum(corner.astype(int), most)
        right, down = (corner - whole).astype(np.float32).T[:, :, None, None]
        patch = windows[self.frame, whole[:, 1], whole[:, 0]]
        rows = patch[:, :-1] + down * (patch[:, 1:] - patch[:, :-1])
        pixels = rows[..., :-1] + right * (rows[..., 1:] - rows[..., :-1])
        pixels = pixels.reshape(len(found), _BLOCK**2)
        return pixels - pixels.mean(1, keepdims=True), inside

    def _correlation(self, patches: np.ndarray) -> np.ndarray:
        """Correlation that also falls where contrast changes."""
        own, other = (self._patches**2).sum(1), (patches**2).sum(1)
        correlation: np.ndarray = 2 * (self._patches * patches).sum(1) / (own + other)
        return correlation


def _tiles(images: np.ndarray, counts: np.ndarray, margin: np.ndarray) -> np.ndarray:
    """Cuts images `[n, h, w]` into blocks, `[n, block, pixel]`."""
    columns, rows = counts
    inner = images[
        :, margin[1] : margin[1] + rows * _BLOCK, margin[0] : margin[0] + columns * _BLOCK
    ]
    tiles = inner.reshape(len(images), rows, _BLOCK, columns, _BLOCK).swapaxes(2, 3)
    return tiles.reshape(len(images), rows * columns, _BLOCK**2)


def _displaced(models: np.ndarray, place: np.ndarray) -> np.ndarray:
    """Displacements `[…, 2]` of places `[…, 2]` by motions `[…, 4]`."""
    right, down, growth, turn = np.moveaxis(models, -1, 0)
    x, y = place[..., 0], place[..., 1]
    return np.stack([right + growth * x - turn * y, down + growth * y + turn * x], -1)


def _consensus(place: np.ndarray, found: np.ndarray) -> np.ndarray | None:
    """The camera's motion by the displacements of blocks.

    Of motions through two blocks each, the one that explains the most blocks, then fitted to these.

    Args:
      place: `[m, 2]`, blocks, pixels from the middle.
      found: `[m, 2]`, their displacements.

    Returns:
      float `[4]`, zeros for a camera at rest; None where too few blocks agree on anything.

    Source: Fischler and Bolles 1981, RANSAC.
    """
    least = max(_LEAST_BLOCKS, _LEAST_SHARE * len(place))
    if len(place) < least:
        return None
    # The same clip has to get the same numbers, always.
    pairs = np.random.default_rng(0).integers(0, len(place), (_HYPOTHESES, 2))
    models = _through_two(place[pairs], found[pairs])
    agree = _agreeing(models[:, None], place, found)
    inliers = agree[agree.sum(1).argmax()]
    model = models[0]
    for _ in range(_FITS):
        if inliers.sum() < least:
            break
        model = _fitted(place[inliers], found[inliers])
        inliers = _agreeing(model, place, found)
    still = _agreeing(np.zeros(4), place, found)
    only_model, only_still = (inliers & ~still).sum(), (still & ~inliers).sum()
    if only_model >= least and only_still < _STILL_SHARE * only_model:
        return model
    return np.zeros(4) if still.sum() >= least else None


def _agreeing(models: np.ndarray, place: np.ndarray, found: np.ndarray) -> np.ndarray:
    """Which blocks move as motions tell."""
    error = _displaced(models, place) - found
    agreeing: np.ndarray = (error**2).sum(-1) < _TOLERANCE**2
    return agreeing


def _through_two(place: np.ndarray, found: np.ndarray) -> np.ndarray:
    """Motions `[n, 4]` that take two places each, `[n, 2, 2]`, where they were found."""
    apart = place[:, 1] - place[:, 0]
    change = found[:, 1] - found[:, 0]
    length = np.maximum((apart**2).sum(1), 1)
    growth = (apart * change).sum(1) / length
    turn = (apart[:, 0] * change[:, 1] - apart[:, 1] * change[:, 0]) / length
    wild = np.hypot(growth, turn) > _LARGEST_GROWTH
    linear = np.stack([np.zeros_like(growth), np.zeros_like(growth), growth, turn], 1)
    linear[wild] = 0
    linear[:, :2] = found[:, 0] - _displaced(linear, place[:, 0])
    return linear


def _fitted(place: np.ndarray, found: np.ndarray) -> np.ndarray:
    """The motion of least squares; a mere shift where there are too few blocks for more."""
    middle, shift = place.mean(0), found.mean(0)
    around, rest = place - middle, found - shift
    model = np.zeros(4)
    length = (around**2).sum()
    if len(place) >= 3 and length > 0:
        model[2] = (around * rest).sum() / length
        model[3] = (around[:, 0] * rest[:, 1] - around[:, 1] * rest[:, 0]).sum() / length
    model[:2] = shift - _displaced(model, middle)
    return model

"""Small clips with some of the statistics of real ones: smooth, coloured, moving."""

import numpy as np


def make_waves(num: int, *, frames: int = 4, size: int = 16, seed: int = 0) -> np.ndarray:
    """Plane waves of random colour, length, direction and speed over a random ground.

    Returns:
      uint8 `[num, frames, size, size, 3]`.
    """
    rng = np.random.default_rng(seed)

    def draw(low: float, high: float, *shape: int) -> np.ndarray:
        return rng.uniform(low, high, (num, *shape, 1, 1, 1, 1))[..., 0]

    t, y, x = np.meshgrid(np.arange(frames), np.arange(size), np.arange(size), indexing="ij")
    clips = np.repeat(rng.uniform(60, 195, (num, 1, 1, 1, 3)), frames, axis=1)
    for _ in range(4):
        angle, length, speed = draw(0, 2 * np.pi), draw(3, 16), draw(-1.5, 1.5)
        phase = (np.cos(angle) * x + np.sin(angle) * y - speed * t) * 2 * np.pi / length
        colour = rng.normal(0, 14, (num, 1, 1, 1, 3))
        clips = clips + colour * np.sin(phase + draw(0, 2 * np.pi))[..., None]
    return np.clip(np.round(clips), 0, 255).astype(np.uint8)


def to_bytes(values: np.ndarray) -> np.ndarray:
    """Rounds and clips grey levels to uint8."""
    return np.clip(np.round(values), 0, 255).astype(np.uint8)

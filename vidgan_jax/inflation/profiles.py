"""How a kernel's weight is spread over its temporal taps.

Output frames of a transposed convolution of stride s fall into s phases, each of which sees every
s-th tap only; an ordinary convolution has one phase. A still clip comes out as its image did where
the weights of each phase sum to 1.
"""

from collections.abc import Callable

import numpy as np

Profile = Callable[[np.ndarray], np.ndarray]


def average(distances: np.ndarray) -> np.ndarray:
    """Equal weights: the thesis's, and Carreira, Zisserman 2017, arXiv:1705.07750, section 2.4."""
    return np.full(len(distances), 1 / len(distances))


def central(distances: np.ndarray) -> np.ndarray:
    """All weight on the tap nearest to the kernel's middle, in equal parts where two are.

    Source: Yu et al. 2023 (MAGVIT), arXiv:2212.05199, section 3.1.
    """
    nearest = distances == distances.min()
    return nearest / nearest.sum()


PROFILES: dict[str, Profile] = {"average": average, "central": central}


def temporal_weights(profile: str, width: int, stride: int = 1) -> np.ndarray:
    """The weights of a kernel's temporal taps.

    Args:
      profile: a name of `PROFILES`.
      width: of the kernel over time, frames.
      stride: over time, of a transposed convolution; 1 for an ordinary one, whatever its stride.

    Returns:
      float64 `[width]`; each of the `stride` phases sums to 1.

    Raises:
      ValueError: an unknown profile; a stride above the width, with which a phase would be empty.
    """
    if profile not in PROFILES:
        raise ValueError(f"profile (={profile!r}) must be one of {', '.join(PROFILES)}")
    if not 1 <= stride <= width:
        raise ValueError(f"stride (={stride}) over time must be from 1 to the width (={width})")
    distances = np.abs(np.arange(width) - (width - 1) / 2)
    weights = np.empty(width)
    for phase in range(stride):
        weights[phase::stride] = PROFILES[profile](distances[phase::stride])
    return weights

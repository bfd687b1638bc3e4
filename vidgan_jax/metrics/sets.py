"""Sets of features that scores compare: what they must be, and orders to draw from them by."""

import numpy as np


def as_features(features: np.ndarray, name: str) -> np.ndarray:
    """Features as float64.

    Args:
      features: `[n, d]`, any real dtype, d > 0.
      name: of the set, for the message.

    Raises:
      ValueError: not of rank 2, no features, or values that are not finite.
    """
    features = np.asarray(features, np.float64)
    if features.ndim != 2 or features.shape[1] == 0:
        raise ValueError(f"{name} must be of shape [n, d], d > 0; got {list(features.shape)}")
    if bad := int((~np.isfinite(features).all(axis=1)).sum()):
        raise ValueError(f"{name} of {bad} of {len(features)} examples are not finite")
    return features


def check_dims(a: np.ndarray, b: np.ndarray, names: str) -> None:
    """Refuses sets of features `[n, d]` and `[m, d']` with d ≠ d'.

    Raises:
      ValueError: the message begins with `names`, "real and fake".
    """
    if a.shape[1] != b.shape[1]:
        raise ValueError(
            f"{names} have {a.shape[1]} and {b.shape[1]} features an example; they must be of one"
            " feature network"
        )


def draw_order(bits: np.random.PCG64, n: int) -> np.ndarray:
    """The numbers 0 to n − 1 in a random order, int64 `[n]`.

    From PCG64's raw bits, whose stream is promised never to change (NEP 19). How NumPy's generators
    make permutations from them may change.
    """
    return np.argsort(bits.random_raw(n), kind="stable")

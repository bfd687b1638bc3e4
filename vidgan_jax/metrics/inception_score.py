"""Inception score: whether a classifier is sure of each example, and finds many classes in all.

exp E_x KL(p(y|x) ‖ p(y)): 1 where it predicts the same of all examples, c where it is sure of each
and finds all c classes equally often. It compares with no real example, and knows no class but
the classifier's.

Source: Salimans et al. 2016, arXiv:1606.03498, section 4 and its code.
"""

import numpy as np

from vidgan_jax.metrics.sets import as_features, draw_order


def inception_score(
    logits: np.ndarray, *, num_splits: int = 10, seed: int = 0
) -> tuple[float, float]:
    """Inception score, as published over splits of the examples.

    The score of a split grows with its size (it can't be above it); published ones are of 50,000
    examples in 10 splits.

    The authors' code splits the examples in the order in which they come, which is right where that
    is random. Here it need not be: conditional generators take maps or classes in turn, and splits
    of neighbours would hold few classes and score too low. So examples are put into a random, fixed
    order first, as torch-fidelity and torchmetrics do. For independent examples this changes chance
    only.

    Args:
      logits: the classifier's, before its softmax, `[n, c]`, any real dtype.
      num_splits: parts, of sizes that differ by at most 1.
      seed: of the order, from 0. The same seed gives the same order, whatever NumPy's version.

    Returns:
      Mean and (population) standard deviation over the splits, float64; scores are from 1 to c.

    Raises:
      ValueError: another rank, values that are not finite, or fewer examples than splits.
    """
    logits = as_features(logits, "logits")
    n = len(logits)
    if not 1 <= num_splits <= n:
        raise ValueError(
            f"num_splits (={num_splits}) must be from 1 to the number of examples, {n}; 10 is usual"
        )
    order = draw_order(np.random.PCG64(seed), n)
    parts = (order[i * n // num_splits : (i + 1) * n // num_splits] for i in range(num_splits))
    scores = [_score(logits[part]) for part in parts]
    return float(np.mean(scores)), float(np.std(scores))


def _score(logits: np.ndarray) -> float:
    """The score of `[n, c]`."""
    log_p = logits - _log_sum_exp(logits, axis=1)
    # Not the log of the mean: classes that no example is likely of would have log 0.
    log_mean = _log_sum_exp(log_p, axis=0) - np.log(len(logits))
    divergences = np.sum(np.exp(log_p) * (log_p - log_mean), axis=1)
    return float(np.exp(np.mean(divergences)))


def _log_sum_exp(x: np.ndarray, axis: int) -> np.ndarray:
    """Along an axis, which is kept with size 1."""
    largest = x.max(axis=axis, keepdims=True)
    return largest + np.log(np.exp(x - largest).sum(axis=axis, keepdims=True))

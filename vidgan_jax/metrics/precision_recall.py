"""Precision, recall, density and coverage: fidelity and diversity of fakes, told apart.

Each set's manifold is estimated by balls about its examples that reach to their k-th neighbour in
the set. Precision is the share of fakes in the reals' balls and recall that of reals in the fakes';
density counts in how many of the reals' balls a fake lies, and coverage is the share of the reals'
balls with a fake in them: neither hangs on single outliers with large balls.

Balls are closed, as Kynkäänniemi et al. write them (Naeem et al.'s code takes open ones: the same
but for ties, and for k copies of one example, whose open balls are empty).

Source: Kynkäänniemi et al. 2019, arXiv:1904.06991, equations 1 and 2; Naeem et al. 2020,
arXiv:2002.09797, section 3.2.
"""

import dataclasses

import numpy as np

from vidgan_jax.metrics.neighbours import Pairs, squared_radii
from vidgan_jax.metrics.sets import as_features, check_dims


@dataclasses.dataclass(frozen=True)
class PrecisionRecall:
    """How fakes lie among reals, and reals among fakes.

    Of independent draws of n each from one source density is 1 on average, coverage near 1 − 2⁻ᵏ
    whatever the source, and precision and recall depend on n, k and the source: compare values of
    equal counts.

    Attributes:
      precision: share of fakes that lie in any real's ball, 0 to 1.
      recall: share of reals that lie in any fake's ball, 0 to 1.
      density: reals' balls that a fake lies in on average, over k; above 1 where fakes crowd where
        reals are densest.
      coverage: share of reals with a fake in their balls, 0 to 1.
    """

    precision: float
    recall: float
    density: float
    coverage: float


def precision_recall(real: np.ndarray, fake: np.ndarray, *, k: int = 3) -> PrecisionRecall:
    """Precision, recall, density and coverage of fakes.

    Matrix products find almost all of it, block by block, in memory that grows with the number of
    examples, not with its square. They lose digits where examples are near each other; so what they
    can't tell for certain is decided by sums of squared differences. The result is therefore, bit
    for bit, what those sums alone would give: copies are at distance 0, and neither blocks nor
    threads change anything.

    Args:
      real: features of real examples, `[n, d]`, any real dtype, n > k.
      fake: of generated ones, `[m, d]`, m > k.
      k: a ball reaches to the k-th neighbour, the example itself not counted. 3 is usual for
        precision and recall, 5 for density and coverage.

    Raises:
      ValueError: another rank, different d, values that are not finite, k < 1, or no more than k
        examples.
    """
    real, fake = as_features(real, "features of reals"), as_features(fake, "features of fakes")
    check_dims(real, fake, "real and fake")
    if k < 1:
        raise ValueError(f"k (={k}) must be at least 1; 3 is usual")
    for name, features in (("real", real), ("fake", fake)):
        if len(features) <= k:
            raise ValueError(
                f"{len(features)} {name} examples have no neighbour number {k} (k): give more than"
                f" {k}, or a smaller k"
            )
    return _compare(real, fake, k)


def _compare(real: np.ndarray, fake: np.ndarray, k: int) -> PrecisionRecall:
    real_radii, fake_radii = squared_radii(real, k), squared_radii(fake, k)
    precise = np.zeros(len(fake), bool)
    inside = recalled = covered = 0
    for block in Pairs(real, fake).blocks():
        in_real_balls = block.within(real_radii[block.rows, None])
        precise |= in_real_balls.any(axis=0)
        inside += int(np.count_nonzero(in_real_balls))
        covered += int(np.count_nonzero(in_real_balls.any(axis=1)))
        recalled += int(np.count_nonzero(block.within(fake_radii).any(axis=1)))
    return PrecisionRecall(
        precision=int(np.count_nonzero(precise)) / len(fake),
        recall=recalled / len(real),
        density=inside / (k * len(fake)),
        coverage=covered / len(real),
    )

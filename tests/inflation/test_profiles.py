"""Weights over time: each phase sums to 1."""

import numpy as np
import pytest

from vidgan_jax.inflation import PROFILES, temporal_weights

PAIRS = [(width, stride) for width in range(1, 8) for stride in range(1, width + 1)]


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize(
    ("width", "stride"), [(w, s) for w in range(1, 8) for s in range(1, w + 1)]
)
def test_every_phase_sums_to_one(profile: str, width: int, stride: int) -> None:
    weights = temporal_weights(profile, width, stride)
    assert weights.shape == (width,)
    assert weights.dtype == np.float64
    assert (weights >= 0).all()
    for phase in range(stride):
        np.testing.assert_allclose(weights[phase::stride].sum(), 1, rtol=1e-12)
    np.testing.assert_allclose(weights, weights[::-1])


@pytest.mark.parametrize(
    ("profile", "width", "stride", "expected"),
    [
        ("average", 4, 1, [1 / 4] * 4),
        ("average", 4, 2, [1 / 2] * 4),  # 1/4 would give half the response
        ("average", 3, 2, [1 / 2, 1, 1 / 2]),
        ("average", 4, 4, [1, 1, 1, 1]),
        ("central", 3, 1, [0, 1, 0]),
        ("central", 4, 1, [0, 1 / 2, 1 / 2, 0]),
        ("central", 4, 2, [0, 1, 1, 0]),
        ("central", 3, 2, [1 / 2, 1, 1 / 2]),
        ("central", 7, 3, [0, 0, 1, 1, 1, 0, 0]),
    ],
)
def test_what_the_profiles_are(
    profile: str, width: int, stride: int, expected: list[float]
) -> None:
    np.testing.assert_allclose(temporal_weights(profile, width, stride), expected)


def test_refusals() -> None:
    with pytest.raises(ValueError, match=r"profile \(='mean'\) must be one of average, central"):
        temporal_weights("mean", 3)
    with pytest.raises(ValueError, match=r"stride \(=4\) over time must be from 1 to the width"):
        temporal_weights("average", 3, 4)

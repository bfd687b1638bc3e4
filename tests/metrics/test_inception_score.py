"""The Inception score: closed forms, another way to compute it, extreme logits."""

import math

import numpy as np
import pytest
import torch
from torch.distributions import Categorical, kl_divergence

from vidgan_jax.metrics.inception_score import inception_score
from vidgan_jax.metrics.sets import draw_order


def draw_logits(n: int, c: int, seed: int = 0, scale: float = 2.0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, scale, (n, c))


@pytest.mark.parametrize("c", [1, 2, 10])
def test_uniform_and_equal_predictions_score_1(c: int) -> None:
    assert inception_score(np.full((20, c), 3.0)) == pytest.approx((1, 0), abs=1e-12)
    same = np.tile(draw_logits(1, c), (20, 1))
    assert inception_score(same, num_splits=4) == pytest.approx((1, 0), abs=1e-12)


@pytest.mark.parametrize("certain", [50.0, 1e3, 1e300])
def test_certain_predictions_of_all_classes_score_their_number(certain: float) -> None:
    logits = np.tile(certain * np.eye(5), (8, 1))
    assert inception_score(logits, num_splits=1) == pytest.approx((5, 0))


def test_classes_never_predicted_count_for_nothing() -> None:
    """Their probability is 0 in float64, and so would its mean be."""
    logits = np.tile(2000.0 * np.eye(5, 9), (8, 1))
    assert inception_score(logits, num_splits=1) == pytest.approx((5, 0))


@pytest.mark.parametrize("share", [0.5, 0.9])
def test_unequal_classes_score_the_exponent_of_their_entropy(share: float) -> None:
    first = int(1000 * share)
    logits = np.repeat([[80.0, 0.0], [0.0, 80.0]], [first, 1000 - first], axis=0)
    entropy = -share * math.log(share) - (1 - share) * math.log(1 - share)
    assert inception_score(logits, num_splits=1)[0] == pytest.approx(math.exp(entropy))


@pytest.mark.parametrize(("n", "num_splits"), [(50, 10), (53, 10), (7, 7), (64, 3)])
def test_against_torch(n: int, num_splits: int) -> None:
    """Kullback-Leibler divergences of PyTorch's distributions, over the published splits."""
    logits = draw_logits(n, 6)
    order = draw_order(np.random.PCG64(4), n)
    scores = []
    for i in range(num_splits):
        part = logits[order][i * n // num_splits : (i + 1) * n // num_splits]
        predicted = Categorical(logits=torch.from_numpy(part))
        mean = Categorical(probs=predicted.probs.mean(0))
        scores.append(kl_divergence(predicted, mean).mean().exp().item())
    found = inception_score(logits, num_splits=num_splits, seed=4)
    assert found == pytest.approx((np.mean(scores), np.std(scores)), rel=1e-9, abs=1e-12)


def test_the_order_of_examples_hardly_counts() -> None:
    """In order of their classes, splits of neighbours would score 1 and not 10."""
    logits = np.repeat(30 * np.eye(10), 100, axis=0)
    mean, std = inception_score(logits)
    assert 9 < mean < 10
    assert 0 < std < 0.5


def test_what_softmax_ignores_is_ignored() -> None:
    logits = draw_logits(40, 7)
    shifts = np.random.default_rng(1).normal(0, 100, (40, 1))
    assert inception_score(logits + shifts) == pytest.approx(inception_score(logits), rel=1e-10)
    assert inception_score(logits[:, ::-1]) == pytest.approx(inception_score(logits), rel=1e-12)


def test_the_seed_decides_the_splits() -> None:
    logits = draw_logits(40, 7)
    assert inception_score(logits) == inception_score(logits, seed=0)
    assert inception_score(logits) != inception_score(logits, seed=1)
    whole = [inception_score(logits, num_splits=1, seed=seed)[0] for seed in (0, 1)]
    assert whole[0] == pytest.approx(whole[1], rel=1e-13)


def test_mistakes() -> None:
    logits = draw_logits(8, 3)
    with pytest.raises(ValueError, match=r"logits must be of shape \[n, d\], d > 0; got \[8\]"):
        inception_score(logits[:, 0])
    with pytest.raises(ValueError, match="logits of 1 of 8 examples are not finite"):
        inception_score(np.where(np.eye(8, 3, -7), -np.inf, logits))
    for num_splits in (0, 9):
        with pytest.raises(ValueError, match=rf"num_splits \(={num_splits}\) must be from 1 .* 8"):
            inception_score(logits, num_splits=num_splits)

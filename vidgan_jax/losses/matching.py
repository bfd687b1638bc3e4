"""How far fakes are from the reals that they were made for: one float32 value an example.

Where a loss compares what a network makes of both, the reals' side is data: no gradient flows
through it. Weights of whole losses, and the mean over examples, are the step's.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp

# Of relu1_1 … relu5_1, as Wang et al. 2018, arXiv:1711.11585, weigh the layers of VGG19 in their
# code: all of them sums of about the same size.
PERCEPTUAL_WEIGHTS = (1 / 32, 1 / 16, 1 / 8, 1 / 4, 1.0)


def l1(fake: jax.Array, real: jax.Array) -> jax.Array:
    """Mean absolute difference of pixels.

    Args:
      fake: float `[b, *axes]`.
      real: float, of the same shape.

    Returns:
      float32 `[b]`, in the unit of the pixels, never negative.

    Raises:
      ValueError: the shapes differ.
    """
    if fake.shape != real.shape:
        raise ValueError(f"fake {fake.shape} and real {real.shape} must have the same shape")
    difference = fake.astype(jnp.float32) - real.astype(jnp.float32)
    return jnp.mean(jnp.abs(difference), axis=range(1, fake.ndim))


def feature_matching(
    fake_features: Sequence[Sequence[jax.Array]], real_features: Sequence[Sequence[jax.Array]]
) -> jax.Array:
    """Mean absolute difference of a discriminator's features: summed over layers, mean over scales.

    Args:
      fake_features: of the discriminator at fakes: one sequence of layers for each scale, float
        `[b, *axes, c]` each, any sizes.
      real_features: likewise at reals; no gradient flows through them.

    Returns:
      float32 `[b]`, never negative.

    Raises:
      ValueError: no scales, or other scales, layers or shapes on one side.

    Source: Wang et al. 2018, arXiv:1711.11585 (pix2pixHD), equation 4, with the weights of its and
    of SPADE's public code: the mean over scales, not the sum.
    """
    _check_same_number("scales", fake_features, real_features)
    sums = []
    for i, (fakes, reals) in enumerate(zip(fake_features, real_features, strict=True)):
        _check_same_number(f"layers of scale {i}", fakes, reals)
        sums.append(_weighted_l1(fakes, reals, (1.0,) * len(fakes)))
    return jnp.mean(jnp.stack(sums), axis=0)


def perceptual(
    fake_features: Sequence[jax.Array],
    real_features: Sequence[jax.Array],
    weights: Sequence[float] = PERCEPTUAL_WEIGHTS,
) -> jax.Array:
    """Mean absolute difference of an image classifier's features, a weighted sum over layers.

    Clips that the classifier saw frame by frame count as one example each: the mean is over frames,
    too.

    Args:
      fake_features: of the classifier at fakes, float `[b, *axes, c]` a layer.
      real_features: likewise at reals; no gradient flows through them.
      weights: of the layers; VGG19's by default, see `vidgan_jax.models.vgg`.

    Returns:
      float32 `[b]`, never negative.

    Raises:
      ValueError: not one weight a layer, or other layers or shapes on one side.

    Source: Johnson, Alahi, Fei-Fei 2016, arXiv:1603.08155; with absolute differences and these
    weights, the public code of Wang et al. 2018, arXiv:1711.11585, and of SPADE.
    """
    _check_same_number("layers", fake_features, real_features)
    if len(weights) != len(fake_features):
        raise ValueError(
            f"weights (={tuple(weights)}) must be one for each of the {len(fake_features)} layers"
        )
    return _weighted_l1(fake_features, real_features, weights)


def kl_divergence(mean: jax.Array, log_variance: jax.Array) -> jax.Array:
    """Divergence of a normal distribution from the standard one, summed over components.

    -½ Σ (1 + log σ² - μ² - σ²). (SPADE's public code sums over the examples of a device's batch as
    well, so that its weight depends on the batch; here the step takes the mean.)

    Args:
      mean: μ, float `[b, z]`.
      log_variance: log σ², likewise.

    Returns:
      float32 `[b]`, nats, never negative.

    Raises:
      ValueError: the shapes differ.

    Source: Kingma, Welling 2013, arXiv:1312.6114, appendix B.
    """
    if mean.shape != log_variance.shape:
        raise ValueError(
            f"mean {mean.shape} and log_variance {log_variance.shape} must have the same shape"
        )
    mu, log_var = mean.astype(jnp.float32), log_variance.astype(jnp.float32)
    # e^x - 1 - x by its own function: near x = 0 the plain difference has no digits left.
    each = jnp.square(mu) + (jnp.expm1(log_var) - log_var)
    return jnp.sum(each, axis=range(1, mean.ndim)) / 2


def _weighted_l1(
    fakes: Sequence[jax.Array], reals: Sequence[jax.Array], weights: Sequence[float]
) -> jax.Array:
    total = jnp.zeros(fakes[0].shape[:1], jnp.float32)
    for fake, real, weight in zip(fakes, reals, weights, strict=True):
        total = total + weight * l1(fake, jax.lax.stop_gradient(real))
    return total


def _check_same_number(what: str, fakes: Sequence[object], reals: Sequence[object]) -> None:
    if len(fakes) != len(reals) or not fakes:
        raise ValueError(
            f"{what}: {len(fakes)} of the fakes and {len(reals)} of the reals; as many of both, "
            "and at least one, are wanted"
        )

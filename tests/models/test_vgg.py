"""VGG19's features: PyTorch's values and gradients, frames of clips, sizes."""

import functools
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

from tests.models.networks import draw_params, shapes
from tests.reference_torch import weights
from tests.reference_torch.vgg import Vgg19
from vidgan_jax.models.vgg import BLOCKS, Vgg19Features

# Odd ones, too: pooling drops what is left over, as PyTorch's does.
SHAPE = (2, 22, 18, 3)
# Their indices in torchvision's `features`, and ours.
LAYERS = {
    0: "conv1_1", 2: "conv1_2", 5: "conv2_1", 7: "conv2_2", 10: "conv3_1", 12: "conv3_2",
    14: "conv3_3", 16: "conv3_4", 19: "conv4_1", 21: "conv4_2", 23: "conv4_3", 25: "conv4_4",
    28: "conv5_1",
}  # fmt: skip


@functools.cache
def params() -> Any:
    """Of variance 2/fan_in, which ReLUs keep."""
    drawn = draw_params(Vgg19Features(), jnp.zeros((1, 16, 16, 3)))
    return jax.tree.map(lambda x: x * np.float32(2**0.5), drawn)


def draw(*shape: int) -> np.ndarray:
    return np.tanh(np.random.default_rng(shape).standard_normal(shape, np.float32))


@jax.jit
def run(params: Any, frames: jax.Array, toward: tuple[jax.Array, ...]) -> Any:
    features, pullback = jax.vjp(lambda x: Vgg19Features().apply({"params": params}, x), frames)
    return features, pullback(toward)[0]


def toward(shape: tuple[int, ...]) -> tuple[np.ndarray, ...]:
    found = jax.eval_shape(lambda: Vgg19Features().apply({"params": params()}, jnp.zeros(shape)))
    return tuple(draw(*leaf.shape) for leaf in found)


def reference() -> Vgg19:
    """PyTorch's, with the same weights."""
    module = Vgg19()
    state = weights.as_torch({name: params()[name] for name in LAYERS.values()})
    with torch.no_grad():
        for i, name in LAYERS.items():
            for kind in ("weight", "bias"):
                getattr(module.features[i], kind).copy_(state[f"{name}.{kind}"])
    return module


def test_features_are_pytorchs() -> None:
    frames, cotangents = draw(*SHAPE), toward(SHAPE)
    features, gradient = run(params(), frames, cotangents)
    x = torch.from_numpy(frames).requires_grad_()
    expected = reference()(x)
    torch.autograd.backward(expected, [torch.from_numpy(c) for c in cotangents])
    assert len(features) == len(expected) == 5
    for ours, theirs in zip(features, expected, strict=True):
        wanted = theirs.detach().numpy()
        assert np.linalg.norm(ours - wanted) < 1e-5 * np.linalg.norm(wanted)
    assert x.grad is not None
    assert np.linalg.norm(gradient - x.grad.numpy()) < 1e-4 * np.linalg.norm(x.grad)


def test_frames_of_clips_are_looked_at_one_by_one() -> None:
    clip = draw(1, *SHAPE)
    of_images, _ = run(params(), clip[0], toward(SHAPE))
    of_clip, _ = run(params(), clip, tuple(c[None] for c in toward(SHAPE)))
    for image, frames in zip(of_images, of_clip, strict=True):
        chex.assert_trees_all_close(frames[0], image, rtol=1e-5, atol=1e-6)


def test_parameters_are_torchvisions_up_to_relu5_1() -> None:
    """12,944,960 of them: 20,024,384 of all sixteen convolutions less three of 512 → 512."""
    found = shapes(Vgg19Features(), jnp.zeros((1, 16, 16, 3)))
    assert list(found) == list(LAYERS.values())
    assert found["conv3_1"]["kernel"].shape == (3, 3, 128, 256)
    count = sum(leaf.size for leaf in jax.tree.leaves(found))
    assert count == 20_024_384 - 3 * (9 * 512 * 512 + 512)
    assert sum(convolutions for convolutions, _ in BLOCKS) == len(LAYERS)


@pytest.mark.parametrize(
    ("shape", "text"),
    [
        ((1, 15, 16, 3), "must be at least 16×16: VGG19 halves them four times"),
        ((1, 2, 16, 8, 3), "must be at least 16×16"),
        ((1, 16, 16, 1), r"must be \[b, h, w, 3\] or \[b, t, h, w, 3\]"),
        ((16, 16, 3), r"must be \[b, h, w, 3\] or"),
    ],
)
def test_frames_refused(shape: tuple[int, ...], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        shapes(Vgg19Features(), jnp.zeros(shape))

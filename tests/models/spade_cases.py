"""What the tests of SPADE's networks share: label maps, and a comparison with PyTorch."""

from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
import torch

from tests.reference_torch import spade as reference
from tests.reference_torch import weights
from vidgan_jax.layers.labels import LabelChannels

NUM = 5
PLAIN = LabelChannels(NUM)
FULL = LabelChannels(NUM, dont_care=True, edges=True)


def draw(*shape: int) -> np.ndarray:
    return np.random.default_rng(shape).standard_normal(shape, np.float32)


def draw_cond(batch_size: int, size: int, *, instances: bool = False) -> np.ndarray:
    """Regions of all classes and of two ids of no class; instances cut them further."""
    rng = np.random.default_rng(size)
    regions = rng.choice([*range(NUM), NUM, 255], (batch_size, size // 4, size // 4))
    ids = regions.repeat(4, axis=1).repeat(4, axis=2)
    if not instances:
        return ids.astype(np.uint8)
    parts = rng.integers(0, 1000, (batch_size, size // 2, size // 2))
    return np.stack([ids, parts.repeat(2, axis=1).repeat(2, axis=2)], axis=-1).astype(np.int32)


def one_hot(cond: np.ndarray, channels: LabelChannels) -> torch.Tensor:
    """The map as PyTorch's networks take it, float64."""
    how = channels.dont_care, channels.edges
    return reference.one_hot(torch.from_numpy(cond), channels.num_labels, *how).double()


def relative_error(ours: Any, expected: Any) -> float:
    """‖ours - expected‖ / ‖expected‖ over all elements."""
    wanted = np.asarray(expected, np.float64)
    assert np.shape(ours) == wanted.shape
    assert np.linalg.norm(wanted) > 0
    return float(np.linalg.norm(np.asarray(ours, np.float64) - wanted) / np.linalg.norm(wanted))


def apply(module: Any, variables: Any, *inputs: Any, training: bool) -> tuple[Any, Any]:
    """A network's result and all its collections after it, with what it gave beside."""
    moving = [name for name in variables if name != "params"] if training else []
    result, after = module.apply(variables, *inputs, mutable=[*moving, "outputs"])
    return result, {**{k: v for k, v in variables.items() if k != "params"}, **after}


def check_gradients(theirs: torch.nn.Module, gradients: Any) -> None:
    """Against those that PyTorch has just found: each leaf's, to 1e-4.

    Where batch norm follows a bias, it has none: what is tiny to all is compared with that.
    """
    found = weights.as_torch(jax.tree.map(np.asarray, gradients))
    expected = weights.named_parameters(theirs)
    assert found.keys() == expected.keys()
    wanted: dict[str, np.ndarray] = {}
    for name, parameter in expected.items():
        assert parameter.grad is not None, name
        wanted[name] = parameter.grad.numpy()
    largest = max(float(np.linalg.norm(gradient)) for gradient in wanted.values())
    for name, gradient in wanted.items():
        error = np.linalg.norm(found[name].numpy() - gradient)
        assert error < 1e-4 * np.linalg.norm(gradient) + 1e-6 * largest, name


def check_collections(theirs: torch.nn.Module, collections: Mapping[str, Any]) -> None:
    states = weights.collections_as_torch(collections)
    for name, buffer in weights.named_collections(theirs).items():
        assert relative_error(states[name], buffer) < 1e-5, name

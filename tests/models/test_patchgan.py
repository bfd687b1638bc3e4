"""SPADE's discriminator: parameters, equality with PyTorch in both modes, refusals."""

import dataclasses
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

from tests.models.networks import draw_variables, shapes
from tests.models.spade_cases import (
    FULL,
    NUM,
    PLAIN,
    apply,
    check_collections,
    check_gradients,
    draw,
    draw_cond,
    one_hot,
    relative_error,
)
from tests.reference_torch import spade as reference
from tests.reference_torch import weights
from vidgan_jax.layers.labels import LabelChannels, read_label_map
from vidgan_jax.layers.plain_labels import apply_plainly
from vidgan_jax.models.patchgan import SpadeDiscriminator
from vidgan_jax.types import SPECTRAL

SIZE, BATCH = 16, 3
IMAGE = SpadeDiscriminator(PLAIN, SIZE, features=3)
CASES = {
    "image": dataclasses.replace(IMAGE, size=32),
    "image, public code's": dataclasses.replace(
        IMAGE, labels=FULL, layers=4, last_stride=1, padding=2
    ),
    "image, bare, three scales": dataclasses.replace(
        IMAGE, scales=3, layers=1, spectral_norm=False
    ),
    "clip": dataclasses.replace(IMAGE, num_frames=4, layers=2),
    "clip with edges, padded": dataclasses.replace(
        IMAGE, labels=LabelChannels(NUM, edges=True), num_frames=3, layers=2, padding=2
    ),
}


def example_shape(num_frames: int, size: int = SIZE) -> tuple[int, ...]:
    return (*((num_frames,) if num_frames else ()), size, size, 3)


# --- parameters and shapes


@pytest.mark.parametrize("num_frames", [0, 8])
def test_variables(num_frames: int) -> None:
    """The label map's channels come before the frames' in the first kernel, at both ranks."""
    module = dataclasses.replace(IMAGE, labels=FULL, num_frames=num_frames)
    time = (3,) if num_frames else ()
    frames, cond = jnp.zeros((2, *example_shape(num_frames))), jnp.zeros((2, SIZE, SIZE), int)
    found = jax.eval_shape(module.init, jax.random.key(0), frames, cond)
    scale = {
        "conv_0": {"kernel": (*time, 4, 4, NUM + 2 + 3, 3), "bias": (3,)},
        "conv_1": {"kernel": (*time, 4, 4, 3, 6)},
        "conv_2": {"kernel": (*time, 4, 4, 6, 12)},
        "conv_logit": {"kernel": (*time, 4, 4, 12, 1), "bias": (1,)},
    }
    expected = {"scale_0": scale, "scale_1": scale}
    assert jax.tree.map(lambda leaf: leaf.shape, found["params"]) == expected
    chex.assert_type(jax.tree.leaves(found), jnp.float32)
    assert set(found) == {"params", SPECTRAL}
    normed = {"conv_1", "conv_2"}
    assert {name: set(of) for name, of in found[SPECTRAL].items()} == {
        "scale_0": normed,
        "scale_1": normed,
    }


def test_channels_double_up_to_512() -> None:
    module = dataclasses.replace(IMAGE, features=64, layers=5, last_stride=1, scales=1)
    found = shapes(module, jnp.zeros((1, 16, 16, 3)), jnp.zeros((1, 16, 16), int))["scale_0"]
    widths = [found[f"conv_{i}"]["kernel"].shape[-1] for i in range(5)]
    assert widths == [64, 128, 256, 512, 512]


@pytest.mark.parametrize(
    ("how", "expected"),
    [
        ({"size": 128}, [(16, 16), (8, 8)]),  # the thesis, 3.3.3
        ({"size": 128, "num_frames": 8}, [(8, 16, 16), (4, 8, 8)]),
        ({"size": 32, "num_frames": 1, "scales": 3}, [(1, 4, 4), (1, 2, 2), (1, 1, 1)]),
        # The public code's: 256 → 129, 65, 33, 34, 35.
        ({"size": 256, "layers": 4, "last_stride": 1, "padding": 2}, [(35, 35), (19, 19)]),
    ],
)
def test_shapes_of_outputs(how: dict[str, Any], expected: list[tuple[int, ...]]) -> None:
    module = SpadeDiscriminator(PLAIN, features=2, **how)
    size, num_frames = module.size, module.num_frames
    frames = jnp.zeros((2, *example_shape(num_frames, size)))
    cond = jnp.zeros((2, size, size), jnp.uint8)
    key = jax.random.key(0)
    logits, _ = jax.eval_shape(module.init_with_output, key, frames, cond)
    assert isinstance(logits, tuple)
    assert [y.shape for y in logits] == [(2, *axes) for axes in expected]
    chex.assert_type(logits, jnp.float32)


# --- equality with PyTorch


def torch_discriminator(module: SpadeDiscriminator) -> reference.Discriminator:
    return reference.Discriminator(
        labels=module.labels.count,
        scales=module.scales,
        rank=3 if module.num_frames else 2,
        nf=module.features,
        layers=module.layers,
        last_stride=module.last_stride,
        padding=module.padding,
        spectral=module.spectral_norm,
    )


def inputs_of(module: SpadeDiscriminator) -> tuple[np.ndarray, np.ndarray]:
    instances = module.labels.edges and module.padding > 0
    cond = draw_cond(BATCH, module.size, instances=instances)
    return np.tanh(draw(BATCH, *example_shape(module.num_frames, module.size))), cond


@pytest.mark.parametrize("name", CASES)
def test_discriminators_are_pytorchs(name: str) -> None:
    """Logits, features and gradients in training, and in inference with what that left behind."""
    module = CASES[name]
    x, cond = inputs_of(module)
    variables = draw_variables(module, x, cond)
    theirs = torch_discriminator(module)
    weights.load(theirs, variables["params"], variables)
    theirs.double()

    @jax.jit
    def train(variables: Any, x: Any) -> Any:
        def total(params: Any, x: Any) -> Any:
            chosen = {**variables, "params": params}
            logits, after = apply(module, chosen, x, cond, training=True)
            return sum(jnp.sum(jnp.sin(y)) for y in logits), (logits, after)

        (_, (logits, after)), gradients = jax.value_and_grad(total, (0, 1), has_aux=True)(
            variables["params"], x
        )
        return logits, after, gradients

    logits, after, (gradients, dx) = train(variables, x)
    x_torch = torch.from_numpy(x).double().requires_grad_()
    expected, activations = theirs(x_torch, one_hot(cond, module.labels))
    torch.stack([y.sin().sum() for y in expected]).sum().backward()
    features = after.pop("outputs")["features"]
    assert len(logits) == len(expected) == len(features) == module.scales
    for ours, wanted in zip(logits, expected, strict=True):
        assert relative_error(ours, wanted.detach()) < 1e-5
    for of_scale, of_theirs in zip(features, activations, strict=True):
        assert len(of_scale) == module.layers
        for ours, wanted in zip(of_scale, of_theirs, strict=True):
            assert relative_error(ours, wanted.detach()) < 1e-5
    assert x_torch.grad is not None
    assert relative_error(dx, x_torch.grad) < 1e-4
    check_gradients(theirs, gradients)
    check_collections(theirs, after)

    theirs.eval()
    variables = {"params": variables["params"], **after}
    logits, _ = jax.jit(lambda v: apply(module, v, x, cond, training=False))(variables)
    with torch.no_grad():
        expected, _ = theirs(torch.from_numpy(x).double(), one_hot(cond, module.labels))
    for ours, wanted in zip(logits, expected, strict=True):
        assert relative_error(ours, wanted) < 1e-5


@pytest.mark.parametrize("name", ["image, public code's", "clip with edges, padded"])
def test_discriminator_is_the_plain_one(name: str) -> None:
    """Maps repeated for each frame and joined with the frames: same logits, same gradients."""
    module = CASES[name]
    x, cond = inputs_of(module)
    variables = draw_variables(module, x, cond)
    labels = read_label_map(jnp.asarray(cond), module.labels, module.size, BATCH)

    @jax.jit
    def both(params: Any) -> Any:
        def ours(params: Any) -> jax.Array:
            chosen = {**variables, "params": params}
            logits, _ = apply(module, chosen, x, cond, training=True)
            return sum((jnp.sum(jnp.sin(y)) for y in logits), jnp.zeros(()))

        def plain(params: Any) -> jax.Array:
            chosen = {**variables, "params": params}
            logits, _ = apply_plainly(module, chosen, labels, x, cond)
            return sum((jnp.sum(jnp.sin(y)) for y in logits), jnp.zeros(()))

        return jax.value_and_grad(ours)(params), jax.value_and_grad(plain)(params)

    found, expected = both(variables["params"])
    chex.assert_trees_all_close(found, expected, rtol=1e-4, atol=1e-4)


def test_features_are_given_where_they_are_asked_for() -> None:
    x, cond = inputs_of(IMAGE)
    variables = draw_variables(IMAGE, x, cond)
    assert set(variables) == {"params", SPECTRAL}
    logits = jax.eval_shape(IMAGE.apply, variables, x, cond)
    assert [y.shape for y in logits] == [(BATCH, 2, 2), (BATCH, 1, 1)]


# --- refusals


@pytest.mark.parametrize(
    ("num_frames", "shape", "text"),
    [
        (0, (2, 8, 16, 3), r"input \(2, 8, 16, 3\) must be images of 16×16"),
        (0, (2, 4, 16, 16, 3), r"must be images of 16×16"),
        (4, (2, 16, 16, 3), "must be clips of 4 frames of 16×16"),
        (4, (2, 8, 16, 16, 3), "must be clips of 4 frames of 16×16"),
        (4, (2, 4, 8, 8, 3), "must be clips of 4 frames of 16×16"),
    ],
)
def test_frames_refused(num_frames: int, shape: tuple[int, ...], text: str) -> None:
    module = dataclasses.replace(IMAGE, num_frames=num_frames)
    with pytest.raises(ValueError, match=text):
        shapes(module, jnp.zeros(shape), jnp.zeros((2, SIZE, SIZE), jnp.uint8))


def test_conditions_refused() -> None:
    frames = jnp.zeros((2, *example_shape(0)))
    with pytest.raises(ValueError, match=r"needs a label map: give cond, ids of classes \[b, 16,"):
        shapes(IMAGE, frames)
    with pytest.raises(ValueError, match=r"cond \(2, 8, 8\) must be \(2, 16, 16\)"):
        shapes(IMAGE, frames, jnp.zeros((2, 8, 8), jnp.uint8))


@pytest.mark.parametrize("name", ["layers", "scales", "last_stride"])
def test_layouts_refused(name: str) -> None:
    module = dataclasses.replace(IMAGE, **{name: 0})  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=rf"{name} \(=0\) must be at least 1"):
        shapes(module, jnp.zeros((2, *example_shape(0))), jnp.zeros((2, SIZE, SIZE), jnp.uint8))

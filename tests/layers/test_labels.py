"""Label maps: how they are read, and convolutions of them against one-hot maps, PyTorch's too."""

import functools
import re
from collections.abc import Callable
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
import torch.nn.functional as F

from vidgan_jax.layers import avg_pool
from vidgan_jax.layers.labels import (
    LabelChannels,
    LabelConv,
    LabelledConv,
    LabelMap,
    conv_by_rows,
    conv_labels,
    conv_one_hot,
    find_edges,
    pool_labels,
    pyramid,
    read_label_map,
)
from vidgan_jax.layers.plain_labels import conv_joined, conv_resized

BATCH, SIZE, NUM = 2, 8, 5
KINDS = {
    "classes": LabelChannels(NUM),
    "don't care": LabelChannels(NUM, dont_care=True),
    "edges": LabelChannels(NUM, edges=True),
    "all": LabelChannels(NUM, dont_care=True, edges=True),
}
KIND = pytest.mark.parametrize("kind", KINDS)


def draw(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng([seed, *shape]).standard_normal(shape, np.float32)


def draw_ids(size: int = SIZE) -> np.ndarray:
    """Small regions of all classes and of two ids of no class, `[b, h, w]`."""
    rng = np.random.default_rng(size)
    ids = rng.choice([*range(NUM), NUM + 2, 255], (BATCH, -(-size // 2), -(-size // 2)))
    return ids.repeat(2, axis=1).repeat(2, axis=2)[:, :size, :size].astype(np.uint8)


def read(kind: str, size: int = SIZE) -> LabelMap:
    return read_label_map(jnp.asarray(draw_ids(size)), KINDS[kind], size, BATCH)


def one_hot_of(kind: str, size: int = SIZE) -> np.ndarray:
    """Pixel by pixel, `[b, h, w, n]`."""
    channels, ids = KINDS[kind], draw_ids(size).astype(int)
    ids[ids >= NUM] = NUM
    one_hot = np.zeros((*ids.shape, channels.count), np.float32)
    for b, i, j in np.ndindex(ids.shape):
        if ids[b, i, j] < NUM or channels.dont_care:
            one_hot[b, i, j, ids[b, i, j]] = 1
        if channels.edges:
            around = [(i - 1, j), (i + 1, j), (i, j - 1), (i, j + 1)]
            inside = [(r, c) for r, c in around if 0 <= r < size and 0 <= c < size]
            one_hot[b, i, j, -1] = any(ids[b, r, c] != ids[b, i, j] for r, c in inside)
    return one_hot


def to_torch(x: Any) -> torch.Tensor:
    return torch.from_numpy(np.array(x)).movedim(-1, 1)


# --- reading


@KIND
@pytest.mark.parametrize("size", [7, 8])
def test_one_hot_maps(kind: str, size: int) -> None:
    labels = read(kind, size)
    chex.assert_type(labels.ids, jnp.int32)
    one_hot = labels.one_hot()
    chex.assert_type(one_hot, jnp.float32)
    np.testing.assert_array_equal(one_hot, one_hot_of(kind, size))
    assert one_hot.shape[-1] == KINDS[kind].count


def test_channels_are_counted() -> None:
    assert [channels.count for channels in KINDS.values()] == [5, 6, 6, 7]
    assert [channels.of_ids for channels in KINDS.values()] == [5, 6, 5, 6]


def test_ids_that_are_none_are_of_no_class() -> None:
    """Negative ones, too; they are the same "no class" to edges."""
    cond = jnp.asarray([[[0, -1], [255, 300]]], jnp.int32)
    found = read_label_map(cond, LabelChannels(3, dont_care=True, edges=True), 2, 1)
    np.testing.assert_array_equal(found.ids, [[[0, 3], [3, 3]]])
    assert found.edges is not None
    np.testing.assert_array_equal(found.edges, [[[True, True], [True, False]]])
    np.testing.assert_array_equal(
        read_label_map(cond, LabelChannels(3), 2, 1).ids, [[[0, -1], [-1, -1]]]
    )


def test_edges_of_instances() -> None:
    """Two instances of one class have an edge between them; the four neighbours count, no other."""
    classes = jnp.zeros((1, 4, 4), jnp.int32)
    instances = classes.at[:, 3, 3].set(1000)
    cond = jnp.stack([classes, instances], axis=-1)
    found = read_label_map(cond, LabelChannels(2, edges=True), 4, 1)
    expected = np.zeros((1, 4, 4), bool)
    expected[0, [3, 2, 3], [3, 3, 2]] = True
    assert found.edges is not None
    np.testing.assert_array_equal(found.edges, expected)
    np.testing.assert_array_equal(found.edges, find_edges(instances))
    assert not np.any(find_edges(classes))
    assert read_label_map(cond, LabelChannels(2), 4, 1).edges is None


@pytest.mark.parametrize("out", [1, 3, 4, 8, 11])
def test_resizing_is_pytorchs_nearest(out: int) -> None:
    """Edges are found first and resized as the classes are."""
    labels = read("all").resized(out, out)
    expected = F.interpolate(to_torch(one_hot_of("all")), size=(out, out), mode="nearest")
    np.testing.assert_array_equal(labels.one_hot(), expected.movedim(1, -1))


def test_pyramid() -> None:
    labels = read("all")
    maps = pyramid(labels, (2, 4, 8))
    assert list(maps) == [2, 4, 8]
    for size, found in maps.items():
        chex.assert_trees_all_equal(found, labels.resized(size, size))
    chex.assert_trees_all_equal(maps[8], labels)


@KIND
@pytest.mark.parametrize("size", [7, 8])
def test_pooled_maps_are_pytorchs(kind: str, size: int) -> None:
    """Once and again; what lies beyond the edge is not counted."""
    pool = functools.partial(F.avg_pool2d, kernel_size=3, stride=2, padding=1)
    labels: Any = read(kind, size)
    expected = to_torch(one_hot_of(kind, size))
    for _ in range(3):
        labels, expected = pool_labels(labels), pool(expected, count_include_pad=False)
        np.testing.assert_allclose(labels, expected.movedim(1, -1), rtol=1e-6, atol=1e-7)


# --- convolutions

FORMS = {"rows": conv_by_rows, "one-hot": conv_one_hot, "chosen": conv_labels}


@KIND
@pytest.mark.parametrize(
    ("width", "stride", "padding"), [(3, 1, "same"), (4, 2, "same"), (4, 2, 2), (3, 2, "valid")]
)
def test_convolutions_are_pytorchs(kind: str, width: int, stride: int, padding: Any) -> None:
    """Values, and the kernel's gradient, of all forms."""
    labels, one_hot = read(kind), to_torch(one_hot_of(kind))
    kernel = draw(width, width, KINDS[kind].count, 3)
    weight = torch.from_numpy(kernel).requires_grad_()
    ends = (width - 1) // 2, width // 2
    pads = {"same": ends * 2, 2: (2, 2, 2, 2), "valid": (0, 0, 0, 0)}[padding]
    y_torch = F.conv2d(F.pad(one_hot, pads), weight.movedim((-1, -2), (0, 1)), stride=stride)
    y_torch = y_torch.movedim(1, -1)
    toward = draw(*y_torch.shape)
    y_torch.backward(torch.from_numpy(toward))
    for form in FORMS.values():

        @jax.jit
        def both(
            labels: LabelMap, kernel: jax.Array, form: Any = form
        ) -> tuple[jax.Array, jax.Array]:
            y, pullback = jax.vjp(lambda kernel: form(labels, kernel, stride, padding), kernel)
            return y, pullback(jnp.asarray(toward))[0]

        y, gradient = both(labels, jnp.asarray(kernel))
        np.testing.assert_allclose(y, y_torch.detach(), rtol=1e-5, atol=1e-5)
        assert weight.grad is not None
        np.testing.assert_allclose(gradient, weight.grad, rtol=1e-5, atol=1e-4)


def test_second_order() -> None:
    """A penalty on a gradient goes through the rows as through the convolution."""
    labels, kernel = read("all"), jnp.asarray(draw(3, 3, KINDS["all"].count, 3) / 3)

    def derivative(form: Callable[..., jax.Array]) -> jax.Array:
        def penalty(kernel: jax.Array) -> jax.Array:
            gradient = jax.grad(lambda k: jnp.sum(jnp.tanh(form(labels, k))))(kernel)
            return jnp.sum(jnp.square(gradient))

        return jax.grad(penalty)(kernel)

    rows, convolution = jax.jit(lambda: (derivative(conv_by_rows), derivative(conv_one_hot)))()
    assert float(jnp.max(jnp.abs(convolution))) > 0.1
    np.testing.assert_allclose(rows, convolution, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize(("platform", "convolutions"), [("cpu", 0), ("cuda", 1)])
def test_each_platform_gets_its_form(platform: str, convolutions: int) -> None:
    kernel = jnp.zeros((3, 3, KINDS["all"].count, 3))
    lowered = jax.jit(conv_labels).trace(read("all"), kernel).lower(lowering_platforms=(platform,))
    assert len(re.findall(r"stablehlo\.convolution", lowered.as_text())) == convolutions


@KIND
def test_layer_is_the_plain_one(kind: str) -> None:
    """At a lower resolution: a one-hot map at full resolution, resized, convolved; its gradient."""
    layer, labels = LabelConv(3), read(kind)
    params = {"kernel": draw(3, 3, KINDS[kind].count, 3), "bias": draw(3)}
    toward = jnp.asarray(draw(BATCH, 4, 4, 3))

    @jax.jit
    def ours(params: Any) -> jax.Array:
        y: Any = layer.apply({"params": params}, labels.resized(4, 4))
        return jnp.vdot(toward, y)

    @jax.jit
    def plain(params: Any) -> jax.Array:
        y = conv_resized(jnp.asarray(one_hot_of(kind)), params["kernel"], 4, 4) + params["bias"]
        return jnp.vdot(toward, y)

    found, expected = (jax.value_and_grad(form)(params) for form in (ours, plain))
    chex.assert_trees_all_close(found, expected, rtol=1e-4, atol=1e-4)
    init = jax.eval_shape(layer.init, jax.random.key(0), labels)["params"]
    chex.assert_trees_all_equal_shapes_and_dtypes(init, jax.tree.map(jnp.asarray, params))


@KIND
@pytest.mark.parametrize("frames", [0, 3])
@pytest.mark.parametrize(("pooled", "padding"), [(False, "same"), (True, "same"), (True, 2)])
def test_labelled_convolution_is_the_plain_one(
    kind: str, frames: int, pooled: bool, padding: Any
) -> None:
    """Maps repeated for each frame and joined with the frames: values and all gradients."""
    label_map, count = read(kind), KINDS[kind].count
    seen = pool_labels(label_map) if pooled else label_map
    widths = (3, 4, 4) if frames else (4, 4)
    layer = LabelledConv(3, widths, 2, padding=padding)
    axes = ((frames,) if frames else ()) + ((SIZE // 2,) * 2 if pooled else (SIZE,) * 2)
    x = jnp.asarray(draw(BATCH, *axes, 3))
    params = {"kernel": jnp.asarray(draw(*widths, count + 3, 3)), "bias": jnp.asarray(draw(3))}

    def ours(params: Any, x: jax.Array) -> Any:
        return layer.apply({"params": params}, x, seen)

    def plain(params: Any, x: jax.Array) -> Any:
        strides = (1, 2, 2)[-len(widths) :]
        one_hot = jnp.asarray(one_hot_of(kind))
        return conv_joined(x, one_hot, params["kernel"], strides, padding) + params["bias"]

    @jax.jit
    def everything(params: Any, x: jax.Array) -> Any:
        results = []
        for form in (ours, plain):
            y, pullback = jax.vjp(form, params, x)
            results.append((y, pullback(jnp.sin(jnp.arange(y.size)).reshape(y.shape))))
        return results

    found, expected = everything(params, x)
    chex.assert_trees_all_close(found, expected, rtol=1e-4, atol=1e-4)
    init = jax.eval_shape(layer.init, jax.random.key(0), x, seen)["params"]
    chex.assert_trees_all_equal_shapes_and_dtypes(init, params)


# --- what is plain


def test_plain_maps_are_pooled_as_pytorchs() -> None:
    """In three dimensions where they are repeated for each frame: time adds nothing."""
    one_hot = one_hot_of("all")
    still = np.repeat(one_hot[:, None], 4, axis=1)
    expected = F.avg_pool3d(to_torch(still), 3, 2, 1, count_include_pad=False)[:, :, 1]
    pooled = avg_pool(jnp.asarray(one_hot), (3, 3), (2, 2), count_padding=False)
    np.testing.assert_allclose(pooled, expected.movedim(1, -1), rtol=1e-6, atol=1e-7)


# --- refusals


@pytest.mark.parametrize(
    ("cond", "text"),
    [
        (None, r"needs a label map: give cond, ids of classes \[b, 8, 8\]"),
        (jnp.zeros((2, 8, 4), jnp.uint8), r"cond \(2, 8, 4\) must be \(2, 8, 8\)"),
        (jnp.zeros((2, 4, 4), jnp.uint8), r"cond \(2, 4, 4\) must be \(2, 8, 8\)"),
        (jnp.zeros((3, 8, 8), jnp.uint8), r"cond \(3, 8, 8\) must be \(2, 8, 8\)"),
        (jnp.zeros((2, 8, 8, 3), jnp.uint8), r"or \(2, 8, 8, 2\), these and ids of instances"),
        (jnp.zeros((8, 8), jnp.uint8), r"cond \(8, 8\) must be"),
        (jnp.zeros((2, 8, 8)), "cond is of float32; ids must be whole numbers"),
        (jnp.zeros((2, 8, 8), bool), "cond is of bool; ids must be whole numbers"),
    ],
)
def test_conditions_refused(cond: Any, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        read_label_map(cond, LabelChannels(NUM), SIZE, BATCH)

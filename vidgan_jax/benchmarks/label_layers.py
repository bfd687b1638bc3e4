"""What touches label maps: plain forms against this package's, layer by layer and whole."""

import dataclasses
import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from vidgan_jax.benchmarks.measuring import Row
from vidgan_jax.layers import avg_pool, labels, plain_labels
from vidgan_jax.models.patchgan import SpadeDiscriminator
from vidgan_jax.models.spade import SpadeGenerator
from vidgan_jax.models.stages import num_stages


@dataclasses.dataclass(frozen=True)
class Sizes:
    """Of what is measured.

    Attributes:
      size: height and width, pixels.
      batch_size: examples.
      num_labels: classes.
      label_features: channels between label map and scale and shift.
      num_frames: of clips.
      repeats: turns.
    """

    size: int
    batch_size: int
    num_labels: int
    label_features: int
    num_frames: int
    repeats: int


def bench_labels(sizes: Sizes) -> list[Row]:
    """What touches label maps, as papers write it (plain) and as this package computes it.

    Forward and gradient, of single layers (SPADE's first, the discriminator's first) at several
    resolutions, and of whole networks; `ratio` is plain over ours.
    """
    num_stages(sizes.size)  # refuses others
    channels = labels.LabelChannels(sizes.num_labels)
    regions = np.random.default_rng(0).integers(0, sizes.num_labels, (sizes.batch_size, 4, 4))
    cond = jnp.asarray(np.kron(regions, np.ones((1, sizes.size // 4, sizes.size // 4), int)))
    label_map = labels.read_label_map(cond, channels, sizes.size, sizes.batch_size)
    rows = [
        _bench_spade_layer(sizes, label_map, sizes.size >> i)
        for i in range(3)
        if sizes.size >> i >= 4
    ]
    for frames in (0, sizes.num_frames):
        rows += [_bench_first_layer(sizes, label_map, frames, scale) for scale in (0, 1)]
    rows.append(_bench_resizing(sizes, label_map))
    generator = SpadeGenerator(
        channels, sizes.size, features=16, middle_blocks=1, label_features=sizes.label_features
    )
    discriminator = SpadeDiscriminator(channels, sizes.size, sizes.num_frames)
    clips = jnp.zeros((sizes.batch_size, sizes.num_frames, sizes.size, sizes.size, 3))
    for name, module, first in (
        ("all of small G, images", generator, jnp.ones((sizes.batch_size, 256))),
        ("all of D, clips", discriminator, clips),
    ):
        rows.append({"what": name, **_bench_network(sizes, label_map, module, first, cond)})
    return rows


def _draw(*shape: int) -> jax.Array:
    return jnp.asarray(np.random.default_rng(shape).standard_normal(shape, np.float32))


def _bench_spade_layer(sizes: Sizes, full: labels.LabelMap, size: int) -> Row:
    kernel = _draw(3, 3, full.channels.count, sizes.label_features)
    forms = {
        "plain": lambda k, m: plain_labels.conv_resized(m.one_hot(), k, size, size),
        "one_hot": lambda k, m: labels.conv_one_hot(m.resized(size, size), k),
        "rows": lambda k, m: labels.conv_by_rows(m.resized(size, size), k),
        "ours": lambda k, m: labels.conv_labels(m.resized(size, size), k),
    }
    return {
        "what": f"SPADE's first, {size}×{size}",
        **_in_turns(forms, sizes.repeats, kernel, full),
    }


def _bench_first_layer(sizes: Sizes, full: labels.LabelMap, num_frames: int, scale: int) -> Row:
    rank = 3 if num_frames else 2
    axes = ((num_frames,) if num_frames else ()) + (sizes.size, sizes.size)
    x = _draw(sizes.batch_size, *axes, 3)
    if scale:
        x = avg_pool(x, (3,) * rank, (2,) * rank, count_padding=False)
    widths = (3, 4, 4)[-rank:]
    layer = labels.LabelledConv(64, widths, 2)
    params = {
        "kernel": _draw(*widths, full.channels.count + 3, layer.features),
        "bias": _draw(layer.features),
    }

    def plain(learned: Any, label_map: labels.LabelMap) -> jax.Array:
        params, x = learned
        strides = (1, 2, 2)[-rank:]
        y = plain_labels.conv_joined(x, label_map.one_hot(), params["kernel"], strides)
        return y + params["bias"]

    def ours(learned: Any, label_map: labels.LabelMap) -> jax.Array:
        params, x = learned
        seen = labels.pool_labels(label_map) if scale else label_map
        y: Any = layer.apply({"params": params}, x, seen)
        return y

    seconds = _in_turns({"plain": plain, "ours": ours}, sizes.repeats, (params, x), full)
    kind = "clips" if num_frames else "images"
    return {"what": f"D's first, {kind}, {x.shape[-2]}×{x.shape[-2]}", **seconds}


def _bench_resizing(sizes: Sizes, full: labels.LabelMap) -> Row:
    resolutions = [sizes.size >> i for i in range(6) if sizes.size >> i >= 4]

    def plain(_: Any, label_map: labels.LabelMap) -> Any:
        one_hot = label_map.one_hot()
        return [plain_labels.resize_one_hot(one_hot, size, size) for size in resolutions]

    def ours(_: Any, label_map: labels.LabelMap) -> Any:
        return [label_map.ids for label_map in labels.pyramid(label_map, resolutions).values()]

    forms = {"plain": plain, "ours": ours}
    seconds = _in_turns(forms, sizes.repeats, 0.0, full, gradient=False)
    return {"what": "maps, all sizes", **seconds}


def _bench_network(
    sizes: Sizes, full: labels.LabelMap, module: Any, first: jax.Array, cond: jax.Array
) -> Row:
    variables = jax.jit(module.init)(jax.random.key(0, impl="rbg"), first, cond)

    def plain(params: Any, full: labels.LabelMap, *inputs: Any) -> Any:
        chosen = {**variables, "params": params}
        return plain_labels.apply_plainly(module, chosen, full, *inputs)[0]

    def ours(params: Any, _: labels.LabelMap, *inputs: Any) -> Any:
        moving = [name for name in variables if name != "params"]
        return module.apply({**variables, "params": params}, *inputs, mutable=moving)[0]

    forms = {"plain": plain, "ours": ours}
    return _in_turns(forms, sizes.repeats, variables["params"], full, first, cond)


def _in_turns(
    forms: Mapping[str, Callable[..., Any]], repeats: int, *inputs: Any, gradient: bool = True
) -> Row:
    """Median seconds of each form and its gradient with respect to the first of `inputs`.

    They take turns, so that whatever else the machine does meets them all alike.
    """

    def scalar(form: Callable[..., Any]) -> Callable[..., Any]:
        return lambda *a: sum(jnp.sum(jnp.sin(y)) for y in jax.tree.leaves(form(*a)))

    programs = {}
    for name, form in forms.items():
        whole = jax.value_and_grad(scalar(form)) if gradient else form
        programs[name] = jax.jit(whole).lower(*inputs).compile()
        jax.block_until_ready(programs[name](*inputs))
    seconds: dict[str, list[float]] = {name: [] for name in forms}
    for _ in range(repeats):
        for name, program in programs.items():
            start = time.perf_counter()
            jax.block_until_ready(program(*inputs))
            seconds[name].append(time.perf_counter() - start)
    medians = {name: statistics.median(taken) for name, taken in seconds.items()}
    row: Row = {f"{name}_s": median for name, median in medians.items()}
    return row | {"ratio": medians["plain"] / medians["ours"]}

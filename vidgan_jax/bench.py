"""Measures steps, input pipeline, inflation, label maps; a table on screen, JSON with `--json`.

python -m vidgan_jax.bench step --config configs/resnet3d.py:smoke
python -m vidgan_jax.bench loader [--data DIR]
python -m vidgan_jax.bench inflate [--config configs/resnet3d.py]
python -m vidgan_jax.bench labels [--size 128 --batch-size 4 --num-labels 150]
"""

import argparse
import dataclasses
import functools
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from rich.console import Console
from rich.table import Table

from vidgan_jax import cli, experiment, files, inflate
from vidgan_jax.data.clips import training_loader
from vidgan_jax.data.records import ClipSource
from vidgan_jax.layers import avg_pool, labels, plain_labels
from vidgan_jax.models.patchgan import SpadeDiscriminator
from vidgan_jax.models.spade import SpadeGenerator
from vidgan_jax.models.stages import num_stages
from vidgan_jax.preparation.embedded import Scenes
from vidgan_jax.train import checkpoint, loop, plan, sharding
from vidgan_jax.train.frozen import frozen_weights
from vidgan_jax.train.state import GanState
from vidgan_jax.train.step import StepFn, TrainStep
from vidgan_jax.types import Batch, ClipSpec

Row = dict[str, Any]


def time_steps(
    step: StepFn, state: GanState, batch: Batch, frozen: Mapping[str, Any], repeats: int
) -> tuple[list[float], GanState]:
    """Seconds of each of `repeats` steps, every one waited for."""
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        state, _ = jax.block_until_ready(step(state, batch, frozen))
        seconds.append(time.perf_counter() - start)
    return seconds, state


def bench_step(args: argparse.Namespace) -> list[Row]:
    """Compile and steady time of each program of the training step, on random frames."""
    exp = experiment.build(experiment.load_config(args.config, args.overrides))
    config, mesh = exp.config.train, sharding.make_mesh()
    sharding.check_batch_size(config.batch_size, mesh)
    game = loop.make_game(exp, 1000)
    everywhere = sharding.replicated(mesh)
    start = time.perf_counter()
    init = jax.jit(functools.partial(loop.initial_state, exp, game), out_shardings=everywhere)
    state = jax.block_until_ready(init())
    rows: list[Row] = [{"what": "initialisation", "seconds": time.perf_counter() - start}]
    shape = (config.batch_size * config.num_disc_steps, *exp.example_shape)
    rng = np.random.default_rng(0)
    maps = None
    if labels := exp.config.model.num_labels:
        maps = rng.integers(0, labels, (shape[0], *shape[-3:-1]), np.uint8)
    batch = Batch(rng.integers(0, 256, shape, np.uint8), maps)
    batch = sharding.put_batch(batch, mesh)
    train_step = TrainStep(game, mesh, frozen_weights(exp))
    # Step 0 has all terms; step 1 lacks the lazy ones, where there are any.
    for number, name in ((0, "step, all terms"), (1, "step, lazy terms left out")):
        if number and game.objective.due(1) == game.objective.due(0):
            continue
        start = time.perf_counter()
        program = train_step.program(number)
        compiled = program.lower(state, batch, train_step.frozen).compile()
        compile_s = time.perf_counter() - start
        memory = compiled.memory_analysis()
        seconds, state = time_steps(compiled, state, batch, train_step.frozen, args.repeats + 1)
        steady = seconds[1:]
        rows.append(
            {
                "what": name,
                "compile_s": compile_s,
                "seconds": statistics.median(steady),
                "fastest_s": min(steady),
                "slowest_s": max(steady),
                "clips_per_s": config.batch_size / statistics.median(steady),
                "temporaries_mib": memory.temp_size_in_bytes / 2**20 if memory else None,
            }
        )
    return rows


def bench_loader(args: argparse.Namespace) -> list[Row]:
    """Clips a second that the input pipeline yields, for several numbers of threads and workers."""
    scenes = Scenes(num_videos=16, clips_per_video=2, size=args.size)
    if not args.data:
        scenes.render()
    source = ClipSource(args.data or scenes.folder, args.split)
    spec = ClipSpec(
        num_frames=args.num_frames,
        stride=args.stride,
        size=args.size,
        resize=args.size,
        start_frames=8,
    )
    rows: list[Row] = []
    for workers, threads in ((0, 1), (0, 2), (2, 1)):
        reading = {"num_workers": workers, "num_threads": threads}
        with training_loader(source, spec, batch_size=args.batch_size, seed=0, **reading) as loader:
            for _ in range(5):
                next(loader)
            start, num_clips = time.perf_counter(), 0
            while time.perf_counter() - start < args.seconds:
                num_clips += len(next(loader).frames)
            elapsed = time.perf_counter() - start
        what = f"{workers} workers, {threads} threads"
        rows.append({"what": what, "clips_per_s": num_clips / elapsed, **reading})
    return rows


def bench_inflate(args: argparse.Namespace) -> list[Row]:
    """Time and memory of reading a random 2D checkpoint, inflating it and writing the 3D one."""
    target = experiment.build(experiment.load_config(args.config, args.overrides))
    if not target.config.model.num_frames:
        raise ValueError(f"--config {args.config} is of images; give one of clips to inflate to")
    model = dataclasses.replace(target.config.model, num_frames=0)
    source_config = dataclasses.replace(target.config, model=model)
    source = experiment.build(dataclasses.asdict(source_config))
    with tempfile.TemporaryDirectory() as folder:
        gen, disc = jax.jit(source.init_variables)(jax.random.key(0, impl="rbg"))
        meta = checkpoint.make_meta(dataclasses.asdict(source_config), fps=8.0)
        checkpoint.save_weights(f"{folder}/2d", gen=gen, disc=disc, ema=gen, meta=meta)
        del gen, disc
        before = _peak_bytes()
        start = time.perf_counter()
        weights, _ = inflate.weights_for(target, f"{folder}/2d", target.config.init)
        inflated = time.perf_counter()
        checkpoint.save_weights(
            f"{folder}/3d",
            gen=weights.gen,
            disc=weights.disc,
            ema=weights.ema,
            meta=meta,
        )
        written = time.perf_counter()
    parameters = plan.count([weights.gen, weights.disc])
    size = plan.num_bytes([weights.gen, weights.disc, weights.ema])
    return [
        {
            "what": "inflation",
            "parameters": parameters,
            "checkpoint_mib": size / 2**20,
            "read_and_inflate_s": inflated - start,
            "write_s": written - inflated,
            "seconds": written - start,
            "peak_mib": _peak_bytes() / 2**20,
            "peak_before_mib": before / 2**20,
            "peak_over_checkpoint": _peak_bytes() / size,
        }
    ]


def bench_labels(args: argparse.Namespace) -> list[Row]:
    """What touches label maps, as papers write it (plain) and as this package computes it.

    Forward and gradient, of single layers (SPADE's first, the discriminator's first) at several
    resolutions, and of whole networks; `ratio` is plain over ours.
    """
    num_stages(args.size)  # refuses others
    channels = labels.LabelChannels(args.num_labels)
    regions = np.random.default_rng(0).integers(0, args.num_labels, (args.batch_size, 4, 4))
    cond = jnp.asarray(np.kron(regions, np.ones((1, args.size // 4, args.size // 4), int)))
    label_map = labels.read_label_map(cond, channels, args.size, args.batch_size)
    rows = [
        _bench_spade_layer(args, label_map, args.size >> i) for i in range(3) if args.size >> i >= 4
    ]
    for frames in (0, args.num_frames):
        rows += [_bench_first_layer(args, label_map, frames, scale) for scale in (0, 1)]
    rows.append(_bench_resizing(args, label_map))
    generator = SpadeGenerator(
        channels, args.size, features=16, middle_blocks=1, label_features=args.label_features
    )
    discriminator = SpadeDiscriminator(channels, args.size, args.num_frames)
    clips = jnp.zeros((args.batch_size, args.num_frames, args.size, args.size, 3))
    for name, module, first in (
        ("all of small G, images", generator, jnp.ones((args.batch_size, 256))),
        ("all of D, clips", discriminator, clips),
    ):
        rows.append({"what": name, **_bench_network(args, label_map, module, first, cond)})
    return rows


def _draw(*shape: int) -> jax.Array:
    return jnp.asarray(np.random.default_rng(shape).standard_normal(shape, np.float32))


def _bench_spade_layer(args: argparse.Namespace, full: labels.LabelMap, size: int) -> Row:
    kernel = _draw(3, 3, full.channels.count, args.label_features)
    forms = {
        "plain": lambda k, m: plain_labels.conv_resized(m.one_hot(), k, size, size),
        "one_hot": lambda k, m: labels.conv_one_hot(m.resized(size, size), k),
        "rows": lambda k, m: labels.conv_by_rows(m.resized(size, size), k),
        "ours": lambda k, m: labels.conv_labels(m.resized(size, size), k),
    }
    return {"what": f"SPADE's first, {size}×{size}", **_in_turns(forms, args.repeats, kernel, full)}


def _bench_first_layer(
    args: argparse.Namespace, full: labels.LabelMap, num_frames: int, scale: int
) -> Row:
    rank = 3 if num_frames else 2
    axes = ((num_frames,) if num_frames else ()) + (args.size, args.size)
    x = _draw(args.batch_size, *axes, 3)
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

    seconds = _in_turns({"plain": plain, "ours": ours}, args.repeats, (params, x), full)
    kind = "clips" if num_frames else "images"
    return {"what": f"D's first, {kind}, {x.shape[-2]}×{x.shape[-2]}", **seconds}


def _bench_resizing(args: argparse.Namespace, full: labels.LabelMap) -> Row:
    sizes = [args.size >> i for i in range(6) if args.size >> i >= 4]

    def plain(_: Any, label_map: labels.LabelMap) -> Any:
        one_hot = label_map.one_hot()
        return [plain_labels.resize_one_hot(one_hot, size, size) for size in sizes]

    def ours(_: Any, label_map: labels.LabelMap) -> Any:
        return [label_map.ids for label_map in labels.pyramid(label_map, sizes).values()]

    forms = {"plain": plain, "ours": ours}
    seconds = _in_turns(forms, args.repeats, 0.0, full, gradient=False)
    return {"what": "maps, all sizes", **seconds}


def _bench_network(
    args: argparse.Namespace, full: labels.LabelMap, module: Any, first: jax.Array, cond: jax.Array
) -> Row:
    variables = jax.jit(module.init)(jax.random.key(0, impl="rbg"), first, cond)

    def plain(params: Any, full: labels.LabelMap, *inputs: Any) -> Any:
        chosen = {**variables, "params": params}
        return plain_labels.apply_plainly(module, chosen, full, *inputs)[0]

    def ours(params: Any, _: labels.LabelMap, *inputs: Any) -> Any:
        moving = [name for name in variables if name != "params"]
        return module.apply({**variables, "params": params}, *inputs, mutable=moving)[0]

    forms = {"plain": plain, "ours": ours}
    return _in_turns(forms, args.repeats, variables["params"], full, first, cond)


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


def _peak_bytes() -> int:
    """Most memory that this process has held so far."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak * (1 if sys.platform == "darwin" else 1024)


def show(rows: Sequence[Row]) -> None:
    """Prints rows as a table: one column each, unless there are more of them than of figures."""
    machine = f"{jax.devices()[0].device_kind} × {jax.device_count()}, jax {jax.__version__}"
    table = Table(title=machine)
    table.add_column("")
    figures = dict.fromkeys(key for row in rows for key in row if key != "what")
    columns = figures if len(rows) > len(figures) else [row["what"] for row in rows]
    for column in columns:
        table.add_column(column, justify="right")
    if columns is figures:
        for row in rows:
            table.add_row(row["what"], *(_cell(row.get(figure)) for figure in figures))
    else:
        for figure in figures:
            table.add_row(figure, *(_cell(row.get(figure)) for row in rows))
    Console().print(table)


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.3g}" if abs(value) < 1000 else f"{value:,.0f}"
    return f"{value:,}"


BENCHMARKS: dict[str, Callable[[argparse.Namespace], list[Row]]] = {
    "step": bench_step,
    "loader": bench_loader,
    "inflate": bench_inflate,
    "labels": bench_labels,
}


def _check(args: argparse.Namespace) -> None:
    for name, value in vars(args).items():
        if isinstance(value, int | float) and not value > 0:
            raise ValueError(f"--{name.replace('_', '-')} (={value}) must be above 0")
    if args.json:
        if Path(args.json).is_dir():
            raise ValueError(f"--json {args.json} is a folder; give a file's name")
        cli.output_folder("--json", Path(args.json).parent)


def run(args: argparse.Namespace) -> int:
    """The command."""
    _check(args)
    rows = BENCHMARKS[args.benchmark](args)
    show(rows)
    if args.json:
        machine = {"device": jax.devices()[0].device_kind, "devices": jax.device_count()}
        files.write_json(Path(args.json), {**machine, "jax": jax.__version__, args.benchmark: rows})
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    """`python -m vidgan_jax.bench`."""
    parser = argparse.ArgumentParser(
        prog="python -m vidgan_jax.bench",
        description="Measures steps, input pipeline, inflation, label maps.",
        allow_abbrev=False,
    )
    verbs = parser.add_subparsers(dest="benchmark", required=True)
    step = verbs.add_parser("step", help="training step: compile and steady time")
    step.add_argument("--config", default="configs/resnet3d.py:smoke")
    step.add_argument("--repeats", type=int, default=10)
    loader = verbs.add_parser("loader", help="input pipeline: clips a second")
    loader.add_argument("--data", default="", help="a data set (default: embedded scenes)")
    loader.add_argument("--split", default="train")
    loader.add_argument("--size", type=int, default=128)
    loader.add_argument("--num-frames", type=int, default=8)
    loader.add_argument("--stride", type=int, default=3)
    loader.add_argument("--batch-size", type=int, default=16)
    loader.add_argument("--seconds", type=float, default=5.0)
    inflation = verbs.add_parser("inflate", help="inflation: time and peak memory")
    inflation.add_argument("--config", default="configs/resnet3d.py")
    of_labels = verbs.add_parser("labels", help="layers of label maps: plain forms against ours")
    of_labels.add_argument("--size", type=int, default=128)
    of_labels.add_argument("--batch-size", type=int, default=4)
    of_labels.add_argument("--num-labels", type=int, default=150)
    of_labels.add_argument("--label-features", type=int, default=128)
    of_labels.add_argument("--num-frames", type=int, default=8, help="of clips")
    of_labels.add_argument("--repeats", type=int, default=5)
    for verb in (step, loader, inflation, of_labels):
        verb.add_argument("--json", default="", metavar="FILE", help="write the figures there")
    return cli.run(parser, run, argv)


if __name__ == "__main__":
    sys.exit(main())

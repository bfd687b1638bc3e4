"""Measures training steps, the input pipeline and inflation; a table on screen, JSON with `--json`.

python -m vidgan_jax.bench step --config configs/resnet3d.py:smoke
python -m vidgan_jax.bench loader [--data DIR]
python -m vidgan_jax.bench inflate [--config configs/resnet3d.py]
"""

import argparse
import dataclasses
import functools
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from rich.console import Console
from rich.table import Table

from vidgan_jax import cli, experiment, files, inflate
from vidgan_jax.data.clips import training_loader
from vidgan_jax.data.records import ClipSource
from vidgan_jax.preparation.embedded import Scenes
from vidgan_jax.train import checkpoint, loop, plan, sharding
from vidgan_jax.train.state import GanState
from vidgan_jax.train.step import StepFn, TrainStep
from vidgan_jax.types import Batch, ClipSpec

Row = dict[str, Any]


def time_steps(
    step: StepFn, state: GanState, batch: Batch, repeats: int
) -> tuple[list[float], GanState]:
    """Seconds of each of `repeats` steps, every one waited for."""
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        state, _ = jax.block_until_ready(step(state, batch))
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
    frames = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    batch = sharding.put_batch(Batch(frames), mesh)
    train_step = TrainStep(game, mesh)
    # Step 0 has all terms; step 1 lacks the lazy ones, where there are any.
    for number, name in ((0, "step, all terms"), (1, "step, lazy terms left out")):
        if number and game.objective.due(1) == game.objective.due(0):
            continue
        start = time.perf_counter()
        compiled = train_step.program(number).lower(state, batch).compile()
        compile_s = time.perf_counter() - start
        memory = compiled.memory_analysis()
        seconds, state = time_steps(compiled, state, batch, args.repeats + 1)
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


def _peak_bytes() -> int:
    """Most memory that this process has held so far."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak * (1 if sys.platform == "darwin" else 1024)


def show(rows: Sequence[Row]) -> None:
    """Prints rows as a table, one column each: there are more figures than rows."""
    machine = f"{jax.devices()[0].device_kind} × {jax.device_count()}, jax {jax.__version__}"
    table = Table(title=machine)
    table.add_column("")
    for row in rows:
        table.add_column(row["what"], justify="right")
    for figure in dict.fromkeys(key for row in rows for key in row if key != "what"):
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
        description="Measures steps, input pipeline, inflation.",
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
    for verb in (step, loader, inflation):
        verb.add_argument("--json", default="", metavar="FILE", help="write the figures there")
    return cli.run(parser, run, argv)


if __name__ == "__main__":
    sys.exit(main())

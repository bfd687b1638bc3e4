"""Measures what takes time; a table on screen, JSON with `--json`.

python -m vidgan_jax.bench step --config configs/resnet3d.py:smoke
python -m vidgan_jax.bench step --against torch [--config configs/spade3d.py:smoke …]
python -m vidgan_jax.bench loader [--data DIR] [--config configs/resnet3d.py:smoke]
python -m vidgan_jax.bench prepare [--video FILE] [--detector own]
python -m vidgan_jax.bench generate [--config configs/spade3d.py:small]
python -m vidgan_jax.bench inflate [--config configs/resnet3d.py]
python -m vidgan_jax.bench convs
python -m vidgan_jax.bench scaling [--config FILE …] [--devices 8 64 512] [--fsdp 1 8]
python -m vidgan_jax.bench labels [--size 128 --batch-size 4 --num-labels 150]
"""

import argparse
import dataclasses
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
from rich.console import Console
from rich.table import Table

from vidgan_jax import cli, experiment, files
from vidgan_jax.benchmarks import (
    against_torch,
    convolutions,
    inflating,
    label_layers,
    latency,
    loading,
    preparing,
    scaling,
    steps,
)
from vidgan_jax.benchmarks.measuring import Row
from vidgan_jax.data.sources import open_source
from vidgan_jax.preparation.embedded import Scenes, data_folder
from vidgan_jax.preparation.nature.shots import DETECTORS
from vidgan_jax.types import ClipSpec

# Of `step --against torch`; the rest is for programs.
_COMPARED = (
    "ours_s",
    "torch_s",
    "ratio",
    "ratio_lower_quartile",
    "ratio_upper_quartile",
    "ours_steps_mib",
    "torch_steps_mib",
)
# Of `scaling`, likewise.
_COUNTED = (
    "what",
    "clips_per_device",
    "parameters_gib",
    "optimisers_gib",
    "average_gib",
    "temporaries_gib",
    "gib_per_clip",
    "clips_that_fit",
    "all_reduce_mib",
    "all_gather_mib",
    "reduce_scatter_mib",
    "sent_mib",
    "sending_ms",
    "tflop",
    "flops_over_share",
)
# Of `loader` without a config.
_CLIPS = {"size": 128, "num_frames": 8, "stride": 3, "batch_size": 16}


def bench_step(args: argparse.Namespace) -> list[Row]:
    """One config's step, or those of several configs against PyTorch's."""
    overrides = list(args.overrides)
    if args.batch_size is not None:
        overrides.append(f"--config.train.batch_size={args.batch_size}")
    if args.against:
        request = against_torch.Request(
            args.config or (),
            overrides,
            args.repeats,
            compiled=args.torch_compile,
            bf16=args.torch_bf16,
            cores=args.cores or 0,
        )
        return against_torch.bench_against_torch(request)
    for name in ("torch_compile", "torch_bf16", "cores"):
        if getattr(args, name) is not None:
            raise ValueError(f"--{name.replace('_', '-')} needs --against torch")
    configs = args.config or ["configs/resnet3d.py:smoke"]
    if len(configs) > 1:
        raise ValueError(f"--config was given {len(configs)} times; that needs --against torch")
    exp = experiment.build(experiment.load_config(configs[0], overrides))
    return steps.bench_step(exp, args.repeats)


def bench_loader(args: argparse.Namespace) -> list[Row]:
    """The input pipeline by itself, or against the step of a config."""
    if args.config:
        for name in _CLIPS:
            if getattr(args, name) is not None:
                raise ValueError(
                    f"--{name.replace('_', '-')} is of clips without a config; set the fields of "
                    f"--config {args.config} by --config.SECTION.FIELD=VALUE"
                )
        exp = experiment.build(experiment.load_config(args.config, args.overrides))
        data = exp.config.data
        scenes = Scenes(data.num_scene_videos, data.num_scene_clips, data.resize)
        folder = data_folder(args.data or data.path, scenes, render=True)
        source = open_source(folder, args.split)
        return loading.bench_loader_and_step(source, exp, seconds=args.seconds)
    wanted = {k: v if (v := getattr(args, k)) is not None else _CLIPS[k] for k in _CLIPS}
    size, batch_size = wanted["size"], wanted["batch_size"]
    scenes = Scenes(num_videos=16, clips_per_video=2, size=size)
    if not args.data:
        scenes.render()
    source = open_source(args.data or scenes.folder, args.split)
    spec = ClipSpec(wanted["num_frames"], wanted["stride"], size, resize=size, start_frames=8)
    return loading.bench_loader(source, spec, batch_size=batch_size, seconds=args.seconds)


def bench_generate(args: argparse.Namespace) -> list[Row]:
    """Latency of generated frames."""
    how = {"batch_size": args.batch_size, "repeats": args.repeats}
    return latency.bench_generate(args.config, args.overrides, **how)


def bench_inflate(args: argparse.Namespace) -> list[Row]:
    """Inflation of a random checkpoint."""
    return inflating.bench_inflate(args.config, args.overrides)


def bench_prepare(args: argparse.Namespace) -> list[Row]:
    """Preparation against decoding."""
    names = ("detector", "threads", "repeats", "height", "seconds")
    return preparing.bench_prepare(args.video, **{name: getattr(args, name) for name in names})


def bench_scaling(args: argparse.Namespace) -> list[Row]:
    """The step of full-size configs on many devices, compiled and counted."""
    links = {field.name: getattr(args, field.name) for field in dataclasses.fields(scaling.Links)}
    request = scaling.Request(
        configs=args.config or scaling.CONFIGS,
        overrides=args.overrides,
        devices=args.devices,
        fsdp=args.fsdp,
        per_device_batch=args.per_device_batch,
        memory_gb=args.memory_gb,
        reserve_gb=args.reserve_gb,
        links=scaling.Links(**links),
        topology=args.topology,
    )
    return scaling.bench_scaling(request)


def bench_convs(args: argparse.Namespace) -> list[Row]:
    """Convolutions, the CPU's forms against XLA's own."""
    return convolutions.bench_convolutions(args.repeats)


def bench_labels(args: argparse.Namespace) -> list[Row]:
    """Layers of label maps."""
    names = [field.name for field in dataclasses.fields(label_layers.Sizes)]
    return label_layers.bench_labels(label_layers.Sizes(**{k: getattr(args, k) for k in names}))


BENCHMARKS: dict[str, Callable[[argparse.Namespace], list[Row]]] = {
    "step": bench_step,
    "loader": bench_loader,
    "prepare": bench_prepare,
    "generate": bench_generate,
    "inflate": bench_inflate,
    "scaling": bench_scaling,
    "labels": bench_labels,
    "convs": bench_convs,
}


def show(rows: Sequence[Row], chosen: Sequence[str] = (), title: str = "") -> None:
    """Prints rows as a table: one column each, unless there are more of them than of figures.

    Args:
      rows: to print.
      chosen: the figures, each a column then; all of them where none is.
      title: of the table; this machine's by default.
    """
    machine = f"{jax.devices()[0].device_kind} × {jax.device_count()}, jax {jax.__version__}"
    table = Table(title=title or machine)
    table.add_column("", overflow="fold", min_width=22 if chosen else None)
    figures = dict.fromkeys(chosen or (key for row in rows for key in row if key != "what"))
    columns = figures if chosen or len(rows) > len(figures) else [row["what"] for row in rows]
    for column in columns:
        title = column.replace("_", " ") if columns is figures else column
        table.add_column(title, justify="right", overflow="fold")
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
    return f"{value:,}" if type(value) is int else str(value)


def _check(args: argparse.Namespace) -> None:
    for name, value in vars(args).items():
        if type(value) in (int, float) and not value > 0:
            raise ValueError(f"--{name.replace('_', '-')} (={value}) must be above 0")
    if args.json:
        if Path(args.json).is_dir():
            raise ValueError(f"--json {args.json} is a folder; give a file's name")
        cli.output_folder("--json", Path(args.json).parent)


def run(args: argparse.Namespace) -> int:
    """The command."""
    _check(args)
    rows = BENCHMARKS[args.benchmark](args)
    if args.benchmark == "scaling":
        for config in dict.fromkeys(row["config"] for row in rows):
            chosen = [{k: row.get(k) for k in _COUNTED} for row in rows if row["config"] == config]
            compiler = args.topology or "simulated devices"
            show(chosen, title=f"{config}, of each device: {compiler}, jax {jax.__version__}")
    else:
        show(rows, _COMPARED if getattr(args, "against", None) else ())
    if args.json:
        machine = {"device": jax.devices()[0].device_kind, "devices": jax.device_count()}
        files.write_json(Path(args.json), {**machine, "jax": jax.__version__, args.benchmark: rows})
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m vidgan_jax.bench",
        description="Measures what takes time.",
        allow_abbrev=False,
    )
    verbs = parser.add_subparsers(dest="benchmark", required=True)
    step = verbs.add_parser("step", help="training step: compile and steady time")
    step.add_argument("--config", action="append", help="several with --against torch")
    step.add_argument("--batch-size", type=int, help="the config's by default")
    step.add_argument("--repeats", type=int, default=10)
    step.add_argument("--against", choices=("torch",), help="PyTorch's step in turns with ours")
    step.add_argument("--cores", type=int, help="of each side (default: all)")
    switch = argparse.BooleanOptionalAction
    step.add_argument("--torch-compile", action=switch, help="torch.compile (default: on GPUs)")
    step.add_argument("--torch-bf16", action=switch, help="its autocast (default: on GPUs)")
    loader = verbs.add_parser("loader", help="input pipeline: clips a second")
    loader.add_argument("--config", help="its clips, against the demand of its training step")
    loader.add_argument("--data", default="", help="a data set (default: embedded scenes)")
    loader.add_argument("--split", default="train")
    for name, default in _CLIPS.items():
        loader.add_argument(f"--{name.replace('_', '-')}", type=int, help=f"(default: {default})")
    loader.add_argument("--seconds", type=float, default=5.0)
    preparation = verbs.add_parser("prepare", help="preparation of a video: against decoding it")
    preparation.add_argument("--video", default="", help="a file (default: one made of scenes)")
    preparation.add_argument("--detector", choices=DETECTORS, default="own")
    preparation.add_argument("--threads", type=int, default=1, help="for decoding")
    preparation.add_argument("--repeats", type=int, default=3)
    preparation.add_argument("--height", type=int, default=1080, help="of the video made")
    preparation.add_argument("--seconds", type=float, default=48.0, help="length of the video made")
    generation = verbs.add_parser("generate", help="generated frames: first and later ones")
    generation.add_argument("--config", default="configs/spade3d.py:small")
    generation.add_argument("--batch-size", type=int, default=1)
    generation.add_argument("--repeats", type=int, default=10)
    inflation = verbs.add_parser("inflate", help="inflation: time and peak memory")
    inflation.add_argument("--config", default="configs/resnet3d.py")
    of_labels = verbs.add_parser("labels", help="layers of label maps: plain forms against ours")
    of_labels.add_argument("--size", type=int, default=128)
    of_labels.add_argument("--batch-size", type=int, default=4)
    of_labels.add_argument("--num-labels", type=int, default=150)
    of_labels.add_argument("--label-features", type=int, default=128)
    of_labels.add_argument("--num-frames", type=int, default=8, help="of clips")
    of_labels.add_argument("--repeats", type=int, default=5)
    on_many = verbs.add_parser(
        "scaling", help="step on many devices: compiled and counted, not run"
    )
    _add_scaling(on_many)
    convs = verbs.add_parser("convs", help="convolutions: the CPU's forms against XLA's own")
    convs.add_argument("--repeats", type=int, default=5)
    for verb in (step, loader, preparation, generation, inflation, of_labels, on_many, convs):
        verb.add_argument("--json", default="", metavar="FILE", help="write the figures there")
    return parser


def _add_scaling(parser: argparse.ArgumentParser) -> None:
    default = scaling.Request()
    parser.add_argument("--config", action="append", help=f"(default: {' '.join(scaling.CONFIGS)})")
    for name, what in (("devices", "numbers of them"), ("fsdp", "devices that share parameters")):
        numbers = getattr(default, name)
        shown = f"{what} (default: {' '.join(map(str, numbers))})"
        parser.add_argument(f"--{name}", type=int, nargs="+", default=numbers, help=shown)
    parser.add_argument(
        "--per-device-batch", type=int, default=4, help="and twice as many (default: 4)"
    )
    parser.add_argument("--memory-gb", type=float, default=80.0, help="of a device (default: 80)")
    parser.add_argument(
        "--reserve-gb", type=float, default=8.0, help="of that, not XLA's to plan with (default: 8)"
    )
    for field in dataclasses.fields(scaling.Links):
        kind = type(field.default)
        flag = f"--{field.name.replace('_', '-')}"
        parser.add_argument(
            flag, type=kind, default=field.default, help=f"(default: {field.default})"
        )
    parser.add_argument(
        "--topology", default="", help="of TPUs, as v5e:4x2, for libtpu's compiler (needs libtpu)"
    )


def main(argv: Sequence[str] | None = None) -> int:
    """`python -m vidgan_jax.bench`."""
    return cli.run(_parser(), run, argv)


if __name__ == "__main__":
    sys.exit(main())

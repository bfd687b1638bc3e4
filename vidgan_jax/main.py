"""Trains a GAN, or a small segmenter, whichever the config describes.

python -m vidgan_jax.main --config=configs/resnet3d.py [--workdir DIR] [--dry_run]
"""

import argparse
import json
import shlex
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from vidgan_jax import cli, experiment, inflate
from vidgan_jax.config import DataConfig
from vidgan_jax.data.collection import Clips
from vidgan_jax.data.info import check_label_ids
from vidgan_jax.data.sampling import fitting_clips
from vidgan_jax.data.sources import open_source
from vidgan_jax.experiment import Experiment
from vidgan_jax.preparation import embedded
from vidgan_jax.segmentation import plan as segmenter_plan
from vidgan_jax.segmentation import small, training
from vidgan_jax.segmentation.config import (
    FramesConfig,
    SegmenterConfig,
    describes_segmenter,
    parse,
)
from vidgan_jax.segmentation.training import known_classes
from vidgan_jax.train import checkpoint, loop, plan, programs, samples, sharding, writers
from vidgan_jax.train.frozen import frozen_weights


def data_folder(data: DataConfig, *, render: bool) -> Path:
    """The configured data set, or the embedded scenes, rendered where `render` and needed."""
    scenes = embedded.Scenes(data.num_scene_videos, data.num_scene_clips, data.resize)
    return embedded.data_folder(data.path, scenes, render=render)


def open_clips(exp: Experiment, folder: Path) -> tuple[Clips, tuple[int, int]]:
    """The split's clips, and how many of them, of how many videos, are long enough.

    Refuses a missing split, a damaged index, clips that are all too short, ids of no class.
    """
    source = open_source(folder, exp.config.data.split)
    if exp.clip_spec.label_maps:
        spec = exp.clip_spec
        check_label_ids(source.info, spec.num_labels, spec.dont_care, where=str(folder))
    fitting = fitting_clips(source, exp.clip_spec)
    return source, (len(fitting), len(set(source.video[fitting].tolist())))


def show_plan(exp: Experiment, style: str) -> int:
    """`--dry_run`: prints what would be done."""
    data = exp.config.data
    folder = data_folder(data, render=False)
    there = data.path or (folder / "info.json").exists()
    found = open_clips(exp, folder)[1] if there else None
    if exp.config.init.path:
        inflate.initial_weights(exp)
    frozen_weights(exp)
    planned = plan.make_plan(exp, sharding.make_mesh(), data_path=str(folder), found=found)
    return print_plan(planned, style)


def print_plan(planned: Mapping[str, Any], style: str) -> int:
    """Prints a plan as a table or as JSON."""
    if style == "json":
        print(json.dumps(planned, indent=2))
    else:
        plan.print_plan(planned)
    return 0


def train(args: argparse.Namespace) -> int:
    """The command: flags → config → what it describes is trained."""
    raw = experiment.load_config(args.config, args.overrides).to_dict()
    if describes_segmenter(raw):
        return train_segmenter(parse(raw), args)
    return train_gan(raw, args)


def train_gan(raw: Mapping[str, Any], args: argparse.Namespace) -> int:
    """Config → experiment → training loop."""
    exp = experiment.build(raw)
    sharding.check_batch_size(exp.config.train.batch_size, sharding.make_mesh())
    if args.dry_run:
        return show_plan(exp, args.dry_run)
    workdir = Path(args.workdir or Path("workdir") / exp.config.name)
    data = exp.config.data
    source = open_clips(exp, Path(data.path))[0] if data.path else None
    frozen = frozen_weights(exp)
    initial = None
    if (start := exp.config.init).path and not checkpoint.has_checkpoint(workdir):
        initial, source_2d = inflate.initial_weights(exp)
        how = f"inflated by {start.profile!r}, mode {start.mode!r}" if source_2d else "as they are"
        if exp.config.model.num_frames and not source_2d:
            how += " (3D already: config.init's profile, mode and temporal_noise do nothing)"
        print(f"starting from {start.path} (step {initial.step}), {how}", file=sys.stderr)
    cli.output_folder("--workdir", workdir)
    if source is None:
        source, _ = open_clips(exp, data_folder(data, render=True))
    with programs.kept_in(workdir / programs.FOLDER):
        outcome = loop.train(exp, source, workdir, initial=initial, frozen=frozen)
    if not outcome.finished:
        return say_stopped(outcome)
    print(f"done: {outcome.step} steps in {workdir}")
    print(f"  samples      {workdir / samples.SAMPLES}")
    print(f"  checkpoints  {workdir / checkpoint.FOLDER}")
    print(f"  metrics      {workdir / writers.METRICS}")
    print(f"  TensorBoard  tensorboard --logdir {shlex.quote(str(workdir / writers.TENSORBOARD))}")
    return 0


def segmenter_data(data: FramesConfig, *, render: bool) -> Path:
    """The configured data set, or the embedded scenes, rendered where `render` and needed."""
    scenes = embedded.Scenes(
        data.num_scene_videos,
        data.num_scene_clips,
        data.scene_size,
        num_frames=data.num_scene_frames,
        seed=data.scene_seed,
    )
    return embedded.data_folder(data.path, scenes, render=render)


def open_frames(config: SegmenterConfig, folder: Path) -> tuple[Clips, Clips | None]:
    """The split that a segmenter learns, and the one that it is measured on, if there is one.

    Refuses a missing split, a damaged index, data without label maps, ids of no class.
    """
    data = config.data
    source = open_source(folder, data.split)
    known_classes(source, config.segmenter.num_labels, data.dont_care)
    held_out = source.info.splits.get(data.held_out)
    if held_out is None or not held_out.num_label_maps:
        return source, None
    return source, open_source(folder, data.held_out)


def show_segmenter_plan(config: SegmenterConfig, style: str) -> int:
    """`--dry_run`: prints what would be done."""
    data = config.data
    folder = segmenter_data(data, render=False)
    found = classes = None
    if data.path or (folder / "info.json").exists():
        source, _ = open_frames(config, folder)
        classes = known_classes(source, config.segmenter.num_labels, data.dont_care)
        fitting = np.flatnonzero(source.has_label_map)
        found = len(fitting), len(set(source.video[fitting].tolist()))
    planned = segmenter_plan.make_plan(
        config, sharding.make_mesh(), data_path=str(folder), found=found, classes=classes
    )
    return print_plan(planned, style)


def show_scores(scores: Mapping[str, Any]) -> None:
    """Prints how well a segmenter does on held-out frames, one column for each size."""
    found = scores["held_out"]
    if not found:
        print("the data set has no held-out split with label maps: the segmenter is not measured")
        return
    table = Table(title="held-out frames", caption="of classes: intersection over union")
    table.add_column("")
    for size in found:
        table.add_column(f"{size}×{size}", justify="right")
    rows = {"pixel accuracy": "pixel_accuracy", "mIoU (≥ 1 %)": "mean_iou"}
    for title, name in {**rows, "mIoU (all present)": "mean_iou_present"}.items():
        table.add_row(title, *(f"{row[name]:.1%}" for row in found.values()))
    for name in dict.fromkeys(name for row in found.values() for name in row["classes"]):
        ious = (row["classes"].get(name, {}).get("iou") for row in found.values())
        table.add_row(f"  {name}", *("" if iou is None else f"{iou:.1%}" for iou in ious))
    Console().print(table)


def say_stopped(outcome: loop.Outcome) -> int:
    """Says how to go on; returns the exit status."""
    print(f"stopped and saved at step {outcome.step}; run the same command to go on")
    # A scheduler's SIGTERM is no failure; Ctrl-C must end the script around this, too.
    return 130 if outcome.stopped_by == signal.SIGINT else 0


def train_segmenter(config: SegmenterConfig, args: argparse.Namespace) -> int:
    """Config → data → training of a segmenter."""
    sharding.check_batch_size(config.train.batch_size, sharding.make_mesh())
    if args.dry_run:
        return show_segmenter_plan(config, args.dry_run)
    workdir = Path(args.workdir or Path("workdir") / config.name)
    if config.data.path:  # refused before a folder is made
        open_frames(config, Path(config.data.path))
    cli.output_folder("--workdir", workdir)
    source, held_out = open_frames(config, segmenter_data(config.data, render=True))
    with programs.kept_in(workdir / programs.FOLDER):
        outcome = training.train(config, source, workdir, held_out=held_out)
    if not outcome.finished:
        return say_stopped(outcome)
    print(f"done: {outcome.step} steps in {workdir}")
    print(f"  segmenter    {workdir / small.FILE}")
    print(f"  scores       {workdir / training.SCORES}")
    print(f"  metrics      {workdir / writers.METRICS}")
    print(f"  TensorBoard  tensorboard --logdir {shlex.quote(str(workdir / writers.TENSORBOARD))}")
    show_scores(json.loads((workdir / training.SCORES).read_text(encoding="utf-8")))
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    """`python -m vidgan_jax.main`."""
    parser = argparse.ArgumentParser(
        prog="python -m vidgan_jax.main",
        description="Trains a GAN, or a segmenter.",
        allow_abbrev=False,
    )
    cli.add_config(parser)
    parser.add_argument("--workdir", help="the run's folder (default: workdir/NAME)")
    parser.add_argument(
        "--dry_run",
        nargs="?",
        const="table",
        choices=("table", "json"),
        help="print the whole plan and stop before training",
    )
    return cli.run(parser, train, argv)


if __name__ == "__main__":
    sys.exit(main())

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

import jax
import numpy as np
from rich.console import Console
from rich.table import Table

from vidgan_jax import cli, cluster, experiment, files, inflate
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
from vidgan_jax.train import agreement, checkpoint, loop, plan, programs, samples, sharding, writers
from vidgan_jax.train.beginning import make_mesh
from vidgan_jax.train.frozen import frozen_weights
from vidgan_jax.train.stopping import noting_early
from vidgan_jax.train.weights import Weights
from vidgan_jax.version import code_version


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
    planned = plan.make_plan(exp, make_mesh(exp), data_path=str(folder), found=found)
    return print_plan(planned, style)


def print_plan(planned: Mapping[str, Any], style: str) -> int:
    """Prints a plan as a table or as JSON, once for all processes."""
    if jax.process_index() != 0:
        return 0
    if style == "json":
        print(json.dumps(planned, indent=2))
    else:
        plan.print_plan(planned)
    return 0


def train(args: argparse.Namespace) -> int:
    """The command: flags → config → what it describes is trained."""
    with noting_early(), cluster.joined(args):
        with cluster.in_agreement("config"):
            raw = experiment.load_config(args.config, args.overrides).to_dict()
            described = parse(raw) if describes_segmenter(raw) else experiment.build(raw)
            if args.workdir == "":
                raise ValueError("--workdir is empty; give a folder, or leave it out")
        given = {"config": raw, "--workdir": args.workdir, "version of the code": code_version()}
        agreement.check_same(given)
        if isinstance(described, SegmenterConfig):
            return train_segmenter(described, args)
        return train_gan(described, args)


def train_gan(exp: Experiment, args: argparse.Namespace) -> int:
    """Experiment → data → training loop."""
    make_mesh(exp)  # refused before anything is made or read
    if args.dry_run:
        return show_plan(exp, args.dry_run)
    workdir = files.path(args.workdir or Path("workdir") / exp.config.name)
    data, source, initial = exp.config.data, None, None
    with cluster.in_agreement("inputs"):
        if data.path:
            source, _ = open_clips(exp, files.path(data.path))
        frozen = frozen_weights(exp)
        if exp.config.init.path and not checkpoint.has_checkpoint(workdir):
            initial = read_initial(exp)
        cli.output_folder("--workdir", workdir)
    cluster.check_shared(workdir)
    if source is None:
        with cluster.in_agreement("scenes"):
            with cluster.first_process_first("rendering"):
                folder = data_folder(data, render=True)
            source, _ = open_clips(exp, folder)
    with programs.kept_in(workdir / programs.FOLDER):
        outcome = loop.train(exp, source, workdir, initial=initial, frozen=frozen)
    if not outcome.finished:
        return say_stopped(outcome, args.stopped_status)
    print(f"done: {outcome.step} steps in {workdir}")
    print(f"  samples      {workdir / samples.SAMPLES}")
    print(f"  checkpoints  {workdir / checkpoint.FOLDER}")
    print(f"  metrics      {workdir / writers.METRICS}")
    print(f"  TensorBoard  tensorboard --logdir {shlex.quote(str(workdir / writers.TENSORBOARD))}")
    return 0


def read_initial(exp: Experiment) -> Weights:
    """The weights of `config.init`, inflated where needed, as is said on stderr."""
    start = exp.config.init
    initial, source_2d = inflate.initial_weights(exp)
    how = f"inflated by {start.profile!r}, mode {start.mode!r}" if source_2d else "as they are"
    if exp.config.model.num_frames and not source_2d:
        how += " (3D already: config.init's profile, mode and temporal_noise do nothing)"
    if jax.process_index() == 0:
        print(f"starting from {start.path} (step {initial.step}), {how}", file=sys.stderr)
    return initial


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


def say_stopped(outcome: loop.Outcome, status: int) -> int:
    """Says how to go on; returns the exit status, which is `status` where SIGTERM stopped it."""
    print(f"stopped and saved at step {outcome.step}; run the same command to go on")
    # A scheduler's SIGTERM is no failure; Ctrl-C must end the script around this, too.
    return 130 if outcome.stopped_by == signal.SIGINT else status


def train_segmenter(config: SegmenterConfig, args: argparse.Namespace) -> int:
    """Config → data → training of a segmenter."""
    sharding.check_batch_size(config.train.batch_size, sharding.make_mesh())
    if args.dry_run:
        return show_segmenter_plan(config, args.dry_run)
    workdir = files.path(args.workdir or Path("workdir") / config.name)
    with cluster.in_agreement("inputs"):
        if config.data.path:  # refused before a folder is made
            open_frames(config, files.path(config.data.path))
        cli.output_folder("--workdir", workdir)
    cluster.check_shared(workdir)
    with cluster.in_agreement("scenes"):
        with cluster.first_process_first("rendering"):
            folder = segmenter_data(config.data, render=True)
        source, held_out = open_frames(config, folder)
    with programs.kept_in(workdir / programs.FOLDER):
        outcome = training.train(config, source, workdir, held_out=held_out)
    if not outcome.finished:
        return say_stopped(outcome, args.stopped_status)
    if jax.process_index() != 0:  # who has written the results
        return 0
    print(f"done: {outcome.step} steps in {workdir}")
    print(f"  segmenter    {workdir / small.FILE}")
    print(f"  scores       {workdir / training.SCORES}")
    print(f"  metrics      {workdir / writers.METRICS}")
    print(f"  TensorBoard  tensorboard --logdir {shlex.quote(str(workdir / writers.TENSORBOARD))}")
    show_scores(json.loads((workdir / training.SCORES).read_text(encoding="utf-8")))
    return 0


def _status(text: str) -> int:
    """An exit status, as argparse takes it."""
    if not text.isdecimal() or int(text) > 255:
        raise argparse.ArgumentTypeError(f"{text!r} must be from 0 to 255")
    return int(text)


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
    parser.add_argument(
        "--stopped-status",
        type=_status,
        metavar="N",
        default=0,
        help="exit status where SIGTERM stopped training and it was saved (default 0); another one "
        "tells a scheduler that it has not finished",
    )
    cluster.add_flags(parser)
    return cli.run(parser, train, argv)


if __name__ == "__main__":
    sys.exit(main())

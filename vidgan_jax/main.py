"""Trains a GAN.

python -m vidgan_jax.main --config=configs/resnet3d.py [--workdir DIR] [--dry_run]
"""

import argparse
import json
import shlex
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from vidgan_jax import cli, experiment, inflate
from vidgan_jax.config import DataConfig
from vidgan_jax.data.info import check_label_ids
from vidgan_jax.data.records import ClipSource
from vidgan_jax.data.sampling import fitting_clips
from vidgan_jax.experiment import Experiment
from vidgan_jax.preparation import embedded
from vidgan_jax.train import checkpoint, loop, plan, programs, samples, sharding, writers
from vidgan_jax.train.frozen import frozen_weights


def data_folder(data: DataConfig, *, render: bool) -> Path:
    """The configured data set, or the embedded scenes, rendered where `render` and needed."""
    scenes = embedded.Scenes(data.num_scene_videos, data.num_scene_clips, data.resize)
    return embedded.data_folder(data.path, scenes, render=render)


def open_clips(exp: Experiment, folder: Path) -> tuple[ClipSource, tuple[int, int]]:
    """The split's clips, and how many of them, of how many videos, are long enough.

    Refuses a missing split, a damaged index, clips that are all too short, ids of no class.
    """
    source = ClipSource(folder, exp.config.data.split)
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
    if style == "json":
        print(json.dumps(planned, indent=2))
    else:
        plan.print_plan(planned)
    return 0


def train(args: argparse.Namespace) -> int:
    """The command: flags → experiment → training loop."""
    exp = experiment.build(experiment.load_config(args.config, args.overrides))
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
        print(f"stopped and saved at step {outcome.step}; run the same command to go on")
        # A scheduler's SIGTERM is no failure; Ctrl-C must end the script around this, too.
        return 130 if outcome.stopped_by == signal.SIGINT else 0
    print(f"done: {outcome.step} steps in {workdir}")
    print(f"  samples      {workdir / samples.SAMPLES}")
    print(f"  checkpoints  {workdir / checkpoint.FOLDER}")
    print(f"  metrics      {workdir / writers.METRICS}")
    print(f"  TensorBoard  tensorboard --logdir {shlex.quote(str(workdir / writers.TENSORBOARD))}")
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    """`python -m vidgan_jax.main`."""
    parser = argparse.ArgumentParser(
        prog="python -m vidgan_jax.main", description="Trains a GAN.", allow_abbrev=False
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

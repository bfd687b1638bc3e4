"""Scores a checkpoint's generator: Fréchet distances of frames and clips from real ones, motion.

    python -m vidgan_jax.evaluate --checkpoint WORKDIR [--data DIR] [--num 512] [--json FILE]

The features are those of a fixed random network (`vidgan_jax.metrics.features`): the distances
compare runs on the same data with one another, and are not the FID and FVD of papers.

A generator that is conditioned on label maps gets those of the split. Its frames are segmented, and
compared with them: by a small segmenter that comes with the package where the data set is of
scenes, and else by one that is trained on the data set, once (`segmentation.judge`).
"""

import argparse
import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from vidgan_jax import cli, files
from vidgan_jax.data import media
from vidgan_jax.data.collection import Clips
from vidgan_jax.data.labels import colorize
from vidgan_jax.data.sources import open_source
from vidgan_jax.experiment import Experiment
from vidgan_jax.metrics import features, scores
from vidgan_jax.metrics.maps import Maps, agreements, measure_judge, read_labelled
from vidgan_jax.metrics.scores import Reference, Scores
from vidgan_jax.preparation.embedded import Scenes, data_folder
from vidgan_jax.segmentation import judge, small
from vidgan_jax.segmentation.judge import Wanted
from vidgan_jax.segmentation.small import Segmenter
from vidgan_jax.synthesis.latents import draw_latents
from vidgan_jax.synthesis.run import run_generator
from vidgan_jax.train import programs
from vidgan_jax.train.weights import Weights, experiment_of, load_weights

PICTURE = "segmentation.png"
HELD_OUT = "validation"
_SHOWN = 8


@programs.kept_for_user()
def evaluate(args: argparse.Namespace) -> int:
    """The command: checkpoint → generated and real examples → table and JSON."""
    _check(args)
    weights = load_weights(args.checkpoint)
    exp = experiment_of(weights)
    folder = _folder(exp, weights, args)
    source = open_source(folder, args.split or exp.config.data.split)
    _make_folders(exp, args)
    if (height := source.info.height) and height < exp.config.model.size:
        print(
            f"{folder} has frames {height} high, which are enlarged to the model's "
            f"{exp.config.model.size}: scores compare with nothing but such ones",
            file=sys.stderr,
        )
    # First what takes seconds and may be refused, then what trains a segmenter.
    reference = scores.read_reference(source, exp.clip_spec, num=args.num, seed=args.seed)
    maps = read_maps(exp, folder, source, args) if exp.config.model.num_labels else None
    latents = draw_latents(args.seed, args.num, exp.config.model.z_dim, None)
    examples = run_generator(
        exp,
        weights,
        latents,
        batch_size=args.batch_size,
        averaged=args.ema,
        cond=None if maps is None else maps.conditions(args.num),
        label="generating",
    )
    found = scores.score(examples, reference)
    report = {
        "checkpoint": str(weights.path),
        "step": weights.step,
        "code": weights.meta["code"],
        "ema": args.ema,
        "data": source.info.checksum,
        "split": source.split,
        "num": args.num,
        "seed": args.seed,
        "features": features.VERSION,
        "generated": dataclasses.asdict(found),
        "floor": dataclasses.asdict(reference.floor),
    }
    show(report, found, reference)
    if maps is not None:
        report["segmentation"] = agreements(examples, maps)
        show_segmentation(report)
        if args.out:
            write_picture(files.path(args.out) / PICTURE, examples, maps)
    if args.json:
        files.write_json(args.json, report)
    return 0


def read_maps(exp: Experiment, folder: Path, source: Clips, args: argparse.Namespace) -> Maps:
    """Reads the split's label maps, and gets the segmenter that judges by them.

    Where it is trained, it learns from the split that the checkpoint was trained on, always in the
    same way: scores of one data set and size compare with one another.

    Raises:
      ValueError: the data set lacks label maps, or has others than the checkpoint's.
    """
    model, data = exp.config.model, exp.config.data
    wanted = Wanted(model.size, data.resize, model.num_labels, data.dont_care)
    judge.known_classes(source, wanted.num_labels, wanted.dont_care)
    real, label_maps = read_labelled(source, exp.clip_spec, num=args.num)
    learnt, held_out = open_source(folder, data.split), None
    segmenter, made_of = find_judge(learnt, wanted, args.segmenter_steps)
    splits = learnt.info.splits
    if learnt.split != HELD_OUT and HELD_OUT in splits and splits[HELD_OUT].num_label_maps:
        unseen = open_source(folder, HELD_OUT)
        held_out = measure_judge(segmenter, unseen, exp.clip_spec, wanted.num_labels, num=args.num)
    return Maps(label_maps, real, wanted.num_labels, segmenter, made_of, held_out)


def find_judge(
    learnt: Clips, wanted: Wanted, num_steps: int | None
) -> tuple[Segmenter, dict[str, Any]]:
    """The package's segmenter where it fits, else one that is trained on `learnt`; says which.

    Args:
      learnt: what it would be trained on.
      wanted: what it is to judge.
      num_steps: of such a training, which is then done in any case; None leaves the choice.

    Returns:
      The segmenter, and what the report tells of it.
    """
    why = None if num_steps else judge.unfit(learnt, wanted)
    if not num_steps and why is None:
        print("judging label maps by the segmenter that comes with the package", file=sys.stderr)
        segmenter = small.load(small.SCENES)
        return segmenter, judge.describe(segmenter, shipped=True)
    because = f"; the package's does not fit: {why}" if why else ""
    print(f"judging label maps by a segmenter trained on the data set{because}", file=sys.stderr)
    config = judge.judge_config(wanted, split=learnt.split, num_steps=num_steps or judge.NUM_STEPS)
    segmenter = judge.cached_segmenter(learnt, config)
    return segmenter, judge.describe(segmenter, shipped=False)


def show_segmentation(report: dict[str, Any]) -> None:
    """Prints how well the frames agree with their label maps."""
    found = report["segmentation"]
    made_of, held_out = found["segmenter"], found["held_out"]
    learnt = "other scenes" if made_of["shipped"] else f"the split {made_of['split']!r}"
    elsewhere = ""
    if held_out:
        elsewhere = f"; {held_out['pixel_accuracy']:.1%} right in the split {held_out['split']!r}"
    table = Table(
        title=f"segmented frames against {found['num_maps']} label maps",
        caption=f"by a U-Net trained for {made_of['num_steps']} steps on {learnt}{elsewhere}",
    )
    for column in ("", "pixel accuracy", "mIoU (≥ 1 %)", "mIoU (all present)"):
        table.add_column(column, justify="right")
    names = (("generated", f"generated, step {report['step']}"), ("real", "real, of these maps"))
    for key, name in names:
        row = found[key]
        cells = (row["pixel_accuracy"], row["mean_iou"], row["mean_iou_present"])
        table.add_row(name, *(f"{cell:.1%}" for cell in cells))
    Console().print(table)


def write_picture(path: Path, examples: np.ndarray, maps: Maps) -> None:
    """Writes rows of label map, generated frame, what the segmenter sees in it, real frame.

    Of clips, the frame in the middle is shown.
    """
    num = len(maps.label_maps)
    # Evenly: neighbours are often of one video.
    shown = np.linspace(0, num - 1, min(_SHOWN, num)).round().astype(int)
    frames, real, given = examples[shown], maps.real[shown], maps.label_maps[shown]
    if frames.ndim == 5:
        middle = frames.shape[1] // 2
        frames, real = frames[:, middle], real[:, middle]
    columns = (colorize(given), frames, colorize(maps.judge(frames)), real)
    rows = np.stack(columns, axis=1).reshape(-1, *frames.shape[1:])
    media.write_png(path, media.tile_images(media.enlarge(rows), len(columns)))


def show(report: dict[str, Any], found: Scores, reference: Reference) -> None:
    """Prints the scores as a table; what images don't have is left out."""
    title = f"{report['num']} examples against the split {report['split']!r}"
    table = Table(title=title, caption="0 is equal; features of a fixed random network, no FID")
    for column in ("", "frames", "clips", "motion (grey levels a frame)"):
        table.add_column(column, justify="right")
    for name, row in (
        (f"generated, step {report['step']}", found),
        ("floor: real, another draw", reference.floor),
    ):
        table.add_row(name, *(_cell(value) for value in (row.frames, row.clips, row.motion)))
    Console().print(table)


def _cell(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}" if value < 10 else f"{value:.1f}"


def _folder(exp: Experiment, weights: Weights, args: argparse.Namespace) -> Path:
    """The data set: as asked for, or as the checkpoint was trained."""
    data = exp.config.data
    if args.data:
        return files.path(args.data)
    if not data.path and {"inflated", "converted"} & weights.meta.keys():
        raise ValueError(
            f"{args.checkpoint} was not trained by its config, which names no data set; give the "
            "folder of one as --data (`python -m vidgan_jax.prepare scenes` makes one)"
        )
    scenes = Scenes(data.num_scene_videos, data.num_scene_clips, data.resize)
    return data_folder(data.path, scenes, render=True)


def _check(args: argparse.Namespace) -> None:
    cli.check_sampling(args)
    scores.check_num(args.num)
    if args.segmenter_steps is not None and args.segmenter_steps < 1:
        raise ValueError(f"--segmenter-steps (={args.segmenter_steps}) must be at least 1")
    if args.json and files.path(args.json).is_dir():
        raise ValueError(f"--json {args.json} is a folder; give a file's name")


def _make_folders(exp: Experiment, args: argparse.Namespace) -> None:
    if args.out and not exp.config.model.num_labels:
        raise ValueError(
            f"--out {args.out} is for a picture of label maps, and {args.checkpoint} is not "
            "conditioned on any; leave it out"
        )
    if args.json:
        cli.output_folder("--json", files.path(args.json).parent)
    if args.out:
        cli.output_folder("--out", args.out)


def main(argv: Sequence[str] | None = None) -> int:
    """`python -m vidgan_jax.evaluate`."""
    parser = argparse.ArgumentParser(
        prog="python -m vidgan_jax.evaluate",
        description="Scores a checkpoint's generator against real examples.",
        allow_abbrev=False,
    )
    parser.add_argument("--checkpoint", required=True, help="a workdir, or one checkpoint in it")
    parser.add_argument("--data", default="", help="a data set (default: that of the training)")
    parser.add_argument("--split", default="", help="of it (default: that of the training)")
    parser.add_argument(
        "--num", type=int, default=512, help="generated, and as many real (default 512)"
    )
    parser.add_argument("--json", default="", metavar="FILE", help="write the scores there")
    parser.add_argument(
        "--out", default="", metavar="DIR", help="a picture of label maps and segmented frames"
    )
    parser.add_argument(
        "--segmenter-steps",
        type=int,
        metavar="N",
        help="train a judge of label maps on the data set for so many steps, kept for the next "
        f"time (default: the package's own for scenes, else one of {judge.NUM_STEPS} steps)",
    )
    cli.add_sampling(parser, seed_of="latents and real draws", batch_size=32)
    return cli.run(parser, evaluate, argv)


if __name__ == "__main__":
    sys.exit(main())

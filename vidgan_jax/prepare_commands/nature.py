"""`prepare nature`."""

import argparse
import dataclasses
import functools
import sys

from rich.console import Console
from rich.table import Table

from vidgan_jax.preparation import beam_stages
from vidgan_jax.preparation.dataset import OVERVIEW_NAME
from vidgan_jax.preparation.encoding import Encoding
from vidgan_jax.preparation.jobs import num_cores
from vidgan_jax.preparation.nature import accounts, recipe, run, suitability
from vidgan_jax.preparation.nature.cutting import ShotCutting
from vidgan_jax.preparation.nature.shots import DETECTORS, make_detector
from vidgan_jax.preparation.overview import whole
from vidgan_jax.preparation.stages import run_stages
from vidgan_jax.prepare_commands import cluster
from vidgan_jax.prepare_commands.common import (
    Commands,
    add_command,
    add_common,
    add_video_files,
    frames_of,
    layout_of,
    print_result,
    tell_skipped,
)

_NO_SEGMENTER = "none"
_SHOWN_REASONS = 3
_SEGMENTED_FRAMES = 5


def add(commands: "Commands[argparse.ArgumentParser]") -> None:
    """Adds the sub-command."""
    command = add_command(
        commands,
        "nature",
        _run,
        "cut videos into shots, and keep a clip with a label map of each that a fixed camera took",
    )
    cutting = ShotCutting()
    add_video_files(command)
    command.add_argument(
        "--segmenter",
        required=True,
        metavar="WEIGHTS",
        help="what makes the label maps: the folder that `convert segmenter` wrote, that of "
        "training configs/segmenter.py, 'scenes' for the embedded one, FILE.onnx, "
        f"python:PACKAGE.MODULE:FUNCTION, or {_NO_SEGMENTER!r}",
    )
    command.add_argument(
        "--segmented-frames",
        type=int,
        metavar="K",
        help="frames of a clip whose maps are compared, odd and at least 3; "
        f"{_SEGMENTED_FRAMES} if not given",
    )
    command.add_argument(
        "--segmenter-scales",
        type=_scales,
        metavar="N,N…",
        help="short sides, pixels, that a converted segmenter looks at frames in; all five "
        "published ones if not given; 300 alone is about ten times as fast",
    )
    command.add_argument(
        "--clip-seconds", type=float, default=3.0, metavar="S", help="length of a clip"
    )
    command.add_argument(
        "--detector",
        choices=DETECTORS,
        default=cutting.detector,
        help="what finds the shots; all but 'own' need the extra `shots`",
    )
    command.add_argument(
        "--margin",
        type=float,
        default=cutting.margin_s,
        metavar="S",
        help="seconds that are left out on each side of a boundary",
    )
    command.add_argument(
        "--limit",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help=f"of what is measured of a clip, 'none' for no limit; repeat for more. {_limits()}",
    )
    command.add_argument(
        "--until", choices=recipe.STAGES, default=recipe.SHARDS, help="the last stage to run"
    )
    command.add_argument(
        "--redo", choices=recipe.STAGES, help="make this stage and those after it again"
    )
    command.add_argument(
        "--discard-stages",
        action="store_true",
        help="remove what the stages made when the shards are written; it is about as large as "
        "they are, and makes changes of limits fast",
    )
    add_common(command)


def _limits() -> str:
    """Their defaults and units."""
    told = []
    for field in dataclasses.fields(suitability.Limits):
        what = "at least" if field.metadata["least"] else "at most"
        told.append(f"{field.name}={field.default:g} ({what}, {field.metadata['unit']})")
    return f"The defaults: {', '.join(told)}"


def _scales(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} are no pixels, as 300,375") from error


def _run(args: argparse.Namespace) -> int:
    cutting = ShotCutting(
        num_frames=frames_of(args.clip_seconds, args.fps),
        fps=args.fps,
        size=args.size,
        fit=args.fit,
        margin_s=args.margin,
        detector=args.detector,
        seed=args.seed,
        keep_damaged=args.keep_damaged,
    )
    nature = recipe.Nature(
        cutting,
        Encoding(args.format, args.quality),
        suitability.with_limits(suitability.Limits(), args.limit),
        _segmentation(args),
    )
    beam = cluster.beam_settings(args)
    make_detector(args.detector, args.fps)  # a package that is missing is told here
    preparation = recipe.Preparation(args.source, nature, args.out, workers=args.workers)
    tell_skipped(preparation.skipped)
    try:
        made = run.prepare_nature(
            preparation,
            layout=layout_of(args),
            until=args.until,
            redo=args.redo,
            workers=args.workers,
            overwrite=args.overwrite,
            progress=not args.quiet,
            run=run_stages if beam is None else functools.partial(beam_stages.run_stages, **beam),
            tell=_print_accounts,
        )
    except KeyboardInterrupt:
        print("stopped; repeat the same command to go on", file=sys.stderr)
        raise
    if made.accounts is not None:
        print(f"every shot and clip, and why it was dropped: {args.out}/*.csv")
    if made.accounts is not None and made.result is None:
        for error in made.accounts.errors.values():
            print(f"not used: {error}", file=sys.stderr)
    if made.result is not None:
        if not made.result.was_there:
            whole.write_overview(
                args.out, seed=args.seed, workers=num_cores(), progress=not args.quiet
            )
        print_result(made.result)
        print(f"browse it:   {args.out / OVERVIEW_NAME / whole.PAGE_NAME}")
        if args.discard_stages:
            run.discard_stages(preparation)
    failed = made.accounts is not None and made.accounts.errors
    return 1 if args.strict and failed else 0


def _segmentation(args: argparse.Namespace) -> recipe.Segmentation | None:
    given = {name: getattr(args, name) for name in ("segmented_frames", "segmenter_scales")}
    if args.segmenter == _NO_SEGMENTER:
        for name, value in given.items():
            if value is not None:
                raise ValueError(
                    f"--{name.replace('_', '-')} is of a --segmenter, and there is none"
                )
        return None
    # JAX is loaded in this process only, and only where it is needed.
    from vidgan_jax.segmentation import loading

    load = functools.partial(loading.load, scales=args.segmenter_scales)
    identity = load(args.segmenter).identity
    num = _SEGMENTED_FRAMES if args.segmented_frames is None else args.segmented_frames
    return recipe.Segmentation(load, args.segmenter, identity, num)


def _print_accounts(found: accounts.Accounts) -> None:
    table = Table()
    for name in ("stage", "in", "left", "of"):
        table.add_column(name, justify="left" if name in ("stage", "of") else "right")
    table.add_column("dropped for")
    for step in found.steps:
        reasons = [f"{why} {count:,}" for why, count in step.dropped.items() if count]
        more = [f"{len(reasons) - _SHOWN_REASONS} more"] if reasons[_SHOWN_REASONS:] else []
        shown = ", ".join(reasons[:_SHOWN_REASONS] + more)
        table.add_row(step.stage, f"{step.num_in:,}", f"{step.num_out:,}", step.what, shown)
    Console().print(table)

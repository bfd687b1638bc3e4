"""What the sub-commands of `prepare` share: flags, running a recipe, telling what was made."""

import argparse
import functools
import shlex
import sys
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import get_args

from rich.console import Console
from rich.table import Table

from vidgan_jax import files
from vidgan_jax.data import records
from vidgan_jax.data.frames import ImageFormat
from vidgan_jax.preparation import beam_stages, dataset, picture
from vidgan_jax.preparation.encoding import Encoding
from vidgan_jax.preparation.jobs import run_jobs
from vidgan_jax.prepare_commands import cluster

# What `add_subparsers` returns; argparse keeps its name to itself.
Commands = argparse._SubParsersAction
_SHOWN_PROBLEMS = 20
_FULL_SIZE = 128


class _HelpFormatter(argparse.ArgumentDefaultsHelpFormatter):
    """Shows defaults where there are any."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        if action.default is None or action.default is False:
            return action.help
        return super()._get_help_string(action)


def add_command(
    commands: "Commands[argparse.ArgumentParser]",
    name: str,
    run: Callable[[argparse.Namespace], int],
    text: str,
) -> argparse.ArgumentParser:
    """Adds a sub-command that calls `run`; `text` says what it does."""
    command = commands.add_parser(
        name,
        help=text,
        description=f"{text[0].upper()}{text[1:]}.",
        allow_abbrev=False,
        formatter_class=_HelpFormatter,
    )

    def with_paths(args: argparse.Namespace) -> int:
        cluster.resolve_paths(args)
        return run(args)

    command.set_defaults(run=with_paths)
    return command


def _disk(text: str) -> Path:
    """A folder on a disk: shards are written bit by bit, and their parts are read again."""
    try:
        files.refuse_remote(text, "prepare on one, and copy the finished data set to the bucket")
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
    return Path(text)


def add_common(
    command: argparse.ArgumentParser, *, size: int | None = 160, fps: float | None = 24.0
) -> None:
    """Adds the flags of all commands that make a data set.

    Args:
      command: that gets them.
      size: the default of --size; None for each video's own.
      fps: the default of --fps; likewise.
    """
    layout, encoding = dataset.Layout(), Encoding()
    command.add_argument("--out", type=_disk, required=True, metavar="DIR", help="the data set")
    command.add_argument(
        "--fps",
        type=frame_rate,
        default=fps,
        metavar="R",
        help="frames a second, as 24 or 30000/1001"
        + ("; those of each video if not given" if fps is None else ""),
    )
    command.add_argument(
        "--size",
        type=int,
        default=size,
        metavar="N",
        help="height and width, pixels"
        + ("; each video's shorter side if not given" if size is None else ""),
    )
    command.add_argument(
        "--format",
        choices=get_args(ImageFormat),
        default=encoding.image_format,
        help="how frames are stored; png is lossless and about five times as large",
    )
    command.add_argument(
        "--quality", type=int, default=encoding.quality, metavar="N", help="of JPEG, 1 to 100"
    )
    split = command.add_mutually_exclusive_group()
    split.add_argument(
        "--validation-fraction",
        type=float,
        default=layout.validation_fraction,
        metavar="F",
        help="share of the videos kept for validation",
    )
    split.add_argument(
        "--validation-list",
        type=Path,
        metavar="FILE",
        help="names of the videos kept for validation, a line each, instead of a share",
    )
    command.add_argument(
        "--seed", type=int, default=layout.seed, metavar="N", help="of all that is drawn by lot"
    )
    command.add_argument(
        "--clips-per-shard", type=int, default=layout.clips_per_shard, metavar="N", help="at most"
    )
    command.add_argument(
        "--workers", type=int, metavar="N", help="processes; one a core if not given, 0 for none"
    )
    cluster.add_beam(command)
    command.add_argument(
        "--overwrite", action="store_true", help="replace a data set that was made differently"
    )
    command.add_argument("--quiet", action="store_true", help="no progress report")


def frame_rate(text: str) -> float:
    """Reads a frame rate, such as 24 or 30000/1001."""
    try:
        return float(Fraction(text))
    except (ValueError, ZeroDivisionError) as error:
        raise argparse.ArgumentTypeError(f"{text!r} is no frame rate, as 24 or 30000/1001") from (
            error
        )


def frames_of(clip_seconds: float, fps: float) -> int:
    """Frames of a clip of that length.

    Raises:
      ValueError: the rate is out of range, or a clip has not one frame.
    """
    if not 0 < fps <= 1000:
        raise ValueError(f"--fps (={fps:g}) must be above 0 and at most 1000")
    if not clip_seconds * fps >= 1:
        raise ValueError(
            f"--clip-seconds (={clip_seconds:g}) must be at least one frame, {1 / fps:.3g} s at "
            f"{fps:g} frames a second"
        )
    return round(clip_seconds * fps)


def add_video_files(command: argparse.ArgumentParser) -> None:
    """Adds the flags of all commands that cut video files."""
    command.add_argument(
        "--source",
        nargs="+",
        required=True,
        metavar="PATH",
        help="video files, and folders that are searched with their sub-folders",
    )
    add_fit(command)
    command.add_argument(
        "--keep-damaged",
        action="store_true",
        help="take clips from the sound parts of damaged and truncated files",
    )
    command.add_argument(
        "--strict", action="store_true", help="exit with 1 if any file could not be used"
    )


def add_fit(command: argparse.ArgumentParser) -> None:
    """Adds --fit."""
    command.add_argument(
        "--fit",
        choices=picture.FITS,
        default=picture.FITS[0],
        help="crop: the square in the middle; stretch: the whole picture squeezed into a square",
    )


def add_dont_care(command: argparse.ArgumentParser) -> None:
    """Adds --dont-care."""
    command.add_argument(
        "--dont-care", type=int, metavar="ID", help="id of pixels of no class, beside 255"
    )


def layout_of(args: argparse.Namespace) -> dataset.Layout:
    """How the flags of `add_common` deal clips to splits and shards.

    Raises:
      ValueError: a value is out of range, or the list of videos can't be read.
    """
    listed = None if args.validation_list is None else dataset.read_list(args.validation_list)
    return dataset.Layout(args.validation_fraction, args.seed, args.clips_per_shard, listed)


def prepare(
    args: argparse.Namespace, recipe: dataset.Recipe, *, kind: str = "videos"
) -> dataset.Result:
    """Makes a recipe's data set by the flags of `add_common`, and tells what was made.

    Args:
      args: the flags.
      recipe: what is made.
      kind: of files that it is made of.
    """
    layout, beam = layout_of(args), cluster.beam_settings(args)
    tell_skipped(recipe.skipped, kind)
    try:
        result = dataset.prepare(
            recipe,
            args.out,
            layout=layout,
            workers=args.workers,
            overwrite=args.overwrite,
            progress=not args.quiet,
            execute=run_jobs if beam is None else functools.partial(beam_stages.run_jobs, **beam),
        )
    except KeyboardInterrupt:
        print("stopped; repeat the same command to go on", file=sys.stderr)
        raise
    for note in recipe.notes:
        print(f"note: {note}", file=sys.stderr)
    print_result(result)
    return result


def tell_skipped(skipped: Sequence[tuple[str, str]], kind: str = "videos") -> None:
    """Says what was found and not taken; `kind` is what was."""
    if skipped:
        print(f"left out {len(skipped)} files that are no {kind}: {_few(skipped)}")


def _few(skipped: Sequence[tuple[str, str]]) -> str:
    more = f" and {len(skipped) - 3} more" if skipped[3:] else ""
    return ", ".join(Path(name).name for name, _ in skipped[:3]) + more


def print_result(result: dataset.Result) -> None:
    """Prints what was made, what could not be used, and what to do next."""
    problems = [f"not used: {outcome.error}" for outcome in result.failed]
    problems += [f"note: {note}" for outcome in result.outcomes for note in outcome.notes]
    for problem in problems[:_SHOWN_PROBLEMS]:
        print(problem, file=sys.stderr)
    if problems[_SHOWN_PROBLEMS:]:
        print(f"… and {len(problems) - _SHOWN_PROBLEMS} more", file=sys.stderr)
    if problems:
        print(f"all of them: {result.out / dataset.REPORT_NAME}", file=sys.stderr)
    print_table(result.info)
    if result.was_there:
        again = "; --overwrite tries again" if result.failed else ""
        print(f"{result.out} holds this data set already, nothing was to be done{again}")
    else:
        print(f"written to {result.out} in {result.seconds:.1f} s")
    if (result.out / dataset.PREVIEW_NAME).exists():
        print(f"look at it:  {result.out / dataset.PREVIEW_NAME}")
    out = shlex.quote(str(result.out))
    # The full recipe crops 128×128; enlarging small frames for it would waste the work.
    variant = ":smoke" if (result.info.height or 0) < _FULL_SIZE else ""
    print(
        f"train on it: python -m vidgan_jax.main --config=configs/resnet2d.py{variant} "
        f"--config.data.path={out}"
    )
    if any(split.num_label_maps for split in result.info.splits.values()):
        print(
            f"on its maps: python -m vidgan_jax.main --config=configs/spade2d.py{variant} "
            f"--config.data.path={out}"
        )


def print_table(info: records.DatasetInfo) -> None:
    """Prints a data set's splits, sizes and rate."""
    table = Table()
    table.add_column("split")
    for name in ("videos", "clips", "frames", "shards", "MB"):
        table.add_column(name, justify="right")
    for name, split in info.splits.items():
        size = sum(shard.num_bytes for shard in split.shards)
        counts = (split.num_videos, split.num_clips, split.num_frames, split.num_shards)
        table.add_row(name, *(f"{count:,}" for count in counts), f"{size / 1e6:,.1f}")
    Console().print(table)
    fps = "various" if info.fps is None else f"{info.fps:g}"
    print(f"{info.width}×{info.height} pixels, {fps} frames/s, {info.image_format}")
    if num_maps := sum(split.num_label_maps for split in info.splits.values()):
        print(f"label maps of {num_maps:,} clips, with {len(info.label_ids)} classes in them")

"""Makes data sets: `python -m vidgan_jax.prepare scenes|videos|index|check --help`.

    scenes   draws procedural nature clips with label maps
    videos   cuts video files into clips
    index    rebuilds the indexes and info.json of a data set
    check    reads a whole data set and tells what is damaged, or labelled with unknown ids

Exit status: 0 done (videos that could not be used are reported, and cost only themselves), 1
`check` found damage or `videos --strict` a bad file, 2 nothing was done, and why is said on stderr,
130 stopped by Ctrl-C.
"""

import argparse
import shlex
import sys
import time
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import get_args

from rich.console import Console
from rich.table import Table

from vidgan_jax import cli
from vidgan_jax.data import records
from vidgan_jax.data.frames import ImageFormat
from vidgan_jax.data.labels import check_num_labels
from vidgan_jax.preparation import dataset, drawn, footage, picture, scenes, videos
from vidgan_jax.preparation.encoding import Encoding

_SHOWN_PROBLEMS = 20
_FULL_SIZE = 128


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns the exit status."""
    return cli.run(_parser(), lambda args: int(args.run(args)), argv)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m vidgan_jax.prepare",
        description="Makes data sets of clips (TFRecord shards) to train on.",
        allow_abbrev=False,
    )
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    _add_scenes(commands)
    _add_videos(commands)
    for name, run, text in (
        ("index", _index, "rebuild the indexes and info.json of a data set"),
        ("check", _check, "read a whole data set and tell what is damaged"),
    ):
        command = _add_command(commands, name, run, text)
        command.add_argument("directory", metavar="DIR", type=Path, help="the data set's folder")
    # Of the last one, "check".
    command.add_argument(
        "--num-labels", type=int, metavar="N", help="classes that its label maps may have"
    )
    _add_dont_care(command)
    return parser


class _HelpFormatter(argparse.ArgumentDefaultsHelpFormatter):
    """Shows defaults where there are any."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        if action.default is None or action.default is False:
            return action.help
        return super()._get_help_string(action)


def _add_command(
    commands: "argparse._SubParsersAction[argparse.ArgumentParser]",
    name: str,
    run: Callable[[argparse.Namespace], int],
    text: str,
) -> argparse.ArgumentParser:
    command = commands.add_parser(
        name,
        help=text,
        description=f"{text[0].upper()}{text[1:]}.",
        allow_abbrev=False,
        formatter_class=_HelpFormatter,
    )
    command.set_defaults(run=run)
    return command


def _add_scenes(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    command = _add_command(
        commands, "scenes", _scenes, "draw procedural nature clips with label maps"
    )
    defaults = scenes.SceneSettings(num_videos=1)
    command.add_argument("--num-videos", type=int, required=True, metavar="N", help="scenes")
    command.add_argument(
        "--clips-per-video",
        type=int,
        default=defaults.clips_per_video,
        metavar="N",
        help="moments of each scene",
    )
    command.add_argument(
        "--num-frames", type=int, default=defaults.num_frames, metavar="N", help="frames in a clip"
    )
    command.add_argument(
        "--supersampling",
        type=int,
        default=defaults.supersampling,
        metavar="N",
        help="samples a pixel is drawn with, each way",
    )
    _add_common(command)


def _add_videos(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    command = _add_command(commands, "videos", _videos, "cut video files into clips")
    defaults = videos.Cutting()
    command.add_argument(
        "--source",
        nargs="+",
        required=True,
        metavar="PATH",
        help="video files, and folders that are searched with their sub-folders",
    )
    length = command.add_mutually_exclusive_group()
    length.add_argument(
        "--num-frames", type=int, default=defaults.num_frames, metavar="N", help="frames in a clip"
    )
    length.add_argument(
        "--clip-seconds", type=float, metavar="S", help="length of a clip, instead of --num-frames"
    )
    command.add_argument(
        "--every",
        type=float,
        metavar="S",
        help="seconds from the start of a clip to the start of the next; a clip's length if not "
        "given",
    )
    command.add_argument(
        "--max-clips-per-video",
        type=int,
        metavar="N",
        help="most clips of one video, spread evenly over it",
    )
    command.add_argument(
        "--fit",
        choices=picture.FITS,
        default=defaults.fit,
        help="crop: the square in the middle; stretch: the whole picture squeezed into a square",
    )
    command.add_argument(
        "--keep-damaged",
        action="store_true",
        help="take clips from the sound parts of damaged and truncated files",
    )
    command.add_argument(
        "--strict", action="store_true", help="exit with 1 if any file could not be used"
    )
    _add_label_maps(command)
    _add_common(command)


def _add_label_maps(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--label-maps",
        type=Path,
        metavar="DIR",
        help="folder of label maps that hold for whole videos, NAME.png for NAME.mp4: class ids, "
        "or painted in ADE20K's colours",
    )
    command.add_argument(
        "--num-labels",
        type=int,
        metavar="N",
        help=f"classes of --label-maps; {drawn.LabelSettings().num_labels} if not given",
    )
    _add_dont_care(command)
    command.add_argument(
        "--nearest-colours",
        action="store_const",
        const=True,
        help="colours in --label-maps that are no class's count as the nearest class's",
    )


def _add_dont_care(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--dont-care", type=int, metavar="ID", help="id of pixels of no class, beside 255"
    )


def _add_common(command: argparse.ArgumentParser) -> None:
    layout, encoding = dataset.Layout(), Encoding()
    command.add_argument("--out", type=Path, required=True, metavar="DIR", help="the data set")
    command.add_argument(
        "--fps", type=_rate, default=24.0, metavar="R", help="frames a second, as 24 or 30000/1001"
    )
    command.add_argument(
        "--size", type=int, default=160, metavar="N", help="height and width, pixels"
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
    command.add_argument(
        "--validation-fraction",
        type=float,
        default=layout.validation_fraction,
        metavar="F",
        help="share of the videos kept for validation",
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
    command.add_argument(
        "--overwrite", action="store_true", help="replace a data set that was made differently"
    )
    command.add_argument("--quiet", action="store_true", help="no progress report")


def _rate(text: str) -> float:
    try:
        return float(Fraction(text))
    except (ValueError, ZeroDivisionError) as error:
        raise argparse.ArgumentTypeError(f"{text!r} is no frame rate, as 24 or 30000/1001") from (
            error
        )


def _scenes(args: argparse.Namespace) -> int:
    settings = scenes.SceneSettings(
        num_videos=args.num_videos,
        clips_per_video=args.clips_per_video,
        num_frames=args.num_frames,
        size=args.size,
        fps=args.fps,
        seed=args.seed,
        supersampling=args.supersampling,
    )
    _prepare(args, scenes.scenes_recipe(settings, Encoding(args.format, args.quality)))
    return 0


def _videos(args: argparse.Namespace) -> int:
    num_frames = args.num_frames
    if args.clip_seconds is not None:
        num_frames = round(args.clip_seconds * args.fps)
    cutting = videos.Cutting(
        num_frames=num_frames,
        fps=args.fps,
        size=args.size,
        fit=args.fit,
        every_s=args.every,
        max_clips=args.max_clips_per_video,
        keep_damaged=args.keep_damaged,
    )
    recipe = footage.videos_recipe(
        args.source,
        cutting,
        Encoding(args.format, args.quality),
        workers=args.workers,
        leave_out=args.out,
        label_maps=args.label_maps,
        labels=_label_settings(args),
    )
    result = _prepare(args, recipe)
    return 1 if args.strict and result.failed else 0


def _label_settings(args: argparse.Namespace) -> drawn.LabelSettings:
    fields = ("num_labels", "dont_care", "nearest_colours")
    given = {name: value for name in fields if (value := getattr(args, name)) is not None}
    if given and args.label_maps is None:
        flag = next(iter(given)).replace("_", "-")
        raise ValueError(f"--{flag} is of --label-maps DIR; give that, too")
    return drawn.LabelSettings(**given)


def _prepare(args: argparse.Namespace, recipe: dataset.Recipe) -> dataset.Result:
    layout = dataset.Layout(args.validation_fraction, args.seed, args.clips_per_shard)
    if recipe.skipped:
        print(f"left out {len(recipe.skipped)} files that are no videos: {_few(recipe.skipped)}")
    try:
        result = dataset.prepare(
            recipe,
            args.out,
            layout=layout,
            workers=args.workers,
            overwrite=args.overwrite,
            progress=not args.quiet,
        )
    except KeyboardInterrupt:
        print("stopped; repeat the same command to go on", file=sys.stderr)
        raise
    for note in recipe.notes:
        print(f"note: {note}", file=sys.stderr)
    _print_result(result)
    return result


def _few(skipped: Sequence[tuple[str, str]]) -> str:
    more = f" and {len(skipped) - 3} more" if skipped[3:] else ""
    return ", ".join(Path(name).name for name, _ in skipped[:3]) + more


def _print_result(result: dataset.Result) -> None:
    problems = [f"not used: {outcome.error}" for outcome in result.failed]
    problems += [f"note: {note}" for outcome in result.outcomes for note in outcome.notes]
    for problem in problems[:_SHOWN_PROBLEMS]:
        print(problem, file=sys.stderr)
    if problems[_SHOWN_PROBLEMS:]:
        print(f"… and {len(problems) - _SHOWN_PROBLEMS} more", file=sys.stderr)
    if problems:
        print(f"all of them: {result.out / dataset.REPORT_NAME}", file=sys.stderr)
    _print_table(result.info)
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


def _print_table(info: records.DatasetInfo) -> None:
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


def _index(args: argparse.Namespace) -> int:
    _print_table(records.rebuild(args.directory))
    print(f"rebuilt the indexes and info.json of {args.directory}")
    return 0


def _check(args: argparse.Namespace) -> int:
    known = {n: v for n in ("num_labels", "dont_care") if (v := getattr(args, n)) is not None}
    if "num_labels" in known:
        check_num_labels(args.num_labels)
    elif known:
        raise ValueError("--dont-care is of --num-labels N; give that, too")
    started = time.monotonic()
    _print_table(records.load_info(args.directory))
    report = records.verify(args.directory, **known)
    seconds = time.monotonic() - started
    for problem in report.problems:
        print(f"bad: {problem}", file=sys.stderr)
    print(
        f"read {report.num_clips} clips in {report.num_shards} shards "
        f"({report.num_bytes / 1e6:,.1f} MB) in {seconds:.1f} s: "
        + ("all sound" if report.ok else f"{len(report.problems)} problems")
    )
    if not report.ok:
        print(
            "indexes are rebuilt by `prepare index`; for damaged records, put the shard back, or "
            "prepare again with --overwrite",
            file=sys.stderr,
        )
    return 0 if report.ok else 1


if __name__ == "__main__":
    sys.exit(main())

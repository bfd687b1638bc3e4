"""`prepare videos`."""

import argparse
from pathlib import Path

from vidgan_jax.preparation import drawn, footage, videos
from vidgan_jax.preparation.encoding import Encoding
from vidgan_jax.prepare_commands.common import (
    Commands,
    add_command,
    add_common,
    add_dont_care,
    add_video_files,
    frames_of,
    prepare,
)


def add(commands: "Commands[argparse.ArgumentParser]") -> None:
    """Adds the sub-command."""
    command = add_command(commands, "videos", _videos, "cut video files into clips")
    defaults = videos.Cutting()
    add_video_files(command)
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
    _add_label_maps(command)
    add_common(command)


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
    add_dont_care(command)
    command.add_argument(
        "--nearest-colours",
        action="store_const",
        const=True,
        help="colours in --label-maps that are no class's count as the nearest class's",
    )


def _videos(args: argparse.Namespace) -> int:
    num_frames = args.num_frames
    if args.clip_seconds is not None:
        num_frames = frames_of(args.clip_seconds, args.fps)
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
    result = prepare(args, recipe)
    return 1 if args.strict and result.failed else 0


def _label_settings(args: argparse.Namespace) -> drawn.LabelSettings:
    fields = ("num_labels", "dont_care", "nearest_colours")
    given = {name: value for name in fields if (value := getattr(args, name)) is not None}
    if given and args.label_maps is None:
        flag = next(iter(given)).replace("_", "-")
        raise ValueError(f"--{flag} is of --label-maps DIR; give that, too")
    return drawn.LabelSettings(**given)

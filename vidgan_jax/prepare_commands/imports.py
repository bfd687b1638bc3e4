"""`prepare import`."""

import argparse

from vidgan_jax.data.labels import DONT_CARE
from vidgan_jax.preparation import imported
from vidgan_jax.preparation.drawn import LabelSettings
from vidgan_jax.preparation.encoding import Encoding
from vidgan_jax.prepare_commands.common import (
    Commands,
    add_command,
    add_common,
    add_dont_care,
    add_fit,
    prepare,
)


def add(commands: "Commands[argparse.ArgumentParser]") -> None:
    """Adds the sub-command."""
    command = add_command(
        commands, "import", _import, "take over clips and label maps from tar archives and folders"
    )
    defaults, labels = imported.Importing(), LabelSettings()
    command.add_argument(
        "--source",
        nargs="+",
        required=True,
        metavar="PATH",
        help="tar archives as of WebDataset, and folders of videos: each NAME.mp4 (or .webm, .gif "
        "…) is a clip, NAME.png or NAME.seg.png its label map, and NAME.json may give its fps and "
        "video_id",
    )
    command.add_argument(
        "--max-frames",
        type=int,
        default=defaults.max_frames,
        metavar="N",
        help="most frames of a clip; of longer videos the first are taken",
    )
    add_fit(command)
    command.add_argument(
        "--video-id-pattern",
        metavar="REGEX",
        help="found in a sample's name, its first group (or all of it) names the video that the "
        "clip is of; clips of one video stay in one split. Each is its own video if not given",
    )
    command.add_argument(
        "--keep-damaged",
        action="store_true",
        help="take damaged and truncated videos up to where they are damaged",
    )
    command.add_argument(
        "--no-label-maps", action="store_true", help="leave PNGs beside the videos alone"
    )
    command.add_argument(
        "--num-labels",
        type=int,
        default=labels.num_labels,
        metavar="N",
        help="classes of the label maps",
    )
    add_dont_care(command)
    command.add_argument(
        "--nearest-colours",
        action="store_true",
        help="colours in label maps that are no class's count as the nearest class's",
    )
    command.add_argument(
        "--strict", action="store_true", help="exit with 1 if not everything could be used"
    )
    add_common(command, size=None, fps=None)


def _import(args: argparse.Namespace) -> int:
    dont_care = DONT_CARE if args.dont_care is None else args.dont_care
    importing = imported.Importing(
        max_frames=args.max_frames,
        fps=args.fps,
        size=args.size,
        fit=args.fit,
        keep_damaged=args.keep_damaged,
        label_maps=not args.no_label_maps,
        labels=LabelSettings(args.num_labels, dont_care, args.nearest_colours),
        video_id_pattern=args.video_id_pattern,
    )
    recipe = imported.import_recipe(
        args.source,
        importing,
        Encoding(args.format, args.quality),
        workers=args.workers,
        leave_out=args.out,
    )
    result = prepare(args, recipe, kind="videos or archives")
    return 1 if args.strict and any(o.error or o.notes for o in result.outcomes) else 0

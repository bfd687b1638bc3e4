"""`prepare trains`."""

import argparse
from pathlib import Path

from vidgan_jax.preparation import trains
from vidgan_jax.preparation.encoding import Encoding
from vidgan_jax.preparation.panning import Panning
from vidgan_jax.prepare_commands.common import Commands, add_command, add_common, prepare


def add(commands: "Commands[argparse.ArgumentParser]") -> None:
    """Adds the sub-command."""
    command = add_command(
        commands, "trains", _trains, "zoom into images, as LSUN's trains, and pan over them"
    )
    defaults = Panning()
    command.add_argument(
        "--source",
        type=Path,
        required=True,
        metavar="PATH",
        help="the folder that holds LSUN's data.mdb (or that file), or a folder of images, which "
        "is searched with its sub-folders",
    )
    command.add_argument(
        "--num-clips",
        type=int,
        default=trains.NUM_CLIPS,
        metavar="N",
        help="most clips; of more images than needed some are chosen by lot",
    )
    command.add_argument(
        "--clips-per-image", type=int, default=1, metavar="N", help="clips of each image"
    )
    command.add_argument(
        "--num-frames", type=int, default=defaults.num_frames, metavar="N", help="frames in a clip"
    )
    command.add_argument(
        "--zoom",
        type=float,
        nargs=2,
        default=defaults.zoom,
        metavar=("LEAST", "MOST"),
        help="an image's shorter side over that of the square which is seen of it",
    )
    command.add_argument(
        "--speed",
        type=float,
        nargs=2,
        default=defaults.speed,
        metavar=("LEAST", "MOST"),
        help="of the pan, pixels of the clip a frame",
    )
    add_common(command, size=defaults.size, fps=defaults.fps)


def _trains(args: argparse.Namespace) -> int:
    panning = Panning(
        num_frames=args.num_frames,
        size=args.size,
        fps=args.fps,
        zoom=tuple(args.zoom),
        speed=tuple(args.speed),
        seed=args.seed,
    )
    recipe = trains.trains_recipe(
        args.source,
        panning,
        Encoding(args.format, args.quality),
        num_clips=args.num_clips,
        clips_per_image=args.clips_per_image,
        leave_out=args.out,
    )
    prepare(args, recipe, kind="pictures")
    return 0

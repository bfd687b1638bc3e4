"""`prepare scenes`."""

import argparse

from vidgan_jax.preparation import scenes
from vidgan_jax.preparation.encoding import Encoding
from vidgan_jax.prepare_commands.common import Commands, add_command, add_common, prepare


def add(commands: "Commands[argparse.ArgumentParser]") -> None:
    """Adds the sub-command."""
    command = add_command(
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
    add_common(command)


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
    prepare(args, scenes.scenes_recipe(settings, Encoding(args.format, args.quality)))
    return 0

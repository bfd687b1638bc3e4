"""Makes data sets: `python -m vidgan_jax.prepare COMMAND --help`.

    scenes   draws procedural nature clips with label maps
    videos   cuts video files into clips
    nature   finds the shots of videos, and keeps a clip with a label map of each that is suitable
    trains   zooms into images and pans over them
    import   takes over clips from tar archives and folders
    index    rebuilds the indexes and info.json of a data set
    check    reads a whole data set and lists all that is wrong
    stats    counts what is in a data set: clips, measures, label frequency; contact sheets
    browse   makes one HTML file to look through a data set

Exit status: 0 done (videos that could not be used are reported, and cost only themselves), 1
`check` or `stats` found damage, or --strict a bad file, 2 nothing was done, and why is said on
stderr, 130 stopped by Ctrl-C.
"""

import argparse
import sys
from collections.abc import Sequence

from vidgan_jax import cli
from vidgan_jax.prepare_commands import datasets, imports, nature, scenes, trains, videos

_COMMANDS = (scenes, videos, nature, trains, imports, datasets)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m vidgan_jax.prepare",
        description="Makes data sets of clips (TFRecord shards) to train on.",
        allow_abbrev=False,
    )
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    for command in _COMMANDS:
        command.add(commands)
    return cli.run(parser, lambda args: int(args.run(args)), argv)


if __name__ == "__main__":
    sys.exit(main())

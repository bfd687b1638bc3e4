"""The flag --beam of the commands that make data sets: over a cluster instead of one machine."""

import argparse
import os
import shlex
from pathlib import Path
from typing import Any

# Flags with files and folders that workers must see.
_SHARED = ("out", "source", "segmenter")
# Of segmenters that are no folders.
_NAMES = ("none", "scenes")


def add_beam(command: argparse.ArgumentParser) -> None:
    """Adds --beam."""
    command.add_argument(
        "--beam",
        metavar="OPTIONS",
        help="work over a cluster by Apache Beam (extra `beam`), whose runner has these options: "
        '--beam="--runner=FlinkRunner --flink_master=HOST:PORT"; all paths must be on a file '
        "system that the workers share",
    )


def resolve_paths(args: argparse.Namespace) -> None:
    """With --beam, makes the paths among the flags absolute, for workers start elsewhere."""
    if getattr(args, "beam", None) is None:
        return
    for name in _SHARED:
        value = getattr(args, name, None)
        if isinstance(value, list):
            setattr(args, name, [os.path.abspath(path) for path in value])
        elif isinstance(value, Path):
            setattr(args, name, value.absolute())
        elif isinstance(value, str) and value not in _NAMES and os.path.exists(value):
            setattr(args, name, os.path.abspath(value))


def beam_settings(args: argparse.Namespace) -> dict[str, Any] | None:
    """What the functions of `beam_stages` take beyond those of one machine; None without --beam.

    Raises:
      ValueError: --workers is given too, or the options are no shell words.
    """
    if args.beam is None:
        return None
    if args.workers is not None:
        raise ValueError(
            f"--workers (={args.workers}) is of one machine; with --beam, the runner's options say "
            "how many there are"
        )
    try:
        options = shlex.split(args.beam)
    except ValueError as error:
        raise ValueError(f"--beam {args.beam!r}: {error}") from error
    shared = [getattr(args, name, None) for name in _SHARED if name != "out"]
    if not options:
        raise ValueError("--beam (='') must be a runner's options, as in \"--runner=DirectRunner\"")
    sources = [path for value in shared for path in (value if isinstance(value, list) else [value])]
    found = [Path(path) for path in sources if path is not None and os.path.isabs(path)]
    return {"options": options, "sources": found}

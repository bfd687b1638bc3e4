"""What the verbs share on the command line: the config arguments, and errors in one line."""

import argparse
import contextlib
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from vidgan_jax import files

_ECHOES = ("Event loop is closed", "Encountered error while reading array index")
_NUM_SEEDS = 2**32  # JAX's keys take no more bits


def add_config(parser: argparse.ArgumentParser) -> None:
    """Adds `--config FILE.py[:VARIANT]`; `--config.SECTION.FIELD=VALUE` go to `args.overrides`."""
    parser.add_argument(
        "--config",
        required=True,
        help="FILE.py or FILE.py:VARIANT; set a field by --config.SECTION.FIELD=VALUE",
    )


def add_sampling(parser: argparse.ArgumentParser, *, seed_of: str, batch_size: int) -> None:
    """Adds `--seed`, `--batch-size` and `--ema` of verbs that run a generator."""
    parser.add_argument("--seed", type=int, default=0, help=f"of {seed_of} (default 0)")
    parser.add_argument(
        "--batch-size", type=int, default=batch_size, help=f"at once (default {batch_size})"
    )
    parser.add_argument(
        "--ema",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="the averaged generator (default), or the last one",
    )


def check_sampling(args: argparse.Namespace) -> None:
    """Refuses what `add_sampling`'s arguments, and `--num`, can't be.

    Raises:
      ValueError: the argument and its range.
    """
    if args.num < 1:
        raise ValueError(f"--num (={args.num}) must be at least 1")
    check_seed_and_batch(args)


def check_seed_and_batch(args: argparse.Namespace) -> None:
    """Refuses what `add_sampling`'s arguments can't be.

    Raises:
      ValueError: the argument and its range.
    """
    if args.batch_size < 1:
        raise ValueError(f"--batch-size (={args.batch_size}) must be at least 1")
    if not 0 <= args.seed < _NUM_SEEDS:
        raise ValueError(f"--seed (={args.seed}) must be from 0 to {_NUM_SEEDS - 1}")


def output_folder(flag: str, path: str | Path) -> Path:
    """Makes a folder for results, before the work that they take.

    Raises:
      ValueError: it can't be made, or nothing can be written there.
    """
    folder = files.path(path)
    try:
        files.check_writable(folder)
    except OSError as error:
        raise ValueError(
            f"{flag} {folder}: nothing can be written there ({error.strerror or error}); give "
            "another folder"
        ) from error
    return folder


def run(
    parser: argparse.ArgumentParser,
    command: Callable[[argparse.Namespace], int],
    argv: Sequence[str] | None,
) -> int:
    """Parses, runs the command and returns its exit status.

    A caller's mistake (`ValueError`, `OSError`), training that diverged (`FloatingPointError`) and
    a device's memory that does not do become one `error:` line on stderr and status 2; anything
    else is a defect and keeps its traceback. Ctrl-C gives status 130.
    """
    args, rest = parser.parse_known_args(argv)
    overrides = [a for a in rest if a.startswith("--config.") and hasattr(args, "config")]
    if strange := [a for a in rest if a not in overrides]:
        hint = "; set a field by --config.SECTION.FIELD=VALUE" if overrides else ""
        parser.error(f"unknown argument {strange[0]}{hint}")
    args.overrides = overrides
    try:
        with _echoes_dropped():
            return command(args)
    except (Exception, KeyboardInterrupt) as error:
        if (words := told(error)) is None:
            raise
        line, status = words
        print(line, file=sys.stderr)
        return status


def told(error: BaseException) -> tuple[str, int] | None:
    """The words for an error, and the exit status; None for a defect."""
    match error:
        case ValueError() | OSError() | FloatingPointError():
            return f"error: {_in_few_lines(error)}", 2
        case RuntimeError() if "RESOURCE_EXHAUSTED" in str(error):  # XLA's word for it
            way_out = "use a smaller batch, or smaller networks"
            return f"error: out of memory: {_in_few_lines(error)}; {way_out}", 2
        case KeyboardInterrupt():
            return "interrupted", 130
    return None


@contextlib.contextmanager
def _echoes_dropped() -> Iterator[None]:
    """Drops what Orbax's hundreds of writers and readers say after the first one's error."""
    before = sys.unraisablehook

    def hook(unraisable: "sys.UnraisableHookArgs") -> None:
        if not str(unraisable.exc_value).startswith(_ECHOES):
            before(unraisable)

    sys.unraisablehook = hook
    try:
        yield
    finally:
        sys.unraisablehook = before


def _in_few_lines(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    # The lines of a list stay lines.
    return "\n  ".join(" ".join(line.split()) for line in str(error).split("\n  "))

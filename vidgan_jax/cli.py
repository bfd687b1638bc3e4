"""What the verbs share on the command line: the config arguments, and errors in one line."""

import argparse
import sys
from collections.abc import Callable, Sequence


def add_config(parser: argparse.ArgumentParser) -> None:
    """Adds `--config FILE.py[:VARIANT]`; `--config.SECTION.FIELD=VALUE` go to `args.overrides`."""
    parser.add_argument(
        "--config",
        required=True,
        help="FILE.py or FILE.py:VARIANT; set a field by --config.SECTION.FIELD=VALUE",
    )


def run(
    parser: argparse.ArgumentParser,
    command: Callable[[argparse.Namespace], int],
    argv: Sequence[str] | None,
) -> int:
    """Parses, runs the command and returns its exit status.

    A caller's mistake (`ValueError`, `OSError`) becomes one `error:` line on stderr and status 2;
    anything else is a defect and keeps its traceback. Ctrl-C gives status 130.
    """
    args, rest = parser.parse_known_args(argv)
    overrides = [a for a in rest if a.startswith("--config.") and hasattr(args, "config")]
    if strange := [a for a in rest if a not in overrides]:
        parser.error(f"unknown argument {strange[0]}")
    args.overrides = overrides
    try:
        return command(args)
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130

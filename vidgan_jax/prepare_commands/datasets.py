"""`prepare index`, `check`, `stats` and `browse`: of data sets that are there."""

import argparse
import dataclasses
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from vidgan_jax import cli, files
from vidgan_jax.data import records
from vidgan_jax.data.labels import check_num_labels
from vidgan_jax.preparation.dataset import OVERVIEW_NAME
from vidgan_jax.preparation.jobs import num_cores
from vidgan_jax.preparation.overview import page, statistics, whole
from vidgan_jax.preparation.overview.whole import PAGE_NAME
from vidgan_jax.prepare_commands.common import Commands, add_command, add_dont_care, print_table

_SHOWN_CLASSES = 20


def add(commands: "Commands[argparse.ArgumentParser]") -> None:
    """Adds the sub-commands."""
    _add(commands, "index", _index, "rebuild the indexes and info.json of a data set")
    check = _add(commands, "check", _check, "read a whole data set and list all that is wrong")
    check.add_argument(
        "--num-labels", type=int, metavar="N", help="classes that its label maps may have"
    )
    add_dont_care(check)
    check.add_argument(
        "--json", type=Path, metavar="FILE", help="write faults and statistics to this file, too"
    )
    _add_running(check)
    _add_stats(commands)
    _add_browse(commands)


def _add_stats(commands: "Commands[argparse.ArgumentParser]") -> None:
    command = _add(
        commands, "stats", _stats, "count what is in a data set, and make contact sheets of it"
    )
    command.add_argument(
        "--out", type=Path, metavar="DIR2", help=f"for the files; DIR/{OVERVIEW_NAME} if not given"
    )
    command.add_argument("--json", action="store_true", help="print JSON instead of tables")
    _add_seed(command)
    _add_running(command)


def _add_browse(commands: "Commands[argparse.ArgumentParser]") -> None:
    command = _add(
        commands, "browse", _browse, "make one HTML file to look through a data set's clips"
    )
    command.add_argument(
        "--out", type=Path, metavar="FILE", help=f"DIR/{OVERVIEW_NAME}/{PAGE_NAME} if not given"
    )
    command.add_argument(
        "--num", type=int, default=200, metavar="N", help="clips, from as many videos as there are"
    )
    command.add_argument(
        "--max-mb", type=float, default=64.0, metavar="MB", help="size of the file, at most"
    )
    command.add_argument(
        "--split", nargs="+", default=[], metavar="NAME", help="splits; all if not given"
    )
    _add_seed(command)
    _add_running(command)


def _add(
    commands: "Commands[argparse.ArgumentParser]",
    name: str,
    run: Callable[[argparse.Namespace], int],
    text: str,
) -> argparse.ArgumentParser:
    command = add_command(commands, name, run, text)
    command.add_argument("directory", metavar="DIR", type=_folder, help="the data set's folder")
    return command


def _folder(text: str) -> Path:
    try:
        return files.path(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _add_seed(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--seed", type=int, default=0, metavar="N", help="of the lots that choose clips to show"
    )


def _add_running(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--workers", type=int, metavar="N", help="threads; one a core if not given, 0 for none"
    )
    command.add_argument("--quiet", action="store_true", help="no progress report")


def _workers(args: argparse.Namespace) -> int:
    if args.workers is not None and args.workers < 0:
        raise ValueError(f"--workers (={args.workers}) must be at least 0 (0: no threads)")
    return num_cores() if args.workers is None else args.workers


def _index(args: argparse.Namespace) -> int:
    print_table(records.rebuild(args.directory))
    print(f"rebuilt the indexes and info.json of {args.directory}")
    return 0


def _check(args: argparse.Namespace) -> int:
    known = {n: v for n in ("num_labels", "dont_care") if (v := getattr(args, n)) is not None}
    if "num_labels" in known:
        check_num_labels(args.num_labels)
    elif known:
        raise ValueError("--dont-care is of --num-labels N; give that, too")
    workers = _workers(args)
    info = records.load_info(args.directory)
    if args.json is not None:
        cli.output_folder("--json", args.json.parent)
    started = time.monotonic()
    tally = statistics.Tally()
    report = records.verify(
        args.directory, **known, visit=tally.visit, workers=workers, progress=not args.quiet
    )
    seconds = time.monotonic() - started
    print_table(info)
    counted = tally.statistics(info) if report.num_clips else None
    if counted is not None:
        _print_statistics(counted)
    for problem in report.problems:
        print(f"bad: {problem}", file=sys.stderr)
    if args.json is not None:
        result = dataclasses.asdict(report) | {"ok": report.ok}
        result["statistics"] = None if counted is None else counted.to_json()
        files.write_json(args.json, result)
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


def _stats(args: argparse.Namespace) -> int:
    workers = _workers(args)
    info = records.load_info(args.directory)
    out = cli.output_folder("--out", args.out or args.directory / OVERVIEW_NAME)
    counted, report, written = whole.write_statistics(
        args.directory, out, seed=args.seed, workers=workers, progress=not args.quiet
    )
    if args.json:
        print(json.dumps(counted.to_json(), indent=2))
    else:
        print_table(info)
        _print_statistics(counted)
    if not report.ok:
        print(
            f"bad: {len(report.faults)} faults, which `prepare check` lists; they are not counted, "
            "and there are no contact sheets",
            file=sys.stderr,
        )
    for path in written:
        print(f"written: {path}", file=sys.stderr if args.json else sys.stdout)
    return 0 if report.ok else 1


def _browse(args: argparse.Namespace) -> int:
    records.load_info(args.directory)
    path = args.out or args.directory / OVERVIEW_NAME / PAGE_NAME
    cli.output_folder("--out", path.parent)
    written = page.write_page(
        args.directory,
        path,
        num=args.num,
        seed=args.seed,
        splits=args.split,
        most_bytes=round(args.max_mb * 1e6),
        statistics=args.directory / OVERVIEW_NAME,
        workers=_workers(args),
        progress=not args.quiet,
    )
    print(
        f"written: {written.path}, {written.num_bytes / 1e6:.1f} MB, with {written.num_clips:,} of "
        f"{written.num_total:,} clips; open it in a browser"
    )
    if written.is_full:
        print(
            f"note: {min(args.num, written.num_total):,} clips would take more than --max-mb "
            f"{args.max_mb:g}",
            file=sys.stderr,
        )
    return 0


def _print_statistics(counted: statistics.Statistics) -> None:
    total = counted.total
    each = total.clips_per_video
    lengths = list(counted.clip_frames)
    print(
        f"{total.seconds / 60:,.1f} min; clips of one video: {each.low:g} to {each.high:g}, median "
        f"{each.quantiles['median']:g}; frames of a clip: {', '.join(lengths[:5])}"
        + (" …" if lengths[5:] else "")
    )
    if total.measures:
        _print_measures(total)
    if counted.label_frequency:
        _print_labels(counted)


def _print_measures(total: statistics.SplitStatistics) -> None:
    table = Table()
    table.add_column("measure", overflow="fold")
    for name in ("least", "5 %", "median", "95 %", "greatest"):
        table.add_column(name, justify="right")
    for name, found in total.measures.items():
        quantiles = (found.quantiles[q] for q in ("p05", "median", "p95"))
        values = (found.low, *quantiles, found.high)
        table.add_row(Text(name), *(f"{value:.4g}" for value in values))
    Console().print(table)


def _print_labels(counted: statistics.Statistics) -> None:
    table = Table()
    table.add_column("class")
    for name in ("id", "pixels", "cumulative", "clips"):
        table.add_column(name, justify="right")
    for row in counted.label_frequency[:_SHOWN_CLASSES]:
        shares = (row.pixel_share, row.cumulative_share, row.clip_share)
        table.add_row(row.name, str(row.label), *map(statistics.percent, shares))
    Console().print(table)
    if counted.label_frequency[_SHOWN_CLASSES:]:
        print(f"… and {len(counted.label_frequency) - _SHOWN_CLASSES} classes more")

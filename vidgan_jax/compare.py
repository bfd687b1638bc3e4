"""Compares runs on one page: samples side by side, curves, scores, configs.

    python -m vidgan_jax.compare RUN_A RUN_B --out DIR [--num 8] [--names A B]

Runs are workdirs, or single checkpoints, of any models. All get the same latents, and those of
label maps the same maps. The page, `DIR/comparison.html`, has everything in it: it can be sent to
somebody else as one file.
"""

import argparse
import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from vidgan_jax import cli, files
from vidgan_jax.data.sources import open_source
from vidgan_jax.evaluation import tables
from vidgan_jax.evaluation.data_sets import trained_on
from vidgan_jax.evaluation.engine import FOLDER, SCORES, Report, read_report
from vidgan_jax.evaluation.manifest import tree_digest
from vidgan_jax.reports import scoring, shown
from vidgan_jax.reports.charts import charts_of
from vidgan_jax.reports.compared import (
    Compared,
    differences,
    find_places,
    names_of,
    open_runs,
)
from vidgan_jax.reports.page import Content, Side, write_page
from vidgan_jax.reports.scoring import PageTable, Scored
from vidgan_jax.reports.shown import Column, Maps, Picture
from vidgan_jax.train import programs

PAGE, REPORT = "comparison.html", "comparison.json"
HELD_OUT = "validation"
_NUM = 8
_HOW_TO_SCORE = "`python -m vidgan_jax.evaluate --checkpoint RUN` makes them"
_NO_SCORES = f"No scores of these checkpoints yet; {_HOW_TO_SCORE}."


@programs.kept_for_user()
def compare(args: argparse.Namespace) -> int:
    """The command: runs → examples → pictures → page."""
    num = _check(args)
    places = find_places(args.runs)
    names = names_of(places, args.names)
    runs = open_runs(places, names, averaged=args.ema, identify=tree_digest)
    scored, scores_notes = find_scores(runs, args.scores)
    logged = [run.curves() for run in runs]
    maps = _maps(runs, args, num)
    out = cli.output_folder("--out", args.out)
    if args.json:
        cli.output_folder("--json", files.path(args.json).parent)
    how = {"seed": args.seed, "batch_size": args.batch_size, "averaged": args.ema}
    columns = [
        Column(run.name, shown.examples_of(run, maps, num=num, **how), run.fps) for run in runs
    ]
    files.remove_listed(out / REPORT, (".mp4", ".png"))
    together, alone = _write_pictures(out, maps, columns)
    content = Content(
        title=_title(names),
        sides=[Side(run.name, run.batch_size) for run in runs],
        notes=_notes(runs, maps, columns, num, args),
        together=together,
        alone=alone,
        charts=charts_of(logged),
        scores=scoring.score_tables(scored, tables),
        scores_notes=scores_notes,
        tables=[_facts(runs), *([_fields(runs)] if len(runs) > 1 else [])],
    )
    size = write_page(out / PAGE, content)
    report = _report(args, runs, scored, content)
    for path in (out / REPORT, *([args.json] if args.json else [])):
        files.write_json(path, report)
    print(f"{out / PAGE}: {size / 1e6:.1f} MB", file=sys.stderr)
    print(f"{len(runs)} {'runs' if len(runs) > 1 else 'run'}, {num} examples each: {out / PAGE}")
    return 0


def find_scores(
    runs: Sequence[Compared], given: Sequence[str] | None
) -> tuple[list[Scored], list[str]]:
    """The runs' scores, and what is to be known of them.

    Of a run those of the very weights that are compared count; others in its workdir are told.

    Args:
      runs: the runs.
      given: files of scores, of these runs or of others.

    Raises:
      ValueError: a file is damaged.
    """
    scored, notes = [], []
    more = {files.absolute(path): read_report(files.path(path)) for path in given or ()}
    for run in runs:
        paths = sorted((run.place.workdir / FOLDER).glob(f"**/{SCORES}"))
        own = {}
        for path in paths:
            try:
                own[path] = read_report(path)
            except ValueError as error:
                notes.append(f"Left out: {error}.")
        found = {path: report for path, report in (own | more).items() if _is_of(report, run)}
        scored += [Scored(run.name, report) for report in found.values()]
        if others := [path.parent.name for path in own if path not in found]:
            them = ", ".join(others)
            notes.append(f"{run.name} has scores of other weights, which are not shown: {them}.")
        more = {path: report for path, report in more.items() if path not in found}
    scored += [Scored(path.parent.name, report) for path, report in more.items()]
    names = {one.name for one in scored}
    if not scored:
        notes.insert(0, _NO_SCORES)
    elif without := [run.name for run in runs if run.name not in names]:
        notes.append(f"Without scores: {', '.join(without)}; {_HOW_TO_SCORE}.")
    return scored, notes


def _is_of(report: Report, run: Compared) -> bool:
    told = report.manifest["checkpoint"]
    try:
        return bool(told["generator_sha256"] == run.identities[told["ema"]])
    except KeyError as error:
        raise ValueError(
            f"{report.folder / SCORES} does not tell whose scores it has ({error} is missing): it "
            "is damaged, or of an earlier version; run evaluate again"
        ) from error


def _maps(runs: Sequence[Compared], args: argparse.Namespace, num: int) -> Maps | None:
    """The label maps, where a run takes them."""
    of_maps = [run for run in runs if run.experiment.config.model.num_labels]
    given = [name for name in ("label_map", "data", "split") if getattr(args, name)]
    if not of_maps:
        if given:
            flag = given[0].replace("_", "-")
            raise ValueError(f"--{flag}: none of these runs takes label maps; leave it out")
        return None
    if args.label_map:
        return shown.maps_of_files(args.label_map, of_maps)
    folder = _data(of_maps, args)
    source = open_source(folder, args.split or _split(folder, of_maps[0]))
    return shown.maps_of_data(source, Path(folder).name, of_maps, num=num)


def _data(runs: Sequence[Compared], args: argparse.Namespace) -> str | Path:
    """The data set of maps: as asked for, or that of the first run which was trained on one."""
    if args.data:
        return str(args.data)
    for run in runs:
        if (folder := trained_on(run.experiment, run.weights.meta)) is not None:
            return folder
    raise ValueError(
        f"{runs[0].place.given} makes frames of label maps, and its config names no data set; give "
        "the folder of one as --data, or maps as --label-map FILE"
    )


def _split(folder: str | Path, run: Compared) -> str:
    """What is held out, where that has label maps; else what was trained on."""
    trained = run.experiment.config.data.split
    splits = open_source(folder, trained).info.splits
    held_out = splits.get(HELD_OUT)
    return HELD_OUT if held_out is not None and held_out.num_label_maps else trained


def _write_pictures(
    out: Path, maps: Maps | None, columns: Sequence[Column]
) -> tuple[Picture, list[Picture]]:
    """All runs in one picture, and one for each."""
    everything = shown.columns_of(maps, columns)
    frames, fps = shown.join(everything)
    heads = [column.name for column in everything]
    together = shown.write_picture(out / "side_by_side", frames, fps, heads)
    alone = [shown.write_run(out / f"run_{i:02d}", column) for i, column in enumerate(columns)]
    return together, alone


def _notes(
    runs: Sequence[Compared],
    maps: Maps | None,
    columns: Sequence[Column],
    num: int,
    args: argparse.Namespace,
) -> list[str]:
    """What to know of the samples."""
    notes = shown.latents_said(runs, args.seed, num)
    notes.append(f"By the {'averaged' if args.ema else 'last'} generators.")
    if maps is not None:
        turn = f", {len(maps.label_maps)} in turn" if len(maps.label_maps) < num else ""
        notes.append(f"Label maps: {maps.said}{turn}; row i is of map and latent i.")
    else:
        notes.append("Row i is of latent i.")
    notes += shown.classes_said(runs)
    return notes + shown.sizes_said(columns)


def _title(names: Sequence[str]) -> str:
    return f"Comparison of {', '.join(names)}" if len(names) > 1 else f"Run {names[0]}"


def _facts(runs: Sequence[Compared]) -> PageTable:
    """What the runs are, whether they differ in it or not."""
    models = [run.experiment.config.model for run in runs]
    rows = [
        ["run", *(run.place.given for run in runs)],
        ["step", *(str(run.place.step) for run in runs)],
        ["code", *(str(run.weights.meta.get("code", "–")) for run in runs)],
        ["model", *(f"{m.name}, {_extent(m.size, m.num_frames)}" for m in models)],
        [
            "frames a second",
            *(f"{r.fps:g}" if m.num_frames else "–" for r, m in zip(runs, models, strict=True)),
        ],
        ["generator's parameters", *(f"{run.num_params[0]:,}" for run in runs)],
        ["discriminator's parameters", *(f"{run.num_params[1]:,}" for run in runs)],
    ]
    return PageTable("What they are", ["", *(run.name for run in runs)], rows)


def _extent(size: int, num_frames: int) -> str:
    return f"{num_frames} frames {size}×{size}" if num_frames else f"{size}×{size}"


def _fields(runs: Sequence[Compared]) -> PageTable:
    """The fields of the configs that differ."""
    found = _different(runs)
    title, caption = "What their configs differ in", ""
    if not found:
        caption = "All fields of their configs are the same."
    rows = [[name, *values] for name, values in found.items()]
    return PageTable(title, ["field", *(run.name for run in runs)], rows, caption)


def _different(runs: Sequence[Compared]) -> dict[str, list[str]]:
    """All fields count: those added since a checkpoint was written have their defaults."""
    return differences([dataclasses.asdict(run.experiment.config) for run in runs])


def _report(
    args: argparse.Namespace, runs: Sequence[Compared], scored: Sequence[Scored], content: Content
) -> dict[str, Any]:
    """What the page says, for programs."""
    return {
        "runs": [
            {
                "name": run.name,
                "checkpoint": str(run.place.checkpoint),
                "step": run.place.step,
                "code": run.weights.meta.get("code"),
                "fps": run.fps,
                "generator_params": run.num_params[0],
                "discriminator_params": run.num_params[1],
            }
            for run in runs
        ],
        "seed": args.seed,
        "ema": args.ema,
        "notes": list(content.notes),
        "differences": _different(runs),
        "scores": [
            {
                "run": one.name,
                "step": one.report.step,
                "protocol": scoring.protocol_of(one.report),
                "headline": dict(one.report.headline),
            }
            for one in scored
        ],
        "scores_notes": list(content.scores_notes),
        "files": [picture.path.name for picture in (content.together, *content.alone)],
    }


def _check(args: argparse.Namespace) -> int:
    """Refuses what arguments can't be; how many examples are wanted."""
    if not args.runs:
        raise ValueError("no run to compare; give workdirs, or checkpoints")
    num = args.num
    if num is None:
        num = len(args.label_map) if args.label_map else _NUM
    cli.check_sampling(argparse.Namespace(**vars(args) | {"num": num}))
    if args.label_map and (args.data or args.split):
        flag = "data" if args.data else "split"
        raise ValueError(f"--{flag} gives label maps as --label-map does; give one of the two")
    for flag, given in (("label-map", args.label_map), ("scores", args.scores)):
        for path in given or ():
            if not files.path(path).is_file():
                raise ValueError(f"--{flag} {path}: no such file")
    if args.json and files.path(args.json).is_dir():
        raise ValueError(f"--json {args.json} is a folder; give a file's name")
    return int(num)


def main(argv: Sequence[str] | None = None) -> int:
    """`python -m vidgan_jax.compare`."""
    parser = argparse.ArgumentParser(
        prog="python -m vidgan_jax.compare",
        description="Compares runs on one page: samples side by side, curves, scores, configs.",
        allow_abbrev=False,
    )
    parser.add_argument("runs", nargs="*", metavar="RUN", help="a workdir, or one checkpoint in it")
    parser.add_argument("--out", required=True, metavar="DIR", help="folder for page and films")
    parser.add_argument(
        "--names", nargs="+", metavar="NAME", help="of the runs, in their order (default: by path)"
    )
    parser.add_argument(
        "--num", type=int, help=f"examples of each (default {_NUM}, or one of each --label-map)"
    )
    parser.add_argument(
        "--label-map", nargs="+", metavar="FILE", help="maps for models of label maps"
    )
    parser.add_argument(
        "--data",
        default="",
        help="a data set whose label maps models get (default: that of the training)",
    )
    parser.add_argument(
        "--split", default="", help=f"of it (default: {HELD_OUT} where it has maps)"
    )
    parser.add_argument(
        "--scores", nargs="+", metavar="FILE", help="scores.json beside those in the workdirs"
    )
    parser.add_argument("--json", default="", metavar="FILE", help="write the tables there, too")
    cli.add_sampling(parser, seed_of="the latents", batch_size=8)
    return cli.run(parser, compare, argv)


if __name__ == "__main__":
    sys.exit(main())

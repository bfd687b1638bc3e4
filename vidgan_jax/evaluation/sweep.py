"""Scores of all checkpoints that runs have kept, side by side: the thesis's Tables 4.3 and 4.4.

OUT/sweep.csv    all headline scores, one row for each checkpoint
OUT/sweep.md     tables: steps down, runs across, the best of each column in bold
OUT/sweep.json   the same, for programs
OUT/sweep.png    a panel for each score over steps, a line for each run
"""

import dataclasses
import math
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vidgan_jax import experiment, files
from vidgan_jax.data.sampling import fitting_clips
from vidgan_jax.data.sources import open_source
from vidgan_jax.evaluation import tables
from vidgan_jax.evaluation.data_sets import trained_on
from vidgan_jax.evaluation.measure import ScoreTable
from vidgan_jax.reports import curves, figures
from vidgan_jax.reports.curves import Line, Panel
from vidgan_jax.reports.scoring import NOT_COMPARED, differing_fields
from vidgan_jax.train import storage
from vidgan_jax.train.checkpoint import FOLDER, CheckpointError, DamagedCheckpointError

if TYPE_CHECKING:
    from vidgan_jax.evaluation.engine import Report

CSV, MARKDOWN, JSON, PICTURE = "sweep.csv", "sweep.md", "sweep.json", "sweep.png"
# The thesis's pair of columns.
PAIR = ("mIoU", "pixel accuracy")


@dataclasses.dataclass(frozen=True)
class Scored:
    """A checkpoint and its scores.

    Attributes:
      run: name of the run that it is of.
      checkpoint: its folder.
      epoch: passes over the training data until then; None where that isn't known.
      report: its scores.
    """

    run: str
    checkpoint: Path
    epoch: float | None
    report: "Report"

    @property
    def step(self) -> int:
        """The step that it is of."""
        return int(self.checkpoint.name)


def sweep(
    workdirs: Sequence[Path], score: Callable[[Path, Path], "Report"], out: Path
) -> list["Report"]:
    """Scores every whole checkpoint of some runs, and writes tables and curves of them.

    What `score` keeps from one call to the next is not scored again: a sweep that was stopped goes
    on when it is called once more. Lines on stderr tell each checkpoint's scores, and tables on
    stdout all of them. Checkpoints that are damaged are told of, and left out.

    Args:
      workdirs: of the runs.
      score: scores the checkpoint in a folder, and writes its report to another one.
      out: folder of the files, made where it is missing; reports are in `RUN/STEP` in it.

    Returns:
      The reports, run by run, steps ascending.

    Raises:
      ValueError: matplotlib isn't installed; a workdir is given twice; reports were made by
        different protocols, or of different data. `CheckpointError`, one of this kind: a workdir
        has no whole checkpoint.
      OSError: the files can't be written.
    """
    figures.require()
    found = {name: find_checkpoints(workdir) for name, workdir in _names(workdirs).items()}
    total = sum(map(len, found.values()))
    scored: list[Scored] = []
    count = 0
    for run, checkpoints in found.items():
        epochs = find_epochs(checkpoints)
        before = len(scored)
        for checkpoint, epoch in zip(checkpoints, epochs, strict=True):
            count += 1
            where = f"[{count}/{total}] {run}, step {checkpoint.name}"
            try:
                report = score(checkpoint, out / run / checkpoint.name)
            except DamagedCheckpointError as error:
                _tell(f"{where}: left out: {error}")
                continue
            check_alike([*(s.report for s in scored[:1]), report])
            scored.append(Scored(run, checkpoint, epoch, report))
            _tell(f"{where}: {_in_words(report.headline)}")
        if len(scored) == before:
            raise CheckpointError(f"all checkpoints of {run} are damaged; leave it out")
    write(scored, out)
    tables.show(score_tables(scored))
    return [s.report for s in scored]


def find_checkpoints(workdir: Path) -> list[Path]:
    """The finished checkpoints of a run, steps ascending; tells of those that were set aside.

    Raises:
      CheckpointError: there is none.
    """
    directory = files.absolute(workdir) / FOLDER
    for name in storage.are_aside(directory):
        _tell(f"{directory / name} was found damaged, and is left out")
    if not (steps := storage.steps(directory)):
        what = "has no checkpoint in it" if directory.parent.exists() else "does not exist"
        raise CheckpointError(f"{workdir} {what}; give the workdirs of runs that were trained")
    return [directory / str(step) for step in steps]


def find_epochs(checkpoints: Sequence[Path]) -> list[float | None]:
    """How often a run had gone over its training data, checkpoint by checkpoint.

    An epoch is as many examples as there are clips in the data set that examples can be cut from.
    It is None where the weights were not trained here (inflated or converted ones), or where the
    data set is not, or no longer, where the config says.

    Args:
      checkpoints: of one run, at least one.
    """
    nothing: list[float | None] = [None] * len(checkpoints)
    try:
        taken = [storage.read_json(c, "loader").get("samples") for c in checkpoints]
        if not any(taken):
            return nothing
        exp = experiment.build(storage.read_json(checkpoints[-1], "meta")["config"])
        folder = trained_on(exp, {}, render=False)
        if folder is None:
            return nothing
        source = open_source(folder, exp.config.data.split)
        num_clips = len(fitting_clips(source, exp.clip_spec))
        source.close()
    except (OSError, ValueError, KeyError):  # damage is told of where checkpoints are scored
        return nothing
    return [None if samples is None else samples / num_clips for samples in taken]


def _names(workdirs: Sequence[Path]) -> dict[str, Path]:
    """Workdirs by names that tell them apart: as much of the path's end as is needed.

    Raises:
      ValueError: one is given twice.
    """
    whole = [files.absolute(workdir) for workdir in workdirs]
    for path in whole:
        if whole.count(path) > 1:
            raise ValueError(f"{path} is given twice; leave one out")
    for length in range(1, max((len(path.parts) for path in whole), default=0) + 1):
        names = ["/".join(path.parts[-length:]) for path in whole]
        if len(set(names)) == len(names):
            return dict(zip(names, whole, strict=True))
    raise ValueError("no workdir is given")


def check_alike(reports: Sequence["Report"]) -> None:
    """Refuses reports that can't be compared: all but the checkpoints must be the same.

    Raises:
      ValueError: they have different protocols, data, seeds or measures; the first difference.
    """
    for other in reports[1:]:
        for name, values in differing_fields([reports[0].manifest, other.manifest]).items():
            raise ValueError(
                f"{reports[0].folder} and {other.folder} can't be compared: {name} is {values[0]} "
                f"in one and {values[1]} in the other; score all with the same protocol and data"
            )


def write(scored: Sequence[Scored], out: Path) -> None:
    """Writes all files of a sweep.

    Args:
      scored: run by run, steps ascending, at least one.
      out: folder, made where it is missing.

    Raises:
      OSError: they can't be written.
    """
    csv, markdown, found = every_score(scored), in_markdown(scored), as_json(scored)
    if not files.is_remote(out):
        Path(out).mkdir(parents=True, exist_ok=True)
    files.write_bytes(out / CSV, tables.csv_text(csv).encode())
    files.write_bytes(out / MARKDOWN, markdown.encode())
    files.write_json(out / JSON, found)
    curves.draw(out / PICTURE, panels(scored), title=_title(scored), marked=True)


def every_score(scored: Sequence[Scored]) -> ScoreTable:
    """All headline scores in full, one row for each checkpoint."""
    keys = tables.headline_keys([s.report.headline for s in scored])
    rows = []
    for s in scored:
        values = [s.epoch, *(s.report.headline.get(key) for key in keys)]
        cells = ["" if value is None else repr(float(value)) for value in values]
        rows.append([s.run, str(s.step), *cells])
    return ScoreTable("", ["run", "step", "epoch", *keys], rows)


def score_tables(scored: Sequence[Scored]) -> list[ScoreTable]:
    """The thesis's form: mean IoU and accuracy side by side, then a table for each other score."""
    runs: dict[str, dict[int, Mapping[str, float]]] = {}
    for s in scored:
        runs.setdefault(s.run, {})[s.step] = s.report.headline
    keys = tables.headline_keys([s.report.headline for s in scored])
    groups = [[key] for key in keys if key not in PAIR]
    if pair := [key for key in PAIR if key in keys]:
        groups.insert(0, pair)
    real = {key: value for key in keys if (value := real_value(scored, key)) is not None}
    return [
        tables.over_steps(
            runs,
            group,
            title=" and ".join(group),
            epochs=common_epochs(scored),
            real={key: real[key] for key in group if key in real},
        )
        for group in groups
    ]


def common_epochs(scored: Sequence[Scored]) -> dict[int, float]:
    """Epochs by step; {} where runs have different ones at one step, by batch size or data."""
    found: dict[int, float] = {}
    for s in scored:
        if s.epoch is not None and not math.isclose(found.setdefault(s.step, s.epoch), s.epoch):
            return {}
    return found


def real_value(scored: Sequence[Scored], key: str) -> float | None:
    """A score of real examples; None where reports have none, or runs have different ones."""
    found = {tables.real_value(key, s.report.scores) for s in scored}
    return found.pop() if len(found) == 1 else None


def in_markdown(scored: Sequence[Scored]) -> str:
    """The whole sweep.md."""
    parts = [f"# {_title(scored)}", conditions(scored[0].report)]
    for table in score_tables(scored):
        parts.append(f"## {table.title}")
        parts.append(tables.markdown(dataclasses.replace(table, title="")))
    parts.append(f"Numbers in full: `{CSV}`. Over steps: ![scores]({PICTURE})")
    return "\n\n".join(parts) + "\n"


def conditions(report: "Report") -> str:
    """How scores were made, what must be said beside them; Markdown bullets."""
    told = report.manifest
    protocol, data = told["protocol"], told["data"]
    others = [
        f"{name} is {values['used']} (in the protocol: {values['protocol']})"
        for name, values in protocol["deviations"].items()
    ]
    length, stride = data["clip_length"], data["clip_stride"]
    cut = f"clips of {length} frames, stride {stride}" if length else "single frames"
    source = f" ({protocol['source']})" if protocol["source"] else ""
    generator = "averaged" if told["checkpoint"]["ema"] else "last"
    lines = [
        f"protocol {protocol['name']}{source}",
        f"set otherwise: {'; '.join(others) or 'nothing'}",
        f"{told['num']} generated by the {generator} generator, seed {told['seed']}; "
        f"{told['num_reference']} real",
        f"data: split {data['split']!r} with {data['num_clips']} clips of {data['num_videos']} "
        f"videos, checksum {data['checksum'][:16]}; {cut}, resized to {data['resized_to']} "
        f"({data['resize_filter']}), cropped to {data['cropped_to']}",
    ]
    if maps := told["maps"]:
        lines.append(
            f"label maps: {maps['used']} of the {maps['num']} of split {maps['split']!r}, "
            f"{maps['num_labels']} classes, don't care: {maps['dont_care']}"
        )
    lines += _who_judged(report.scores)
    lines += [f"left out: {name}: {why}" for name, why in told["left_out"].items()]
    return "\n".join(f"- {line}" for line in lines)


def _who_judged(scores: Mapping[str, Any]) -> list[str]:
    """Networks that scores are by, and the classes in the mean IoU."""
    lines = []
    for name in ("inception", "fvd"):
        if name in scores:
            lines.append(f"{name}: by {scores[name]['detector']}")
    if agreement := scores.get("agreement"):
        counted = ", ".join(each["name"] for each in agreement["classes_counted"])
        summary = agreement["segmenter"].get("summary", "a segmenter")
        lines.append(f"agreement: by {summary}; classes in the mean IoU: {counted or 'none'}")
    return lines


def as_json(scored: Sequence[Scored]) -> dict[str, Any]:
    """The whole sweep.json.

    Returns:
      "manifest" (what all have in common), "scales" (by headline key: "better", "real"),
      "best" (by run and headline key: steps), and "checkpoints" (a list: "run", "checkpoint",
      "step", "epoch", "report", "headline").
    """
    keys = tables.headline_keys([s.report.headline for s in scored])
    manifest = scored[0].report.manifest
    best = {}
    for run in dict.fromkeys(s.run for s in scored):
        own = {s.step: s.report.headline for s in scored if s.run == run}
        best[run] = {
            key: tables.best(key, {step: line[key] for step, line in own.items() if key in line})
            for key in keys
        }
    return {
        "manifest": {
            "ema": manifest["checkpoint"]["ema"],
            **{name: value for name, value in manifest.items() if name not in NOT_COMPARED},
        },
        "scales": {
            key: {"better": tables.scale(key).better, "real": real_value(scored, key)}
            for key in keys
        },
        "best": best,
        "checkpoints": [
            {
                "run": s.run,
                "checkpoint": str(s.checkpoint),
                "step": s.step,
                "epoch": s.epoch,
                "report": f"{s.run}/{s.step}",
                "headline": dict(s.report.headline),
            }
            for s in scored
        ],
    }


def panels(scored: Sequence[Scored]) -> list[Panel]:
    """What the figure shows: a panel for each headline score."""
    found = []
    for key in tables.headline_keys([s.report.headline for s in scored]):
        lines = {}
        for run in dict.fromkeys(s.run for s in scored):
            own = [s for s in scored if s.run == run and key in s.report.headline]
            if own:
                lines[run] = Line([s.step for s in own], [s.report.headline[key] for s in own])
        found.append(Panel(key, "step", tables.scale(key).words, lines, real_value(scored, key)))
    return found


def _title(scored: Sequence[Scored]) -> str:
    runs = list(dict.fromkeys(s.run for s in scored))
    protocol = scored[0].report.manifest["protocol"]["name"]
    named = ", ".join(runs) if len(runs) <= 4 else f"{len(runs)} runs"
    return f"{named}: {len(scored)} checkpoints, protocol {protocol}"


def _in_words(headline: Mapping[str, float]) -> str:
    return ", ".join(f"{key} {tables.cell(key, value)}" for key, value in headline.items())


def _tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)

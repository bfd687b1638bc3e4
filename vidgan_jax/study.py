"""Reports on a study of inflation: scores of every checkpoint, loss curves, samples, who wins.

    python -m vidgan_jax.study --runs OUT --out OUT/report [--num 512]

`launch/inflation_study.sh` makes the runs; `vidgan_jax.reports.runs` says how they lie. What was
scored before is not scored again: train on, and run the same command.
"""

import argparse
import dataclasses
import itertools
import math
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from vidgan_jax import cli, experiment, files
from vidgan_jax.data import media
from vidgan_jax.data.clips import training_loader
from vidgan_jax.data.collection import Clips
from vidgan_jax.data.sources import open_source
from vidgan_jax.evaluation import protocols
from vidgan_jax.evaluation.engine import PARTS, Report, evaluate_checkpoint
from vidgan_jax.evaluation.measures import Asked
from vidgan_jax.evaluation.relative import check_num
from vidgan_jax.metrics import features
from vidgan_jax.reports import comparison, figures, text, training
from vidgan_jax.reports.comparison import Point, Scores
from vidgan_jax.reports.runs import IMAGES, Curve, Run, find_runs
from vidgan_jax.synthesis.latents import draw_latents
from vidgan_jax.synthesis.run import run_generator
from vidgan_jax.train import programs
from vidgan_jax.train.weights import experiment_of, load_weights
from vidgan_jax.types import ClipSpec

REPORT, NUMBERS, EVALUATIONS = "report.md", "report.json", "evaluations"
MEASURED = (protocols.RELATIVE, protocols.MOTION)
_SHEET_CLIPS = 8
# A term of the discriminator where it gives every example the logit 0.
_EVEN_ODDS = {"logistic": math.log(2), "logistic_minimax": math.log(2), "hinge": 1.0}


@dataclasses.dataclass(frozen=True)
class Family:
    """One family's runs and what was found of them.

    Attributes:
      name: its folder's.
      runs: all, the 2D ones too.
      spec: how its clips are cut.
      floor: scores of real examples of another draw.
      points: scores of the 3D checkpoints.
    """

    name: str
    runs: list[Run]
    spec: ClipSpec
    floor: Scores
    points: list[Point]

    @property
    def clip_runs(self) -> list[Run]:
        """The 3D runs."""
        return [run for run in self.runs if run.start != IMAGES]

    def by_start(self) -> dict[str, list[Run]]:
        """The 3D runs of every start, the smallest seed first."""
        found: dict[str, list[Run]] = {}
        for run in self.clip_runs:
            found.setdefault(run.start, []).append(run)
        return found

    def shown(self) -> list[Run]:
        """The run of every start whose samples are shown: of the first seed that has any."""
        trained = [[run for run in runs if run.checkpoints()] for runs in self.by_start().values()]
        return [runs[0] for runs in trained if runs]


class Evaluator:
    """Scores checkpoints, and keeps reports from one call to the next.

    Args:
      args: the command's.
      data: folder of the data set.
      source: the real clips.
      folder: for the reports.
    """

    def __init__(self, args: argparse.Namespace, data: Path, source: Clips, folder: Path) -> None:
        self._args, self._source, self._folder = args, source, folder
        chosen = protocols.choose(
            protocols.DEFAULT, measures=MEASURED, num=args.num, split=source.split
        )
        self._asked = Asked(
            chosen,
            data=str(data),
            seed=args.seed,
            batch_size=args.batch_size,
            averaged=args.ema,
        )

    def score(self, run: Run, step: int, count: str) -> tuple[Point, Scores]:
        """Scores of one checkpoint, and of the floor; a line on stderr tells them."""
        place = f"{run.family}-seed{run.seed}-{run.start}-{step}"
        scored = evaluate_checkpoint(
            run.checkpoints()[step],
            self._asked,
            out=self._folder / place,
            shared=self._folder / PARTS,
        )
        found, floor = (_scores(scored.report, who) for who in ("generated", "floor"))
        known = " (known)" if scored.known else ""
        said = f"frames {found.frames:.3f}, clips {found.clips:.3f}, motion {found.motion:.2f}"
        print(f"[{count}] {run.name}, step {step}: {said}{known}", file=sys.stderr, flush=True)
        return Point(run.start, run.seed, step, found), floor

    def generate(self, path: Path, num: int, label: str) -> np.ndarray:
        """Clips of a checkpoint's generator, the first `num` latents of the seed."""
        args, weights = self._args, load_weights(path)
        exp = experiment_of(weights)
        latents = draw_latents(args.seed, num, exp.config.model.z_dim, None)
        how = {"batch_size": args.batch_size, "averaged": args.ema, "label": label}
        return run_generator(exp, weights, latents, **how)

    def real(self, spec: ClipSpec, num: int) -> np.ndarray:
        """A few real clips to look at."""
        seed = self._args.seed
        with training_loader(self._source, spec, batch_size=num, seed=seed) as loader:
            return np.asarray(next(loader).frames)


def _scores(report: Report, who: str) -> Scores:
    relative, motion = (report.scores[name][who] for name in MEASURED)
    frames, clips = (relative[kind]["frechet"] for kind in ("frames", "clips"))
    return Scores(frames, clips, motion["frame_difference"]["mean"])


@programs.kept_for_user()
def study(args: argparse.Namespace) -> int:
    """The command: runs → scores → report folder."""
    _check(args)
    figures.require()
    root = files.path(args.runs)
    runs = find_runs(root)
    data = files.path(args.data) if args.data else root / "data"
    source = open_source(data, args.split)
    out = cli.output_folder("--out", args.out or root / "report")
    evaluator = Evaluator(args, data, source, out / EVALUATIONS)
    todo = sum(len(run.checkpoints()) for run in runs if run.start != IMAGES)
    number = itertools.count(1)
    families = []
    for name, of_family in itertools.groupby(runs, key=lambda run: run.family):
        group = list(of_family)
        clip_runs = [run for run in group if run.start != IMAGES]
        if not any(run.checkpoints() for run in clip_runs):
            continue
        spec = _spec(clip_runs)
        scored = [
            evaluator.score(run, step, f"{next(number)}/{todo}")
            for run in clip_runs
            for step in run.checkpoints()
        ]
        family = Family(name, group, spec, scored[0][1], [point for point, _ in scored])
        _draw(family, out)
        _write_samples(family, evaluator, out)
        families.append(family)
    _write_report(families, source, out, args)
    print(f"the report on {todo} checkpoints is {out / REPORT}")
    return 0


def _spec(runs: Sequence[Run]) -> ClipSpec:
    """How the clips of a family's 3D runs are cut: all one way, or they can't be compared."""
    specs = {experiment.build(run.meta()["config"]).clip_spec: run for run in runs}
    if len(specs) > 1:
        (one, first), (other, second) = list(specs.items())[:2]
        raise ValueError(
            f"{first.name} and {second.name} can't be compared: clips are {one} and {other}"
        )
    return next(iter(specs))


def _draw(family: Family, out: Path) -> None:
    """The family's two figures."""
    curves: dict[str, dict[int, Mapping[str, Curve]]] = {}
    for start, runs in family.by_start().items():
        curves[start] = {run.seed: run.curves() for run in runs}
    seeds = sorted({run.seed for run in family.clip_runs})
    faint = f"; faint: {', '.join(map(str, seeds[1:]))}" if seeds[1:] else ""
    loss = family.clip_runs[0].meta()["config"]["loss"]["adversarial"]
    figures.draw_losses(
        out / f"losses_{family.name}.png",
        curves,
        title=f"{family.name}: losses of 3D training (seed {seeds[0]}{faint})",
        even=_EVEN_ODDS.get(loss, math.nan),
    )
    many = f", mean and range of {len(seeds)} seeds" if seeds[1:] else ""
    figures.draw_scores(
        out / f"scores_{family.name}.png",
        family.points,
        family.floor,
        title=f"{family.name}: distance of generated from real examples, and motion{many}",
    )


def _write_samples(family: Family, evaluator: Evaluator, out: Path) -> None:
    """Contact sheets and videos: real clips, and the first seed of every start."""
    shown = {"real": evaluator.real(family.spec, _SHEET_CLIPS)}
    fps = family.clip_runs[0].meta()["fps"]
    for run in family.shown():
        path = run.checkpoints()[run.reached]
        shown[run.start] = evaluator.generate(path, _SHEET_CLIPS, f"samples of {run.name}")
    for name, clips in shown.items():
        sheet = out / f"contact_sheet_{family.name}_{name}"
        clips = media.enlarge(clips)
        media.write_png(sheet.with_suffix(".png"), media.filmstrips(clips))
        loops = max(1, math.ceil(4 * fps / clips.shape[1]))  # about 4 s to look at
        tiles = media.tile_images(clips, 4)
        media.write_mp4(sheet.with_suffix(".mp4"), tiles, fps=fps, loops=loops)


def _write_report(
    families: Sequence[Family], source: Clips, out: Path, args: argparse.Namespace
) -> None:
    """`report.md` and `report.json`."""
    generator = "averaged" if args.ema else "last"
    settings = {"num": args.num, "seed": args.seed, "features": features.VERSION}
    method = text.METHOD.format(generator=generator, **settings)
    parts = ["# Inflation study", text.summary({f.name: f.points for f in families})]
    runs = [run for family in families for run in family.runs]
    parts += ["## What was trained", training.starts(runs), training.table_of(runs)]
    parts.append(training.unfinished(runs))
    parts.append(training.memory(runs) if args.ema else "")
    split, num = source.split, source.info.splits[source.split]
    parts.append(f"Data: split {split!r}, {num.num_clips} clips of {num.num_videos} videos.")
    parts += ["## The measure", method]
    for family in families:
        names = ["real", *(run.start for run in family.shown())]
        sheets = {name: f"contact_sheet_{family.name}_{name}" for name in names}
        floor = family.floor
        parts.append(text.family_section(family.name, family.points, floor, sheets))
    parts += ["## Limits", text.LIMITS]
    files.write_bytes(out / REPORT, ("\n\n".join(p for p in parts if p) + "\n").encode())
    found = {
        family.name: {
            "floor": dataclasses.asdict(family.floor),
            "spec": dataclasses.asdict(family.spec),
            "points": [dataclasses.asdict(point) for point in family.points],
            "comparisons": comparison.numbers(family.points),
        }
        for family in families
    }
    data = {"checksum": source.info.checksum, "split": split}
    files.write_json(out / NUMBERS, {**settings, "ema": args.ema, "data": data, "families": found})


def _check(args: argparse.Namespace) -> None:
    cli.check_sampling(args)
    check_num(args.num)
    if not files.path(args.runs).is_dir():
        raise ValueError(f"--runs {args.runs}: no such folder; launch/inflation_study.sh makes one")


def main(argv: Sequence[str] | None = None) -> int:
    """`python -m vidgan_jax.study`."""
    parser = argparse.ArgumentParser(
        prog="python -m vidgan_jax.study",
        description="Reports on a study of inflation: scores, curves, samples, who wins.",
        allow_abbrev=False,
    )
    parser.add_argument("--runs", required=True, help="folder of launch/inflation_study.sh")
    parser.add_argument("--out", default="", help="the report's folder (default: RUNS/report)")
    parser.add_argument("--data", default="", help="the data set (default: RUNS/data)")
    parser.add_argument("--split", default="train", help="of it (default: train)")
    parser.add_argument(
        "--num", type=int, default=512, help="clips of each checkpoint, and real (default 512)"
    )
    cli.add_sampling(parser, seed_of="latents and real draws", batch_size=32)
    return cli.run(parser, study, argv)


if __name__ == "__main__":
    sys.exit(main())

"""Scores one checkpoint: makes the streams, shows them to the measures, writes what they say."""

import dataclasses
import functools
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vidgan_jax import cli, files
from vidgan_jax.data.sampling import evenly_spaced
from vidgan_jax.evaluation import examples, manifest, sheets
from vidgan_jax.evaluation.examples import Generated, Stream
from vidgan_jax.evaluation.measure import (
    FAKES,
    FLOOR,
    LABELLED,
    REFERENCE,
    VARIATIONS,
    Measure,
    Part,
)
from vidgan_jax.evaluation.measures import Asked, Subject, make_measures
from vidgan_jax.evaluation.parts import Observations, digest
from vidgan_jax.progress import ProgressReport
from vidgan_jax.synthesis.run import Synthesizer
from vidgan_jax.train.weights import load_weights

SCORES = "scores.json"
CURVES = "curves.png"  # drawn from the report, where matplotlib is
PARTS = "parts"
FOLDER = "evaluation"  # in a workdir
_SHOWN = 8
_TITLES = {
    FAKES: "generated",
    REFERENCE: "real",
    FLOOR: "real, again",
    LABELLED: "real, with label maps",
    VARIATIONS: "variations",
}


@dataclasses.dataclass(frozen=True)
class Report:
    """One checkpoint's scores.

    Attributes:
      step: of the checkpoint.
      manifest: all that they depend on.
      scores: of each measure, by its name.
      headline: the few that sweeps and tables compare, by the name in a table's head.
      folder: where they are written.
    """

    step: int
    manifest: Mapping[str, Any]
    scores: Mapping[str, Any]
    headline: Mapping[str, float]
    folder: Path

    def as_json(self) -> dict[str, Any]:
        """What `scores.json` holds."""
        return {
            "manifest": dict(self.manifest),
            "headline": dict(self.headline),
            "scores": dict(self.scores),
        }


def read_report(path: Path) -> Report:
    """Reads a `scores.json`, or the folder that has one.

    Raises:
      ValueError: there is none, or it is not one of ours.
    """
    path = files.path(path)
    file = path / SCORES if path.is_dir() else path
    if not file.exists():
        raise ValueError(f"{file} does not exist; `python -m vidgan_jax.evaluate` writes one")
    try:
        found = json.loads(files.read_bytes(file).decode())
        step = int(found["manifest"]["checkpoint"]["step"])
        told, scores, headline = (dict(found[k]) for k in ("manifest", "scores", "headline"))
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"{file} is no report of evaluate, or damaged; remove it, or give another one"
        ) from error
    return Report(step, told, scores, headline, file.parent)


@dataclasses.dataclass(frozen=True)
class Scored:
    """A report, and the measures that can show it.

    Attributes:
      report: the scores.
      measures: in the protocol's order.
      known: whether nothing had to be done for it.
    """

    report: Report
    measures: Sequence[Measure]
    known: bool


def evaluate_checkpoint(
    path: Path, asked: Asked, *, out: Path | None = None, shared: Path | None = None
) -> Scored:
    """Scores one checkpoint; what was scored before in the same way is read.

    Args:
      path: a workdir, whose newest checkpoint is meant, or one checkpoint.
      asked: protocol, data and the rest.
      out: folder of the report; None for one in the checkpoint's workdir, named after protocol
        and step.
      shared: folder of what is observed of streams, for reports that share real examples; None for
        one in `out`, or beside it in the workdir.

    Raises:
      ValueError: the checkpoint, the data and the protocol don't go together; before any work.
      KeyboardInterrupt: it was asked to stop; the same call goes on.
    """
    weights = load_weights(path)
    subject = Subject.of(weights, asked)
    alone = out is not None and shared is None
    if out is None:
        folder = weights.path.parent.parent / FOLDER
        out = folder / f"{asked.name}-{weights.step}"
        shared = shared or folder / PARTS
    cli.output_folder("--out", out)
    measures = make_measures(subject, asked)
    told = _manifest(subject, asked, measures)
    if (known := _known(out, told)) is not None:
        return Scored(known, measures, known=True)
    _warn(told, subject)
    run = _Run(subject, asked, measures, told, shared or out / PARTS)
    seen = run.observe()
    found: dict[str, Any] = {}
    headline: dict[str, float] = {}
    with ProgressReport("scores", total=len(measures)) as progress:
        for number, measure in enumerate(measures, start=1):
            of_streams = {name: seen[name, measure.name] for name in measure.streams}
            found[measure.name] = measure.conclude(of_streams)
            headline |= measure.headline(found[measure.name])
            progress.update(number, measure.name)
    report = Report(weights.step, told, found, headline, out)
    files.remove_listed(out / SCORES, (".png", ".mp4"))
    written = sheets.write_sheets(
        out,
        run.shown(),
        fps=subject.fps if subject.is_clips else None,
        num_variations=asked.chosen.protocol.num_variations,
        segment=subject.segment,
    )
    listed = [*sorted(path.name for path in written), CURVES]
    files.write_json(out / SCORES, report.as_json() | {"files": listed})  # last: all is there
    run.remove(generated_only=not alone)
    return Scored(read_report(out), measures, known=False)


def _known(out: Path, told: Mapping[str, Any]) -> Report | None:
    """An earlier report in the same folder, of just the same."""
    if not (out / SCORES).exists():
        return None
    report = read_report(out)
    return report if report.manifest == json.loads(json.dumps(told)) else None


def _warn(told: Mapping[str, Any], subject: Subject) -> None:
    """Says what makes scores incomparable; it is in the manifest, too."""
    protocol = told["protocol"]
    if protocol["deviations"]:
        changed = ", ".join(
            f"{field} {values['used']!r} for {values['protocol']!r}"
            for field, values in protocol["deviations"].items()
        )
        print(f"not quite protocol {protocol['name']}: {changed}", file=sys.stderr)
    data = told["data"]
    if data["enlarged"] is None:
        print(
            "the data set's clips differ in size, so some may be enlarged to "
            f"{data['resized_to']} pixels: scores compare with nothing but such ones",
            file=sys.stderr,
        )
    elif data["enlarged"]:
        print(
            f"the data set has frames {data['height']} high, which are enlarged to "
            f"{data['resized_to']}: scores compare with nothing but such ones",
            file=sys.stderr,
        )
    if not subject.same_fps:
        print(
            f"the data set has {data['fps']:g} frames a second, each {data['clip_stride']}. taken, "
            f"and the checkpoint makes {subject.weights.meta['fps']:g}: motion and distances of "
            "clips compare different speeds",
            file=sys.stderr,
        )


def _manifest(subject: Subject, asked: Asked, measures: Sequence[Measure]) -> dict[str, Any]:
    exp = subject.exp
    told: dict[str, Any] = {
        **manifest.of_code(),
        "checkpoint": manifest.of_checkpoint(exp, subject.weights, averaged=asked.averaged),
        "protocol": asked.chosen.as_json(),
        "seed": asked.seed,
        "batch_size": asked.batch_size,
        "num": subject.num,
        "num_reference": len(subject.reals.reference),
        "data": manifest.of_data(subject.source, subject.spec),
        "floor": subject.reals.floor_is,
        "maps": None,
        "measures": {measure.name: dict(measure.settings()) for measure in measures},
        "left_out": dict(subject.left_out),
    }
    if subject.maps is not None and subject.maps_source is not None:
        told["maps"] = {
            **manifest.of_data(subject.maps_source, subject.spec),
            "num": subject.maps_source.info.splits[subject.maps_source.split].num_label_maps,
            "used": len(subject.maps),
            "chosen": "all, or evenly spaced; centre crops; each in turn",
        }
    elif exp.config.model.num_classes > 1:
        told["classes"] = f"0 to {exp.config.model.num_classes - 1} in turn"
    return told


class _Run:
    """The streams of one checkpoint, and what was observed of them."""

    def __init__(
        self,
        subject: Subject,
        asked: Asked,
        measures: Sequence[Measure],
        told: Mapping[str, Any],
        shared: Path,
    ) -> None:
        self._subject, self._asked, self._measures = subject, asked, measures
        self._told, self._shared = told, shared
        self._wanted = [
            name for name in _TITLES if any(name in measure.streams for measure in measures)
        ]
        self._observations: dict[tuple[str, str], Observations] = {}

    @functools.cached_property
    def _synthesizer(self) -> Synthesizer:
        subject, asked = self._subject, self._asked
        return Synthesizer(
            subject.exp, subject.weights, batch_size=asked.batch_size, averaged=asked.averaged
        )

    def _generated(self, numbers: examples.Numbers) -> Generated:
        subject = self._subject
        return Generated(
            self._synthesizer, self._asked.seed, numbers, subject.maps, subject.prepare
        )

    def _stream(self, name: str) -> Stream:
        subject, protocol = self._subject, self._asked.chosen.protocol
        if name == FAKES:
            return self._generated(examples.in_turn(subject.num, subject.num_conditions))
        if name == VARIATIONS:
            return self._generated(
                examples.variations(
                    protocol.num_varied, protocol.num_variations, subject.num_conditions
                )
            )
        if name == LABELLED:
            source = subject.maps_source
            if source is None:
                raise ValueError("the real examples of label maps are wanted, and there are none")
            return examples.labelled(source, subject.spec, subject.num, subject.prepare)
        return subject.reals.reference if name == REFERENCE else subject.reals.floor

    def _folder(self, name: str, measure: Measure) -> Path:
        """Where one measure's observations of a stream are kept."""
        told = self._told
        common = [*manifest.of_code(), "protocol", "seed", "batch_size"]
        made_of = {key: told[key] for key in common}
        made_of |= {"measure": told["measures"][measure.name], "num": len(self._stream(name))}
        if name in (FAKES, VARIATIONS):
            made_of |= {"checkpoint": told["checkpoint"], "maps": told["maps"]}
        else:
            made_of |= {"data": told["maps" if name == LABELLED else "data"]}
        return self._shared / f"{name}-{measure.name}-{digest(made_of)}"

    def observe(self) -> dict[tuple[str, str], Any]:
        """Shows all streams to the measures that want them; what was observed before is taken.

        Returns:
          Observations by stream and measure.
        """
        for name in self._wanted:
            measures = [m for m in self._measures if name in m.streams]
            for measure in measures:
                kept = Observations(self._folder(name, measure))
                self._observations[name, measure.name] = kept
            self._observe(name, measures)
        return {key: kept.joined() for key, kept in self._observations.items()}

    def _observe(self, name: str, measures: Sequence[Measure]) -> None:
        stream, kept = self._stream(name), {m: self._observations[name, m.name] for m in measures}
        first, num = min(o.num for o in kept.values()), len(stream)
        if first >= num:
            return
        try:
            with ProgressReport(_TITLES[name], total=num, done=first) as progress:
                for part in stream.parts(first, self._asked.batch_size):
                    end = part.first + len(part.frames)
                    for measure, observations in kept.items():
                        if observations.num < end:
                            new = _from(part, observations.num)
                            observations.add(measure.observe(new), len(new.frames))
                    progress.update(end, f"{end} of {num}", last=end == num)
        finally:
            for observations in kept.values():
                observations.write()

    def shown(self) -> dict[str, Part]:
        """A few examples of each stream, to look at.

        Where there are label maps, they are evenly spaced: neighbours are often of one video.
        """
        shown = {}
        for name in self._wanted:
            stream, maps = self._stream(name), self._subject.maps
            num = len(stream) if name == VARIATIONS else min(_SHOWN, len(stream))
            numbers = np.arange(num)
            if maps is not None and name in (FAKES, LABELLED):
                numbers = evenly_spaced(np.arange(len(maps)), _SHOWN)
            if isinstance(stream, Generated):
                at_once = self._synthesizer.batch_size
                groups = [numbers[i : i + at_once] for i in range(0, num, at_once)]
                shown[name] = _joined([stream.pick(group) for group in groups if len(group)])
            elif name == LABELLED:
                shown[name] = _joined([next(stream.parts(int(i), 1)) for i in numbers])
            else:
                shown[name] = next(stream.parts(0, num))
        return shown

    def remove(self, *, generated_only: bool) -> None:
        """Removes what was observed: the report holds what matters.

        Args:
          generated_only: leave what was observed of real examples, for other reports.
        """
        for (name, _), observations in self._observations.items():
            if not generated_only or name in (FAKES, VARIATIONS):
                observations.remove()
        if not generated_only:
            files.remove_folder(self._shared)


def _from(part: Part, first: int) -> Part:
    """The examples of a part from number `first` on."""
    skipped = max(0, first - part.first)
    if not skipped:
        return part
    label_maps = None if part.label_maps is None else part.label_maps[skipped:]
    return Part(first, part.frames[skipped:], label_maps)


def _joined(parts: Sequence[Part]) -> Part:
    frames = np.concatenate([part.frames for part in parts])
    label_maps = [part.label_maps for part in parts if part.label_maps is not None]
    return Part(parts[0].first, frames, np.concatenate(label_maps) if label_maps else None)

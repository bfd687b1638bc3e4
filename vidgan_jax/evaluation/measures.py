"""What is to be scored, checked against the protocol; and the measures that this takes."""

import dataclasses
import functools
import math
from collections.abc import Callable, Collection, Mapping
from pathlib import Path

import numpy as np

from vidgan_jax import files
from vidgan_jax.data.collection import Clips
from vidgan_jax.data.sources import open_source
from vidgan_jax.evaluation import protocols
from vidgan_jax.evaluation.agreement import Agreement
from vidgan_jax.evaluation.data_sets import trained_on
from vidgan_jax.evaluation.distances import Fvd, Inception
from vidgan_jax.evaluation.diversity import Diversity
from vidgan_jax.evaluation.examples import LabelMaps, Preparation, RealDraws, draw_reals
from vidgan_jax.evaluation.judges import Judged, find_judge
from vidgan_jax.evaluation.measure import Measure
from vidgan_jax.evaluation.motion import Motion
from vidgan_jax.evaluation.parts import digest
from vidgan_jax.evaluation.protocols import Chosen
from vidgan_jax.evaluation.relative import Relative, check_num
from vidgan_jax.experiment import Experiment
from vidgan_jax.metrics.detectors import MIN_FRAMES
from vidgan_jax.train.weights import Weights, experiment_of
from vidgan_jax.types import ClipSpec


@dataclasses.dataclass(frozen=True)
class Asked:
    """What a user asks for, the same for all checkpoints of a sweep.

    Attributes:
      chosen: the protocol.
      data: a data set; "" for that of the training.
      seed: of latents and real draws.
      batch_size: examples at once.
      averaged: score the averaged generator.
      segmenter: that judges label maps; "" for the package's own where it fits, else one that is
        trained on the data set.
      segmenter_steps: train one on the data set for so many steps in any case; None does not.
      inception: file of the detector of frames; "" for none.
      vgg: file of the detector that precision and recall are of; "" for `inception`'s.
      fvd: file of the detector of clips, or a package's name; "" for none.
    """

    chosen: Chosen
    data: str = ""
    seed: int = 0
    batch_size: int = 32
    averaged: bool = True
    segmenter: str = ""
    segmenter_steps: int | None = None
    inception: str = ""
    vgg: str = ""
    fvd: str = ""

    @property
    def name(self) -> str:
        """For a folder: the protocol's name, and a digest where anything is set otherwise.

        So a report of another seed, say, does not take the place of the protocol's own.
        """
        plain = Asked(protocols.choose(self.chosen.name), batch_size=self.batch_size)
        if self == plain:
            return self.chosen.name
        return f"{self.chosen.name}-{digest(dataclasses.asdict(self))[:8]}"


@dataclasses.dataclass(frozen=True)
class Subject:
    """A checkpoint beside the data that it is scored on.

    Attributes:
      weights: the checkpoint's.
      exp: its experiment.
      source: real clips.
      spec: how examples are cut from them: with as many frames as are measured.
      prepare: what happens to all examples.
      num: examples to generate.
      reals: real examples.
      maps: label maps; None of generators without.
      maps_source: the clips that they are of.
      asked: what a user asks for.
      folder: of the data set.
      left_out: measures of the protocol that make no sense here, and why.
    """

    weights: Weights
    exp: Experiment
    source: Clips
    spec: ClipSpec
    prepare: Preparation
    num: int
    reals: RealDraws
    maps: LabelMaps | None
    maps_source: Clips | None
    asked: Asked
    folder: Path
    left_out: Mapping[str, str]

    @classmethod
    def of(cls, weights: Weights, asked: Asked) -> "Subject":
        """Checks that checkpoint, data and protocol go together.

        Raises:
          ValueError: they don't; the message says what to change.
        """
        exp, protocol = experiment_of(weights), asked.chosen.protocol
        left_out = _left_out(exp, asked.chosen)
        _check_used(exp, asked, {name for name in protocol.measures if name not in left_out})
        _check_length(exp, asked.chosen)
        folder = data_of(exp, weights, asked.data)
        source = open_source(folder, protocol.split or exp.config.data.split)
        prepare, trained = Preparation(protocol), exp.clip_spec
        if protocol.cut == protocols.WHOLE:
            trained = dataclasses.replace(trained, resize=trained.size)
        spec = dataclasses.replace(trained, num_frames=protocol.num_frames or trained.num_frames)
        maps, maps_source, num = None, None, protocol.num
        if exp.config.model.num_labels:
            maps_source = source
            if protocol.maps_split and protocol.maps_split != source.split:
                maps_source = open_source(folder, protocol.maps_split)
            maps = LabelMaps(maps_source, spec, num)
            num = num or len(maps)
            _check_maps(maps, maps_source, asked.chosen, num)
        if not num:
            raise ValueError(
                f"protocol {asked.chosen.name!r} generates an example for each label map, and the "
                "checkpoint is not conditioned on any; say how many as --num"
            )
        reals = draw_reals(source, spec, protocol, num=num, seed=asked.seed, prepare=prepare)
        if protocols.RELATIVE in protocol.measures:
            check_num(num, "--num")
            check_num(len(reals.reference), "the number of real examples")
        return cls(
            weights, exp, source, spec, prepare, num, reals, maps, maps_source, asked,
            folder, left_out,
        )  # fmt: skip

    @property
    def num_conditions(self) -> int:
        """Label maps, or classes, that examples are generated from; 0 without any."""
        if self.maps is not None:
            return len(self.maps)
        return self.exp.config.model.num_classes

    @property
    def same_fps(self) -> bool:
        """Whether real clips have as many frames a second as generated ones, as far as is known."""
        real = self.source.info.fps
        if real is None or self.spec.is_image:
            return True
        return math.isclose(real / self.spec.stride, float(self.weights.meta["fps"]), rel_tol=0.01)

    @property
    def is_clips(self) -> bool:
        """Whether examples are clips."""
        return not self.spec.is_image

    @functools.cached_property
    def judged(self) -> Judged | None:
        """Who judges label maps; maybe trained now. None where nobody does."""
        wanted = protocols.AGREEMENT in self.prepare.protocol.measures
        if self.maps_source is None or not wanted:
            return None
        asked, spec = self.asked, self.spec
        if size := self.prepare.protocol.resize:
            resize = round(spec.resize * size / spec.size)
            spec = dataclasses.replace(spec, size=size, resize=resize)
        source, steps = self.maps_source, asked.segmenter_steps
        return find_judge(self.exp, self.folder, source, spec, asked.segmenter, steps)

    @property
    def segment(self) -> Callable[[np.ndarray], np.ndarray] | None:
        """Tells the class of every pixel of frames; None where nobody judges."""
        return None if self.judged is None else self.judged.judge

    @functools.cached_property
    def fps(self) -> float:
        """Frames a second of the clips that are measured."""
        return float(self.weights.meta["fps"]) / self.prepare.protocol.subsample


def make_measures(subject: Subject, asked: Asked) -> list[Measure]:
    """The protocol's measures, in their order; detectors are read.

    Raises:
      ValueError: a measure lacks what it needs.
    """
    makers: dict[str, Callable[[], Measure]] = {
        protocols.RELATIVE: lambda: Relative(subject.is_clips),
        protocols.INCEPTION: lambda: Inception(
            _detector(asked.inception, "--inception", "FID, KID and IS", asked.chosen),
            asked.vgg or None,
            frames_per_clip=asked.chosen.protocol.frames_per_clip,
        ),
        protocols.FVD: lambda: Fvd(_detector(asked.fvd, "--i3d", "FVD", asked.chosen)),
        protocols.AGREEMENT: lambda: _agreement(subject),
        protocols.MOTION: lambda: Motion(fps=subject.fps),
        protocols.DIVERSITY: lambda: Diversity(
            asked.chosen.protocol.num_variations, conditional=subject.maps is not None
        ),
    }
    wanted = [name for name in asked.chosen.protocol.measures if name not in subject.left_out]
    # What takes seconds and may be refused comes before what may train a segmenter.
    order = sorted(wanted, key=lambda name: name == protocols.AGREEMENT)
    made = {name: makers[name]() for name in order}
    return [made[name] for name in wanted]


def data_of(exp: Experiment, weights: Weights, asked: str) -> Path:
    """The data set's folder: as asked for, or as the checkpoint was trained.

    Raises:
      ValueError: the checkpoint names none.
    """
    if asked:
        return files.path(asked)
    if (folder := trained_on(exp, weights.meta)) is None:
        raise ValueError(
            f"{weights.path.parent.parent} was not trained by its config, which names no data set; "
            "give the folder of one as --data (`python -m vidgan_jax.prepare scenes` makes one)"
        )
    return folder


def _left_out(exp: Experiment, chosen: Chosen) -> dict[str, str]:
    """Measures of the protocol that say nothing about such a generator, and why.

    Raises:
      ValueError: they are what the protocol is for.
    """
    model, named = exp.config.model, chosen.name != protocols.DEFAULT
    left_out = {}
    if not model.num_labels and protocols.AGREEMENT in chosen.protocol.measures:
        if named:
            raise ValueError(
                f"protocol {chosen.name!r} compares frames with label maps, and the checkpoint "
                "is not conditioned on any; take another one as --protocol"
            )
        left_out[protocols.AGREEMENT] = "the generator takes no label maps"
    if not model.num_frames and protocols.MOTION in chosen.protocol.measures:
        left_out[protocols.MOTION] = "images don't move"
    if not set(chosen.protocol.measures) - set(left_out):
        why = "; ".join(f"{name}: {reason}" for name, reason in left_out.items())
        raise ValueError(f"--measures: nothing is left to measure ({why}); name another one")
    return left_out


def _check_used(exp: Experiment, asked: Asked, measured: Collection[str]) -> None:
    """Refuses what is asked for and would change nothing.

    Raises:
      ValueError: the option, and what it is for.
    """
    model, changed = exp.config.model, asked.chosen.deviations
    of_measures = (
        (bool(asked.segmenter), "--segmenter", protocols.AGREEMENT),
        (asked.segmenter_steps is not None, "--segmenter-steps", protocols.AGREEMENT),
        ("classes" in changed, "--classes", protocols.AGREEMENT),
        ("min_share" in changed, "--min-share", protocols.AGREEMENT),
        (bool(asked.inception), "--inception", protocols.INCEPTION),
        (bool(asked.vgg), "--vgg", protocols.INCEPTION),
        ("frames_per_clip" in changed, "--frames-per-clip", protocols.INCEPTION),
        (bool(asked.fvd), "--i3d", protocols.FVD),
        ("num_variations" in changed, "--num-variations", protocols.DIVERSITY),
        ("num_varied" in changed, "--num-varied", protocols.DIVERSITY),
    )
    for given, flag, measure in of_measures:
        if given and measure not in measured:
            raise ValueError(f"{flag} is for the measure {measure!r}, which is not taken here")
    of_maps = {"maps_split": "--maps-split", "num_varied": "--num-varied"}
    of_maps["num_variations"] = "--num-variations"
    of_clips = {"num_frames": "--num-frames", "subsample": "--subsample"}
    of_clips["frames_per_clip"] = "--frames-per-clip"
    for needed, flags, what in (
        (model.num_labels, of_maps, "generators of label maps"),
        (model.num_frames, of_clips, "clips"),
    ):
        for field, flag in flags.items():
            if not needed and field in changed:
                raise ValueError(
                    f"{flag} is for {what}, which this checkpoint is not; leave it out"
                )


def _check_length(exp: Experiment, chosen: Chosen) -> None:
    protocol, made = chosen.protocol, exp.config.model.num_frames
    if made and protocols.FVD in protocol.measures and made < MIN_FRAMES:
        raise ValueError(
            f"FVD's network needs at least {MIN_FRAMES} frames, and the checkpoint makes {made}; "
            "take another protocol, or leave fvd out by --measures"
        )
    if not made:
        if protocols.FVD in protocol.measures:
            raise ValueError(
                f"protocol {chosen.name!r} measures clips (FVD), and the checkpoint makes images; "
                "take another one as --protocol, or inflate the checkpoint"
            )
        return
    if protocol.num_frames > made:
        raise ValueError(
            f"protocol {chosen.name!r} measures clips of {protocol.num_frames} frames, and the "
            f"checkpoint makes {made}; --num-frames={made} is another protocol, and recorded as "
            "such"
        )
    counted = len(range(0, protocol.num_frames or made, protocol.subsample))
    if protocols.FVD in protocol.measures and counted < MIN_FRAMES:
        raise ValueError(
            f"FVD's network needs at least {MIN_FRAMES} frames, and {counted} of the checkpoint's "
            f"{made} are measured; leave fvd out by --measures"
        )
    if counted < 2:
        raise ValueError(
            f"--subsample (={protocol.subsample}) leaves {counted} of "
            f"{protocol.num_frames or made} frames; at least 2 make a clip"
        )


def _check_maps(maps: LabelMaps, source: Clips, chosen: Chosen, num: int) -> None:
    if chosen.protocol.distinct_maps and num > len(maps):
        raise ValueError(
            f"protocol {chosen.name!r} wants {num} different label maps, and split "
            f"{source.split!r} has {len(maps)}; --num={len(maps)} is another protocol, and "
            "recorded as such"
        )


def _detector(where: str, flag: str, gives: str, chosen: Chosen) -> str:
    if not where:
        raise ValueError(
            f"protocol {chosen.name!r} measures {gives} by a network that is a file of yours: "
            f"give it as {flag} FILE (README, Scores, says which), or leave the measure out by "
            "--measures"
        )
    return where


def _agreement(subject: Subject) -> Measure:
    judged = subject.judged
    if judged is None:
        raise ValueError("label maps have no judge")
    return Agreement(
        judged.judge,
        subject.exp.config.model.num_labels,
        min_share=subject.prepare.protocol.min_share,
        made_of=judged.made_of,
        held_out=judged.held_out,
        classes=subject.prepare.protocol.classes or None,
    )


def describe_measures() -> Mapping[str, str]:
    """What each name of `--measures` stands for, for help texts."""
    return {
        protocols.RELATIVE: "distances by a fixed random network",
        protocols.INCEPTION: "FID, KID, IS, precision, recall (--inception)",
        protocols.FVD: "FVD (--i3d)",
        protocols.AGREEMENT: "segmented frames against label maps",
        protocols.MOTION: "how much, and how, clips move",
        protocols.DIVERSITY: "whether latents matter",
    }

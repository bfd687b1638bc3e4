"""Protocols: everything that a score depends on beside checkpoint and data, under one name.

A named protocol is a frozen record. What a user sets otherwise is a deviation: it is applied, told,
and written beside the scores, for a score with another protocol is another score.
"""

import dataclasses
import re
from collections.abc import Mapping
from typing import Any

from vidgan_jax.metrics.features import MIN_SIZE

# How real examples are drawn.
TRAINING = "training"  # as training draws them: any video, clip, start, crop and flip
ONE_PER_VIDEO = "one_per_video"  # of each video, in a drawn order, one drawn clip; centre crop
EVERY_CLIP = "every_clip"  # each clip once, in order, its first frames; centre crop
SAMPLINGS = (TRAINING, ONE_PER_VIDEO, EVERY_CLIP)
# What is cut from frames.
TRAINED = "trained"  # as for training: resized, then cropped
WHOLE = "whole"  # all of it, resized to the model's square
CUTS = (TRAINED, WHOLE)
FILTERS = ("bicubic", "bilinear", "lanczos", "area")

# Kinds of scores, in the order in which they are shown.
RELATIVE = "relative"  # distances by a fixed random network's features
INCEPTION = "inception"  # FID, KID, IS, precision and recall, by a detector's file
FVD = "fvd"  # by a detector's file
AGREEMENT = "agreement"  # of segmented frames with label maps
MOTION = "motion"
DIVERSITY = "diversity"
MEASURES = (RELATIVE, INCEPTION, FVD, AGREEMENT, MOTION, DIVERSITY)


@dataclasses.dataclass(frozen=True)
class Protocol:
    """How checkpoints are scored.

    Attributes:
      source: where the protocol is from; "" for our own.
      measures: kinds of scores; those of label maps are left out for generators without.
      num: examples generated; 0 for one of each label map.
      num_reference: real examples compared with, at most; 0 for as many as there are (of
        "training", as `num`).
      split: of the real examples; "" for the one trained on.
      maps_split: of label maps; "" for `split`.
      distinct_maps: refuse to use a label map twice, where there are fewer than `num`.
      sampling: of the real examples, one of `SAMPLINGS`.
      cut: of real frames and label maps, one of `CUTS`.
      num_frames: of each clip that are scored, from its first on; 0 for all.
      subsample: every so many-th of them only. Fewer are left.
      resize: height and width that all examples are resized to before they are measured, pixels;
        0 leaves them as they are.
      resize_filter: one of `FILTERS`, all antialiased.
      codec: what generated frames go through first: "none", or "jpeg:QUALITY" (1 to 100), for
        parity with real frames, which are stored as JPEG mostly.
      min_share: of the labelled pixels, from which on a class counts in the headline's mean IoU; 0
        for every class that occurs.
      classes: ids that count instead, as a published list has them; () for those of `min_share`.
      frames_per_clip: frames of each clip that the detector of frames looks at; 0 for all.
      num_variations: latents for each of the maps whose variations are compared.
      num_varied: such maps.
    """

    source: str = ""
    measures: tuple[str, ...] = (RELATIVE, AGREEMENT, MOTION, DIVERSITY)
    num: int = 512
    num_reference: int = 0
    split: str = ""
    maps_split: str = ""
    distinct_maps: bool = False
    sampling: str = TRAINING
    cut: str = TRAINED
    num_frames: int = 0
    subsample: int = 1
    resize: int = 0
    resize_filter: str = "bicubic"
    codec: str = "none"
    min_share: float = 0.01
    classes: tuple[int, ...] = ()
    frames_per_clip: int = 1
    num_variations: int = 8
    num_varied: int = 16


_SKOROKHODOV = "Skorokhodov et al. 2022, arXiv:2112.14683, section 4 and its code"

_FVD = Protocol(
    source=_SKOROKHODOV,
    measures=(FVD, MOTION),
    num=2048,
    num_reference=2048,
    split="train",
    sampling=ONE_PER_VIDEO,
    num_frames=128,
)

PROTOCOLS: Mapping[str, Protocol] = {
    "relative": Protocol(),
    "thesis": Protocol(
        source="Egan 2019 (MIT thesis), 4.3.3 and 4.3.4",
        measures=(AGREEMENT, MOTION, DIVERSITY),
        num=353,
        split="validation",
        distinct_maps=True,
        sampling=EVERY_CLIP,
    ),
    "spade-ade20k": Protocol(
        source="Park et al. 2019, arXiv:1903.07291, section 4, and its code",
        measures=(AGREEMENT, INCEPTION),
        num=0,
        split="validation",
        distinct_maps=True,
        sampling=EVERY_CLIP,
        cut=WHOLE,
        min_share=0.0,
    ),
    "fid50k": Protocol(
        source="Heusel et al. 2017, arXiv:1706.08500; 50,000 frames of each kind",
        measures=(INCEPTION, MOTION),
        num=50_000,
        split="train",
    ),
    "fvd2048_16f": dataclasses.replace(_FVD, num_frames=16),
    "fvd2048_128f": _FVD,
    "fvd2048_128f_subsample8f": dataclasses.replace(_FVD, subsample=8),
}
DEFAULT = "relative"


@dataclasses.dataclass(frozen=True)
class Chosen:
    """A protocol and what was set otherwise.

    Attributes:
      name: of the named one.
      protocol: what is done.
      deviations: fields set otherwise: the named protocol's value and ours.
    """

    name: str
    protocol: Protocol
    deviations: Mapping[str, tuple[Any, Any]]

    def as_json(self) -> dict[str, Any]:
        """For the manifest."""
        return {
            "name": self.name,
            **dataclasses.asdict(self.protocol),
            "deviations": {
                name: {"protocol": theirs, "used": ours}
                for name, (theirs, ours) in self.deviations.items()
            },
        }


def as_json() -> dict[str, Any]:
    """All named protocols."""
    return {name: dataclasses.asdict(protocol) for name, protocol in PROTOCOLS.items()}


def choose(name: str, **fields: Any) -> Chosen:
    """Takes a named protocol, with some fields set otherwise.

    Args:
      name: of `PROTOCOLS`.
      **fields: of `Protocol`; those that are None are left as the protocol has them.

    Raises:
      ValueError: no such protocol, or a value out of range; the message names the option.
    """
    if name not in PROTOCOLS:
        raise ValueError(f"--protocol (={name!r}) must be one of {', '.join(PROTOCOLS)}")
    named = PROTOCOLS[name]
    given = {field: value for field, value in fields.items() if value is not None}
    ours = dataclasses.replace(named, **given)
    _check(ours)
    deviations = {
        field: (getattr(named, field), value)
        for field, value in given.items()
        if value != getattr(named, field)
    }
    return Chosen(name, ours, deviations)


def _check(protocol: Protocol) -> None:
    for name, least in (
        ("num", 0),
        ("num_reference", 0),
        ("num_frames", 0),
        ("subsample", 1),
        ("resize", 0),
        ("frames_per_clip", 0),
        ("num_variations", 2),
        ("num_varied", 1),
    ):
        if (value := getattr(protocol, name)) < least:
            raise ValueError(f"--{name.replace('_', '-')} (={value}) must be at least {least}")
    choices = (("sampling", SAMPLINGS), ("cut", CUTS), ("resize_filter", FILTERS))
    for name, known in choices:
        if (value := getattr(protocol, name)) not in known:
            flag = name.replace("_", "-")
            raise ValueError(f"--{flag} (={value!r}) must be one of {', '.join(known)}")
    if unknown := [name for name in protocol.measures if name not in MEASURES]:
        raise ValueError(f"--measures {unknown[0]}: must be among {', '.join(MEASURES)}")
    for name in ("num", "num_reference"):
        if (value := getattr(protocol, name)) == 1:
            raise ValueError(f"--{name.replace('_', '-')} (=1) must be 0, or at least 2")
    if 0 < protocol.resize < MIN_SIZE:
        raise ValueError(f"--resize (={protocol.resize}) must be 0, or at least {MIN_SIZE}")
    if len(set(protocol.classes)) < len(protocol.classes):
        raise ValueError(f"--classes {' '.join(map(str, protocol.classes))}: an id is there twice")
    if not protocol.measures:
        raise ValueError(f"--measures: name at least one of {', '.join(MEASURES)}")
    if twice := [name for name in MEASURES if protocol.measures.count(name) > 1]:
        raise ValueError(f"--measures names {twice[0]} twice")
    if not 0 <= protocol.min_share < 1:
        raise ValueError(f"--min-share (={protocol.min_share}) must be from 0 to below 1")
    jpeg_quality(protocol.codec)


def jpeg_quality(codec: str) -> int | None:
    """The quality of "jpeg:QUALITY", 1 to 100; None for "none".

    Raises:
      ValueError: another codec.
    """
    if codec == "none":
        return None
    match = re.fullmatch(r"jpeg:(\d{1,3})", codec)
    if match is None or not 1 <= int(match[1]) <= 100:
        raise ValueError(f"--codec (={codec!r}) must be none, or jpeg:QUALITY with 1 to 100")
    return int(match[1])

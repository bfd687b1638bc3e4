"""What a measure is: it looks at streams of examples part by part, and then says its scores.

The engine (`vidgan_jax.evaluation.engine`) generates and reads examples in parts, shows each part
to every measure that wants its stream, and keeps what they observe on disk, so that a run that was
stopped goes on. No stream is ever in memory as a whole; what is observed of one is.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np

# Streams of examples, each in an order that only the protocol and the seeds decide.
FAKES = "fakes"  # generated; of conditional generators from the maps, in turn
REFERENCE = "reference"  # real ones, which fakes are compared with
FLOOR = "floor"  # real ones of another draw from the same split, as many as REFERENCE
LABELLED = "labelled"  # the real examples whose label maps FAKES are generated from, each once
VARIATIONS = (
    "variations"  # generated: each of a few maps with several latents, one map after another
)


@dataclasses.dataclass(frozen=True)
class Part:
    """Some examples of a stream, one after another.

    Attributes:
      first: number of the first one in the stream, from 0.
      frames: uint8 clips `[n, t, h, w, 3]`, or images `[n, h, w, 3]`.
      label_maps: the label map of each, uint8 `[n, h, w]`, 255 for "don't care";
        None in streams of data or generators without.
    """

    first: int
    frames: np.ndarray
    label_maps: np.ndarray | None = None

    @property
    def clips(self) -> np.ndarray:
        """The frames with a time axis, `[n, t, h, w, 3]`; t is 1 for images."""
        return self.frames if self.frames.ndim == 5 else self.frames[:, None]


@dataclasses.dataclass(frozen=True)
class Observation:
    """What a measure keeps of some examples; small, for all of a stream's are held at once.

    Attributes:
      rows: arrays by name, of something for each example (or frame), in the stream's order along
        the first axis: those of parts are joined.
      sums: arrays by name, counts or sums over the examples: those of parts are added. Integers,
        or float64.
    """

    rows: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)
    sums: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class ScoreTable:
    """A table of scores, as it is shown, and written as Markdown.

    Attributes:
      title: what it is of.
      columns: heads; the first one is of the rows' names.
      rows: cells, in words.
      caption: what to know about them.
    """

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    caption: str = ""


class Measure(Protocol):
    """One kind of scores.

    Attributes:
      name: its section in scores.json; short, lower case.
      streams: those that it looks at.
    """

    @property
    def name(self) -> str: ...

    @property
    def streams(self) -> tuple[str, ...]: ...

    def settings(self) -> Mapping[str, Any]:
        """All that the scores depend on beside the examples: versions, weights' digests, sizes.

        JSON; it goes into the manifest, and what was observed under other settings is not used.
        """
        ...

    def observe(self, part: Part) -> Observation:
        """Looks at a part; the same whatever parts there were before it.

        Raises:
          ValueError: examples that it can't measure (too small, too short).
        """
        ...

    def conclude(self, seen: Mapping[str, Observation]) -> Mapping[str, Any]:
        """The scores.

        Args:
          seen: of whole streams, by name: all of `streams`.

        Returns:
          JSON: numbers are finite or None.

        Raises:
          ValueError: too few examples.
        """
        ...

    def tables(self, found: Mapping[str, Any]) -> Sequence[ScoreTable]:
        """How `conclude`'s scores are shown."""
        ...

    def headline(self, found: Mapping[str, Any]) -> Mapping[str, float]:
        """The few of `conclude`'s scores that a sweep compares checkpoints by, of the fakes.

        Keys are as a table's head has them, "FID" or "pixel accuracy".
        """
        ...

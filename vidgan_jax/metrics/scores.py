"""Scores of generated examples: how far they are from real ones, and how much they move."""

import dataclasses
from collections.abc import Iterable, Iterator

import numpy as np

from vidgan_jax.data.clips import training_loader
from vidgan_jax.data.collection import Clips
from vidgan_jax.metrics import features
from vidgan_jax.metrics.frechet import Gaussian, Statistics, frechet_distance
from vidgan_jax.types import ClipSpec

_BATCH = 32


@dataclasses.dataclass(frozen=True)
class Summary:
    """What examples are reduced to; they themselves aren't needed any more.

    Attributes:
      num: examples.
      frames: features of all their single frames.
      clips: features of clips; None for images.
      motion: mean |x_{t+1} − x_t| of clips over pixels and channels, grey levels 0 to 255; None
        for images.
    """

    num: int
    frames: Gaussian
    clips: Gaussian | None = None
    motion: float | None = None


@dataclasses.dataclass(frozen=True)
class Scores:
    """Distances of examples from a reference, smaller is nearer.

    Attributes:
      frames: Fréchet distance of features of single frames.
      clips: the same of clips; None for images.
      motion: of the examples themselves, grey levels a frame; None for images.
    """

    frames: float
    clips: float | None = None
    motion: float | None = None


@dataclasses.dataclass(frozen=True)
class Reference:
    """Real examples to compare with.

    Attributes:
      real: a draw of them.
      floor: scores of another, disjoint draw of as many: what a generator would get that could not
        be told from the data. `floor.motion` is the data's.
    """

    real: Summary
    floor: Scores


def summarise(batches: Iterable[np.ndarray]) -> Summary:
    """Reduces examples, batch by batch.

    Args:
      batches: uint8 `[b, h, w, 3]`, or clips `[b, t, h, w, 3]`; all of one kind and size.

    Raises:
      ValueError: fewer than two examples, or frames too small to have features.
    """
    frames, clips = Statistics(), Statistics()
    num, motions = 0, []
    for batch in batches:
        num += len(batch)
        frames.add(features.frame_features(batch.reshape(-1, *batch.shape[-3:])))
        if batch.ndim == 5:
            clips.add(features.clip_features(batch))
            motions.append(motion(batch) * len(batch))
    if not motions:
        return Summary(num, frames.gaussian())
    return Summary(num, frames.gaussian(), clips.gaussian(), sum(motions) / num)


def motion(clips: np.ndarray) -> float:
    """Mean |x_{t+1} − x_t| over clips, pixels and channels, in grey levels (0 to 255).

    Args:
      clips: uint8 `[n, t, h, w, 3]`, t > 1.
    """
    steps = np.diff(clips.astype(np.int16), axis=1)
    return float(np.abs(steps).mean(dtype=np.float64))


def compare(examples: Summary, real: Summary) -> Scores:
    """Scores of examples against real ones.

    Raises:
      ValueError: images against clips.
    """
    if (examples.clips is None) != (real.clips is None):
        raise ValueError("images can't be compared with clips; cut both by one ClipSpec")
    clips = None
    if examples.clips is not None and real.clips is not None:
        clips = frechet_distance(examples.clips, real.clips)
    return Scores(frechet_distance(examples.frames, real.frames), clips, examples.motion)


def score(examples: np.ndarray, reference: Reference) -> Scores:
    """Scores of generated examples, uint8 `[n, …]` as `summarise` takes their batches."""
    batches = (examples[i : i + _BATCH] for i in range(0, len(examples), _BATCH))
    return compare(summarise(batches), reference.real)


def read_reference(source: Clips, spec: ClipSpec, *, num: int, seed: int) -> Reference:
    """Draws two disjoint sets of real examples, as training draws them: crops, starts, flips.

    Both are of the same videos, so the floor is of chance in drawing, not of new scenes.

    Args:
      source: the clips.
      spec: how to cut them: the generator's training data.
      num: examples in each set; as many as will be generated, for the distance depends on it.
      seed: of the draw.

    Raises:
      ValueError: `num` is too small for covariances, or the source has no two clips for `spec`.
    """
    check_num(num)
    with training_loader(source, spec, batch_size=_BATCH, seed=seed) as loader:
        if loader.num_clips < 2:
            raise ValueError(
                f"split {source.split!r} has only {loader.num_clips} clip of the {spec.span} frames"
                " needed; give a split, or a data set, with more"
            )
        real = summarise(_taken(loader, num))
        other = summarise(_taken(loader, num))
    return Reference(real, compare(other, real))


def check_num(num: int) -> None:
    """Refuses numbers of examples that leave a covariance without full rank.

    Raises:
      ValueError: `num` is not above the number of features.
    """
    if num <= features.NUM_FEATURES:
        raise ValueError(
            f"num (={num}) must be above {features.NUM_FEATURES}, the number of features, or their "
            "covariance can't be estimated; 512 is good"
        )


def _taken(loader: Iterator, num: int) -> Iterator[np.ndarray]:
    """The next `num` examples, in batches; what is left of the last one is dropped."""
    for start in range(0, num, _BATCH):
        yield np.asarray(next(loader).frames)[: num - start]

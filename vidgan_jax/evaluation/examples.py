"""The streams that are measured: generated and real examples, in parts, from any number on.

Example number i of a stream is a function of checkpoint, data, protocol, seed and i alone, so an
evaluation can go on in the middle of it.
"""

import dataclasses
import functools
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

import numpy as np
from PIL import Image

from vidgan_jax.data.clips import ClipIterator, evaluation_loader, training_loader, video_loader
from vidgan_jax.data.collection import Clips
from vidgan_jax.data.frames import decode_frame, encode_frames
from vidgan_jax.data.labels import resize_label_map
from vidgan_jax.data.sampling import Centre, Cut, evenly_spaced, fitting_clips
from vidgan_jax.evaluation import protocols
from vidgan_jax.evaluation.measure import Part
from vidgan_jax.synthesis.latents import pick_latents
from vidgan_jax.synthesis.run import Synthesizer
from vidgan_jax.types import ClipSpec

_RESAMPLING = {
    "bicubic": Image.Resampling.BICUBIC,
    "bilinear": Image.Resampling.BILINEAR,
    "lanczos": Image.Resampling.LANCZOS,
    "area": Image.Resampling.BOX,
}
_THREADS = 4


class Stream(Protocol):
    """Examples in an order of their own."""

    def __len__(self) -> int: ...

    def parts(self, first: int, size: int) -> Iterator[Part]:
        """Examples from number `first` on, `size` in a part; the last one may be smaller."""
        ...


@dataclasses.dataclass(frozen=True)
class Preparation:
    """What happens to examples before they are measured, as the protocol says.

    Attributes:
      protocol: that is followed.
    """

    protocol: protocols.Protocol

    def __call__(self, part: Part, *, generated: bool) -> Part:
        """Encodes (generated ones), takes the frames that count, resizes.

        Raises:
          ValueError: clips have fewer frames than the protocol wants.
        """
        frames, quality = part.frames, protocols.jpeg_quality(self.protocol.codec)
        if frames.ndim == 5:
            frames = frames[:, : self.protocol.num_frames or None : self.protocol.subsample]
        if generated and quality is not None:
            frames = _of_each(frames, functools.partial(_through_jpeg, quality=quality))
        size, label_maps = self.protocol.resize, part.label_maps
        if size and size != frames.shape[-2]:
            how = _RESAMPLING[self.protocol.resize_filter]
            frames = _of_each(frames, functools.partial(_resized, size=size, how=how))
        if label_maps is not None and size and size != label_maps.shape[-1]:
            label_maps = np.stack([resize_label_map(label_map, size) for label_map in label_maps])
        return Part(part.first, frames, label_maps)


def _of_each(frames: np.ndarray, change: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """`change` of every single frame `[h, w, 3]`; its work is Pillow's or libjpeg's, in threads."""
    single = frames.reshape(-1, *frames.shape[-3:])
    with ThreadPoolExecutor(_THREADS) as pool:
        changed = np.stack(list(pool.map(change, single)))
    return changed.reshape(*frames.shape[:-3], *changed.shape[1:])


def _through_jpeg(frame: np.ndarray, *, quality: int) -> np.ndarray:
    return decode_frame(encode_frames(frame[None], quality=quality)[0])


def _resized(frame: np.ndarray, *, size: int, how: Image.Resampling) -> np.ndarray:
    return np.asarray(Image.fromarray(frame).resize((size, size), how))


class LabelMaps:
    """The label maps of a split's clips, by number: centre crops, not flipped.

    Args:
      source: the clips.
      spec: how examples are cut from them, `label_maps` on.
      at_most: maps; of more, so many evenly spaced ones are taken. 0 for all.
    """

    def __init__(self, source: Clips, spec: ClipSpec, at_most: int = 0) -> None:
        # A whole example must fit: these maps' clips are what generated ones are compared with.
        fitting = evenly_spaced(fitting_clips(source, spec), at_most or None)
        self._cut = Cut(source, dataclasses.replace(spec, num_frames=0))
        self._sample = Centre(fitting, spec)
        self._num = len(fitting)

    def __len__(self) -> int:
        return self._num

    def __getitem__(self, numbers: Sequence[int] | np.ndarray) -> np.ndarray:
        """Label maps by number, counted in turn beyond the last: uint8 `[n, size, size]`.

        Raises:
          RecordError: a record can't be used.
        """
        batches = (self._cut(self._sample(int(i) % self._num)) for i in numbers)
        return np.stack([np.asarray(batch.label_map) for batch in batches])


@dataclasses.dataclass(frozen=True)
class Numbers:
    """Which latent and which condition each example of a stream is generated from.

    Attributes:
      latents: numbers of latents of the seed.
      conditions: numbers of label maps; of classes, those ids.
    """

    latents: np.ndarray
    conditions: np.ndarray


def in_turn(num: int, num_conditions: int) -> Numbers:
    """Example i is of latent i, and of the conditions in turn."""
    return Numbers(np.arange(num), np.arange(num) % max(1, num_conditions))


def variations(num_varied: int, num_variations: int, num_maps: int) -> Numbers:
    """Some maps, evenly spaced (neighbours are often of one video), the same latents for each."""
    maps = np.linspace(0, num_maps - 1, num_varied).round().astype(int)
    latents = np.tile(np.arange(num_variations), num_varied)
    return Numbers(latents, np.repeat(maps, num_variations))


class Generated:
    """Generated examples.

    Args:
      synthesizer: the generator.
      seed: of the latents.
      numbers: what each example is generated from.
      maps: label maps, of generators that are conditioned on them.
      prepare: what comes after.
    """

    def __init__(
        self,
        synthesizer: Synthesizer,
        seed: int,
        numbers: Numbers,
        maps: LabelMaps | None,
        prepare: Preparation,
    ) -> None:
        self._synthesizer, self._seed = synthesizer, seed
        self._numbers, self._maps, self._prepare = numbers, maps, prepare

    def __len__(self) -> int:
        return len(self._numbers.latents)

    def parts(self, first: int, size: int) -> Iterator[Part]:
        """As `Stream` has it; `size` is at most the synthesizer's batch."""
        for start in range(first, len(self), size):
            yield self.pick(np.arange(start, min(start + size, len(self))))

    def pick(self, numbers: np.ndarray) -> Part:
        """The examples with these numbers."""
        model = self._synthesizer.exp.config.model
        conditions, label_maps, cond = self._numbers.conditions[numbers], None, None
        if self._maps is not None:
            cond = label_maps = self._maps[conditions]
        elif model.num_classes > 1:
            cond = conditions.astype(np.int32)
        chosen = [int(i) for i in self._numbers.latents[numbers]]
        latents = pick_latents(self._seed, chosen, model.z_dim, None)
        part = Part(int(numbers[0]), self._synthesizer(latents, cond), label_maps)
        return self._prepare(part, generated=True)


class Real:
    """Real examples.

    Args:
      open_loader: opens a loader of so many examples a batch.
      num: examples of the stream.
      skipped: examples that the loader has before them.
      prepare: what comes after.
    """

    def __init__(
        self,
        open_loader: Callable[[int], ClipIterator],
        num: int,
        *,
        skipped: int = 0,
        prepare: Preparation,
    ) -> None:
        self._open, self._num, self._skipped = open_loader, num, skipped
        self._prepare = prepare

    def __len__(self) -> int:
        return self._num

    def parts(self, first: int, size: int) -> Iterator[Part]:
        """As `Stream` has it."""
        if first >= self._num:
            return
        with self._open(size) as loader:
            loader.set_state({"samples": self._skipped + first})
            while first < self._num:
                batch = next(loader)
                frames = np.asarray(batch.frames)[: self._num - first]
                label_maps = batch.label_map
                if label_maps is not None:
                    label_maps = np.asarray(label_maps)[: len(frames)]
                yield self._prepare(Part(first, frames, label_maps), generated=False)
                first += len(frames)


@dataclasses.dataclass(frozen=True)
class RealDraws:
    """The two draws of real examples.

    Attributes:
      reference: what generated ones are compared with.
      floor: another one, of as many.
      floor_is: what the other one is, in words.
    """

    reference: Real
    floor: Real
    floor_is: str


def draw_reals(
    source: Clips,
    spec: ClipSpec,
    protocol: protocols.Protocol,
    *,
    num: int,
    seed: int,
    prepare: Preparation,
) -> RealDraws:
    """Draws real examples as the protocol says.

    Args:
      source: the clips.
      spec: how training cuts them.
      protocol: says how many, and how they are drawn.
      num: examples where the protocol leaves it open how many are drawn as for training.
      seed: of the draws.
      prepare: what comes after.

    Raises:
      ValueError: the source has no clips for `spec`, or only one.
    """
    fitting = fitting_clips(source, spec)
    if len(fitting) < 2:
        raise ValueError(
            f"split {source.split!r} has only 1 clip of the {spec.span} frames needed; give a "
            "split, or a data set, with more"
        )

    def as_trained(size: int) -> ClipIterator:
        return training_loader(source, spec, batch_size=size, seed=seed)

    def every_clip(size: int) -> ClipIterator:
        return evaluation_loader(source, spec, batch_size=size, at_most=count)

    def of_videos(size: int, seed: int) -> ClipIterator:
        return video_loader(source, spec, batch_size=size, seed=seed)

    at_most = protocol.num_reference
    if protocol.sampling == protocols.TRAINING:
        count = at_most or num
        other = Real(as_trained, count, skipped=count, prepare=prepare)
        told = "drawn again from the same videos; of few clips, some are the same"
        return RealDraws(Real(as_trained, count, prepare=prepare), other, told)
    if protocol.sampling == protocols.EVERY_CLIP:
        count = min(at_most or len(fitting), len(fitting))
        other = Real(as_trained, count, prepare=prepare)
        told = "the same clips, drawn as for training: other starts, crops, flips"
        return RealDraws(Real(every_clip, count, prepare=prepare), other, told)
    num_videos = len(np.unique(source.video[fitting]))
    count = min(at_most or num_videos, num_videos)
    drawn = functools.partial(of_videos, seed=seed)
    if 2 * count <= num_videos:
        other, told = Real(drawn, count, skipped=count, prepare=prepare), "other videos"
    else:
        again = functools.partial(of_videos, seed=seed + 1)
        other = Real(again, count, prepare=prepare)
        told = "the same videos, clips and starts drawn again, for there are no others: too low"
    return RealDraws(Real(drawn, count, prepare=prepare), other, told)


def labelled(source: Clips, spec: ClipSpec, num: int, prepare: Preparation) -> Real:
    """The real examples of `LabelMaps` of at most `num`, with their maps."""

    def open_loader(size: int) -> ClipIterator:
        return evaluation_loader(source, spec, batch_size=size, at_most=num)

    return Real(open_loader, min(num, len(fitting_clips(source, spec))), prepare=prepare)

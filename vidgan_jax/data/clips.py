"""The input pipeline: clips of a split → cut, cropped, flipped → `Batch`, by Grain.

Sample number i of a training run, counted over all hosts and from the run's first step, is a pure
function of (data set, spec, seed, i): Grain seeds one generator for every i, and all of a sample's
choices are drawn from it. Drawing comes first, dividing among hosts, threads and worker processes
after. So one integer, the samples taken so far, is the whole state: it can be restored at once and
with any number of hosts, workers and threads.
"""

import dataclasses
import gc
from collections.abc import Sequence
from typing import Any

import grain
import numpy as np
from absl import flags

from vidgan_jax.data.collection import Clips
from vidgan_jax.data.sampling import Centre, Cut, Draw, Sample, fitting_clips
from vidgan_jax.types import Batch, ClipSpec

# Grain wants a length. 2⁴⁸ samples do not end, and the floats Grain divides by still count them.
_ENDLESS = 1 << 48


def training_loader(
    source: Clips,
    spec: ClipSpec,
    *,
    batch_size: int,
    seed: int,
    process_index: int = 0,
    process_count: int = 1,
    num_workers: int = 0,
    num_threads: int = 2,
    read_buffer: int = 4,
) -> "ClipIterator":
    """Random examples without end.

    Draws uniformly a video, one of its clips, a start (for images: a frame; `spec.start_frames` is
    for clips only), a crop and a flip. Clips too short for `spec.span`, and where `spec.label_maps`
    those without a label map, are left out. An epoch is as many samples as there are clips left
    (`num_clips`); no two epochs are equal.

    Args:
      source: the clips.
      spec: what to cut.
      batch_size: examples in a batch of this process.
      seed: of everything drawn.
      process_index: this process (`jax.process_index()`), which takes every `process_count`-th
        sample of one common sequence.
      process_count: processes that train together.
      num_workers: worker processes that read and decode; 0 for this process. They are spawned: a
        script needs its `if __name__ == "__main__":`.
      num_threads: reading threads, in each worker process; 0 reads when asked.
      read_buffer: finished batches to hold ready, in each worker process.

    Returns:
      An iterator of `Batch`; close it.

    Raises:
      ValueError: an argument out of range, or no clip that fits `spec`.
    """
    reading = _Reading(
        batch_size, process_index, process_count, num_workers, num_threads, read_buffer
    )
    if seed < 0:
        raise ValueError(f"seed (={seed}) must be at least 0")
    fitting = fitting_clips(source, spec)
    samples = grain.MapDataset.range(_ENDLESS).seed(seed).random_map(Draw(source, fitting, spec))
    return ClipIterator(samples, Cut(source, spec), fitting, reading)


def evaluation_loader(
    source: Clips,
    spec: ClipSpec,
    *,
    batch_size: int,
    process_index: int = 0,
    process_count: int = 1,
    num_workers: int = 0,
    num_threads: int = 2,
    read_buffer: int = 4,
) -> "ClipIterator":
    """Every clip that fits `spec` once, in the source's order, without augmentation.

    An example begins at its clip's first frame and is the centre crop, not flipped. The last batch
    may be smaller. With several processes each takes every `process_count`-th clip, and one may get
    a clip, even a batch, less than another.

    Args and errors are those of `training_loader`.

    Returns:
      An iterator of `Batch` that ends; close it.
    """
    reading = _Reading(
        batch_size, process_index, process_count, num_workers, num_threads, read_buffer
    )
    fitting = fitting_clips(source, spec)
    samples = grain.MapDataset.range(len(fitting)).map(Centre(fitting, spec))
    return ClipIterator(samples, Cut(source, spec), fitting, reading)


class ClipIterator(grain.DatasetIterator[Batch]):
    """Iterates over batches of this process; made by `training_loader`, `evaluation_loader`.

    A context manager: leaving it ends threads and worker processes. Its state is `{"samples": n}`,
    the samples that all processes together have taken, and so the same on all of them.

    Attributes:
      num_clips: clips that fit the spec, the length of an epoch in samples.
      num_videos: videos that those clips are from.
      batch_size: of this process.
    """

    def __init__(
        self,
        samples: grain.MapDataset[Sample],
        cut: Cut,
        fitting: np.ndarray,
        reading: "_Reading",
    ):
        super().__init__()
        self.num_clips = len(fitting)
        self.num_videos = len(np.unique(cut.source.video[fitting]))
        self.batch_size = reading.batch_size
        self._samples = samples
        self._cut = cut
        self._reading = reading
        self._position = 0
        self._running: grain.DatasetIterator[Batch] | None = None

    def __next__(self) -> Batch:
        """The next batch.

        Raises:
          RecordError: a record that cannot be used; the message names shard and record. The
            position stays: the same batch comes next.
          StopIteration: an evaluation loader has no more clips.
          ValueError: the iterator is closed.
        """
        running = self._start()
        try:
            batch = next(running)
        except StopIteration:
            raise
        except BaseException:
            # Grain's prefetching loses its place where an element fails.
            self._stop()
            raise
        self._position += self.batch_size * self._reading.process_count
        if self._reading.num_workers:
            # Out of shared memory, which Grain takes back whoever may still look at it.
            label_map = None if batch.label_map is None else np.array(batch.label_map)
            batch = Batch(np.array(batch.frames), label_map)
        return batch

    def start_prefetch(self) -> None:
        """Starts reading in the background, if this has not begun.

        Raises:
          ValueError: the iterator is closed.
        """
        self._start()

    def get_state(self) -> dict[str, int]:
        """`{"samples": n}`: the samples that all processes together have taken."""
        return {"samples": self._position}

    def set_state(self, state: dict[str, Any]) -> None:
        """Goes to the position of `get_state`, of this or another loader of the same sequence.

        The numbers of processes, workers and threads, and the batch size, may differ.

        Raises:
          ValueError: not a state of this class.
        """
        position = state.get("samples") if isinstance(state, dict) else None
        if isinstance(position, bool) or not isinstance(position, int) or position < 0:
            raise ValueError(
                f"the loader's state must be {{'samples': n}} with n ≥ 0, got {state!r}; was it "
                "saved by another loader?"
            )
        self._stop()
        self._position = position

    def close(self) -> None:
        """Ends threads and worker processes; may be called twice."""
        self._closed = True
        self._stop()

    def __enter__(self) -> "ClipIterator":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return (
            f"ClipIterator({self._cut.source!r}, {self._cut.spec!r}, batch_size={self.batch_size})"
        )

    def _start(self) -> grain.DatasetIterator[Batch]:
        if self._closed:
            raise ValueError("the loader is closed; make a new one")
        if self._running is None:
            self._running = iter(self._dataset())
            self._running.start_prefetch()
        return self._running

    def _dataset(self) -> grain.IterDataset[Batch]:
        reading = self._reading
        mine = self._samples[self._position + reading.process_index :: reading.process_count]
        batches = mine.map(self._cut).batch(self.batch_size, batch_fn=_stack)
        # Grain's buffer counts batches. It warns where threads outnumber it.
        buffer = max(reading.read_buffer, reading.num_threads)
        dataset = batches.to_iter_dataset(grain.ReadOptions(reading.num_threads, buffer))
        if reading.num_workers:
            if not flags.FLAGS.is_parsed():
                flags.FLAGS.mark_as_parsed()  # Grain asks absl when it starts processes.
            dataset = dataset.mp_prefetch(grain.MultiprocessingOptions(reading.num_workers))
        return dataset

    def _stop(self) -> None:
        if self._running is not None:
            self._running.close()
            self._running = None
            if self._reading.num_workers:
                # Grain's iterators end as a cycle of references that holds shared memory.
                gc.collect()


@dataclasses.dataclass(frozen=True)
class _Reading:
    """The arguments that the loaders share, checked."""

    batch_size: int
    process_index: int
    process_count: int
    num_workers: int
    num_threads: int
    read_buffer: int

    def __post_init__(self) -> None:
        positive = ("batch_size", "process_count", "read_buffer")
        for name, value in dataclasses.asdict(self).items():
            least = 1 if name in positive else 0
            if value < least:
                raise ValueError(f"{name} (={value}) must be at least {least}")
        if self.process_index >= self.process_count:
            raise ValueError(
                f"process_index (={self.process_index}) must be below process_count "
                f"(={self.process_count})"
            )


def _stack(examples: Sequence[Batch]) -> Batch:
    label_maps = [np.asarray(e.label_map) for e in examples if e.label_map is not None]
    return Batch(
        np.stack([np.asarray(example.frames) for example in examples]),
        np.stack(label_maps) if label_maps else None,
    )

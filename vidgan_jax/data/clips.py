"""The input pipeline: clips of a split → cut, cropped, flipped → `Batch`, by Grain.

Sample number i of a training run, counted over all hosts and from the run's first step, is a pure
function of (data set, spec, seed, i): Grain seeds one generator for every i, and all of a sample's
choices are drawn from it. Drawing comes first, dividing among hosts, threads and worker processes
after: a host's batch is some rows of the batch that all hosts have together, and that one is the
same however many they are. So one integer, the samples taken so far, is the whole state: it can be
restored at once and with any number of hosts, workers and threads.
"""

import dataclasses
import gc
from collections.abc import Callable, Sequence
from typing import Any

import grain
import numpy as np
from absl import flags

from vidgan_jax.data.collection import Clips
from vidgan_jax.data.sampling import (
    Centre,
    Cut,
    Damage,
    Draw,
    DrawUndamaged,
    Examples,
    OnePerVideo,
    evenly_spaced,
    fitting_clips,
)
from vidgan_jax.data.tfexample import RecordError
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
    max_skipped: int | None = None,
    on_skip: Callable[[RecordError, int], None] | None = None,
) -> "ClipIterator":
    """Random examples without end.

    Draws uniformly a video, one of its clips, a start (for images: a frame; `spec.start_frames` is
    for clips only), a crop and a flip. Clips too short for `spec.span`, and where `spec.label_maps`
    those without a label map, are left out. An epoch is as many samples as there are clips left
    (`num_clips`); no two epochs are equal.

    A damaged record is an error, or with `max_skipped` another example is drawn in the place of
    its own: the same one whoever reads it, and all other examples stay as they are. A file that is
    gone, or cannot be read at all, is an error anyway.

    Args:
      source: the clips.
      spec: what to cut.
      batch_size: examples in a batch of this process.
      seed: of everything drawn.
      process_index: this process (`jax.process_index()`). Of each `process_count · batch_size`
        samples of the common sequence it takes the `batch_size` from its own number times
        `batch_size` on: batches put one behind the other, by process, are that of one process.
      process_count: processes that train together, with the same `batch_size`.
      num_workers: worker processes that read and decode; 0 for this process. They are spawned: a
        script needs its `if __name__ == "__main__":`.
      num_threads: reading threads, in each worker process; 0 reads when asked.
      read_buffer: finished batches to hold ready, in each worker process.
      max_skipped: different damaged records that this process may come across before
        `RecordError`; None for an error at the first.
      on_skip: called in this process with each of them that is new, in their order, and with how
        many there are so far; before the batch that lacks it is given out.

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
    skipped = None if max_skipped is None else _Skipped(max_skipped, on_skip)
    draw, cut = Draw(source, fitting, spec), Cut(source, spec)
    numbers = grain.MapDataset.range(_ENDLESS).seed(seed)
    if skipped is None:
        examples = numbers.random_map(draw).map(cut).map(Examples)
    else:
        examples = numbers.random_map(DrawUndamaged(draw, cut))
    return ClipIterator(examples, _in_rows, cut, fitting, reading, skipped)


def evaluation_loader(
    source: Clips,
    spec: ClipSpec,
    *,
    batch_size: int,
    at_most: int | None = None,
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

    Args:
      at_most: clips; of more, so many evenly spaced ones are taken, for neighbours are often of one
        video. None for all.

    The other args, and errors, are those of `training_loader`.

    Returns:
      An iterator of `Batch` that ends; close it.
    """
    reading = _Reading(
        batch_size, process_index, process_count, num_workers, num_threads, read_buffer
    )
    fitting = evenly_spaced(fitting_clips(source, spec), at_most)
    cut = Cut(source, spec)
    examples = grain.MapDataset.range(len(fitting)).map(Centre(fitting, spec)).map(cut)
    return ClipIterator(examples.map(Examples), _in_turn, cut, fitting, reading)


def video_loader(
    source: Clips,
    spec: ClipSpec,
    *,
    batch_size: int,
    seed: int,
    num_threads: int = 2,
    read_buffer: int = 4,
) -> "ClipIterator":
    """One clip of each video once, in a drawn order, without augmentation; see `OnePerVideo`.

    Args and errors are those of `training_loader`.

    Returns:
      An iterator of `Batch` that ends after `num_videos` examples; close it.
    """
    reading = _Reading(batch_size, 0, 1, 0, num_threads, read_buffer)
    fitting = fitting_clips(source, spec)
    cut, drawn = Cut(source, spec), OnePerVideo(source, fitting, spec, seed)
    examples = grain.MapDataset.range(len(drawn)).map(drawn).map(cut).map(Examples)
    return ClipIterator(examples, _in_turn, cut, fitting, reading)


class Rows(grain.MapDataset[Any]):
    """A process's rows of every batch that all processes have together.

    Other rows are not even drawn.

    Args:
      samples: the common sequence.
      first: the first sample of the first batch.
      rows: of each process, in a batch.
      process_index: whose rows.
      process_count: of a batch.
    """

    def __init__(
        self,
        samples: grain.MapDataset[Any],
        first: int,
        *,
        rows: int,
        process_index: int,
        process_count: int,
    ):
        super().__init__(samples)
        self._samples = samples
        self._rows = rows
        self._stride = rows * process_count
        self._first = first + rows * process_index
        self._length = max(len(samples) - first, 0) // self._stride * rows

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return self.slice(index)
        batch, row = divmod(index, self._rows)
        return self._samples[self._first + batch * self._stride + row]


def _in_turn(
    samples: grain.MapDataset[Examples], first: int, reading: "_Reading"
) -> grain.MapDataset[Examples]:
    """Every `process_count`-th sample: shares as equal as they get where the samples end."""
    return samples[first + reading.process_index :: reading.process_count]


def _in_rows(
    samples: grain.MapDataset[Examples], first: int, reading: "_Reading"
) -> grain.MapDataset[Examples]:
    """Batches of all processes, divided into rows."""
    return Rows(
        samples,
        first,
        rows=reading.batch_size,
        process_index=reading.process_index,
        process_count=reading.process_count,
    )


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
        samples: grain.MapDataset[Examples],
        divide: Callable[[grain.MapDataset[Examples], int, "_Reading"], grain.MapDataset[Examples]],
        cut: Cut,
        fitting: np.ndarray,
        reading: "_Reading",
        skipped: "_Skipped | None" = None,
    ):
        super().__init__()
        self.num_clips = len(fitting)
        self.num_videos = len(np.unique(cut.source.video[fitting]))
        self.batch_size = reading.batch_size
        self._samples = samples
        self._divide = divide
        self._cut = cut
        self._reading = reading
        self._skipped = skipped
        self._position = 0
        self._running: grain.DatasetIterator[Examples] | None = None

    def __next__(self) -> Batch:
        """The next batch.

        Raises:
          RecordError: a record that cannot be used, or one too many of those to be skipped; the
            message names shard and record. The position stays: the same batch comes next.
          StopIteration: an evaluation loader has no more clips.
          ValueError: the iterator is closed.
        """
        running = self._start()
        try:
            batch, damage = next(running)
            if self._skipped is not None:
                self._skipped.add(damage)
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

    def _start(self) -> grain.DatasetIterator[Examples]:
        if self._closed:
            raise ValueError("the loader is closed; make a new one")
        if self._running is None:
            self._running = iter(self._dataset())
            self._running.start_prefetch()
        return self._running

    def _dataset(self) -> grain.IterDataset[Examples]:
        reading = self._reading
        mine = self._divide(self._samples, self._position, reading)
        batches = mine.batch(self.batch_size, batch_fn=_stack)
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


class _Skipped:
    """The damaged records that a loader has come across, each counted and told once."""

    def __init__(
        self, max_skipped: int, on_skip: Callable[[RecordError, int], None] | None
    ) -> None:
        if max_skipped < 0:
            raise ValueError(f"max_skipped (={max_skipped}) must be at least 0, or None")
        if on_skip is None:
            raise ValueError(
                f"max_skipped (={max_skipped}) needs on_skip: no record is to be skipped in silence"
            )
        self._max_skipped = max_skipped
        self._on_skip = on_skip
        self._clips: set[int] = set()

    def add(self, damage: Sequence[Damage]) -> None:
        """Counts and tells what is new.

        Raises:
          RecordError: one too many.
        """
        for clip, error in damage:
            if clip in self._clips:
                continue
            count = len(self._clips) + 1
            if count > self._max_skipped:
                raise RecordError(
                    f"{error}. It is number {count} of the damaged records, and more than "
                    f"config.faults.max_skipped_records (={self._max_skipped})"
                )
            self._on_skip(error, count)
            self._clips.add(clip)


def _stack(examples: Sequence[Examples]) -> Examples:
    batches = [example.batch for example in examples]
    label_maps = [np.asarray(b.label_map) for b in batches if b.label_map is not None]
    batch = Batch(
        np.stack([np.asarray(batch.frames) for batch in batches]),
        np.stack(label_maps) if label_maps else None,
    )
    return Examples(batch, tuple(damage for example in examples for damage in example.damage))

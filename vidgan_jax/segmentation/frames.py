"""What a segmenter learns from: single frames of several sizes, with their label maps."""

import jax
import numpy as np

from vidgan_jax.data.clips import ClipIterator, training_loader
from vidgan_jax.data.collection import Clips
from vidgan_jax.segmentation.config import SegmenterConfig
from vidgan_jax.types import Batch, ClipSpec


def frame_spec(config: SegmenterConfig, size: int, resize: int) -> ClipSpec:
    """How single frames, with their label maps, are cut from clips.

    Args:
      config: of the run; not all of its sizes count here.
      size: height and width of the crop, pixels.
      resize: height and width of the frames that it is taken from.
    """
    return ClipSpec(
        num_frames=0,
        stride=1,
        size=size,
        resize=resize,
        flip=config.data.flip,
        label_maps=True,
        num_labels=config.segmenter.num_labels,
        dont_care=config.data.dont_care,
    )


class Frames:
    """Random frames and label maps without end, as many of each of `data.resizes` in a batch.

    A context manager: leaving it ends threads and worker processes.

    Args:
      config: of the run.
      source: the clips.

    Raises:
      ValueError: no clip fits, or the batch can't be shared among processes and sizes.
    """

    def __init__(self, config: SegmenterConfig, source: Clips) -> None:
        data, train = config.data, config.train
        parts = jax.process_count() * len(data.resizes)
        if train.batch_size % parts:
            raise ValueError(
                f"batch_size (={train.batch_size}) must divide by {parts}: the processes times the "
                "sizes of config.data.resizes"
            )
        # Each size has a seed of its own, or a batch would show the same frames at all of them.
        seeds = np.random.SeedSequence(train.seed).generate_state(len(data.resizes))
        self._loaders: list[ClipIterator] = [
            training_loader(
                source,
                frame_spec(config, config.segmenter.size, resize),
                batch_size=train.batch_size // parts,
                seed=int(seed),
                process_index=jax.process_index(),
                process_count=jax.process_count(),
                num_workers=data.num_workers,
                num_threads=data.num_threads,
            )
            for resize, seed in zip(data.resizes, seeds, strict=True)
        ]
        self._taken_at_once = train.batch_size // len(data.resizes)
        self.samples = 0

    def __next__(self) -> Batch:
        batches = [next(loader) for loader in self._loaders]
        self.samples += self._taken_at_once
        return Batch(
            np.concatenate([np.asarray(batch.frames) for batch in batches]),
            np.concatenate([np.asarray(batch.label_map) for batch in batches]),
        )

    def go_to(self, samples: int) -> None:
        """Goes to where so many samples of each size have been taken."""
        for loader in self._loaders:
            loader.set_state({"samples": samples})
        self.samples = samples

    def __enter__(self) -> "Frames":
        return self

    def __exit__(self, *error: object) -> None:
        for loader in self._loaders:
            loader.close()

"""One example out of a clip: which clips fit, what to cut from them, and the cutting."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from PIL import Image

from vidgan_jax.data.clip_record import ClipRecord
from vidgan_jax.data.collection import Clips
from vidgan_jax.data.frames import decode_frame, decode_label_map
from vidgan_jax.data.labels import MAX_LABELS, known_ids, resized_label_crop
from vidgan_jax.data.tfexample import DatasetError, RecordError
from vidgan_jax.types import Batch, ClipSpec

# Of a sample whose records are all damaged. Where half of all records are, one in 2¹⁰⁰ is such.
_MAX_DRAWS = 100


class Sample(NamedTuple):
    """Where one example is cut from.

    Attributes:
      clip: index into the source.
      start: first frame.
      top: first row of the crop, pixels of the resized frame.
      left: first column of the crop, likewise.
      flip: mirror left to right.
    """

    clip: int
    start: int
    top: int
    left: int
    flip: bool


class Damage(NamedTuple):
    """A record that an example was to be cut from, and could not be.

    Attributes:
      clip: index into the source.
      error: what is wrong with the record, and where it is.
    """

    clip: int
    error: RecordError


class Examples(NamedTuple):
    """One example, or a batch of them, and what was met on the way.

    Attributes:
      batch: the example, without a batch axis, or all of them.
      damage: records passed over for others, in the order met; maybe one several times.
    """

    batch: Batch
    damage: tuple[Damage, ...] = ()


def fitting_clips(source: Clips, spec: ClipSpec) -> np.ndarray:
    """Indices of the clips that examples can be cut from.

    Those too short for `spec.span`, and where `spec.label_maps` those without a label map, are not
    among them.

    Returns:
      int64, ascending, at least one.

    Raises:
      ValueError: `spec` has a value out of range, or no clip fits it.
    """
    _check_spec(spec)
    long_enough = source.num_frames >= spec.span
    fitting = long_enough & source.has_label_map if spec.label_maps else long_enough
    if fitting.any():
        return np.flatnonzero(fitting)
    if not long_enough.any():
        raise ValueError(
            f"num_frames (={spec.num_frames}) with stride (={spec.stride}) needs clips of "
            f"{spec.span} frames, but the {len(source)} clips of split {source.split!r} have "
            f"{source.num_frames.min()} to {source.num_frames.max()}; use a smaller num_frames or "
            "stride, or prepare longer clips"
        )
    raise ValueError(
        f"label maps are needed (config.model.num_labels is above 0), but of the {len(source)} "
        f"clips of split {source.split!r} "
        f"{int(source.has_label_map.sum())} have a label map, {int(long_enough.sum())} have the "
        f"{spec.span} frames needed, and none has both; prepare the data set with label maps"
    )


def evenly_spaced(clips: np.ndarray, at_most: int | None) -> np.ndarray:
    """`at_most` of the clips, from the first to the last, at equal distances; None for all."""
    if at_most is None or at_most >= len(clips):
        return clips
    return clips[np.linspace(0, len(clips) - 1, at_most).round().astype(int)]


def _check_spec(spec: ClipSpec) -> None:
    for name, value, least in (
        ("num_frames", spec.num_frames, 0),
        ("stride", spec.stride, 1),
        ("size", spec.size, 1),
        ("start_frames", 1 if spec.start_frames is None else spec.start_frames, 1),
    ):
        if value < least:
            raise ValueError(f"{name} (={value}) must be at least {least}")
    if spec.resize < spec.size:
        raise ValueError(
            f"resize (={spec.resize}) must be at least size (={spec.size}), the crop taken from it"
        )


class Draw:
    """Draws a sample: video, clip of the video, start, crop, flip, in this order."""

    def __init__(self, source: Clips, fitting: np.ndarray, spec: ClipSpec):
        video = source.video[fitting]
        self._clips = fitting[np.argsort(video, kind="stable")]
        _, self._first, self._count = np.unique(
            np.sort(video), return_index=True, return_counts=True
        )
        self._num_starts = source.num_frames[self._clips] - spec.span + 1
        if not spec.is_image and spec.start_frames is not None:
            self._num_starts = np.minimum(self._num_starts, spec.start_frames)
        self._num_crops = spec.resize - spec.size + 1
        self._flip = spec.flip

    def __call__(self, _: int, rng: np.random.Generator) -> Sample:
        video = rng.integers(len(self._first))
        row = self._first[video] + rng.integers(self._count[video])
        return Sample(
            clip=int(self._clips[row]),
            start=int(rng.integers(self._num_starts[row])),
            top=int(rng.integers(self._num_crops)),
            left=int(rng.integers(self._num_crops)),
            flip=bool(rng.integers(2)) and self._flip,
        )


class Centre:
    """The sample of every clip that evaluation uses: no chance in it."""

    def __init__(self, fitting: np.ndarray, spec: ClipSpec):
        self._clips = fitting
        self._margin = (spec.resize - spec.size) // 2

    def __call__(self, i: int) -> Sample:
        return Sample(int(self._clips[i]), 0, self._margin, self._margin, flip=False)


class OnePerVideo:
    """One sample of each video, in an order drawn by lot: clip and start by lot, centre crop.

    Source of the choice: Skorokhodov et al. 2022 (arXiv:2112.14683), who take one clip of each
    video, for long videos would outweigh the others.

    Args:
      source: the clips.
      fitting: those that samples can be cut from.
      spec: how to cut them; its `flip` does not count.
      seed: of all that is drawn, from 0.
    """

    def __init__(self, source: Clips, fitting: np.ndarray, spec: ClipSpec, seed: int):
        video = source.video[fitting]
        videos = np.unique(video)
        # Raw bits: their stream is promised never to change (NEP 19), that of methods is not.
        order, clip, start = np.random.PCG64(seed).random_raw(3 * len(videos)).reshape(3, -1)
        self._margin = (spec.resize - spec.size) // 2
        self._samples: list[tuple[int, int]] = []
        for i in np.argsort(order, kind="stable"):
            clips = fitting[video == videos[i]]
            chosen = int(clips[int(clip[i]) % len(clips)])
            num_starts = int(source.num_frames[chosen]) - spec.span + 1
            self._samples.append((chosen, int(start[i]) % num_starts))

    def __len__(self) -> int:
        return len(self._samples)

    def __call__(self, i: int) -> Sample:
        clip, start = self._samples[i]
        return Sample(clip, start, self._margin, self._margin, flip=False)


class Cut:
    """Reads and decodes a sample: only its frames, and of those only the crop is resized."""

    def __init__(self, source: Clips, spec: ClipSpec):
        self.source = source
        self.spec = spec

    def __call__(self, sample: Sample) -> Batch:
        record = self.source[sample.clip]
        spec = self.spec
        used = range(sample.start, sample.start + spec.span, spec.stride)
        frames = np.empty((len(used), spec.size, spec.size, 3), np.uint8)
        for out, number in zip(frames, used, strict=True):
            _copy(self._crop(record, number, sample), out, flip=sample.flip)
        label_map = self._label_map(record, sample) if spec.label_maps else None
        return Batch(frames[0] if spec.is_image else frames, label_map)

    def _crop(self, record: ClipRecord, number: int, sample: Sample) -> np.ndarray:
        try:
            frame = decode_frame(record.frames[number])
        except (ValueError, OSError) as error:
            where = self.source.where(sample.clip)
            raise RecordError(f"{where}: frame {number} cannot be decoded: {error}") from error
        if frame.shape[:2] != (record.height, record.width):
            raise RecordError(
                f"{self.source.where(sample.clip)}: frame {number} is {frame.shape[1]}×"
                f"{frame.shape[0]}, but the record says {record.width}×{record.height}"
            )
        return resized_crop(frame, self.spec.resize, self.spec.size, sample.top, sample.left)

    def _label_map(self, record: ClipRecord, sample: Sample) -> np.ndarray:
        where = self.source.where(sample.clip)
        if record.label_map is None:
            raise RecordError(f"{where}: no label map, but the index says there is one")
        try:
            label_map = decode_label_map(record.label_map)
        except (ValueError, OSError) as error:
            raise RecordError(f"{where}: the label map cannot be decoded: {error}") from error
        spec = self.spec
        try:
            label_map = known_ids(label_map, spec.num_labels or MAX_LABELS, spec.dont_care)
        except ValueError as error:
            # No damage: the record is whole, and it is the config that is to be set.
            raise DatasetError(
                f"{where}: the label map of clip {record.clip_id!r} {error}; set "
                "config.model.num_labels to the data's classes, or config.data.dont_care to that id"
            ) from error
        resized = (spec.resize, spec.resize)
        crop = resized_label_crop(label_map, resized, spec.size, sample.top, sample.left)
        return np.ascontiguousarray(crop[:, ::-1] if sample.flip else crop)


class DrawUndamaged:
    """Draws a sample and cuts it; if its record is damaged, draws again, until one is whole.

    All is drawn from the sample's own generator: which example takes the place of another is a
    function of data set, spec, seed and sample number, as the others are, and theirs stay the same.

    Args:
      draw: draws a sample.
      cut: cuts it.
    """

    def __init__(
        self, draw: Callable[[int, np.random.Generator], Sample], cut: Callable[[Sample], Batch]
    ):
        self._draw = draw
        self._cut = cut

    def __call__(self, i: int, rng: np.random.Generator) -> Examples:
        """The example number `i`.

        Raises:
          RecordError: record after record is damaged.
          DatasetError: a file is gone, say: no other record makes up for that.
        """
        damage: dict[int, RecordError] = {}
        for _ in range(_MAX_DRAWS):
            sample = self._draw(i, rng)
            if sample.clip in damage:
                continue
            try:
                batch = self._cut(sample)
            except DatasetError:
                raise
            except RecordError as error:
                # Without its traceback, which would keep the frames; it travels between processes.
                damage[sample.clip] = RecordError(str(error))
            else:
                return Examples(batch, tuple(Damage(*item) for item in damage.items()))
        raise RecordError(
            f"sample {i}: of {_MAX_DRAWS} records drawn for it none can be used, {len(damage)} "
            f"different ones; the last: {list(damage.values())[-1]}"
        )


def _copy(image: np.ndarray, out: np.ndarray, *, flip: bool) -> None:
    """Copies an image `[h, w, c]`, mirrored left to right or as it is."""
    if not flip:
        out[...] = image
        return
    for channel in range(image.shape[-1]):  # NumPy is slow at rows of three bytes
        out[..., channel] = image[:, ::-1, channel]


def resized_crop(frame: np.ndarray, resize: int, size: int, top: int, left: int) -> np.ndarray:
    """The crop `[top : top + size, left : left + size]` of the frame resized to `resize`².

    Bicubic, antialiased where it shrinks; computes no more than the crop. A frame that has the size
    already is cut only.

    Args:
      frame: uint8 RGB `[h, w, 3]`.
      resize: height and width of the resized frame, pixels.
      size: height and width of the crop, pixels.
      top: first row of the crop, in the resized frame.
      left: first column of the crop, likewise.

    Returns:
      uint8 `[size, size, 3]`, maybe a view of `frame`.
    """
    height, width = frame.shape[:2]
    if height == width == resize:
        return frame[top : top + size, left : left + size]
    box = (
        left * width / resize,
        top * height / resize,
        (left + size) * width / resize,
        (top + size) * height / resize,
    )
    image = Image.fromarray(frame)
    return np.asarray(image.resize((size, size), Image.Resampling.BICUBIC, box=box))

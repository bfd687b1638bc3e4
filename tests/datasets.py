"""Tiny data sets for tests: procedural clips, written in a moment."""

import dataclasses
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vidgan_jax.data import records
from vidgan_jax.data.frames import ImageFormat
from vidgan_jax.data.records import ClipRecord

NUM_LABELS = 4

# The one shard of a data set made without `num_shards`, and its index.
SHARD = "train-00000-of-00001.tfrecord"
INDEX = f"{SHARD}.index.npz"

# Features as our records have them; the frames are no images.
FEATURES: dict[str, Any] = {
    "frames": [b"x", b"y"],
    "height": [4],
    "width": [6],
    "num_frames": [2],
    "fps": [24.0],
    "video_id": [b"v"],
    "clip_id": [b"c"],
}


def make_clip(video: int, clip: int, *, num_frames: int, size: int) -> np.ndarray:
    """A clip in which every pixel tells where and when it is.

    Red is the row, green the column (both scaled to 0 … 255), blue the frame number in its upper
    bits and `video` and `clip` in its lower bits, so that PNG clips can be recognised exactly.

    Returns:
      uint8 `[num_frames, size, size, 3]`.
    """
    frames = np.empty((num_frames, size, size, 3), np.uint8)
    ramp = np.arange(size) * 255 // max(size - 1, 1)
    frames[..., 0] = ramp[:, None]
    frames[..., 1] = ramp[None, :]
    frames[..., 2] = (np.arange(num_frames)[:, None, None] % 16) * 16 + (video * 4 + clip) % 16
    return frames


def label_of(frame: np.ndarray) -> np.ndarray:
    """The label map that belongs to a frame of `make_clip`: a checkerboard of ids 0 … 3.

    Args:
      frame: uint8 `[h, w, 3]`.

    Returns:
      uint8 `[h, w]`.
    """
    return (frame[..., 0] // 64 + 2 * (frame[..., 1] // 64)).astype(np.uint8) % NUM_LABELS


def clip_record(**changes: Any) -> ClipRecord:
    """A valid record of two 4×6 PNG frames (height × width), with changes."""
    frames = np.arange(2 * 4 * 6 * 3, dtype=np.uint8).reshape(2, 4, 6, 3)
    record = ClipRecord(
        frames=records.encode_frames(frames, image_format="png"),
        height=4,
        width=6,
        fps=24.0,
        video_id="video",
        clip_id="clip",
        label_map=records.encode_label_map(frames[0, :, :, 0]),
        label_map_score=0.5,
    )
    return dataclasses.replace(record, **changes)


def make_dataset(
    directory: str | os.PathLike[str],
    *,
    num_videos: int = 3,
    clips_per_video: int | Sequence[int] = 2,
    num_frames: int | Sequence[int] = 10,
    size: int = 16,
    image_format: ImageFormat = "png",
    label_maps: bool = False,
    splits: Sequence[str] = ("train",),
    num_shards: int = 1,
    fps: float = 24.0,
) -> Path:
    """Writes a data set of `make_clip` clips.

    Args:
      directory: where to; made if need be.
      num_videos: videos of each split, named "SPLIT-0", "SPLIT-1" …
      clips_per_video: one number, or one for each video; clips are named "VIDEO/0", "VIDEO/1" …
      num_frames: of every clip: one number, or one for each video.
      size: height and width, pixels.
      image_format: "png" (lossless) or "jpeg".
      label_maps: store `label_of(the first frame)` with every clip, score 1.
      splits: names of the splits.
      num_shards: of each split; clips go to them in turn.
      fps: of every clip.

    Returns:
      `directory`.
    """
    for split in splits:
        clips = [
            _record(split, video, clip, frames, size, image_format, label_maps, fps)
            for video, (count, frames) in enumerate(
                zip(_each(clips_per_video, num_videos), _each(num_frames, num_videos), strict=True)
            )
            for clip in range(count)
        ]
        for shard in range(num_shards):
            path = Path(directory) / records.shard_name(split, shard, num_shards)
            with records.ShardWriter(path) as writer:
                for record in clips[shard::num_shards]:
                    writer.write(record)
    records.finalize(directory, spec={"source": "tests"})
    return Path(directory)


def _record(
    split: str,
    video: int,
    clip: int,
    num_frames: int,
    size: int,
    image_format: ImageFormat,
    label_maps: bool,
    fps: float,
) -> ClipRecord:
    frames = make_clip(video, clip, num_frames=num_frames, size=size)
    return ClipRecord(
        frames=records.encode_frames(frames, image_format=image_format),
        height=size,
        width=size,
        fps=fps,
        video_id=f"{split}-{video}",
        clip_id=f"{split}-{video}/{clip}",
        label_map=records.encode_label_map(label_of(frames[0])) if label_maps else None,
        label_map_score=1.0 if label_maps else None,
    )


def _each(value: int | Sequence[int], count: int) -> Sequence[int]:
    return [value] * count if isinstance(value, int) else value

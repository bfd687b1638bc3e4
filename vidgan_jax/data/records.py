"""Data sets of clips: folders of TFRecord shards with an index each and one info.json.

    NAME/train-00000-of-00002.tfrecord            tf.train.Example records (`serialize`)
    NAME/train-00000-of-00002.tfrecord.index.npz  offsets, lengths, videos, frames (`ShardIndex`)
    NAME/info.json                                counts, splits, sizes, checksums (`DatasetInfo`)

This module is the way in: it also offers what `frames`, `clip_record`, `shards`,
`info` and `verification` define.
"""

import os

from vidgan_jax import files
from vidgan_jax.data.clip_record import ClipRecord, parse, serialize
from vidgan_jax.data.collection import IndexedClips, IndexedFile, parse_named
from vidgan_jax.data.frames import (
    decode_frame,
    decode_label_map,
    encode_frames,
    encode_label_map,
    read_header,
)
from vidgan_jax.data.info import (
    DatasetInfo,
    ShardInfo,
    SplitInfo,
    finalize,
    load_all_listed,
    load_info,
    rebuild,
    shard_name,
)
from vidgan_jax.data.record_files import TFRecordFiles
from vidgan_jax.data.shards import ShardIndex, ShardWriter, index_path, load_index, rebuild_index
from vidgan_jax.data.tfexample import RecordError
from vidgan_jax.data.verification import Fault, Report, Seen, verify

__all__ = [
    "ClipRecord",
    "ClipSource",
    "DatasetInfo",
    "Fault",
    "RecordError",
    "Report",
    "Seen",
    "ShardIndex",
    "ShardInfo",
    "ShardWriter",
    "SplitInfo",
    "decode_frame",
    "decode_label_map",
    "encode_frames",
    "encode_label_map",
    "finalize",
    "index_path",
    "load_index",
    "load_info",
    "parse",
    "read_header",
    "rebuild",
    "rebuild_index",
    "serialize",
    "shard_name",
    "verify",
]


class ClipSource(IndexedClips):
    """Random access to the clips of one split of a prepared data set: `Clips`.

    Every read checks both CRCs. Only the index is in memory. Can be pickled (files are opened again
    where it is loaded) and read from several threads.

    Args:
      directory: the data set's folder, on a disk or in a bucket.
      split: for example "train".

    Raises:
      RecordError: no data set, no such split, a shard or index missing, damaged or stale.
    """

    def __init__(self, directory: str | os.PathLike[str], split: str):
        folder = files.path(directory)
        info = load_info(folder)
        if split not in info.splits:
            raise RecordError(
                f"data set {directory}: no split {split!r}; it has {sorted(info.splits)}"
            )
        shards = info.splits[split].shards
        indexes = load_all_listed(folder, shards)
        super().__init__(
            [
                IndexedFile(folder / shard.name, index)
                for shard, index in zip(shards, indexes, strict=True)
            ],
            info,
            split,
            reader=TFRecordFiles(),
            read_clip=parse_named,
            check=f"`python -m vidgan_jax.prepare check {folder}` lists all that is damaged or "
            "stale",
        )

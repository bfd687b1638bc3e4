"""Clips out of data sets of TensorFlow Datasets, ours or others, without TensorFlow and TFDS.

A name is `NAME[/CONFIG][:VERSION][?KEY=VALUE&…]`, with the keys

    data_dir    where TFDS has prepared it ($TFDS_DATA_DIR, or ~/tensorflow_datasets)
    video       the feature with the frames: a sequence of images, or uint8 [t, h, w, 3] ("video")
    label_map   the feature with class ids: an 8-bit image, or integers [h, w]; of one for each
                frame, that of the middle frame is taken ("label_map", if there is one; `label_map=`
                for none)
    video_id    names the video, a text or an integer ("video_id"; else each clip is its own)
    clip_id     names the clip, likewise ("clip_id"; else the record's number)
    fps         frames a second: a feature, or a number ("fps")

A feature within another one is named with a slash: `video=video/frames`.
"""

from vidgan_jax.data.array_records import ArrayRecordFiles
from vidgan_jax.data.collection import IndexedClips, IndexedFile
from vidgan_jax.data.indexing import find_indexes
from vidgan_jax.data.info import summarize_splits
from vidgan_jax.data.record_files import RecordFiles, TFRecordFiles
from vidgan_jax.data.tfds_folders import PreparedFolder, find_folder, load_folder
from vidgan_jax.data.tfds_mapping import ROLES, choose_features
from vidgan_jax.data.tfexample import RecordError


class TFDSClips(IndexedClips):
    """Random access to the clips of one split of a TFDS data set: `Clips`.

    Args:
      where: names it, see above.
      split: a whole split; parts ("train[:90%]") are TFDS's own.

    Raises:
      RecordError: it is not prepared, has no such split, or a record is no clip.
      ValueError: the name is not well-formed, or a feature is not there or not of the right kind.
    """

    def __init__(self, where: str, split: str):
        name, given = parse_name(where)
        folder = load_folder(find_folder(name, given.pop("data_dir", None)))
        if not folder.files.get(split):
            there = sorted(name for name, files in folder.files.items() if files)
            raise RecordError(f"tfds:{name}: no split {split!r} with records; it has {there}")
        reader, mapping = _reader(folder), choose_features(folder, given)
        paths = folder.files[split]
        for path in paths:
            if not path.is_file():
                raise RecordError(f"{path}: no such file; restore it or prepare again")
        indexes = find_indexes(
            list(paths), reader, mapping, reading=mapping.describe(), title=f"indexing tfds:{name}"
        )
        files = [IndexedFile(path, index) for path, index in zip(paths, indexes, strict=True)]
        for file in files:
            if len(file.index) != paths[file.path]:
                raise RecordError(
                    f"{file.path}: {len(file.index)} records, but the data set's list of files "
                    f"says {paths[file.path]}; prepare it again"
                )
        super().__init__(
            files,
            summarize_splits({split: {file.path.name: file.index for file in files}}, {}),
            split,
            reader=reader,
            read_clip=mapping,
            check="prepare it again",
        )


def parse_name(where: str) -> tuple[str, dict[str, str]]:
    """Splits `NAME?KEY=VALUE&…`.

    Raises:
      ValueError: no name, or something else than the keys above.
    """
    name, _, query = where.partition("?")
    given = {}
    for item in filter(None, query.split("&")):
        key, equals, value = item.partition("=")
        if not equals or key not in ("data_dir", *ROLES) or key in given:
            raise ValueError(
                f"tfds:{where}: {item!r} must be KEY=VALUE, once each of data_dir, "
                f"{', '.join(ROLES)}"
            )
        given[key] = value
    if not name:
        raise ValueError(f"tfds:{where}: names no data set; write tfds:NAME[/CONFIG][:VERSION]")
    return name, given


def _reader(folder: PreparedFolder) -> RecordFiles:
    if folder.file_format == "array_record":
        return ArrayRecordFiles()
    if folder.file_format == "tfrecord":
        return TFRecordFiles()
    raise RecordError(
        f"{folder.path}: prepared as {folder.file_format!r}, and read here are 'array_record' and "
        "'tfrecord'; prepare it with builder_kwargs={'file_format': 'array_record'}"
    )

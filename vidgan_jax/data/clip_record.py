"""One clip as it is stored: a `tf.train.Example` with plain features."""

import dataclasses
import math
from collections.abc import Mapping

from vidgan_jax.data import frames as codec
from vidgan_jax.data import tfexample
from vidgan_jax.data.tfexample import RecordError


@dataclasses.dataclass(frozen=True)
class ClipRecord:
    """One clip as it is stored.

    Attributes:
      frames: one encoded image a frame, all JPEG or all PNG, RGB, all of one size.
      height: of the frames, pixels.
      width: of the frames, pixels.
      fps: frames per second; stored as float32.
      video_id: names the video that the clip is cut from.
      clip_id: names the clip within the data set.
      label_map: class ids that hold for the whole clip, an 8-bit one-channel PNG as large as the
        frames; ids from 0, 255 for "don't care".
      label_map_score: how well the label map holds, higher is better; stored as float32.
      measures: what was measured of the clip, by name, such as "camera_movement"; finite, stored as
        float32 in the order of names.
    """

    frames: tuple[bytes, ...]
    height: int
    width: int
    fps: float
    video_id: str
    clip_id: str
    label_map: bytes | None = None
    label_map_score: float | None = None
    measures: Mapping[str, float] = dataclasses.field(default_factory=dict)


def serialize(record: ClipRecord) -> bytes:
    """The record as a `tf.train.Example`; equal records give equal bytes.

    Features: `frames` (bytes), `height`, `width`, `num_frames` (int64), `fps` (float), `video_id`,
    `clip_id` (bytes, UTF-8), and where there are any, `label_map` (bytes), `label_map_score`
    (float), `measure_names` (bytes, UTF-8) and as many `measure_values` (float).

    Raises:
      ValueError: the record does not agree with itself; the message names the field.
    """
    check_record(record)
    return serialize_unchecked(record)


def parse(buffer: bytes | memoryview, *, where: str = "record") -> ClipRecord:
    """Reads a record; other features than ours are ignored.

    Args:
      buffer: a serialized `tf.train.Example`.
      where: names the record in errors.

    Raises:
      RecordError: a feature is missing, of another type, or contradicts another one.
    """
    reader = tfexample.ExampleReader(buffer, where)
    frames = reader.values("frames", "bytes")
    num_frames = reader.scalar("num_frames", "int64")
    if frames is None or len(frames) != num_frames or not num_frames:
        raise RecordError(
            f"{where}: `num_frames` is {num_frames}, but there are "
            f"{0 if frames is None else len(frames)} frames; it must be their number and at least 1"
        )
    label_map_score = reader.scalar("label_map_score", "float", default=None)
    try:
        return ClipRecord(
            frames=tuple(frames),
            height=_positive(reader, "height", where),
            width=_positive(reader, "width", where),
            fps=reader.scalar("fps", "float"),
            video_id=reader.scalar("video_id", "bytes").decode(),
            clip_id=reader.scalar("clip_id", "bytes").decode(),
            label_map=reader.scalar("label_map", "bytes", default=None),
            label_map_score=label_map_score,
            measures=_measures(reader, where),
        )
    except UnicodeDecodeError as error:
        raise RecordError(
            f"{where}: `video_id`, `clip_id` or `measure_names` is not UTF-8: {error}"
        ) from error


def _measures(reader: tfexample.ExampleReader, where: str) -> dict[str, float]:
    names = reader.values("measure_names", "bytes") or []
    values = reader.values("measure_values", "float") or []
    if len(names) != len(values) or len(set(names)) != len(names):
        raise RecordError(
            f"{where}: {len(names)} `measure_names` and {len(values)} `measure_values`; there must "
            "be one value to each name, and no name twice"
        )
    return {name.decode(): float(value) for name, value in zip(names, values, strict=True)}


def check_record(record: ClipRecord) -> codec.ImageFormat:
    """Checks that a record agrees with itself.

    Args:
      record: the clip.

    Returns:
      The format of its frames.

    Raises:
      ValueError: names the clip, the field, and what it must be.
    """
    name = f"clip {record.clip_id!r} of video {record.video_id!r}"
    for field in ("video_id", "clip_id"):
        if not getattr(record, field) or "\0" in getattr(record, field):
            raise ValueError(
                f"{field} (={getattr(record, field)!r}) must be a text without NUL characters"
            )
    if not (record.fps > 0 and math.isfinite(record.fps)):
        raise ValueError(f"{name}: fps (={record.fps}) must be above 0 and finite")
    for measure, value in record.measures.items():
        if not measure or not math.isfinite(value):
            raise ValueError(
                f"{name}: measure {measure!r} (={value}) must have a name and be finite"
            )
    if not record.frames:
        raise ValueError(f"{name}: frames is empty; a clip needs at least one frame")
    headers = [codec.read_header(frame) for frame in record.frames]
    image_format = headers[0].image_format
    expected = codec.ImageHeader(image_format, record.height, record.width)
    for number, header in enumerate(headers):
        if header != expected:
            raise ValueError(
                f"{name}: frame {number} is a {_describe(header)}, but the clip says "
                f"{_describe(expected)}; all frames must be of one size and format"
            )
    if record.label_map is not None:
        label_map = codec.decode_label_map(record.label_map)
        shape = label_map.shape
        if shape != (record.height, record.width):
            raise ValueError(
                f"{name}: label_map is {shape[1]}×{shape[0]}, but must be as large as the frames, "
                f"{record.width}×{record.height}"
            )
    elif record.label_map_score is not None:
        raise ValueError(f"{name}: label_map_score (={record.label_map_score}) without a label_map")
    return image_format


def serialize_unchecked(record: ClipRecord) -> bytes:
    """`serialize` for a record that `check_record` has accepted."""
    features: dict[str, tfexample.Feature] = {
        "frames": record.frames,
        "height": [record.height],
        "width": [record.width],
        "num_frames": [len(record.frames)],
        "fps": [float(record.fps)],
        "video_id": [record.video_id.encode()],
        "clip_id": [record.clip_id.encode()],
    }
    if record.label_map is not None:
        features["label_map"] = [record.label_map]
    if record.label_map_score is not None:
        features["label_map_score"] = [float(record.label_map_score)]
    if record.measures:
        names = sorted(record.measures)
        features["measure_names"] = [measure.encode() for measure in names]
        features["measure_values"] = [float(record.measures[measure]) for measure in names]
    return tfexample.encode_example(features)


def _positive(reader: tfexample.ExampleReader, name: str, where: str) -> int:
    value = int(reader.scalar(name, "int64"))
    if value < 1:
        raise RecordError(f"{where}: `{name}` is {value}, but must be at least 1")
    return value


def _describe(header: codec.ImageHeader) -> str:
    return f"{header.image_format.upper()} of {header.width}×{header.height}"

"""Which features of a foreign record make a clip, and reading them."""

import dataclasses
import io
import json
import math
import zlib
from collections.abc import Mapping

import numpy as np
from PIL import Image

from vidgan_jax.data.clip_record import ClipRecord
from vidgan_jax.data.frames import encode_label_map, read_header
from vidgan_jax.data.tfds_folders import Feature, PreparedFolder
from vidgan_jax.data.tfexample import ExampleReader, RecordError

ROLES = ("video", "label_map", "video_id", "clip_id", "fps")


@dataclasses.dataclass(frozen=True)
class ClipFeatures:
    """The features that make a clip: `collection.ReadClip`.

    Attributes:
      video: the frames.
      fps: frames a second, of each record or of all.
      label_map: class ids; None without.
      video_id: names the video; None where each clip is its own.
      clip_id: names the clip; None for the record's number.
      label_map_score: as our records have it; None without.
      measures: names and values, as our records have them; None without.
    """

    video: Feature
    fps: Feature | float
    label_map: Feature | None = None
    video_id: Feature | None = None
    clip_id: Feature | None = None
    label_map_score: Feature | None = None
    measures: tuple[Feature, Feature] | None = None

    def describe(self) -> str:
        """Equal for equal features, as text."""
        return json.dumps(dataclasses.asdict(self), sort_keys=True)

    def __call__(self, payload: bytes | memoryview, *, where: str, name: str) -> ClipRecord:
        """Reads one clip; see `collection.ReadClip`."""
        reader = ExampleReader(payload, where)
        frames = self._frames(reader, where)
        try:
            header = read_header(frames[0])
        except ValueError as error:
            raise RecordError(f"{where}: {self.video.key!r} {error}") from error
        label_map = None if self.label_map is None else _label_map(reader, self.label_map, where)
        return ClipRecord(
            frames=frames,
            height=header.height,
            width=header.width,
            fps=self.fps if isinstance(self.fps, float) else _number(reader, self.fps),
            video_id=name if self.video_id is None else _text(reader, self.video_id, where),
            clip_id=name if self.clip_id is None else _text(reader, self.clip_id, where),
            label_map=label_map,
            label_map_score=None if label_map is None else self._score(reader),
            measures=self._measures(reader, where),
        )

    def _frames(self, reader: ExampleReader, where: str) -> tuple[bytes, ...]:
        if self.video.kind == "image":
            frames = tuple(reader.values(self.video.key, "bytes") or ())
        else:
            frames = tuple(map(_png, _array(reader, self.video, where)))
        if not frames:
            raise RecordError(f"{where}: {self.video.key!r} has no frames")
        return frames

    def _score(self, reader: ExampleReader) -> float | None:
        if self.label_map_score is None:
            return None
        score = _number(reader, self.label_map_score)
        return None if math.isnan(score) else score

    def _measures(self, reader: ExampleReader, where: str) -> dict[str, float]:
        if self.measures is None:
            return {}
        names, values = (
            reader.values(feature.key, kind) or []
            for feature, kind in zip(self.measures, ("bytes", "float"), strict=True)
        )
        return {_decoded(name, where): value for name, value in zip(names, values, strict=True)}


def choose_features(folder: PreparedFolder, given: Mapping[str, str]) -> ClipFeatures:
    """Finds the features that make clips.

    Args:
      folder: of the data set.
      given: features' keys by role (`ROLES`), those that are not called as their role.

    Raises:
      ValueError: one is missing, or of a kind that cannot be used; the message lists all there are.
    """
    features = folder.features

    def find(role: str, *, needed: bool = False) -> Feature | None:
        key = given.get(role, role)
        if key in features:
            return features[key]
        if key and (needed or role in given):
            raise _wrong(folder, role, f"there is no feature {key!r}")
        return None

    video = find("video", needed=True)
    if video is None or not _is_video(video):
        found = "none is given" if video is None else f"{video} is neither"
        raise _wrong(
            folder, "video", f"it must be a sequence of images or uint8 [t, h, w, 3], and {found}"
        )
    label_map = find("label_map")
    if label_map is not None and not _is_label_map(label_map):
        raise _wrong(
            folder, "label_map", f"it must be an image or integers [h, w]; {label_map} is neither"
        )
    names = {role: find(role) for role in ("video_id", "clip_id")}
    for role, feature in names.items():
        if feature is not None and not (_is_scalar(feature) and _kind(feature) != "float"):
            raise _wrong(folder, role, f"it must be a text or an integer; {feature} is neither")
    measures = features.get("measures/name"), features.get("measures/value")
    return ClipFeatures(
        video=video,
        fps=_fps(folder, given),
        label_map=label_map,
        label_map_score=features.get("label_map_score"),
        measures=None if measures[0] is None or measures[1] is None else (measures[0], measures[1]),
        **names,
    )


def _fps(folder: PreparedFolder, given: Mapping[str, str]) -> Feature | float:
    key = given.get("fps", "fps")
    if (feature := folder.features.get(key)) is not None:
        if not _is_scalar(feature) or _kind(feature) == "bytes":
            raise _wrong(folder, "fps", f"it must be a number; {feature} is none")
        return feature
    try:
        fps = float(key)
    except ValueError:
        text = f"there is no feature {key!r}; give frames a second, as fps=24, if it is the same"
        raise _wrong(folder, "fps", text) from None
    if not (fps > 0 and math.isfinite(fps)):
        raise _wrong(folder, "fps", f"{key} must be above 0 and finite")
    return fps


def _wrong(folder: PreparedFolder, role: str, text: str) -> ValueError:
    there = "; ".join(map(str, folder.features.values()))
    return ValueError(
        f"{folder.path}: {role}: {text}. Name the feature as ?{role}=KEY. The features are {there}"
    )


def _is_video(feature: Feature) -> bool:
    if feature.dtype != "uint8":
        return False
    if feature.kind == "image":
        return feature.rank == 1
    return feature.kind == "tensor" and (
        len(feature.shape) + feature.rank == 4 and feature.rank < 2 and feature.shape[-1] == 3
    )


def _is_label_map(feature: Feature) -> bool:
    if feature.rank > 1:
        return False
    if feature.kind == "image":
        return feature.dtype == "uint8" and feature.shape[-1:] in ((), (1,), (-1,))
    return (
        feature.kind == "tensor"
        and np.dtype(feature.dtype).kind in "iu"
        and len(feature.shape) + feature.rank in (2, 3, 4)
    )


def _is_scalar(feature: Feature) -> bool:
    known = feature.kind in ("text", "class_label", "tensor")
    return known and not feature.rank and not feature.shape and feature.encoding == "none"


def _kind(feature: Feature) -> str:
    """The list that a scalar is stored in: "bytes", "int64" or "float"."""
    if feature.kind == "text" or feature.dtype in ("string", "object"):
        return "bytes"
    return "float" if "float" in feature.dtype else "int64"


def _number(reader: ExampleReader, feature: Feature) -> float:
    return float(reader.scalar(feature.key, _kind(feature)))


def _text(reader: ExampleReader, feature: Feature, where: str) -> str:
    value = reader.scalar(feature.key, _kind(feature))
    return _decoded(value, where) if isinstance(value, bytes) else str(value)


def _decoded(text: bytes, where: str) -> str:
    try:
        return text.decode()
    except UnicodeDecodeError as error:
        raise RecordError(f"{where}: a text is not UTF-8: {error}") from error


def _label_map(reader: ExampleReader, feature: Feature, where: str) -> bytes | None:
    if feature.kind == "image":
        maps = reader.values(feature.key, "bytes") or ()
        return maps[len(maps) // 2] if maps else None
    ids = _array(reader, feature, where)
    if ids.ndim > 2 and ids.shape[-1] == 1:
        ids = ids[..., 0]
    if ids.ndim == 3:
        ids = ids[len(ids) // 2]
    if ids.ndim != 2 or ids.min() < 0 or ids.max() > 255:
        raise RecordError(
            f"{where}: {feature.key!r} is {list(ids.shape)} with ids from {ids.min()} to "
            f"{ids.max()}, but must be [h, w] with ids from 0 to 255"
        )
    return encode_label_map(ids.astype(np.uint8))


def _array(reader: ExampleReader, feature: Feature, where: str) -> np.ndarray:
    """A tensor as TFDS stores it.

    Source: tensorflow_datasets/core/features/tensor_feature.py.
    """
    dtype = np.dtype(feature.dtype)
    shape = (-1,) * feature.rank + feature.shape
    key = feature.key
    try:
        if feature.encoding == "none":
            return (
                np.array(reader.values(key, "int64") or (), np.int64).astype(dtype).reshape(shape)
            )
        if sum(size < 0 for size in feature.shape) > 1:
            shape, key = tuple(reader.values(f"{key}/shape", "int64") or ()), f"{key}/value"
        blobs = reader.values(key, "bytes") or ()
        if feature.encoding == "zlib":
            blobs = [zlib.decompress(blob) for blob in blobs]
        return np.frombuffer(b"".join(blobs), dtype).reshape(shape)
    except (ValueError, zlib.error) as error:
        raise RecordError(f"{where}: {feature} cannot be read: {error}") from error


def _png(frame: np.ndarray) -> bytes:
    file = io.BytesIO()
    # As fast as can be: it is decoded at once.
    Image.fromarray(frame).save(file, format="PNG", compress_level=0)
    return file.getvalue()

"""TFRecord framing and `tf.train.Example` messages, without TensorFlow.

A TFRecord file is a row of records, each: length (uint64, little endian), masked CRC-32C of those
8 bytes, payload, masked CRC-32C of the payload. TensorFlow writes and reads the same bytes.

All reading of shard files goes through this module, so that another file system can come later.

Source: tensorflow/core/lib/io/record_writer.h and tensorflow/core/example/example.proto.
"""

import os
import struct
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, BinaryIO

import google_crc32c
import numpy as np
from google.protobuf import descriptor_pb2, descriptor_pool, message, message_factory

HEADER_BYTES = 12
FOOTER_BYTES = 4
FRAMING_BYTES = HEADER_BYTES + FOOTER_BYTES

Feature = Sequence[bytes] | Sequence[int] | Sequence[float]


class RecordError(ValueError):
    """A file of a data set cannot be used; the text names file, record and fix."""


class DatasetError(RecordError):
    """More than a record cannot be used: a file is gone, or data and config do not agree.

    Another record cannot take the place of such a one.
    """


def _example_class() -> Any:
    """Builds the messages in a pool of their own: nothing clashes where TensorFlow is imported."""
    field = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(
        name="vidgan_jax/example.proto", package="tensorflow", syntax="proto3"
    )
    kinds = (
        ("BytesList", "bytes_list", field.TYPE_BYTES),
        ("FloatList", "float_list", field.TYPE_FLOAT),
        ("Int64List", "int64_list", field.TYPE_INT64),
    )
    for name, _, kind in kinds:
        values = file.message_type.add(name=name)
        values.field.add(name="value", number=1, type=kind, label=field.LABEL_REPEATED)
    feature = file.message_type.add(name="Feature")
    feature.oneof_decl.add(name="kind")
    for number, (name, attribute, _) in enumerate(kinds, start=1):
        feature.field.add(
            name=attribute,
            number=number,
            type=field.TYPE_MESSAGE,
            label=field.LABEL_OPTIONAL,
            type_name=f".tensorflow.{name}",
            oneof_index=0,
        )
    features = file.message_type.add(name="Features")
    entry = features.nested_type.add(name="FeatureEntry")
    entry.options.map_entry = True
    entry.field.add(name="key", number=1, type=field.TYPE_STRING, label=field.LABEL_OPTIONAL)
    for owner, name, number, label, type_name in (
        (entry, "value", 2, field.LABEL_OPTIONAL, "Feature"),
        (features, "feature", 1, field.LABEL_REPEATED, "Features.FeatureEntry"),
        (file.message_type.add(name="Example"), "features", 1, field.LABEL_OPTIONAL, "Features"),
    ):
        owner.field.add(
            name=name,
            number=number,
            type=field.TYPE_MESSAGE,
            label=label,
            type_name=f".tensorflow.{type_name}",
        )
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("tensorflow.Example"))


Example = _example_class()

_LISTS = {"bytes_list": "bytes", "int64_list": "int64", "float_list": "float"}


def encode_example(features: Mapping[str, Feature]) -> bytes:
    """Serializes features as a `tf.train.Example`, the same bytes for the same features.

    Args:
      features: for every name a non-empty sequence of bytes, of ints or of floats (stored as
        float32).

    Returns:
      The serialized message.
    """
    example = Example()
    for name, values in features.items():
        feature = example.features.feature[name]
        if isinstance(values[0], bytes):
            feature.bytes_list.value.extend(values)
        elif isinstance(values[0], int):
            feature.int64_list.value.extend(values)
        else:
            feature.float_list.value.extend(values)
    serialized: bytes = example.SerializeToString(deterministic=True)
    return serialized


class ExampleReader:
    """Reads features by name and type from a serialized `tf.train.Example`.

    Args:
      buffer: the serialized message.
      where: names the record in errors.

    Raises:
      RecordError: `buffer` is no such message.
    """

    def __init__(self, buffer: bytes | memoryview, where: str):
        self._where = where
        try:
            self._features = Example.FromString(buffer).features.feature
        except message.DecodeError as error:
            raise RecordError(
                f"{where}: not a tf.train.Example ({error}); was this file written by "
                "`python -m vidgan_jax.prepare`?"
            ) from error

    def values(self, name: str, kind: str) -> Sequence[Any] | None:
        """The values of one feature, or None where the record has no such feature.

        Args:
          name: the feature's name.
          kind: "bytes", "int64" or "float".

        Raises:
          RecordError: the feature is of another kind.
        """
        if name not in self._features:
            return None
        feature = self._features[name]
        stored = feature.WhichOneof("kind")
        if stored is None:
            return None
        if _LISTS[stored] != kind:
            raise RecordError(
                f"{self._where}: feature {name!r} is a list of {_LISTS[stored]}, but must be a "
                f"list of {kind}"
            )
        values: Sequence[Any] = getattr(feature, stored).value
        return values

    def scalar(self, name: str, kind: str, *, default: Any = ...) -> Any:
        """The only value of a feature; `default` (if given) where there is no such feature.

        Raises:
          RecordError: the feature is missing and has no default, is of another kind, or has not
            exactly one value.
        """
        values = self.values(name, kind)
        if values is None:
            if default is not ...:
                return default
            raise RecordError(
                f"{self._where}: no feature {name!r}; found {sorted(self._features) or 'none'}. "
                "This is not a clip written by `python -m vidgan_jax.prepare`"
            )
        if len(values) != 1:
            raise RecordError(
                f"{self._where}: feature {name!r} has {len(values)} values, but must have one"
            )
        return values[0]


def masked_crc(data: bytes | memoryview) -> int:
    """TFRecord's CRC: CRC-32C, rotated and shifted so that CRCs of CRCs stay useful."""
    # google-crc32c takes a NumPy view, but no memoryview; slicing bytes instead would copy.
    crc = google_crc32c.value(np.frombuffer(data, np.uint8) if len(data) else b"")
    return (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF


def frame(payload: bytes) -> bytes:
    """A whole TFRecord record: length, its CRC, payload, its CRC."""
    length = struct.pack("<Q", len(payload))
    return b"".join(
        (
            length,
            struct.pack("<I", masked_crc(length)),
            payload,
            struct.pack("<I", masked_crc(payload)),
        )
    )


def unframe(record: bytes, where: str) -> memoryview:
    """Checks one whole record and returns its payload.

    Args:
      record: exactly the bytes of one record, framing included.
      where: names the record in errors.

    Returns:
      The payload, without a copy.

    Raises:
      RecordError: a CRC does not match, or the stored length is not that of `record`.
    """
    length = read_length(record[:HEADER_BYTES], where)
    if length + FRAMING_BYTES != len(record):
        raise RecordError(
            f"{where}: the record is {length} bytes long, but its index says "
            f"{len(record) - FRAMING_BYTES}"
        )
    payload = memoryview(record)[HEADER_BYTES:-FOOTER_BYTES]
    if masked_crc(payload) != struct.unpack("<I", record[-FOOTER_BYTES:])[0]:
        raise RecordError(f"{where}: corrupted data (the CRC of its {length} bytes does not match)")
    return payload


def read_length(header: bytes, where: str) -> int:
    """The payload's length from a record's first 12 bytes.

    Raises:
      RecordError: the CRC of the length does not match.
    """
    length, crc = struct.unpack("<QI", header)
    if masked_crc(header[:8]) != crc:
        raise RecordError(
            f"{where}: not a TFRecord, or corrupted data (the CRC of the length does not match)"
        )
    return int(length)


def scan(file: BinaryIO, size: int, name: str) -> Iterator[tuple[int, memoryview]]:
    """Reads a whole TFRecord file, checking every CRC.

    Args:
      file: the open file, at its start.
      size: its size in bytes.
      name: names the file in errors.

    Yields:
      (offset of the record in the file, its payload).

    Raises:
      RecordError: at the first record that is truncated or corrupted, and for an empty file.
    """
    if size == 0:
        raise RecordError(f"{name}: the file is empty (0 bytes)")
    offset = number = 0
    while offset < size:
        where = locate(name, number, offset)
        header = file.read(HEADER_BYTES)
        if len(header) < HEADER_BYTES:
            raise RecordError(f"{where}: truncated, the file ends within the record")
        length = read_length(header, where)
        if offset + length + FRAMING_BYTES > size:
            raise RecordError(
                f"{where}: truncated, the record needs {length + FRAMING_BYTES} bytes and the file "
                f"has {size - offset} left"
            )
        yield offset, unframe(header + file.read(length + FOOTER_BYTES), where)
        offset += length + FRAMING_BYTES
        number += 1


def locate(name: str, number: int, offset: int) -> str:
    """How errors name a record; numbers count from 0."""
    return f"{name}, record {number} (at byte {offset})"


def pread(descriptor: int, num_bytes: int, offset: int) -> bytes:
    """Reads `num_bytes` at `offset`, or fewer where the file ends before."""
    data = os.pread(descriptor, num_bytes, offset)
    while len(data) < num_bytes:  # A network file system may return less than there is.
        more = os.pread(descriptor, num_bytes - len(data), offset + len(data))
        if not more:
            break
        data += more
    return data

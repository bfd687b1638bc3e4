"""One record: a round trip, the bytes as others read them, and refusals."""

import struct
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.datasets import FEATURES, clip_record
from vidgan_jax.data import records, tfexample
from vidgan_jax.data.records import ClipRecord, RecordError

texts = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1)
floats = st.floats(1, 1000, width=32)


@settings(max_examples=40, deadline=None)
@given(
    num_frames=st.integers(1, 4),
    shape=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    fps=floats,
    video_id=texts,
    clip_id=texts,
    score=st.none() | floats,
    measures=st.dictionaries(texts, floats, max_size=3),
    image_format=st.sampled_from(["jpeg", "png"]),
)
def test_what_is_serialized_is_parsed(
    num_frames: int,
    shape: tuple[int, int],
    fps: float,
    video_id: str,
    clip_id: str,
    score: float | None,
    measures: dict[str, float],
    image_format: Any,
) -> None:
    frames = np.full((num_frames, *shape, 3), 7, np.uint8)
    record = ClipRecord(
        frames=records.encode_frames(frames, image_format=image_format),
        height=shape[0],
        width=shape[1],
        fps=fps,
        video_id=video_id,
        clip_id=clip_id,
        label_map=None if score is None else records.encode_label_map(frames[0, :, :, 0]),
        label_map_score=score,
        measures=measures,
    )
    payload = records.serialize(record)
    assert records.parse(payload) == record
    assert records.parse(memoryview(payload)) == record
    assert records.serialize(records.parse(payload)) == payload


def wire_fields(message: bytes) -> Iterator[tuple[int, Any]]:
    """Protobuf's wire format, read independently: (field number, value)."""
    position = 0

    def varint() -> int:
        nonlocal position
        value = shift = 0
        while True:
            byte = message[position]
            position += 1
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value

    while position < len(message):
        key = varint()
        if key & 7 == 0:
            yield key >> 3, varint()
        elif key & 7 == 5:
            yield key >> 3, message[position : position + 4]
            position += 4
        else:
            length = varint()
            yield key >> 3, message[position : position + length]
            position += length


def test_others_parse_our_records() -> None:
    """tf.train.Example by the numbers of example.proto and feature.proto, without our classes."""
    record = clip_record()
    ((one, features),) = wire_fields(records.serialize(record))
    assert one == 1
    found = {}
    for number, entry in wire_fields(features):
        assert number == 1
        key, feature = (value for _, value in wire_fields(entry))
        ((kind, values),) = wire_fields(feature)
        found[key.decode()] = (kind, [value for _, value in wire_fields(values)])
    bytes_list, float_list, int64_list = 1, 2, 3
    assert found == {
        "frames": (bytes_list, list(record.frames)),
        "height": (int64_list, [bytes([4])]),  # packed varints
        "width": (int64_list, [bytes([6])]),
        "num_frames": (int64_list, [bytes([2])]),
        "fps": (float_list, [struct.pack("<f", 24)]),
        "video_id": (bytes_list, [b"video"]),
        "clip_id": (bytes_list, [b"clip"]),
        "label_map": (bytes_list, [record.label_map]),
        "label_map_score": (float_list, [struct.pack("<f", 0.5)]),
    }


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"frames": ()}, "frames is empty"),
        ({"height": 5}, "frame 0 is a PNG of 6×4, but the clip says PNG of 6×5"),
        ({"frames": (b"hello",)}, "neither JPEG nor PNG"),
        ({"fps": 0.0}, r"fps \(=0.0\)"),
        ({"fps": float("nan")}, r"fps \(=nan\)"),
        ({"video_id": ""}, r"video_id \(=''\)"),
        ({"clip_id": "a\0"}, "clip_id.*NUL"),
        ({"label_map": records.encode_label_map(np.zeros((6, 4), np.uint8))}, "label_map is 4×6"),
        ({"label_map": None}, r"label_map_score \(=0.5\) without a label_map"),
    ],
)
def test_serialize_refuses(changes: dict[str, Any], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        records.serialize(clip_record(**changes))


def test_mixed_frames_are_refused() -> None:
    frames = clip_record().frames
    jpeg = records.encode_frames(np.zeros((1, 4, 6, 3), np.uint8))
    with pytest.raises(ValueError, match=r"frame 2 is a JPEG of 6×4.*all frames must be of one"):
        records.serialize(clip_record(frames=frames + jpeg))


@pytest.mark.parametrize("name", ["height", "width", "num_frames", "fps", "video_id", "clip_id"])
def test_parse_names_a_missing_feature(name: str) -> None:
    features = {key: value for key, value in FEATURES.items() if key != name}
    with pytest.raises(RecordError, match=f"here: no feature '{name}'; found .*frames"):
        records.parse(tfexample.encode_example(features), where="here")


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"num_frames": [3]}, "`num_frames` is 3, but there are 2 frames"),
        ({"frames": [1]}, "feature 'frames' is a list of int64, but must be a list of bytes"),
        ({"height": [4.0]}, "feature 'height' is a list of float, but must be a list of int64"),
        ({"height": [0]}, "`height` is 0"),
        ({"width": [1, 2]}, "feature 'width' has 2 values, but must have one"),
        ({"clip_id": [b"\xff"]}, "not UTF-8"),
    ],
)
def test_parse_refuses(changes: dict[str, Any], text: str) -> None:
    with pytest.raises(RecordError, match=f"here: .*{text}"):
        records.parse(tfexample.encode_example(FEATURES | changes), where="here")


def test_parse_refuses_other_messages() -> None:
    with pytest.raises(RecordError, match=r"here: not a tf\.train\.Example"):
        records.parse(b"\xff\xff", where="here")
    with pytest.raises(RecordError, match="no feature 'num_frames'; found none"):
        records.parse(b"", where="here")


def test_further_features_are_ignored() -> None:
    payload = tfexample.encode_example(FEATURES | {"mine": [b"x"]})
    assert records.parse(payload).video_id == "v"

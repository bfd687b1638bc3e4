"""What clients send: forms within bounds, numbers and pictures as they must be."""

import asyncio
import io
import struct
import zlib
from collections.abc import AsyncIterator, Iterable
from typing import Any

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest
from PIL import Image

from tests.serving.served import (
    BOUNDARY,
    FORM_TYPE,
    KNOWN,
    SIZE,
    FakeModel,
    a_map,
    form_of,
    png,
)
from vidgan_jax.data.labels import COLOURS
from vidgan_jax.serving.forms import InputLimits, RequestError, read_form
from vidgan_jax.serving.inputs import Wish, read_wish

DESCRIPTION = FakeModel().description
SMALL = InputLimits(map_bytes=1000, style_bytes=1000, map_side=64, style_side=64, upload_s=0.05)


async def stream_of(chunks: Iterable[bytes]) -> AsyncIterator[bytes]:
    for chunk in chunks:
        yield chunk


def read(
    body: bytes, content_type: str = FORM_TYPE, *, limits: InputLimits = SMALL, step: int = 1 << 16
) -> dict[str, bytes]:
    chunks = [body[i : i + step] for i in range(0, len(body), step)]
    return asyncio.run(read_form(stream_of(chunks), content_type, limits))


def refused(status: int, field: str | None = None) -> Any:
    """What expects a request to be refused with this status and field."""
    return pytest.raises(
        RequestError,
        check=lambda error: (error.status, error.field) == (status, field),
    )


def wish_of(description: Any = None, **fields: bytes | str) -> Wish:
    form = {k: v.encode() if isinstance(v, str) else v for k, v in fields.items()}
    return read_wish({"map": a_map(), **form}, description or DESCRIPTION, SMALL)


# --- Forms


@pytest.mark.parametrize("step", [1, 7, 1 << 16])
def test_a_form_is_the_same_however_it_arrives(step: int) -> None:
    fields = {"map": bytes(range(256)) * 2, "seed": b"12", "format": b""}
    assert read(form_of(fields), step=step) == fields


def test_only_forms_are_read() -> None:
    for kind in ("", "application/json", "text/plain; boundary=x", "multipart/mixed; boundary=x"):
        with refused(415):
            read(b"", kind)
    for kind in ("multipart/form-data", "multipart/form-data; boundary=", FORM_TYPE + "x" * 80):
        with refused(400):
            read(b"", kind)


@pytest.mark.parametrize("left", [0, 1, 40, 90, 150, -5])
def test_a_form_that_is_cut_short_is_refused(left: int) -> None:
    with refused(400):
        read(form_of({"map": b"x" * 60, "seed": b"1"})[:left])


def test_each_field_has_its_bound() -> None:
    assert len(read(form_of({"map": b"x" * 1000}))["map"]) == 1000
    for field, size in {"map": 1001, "style": 1001, "seed": 65}.items():
        with refused(413, field):
            read(form_of({field: b"x" * size}), step=100)


def test_a_body_without_end_is_refused_at_its_bound() -> None:
    """Whatever it is made of; no more of it is asked for."""
    head = form_of({}).removesuffix(b"--\r\n") + b"\r\n"
    disposition = b'Content-Disposition: form-data; name="seed"\r\n'
    for part in (b"X: " + b"y" * 500 + b"\r\n", disposition):
        sent = 0

        async def endless(part: bytes = part) -> AsyncIterator[bytes]:
            nonlocal sent
            yield head
            while True:
                sent += len(part)
                yield part

        with pytest.raises(RequestError) as caught:
            asyncio.run(read_form(endless(), FORM_TYPE, SMALL))
        assert caught.value.status in (400, 413)
        assert sent < 50_000


def test_the_length_that_is_announced_is_not_trusted() -> None:
    """The form's reader never sees it: only what comes is counted."""
    preamble = b"\r\n" * 40_000
    with pytest.raises(RequestError) as caught:
        read(preamble + form_of({"seed": b"1"}), step=1000)
    assert caught.value.status in (400, 413)


def test_unknown_repeated_and_nameless_fields_are_refused() -> None:
    with pytest.raises(RequestError, match="no field 'sead'; its fields are map, style, seed"):
        read(form_of({"sead": b"1"}))
    twice = form_of({"seed": b"1"}).replace(f"--{BOUNDARY}--\r\n".encode(), b"")
    with refused(400, "seed"):
        read(twice + form_of({"seed": b"2"}))
    for disposition in (b"form-data", b'form-data; name=""', b'attachment; name="seed"', b""):
        body = form_of({"seed": b"1"}).replace(b'form-data; name="seed"', disposition)
        with refused(400):
            read(body)


def test_a_form_that_comes_too_slowly_is_given_up() -> None:
    async def slowly() -> AsyncIterator[bytes]:
        while True:
            yield b"\r\n"
            await asyncio.sleep(0.01)

    with refused(408):
        asyncio.run(read_form(slowly(), FORM_TYPE, SMALL))


@hypothesis.settings(max_examples=150, deadline=None, derandomize=True, database=None)
@hypothesis.given(st.data())
def test_any_bytes_are_a_form_or_are_refused(data: st.DataObject) -> None:
    pieces = st.one_of(
        st.binary(max_size=40),
        st.sampled_from([form_of({"seed": b"1"}), b"\r\n", b"--", BOUNDARY.encode(), b'name="']),
    )
    body = b"".join(data.draw(st.lists(pieces, max_size=8)))
    form: dict[str, bytes] = {}
    status = 400
    try:
        form = read(body, step=data.draw(st.integers(1, 50)))
    except RequestError as error:
        status = error.status
    assert status in (400, 413)
    assert set(form) <= set(SMALL.of_fields())


# --- Numbers and choices


def test_what_is_not_said_has_its_usual_value() -> None:
    wish = wish_of()
    assert (wish.seed, wish.variation, wish.truncation, wish.style) == (0, 0, None, None)
    assert (wish.format, wish.playback, wish.loops) == ("mp4", "once", 1)


NO_NUMBERS = (
    "", " 1", "1 ", "+1", "-1", "01", "1e3", "0x1", "1_0", "1.0", "٣", "１", "²", "nan", "1\x00",
    "9" * 60,
)  # fmt: skip


@pytest.mark.parametrize("text", NO_NUMBERS)
@pytest.mark.parametrize("field", ["seed", "variation", "loops"])
def test_whole_numbers_are_read_strictly(field: str, text: str) -> None:
    with refused(400, field):
        wish_of(**{field: text})


@pytest.mark.parametrize(
    "text", ["", "1e0", "0.09", "4.01", "-1", "+1", ".5", "1.", "1,5", "inf", "nan", "1.0000000"]
)
def test_truncation_is_read_strictly(text: str) -> None:
    with refused(400, "truncation"):
        wish_of(truncation=text)


def test_the_ends_of_ranges_are_in_them() -> None:
    assert wish_of(seed="4294967295").seed == 4294967295
    assert wish_of(variation="2147483647").variation == 2147483647
    assert [wish_of(loops=text).loops for text in ("1", "8")] == [1, 8]
    assert [wish_of(truncation=text).truncation for text in ("0.1", "4")] == [0.1, 4.0]
    with pytest.raises(RequestError, match=r"seed: got '4294967296'.* from 0 to 4294967295"):
        wish_of(seed="4294967296")


def test_choices_are_read_strictly() -> None:
    for field, text in {"format": "MP4", "playback": "twice"}.items():
        with pytest.raises(RequestError, match=f"{field}: got '{text}'; it must be one of"):
            wish_of(**{field: text})


def test_what_the_model_has_not_got_is_refused() -> None:
    plain = {**DESCRIPTION, "has_style": False, "z_dim": 0}
    with refused(400, "style"):
        wish_of(plain, style=a_map())
    with refused(400, "truncation"):
        wish_of(plain, truncation="1")


# --- Pictures


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_claiming(width: int, height: int, pixels: bytes = b"\0" * 9) -> bytes:
    """A PNG whose header tells a size that its data need not have."""
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    parts = [(b"IHDR", header), (b"IDAT", zlib.compress(pixels)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in parts)


def test_ids_and_colours_give_the_same_map() -> None:
    ids = np.random.default_rng(0).choice([*KNOWN, 255], (SIZE, SIZE)).astype(np.uint8)
    for pixels in (ids, COLOURS[ids]):
        np.testing.assert_array_equal(wish_of(map=png(pixels)).label_map, ids)


def test_maps_of_any_size_are_stretched_to_the_models_square() -> None:
    halves = np.full((60, 10), KNOWN[0], np.uint8)
    halves[30:] = KNOWN[1]
    expected = np.repeat([KNOWN[0], KNOWN[1]], SIZE // 2)[:, None].repeat(SIZE, axis=1)
    np.testing.assert_array_equal(wish_of(map=png(halves)).label_map, expected)
    assert wish_of(map=a_map(side=1)).label_map.dtype == np.uint8


def test_size_is_refused_before_anything_is_decoded() -> None:
    """The pixels of these are not even there."""
    for width, height in ((65, 1), (1, 65), (8000, 8000)):
        with refused(413, "map"):
            wish_of(map=png_claiming(width, height))
        with refused(413, "style"):
            wish_of(style=png_claiming(width, height))
    for width, height in ((0, 5), (2**31 - 1, 2**31 - 1), (9000, 9000)):
        with refused(400, "map"):
            wish_of(map=png_claiming(width, height))
    with refused(400, "map"):
        wish_of(map=png_claiming(64, 64))


def in_format(name: str) -> bytes:
    file = io.BytesIO()
    Image.new("L", (SIZE, SIZE), 4).save(file, format=name)
    return file.getvalue()


@pytest.mark.parametrize("name", ["JPEG", "GIF", "BMP", "WEBP", "TIFF"])
def test_maps_are_png(name: str) -> None:
    with pytest.raises(RequestError, match="map: is not a PNG file"):
        wish_of(map=in_format(name))


def test_styles_are_png_or_jpeg() -> None:
    for name in ("PNG", "JPEG"):
        style = wish_of(style=in_format(name)).style
        assert style is not None
        assert (style.shape, style.dtype) == ((SIZE, SIZE, 3), np.uint8)
    with pytest.raises(RequestError, match="style: is not a PNG or JPEG file"):
        wish_of(style=in_format("GIF"))


def test_moving_and_deep_pictures_are_refused() -> None:
    file = io.BytesIO()
    frames = [Image.new("L", (SIZE, SIZE), shade) for shade in (2, 4)]
    frames[0].save(file, format="PNG", save_all=True, append_images=frames[1:])
    for field in ("map", "style"):
        with refused(400, field):
            wish_of(**{field: file.getvalue()})
    with refused(400, "style"):
        wish_of(style=png(np.full((9, 9), 700, np.uint16)))


@pytest.mark.parametrize("where", [8, 20, 45, 60])
def test_damage_is_told_as_such(where: int) -> None:
    data = bytearray(png(np.random.default_rng(1).choice(KNOWN, (32, 32)).astype(np.uint8)))
    with refused(400, "map"):
        wish_of(map=bytes(data[:where]))
    data[where : where + 4] = b"\xff\xff\xff\xff"
    with refused(400, "map"):
        wish_of(map=bytes(data))


def test_unknown_labels_are_named() -> None:
    with pytest.raises(RequestError, match=r"0 \(wall; nearest.*, 1 \(b.* and 3 more; ") as caught:
        wish_of(map=png(np.arange(11, dtype=np.uint8)[None]))
    assert (caught.value.status, caught.value.field) == (422, "map")
    with pytest.raises(RequestError, match=r"#07e5e5 .*\(nearest in colour: 2, sky\)") as caught:
        wish_of(map=png(np.full((5, 5, 3), (7, 229, 229), np.uint8)))
    assert caught.value.status == 422
    with pytest.raises(RequestError, match=r"holds the id 200, but ids are 0 to 149") as caught:
        wish_of(map=a_map(200))
    assert caught.value.status == 422
    assert "--" not in caught.value.message  # what a command line would take


def test_nothing_but_dont_care_is_a_map() -> None:
    assert (wish_of(map=a_map(255)).label_map == 255).all()


def test_a_missing_map_is_told() -> None:
    with refused(400, "map"):
        read_wish({"seed": b"1"}, DESCRIPTION, SMALL)

"""The page reads maps in the browser, bit for bit; Python reads the same files by Pillow."""

import base64
import io
import struct
import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image

from tests.serving.browser.conftest import Visit
from vidgan_jax.data.label_files import read_label_map
from vidgan_jax.data.labels import COLOURS, DONT_CARE, PALETTE, class_name, resize_label_map

SIZE = 32
GREY, RGB, INDEXED, GREY_ALPHA, RGBA = 0, 2, 3, 4, 6
CHANNELS = {GREY: 1, RGB: 3, INDEXED: 1, GREY_ALPHA: 2, RGBA: 4}
WHOLE = ((0, 0, 1, 1),)
ADAM7 = (
    (0, 0, 8, 8),
    (4, 0, 8, 8),
    (0, 4, 4, 8),
    (2, 0, 4, 4),
    (0, 2, 2, 4),
    (1, 0, 2, 2),
    (0, 1, 1, 2),
)
LABELS = [
    {"id": i, "name": class_name(i), "colour": "#" + bytes(PALETTE[i]).hex()}
    for i in range(len(PALETTE))
]
READ = """async ([files, labels, size]) => {
  const { Labels, fittedMap, readMap } = await import('/static/maps.js');
  const known = new Labels(labels), bytes = (text) => Uint8Array.from(atob(text),
    (character) => character.charCodeAt(0));
  return Promise.all(files.map(async (file) => {
    try {
      const map = await readMap(bytes(file), known);
      const unknown = map.unknown.map(({ name, count }) => [name, count]);
      if (unknown.length) return { unknown };
      return { ids: [...fittedMap(map, size)] };
    } catch (error) {
      return { error: error.message, kind: error.constructor.name };
    }
  }));
}"""
WRITE = """async ([ids, labels, size]) => {
  const { Labels, coloursPng, idsPng } = await import('/static/maps.js');
  const map = Uint8Array.from(ids), pngs = [idsPng(map, size),
    coloursPng(map, size, new Labels(labels))];
  return Promise.all(pngs.map(async (png) => [...new Uint8Array(await (await png).arrayBuffer())]));
}"""


def _chunk(name: bytes, content: bytes) -> bytes:
    return (
        struct.pack(">I", len(content))
        + name
        + content
        + struct.pack(">I", zlib.crc32(name + content))
    )


def _packed(samples: np.ndarray, depth: int) -> np.ndarray:
    """Rows of bytes of samples `[h, w, c]`."""
    rows = samples.reshape(len(samples), -1)
    if depth == 16:
        return rows.astype(">u2").view(np.uint8)
    bits = (rows[..., None] >> np.arange(depth - 1, -1, -1)) & 1
    return np.packbits(bits.reshape(len(rows), -1).astype(np.uint8), axis=1)


def _filtered(rows: np.ndarray, step: int) -> bytes:
    """Rows behind the five filters of PNG in turn."""
    out = bytearray()
    above = np.zeros(rows.shape[1], np.int32)
    for number, row in enumerate(rows.astype(np.int32)):
        left, corner = (
            np.concatenate([np.zeros(step, np.int32), r])[: len(r)] for r in (row, above)
        )
        guess = left + above - corner
        far = np.abs(guess - np.stack([left, above, corner]))
        paeth = np.choose(far.argmin(0), [left, above, corner])
        predicted = (np.zeros_like(row), left, above, (left + above) // 2, paeth)[number % 5]
        out += bytes([number % 5]) + (row - predicted).astype(np.uint8).tobytes()
        above = row
    return bytes(out)


def _png(
    samples: np.ndarray,
    kind: int,
    depth: int = 8,
    *,
    interlaced: bool = False,
    palette: np.ndarray | None = None,
    clear: bytes | None = None,
) -> bytes:
    """A PNG of samples `[h, w]` or `[h, w, c]`, as Pillow does not write them."""
    samples = samples.reshape(*samples.shape[:2], -1).astype(np.int32)
    step = max(1, CHANNELS[kind] * depth // 8)
    parts = [samples[y::down, x::right] for x, y, right, down in (ADAM7 if interlaced else WHOLE)]
    data = zlib.compress(b"".join(_filtered(_packed(p, depth), step) for p in parts if p.size))
    height, width = samples.shape[:2]
    header = struct.pack(">IIBBBBB", width, height, depth, kind, 0, 0, interlaced)
    chunks = [_chunk(b"IHDR", header)]
    if palette is not None:
        chunks.append(_chunk(b"PLTE", palette.astype(np.uint8).tobytes()))
    if clear is not None:
        chunks.append(_chunk(b"tRNS", clear))
    middle = len(data) // 2
    chunks += [_chunk(b"IDAT", part) for part in (data[:middle], data[middle:])]
    return b"\x89PNG\r\n\x1a\n" + b"".join([*chunks, _chunk(b"IEND", b"")])


def _files(shape: tuple[int, int], interlaced: bool) -> dict[str, bytes]:
    rng = np.random.default_rng(0)
    ids = rng.integers(0, len(PALETTE), shape)
    ids[0, 0] = DONT_CARE
    classes = np.where(ids == DONT_CARE, 0, ids)
    opaque = rng.choice([0, 255], (*shape, 1))
    order = rng.permutation(len(PALETTE))
    greys = np.repeat(np.arange(256)[:, None], 3, axis=1)
    strange = rng.random(shape) < 0.5

    def png(samples: np.ndarray, kind: int, depth: int = 8, **more: Any) -> bytes:
        return _png(samples, kind, depth, interlaced=interlaced, **more)

    painted = COLOURS[ids].astype(np.int32)
    return {
        **{f"grey of {d}": png(rng.integers(0, 2**d, shape), GREY, d) for d in (1, 2, 4)},
        "grey of 8": png(ids, GREY),
        "grey of 16": png(ids, GREY, 16),
        "grey with a clear value": png(ids, GREY, clear=struct.pack(">H", 7)),
        "grey and opacity": png(np.concatenate([ids[..., None], opaque], -1), GREY_ALPHA),
        "colours": png(painted, RGB),
        "colours and opacity": png(np.concatenate([painted, opaque], -1), RGBA),
        "half opaque": png(np.concatenate([painted, opaque // 2], -1), RGBA),
        "colours of 16": png(painted * 257, RGB, 16),
        "greys as colours": png(greys[ids], RGB),
        "our palette": png(ids, INDEXED, palette=COLOURS),
        "our palette, partly clear": png(ids, INDEXED, palette=COLOURS, clear=b"\xff\xff\0\0"),
        "our colours in disorder": png(np.argsort(order)[classes], INDEXED, palette=PALETTE[order]),
        "our colours of 4": png(rng.integers(0, 16, shape), INDEXED, 4, palette=PALETTE[15::-1]),
        "palette of greys": png(ids, INDEXED, palette=greys),
        "palette of greys in disorder": png(ids, INDEXED, palette=greys[::-1]),
        "another palette": png(classes, INDEXED, palette=COLOURS[150:254].repeat(2, 0)),
        "unknown ids": png(np.where(strange, 180, ids), GREY),
        "unknown colours": png(np.where(strange[..., None], 3, painted), RGB),
    }


def _read(visit: Visit, files: Sequence[bytes]) -> list[dict[str, Any]]:
    """What the page makes of files: "ids", what is "unknown", or an "error" and its "kind"."""
    texts = [base64.b64encode(data).decode() for data in files]
    answers: list[dict[str, Any]] = visit().page.evaluate(READ, [texts, LABELS, SIZE])
    return answers


def test_the_page_reads_every_kind_of_png_as_python_does(visit: Visit) -> None:
    shapes = [(SIZE, SIZE), (21, 37), (1, 3)]
    files = {
        (name, shape, interlaced): data
        for shape in shapes
        for interlaced in (False, True)
        for name, data in _files(shape, interlaced).items()
    }
    answers = _read(visit, list(files.values()))
    read = 0
    for (what, data), answer in zip(files.items(), answers, strict=True):
        try:
            ids = read_label_map("map.png", len(LABELS), data=data)
        except ValueError:
            # The page asks about what Python refuses, or refuses it too.
            assert answer.get("unknown") or answer.get("kind") == "PngError", what
            continue
        assert "ids" in answer, (what, answer)
        np.testing.assert_array_equal(
            np.reshape(answer["ids"], (SIZE, SIZE)), resize_label_map(ids, SIZE), err_msg=str(what)
        )
        read += 1
    assert read >= 14 * 2 * len(shapes)


def test_unknown_values_are_counted(visit: Visit) -> None:
    files = _files((SIZE, SIZE), interlaced=False)
    ids, colours = _read(visit, [files["unknown ids"], files["unknown colours"]])
    ((name, count),) = ids["unknown"]
    with Image.open(io.BytesIO(files["unknown ids"])) as picture:
        assert (name, count) == ("id 180", int((np.asarray(picture) == 180).sum()))
    assert colours["unknown"] == [["#030303", count]]


def test_what_the_page_writes_python_reads(visit: Visit) -> None:
    ids = np.arange(SIZE * SIZE) % (len(PALETTE) + 1)
    ids[ids == len(PALETTE)] = DONT_CARE
    for content in visit().page.evaluate(WRITE, [ids.tolist(), LABELS, SIZE]):
        read = read_label_map("map.png", len(LABELS), data=bytes(content))
        # Road and skyscraper, of one colour, among them.
        np.testing.assert_array_equal(read.ravel(), ids)


def test_damaged_files_are_refused_in_words(visit: Visit) -> None:
    rng = np.random.default_rng(1)
    whole = _files((SIZE, SIZE), interlaced=False)["our palette"]
    damaged = [whole[: int(rng.integers(0, len(whole)))] for _ in range(30)]
    for _ in range(90):
        data = bytearray(whole)
        data[int(rng.integers(len(data)))] ^= 1 << int(rng.integers(8))
        damaged.append(bytes(data))
    for answer in _read(visit, damaged):
        assert answer.get("kind") == "PngError", answer
        assert "save" in answer["error"]

"""Label maps and instance maps as people store them: ids, colours, palettes, what is refused."""

import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from vidgan_jax.data.label_files import read_instance_map, read_label_map
from vidgan_jax.data.labels import COLOURS, PALETTE, class_id, colorize

SKY, SEA, ROAD, SKYSCRAPER = map(class_id, ("sky", "sea", "road", "skyscraper"))
IDS = np.array([[SKY, SKY, SEA], [SEA, 149, 255]], np.uint8)
ADE = COLOURS.tobytes()
GREYS = np.arange(256, dtype=np.uint8).repeat(3).tobytes()


def saved(path: Path, pixels: np.ndarray, *, palette: bytes | None = None, **options: Any) -> Path:
    """Writes pixels as they are, with a palette if one is given."""
    image = Image.fromarray(pixels)
    if palette is not None:
        image.putpalette(palette)
    image.save(path, **options)
    return path


def chunk(kind: bytes, data: bytes) -> bytes:
    """A part of a PNG."""
    checksum = zlib.crc32(kind + data)
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", checksum)


def grey_png(path: Path, samples: np.ndarray, depth: int) -> Path:
    """A grey PNG of 1, 2, 4, 8 or 16 bits, by the standard and without Pillow."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    rows = []
    for row in samples:
        bits = "".join(f"{int(sample):0{depth}b}" for sample in row)
        bits += "0" * (-len(bits) % 8)
        rows.append(b"\0" + bytes(int(bits[i : i + 8], 2) for i in range(0, len(bits), 8)))
    height, width = samples.shape
    header = struct.pack(">IIBBBBB", width, height, depth, 0, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"".join(rows)))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + body + chunk(b"IEND", b""))
    return path


# Ids.


@pytest.mark.parametrize("depth", [1, 2, 4, 8, 16])
def test_grey_pngs_of_any_depth_hold_ids(tmp_path: Path, depth: int) -> None:
    most = min(2**depth, 150)
    ids = np.arange(most, dtype=np.uint16)[None].repeat(2, axis=0)
    found = read_label_map(grey_png(tmp_path / "a.png", ids, depth), 150)
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, ids)
    np.testing.assert_array_equal(read_instance_map(tmp_path / "a.png"), ids)


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".gif", ".pgm"])
def test_lossless_formats(tmp_path: Path, suffix: str) -> None:
    np.testing.assert_array_equal(read_label_map(saved(tmp_path / f"a{suffix}", IDS), 150), IDS)


def test_ids_with_alpha_in_wide_integers_and_as_rgb(tmp_path: Path) -> None:
    alpha = np.full(IDS.shape, 255, np.uint8)
    alpha[0, 0] = 0
    with_alpha = saved(tmp_path / "la.png", np.stack([IDS, alpha], axis=-1))
    expected = IDS.copy()
    expected[0, 0] = 255
    np.testing.assert_array_equal(read_label_map(with_alpha, 150), expected)
    wide = saved(tmp_path / "wide.png", IDS.astype(np.uint16))
    np.testing.assert_array_equal(read_label_map(wide, 150), IDS)
    rgb = saved(tmp_path / "rgb.png", np.stack([IDS] * 3, axis=-1))
    np.testing.assert_array_equal(read_label_map(rgb, 150), IDS)


@pytest.mark.parametrize("palette", ["greys", "ade20k", "voc", "one colour is not ours"])
def test_palettes_that_mean_ids(tmp_path: Path, palette: str) -> None:
    """Of greys; of ADE20K in its order (even road and skyscraper differ); of somebody else's."""
    ids = np.array([[SKY, ROAD], [SKYSCRAPER, 255]], np.uint8)
    voc = bytes(np.random.default_rng(0).integers(1, 120, 768, dtype=np.uint8))
    other = bytearray(ADE)
    other[3 * SKY : 3 * SKY + 3] = b"\1\2\3"
    palettes = {
        "greys": GREYS,
        "ade20k": ADE,
        "voc": voc,
        "one colour is not ours": bytes(other),
    }
    path = saved(tmp_path / "a.png", ids, palette=palettes[palette])
    with Image.open(path) as image:
        assert image.mode == "P"
    np.testing.assert_array_equal(read_label_map(path, 150), ids)


def test_a_picture_of_background_only_is_not_dont_care(tmp_path: Path) -> None:
    """PASCAL VOC's palette begins with black; a map of class 0 only uses no other colour."""
    voc = bytes(3) + b"\x80\0\0" * 255
    path = saved(tmp_path / "a.png", np.zeros((2, 2), np.uint8), palette=voc)
    assert read_label_map(path, 21).tolist() == [[0, 0], [0, 0]]


def test_greys_out_of_order_may_mean_either(tmp_path: Path) -> None:
    greys = np.array([[0] * 3, [26] * 3, [2] * 3], np.uint8).tobytes()
    indices = np.array([[0, 1, 2]], np.uint8)
    path = saved(tmp_path / "a.png", indices, palette=greys)
    with pytest.raises(ValueError, match="has a palette of greys that are not in order, so that"):
        read_label_map(path, 150)
    # A GIF's indices mean nothing.
    path = saved(tmp_path / "a.gif", indices, palette=greys)
    assert read_label_map(path, 150).tolist() == [[0, 26, 2]]


# Colours.


def test_painted_maps(tmp_path: Path) -> None:
    for suffix in (".png", ".bmp", ".ppm"):
        path = saved(tmp_path / f"a{suffix}", colorize(IDS))
        np.testing.assert_array_equal(read_label_map(path, 150), IDS)
    alpha = np.full((*IDS.shape, 1), 255, np.uint8)
    alpha[0, 1] = 0
    path = saved(tmp_path / "rgba.png", np.concatenate([colorize(IDS), alpha], axis=-1))
    expected = IDS.copy()
    expected[0, 1] = 255
    np.testing.assert_array_equal(read_label_map(path, 150), expected)


def test_every_class_comes_back_but_skyscrapers_as_road(tmp_path: Path) -> None:
    ids = np.arange(150, dtype=np.uint8)[None]
    found = read_label_map(saved(tmp_path / "a.png", colorize(ids)), 150)
    np.testing.assert_array_equal(found, np.where(ids == SKYSCRAPER, ROAD, ids))
    more = np.arange(182, dtype=np.uint8)[None]
    found = read_label_map(saved(tmp_path / "b.png", colorize(more)), 182)
    np.testing.assert_array_equal(found, np.where(more == SKYSCRAPER, ROAD, more))


def test_palettes_that_mean_colours(tmp_path: Path) -> None:
    """In another order than the ids', as a drawing program orders what is used; black is none."""
    colours = np.stack([PALETTE[SEA], [0, 0, 0], PALETTE[SKY]]).astype(np.uint8)
    indices = np.array([[0, 1, 2]], np.uint8)
    for suffix in (".png", ".gif", ".bmp"):
        path = saved(tmp_path / f"a{suffix}", indices, palette=colours.tobytes())
        assert read_label_map(path, 150).tolist() == [[SEA, 255, SKY]]


def test_transparent_indices_are_dont_care(tmp_path: Path) -> None:
    colours = np.stack([PALETTE[SEA], [1, 2, 3], PALETTE[SKY]]).astype(np.uint8).tobytes()
    indices = np.array([[0, 1, 2]], np.uint8)
    for name, clear in (("one.png", 1), ("table.png", bytes([255, 0, 255])), ("a.gif", 1)):
        path = saved(tmp_path / name, indices, palette=colours, transparency=clear)
        assert read_label_map(path, 150).tolist() == [[SEA, 255, SKY]]
    grey = saved(tmp_path / "grey.png", indices, transparency=1)
    assert read_label_map(grey, 150).tolist() == [[0, 255, 2]]
    rgb = saved(tmp_path / "rgb.png", colorize(np.array([[SEA, SKY]])), transparency=(9, 7, 230))
    assert read_label_map(rgb, 150).tolist() == [[255, SKY]]


def test_greys_of_the_palette_are_colours(tmp_path: Path) -> None:
    """Wall is #787878 and road #8c8c8c: a picture of these, and black, is a painted one."""
    path = saved(tmp_path / "a.png", colorize(np.array([[0, ROAD, 255]])))
    assert read_label_map(path, 150).tolist() == [[0, ROAD, 255]]


def test_the_configured_id_is_dont_care_too(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.png", np.array([[0, 1, 200]], np.uint8))
    assert read_label_map(path, 150, dont_care=200).tolist() == [[0, 1, 255]]
    assert read_label_map(saved(path, np.array([[0, 1]], np.uint8)), 2, 0).tolist() == [[255, 1]]


# What is refused.


def nothing(path: Path) -> None:
    path.write_bytes(b"")


def text(path: Path) -> None:
    path.write_text("sea sky\n" * 40)


def folder(path: Path) -> None:
    path.mkdir()


def gone(path: Path) -> None:
    pass


def cut_short(path: Path) -> None:
    saved(path, np.random.default_rng(0).integers(0, 150, (64, 64), dtype=np.uint8))
    path.write_bytes(path.read_bytes()[:2000])


def flipped_byte(path: Path) -> None:
    saved(path, np.random.default_rng(0).integers(0, 150, (64, 64), dtype=np.uint8))
    data = bytearray(path.read_bytes())
    data[60] ^= 255
    path.write_bytes(data)


def huge(path: Path) -> None:
    grey_png(path, np.zeros((1, 1), int), 8)
    data = bytearray(path.read_bytes())
    data[16:24] = struct.pack(">II", 8193, 8192)
    data[29:33] = struct.pack(">I", zlib.crc32(data[12:29]))
    path.write_bytes(data)


def absurd(path: Path) -> None:
    huge(path)
    data = bytearray(path.read_bytes())
    data[16:24] = struct.pack(">II", 60_000, 60_000)
    data[29:33] = struct.pack(">I", zlib.crc32(data[12:29]))
    path.write_bytes(data)


def jpeg(path: Path) -> None:
    saved(path, colorize(IDS), format="JPEG")


def moving(path: Path) -> None:
    first = Image.fromarray(IDS)
    first.save(path, format="GIF", save_all=True, append_images=[Image.fromarray(IDS + 1)])


def deep(path: Path) -> None:
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 1, 1, 16, 2, 0, 0, 0))
    body = chunk(b"IDAT", zlib.compress(b"\0" + struct.pack(">HHH", 2, 2, 2)))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + header + body + chunk(b"IEND", b""))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (nothing, "not a picture; give a PNG"),
        (text, "not a picture; give a PNG"),
        (folder, r"cannot be read \(Is a directory\)"),
        (gone, r"cannot be read \(No such file or directory\)"),
        (cut_short, r"damaged or cut short \(.*\); save it again"),
        (flipped_byte, r"damaged or cut short \(.*\); save it again"),
        (huge, "is 8193×8192, more than 8192×8192 pixels; make it smaller"),
        (absurd, "is more than 8192×8192 pixels; make it smaller"),
        (jpeg, "is JPEG, which need not keep ids and colours as they are; save it as PNG"),
        (moving, "has 2 frames, and a map is one picture; save one of them"),
        (deep, "has 16 bits a channel; save it with 8"),
    ],
)
def test_what_is_no_map_is_refused_by_name(
    tmp_path: Path, make: Callable[[Path], None], message: str
) -> None:
    path = tmp_path / "map.png"
    make(path)
    for read in (lambda: read_label_map(path, 150), lambda: read_instance_map(path)):
        with pytest.raises(ValueError, match=rf"^{path}: {message}") as refused:
            read()
        assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("pixels", "num_labels", "message"),
    [
        (IDS, 149, "holds the id 149, but ids are 0 to 148 .*; files that count from 1 need 1"),
        (np.array([[150]], np.uint8), 150, r"holds the id 150, .* \(num_labels is 150\), or 255"),
        (np.array([[65535]], np.uint16), 150, "holds the id 65535, but ids are 0 to 149"),
        (colorize(IDS), 100, "holds the id 149, .*; paint with the colours of the model's"),
    ],
)
def test_ids_out_of_range(
    tmp_path: Path, pixels: np.ndarray, num_labels: int, message: str
) -> None:
    path = saved(tmp_path / "a.png", pixels)
    with pytest.raises(ValueError, match=rf"^{path}: {message}"):
        read_label_map(path, num_labels)


def test_a_strange_colour_is_shown_with_its_neighbour_and_place(tmp_path: Path) -> None:
    painted = colorize(np.full((4, 5), SEA))
    painted[1:3, 3] = (10, 7, 228)
    painted[3, 0] = (200, 100, 50)
    path = saved(tmp_path / "a.png", painted)
    message = (
        rf"^{path}: the colour #0a07e4 \(2 pixels, the first at column 3, row 1\) is no class's, "
        "nor are 1 others; the nearest is that of 'sea'. Save it without anti-aliasing, or give "
        "--nearest-colours"
    )
    with pytest.raises(ValueError, match=message):
        read_label_map(path, 150)


def test_partly_transparent_pixels(tmp_path: Path) -> None:
    alpha = np.array([[255, 200, 100, 0]], np.uint8)
    painted = np.concatenate([colorize(np.full((1, 4), SEA)), alpha[..., None]], axis=-1)
    path = saved(tmp_path / "a.png", painted)
    message = "2 pixels, the first at column 1, row 0, neither opaque nor wholly transparent"
    with pytest.raises(ValueError, match=message):
        read_label_map(path, 150)
    assert read_label_map(path, 150, nearest_colours=True).tolist() == [[SEA, SEA, 255, 255]]


# The nearest colours.


def test_nearest_colours_against_every_distance(tmp_path: Path) -> None:
    painted = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    known = COLOURS[[*range(13), 255]].astype(int)
    distance = ((painted[:, :, None].astype(int) - known) ** 2).sum(axis=-1)
    expected = np.array([*range(13), 255])[distance.argmin(axis=-1)]
    path = saved(tmp_path / "a.png", painted)
    found = read_label_map(path, 13, nearest_colours=True)
    np.testing.assert_array_equal(found, expected)


def test_what_jpeg_and_palettes_leave_of_colours(tmp_path: Path) -> None:
    ids = np.full((32, 32), SKY, np.uint8)
    ids[16:] = SEA
    for name in ("a.jpg", "a.webp", "a.tif"):
        path = saved(tmp_path / name, colorize(ids))
        found = read_label_map(path, 150, nearest_colours=True)
        np.testing.assert_array_equal(found[:14], ids[:14])
        np.testing.assert_array_equal(found[18:], ids[18:])
    near = np.stack([PALETTE[SEA] + 1, PALETTE[SKY] - 1]).astype(np.uint8)
    path = saved(tmp_path / "p.png", np.array([[0, 1]], np.uint8), palette=near.tobytes())
    assert read_label_map(path, 150).tolist() == [[0, 1]]
    assert read_label_map(path, 150, nearest_colours=True).tolist() == [[SEA, SKY]]
    # Ids stay ids.
    np.testing.assert_array_equal(
        read_label_map(saved(tmp_path / "ids.png", IDS), 150, nearest_colours=True), IDS
    )


# Instances.


def test_instances_are_what_has_one_value_or_colour(tmp_path: Path) -> None:
    numbers = np.array([[0, 1000, 1000], [65535, 0, 7]], np.uint16)
    found = read_instance_map(saved(tmp_path / "a.png", numbers))
    assert found.dtype == np.int32
    np.testing.assert_array_equal(found, numbers)
    colours = np.array([[[0, 0, 1], [0, 1, 0]], [[255, 255, 255], [0, 0, 1]]], np.uint8)
    found = read_instance_map(saved(tmp_path / "b.png", colours))
    assert found.tolist() == [[1, 256], [0xFFFFFF, 1]]
    indices = np.array([[3, 5]], np.uint8)
    assert read_instance_map(saved(tmp_path / "c.png", indices, palette=ADE)).tolist() == [[3, 5]]
    clear = np.array([[[9, 9, 9, 0], [1, 2, 3, 0], [0, 0, 4, 255]]], np.uint8)
    assert read_instance_map(saved(tmp_path / "d.png", clear)).tolist() == [[-1, -1, 4]]


def test_ids_in_grey_are_not_taken_for_colours_by_the_flag(tmp_path: Path) -> None:
    """Which would make other classes of them: as RGB, as a GIF, as a JPEG."""
    grey = np.repeat(IDS[..., None], 3, axis=-1).astype(np.uint8)
    for name in ("ids.png", "ids.gif", "ids.jpg"):
        path = tmp_path / name
        Image.fromarray(grey).save(path)
        with pytest.raises(ValueError, match=r"ids\..* all grey, and so of ids, which --nearest"):
            read_label_map(path, 150, nearest_colours=True)
    assert read_label_map(tmp_path / "ids.png", 150).tolist() == IDS.tolist()


def test_the_flag_knows_the_model_s_classes_only(tmp_path: Path) -> None:
    """A blend that happens to be the colour of class 52, of which a model of 40 knows nothing."""
    picture = np.stack([PALETTE[SEA], PALETTE[52]])[None]
    found = read_label_map(saved(tmp_path / "map.png", picture), 40, nearest_colours=True)
    assert found[0, 0] == SEA
    assert found[0, 1] < 40

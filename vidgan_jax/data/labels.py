"""Label maps: ADE20K's 150 names and colours, ids checked, resized, painted.

Ids count from 0. Reading maps from picture files is `label_files`' work.
"""

import numpy as np

DONT_CARE = 255
"""The id of pixels that belong to no class; they are drawn black."""

MAX_LABELS = DONT_CARE
"""Most classes that ids of 8 bits tell apart, beside "don't care"."""

# Zhou et al. 2017, "Scene parsing through ADE20K dataset"; the order is that of
# its scene parsing benchmark. The benchmark's short names hold "screen" twice; id 58 is the door.
_NAMES = """
    wall, building, sky, floor, tree, ceiling, road, bed, windowpane, grass, cabinet, sidewalk,
    person, earth, door, table, mountain, plant, curtain, chair, car, water, painting, sofa,
    shelf, house, sea, mirror, rug, field, armchair, seat, fence, desk, rock, wardrobe, lamp,
    bathtub, railing, cushion, base, box, column, signboard, chest, counter, sand, sink,
    skyscraper, fireplace, refrigerator, grandstand, path, stairs, runway, case, pool, pillow,
    screen door, stairway, river, bridge, bookcase, blind, coffee, toilet, flower, book, hill,
    bench, countertop, stove, palm, kitchen, computer, swivel, boat, bar, arcade, hovel, bus,
    towel, light, truck, tower, chandelier, awning, streetlight, booth, television, airplane,
    dirt, apparel, pole, land, bannister, escalator, ottoman, bottle, buffet, poster, stage, van,
    ship, fountain, conveyer, canopy, washer, plaything, swimming, stool, barrel, basket,
    waterfall, tent, bag, minibike, cradle, oven, ball, food, step, tank, trade, microwave, pot,
    animal, bicycle, lake, dishwasher, screen, blanket, sculpture, hood, sconce, vase, traffic,
    tray, ashcan, fan, pier, crt, plate, monitor, bulletin, shower, radiator, glass, clock, flag
"""
CLASS_NAMES: tuple[str, ...] = tuple(name.strip() for name in _NAMES.split(","))

_HEX_COLOURS = """
    787878 b47878 06e6e6 503232 04c803 787850 8c8c8c cc05ff e6e6e6 04fa07 e005ff ebff07 96053d
    787846 08ff33 ff0652 8fff8c ccff04 ff3307 cc4603 0066c8 3de6fa ff0633 0b66ff ff0747 ff09e0
    0907e6 dcdcdc ff095c 7009ff 08ffd6 07ffe0 ffb806 0aff47 ff290a 07ffff e0ff08 6608ff ff3d06
    ffc207 ff7a08 00ff14 ff0829 ff0599 0633ff eb0cff a09614 00a3ff 8c8c8c fa0a0f 14ff00 1fff00
    ff1f00 ffe000 99ff00 0000ff ff4700 00ebff 00adff 1f00ff 0bc8c8 ff5200 00fff5 003dff 00ff70
    00ff85 ff0000 ffa300 ff6600 c2ff00 008fff 33ff00 0052ff 00ff29 00ffad 0a00ff adff00 00ff99
    ff5c00 ff00ff ff00f5 ff0066 ffad00 ff0014 ffb8b8 001fff 00ff3d 0047ff ff00cc 00ffc2 00ff52
    000aff 0070ff 3300ff 00c2ff 007aff 00ffa3 ff9900 00ff0a ff7000 8fff00 5200ff a3ff00 ffeb00
    08b8aa 8500ff 00ff5c b800ff ff001f 00b8ff 00d6ff ff0070 5cff00 00e0ff 70e0ff 46b8a0 a300ff
    9900ff 47ff00 ff00a3 ffcc00 ff008f 00ffeb 85ff00 ff00eb f500ff ff007a fff500 0abed4 d6ff00
    00ccff 1400ff ffff00 0099ff 0029ff 00ffcc 2900ff 29ff00 ad00ff 00f5ff 4700ff 7a00ff 00ffb8
    005cff b8ff00 0085ff ffd600 19c2c2 66ff00 5c00ff
"""

PALETTE: np.ndarray = np.frombuffer(bytes.fromhex(_HEX_COLOURS), np.uint8).reshape(-1, 3)
"""uint8 `[150, 3]`, read-only: the benchmark's RGB colours. Road and skyscraper share one."""


def _spread_bits(number: int) -> tuple[int, int, int]:
    """A colour out of a number's bits: the lowest three are the highest of red, green and blue."""
    channels = [0, 0, 0]
    for place in range(8):
        for channel in range(3):
            channels[channel] |= (number >> (3 * place + channel) & 1) << (7 - place)
    return channels[0], channels[1], channels[2]


_MORE = np.array([_spread_bits(i) for i in range(len(PALETTE), MAX_LABELS)], np.uint8)

COLOURS: np.ndarray = np.concatenate([PALETTE, _MORE, np.zeros((1, 3), np.uint8)])
COLOURS.flags.writeable = False
"""uint8 `[256, 3]`, read-only: RGB of every id. Ids from 150 on have the colours of PASCAL VOC's
rule (Everingham et al. 2010, "The PASCAL visual object classes challenge", its devkit): all
different, and none of `PALETTE`. 255 is black."""


def class_id(name: str) -> int:
    """The id of a class.

    Args:
      name: one of `CLASS_NAMES`.

    Returns:
      The id, 0 to 149.

    Raises:
      ValueError: there is no class of that name.
    """
    if name not in CLASS_NAMES:
        raise ValueError(
            f"class name {name!r} is not one of ADE20K's {len(CLASS_NAMES)}; "
            "they are listed in `vidgan_jax.data.labels.CLASS_NAMES`"
        )
    return CLASS_NAMES.index(name)


def class_name(label: int) -> str:
    """What people call an id: ADE20K's name, "class 150" and so on beyond, or "don't care"."""
    if label == DONT_CARE:
        return "don't care"
    return CLASS_NAMES[label] if 0 <= label < len(CLASS_NAMES) else f"class {label}"


def colorize(label_map: np.ndarray) -> np.ndarray:
    """Paints a label map in `COLOURS`.

    Args:
      label_map: integers `[..., h, w]`, ids from 0; 255 for "don't care".

    Returns:
      uint8 `[..., h, w, 3]`, RGB; "don't care" is black.

    Raises:
      ValueError: the labels are no integers, or one is below 0 or above 255; the message names it.
    """
    labels = np.asarray(label_map)
    if not np.issubdtype(labels.dtype, np.integer):
        raise ValueError(f"label_map holds {labels.dtype}; class ids are integers")
    unknown = (labels < 0) | (labels > DONT_CARE)
    if unknown.any():
        raise ValueError(
            f"label_map holds the id {labels[unknown][0]}; ids are 0 to {DONT_CARE - 1}, or "
            f"{DONT_CARE} for don't care"
        )
    return COLOURS[labels]


def known_ids(label_map: np.ndarray, num_labels: int, dont_care: int = DONT_CARE) -> np.ndarray:
    """A label map in which every id is that of a class, or 255.

    Args:
      label_map: integers of any shape.
      num_labels: classes, 1 to `MAX_LABELS`.
      dont_care: becomes 255.

    Returns:
      uint8 of the same shape, ids 0 to `num_labels` - 1, or 255.

    Raises:
      ValueError: `num_labels` is out of range, or there is another id; the message, which begins
        with "holds", is to be put behind the map's name.
    """
    check_num_labels(num_labels)
    is_class = (label_map >= 0) & (label_map < num_labels) & (label_map != dont_care)
    is_known = is_class | (label_map == dont_care) | (label_map == DONT_CARE)
    if not is_known.all():
        none = " or ".join(str(i) for i in sorted({dont_care, DONT_CARE}))
        raise ValueError(
            f"holds the id {label_map[~is_known].flat[0]}, but ids are 0 to {num_labels - 1} "
            f"(num_labels is {num_labels}), or {none} for don't care"
        )
    return np.where(is_class, label_map, DONT_CARE).astype(np.uint8)


def check_num_labels(num_labels: int) -> None:
    """Raises ValueError where there can't be so many classes."""
    if not 1 <= num_labels <= MAX_LABELS:
        raise ValueError(f"num_labels (={num_labels}) must be from 1 to {MAX_LABELS}")


def resized_label_crop(
    label_map: np.ndarray, resized: tuple[int, int], size: int, top: int, left: int
) -> np.ndarray:
    """The crop `[top : top + size, left : left + size]` of a map resized to the nearest pixel's id.

    Pixels are nearest by their centres, so that a map stays on the frames that are resized with it.

    Args:
      label_map: integers `[h, w]`.
      resized: height and width of the resized map, pixels.
      size: height and width of the crop, pixels.
      top: first row of the crop, in the resized map.
      left: first column of the crop, likewise.

    Returns:
      `[size, size]` of the same type.
    """
    # The centre of pixel i lies at (i + ½) · n / resized pixels of the map.
    rows, columns = (
        (2 * np.arange(first, first + size) + 1) * extent // (2 * whole)
        for first, extent, whole in zip((top, left), label_map.shape, resized, strict=True)
    )
    crop: np.ndarray = label_map[rows[:, None], columns]
    return crop


def resize_label_map(label_map: np.ndarray, size: int) -> np.ndarray:
    """Resizes a map of any height and width to a square, each pixel the nearest one's id.

    Args:
      label_map: integers `[h, w]`.
      size: height and width wanted, pixels.

    Returns:
      `[size, size]` of the same type.
    """
    return resized_label_crop(label_map, (size, size), size, 0, 0)

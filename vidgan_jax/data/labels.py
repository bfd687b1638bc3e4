"""ADE20K's 150 classes: names, colours, and label maps as pictures."""

import numpy as np

DONT_CARE = 255
"""The id of pixels that belong to no class; they are drawn black."""

# Ids count from 0. Zhou et al. 2017, "Scene parsing through ADE20K dataset"; the order is that of
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


def colorize(label_map: np.ndarray) -> np.ndarray:
    """Paints a label map in the benchmark's colours.

    Args:
      label_map: integers `[..., h, w]`, ids from 0; 255 for "don't care".

    Returns:
      uint8 `[..., h, w, 3]`, RGB; "don't care" is black.

    Raises:
      ValueError: the labels are no integers, or one is no class id; the message names it.
    """
    labels = np.asarray(label_map)
    if not np.issubdtype(labels.dtype, np.integer):
        raise ValueError(f"label_map holds {labels.dtype}; class ids are integers")
    known = (labels >= 0) & (labels < len(CLASS_NAMES)) | (labels == DONT_CARE)
    if not known.all():
        raise ValueError(
            f"label_map holds the id {labels[~known].flat[0]}; ids are 0 to "
            f"{len(CLASS_NAMES) - 1}, or {DONT_CARE} for don't care. "
            "Files that count from 1 need 1 subtracted first"
        )
    table = np.zeros((DONT_CARE + 1, 3), np.uint8)
    table[: len(CLASS_NAMES)] = PALETTE
    return table[labels]

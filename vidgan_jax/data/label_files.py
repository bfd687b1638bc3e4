"""Label maps and instance maps from picture files, in which people draw and store them."""

import dataclasses
import io
import os
from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image

from vidgan_jax.data.labels import (
    COLOURS,
    DONT_CARE,
    PALETTE,
    check_num_labels,
    class_name,
    known_ids,
)
from vidgan_jax.data.picture_files import decode_picture, load_picture

# What keeps every pixel as it was.
_LOSSLESS = ("PNG", "BMP", "DIB", "GIF", "PPM")
_GREY = ("1", "L", "LA", "I", "I;16", "I;16B")
_COLOUR = ("RGB", "RGBA")
_NO_COLOUR = -1


class UnknownLabelsError(ValueError):
    """A map that can be read, but has ids or colours that are no class's.

    Attributes:
      found: what it has, in words, without the map's name and what to do.
      colour: 0xRRGGBB, the most frequent that is no class's; None of maps of ids.
    """

    def __init__(
        self, path: str | os.PathLike[str], found: str, advice: str, colour: int | None = None
    ) -> None:
        super().__init__(f"{path}: {found}; {advice}")
        self.found = found
        self.colour = colour


def read_label_map(
    path: str | os.PathLike[str],
    num_labels: int,
    dont_care: int = DONT_CARE,
    nearest_colours: bool = False,
    *,
    data: bytes | None = None,
) -> np.ndarray:
    """Reads a label map, of ids or of colours, from a PNG, BMP, GIF or PPM.

    Grey pictures (of 1 to 16 bits) hold ids. Colour pictures are painted in `labels.COLOURS`, black
    being "don't care"; of two classes of one colour the first is meant. A picture with a palette
    holds ids where that is all greys in order, or has other colours than ours in use; else, and in
    GIFs, which are renumbered whenever they are written, its colours count. A colour picture that
    is all grey, and not in our greys only, holds ids. Pixels that are wholly transparent are "don't
    care".

    Args:
      path: the file.
      num_labels: classes, 1 to `labels.MAX_LABELS`.
      dont_care: an id in the file that means no class, as 255 does.
      nearest_colours: take colours that are no class's for the nearest class's (by distance in
        RGB), or for black; pixels that are half transparent or more for "don't care"; and any
        format that Pillow reads, JPEG too. Without it all of these are refused.
      data: what the file holds, where it is not on disk and `path` only its name.

    Returns:
      uint8 `[h, w]`, ids 0 to `num_labels` - 1, or 255.

    Raises:
      UnknownLabelsError: an id or a colour is no class's; a ValueError.
      ValueError: no picture, or none that can be read so; the message names the file, what is wrong
        and what to do.
    """
    check_num_labels(num_labels)
    picture = _open(path, any_format=nearest_colours, data=data)
    visible = _visible(picture, at_half=nearest_colours)
    table = _colour_table(num_labels if nearest_colours else max(num_labels, len(PALETTE)))
    if picture.palette is not None and _has_colours(picture, visible, table, nearest_colours):
        picture = dataclasses.replace(picture, pixels=picture.palette[picture.pixels], palette=None)
    painted = picture.pixels.ndim == 3
    ids = picture.pixels
    if painted:
        colours = picture.pixels.astype(np.int32) @ (1 << 16, 1 << 8, 1)
        ids = table[colours].astype(np.int32)
        unknown = (ids == _NO_COLOUR) & visible
        if unknown.any() and nearest_colours:
            if _is_grey(picture.pixels, visible):
                raise ValueError(
                    f"{path}: is all grey, and so of ids, which --nearest-colours would change; "
                    "leave that out, or paint the map in the classes' colours"
                )
            ids[unknown] = _nearest(colours[unknown], num_labels)
        elif unknown.any() and _is_grey(picture.pixels, visible):
            painted, ids = False, picture.pixels[..., 0]
        elif unknown.any():
            raise _strange_colour(path, colours, unknown, num_labels)
    try:
        return known_ids(np.where(visible, ids, DONT_CARE), num_labels, dont_care)
    except ValueError as error:
        hint = "files that count from 1 need 1 subtracted first"
        if painted:
            hint = "paint with the colours of the model's classes only"
        raise UnknownLabelsError(path, str(error), hint) from error


def read_instance_map(path: str | os.PathLike[str]) -> np.ndarray:
    """Reads a map of instances: what has one value, or one colour, is one thing.

    Args:
      path: a PNG, BMP, GIF or PPM, of greys of 1 to 16 bits, colours, or colours out of a palette.

    Returns:
      int32 `[h, w]`, equal within an instance and different between instances; -1 where the picture
      is transparent.

    Raises:
      ValueError: no picture, or none that can be read so; the message names the file.
    """
    picture = _open(path, any_format=False)
    numbers = picture.pixels.astype(np.int32)
    if numbers.ndim == 3:
        numbers = numbers @ np.array([1 << 16, 1 << 8, 1], np.int32)
    return np.where(_visible(picture, at_half=False), numbers, np.int32(-1))


@dataclasses.dataclass(frozen=True)
class _Picture:
    """A picture as it is stored.

    Attributes:
      path: of the file.
      pixels: `[h, w]` greys or indices as the file has them, or uint8 `[h, w, 3]`, RGB.
      palette: uint8 `[256, 3]` where `pixels` are indices of it.
      num_colours: of the palette that the file gives.
      renumbered: whoever wrote the file has put the palette in an order of their own.
      alpha: uint8 `[h, w]`; None where nothing is transparent.
    """

    path: str | os.PathLike[str]
    pixels: np.ndarray
    palette: np.ndarray | None = None
    num_colours: int = 0
    renumbered: bool = False
    alpha: np.ndarray | None = None


def _open(path: str | os.PathLike[str], *, any_format: bool, data: bytes | None = None) -> _Picture:
    """Reads a file, refusing what does not keep ids and colours as they are."""

    def check(image: Image.Image, frames: int) -> None:
        if image.format not in _LOSSLESS and not any_format:
            raise ValueError(
                f"{path}: is {image.format}, which need not keep ids and colours as they are; save "
                "it as PNG (for a map painted in colours, --nearest-colours takes what is left of "
                "them)"
            )
        if frames > 1:
            raise ValueError(
                f"{path}: has {frames} frames, and a map is one picture; save one of them"
            )

    if data is None:
        image = load_picture(path, check)
    else:
        image = decode_picture(io.BytesIO(data), path, check)
    depth, kind = 8, 0
    if image.format == "PNG":
        with open(path, "rb") if data is None else io.BytesIO(data) as file:
            depth, kind = file.read(26)[24:]
    return _stored(path, image, depth, kind)


def _stored(path: str | os.PathLike[str], image: Image.Image, depth: int, kind: int) -> _Picture:
    """The samples as the file has them; `depth` and `kind` (colour type) are of PNGs."""
    if depth == 16 and kind:
        raise ValueError(f"{path}: has 16 bits a channel; save it with 8")
    if image.format in _LOSSLESS:
        is_known = image.mode in (*_GREY, *_COLOUR, "P")
    else:
        is_known = image.mode not in ("F", "I", "I;16", "I;16B")
    if not is_known:
        raise ValueError(f"{path}: is of Pillow's mode {image.mode!r}; save it as a PNG of 8 bits")
    if image.format not in _LOSSLESS:
        image = image.convert("RGBA" if image.has_transparency_data else "RGB")
    pixels = np.asarray(image)
    clear: Any = image.info.get("transparency")
    if image.mode in ("LA", "RGBA"):
        colours = pixels[..., 0] if image.mode == "LA" else pixels[..., :3]
        return _Picture(path, colours, alpha=pixels[..., -1])
    if image.mode == "P":
        picture = _with_palette(path, pixels, image.getpalette("RGB") or [], clear)
        return dataclasses.replace(picture, renumbered=image.format == "GIF")
    if image.mode in _GREY:
        # Pillow spreads greys of 2 and 4 bits over 0 … 255.
        pixels = pixels.astype(np.int32) // {2: 85, 4: 17}.get(depth, 1)
    if clear is None:
        return _Picture(path, pixels)
    is_clear = pixels == np.array(clear)
    if pixels.ndim == 3:
        is_clear = is_clear.all(axis=-1)
    return _Picture(path, pixels, alpha=np.where(is_clear, 0, 255))


def _with_palette(
    path: str | os.PathLike[str], pixels: np.ndarray, colours: Sequence[int], clear: Any
) -> _Picture:
    """Of indices; `clear` is the transparent one, or bytes of every one's opacity."""
    palette = np.zeros((256, 3), np.uint8)
    palette.flat[: len(colours)] = colours
    if clear is None:
        return _Picture(path, pixels, palette, len(colours) // 3)
    opacity = np.full(256, 255, np.uint8)
    if isinstance(clear, bytes):
        opacity[: len(clear)] = np.frombuffer(clear, np.uint8)
    else:
        opacity[clear] = 0
    return _Picture(path, pixels, palette, len(colours) // 3, alpha=opacity[pixels])


def _visible(picture: _Picture, *, at_half: bool) -> np.ndarray:
    """bool `[h, w]`: what is not transparent."""
    if picture.alpha is None:
        return np.ones(picture.pixels.shape[:2], bool)
    partial = (picture.alpha > 0) & (picture.alpha < 255)
    if partial.any() and not at_half:
        raise ValueError(
            f"{picture.path}: {_many(partial)}, neither opaque nor wholly transparent; save it "
            "without anti-aliasing (a label map painted in colours may be read with "
            "--nearest-colours)"
        )
    shown: np.ndarray = picture.alpha >= 128
    return shown


def _has_colours(
    picture: _Picture, visible: np.ndarray, table: np.ndarray, nearest_colours: bool
) -> bool:
    """Whether a picture's palette is what it is painted in; else its indices are ids."""
    assert picture.palette is not None
    used = np.flatnonzero(np.bincount(picture.pixels[visible], minlength=256))
    colours = picture.palette[used].astype(np.int32)
    # Greys in order, or our colours in order: the indices say it, and tell road from skyscraper.
    if (colours == used[:, None]).all() or (colours == COLOURS[used]).all():
        return False
    if nearest_colours or picture.renumbered:
        return True
    if not (used < picture.num_colours).all():
        return False
    ours = bool((table[colours @ (1 << 16, 1 << 8, 1)] != _NO_COLOUR).all())
    if not ours and (colours == colours[:, :1]).all():
        raise ValueError(
            f"{picture.path}: has a palette of greys that are not in order, so that its ids may be "
            "the greys, or their places in the palette; save it as a grey PNG without a palette"
        )
    return ours


def _colour_table(num_colours: int) -> np.ndarray:
    """int16 `[2²⁴]`: the id of every colour 0xRRGGBB, or `_NO_COLOUR`, of so many first classes."""
    table = np.full(1 << 24, _NO_COLOUR, np.int16)
    codes = _codes(num_colours)
    table[codes[::-1]] = np.arange(len(codes))[::-1]  # of equal colours the last written counts
    table[0] = DONT_CARE
    return table


def _codes(num_colours: int) -> np.ndarray:
    """The colours of the first classes, as 0xRRGGBB."""
    colours = COLOURS[:num_colours].astype(np.int32)
    codes: np.ndarray = colours @ (1 << 16, 1 << 8, 1)
    return codes


def _nearest(colours: np.ndarray, num_labels: int) -> np.ndarray:
    """For colours 0xRRGGBB `[n]` the ids of the nearest ones; of equally near ones the first."""
    found, place = np.unique(colours, return_inverse=True)
    known = np.concatenate([COLOURS[:num_labels], COLOURS[DONT_CARE:]]).astype(np.int32)
    ids = np.append(np.arange(num_labels), DONT_CARE)
    nearest = []
    for first in range(0, len(found), 1 << 14):  # all at once would fill the memory
        some = found[first : first + (1 << 14)]
        rgb = np.stack([some >> 16, some >> 8 & 255, some & 255], axis=-1)
        distance = np.square(rgb[:, None] - known).sum(axis=-1)
        nearest.append(ids[distance.argmin(axis=1)])
    result: np.ndarray = np.concatenate(nearest)[place]
    return result


def _is_grey(pixels: np.ndarray, visible: np.ndarray) -> bool:
    rgb = pixels[visible]
    return bool((rgb == rgb[:, :1]).all())


def _strange_colour(
    path: str | os.PathLike[str], colours: np.ndarray, unknown: np.ndarray, num_labels: int
) -> UnknownLabelsError:
    """Tells of the most frequent colour that is no class's."""
    found, counts = np.unique(colours[unknown], return_counts=True)
    worst = int(found[counts.argmax()])
    label = int(_nearest(np.array([worst]), num_labels)[0])
    others = f", nor are {len(found) - 1} others" if len(found) > 1 else ""
    return UnknownLabelsError(
        path,
        f"the colour #{worst:06x} ({_many(colours == worst, unknown)}) is no class's{others}",
        f"the nearest is that of {class_name(label)!r}. Save it without anti-aliasing, or give "
        "--nearest-colours",
        worst,
    )


def _many(marked: np.ndarray, among: np.ndarray | None = None) -> str:
    """How many pixels are marked, and where the first is."""
    rows, columns = np.nonzero(marked if among is None else marked & among)
    pixels = "pixel" if len(rows) == 1 else "pixels"
    return f"{len(rows)} {pixels}, the first at column {columns[0]}, row {rows[0]}"

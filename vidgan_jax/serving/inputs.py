"""What clients of the studio want: fields of forms, checked before anything runs.

Nothing that a client sends is written to a disk, or names a file here.
"""

import dataclasses
import io
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from vidgan_jax.data.label_files import UnknownLabelsError, read_label_map
from vidgan_jax.data.labels import COLOURS, DONT_CARE, class_name, resize_label_map
from vidgan_jax.data.picture_files import open_picture
from vidgan_jax.preparation.example import read_picture
from vidgan_jax.serving.forms import InputLimits, RequestError, bad_value, shown
from vidgan_jax.serving.model import MAX_SEED, MAX_VARIATION, TRUNCATIONS
from vidgan_jax.serving.outputs import FORMATS, PLAYBACKS

MAX_LOOPS = 8

_INTEGER = re.compile(r"0|[1-9][0-9]{0,9}")
_DECIMAL = re.compile(r"(0|[1-9][0-9]{0,3})(\.[0-9]{1,6})?")
_SIGNATURES = {"PNG": b"\x89PNG\r\n\x1a\n", "JPEG": b"\xff\xd8\xff"}
_SHOWN_LABELS = 6


@dataclasses.dataclass(frozen=True)
class Wish:
    """A clip that a client wants, checked.

    Attributes:
      label_map: uint8 `[size, size]`, ids that the model knows, or 255 for "don't care".
      style: uint8 `[size, size, 3]`; None without.
      seed: of the latents, 0 to 2³² - 1.
      variation: number of the seed's latent, 0 to 2³¹ - 1.
      truncation: bound on the latent's components, in σ; None for none.
      format: one of `outputs.FORMATS`.
      playback: one of `outputs.PLAYBACKS`.
      loops: times that the clip is repeated in an MP4.
    """

    label_map: np.ndarray
    style: np.ndarray | None
    seed: int
    variation: int
    truncation: float | None
    format: str
    playback: str
    loops: int


def read_wish(
    form: Mapping[str, bytes], description: Mapping[str, Any], limits: InputLimits
) -> Wish:
    """Checks what a form wants; the numbers first, then the headers of pictures, then their pixels.

    Args:
      form: of `read_form`.
      description: of the model.
      limits: of pictures.

    Raises:
      RequestError: 400 for a bad value or what is no picture, 413 for pictures of too many pixels,
        422 for labels that the model does not know; it names the field.
    """
    is_clip = bool(description["num_frames"])
    format_ = _choice(form, "format", tuple(FORMATS), "mp4" if is_clip else "png")
    if format_ == "mp4" and not is_clip:
        raise bad_value("format", "this model makes images, not clips; use png, webp or gif")
    playback = _choice(form, "playback", PLAYBACKS, PLAYBACKS[0])
    seed = _integer(form, "seed", 0, MAX_SEED, 0)
    variation = _integer(form, "variation", 0, MAX_VARIATION, 0)
    loops = _integer(form, "loops", 1, MAX_LOOPS, 1)
    truncation = _decimal(form, "truncation", *TRUNCATIONS)
    if truncation is not None and not description["z_dim"]:
        raise bad_value("truncation", "this model has no latents to truncate; leave it out")
    if "map" not in form:
        raise bad_value("map", "is missing; send the label map as a PNG")
    if "style" in form and not description["has_style"]:
        raise bad_value("style", "this model takes no style picture; leave it out")
    _check_picture(form["map"], "map", ("PNG",), limits.map_side)
    if "style" in form:
        _check_picture(form["style"], "style", ("PNG", "JPEG"), limits.style_side)
    label_map = _label_map(form["map"], description)
    style = _style(form["style"], description) if "style" in form else None
    return Wish(label_map, style, seed, variation, truncation, format_, playback, loops)


# --- Texts and numbers


def _text(form: Mapping[str, bytes], field: str) -> str | None:
    if field not in form:
        return None
    try:
        return form[field].decode("ascii")
    except UnicodeDecodeError as error:
        got = shown(form[field].decode("utf-8", "replace"))
        raise bad_value(field, f"got {got}; it takes plain ASCII only") from error


def _choice(form: Mapping[str, bytes], field: str, choices: Sequence[str], default: str) -> str:
    text = _text(form, field)
    if text is None:
        return default
    if text not in choices:
        raise bad_value(field, f"got {shown(text)}; it must be one of {', '.join(choices)}")
    return text


def _integer(form: Mapping[str, bytes], field: str, least: int, most: int, default: int) -> int:
    text = _text(form, field)
    if text is None:
        return default
    if _INTEGER.fullmatch(text) is None or not least <= int(text) <= most:
        raise bad_value(
            field, f"got {shown(text)}; it must be a whole number from {least} to {most}"
        )
    return int(text)


def _decimal(form: Mapping[str, bytes], field: str, least: float, most: float) -> float | None:
    text = _text(form, field)
    if text is None:
        return None
    if _DECIMAL.fullmatch(text) is None or not least <= float(text) <= most:
        raise bad_value(
            field, f"got {shown(text)}; it must be a number from {least:g} to {most:g}, like 0.75"
        )
    return float(text)


# --- Pictures


def _check_picture(data: bytes, field: str, formats: Sequence[str], side: int) -> None:
    """Refuses by its first bytes and its header what is no such picture, or is too large."""
    if not data.startswith(tuple(_SIGNATURES[name] for name in formats)):
        raise bad_value(field, f"is not a {' or '.join(formats)} file; save the picture as one")
    try:
        picture = open_picture(io.BytesIO(data), field)
    except ValueError as error:
        raise RequestError(400, str(error), field=field) from error
    if picture.format not in formats:
        raise bad_value(field, f"is {picture.format}, not {' or '.join(formats)}")
    width, height = picture.size
    if max(width, height) > side:
        message = f"{field}: is {width}×{height}, more than {side}×{side} pixels; make it smaller"
        raise RequestError(413, message, field=field)


def _label_map(data: bytes, description: Mapping[str, Any]) -> np.ndarray:
    """uint8 `[size, size]`."""
    known = [label["id"] for label in description["labels"]]
    try:
        whole = read_label_map("map", description["num_labels"], data=data)
    except UnknownLabelsError as error:
        nearest = ""
        if error.colour is not None:
            rgb = np.array([error.colour >> 16, error.colour >> 8 & 255, error.colour & 255])
            nearest = f" ({_nearest(rgb, known)})"
        advice = "paint with the ids or colours that /api/model lists, without anti-aliasing"
        raise RequestError(422, f"map: {error.found}{nearest}; {advice}", field="map") from error
    except ValueError as error:
        raise RequestError(400, str(error), field="map") from error
    unknown = np.setdiff1d(whole, [*known, DONT_CARE])
    if unknown.size:
        named = [f"{i} ({class_name(int(i))}; {_nearest(COLOURS[i], known)})" for i in unknown]
        more = f" and {len(named) - _SHOWN_LABELS} more" if len(named) > _SHOWN_LABELS else ""
        raise RequestError(
            422,
            f"map: has labels that this model has not learned: {', '.join(named[:_SHOWN_LABELS])}"
            f"{more}; paint with those that /api/model lists",
            field="map",
        )
    return resize_label_map(whole, description["size"])


def _nearest(colour: np.ndarray, known: Sequence[int]) -> str:
    """The known label whose colour is most like one of RGB, `[3]`, in words."""
    distance = np.square(COLOURS[known].astype(int) - colour).sum(axis=-1)
    nearest = known[int(distance.argmin())]
    return f"nearest in colour: {nearest}, {class_name(nearest)}"


def _style(data: bytes, description: Mapping[str, Any]) -> np.ndarray:
    """uint8 `[size, size, 3]`."""
    try:
        picture = read_picture("style", description["size"], data=data)
    except ValueError as error:
        raise RequestError(400, str(error), field="style") from error
    if picture is None:
        raise bad_value("style", "is no still picture; save it as PNG or JPEG")
    return picture

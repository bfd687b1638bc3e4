"""How a network in an ONNX file is used as a segmenter: what the file itself can't tell.

It stands beside FILE.onnx, in FILE.json: an object with fields of `OnnxOptions`.
"""

import dataclasses
import json
import math
import os
from collections.abc import Mapping
from typing import Any

from vidgan_jax import files
from vidgan_jax.data.labels import MAX_LABELS, class_id

SUFFIX = ".onnx"
LAYOUTS: Mapping[str, int] = {"NCHW": 1, "NHWC": 3}
"""Where their channels are."""
LOGITS, IDS = "logits", "ids"


@dataclasses.dataclass(frozen=True)
class OnnxOptions:
    """How a file's network is used.

    Attributes:
      input: name; "" for its only one.
      output: name; "" for its first one.
      size: height and width that it looks at frames in, pixels, to which they are resized (Pillow's
        bilinear filter); None for the frames' own. A network of a fixed size takes no other frames
        where this is None.
      layout: of input and output, "NCHW" or "NHWC".
      channels: "RGB" or "BGR", of the input.
      scale: that pixels of 0 to 255 are multiplied by; None for 1/255, or nothing where the network
        takes uint8.
      mean: of red, green, blue, or in the order of `channels`: subtracted next.
      std: likewise, divided by then.
      gives: "logits", the largest of which tells the class (they are resized bilinearly to the
        frames' size first), or "ids" (of which the nearest pixel's are taken where `size` differs
        from the frames'); "" for logits where the output is of floats, and else ids.
      num_classes: that the network tells apart; 0 for as many as the output has channels. Needed
        for ids, unless there are `classes`.
      label_offset: added to the network's ids: -1 where 0 is "unlabelled" and ADE20K's classes
        count from 1. What falls below 0 is no class.
      classes: in the network's order, the id of each, its ADE20K name, or None for what is no
        class; instead of `label_offset`. No class's logits are not looked at.
      providers: onnxruntime's names of what may run it, in turn; () for CUDA where it is installed,
        and else the CPU.
    """

    input: str = ""
    output: str = ""
    size: tuple[int, int] | None = None
    layout: str = "NCHW"
    channels: str = "RGB"
    scale: float | None = None
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    std: tuple[float, float, float] = (1.0, 1.0, 1.0)
    gives: str = ""
    num_classes: int = 0
    label_offset: int = 0
    classes: tuple[int | None, ...] | None = None
    providers: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name, known in (
            ("layout", tuple(LAYOUTS)),
            ("channels", ("RGB", "BGR")),
            ("gives", ("", LOGITS, IDS)),
        ):
            if (value := getattr(self, name)) not in known:
                raise ValueError(f"{name} (={value!r}) must be one of {', '.join(known)}")
        if self.size is not None and not _are(self.size, 2, int, least=1):
            raise ValueError(f"size (={self.size}) must be height and width, pixels")
        if self.scale is not None and (not _are((self.scale,), 1, float) or not self.scale):
            raise ValueError(f"scale (={self.scale}) must be a number, and not 0")
        for name in ("mean", "std"):
            value = getattr(self, name)
            if not _are(value, 3, float) or (name == "std" and 0 in value):
                raise ValueError(f"{name} (={value}) must be three numbers, and of std, none 0")
        for name in ("num_classes", "label_offset"):
            if not isinstance(getattr(self, name), int):
                raise ValueError(f"{name} (={getattr(self, name)!r}) must be a whole number")
        if self.num_classes < 0:
            raise ValueError(f"num_classes (={self.num_classes}) must be at least 0")
        self._check_classes()

    def _check_classes(self) -> None:
        if self.classes is None:
            return
        if self.label_offset:
            raise ValueError("give classes or label_offset, not both")
        given = tuple(i for i in self.classes if i is not None)
        if not given or not _are(given, len(given), int, least=0) or max(given) >= MAX_LABELS:
            raise ValueError(
                f"classes (={self.classes}) must be ids from 0 to {MAX_LABELS - 1}, or None, one "
                "id at least"
            )


def read_options(path: str | os.PathLike[str]) -> OnnxOptions:
    """The options beside FILE.onnx, in FILE.json; the defaults where there is none.

    Raises:
      ValueError: it is damaged, a field is unknown, or has a value that it can't have.
      OSError: it can't be read.
    """
    where = os.fspath(path).removesuffix(SUFFIX) + ".json"
    try:
        text = files.read_bytes(files.path(where))
    except FileNotFoundError:
        return OnnxOptions()
    try:
        told = json.loads(text)
        if not isinstance(told, dict):
            raise ValueError("it must hold an object")
        return _options_of(told)
    except (ValueError, TypeError) as error:
        raise ValueError(f"{where}: {error}") from error


def _options_of(told: Mapping[str, Any]) -> OnnxOptions:
    known = {field.name: field for field in dataclasses.fields(OnnxOptions)}
    if unknown := sorted(set(told) - set(known)):
        raise ValueError(f"there is no {unknown[0]!r}; there are {', '.join(known)}")
    fields: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in told.items()}
    for name in ("mean", "std"):
        if isinstance(fields.get(name), int | float):
            fields[name] = (fields[name],) * 3
    if isinstance(classes := fields.get("classes"), tuple):
        fields["classes"] = tuple(class_id(c) if isinstance(c, str) else c for c in classes)
    return OnnxOptions(**fields)


def _are(values: Any, count: int, kind: type, *, least: float = -math.inf) -> bool:
    """Whether there are `count` numbers of a kind, finite ones, in a tuple."""
    kinds = (int, float) if kind is float else (int,)
    return (
        isinstance(values, tuple)
        and len(values) == count
        and all(isinstance(n, kinds) and math.isfinite(n) and n >= least for n in values)
    )

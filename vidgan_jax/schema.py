"""Nested mappings into frozen dataclasses: unknown, missing and mistyped fields are refused.

A dataclass is a section of a config. Its attributes are all the fields there are, and what they
are is in its docstring.
"""

import dataclasses
import difflib
import math
import typing
from collections.abc import Mapping
from typing import Any


def make_section(
    cls: type, raw: Mapping[str, Any], where: str, *, example: str = "configs/common.py"
) -> Any:
    """Makes a dataclass, and those that are its fields, of a mapping.

    Args:
      cls: the dataclass; its fields are dataclasses, texts, truth values, numbers or tuples of
        numbers. Whole numbers serve as fractions, and lists as tuples.
      raw: the values by name; those with a default may be missing.
      where: the section's path, for messages.
      example: a file that has all of the fields.

    Raises:
      ValueError: an unknown, missing or mistyped field; the message names it.
    """
    kinds = typing.get_type_hints(cls)
    for key in raw:
        if key not in kinds:
            near = difflib.get_close_matches(key, kinds, n=1)
            hint = f"; did you mean {where}.{near[0]}?" if near else f"; known: {', '.join(kinds)}"
            raise ValueError(f"unknown field {where}.{key}{hint}")
    required = [f.name for f in dataclasses.fields(cls) if f.default is dataclasses.MISSING]
    if missing := [key for key in required if key not in raw]:
        raise ValueError(f"{where} lacks {', '.join(missing)}; {example} has them")
    return cls(
        **{
            k: _value(kind, raw[k], f"{where}.{k}", example)
            for k, kind in kinds.items()
            if k in raw
        }
    )


def _value(kind: Any, value: Any, where: str, example: str) -> Any:
    if dataclasses.is_dataclass(kind):
        if not isinstance(value, Mapping):
            raise ValueError(f"{where} (={value!r}) must be a section")
        return make_section(typing.cast(type, kind), value, where, example=example)
    if kind == tuple[int, ...]:
        if isinstance(value, list | tuple) and all(type(v) is int for v in value):
            return tuple(value)
        raise ValueError(f"{where} (={value!r}) must be a tuple of whole numbers")
    if kind == tuple[float, ...]:
        if isinstance(value, list | tuple) and all(_is_number(v) for v in value):
            return tuple(map(float, value))
        raise ValueError(f"{where} (={value!r}) must be a tuple of finite numbers")
    if kind is float and type(value) is int:
        return float(value)
    if isinstance(value, float) and math.isinf(value):
        raise ValueError(f"{where} (={value}) must be finite")
    if type(value) is not kind:
        raise ValueError(f"{where} (={value!r}) must be of type {kind.__name__}")
    return value


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(value)


def at_least(least: int, section: Any, where: str, *names: str) -> None:
    """Refuses numbers of a section that are below `least`, or not numbers.

    Raises:
      ValueError: names the field, `config.WHERE.NAME`.
    """
    for name in names:
        value = getattr(section, name)
        if not value >= least:  # NaN too
            raise ValueError(f"config.{where}.{name} (={value}) must be at least {least}")


def shares(section: Any, where: str, *names: str) -> None:
    """Refuses numbers of a section that are not from 0 to 1.

    Raises:
      ValueError: names the field, `config.WHERE.NAME`.
    """
    for name in names:
        value = getattr(section, name)
        if not 0 <= value <= 1:
            raise ValueError(f"config.{where}.{name} (={value}) must be from 0 to 1")

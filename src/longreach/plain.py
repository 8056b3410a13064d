"""Frozen dataclasses as values that JSON can hold, and back: `build(kind, plain(value)) == value`."""

import dataclasses
import functools
import math
import types
import typing
from typing import Any


def plain(value: Any) -> Any:
    """Dataclasses as dicts, tuples as lists, non-finite numbers as the strings "nan", "inf" and "-inf"."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, dict):
        return {key: plain(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(entry) for entry in value]
    return value


def build(kind: Any, value: Any) -> Any:
    """`value`, as JSON gave it, in the type that the annotation `kind` asks for."""
    if isinstance(kind, types.UnionType):
        if value is None:
            return None
        (kind,) = [option for option in kind.__args__ if option is not type(None)]
    if isinstance(kind, type) and dataclasses.is_dataclass(kind):
        hints = _hints(kind)
        return kind(**{name: build(hints[name], entry) for name, entry in value.items()})
    if typing.get_origin(kind) is tuple:
        return tuple(build(kind.__args__[0], entry) for entry in value)
    return float(value) if kind is float else value


_hints = functools.cache(typing.get_type_hints)  # once a class: a record is built of thousands of samples

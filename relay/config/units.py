"""Durations and sizes as people write them: a number and a unit in the file, seconds and bytes in the code."""

import re
from collections.abc import Mapping
from typing import Annotated

from pydantic import BeforeValidator, PlainSerializer, WithJsonSchema
from pydantic_core import PydanticCustomError

_UNITS_S = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_UNITS_BYTES = {"B": 1, "KiB": 1024, "MiB": 1024**2, "GiB": 1024**3}


LARGEST = 1e15
"""In seconds or bytes: what is longer could not be shown and read again."""


def _quantity(value: object, units: Mapping[str, float], example: str) -> float:
    match = re.fullmatch(r"([0-9]{1,20}(?:\.[0-9]{1,20})?) ?([A-Za-z]+)", value) if isinstance(value, str) else None
    if match is None or match[2] not in units or float(match[1]) * units[match[2]] > LARGEST:
        message = f'must be a number with a unit ({", ".join(units)}), such as "{example}"'
        raise PydanticCustomError("quantity", "{message}", {"message": message})
    return float(match[1]) * units[match[2]]


def shown_seconds(seconds: float) -> str:
    for unit, size in reversed(_UNITS_S.items()):
        if seconds >= size and (seconds / size).is_integer():
            return f"{seconds / size:.0f}{unit}"
    return f"{seconds:.9f}".rstrip("0").rstrip(".") + "s"


def shown_bytes(size: int) -> str:
    for unit, factor in reversed(_UNITS_BYTES.items()):
        if size >= factor and size % factor == 0:
            return f"{size // factor}{unit}"
    return f"{size}B"


Seconds = Annotated[
    float,
    BeforeValidator(lambda value: value if isinstance(value, float) else _quantity(value, _UNITS_S, "10s")),
    PlainSerializer(shown_seconds),
    WithJsonSchema({"type": "string", "pattern": r"^\d+(\.\d+)? ?(ms|s|m|h|d)$", "examples": ["10s", "5m"]}),
]
"""A duration: `"250ms"`, `"10s"`, `"5m"`, `"2h"`, `"1d"` in the file, seconds in the code."""

Bytes = Annotated[
    int,
    BeforeValidator(lambda value: value if isinstance(value, int) else int(_quantity(value, _UNITS_BYTES, "256KiB"))),
    PlainSerializer(shown_bytes),
    WithJsonSchema({"type": "string", "pattern": r"^\d+(\.\d+)? ?(B|KiB|MiB|GiB)$", "examples": ["256KiB"]}),
]
"""A size: `"512B"`, `"256KiB"`, `"16MiB"` in the file, bytes in the code."""

"""Units of the configuration: sizes and durations, written by people, checked once, carried as numbers.

Sizes are bytes: `4GB`, `64MiB`, or a plain number. Durations are seconds: `30d`, `12h`, or a plain number.
"""

import re
from typing import Annotated, Final

from pydantic import BeforeValidator, Field, WithJsonSchema

_QUANTITY: Final = re.compile(r"(\d+(?:\.\d+)?)\s*([A-Za-z]+)")
_SIZES: Final = {
    "B": 1,
    "KB": 10**3,
    "MB": 10**6,
    "GB": 10**9,
    "TB": 10**12,
    "KIB": 2**10,
    "MIB": 2**20,
    "GIB": 2**30,
    "TIB": 2**40,
}
_DURATIONS: Final = {"S": 1, "M": 60, "H": 3600, "D": 86_400, "W": 604_800}


def _quantity(value: object, units: dict[str, int], what: str) -> object:
    if not isinstance(value, str):
        return value
    found = _QUANTITY.fullmatch(value.strip())
    factor = units.get(found[2].upper()) if found else None
    if found is None or factor is None:
        raise ValueError(f"expected {what}")
    return round(float(found[1]) * factor)


def parse_size(value: object) -> object:
    """Return the bytes of `4GB` or `64MiB` (MB = 10^6, MiB = 2^20); what is no text is left for the type check."""
    return _quantity(value, _SIZES, "a size such as 4GB, 100MB or 64MiB, or a number of bytes")


def parse_duration(value: object) -> object:
    """Return the seconds of `30d`, `12h`, `15m` or `10s`; what is no text is left for the type check."""
    return _quantity(value, _DURATIONS, "a duration such as 30d, 12h or 15m, or a number of seconds")


Count = Annotated[int, Field(strict=True, ge=1)]
SecondsFloat = Annotated[float, Field(strict=True, ge=0, allow_inf_nan=False)]
SizeBytes = Annotated[
    int,
    BeforeValidator(parse_size),
    Field(strict=True, ge=1),
    WithJsonSchema({"anyOf": [{"type": "integer", "minimum": 1}, {"type": "string", "examples": ["4GB"]}]}),
]
DurationSeconds = Annotated[
    int,
    BeforeValidator(parse_duration),
    Field(strict=True, ge=0),
    WithJsonSchema({"anyOf": [{"type": "integer", "minimum": 0}, {"type": "string", "examples": ["30d"]}]}),
]

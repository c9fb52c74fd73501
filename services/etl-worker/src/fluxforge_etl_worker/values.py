"""Values: single fields of ccxt's structures, checked; what is of another type raises, and names the field. Pure."""

import math

import orjson

from fluxforge.domain.errors import RecordError


def number_of(value: object, name: str, *, optional: bool = False) -> float:
    """Return a number; NaN for null where it is optional.

    Raises:
        RecordError: Anything else.
    """
    if type(value) is float or type(value) is int:
        return float(value)
    if value is None and optional:
        return math.nan
    raise RecordError(f"{name}: expected a number, was {kind_of(value)}")


def text_of(value: object, name: str) -> str | None:
    """Return a string or None.

    Raises:
        RecordError: Anything else.
    """
    if value is None or isinstance(value, str):
        return value
    raise RecordError(f"{name}: expected a string, was {kind_of(value)}")


def milliseconds_of(value: object, name: str) -> int | None:
    """Return whole milliseconds or None.

    Raises:
        RecordError: Anything else, or a time far beyond what int64 holds.
    """
    if value is None:
        return None
    if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 2**62 and value == int(value):
        return int(value)
    raise RecordError(f"{name}: expected whole milliseconds, was {value!r:.40}")


def check_writable(value: object, name: str) -> None:
    """Refuse what was read but cannot be written as JSON again: parsers go deeper than writers.

    Raises:
        RecordError: It nests too deep.
    """
    try:
        orjson.dumps(value)
    except TypeError as error:
        raise RecordError(f"{name}: {error}") from None


def kind_of(value: object) -> str:
    """Return what a message calls the type of a value."""
    return "null" if value is None else type(value).__name__

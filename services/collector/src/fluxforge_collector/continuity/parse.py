"""Parsing: a frame as an object, and whole numbers out of it, without ever raising. Pure."""

from collections.abc import Mapping
from typing import Any, Final

import orjson

_DIGITS_MAX: Final = 40


def parsed(frame: str | bytes) -> dict[str, Any] | None:
    """Return the JSON object of a frame; None for anything else, such as `pong`, a list, or torn text."""
    try:
        body = orjson.loads(frame)
    except orjson.JSONDecodeError:
        return None
    return body if isinstance(body, dict) else None


def mentions(frame: str | bytes, text: str) -> bool:
    """Return whether a frame may hold a text; told without parsing it, for venues that send more than what is followed.

    Of bytes nothing is told.
    """
    return not isinstance(frame, str) or text in frame


def part(body: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Return an object within an object; an empty one where there is none."""
    value = body.get(name)
    return value if isinstance(value, dict) else {}


def parts(body: Mapping[str, Any], name: str) -> list[dict[str, Any]]:
    """Return the objects of a list within an object; none where there is no list."""
    value = body.get(name)
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def text(body: Mapping[str, Any], name: str) -> str:
    """Return a string within an object; an empty one where there is none."""
    value = body.get(name)
    return value if isinstance(value, str) else ""


def whole(body: Mapping[str, Any], name: str) -> int | None:
    """Return a whole number, sent as a number or as its digits; None where there is none."""
    value = body.get(name)
    if type(value) is int:
        return value
    return number(value) if isinstance(value, str) else None


def number(digits: str) -> int | None:
    """Return the whole number that a string writes; None where it does not, or with more digits than any id has."""
    if len(digits) > _DIGITS_MAX or not digits.isascii() or not digits.removeprefix("-").isdecimal():
        return None
    return int(digits)

"""Structures: the rows of channels whose fields ccxt fixes, each field checked as its column wants it. Pure.

A field of the wrong type makes the whole record a bad line. Fields that ccxt's structure does not have are left out.
"""

from typing import Any

from fluxforge.domain.errors import RecordError
from fluxforge_etl_worker.schemas import CANDLE, STRUCTURES, Form, Typed
from fluxforge_etl_worker.values import kind_of, milliseconds_of, number_of, text_of

Row = dict[str, Any]
"""Column -> value. A number that is null is NaN, any other null is None."""


def structure_row(channel: str, item: object) -> Row:
    """Return the row of one item of a channel in STRUCTURES.

    Raises:
        RecordError: Not the structure; names channel and field.
    """
    fields = STRUCTURES[channel]
    if channel == CANDLE:
        if not isinstance(item, list) or len(item) != len(fields):
            raise RecordError(f"{channel}: expected [{', '.join(field.source for field in fields)}], was {item!r:.60}")
        return {field.column: _value(value, field, channel) for field, value in zip(fields, item, strict=True)}
    if not isinstance(item, dict):
        raise RecordError(f"{channel}: expected an object, was {kind_of(item)}")
    return {field.column: _value(item.get(field.source), field, channel) for field in fields}


def _value(value: object, field: Typed, channel: str) -> float | int | str | None:
    name = f"{channel}: {field.source}"
    match field.form:
        case Form.NUMBER:
            return number_of(value, name, optional=True)
        case Form.MILLISECONDS:
            return milliseconds_of(value, name)
        case Form.TEXT:
            return text_of(value, name)

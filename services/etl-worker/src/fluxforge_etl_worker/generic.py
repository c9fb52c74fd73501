"""Generic channels: any channel but books, trades and tickers as a table. Pure.

Where ccxt fixes the structure, the channel has a schema. Any other channel's columns are set by the first part of a
partition: a field that is a number wherever it is not null is float64, any other a string (nested values as JSON text).
Later parts are conformed to that; what its columns cannot hold stands in the column `more`, so nothing is lost and no
two parts of a partition differ.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

import numpy as np
import orjson
import pyarrow as pa

from fluxforge.domain.errors import SchemaMismatchError
from fluxforge_etl_worker.columns import ABSENT_MS, GenericRows, Keys
from fluxforge_etl_worker.schemas import GENERIC_KEYS, MORE, STRUCTURES, structure_schema
from fluxforge_etl_worker.tables import floats, integers, key_columns, numbers, strings

_KEY_NAMES: Final = frozenset(field.name for field in GENERIC_KEYS)
_RESERVED: Final = _KEY_NAMES | {MORE.name, "source", "date", "hour", ""}
_PREFIX: Final = "data_"
_FIELDS_MAX: Final = 256
_EXACT_MAX: Final = 2**53


def field_types(rows: Sequence[GenericRows]) -> dict[str, pa.DataType]:
    """Return the columns of a channel after its keys, over a whole segment, and the type of each.

    Without a schema of its own: its fields in the order they were met, at most 256; the others go to `more`.
    """
    channel = rows[0].channel
    if channel in STRUCTURES:
        return {field.name: field.type for field in structure_schema(channel) if field.name not in _KEY_NAMES}
    types: dict[str, pa.DataType] = {}
    for group in rows:
        for values in group.values:
            for name, value in values.items():
                if value is None:
                    types.setdefault(name, pa.null())
                elif type(value) is int or type(value) is float:
                    types[name] = pa.string() if types.get(name) == pa.string() else pa.float64()
                else:
                    types[name] = pa.string()
    # Text holds whatever a field that is null throughout may turn out to be.
    return {name: pa.string() if dtype == pa.null() else dtype for name, dtype in list(types.items())[:_FIELDS_MAX]}


def generic_table(rows: GenericRows, types: Mapping[str, pa.DataType]) -> pa.Table:
    """Return one row per item of a record, with the columns of `field_types`."""
    fixed = rows.channel in STRUCTURES
    keys = _own_times(rows) if fixed else rows.keys
    columns = [
        *key_columns(rows.instrument, keys, keys.capture_ns),
        numbers(rows.idx.astype(np.int32)),
        *(_column([values.get(name) for values in rows.values], dtype) for name, dtype in types.items()),
    ]
    if fixed:
        return pa.Table.from_arrays(columns, schema=structure_schema(rows.channel))
    left = [
        {_column_name(name): _cell(value) for name, value in values.items() if name not in types}
        for values in rows.values
    ]
    own = [pa.field(_column_name(name), dtype) for name, dtype in types.items()]
    return pa.Table.from_arrays([*columns, _json(left)], schema=pa.schema([*GENERIC_KEYS, *own, MORE]))


def conformed(table: pa.Table, standing: pa.Schema) -> pa.Table:
    """Return a part of a channel without a schema with the columns of the parts that stand in its partition.

    A column it lacks is null; numbers become text where text stands; a column that does not stand, and text where
    numbers stand, go to `more`, by column name.

    Raises:
        SchemaMismatchError: What stands is no such channel.
    """
    if table.schema.equals(standing):
        return table
    keys = len(GENERIC_KEYS)
    if list(standing)[:keys] != GENERIC_KEYS or list(standing)[-1] != MORE:
        raise SchemaMismatchError("of a channel", f"keys, fields, {MORE.name}", ", ".join(standing.names))
    fields = list(standing)[keys:-1]
    kept: list[pa.ChunkedArray | pa.Array] = []
    placed = set()
    for field in fields:
        index = table.schema.get_field_index(field.name)
        column = table.column(index) if index >= 0 else None
        if column is not None and (column.type == field.type or field.type == pa.string()):
            placed.add(field.name)
            kept.append(column if column.type == field.type else strings([_text(v) for v in column.to_pylist()]))
        else:
            kept.append(_column([None] * table.num_rows, field.type))
    left = [name for name in table.column_names[keys:-1] if name not in placed]
    return pa.Table.from_arrays([*table.columns[:keys], *kept, _more(table, left)], schema=standing)


def _more(table: pa.Table, left: Sequence[str]) -> pa.Array:
    """Return the column `more` with the values of some columns put to what it held."""
    held = table.column(MORE.name).to_pylist()
    values = [table.column(name).to_pylist() for name in left]
    return _json(
        [
            {**(orjson.loads(before) if before else {}), **dict(zip(left, row, strict=True))}
            for before, *row in zip(held, *values, strict=True)
        ]
    )


def _own_times(rows: GenericRows) -> Keys:
    """Return the keys with the venue's time of the row where it has one of its own."""
    if not any(field.column == "exchange_ms" for field in STRUCTURES[rows.channel]):
        return rows.keys
    own_ms = [ABSENT_MS if values["exchange_ms"] is None else values["exchange_ms"] for values in rows.values]
    return replace(rows.keys, exchange_ms=np.array(own_ms, dtype=np.int64))


def _column(values: list[Any], dtype: pa.DataType) -> pa.Array:
    if dtype == pa.float64():
        return floats(np.array([np.nan if value is None else float(value) for value in values], dtype=np.float64))
    if dtype == pa.int64():
        return integers(values)
    return strings([_text(value) for value in values])


def _json(objects: Sequence[Mapping[str, Any]]) -> pa.Array:
    """Return objects as JSON text, null where nothing but null stands in one."""
    known = [{name: value for name, value in values.items() if value is not None} for values in objects]
    return strings([orjson.dumps(values).decode() if values else None for values in known])


def _cell(value: Any) -> float | str | None:
    """Return a value as a column of its own would hold it."""
    return float(value) if type(value) is int or type(value) is float else _text(value)


def _text(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    if type(value) is float and value.is_integer() and abs(value) <= _EXACT_MAX:
        value = int(value)  # 1 and 1.0 are the same number, so the same text
    return orjson.dumps(value).decode()


def _column_name(name: str) -> str:
    return f"{_PREFIX}{name}" if name in _RESERVED or name.startswith(_PREFIX) else name

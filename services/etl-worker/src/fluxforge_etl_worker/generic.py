"""Generic channels: whatever has no schema of its own, as a table. Pure.

A field that is a number or null in every row of the segment is float64, any other a string, nested values as JSON
text. A field named like a key column is kept as `data_<name>`.
"""

import math
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import orjson
import pyarrow as pa

from fluxforge_etl_worker.columns import GenericRows
from fluxforge_etl_worker.schemas import GENERIC_KEYS
from fluxforge_etl_worker.tables import floats, key_columns, numbers, strings

_KEY_NAMES: Final = frozenset(field.name for field in GENERIC_KEYS)


def field_types(rows: Sequence[GenericRows]) -> dict[str, pa.DataType]:
    """Return the fields of a channel over a whole segment, in the order they were met, and the type of each."""
    types: dict[str, pa.DataType] = {}
    for group in rows:
        for values in group.values:
            for name, value in values.items():
                known = types.get(name, pa.float64())
                is_number = value is None or type(value) is int or type(value) is float
                types[name] = known if is_number else pa.string()
    return types


def generic_table(rows: GenericRows, types: dict[str, pa.DataType]) -> pa.Table:
    """Return one row per item of a record, with the given fields."""
    columns = [
        *key_columns(rows.instrument, rows.keys, rows.keys.capture_ns),
        numbers(rows.idx.astype(np.int32)),
        *(_column([values.get(name) for values in rows.values], dtype) for name, dtype in types.items()),
    ]
    schema = pa.schema([*GENERIC_KEYS, *(pa.field(_column_name(name), dtype) for name, dtype in types.items())])
    return pa.Table.from_arrays(columns, schema=schema)


def _column(values: list[Any], dtype: pa.DataType) -> pa.Array:
    if dtype == pa.float64():
        return floats(np.array([math.nan if value is None else float(value) for value in values]))
    return strings([_text(value) for value in values])


def _text(value: Any) -> str | None:
    return value if value is None or isinstance(value, str) else orjson.dumps(value).decode()


def _column_name(name: str) -> str:
    return f"data_{name}" if name in _KEY_NAMES else name

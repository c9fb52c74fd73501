"""Tables: columns of every kind as Arrow arrays, and back. Pure.

Arrays are built from buffers: `pyarrow.array` would import pandas wherever it is installed, which takes longer than
writing a small segment.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from fluxforge_etl_worker.columns import ABSENT_MS, F64, I64, Bools, Instrument, Keys, Objects
from fluxforge_etl_worker.schemas import TS

_NS_PER_US: Final = 1_000


def instrument_columns(instrument: Instrument, rows: int) -> list[pa.Array]:
    """Return exchange, symbol (dictionary-encoded) and market, the same in every row."""
    return [
        constant(instrument.exchange, rows),
        constant(instrument.symbol, rows),
        repeated(instrument.market, rows),
    ]


def constant(value: str, rows: int) -> pa.Array:
    """Return a dictionary-encoded column that holds one value."""
    return pa.DictionaryArray.from_arrays(numbers(np.zeros(rows, dtype=np.int32)), strings([value]))


def names(values: Sequence[str]) -> pa.Array:
    """Return a dictionary-encoded column."""
    known = {value: code for code, value in enumerate(dict.fromkeys(values))}
    codes = np.array([known[value] for value in values], dtype=np.int32)
    return pa.DictionaryArray.from_arrays(numbers(codes), strings(list(known)))


def timestamps(time_ns: I64) -> pa.Array:
    """Return times floored to us."""
    return numbers(time_ns // _NS_PER_US).view(TS)


def key_columns(instrument: Instrument, keys: Keys, time_ns: I64) -> list[pa.Array]:
    """Return the columns every dataset of records begins with; `ts` from `time_ns`."""
    return [
        *instrument_columns(instrument, len(keys)),
        timestamps(time_ns),
        numbers(keys.capture_ns),
        numbers(keys.exchange_ms, keys.exchange_ms != ABSENT_MS),
        strings(keys.boot),
        numbers(keys.seq),
    ]


def numbers(values: NDArray[np.generic], known: Bools | None = None) -> pa.Array:
    """Return a column of the array's own type, not copied; null where it is not `known`."""
    dtype = pa.from_numpy_dtype(values.dtype)
    body = np.ascontiguousarray(values)
    return pa.Array.from_buffers(dtype, len(body), [_validity(known), pa.py_buffer(body)])


def floats(values: F64) -> pa.Array:
    """Return a float64 column, null where a value is not finite."""
    return numbers(values, np.isfinite(values))


def integers(values: Sequence[int | None]) -> pa.Array:
    """Return an int64 column, null where None stands."""
    known = np.array([value is not None for value in values], dtype=np.bool_)
    return numbers(np.array([value or 0 for value in values], dtype=np.int64), known)


def flags(values: Bools) -> pa.Array:
    """Return a column of booleans."""
    bits = np.packbits(values, bitorder="little")
    return pa.Array.from_buffers(pa.bool_(), len(values), [None, pa.py_buffer(bits)])


def strings(values: Objects | Sequence[str | None]) -> pa.Array:
    """Return a string column, null where None stands."""
    listed: list[str | None] = values.tolist() if isinstance(values, np.ndarray) else list(values)
    if listed and listed.count(listed[0]) == len(listed):
        return repeated(listed[0], len(listed))
    texts = [None if value is None else value.encode() for value in listed]
    known = np.array([text is not None for text in texts], dtype=np.bool_)
    body = b"".join([text for text in texts if text])
    return _text([len(text) if text else 0 for text in texts], body, known)


def repeated(value: str | None, rows: int) -> pa.Array:
    """Return a string column that holds one value, or nothing but nulls."""
    if value is None:
        return pa.nulls(rows, pa.string())
    text = value.encode()
    return _text(np.full(rows, len(text)), text * rows)


def _text(sizes: Sequence[int] | I64, body: bytes, known: Bools | None = None) -> pa.Array:
    offsets = np.zeros(len(sizes) + 1, dtype=np.int32)
    np.cumsum(sizes, out=offsets[1:])
    buffers = [_validity(known), pa.py_buffer(offsets), pa.py_buffer(body)]
    return pa.Array.from_buffers(pa.string(), len(sizes), buffers)


def _validity(known: Bools | None) -> pa.Buffer | None:
    return None if known is None or known.all() else pa.py_buffer(np.packbits(known, bitorder="little"))


def in_one_piece(column: pa.ChunkedArray) -> pa.Array:
    """Return a column in one piece."""
    one = column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()
    return one.chunk(0) if isinstance(one, pa.ChunkedArray) else one


def int64s(column: pa.Array | pa.ChunkedArray, absent: int = 0) -> I64:
    """Return the values of a column of whole numbers or times; `to_numpy` would import pandas, see above."""
    array = (in_one_piece(column) if isinstance(column, pa.ChunkedArray) else column).cast(pa.int64())
    if array.null_count:
        array = pc.fill_null(array, absent)
    return np.from_dlpack(array).astype(np.int64, copy=False)

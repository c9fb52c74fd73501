"""Tables: key columns and nulls as every dataset has them. Pure: arrays in, Arrow out."""

from collections.abc import Sequence
from typing import Final

import numpy as np
import pyarrow as pa

from fluxforge_etl_worker.columns import ABSENT_MS, F64, I64, Instrument, Keys, Objects
from fluxforge_etl_worker.schemas import TS

_NS_PER_US: Final = 1_000


def instrument_columns(instrument: Instrument, rows: int) -> list[pa.Array]:
    """Return exchange, symbol (dictionary-encoded) and market, the same in every row."""
    return [
        constant(instrument.exchange, rows),
        constant(instrument.symbol, rows),
        pa.array([instrument.market], pa.string()).take(pa.array(np.zeros(rows, dtype=np.int32))),
    ]


def constant(value: str, rows: int) -> pa.Array:
    """Return a dictionary-encoded column that holds one value."""
    return pa.DictionaryArray.from_arrays(pa.array(np.zeros(rows, dtype=np.int32)), pa.array([value], pa.string()))


def names(values: Sequence[str]) -> pa.Array:
    """Return a dictionary-encoded column."""
    return pa.array(values, pa.string()).dictionary_encode()


def timestamps(time_ns: I64) -> pa.Array:
    """Return times floored to us."""
    return pa.array(time_ns // _NS_PER_US).view(TS)


def key_columns(instrument: Instrument, keys: Keys, time_ns: I64) -> list[pa.Array]:
    """Return the columns every dataset of records begins with; `ts` from `time_ns`."""
    return [
        *instrument_columns(instrument, len(keys)),
        timestamps(time_ns),
        pa.array(keys.capture_ns),
        milliseconds(keys.exchange_ms),
        strings(keys.boot),
        pa.array(keys.seq),
    ]


def milliseconds(values: I64) -> pa.Array:
    """Return an int64 column, null where ABSENT_MS stands."""
    return pa.array(values, mask=values == ABSENT_MS)


def strings(values: Objects | Sequence[str | None]) -> pa.Array:
    """Return a string column, null where None stands."""
    return pa.array(values, pa.string())


def floats(values: F64) -> pa.Array:
    """Return a float64 column, null where a value is not finite."""
    finite = np.isfinite(values)
    return pa.array(values) if finite.all() else pa.array(values, mask=~finite)

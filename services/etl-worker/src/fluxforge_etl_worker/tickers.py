"""Tickers: one row per ticker update as a table. Pure."""

import pyarrow as pa

from fluxforge_etl_worker.columns import TickerColumns
from fluxforge_etl_worker.schemas import TICKER, TICKER_FIELDS
from fluxforge_etl_worker.tables import floats, key_columns


def tickers_table(tickers: TickerColumns) -> pa.Table:
    """Return the tickers of one instrument; null is what the venue does not give."""
    columns = [
        *key_columns(tickers.instrument, tickers.keys, tickers.keys.capture_ns),
        *(floats(tickers.values[name]) for name in TICKER_FIELDS),
    ]
    return pa.Table.from_arrays(columns, schema=TICKER)

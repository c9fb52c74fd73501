"""Trades: one row per trade as a table. Pure."""

import numpy as np
import pyarrow as pa

from fluxforge_etl_worker.columns import TradeColumns
from fluxforge_etl_worker.schemas import TRADES
from fluxforge_etl_worker.tables import flags, floats, key_columns, numbers, strings


def trades_table(trades: TradeColumns) -> pa.Table:
    """Return the trades of one instrument; `resent` is false until trades before the segment are known here."""
    rows = len(trades.keys)
    columns = [
        *key_columns(trades.instrument, trades.keys, trades.keys.capture_ns),
        numbers(trades.idx.astype(np.int32)),
        strings(trades.trade_id),
        strings(trades.side),
        floats(trades.price),
        floats(trades.amount),
        floats(trades.cost),
        strings(trades.taker_or_maker),
        flags(np.zeros(rows, dtype=np.bool_)),
        strings(trades.source_kind),
    ]
    return pa.Table.from_arrays(columns, schema=TRADES)

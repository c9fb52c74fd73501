"""Trades: one row per trade as a table. Pure."""

import numpy as np
import pyarrow as pa

from fluxforge_etl_worker.columns import Bools, TradeColumns
from fluxforge_etl_worker.schemas import TRADES
from fluxforge_etl_worker.tables import flags, floats, key_columns, numbers, strings


def trades_table(trades: TradeColumns, resent: Bools) -> pa.Table:
    """Return the trades of one instrument; `resent` tells of each row whether the venue sent it before."""
    columns = [
        *key_columns(trades.instrument, trades.keys, trades.keys.capture_ns),
        numbers(trades.idx.astype(np.int32)),
        strings(trades.trade_id),
        strings(trades.side),
        floats(trades.price),
        floats(trades.amount),
        floats(trades.cost),
        strings(trades.taker_or_maker),
        flags(resent),
        strings(trades.source_kind),
    ]
    return pa.Table.from_arrays(columns, schema=TRADES)

"""Assembling: the records of one feed, as parsed, to columns in capture order. Pure."""

from collections.abc import Sequence
from itertools import chain
from typing import Any, Final

import numpy as np

from fluxforge_etl_worker.columns import (
    ABSENT_MS,
    I64,
    BookColumns,
    GenericRows,
    Instrument,
    Keys,
    Side,
    TickerColumns,
    TradeColumns,
    objects,
)
from fluxforge_etl_worker.heads import Stamp
from fluxforge_etl_worker.payloads import Book, Trade
from fluxforge_etl_worker.schemas import TICKER_FIELDS

_PAIR_BYTES: Final = 16
_MAKER_SIDED: Final = frozenset({"coinbase"})
"""Venues that tell the maker's side of a trade, as ccxt passes it on; rows tell the taker's."""
_OPPOSITE: Final = {"buy": "sell", "sell": "buy"}


def book_columns(
    instrument: Instrument, stamps: Sequence[Stamp], boots: Sequence[str], payloads: Sequence[Book]
) -> BookColumns:
    """Return the books of buffers of (price, size) doubles; levels of size 0 are no levels and are left out."""
    keys, order = _ordered(stamps, boots)
    payloads = [payloads[i] for i in order] if order is not None else payloads
    bids, asks, shapes = zip(*payloads, strict=True)
    sizes_bytes = np.array(shapes, dtype=np.int64)
    return BookColumns(instrument, keys, _side(bids, sizes_bytes[:, 0]), _side(asks, sizes_bytes[:, 1]))


def trade_columns(
    instrument: Instrument, stamps: Sequence[Stamp], boots: Sequence[str], payloads: Sequence[Sequence[Trade]]
) -> TradeColumns:
    """Return one row per trade; `exchange_ms` is the trade's own."""
    keys, order = _ordered(stamps, boots)
    payloads = [payloads[i] for i in order] if order is not None else payloads
    stamps = [stamps[i] for i in order] if order is not None else stamps
    trades, rows, idx = _flat(payloads)
    keys = keys.take(rows)
    _, _, _, kinds, snapshots = zip(*stamps, strict=True)
    ids, sides, prices, amounts, costs, takers, own_ms = zip(*trades, strict=True) if trades else ((),) * 7
    return TradeColumns(
        instrument,
        Keys(keys.capture_ns, _times(own_ms), keys.seq, keys.boot),
        idx,
        trade_id=objects(ids),
        side=objects(_of_takers(sides) if instrument.exchange in _MAKER_SIDED else sides),
        price=np.array(prices, dtype=np.float64),
        amount=np.array(amounts, dtype=np.float64),
        cost=np.array(costs, dtype=np.float64),
        taker_or_maker=objects(takers),
        source_kind=objects(kinds)[rows],
        snapshot=np.array(snapshots, dtype=np.bool_)[rows],
    )


def _of_takers(sides: Sequence[str | None]) -> list[str | None]:
    return [None if side is None else _OPPOSITE.get(side, side) for side in sides]


def ticker_columns(
    instrument: Instrument, stamps: Sequence[Stamp], boots: Sequence[str], payloads: Sequence[Sequence[float]]
) -> TickerColumns:
    """Return one row per ticker."""
    keys, order = _ordered(stamps, boots)
    values = np.array(payloads, dtype=np.float64)
    if order is not None:
        values = values[order]
    return TickerColumns(instrument, keys, dict(zip(TICKER_FIELDS, np.ascontiguousarray(values.T), strict=True)))


def generic_rows(
    channel: str,
    instrument: Instrument,
    stamps: Sequence[Stamp],
    boots: Sequence[str],
    payloads: Sequence[Sequence[dict[str, Any]]],
) -> GenericRows:
    """Return one row per item of a record."""
    keys, order = _ordered(stamps, boots)
    payloads = [payloads[i] for i in order] if order is not None else payloads
    values, rows, idx = _flat(payloads)
    return GenericRows(channel, instrument, keys.take(rows), idx, values)


def _ordered(stamps: Sequence[Stamp], boots: Sequence[str]) -> tuple[Keys, I64 | None]:
    """Return the keys in capture order, and the order they had to be put in, None where they stood in it."""
    seqs, capture_ns, exchange_ms, _, _ = zip(*stamps, strict=True)
    keys = Keys(
        np.array(capture_ns, dtype=np.int64), _times(exchange_ms), np.array(seqs, dtype=np.int64), objects(boots)
    )
    if bool((np.diff(keys.capture_ns) > 0).all()):
        return keys, None
    order = np.lexsort((keys.seq, keys.capture_ns)).astype(np.int64)
    return keys.take(order), order


def _side(buffers: Sequence[bytes], sizes_bytes: I64) -> Side:
    offsets = np.zeros(len(buffers) + 1, dtype=np.int64)
    np.cumsum(sizes_bytes // _PAIR_BYTES, out=offsets[1:])
    pairs = np.frombuffer(b"".join(buffers)).reshape(-1, 2)
    px, sz = pairs[:, 0], pairs[:, 1]  # not copied apart: most levels are looked at once, to see that they are valid
    gone = sz == 0
    if not gone.any():
        return Side(px, sz, offsets)
    kept = np.concatenate(([0], np.cumsum(~gone)))[offsets].astype(np.int64)
    return Side(px[~gone], sz[~gone], kept)


def _flat(payloads: Sequence[Sequence[Any]]) -> tuple[list[Any], I64, I64]:
    """Return all items in order, the record each belongs to, and its position there."""
    counts = np.array([len(payload) for payload in payloads], dtype=np.int64)
    rows = np.repeat(np.arange(len(payloads)), counts)
    idx = np.arange(len(rows)) - np.repeat(np.cumsum(counts) - counts, counts)
    return list(chain.from_iterable(payloads)), rows.astype(np.int64), idx.astype(np.int64)


def _times(values: Sequence[int | None]) -> I64:
    return np.array([ABSENT_MS if value is None else value for value in values], dtype=np.int64)

"""Assembling: the records of one feed, as parsed, to columns in capture order. Pure."""

from collections.abc import Sequence
from itertools import chain
from typing import Any, Final

import numpy as np

from fluxforge_etl_worker.columns import (
    ABSENT_MS,
    F64,
    I64,
    BookColumns,
    GenericRows,
    Instrument,
    Keys,
    Objects,
    Side,
    TickerColumns,
    TradeColumns,
)
from fluxforge_etl_worker.heads import Tail
from fluxforge_etl_worker.payloads import Trade
from fluxforge_etl_worker.schemas import TICKER_FIELDS

_PAIR_BYTES: Final = 16


def book_columns(
    instrument: Instrument, tails: Sequence[Tail], boots: Sequence[str], payloads: Sequence[tuple[bytes, bytes]]
) -> BookColumns:
    """Return the books of buffers of (price, size) doubles; levels of size 0 are no levels and are left out."""
    keys, order = _ordered(tails, boots)
    payloads = [payloads[i] for i in order] if order is not None else payloads
    bids, asks = (_side([payload[side] for payload in payloads]) for side in (0, 1))
    return BookColumns(instrument, keys, bids, asks)


def trade_columns(
    instrument: Instrument, tails: Sequence[Tail], boots: Sequence[str], payloads: Sequence[Sequence[Trade]]
) -> TradeColumns:
    """Return one row per trade; `exchange_ms` is the trade's own."""
    keys, order = _ordered(tails, boots)
    payloads = [payloads[i] for i in order] if order is not None else payloads
    tails = [tails[i] for i in order] if order is not None else tails
    trades, rows, idx = _flat(payloads)
    keys = keys.take(rows)
    own_ms = np.array([ABSENT_MS if t.exchange_ms is None else t.exchange_ms for t in trades], dtype=np.int64)
    kinds = _objects([tail.source_kind for tail in tails])
    return TradeColumns(
        instrument,
        Keys(keys.capture_ns, own_ms, keys.seq, keys.boot),
        idx,
        trade_id=_objects([t.trade_id for t in trades]),
        side=_objects([t.side for t in trades]),
        price=_floats([t.price for t in trades]),
        amount=_floats([t.amount for t in trades]),
        cost=_floats([t.cost for t in trades]),
        taker_or_maker=_objects([t.taker_or_maker for t in trades]),
        source_kind=kinds[rows],
        snapshot=np.array([tail.snapshot for tail in tails], dtype=np.bool_)[rows],
    )


def ticker_columns(
    instrument: Instrument, tails: Sequence[Tail], boots: Sequence[str], payloads: Sequence[Sequence[float]]
) -> TickerColumns:
    """Return one row per ticker."""
    keys, order = _ordered(tails, boots)
    values = np.array(payloads, dtype=np.float64)
    if order is not None:
        values = values[order]
    return TickerColumns(instrument, keys, dict(zip(TICKER_FIELDS, np.ascontiguousarray(values.T), strict=True)))


def generic_rows(
    channel: str,
    instrument: Instrument,
    tails: Sequence[Tail],
    boots: Sequence[str],
    payloads: Sequence[Sequence[dict[str, Any]]],
) -> GenericRows:
    """Return one row per item of a record."""
    keys, order = _ordered(tails, boots)
    payloads = [payloads[i] for i in order] if order is not None else payloads
    values, rows, idx = _flat(payloads)
    return GenericRows(channel, instrument, keys.take(rows), idx, values)


def _ordered(tails: Sequence[Tail], boots: Sequence[str]) -> tuple[Keys, I64 | None]:
    """Return the keys in capture order, and the order they had to be put in, None where they stood in it."""
    keys = Keys(
        np.array([tail.capture_ns for tail in tails], dtype=np.int64),
        np.array([ABSENT_MS if tail.exchange_ms is None else tail.exchange_ms for tail in tails], dtype=np.int64),
        np.array([tail.seq for tail in tails], dtype=np.int64),
        _objects(boots),
    )
    if bool((np.diff(keys.capture_ns) > 0).all()):
        return keys, None
    order = np.lexsort((keys.seq, keys.capture_ns)).astype(np.int64)
    return keys.take(order), order


def _side(buffers: Sequence[bytes]) -> Side:
    counts = np.array([memoryview(buffer).nbytes for buffer in buffers], dtype=np.int64) // _PAIR_BYTES
    offsets = np.zeros(len(buffers) + 1, dtype=np.int64)
    np.cumsum(counts, out=offsets[1:])
    pairs = np.frombuffer(b"".join(buffers)).reshape(-1, 2)
    px, sz = np.ascontiguousarray(pairs[:, 0]), np.ascontiguousarray(pairs[:, 1])
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


def _objects(values: Sequence[str | None]) -> Objects:
    result = np.empty(len(values), dtype=np.object_)
    result[:] = values
    return result


def _floats(values: Sequence[float]) -> F64:
    return np.array(values, dtype=np.float64)

"""Tail columns: a history as one Arrow batch of one row, and back. Every column is a list of structs. Pure."""

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
import pyarrow as pa

from fluxforge.domain.control import Control
from fluxforge_etl_worker.columns import F64, I64, BookColumns, ControlRow, Instrument, Keys, Side, objects
from fluxforge_etl_worker.features.streams import TOP_LEVELS, Updates
from fluxforge_etl_worker.history import History, Past, PastTrades
from fluxforge_etl_worker.tables import numbers, strings

_SIDES: Final = ("bid_px", "bid_sz", "ask_px", "ask_sz")
_TOP: Final = pa.list_(pa.float64(), TOP_LEVELS)
_LEVELS: Final = pa.list_(pa.float64())


def batch_of(history: History) -> pa.RecordBatch:
    """Return everything of a history but its times, as one row."""
    pasts = [history.instruments[instrument] for instrument in sorted(history.instruments)]
    columns = {
        "instruments": _instruments(pasts),
        "updates": _updates(pasts),
        "books": _books(pasts),
        "trades": _trades(pasts),
        "controls": _controls(history.controls),
    }
    lists = [
        pa.ListArray.from_arrays(numbers(np.array([0, len(rows)], dtype=np.int32)), rows) for rows in columns.values()
    ]
    return pa.RecordBatch.from_arrays(lists, names=list(columns))


def history_from(batch: pa.RecordBatch, *, until_ns: int, trades_since: Mapping[str, int]) -> History:
    """Return the history of a batch."""
    rows = {name: batch.column(name).values for name in batch.schema.names}
    instruments = [
        Instrument(*names)
        for names in zip(*(_texts(rows["instruments"], name) for name in ("exchange", "symbol", "market")), strict=True)
    ]
    updates, trades = _updates_from(rows["updates"]), _trades_from(rows["trades"])
    books = _books_from(rows["books"], instruments)
    at_update, at_trade = _ints(rows["updates"], "instrument"), _ints(rows["trades"], "instrument")
    pasts = {}
    for code, instrument in enumerate(instruments):
        begin, end = np.searchsorted(at_update, [code, code + 1])
        first, last = np.searchsorted(at_trade, [code, code + 1])
        pasts[instrument] = Past(
            instrument, updates.rows(slice(begin, end)), trades.rows(slice(first, last)), books.get(code)
        )
    return History(until_ns, instruments=pasts, controls=_controls_from(rows["controls"]), trades_since=trades_since)


def _instruments(pasts: Sequence[Past]) -> pa.StructArray:
    found = [past.instrument for past in pasts]
    columns = [[i.exchange for i in found], [i.symbol for i in found], [i.market for i in found]]
    return pa.StructArray.from_arrays(list(map(strings, columns)), names=["exchange", "symbol", "market"])


def _updates(pasts: Sequence[Past]) -> pa.StructArray:
    updates = Updates.joined([past.updates for past in pasts])
    codes = _codes([len(past.updates) for past in pasts])
    levels = [updates.bid_px, updates.bid_sz, updates.ask_px, updates.ask_sz]
    return pa.StructArray.from_arrays(
        [
            numbers(codes),
            numbers(updates.capture_ns),
            *(pa.FixedSizeListArray.from_arrays(numbers(side.reshape(-1)), TOP_LEVELS) for side in levels),
        ],
        names=["instrument", "capture_ns", *_SIDES],
    )


def _updates_from(rows: pa.StructArray) -> Updates:
    bid_px, bid_sz, ask_px, ask_sz = (_floats(rows.field(name).flatten()).reshape(-1, TOP_LEVELS) for name in _SIDES)
    return Updates(_ints(rows, "capture_ns"), bid_px, bid_sz, ask_px, ask_sz)


def _books(pasts: Sequence[Past]) -> pa.StructArray:
    found = [(code, past.last) for code, past in enumerate(pasts) if past.last]
    books = [book for _, book in found]
    sides = [(book.bids.px, book.bids.sz, book.asks.px, book.asks.sz) for book in books]
    return pa.StructArray.from_arrays(
        [
            numbers(np.array([code for code, _ in found], dtype=np.int32)),
            numbers(_first([book.keys.capture_ns for book in books])),
            numbers(_first([book.keys.exchange_ms for book in books])),
            strings([book.keys.boot[0] for book in books]),
            numbers(_first([book.keys.seq for book in books])),
            *(_levels([side[number] for side in sides]) for number in range(len(_SIDES))),
        ],
        names=["instrument", "capture_ns", "exchange_ms", "boot", "seq", *_SIDES],
    )


def _books_from(rows: pa.StructArray, instruments: Sequence[Instrument]) -> dict[int, BookColumns]:
    codes, capture_ns, exchange_ms, seq = (
        _ints(rows, name) for name in ("instrument", "capture_ns", "exchange_ms", "seq")
    )
    boots = objects(_texts(rows, "boot"))
    sides = {name: [_floats(levels.values) for levels in rows.field(name)] for name in _SIDES}
    found = {}
    for row, code in enumerate(codes.tolist()):
        at = slice(row, row + 1)
        bid_px, bid_sz, ask_px, ask_sz = (sides[name][row] for name in _SIDES)
        found[code] = BookColumns(
            instruments[code],
            Keys(capture_ns[at], exchange_ms[at], seq[at], boots[at]),
            Side(bid_px, bid_sz, np.array([0, len(bid_px)], dtype=np.int64)),
            Side(ask_px, ask_sz, np.array([0, len(ask_px)], dtype=np.int64)),
        )
    return found


def _trades(pasts: Sequence[Past]) -> pa.StructArray:
    trades = PastTrades.joined([past.trades for past in pasts])
    return pa.StructArray.from_arrays(
        [
            numbers(_codes([len(past.trades.capture_ns) for past in pasts])),
            numbers(trades.capture_ns),
            strings(trades.trade_id),
            numbers(trades.price),
            numbers(trades.amount),
            numbers(trades.bought.astype(np.int8)),
            numbers(trades.sold.astype(np.int8)),
            numbers(trades.live.astype(np.int8)),
        ],
        names=["instrument", "capture_ns", "trade_id", "price", "amount", "bought", "sold", "live"],
    )


def _trades_from(rows: pa.StructArray) -> PastTrades:
    bought, sold, live = (_ints(rows, name) != 0 for name in ("bought", "sold", "live"))
    return PastTrades(
        _ints(rows, "capture_ns"),
        objects(_texts(rows, "trade_id")),
        _floats(rows.field("price")),
        _floats(rows.field("amount")),
        bought,
        sold,
        live,
        live,
    )


def _controls(controls: Sequence[ControlRow]) -> pa.StructArray:
    return pa.StructArray.from_arrays(
        [
            numbers(np.array([row.capture_ns for row in controls], dtype=np.int64)),
            strings([row.boot for row in controls]),
            numbers(np.array([row.seq for row in controls], dtype=np.int64)),
            strings([row.control.to_json().decode() for row in controls]),
        ],
        names=["capture_ns", "boot", "seq", "data"],
    )


def _controls_from(rows: pa.StructArray) -> tuple[ControlRow, ...]:
    texts, boots = _texts(rows, "data"), _texts(rows, "boot")
    at = zip(_ints(rows, "capture_ns").tolist(), boots, _ints(rows, "seq").tolist(), texts, strict=True)
    return tuple(
        ControlRow(ns, boot or "", seq, Control.from_json((text or "").encode())) for ns, boot, seq, text in at
    )


def _codes(counts: Sequence[int]) -> np.ndarray[tuple[int], np.dtype[np.int32]]:
    return np.repeat(np.arange(len(counts), dtype=np.int32), counts)


def _first(columns: Sequence[I64]) -> I64:
    return np.array([column[0] for column in columns], dtype=np.int64)


def _levels(values: Sequence[F64]) -> pa.ListArray:
    offsets = np.zeros(len(values) + 1, dtype=np.int32)
    np.cumsum([len(levels) for levels in values], out=offsets[1:])
    return pa.ListArray.from_arrays(numbers(offsets), numbers(np.concatenate([np.empty(0), *values])), type=_LEVELS)


def _texts(rows: pa.StructArray, name: str) -> list[str | None]:
    texts: list[str | None] = rows.field(name).to_pylist()
    return texts


def _ints(rows: pa.StructArray, name: str) -> I64:
    """Return an integer column without a copy where it may; `to_numpy` would import pandas wherever it is installed."""
    return np.from_dlpack(rows.field(name)).astype(np.int64, copy=False)


def _floats(column: pa.Array) -> F64:
    return np.from_dlpack(column).astype(np.float64, copy=False)

"""The datasets that hold what was captured: tickers, trades, books, and what was not captured."""

from collections.abc import Iterator
from typing import Any

from tests.unit.fluxforge_etl_worker.oracle.cell import Row
from tests.unit.fluxforge_etl_worker.oracle.instrument import trade_rows
from tests.unit.fluxforge_etl_worker.oracle.lane import Lane, Record, named_feeds

TICKER = {
    "last": "last",
    "bid": "bid",
    "bid_size": "bidVolume",
    "ask": "ask",
    "ask_size": "askVolume",
    "open": "open",
    "high": "high",
    "low": "low",
    "close": "close",
    "previous_close": "previousClose",
    "change": "change",
    "percentage": "percentage",
    "average": "average",
    "vwap": "vwap",
    "base_volume": "baseVolume",
    "quote_volume": "quoteVolume",
    "mark_price": "markPrice",
    "index_price": "indexPrice",
}

__all__ = ["book_rows", "coverage_rows", "ticker_rows", "trade_rows"]


def ticker_rows(lane: Lane) -> list[Row]:
    rows = []
    for record in lane.of("ticker"):
        values = {name: record["data"].get(field) for name, field in TICKER.items()}
        rows.append(_keys(record) | {name: None if value is None else float(value) for name, value in values.items()})
    return rows


def book_rows(lane: Lane) -> list[Row]:
    rows = []
    for symbol in lane.symbols:
        for update in lane.updates(symbol):
            sides = {
                "bid_px": [price for price, _ in update.bids],
                "bid_sz": [size for _, size in update.bids],
                "ask_px": [price for price, _ in update.asks],
                "ask_sz": [size for _, size in update.asks],
            }
            rows.append(_keys(update.record) | sides)
    return rows


def coverage_rows(lane: Lane) -> list[Row]:
    """Return a row for each feed of each control record, for each crash and for each update that is no valid book."""
    rows: list[Row] = []
    stopped: set[str] = set()
    for record in lane.of("control"):
        data: dict[str, Any] = record["data"]
        begin = record["capture_ns"] if data["from_ns"] is None else data["from_ns"]
        told = {"hole": data["hole"], "event": data["event"], "to_ns": data["to_ns"], "reason": data["reason"]}
        told |= {"detector": "collector", "count": data["count"]} | _missing(data)
        rows += [row | told for row in _coverage(record, begin)]
        if data["event"] == "stopped" and data["hole"] is None:
            stopped.add(record["boot"])
        after = data.get("after")
        if data["event"] == "started" and after and after["boot"] not in stopped:
            crash = {"event": "crash", "to_ns": record["capture_ns"], "detector": "etl", "count": None}
            crash |= {"first_seq": None, "last_seq": None}
            rows += [row | crash for row in _coverage(record, after["capture_ns"])]
    for symbol in lane.symbols:
        for update in lane.updates(symbol):
            if update.fault:
                row = _keys(update.record) | {"channel": "orderbook", "event": update.fault, "detector": "etl"}
                row |= {"hole": None, "from_ns": update.at, "to_ns": update.at, "count": 1}
                del row["capture_ns"], row["exchange_ms"]
                rows.append(row)
    return rows


def _coverage(record: Record, begin: int) -> Iterator[Row]:
    markets = record["data"].get("markets", {})
    for channel, symbol in named_feeds(record) or [("*", "*")]:
        yield {
            "exchange": record["exchange"],
            "symbol": symbol,
            "market": markets.get(symbol, symbol),
            "ts_ns": begin // 1000 * 1000,
            "channel": channel,
            "from_ns": begin,
            "boot": record["boot"],
            "seq": record["seq"],
        }


def _missing(data: dict[str, Any]) -> Row:
    """Return which seqs a record says are gone."""
    names = {"dropped": ("first_seq", "last_seq"), "rejected": ("seq", "seq")}.get(data["event"])
    first, last = (data.get("detail", {}).get(name) for name in names) if names else (None, None)
    return {"first_seq": first, "last_seq": last}


def _keys(record: Record) -> Row:
    return {
        "exchange": record["exchange"],
        "symbol": record["symbol"],
        "market": record["market"],
        "ts_ns": record["capture_ns"] // 1000 * 1000,
        "capture_ns": record["capture_ns"],
        "exchange_ms": record["exchange_ms"],
        "boot": record["boot"],
        "seq": record["seq"],
    }

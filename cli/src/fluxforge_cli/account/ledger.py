"""The exchange's side: what the simulator's ledger says it sent, against what stands in Parquet."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

import orjson

from fluxforge.domain.instrument import symbol_id

if TYPE_CHECKING:
    import duckdb

_SENT: Final = frozenset({"data", "snapshot"})
FRAMES: Final = MappingProxyType({"orderbook": "books", "ticker": "ticker"})
"""Channels of which each frame is a record, and the views of their rows."""
_TRADES: Final = "trades"

FeedName = tuple[str, str, str]
"""(exchange, channel, symbol id)."""

Sent = dict[FeedName, int]
"""Distinct trade ids, or frames of books and tickers, of each feed."""

Times = tuple[dict[FeedName, list[int]], dict[FeedName, dict[str, list[int]]]]
"""When frames of each feed were sent; and when each trade id was, of each trades feed. ns UTC, rising."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """One feed: what the exchange sent (trades: distinct ids; else frames) and what stands in Parquet of it."""

    exchange: str
    channel: str
    symbol: str
    sent: int
    stored: int


def times_sent(lines: Iterable[bytes]) -> Times:
    """Return when a ledger's lines say what was sent: ids of trades, frames of tickers, books and their REST ones."""
    frames: defaultdict[FeedName, list[int]] = defaultdict(list)
    trades: defaultdict[FeedName, dict[str, list[int]]] = defaultdict(dict)
    for text in lines:
        entry = orjson.loads(text)
        channel, symbol, kind = entry["channel"], entry["symbol"], entry["kind"]
        if symbol is None or not (kind in _SENT or (kind == "rest" and channel == "orderbook")):
            continue
        feed = (entry["exchange"], channel, symbol_id(symbol))
        if channel == _TRADES:
            for trade_id in entry["key"]:
                trades[feed].setdefault(str(trade_id), []).append(entry["sent_ns"])
        elif channel in FRAMES:
            frames[feed].append(entry["sent_ns"])
    return {feed: sorted(times) for feed, times in frames.items()}, dict(trades)


def sent(lines: Iterable[bytes]) -> Sent:
    """Return how much a ledger's lines say was sent of each feed."""
    frames, trades = times_sent(lines)
    return {feed: len(sent_once) for feed, sent_once in (*frames.items(), *trades.items())}


def read_sent(path: Path) -> Sent:
    """Return what the ledger in a file says was sent."""
    with path.open("rb") as lines:
        return sent(lines)


def stored(database: "duckdb.DuckDBPyConnection") -> Sent:
    """Return the same of the Parquet files."""
    counts = {
        _TRADES: "SELECT exchange, symbol, count(DISTINCT trade_id) FROM all_trades GROUP BY ALL",
    }
    for channel, view in FRAMES.items():
        counts[channel] = f"SELECT exchange, symbol, count(*) FROM {view} GROUP BY ALL"  # noqa: S608 - a name of ours
    return {
        (str(exchange), channel, str(symbol)): int(count)
        for channel, sql in counts.items()
        for exchange, symbol, count in database.execute(sql).fetchall()
    }


def deliveries(was_sent: Sent, is_stored: Sent) -> list[Delivery]:
    """Return both sides of every feed that either knows."""
    return [Delivery(*feed, was_sent.get(feed, 0), is_stored.get(feed, 0)) for feed in sorted({*was_sent, *is_stored})]

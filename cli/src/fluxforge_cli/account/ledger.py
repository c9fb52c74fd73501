"""The exchange's side: what the simulator's ledger says it sent, against what stands in Parquet."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import orjson

from fluxforge.domain.instrument import symbol_id

if TYPE_CHECKING:
    import duckdb

_SENT: Final = frozenset({"data", "snapshot"})
_CHANNELS: Final = ("orderbook", "ticker", "trades")

Sent = dict[tuple[str, str, str], int]
"""(exchange, channel, symbol id) -> distinct trade ids, or frames of books and tickers."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """One feed: what the exchange sent (trades: distinct ids; else frames) and what stands in Parquet of it."""

    exchange: str
    channel: str
    symbol: str
    sent: int
    stored: int


def sent(lines: Iterable[bytes]) -> Sent:
    """Return what a ledger's lines say was sent: ids of trades, frames of tickers, books including their REST ones."""
    frames: Sent = defaultdict(int)
    trade_ids: defaultdict[tuple[str, str, str], set[object]] = defaultdict(set)
    for text in lines:
        entry = orjson.loads(text)
        channel, symbol, kind = entry["channel"], entry["symbol"], entry["kind"]
        if channel not in _CHANNELS or symbol is None:
            continue
        feed = (entry["exchange"], channel, symbol_id(symbol))
        if channel == "trades" and kind in _SENT:
            trade_ids[feed].update(entry["key"])
        elif kind in _SENT or (kind == "rest" and channel == "orderbook"):
            frames[feed] += 1
    return {**frames, **{feed: len(ids) for feed, ids in trade_ids.items()}}


def read_sent(path: Path) -> Sent:
    """Return what the ledger in a file says was sent."""
    with path.open("rb") as lines:
        return sent(lines)


def stored(database: "duckdb.DuckDBPyConnection") -> Sent:
    """Return the same of the Parquet files."""
    counts = {
        "trades": "SELECT exchange, symbol, count(DISTINCT trade_id) FROM all_trades GROUP BY ALL",
        "ticker": "SELECT exchange, symbol, count(*) FROM ticker GROUP BY ALL",
        "orderbook": "SELECT exchange, symbol, count(*) FROM books GROUP BY ALL",
    }
    return {
        (str(exchange), channel, str(symbol)): int(count)
        for channel, sql in counts.items()
        for exchange, symbol, count in database.execute(sql).fetchall()
    }


def deliveries(was_sent: Sent, is_stored: Sent) -> list[Delivery]:
    """Return both sides of every feed that either knows."""
    return [Delivery(*feed, was_sent.get(feed, 0), is_stored.get(feed, 0)) for feed in sorted({*was_sent, *is_stored})]

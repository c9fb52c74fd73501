"""What TWS tells as record data of the shapes ccxt resolves, as JSON text. Pure.

Times come as whole seconds and become ms; where there is none, none is told. Nothing is filled in: TWS numbers no
trade and names no aggressor.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

import orjson

from fluxforge_collector.ibkr_source.book import Level

_MS: Final = 1_000


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar of five seconds; what TWS has no figure for is -1."""

    start_s: int
    open: float
    high: float
    low: float
    close: float
    volume: float
    vwap: float
    count: int


class Print(NamedTuple):
    """One trade as it was printed. `conditions`: the exchange's codes; `exchange`: where it was made."""

    at_s: int
    price: float
    size: float
    exchange: str
    conditions: str
    is_past_limit: bool
    is_unreported: bool


def ticker_data(market: str, fields: Mapping[str, float | bool | None]) -> bytes:
    """Return everything known of a quote after one tick; TWS gives its ticks no time."""
    return orjson.dumps({"symbol": market, "timestamp": None, **fields})


def touch_data(market: str, at_s: int, bid: Level, ask: Level) -> bytes:
    """Return the touch; a side without a size is none."""
    return orjson.dumps(
        {
            "symbol": market,
            "timestamp": at_s * _MS,
            "bid": bid[0] if bid[1] else None,
            "bidVolume": bid[1] or None,
            "ask": ask[0] if ask[1] else None,
            "askVolume": ask[1] or None,
        }
    )


def trade_data(market: str, trade: Print) -> bytes:
    """Return the one trade of a record."""
    return orjson.dumps(
        [
            {
                "id": None,
                "symbol": market,
                "timestamp": trade.at_s * _MS,
                "side": None,
                "price": trade.price,
                "amount": trade.size,
                "cost": None,  # what one contract is worth does not stand in the trade
                "takerOrMaker": None,
                "exchange": trade.exchange,
                "conditions": trade.conditions,
                "pastLimit": trade.is_past_limit,
                "unreported": trade.is_unreported,
            }
        ]
    )


def book_data(market: str, bids: Sequence[Level], asks: Sequence[Level]) -> bytes:
    """Return a book of (price, size) levels, best first; TWS gives it neither time nor number."""
    return orjson.dumps({"symbol": market, "bids": bids, "asks": asks, "timestamp": None, "nonce": None})


def bar_data(bar: Bar) -> bytes:
    """Return a bar; of a currency pair, whose bars are of midpoints, TWS has no volume."""
    return orjson.dumps(
        {
            "start_ms": bar.start_s * _MS,
            "open": bar.open,
            "high": bar.high,
            "low": bar.low,
            "close": bar.close,
            "volume": None if bar.volume < 0 else bar.volume,
            "vwap": None if bar.count < 0 else bar.vwap,
            "count": None if bar.count < 0 else bar.count,
        }
    )

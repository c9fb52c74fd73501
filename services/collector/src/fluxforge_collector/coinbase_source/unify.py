"""Coinbase's events as record data: the JSON that ccxt's unified structures give, `info` left out. Pure.

Times are the venue's, cut to ms as ccxt cuts them; `datetime` keeps all digits that were sent. What is sent as zero or
empty where no zero can be meant is null, as ccxt has it. Derived numbers are worked out in decimals, then made doubles.
"""

from calendar import timegm
from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import ROUND_DOWN, Context, Decimal, localcontext
from functools import lru_cache
from operator import itemgetter
from typing import Any, Final, NamedTuple

import orjson

from fluxforge_collector.coinbase_source.book import Book, number

_EXACT: Final = Context(prec=100, rounding=ROUND_DOWN)
_QUOTIENT: Final = Decimal("1e-18")
"""ccxt's quotients have 18 decimals, the rest cut off."""
_HUNDRED: Final = Decimal(100)
_CANDLE_FIELDS: Final = ("open", "high", "low", "close", "volume")
_SECOND_CHARS: Final = 19
_MS_DIGITS: Final = 3

Entry = Mapping[str, Any]


class Update(NamedTuple):
    """What becomes one record."""

    data: bytes
    exchange_ms: int | None


def epoch_ms(text: str) -> int:
    """Return ms UTC of a time such as `2026-08-09T21:05:48.483587501Z`; further digits are cut off.

    Raises:
        ValueError: No such time.
    """
    fraction = text[_SECOND_CHARS:]
    if not fraction.endswith("Z") or fraction[0] not in ".Z":
        raise ValueError(f"expected a time such as 2026-08-09T21:05:48.48Z, was {text!r:.40}")
    return _second_ms(text[:_SECOND_CHARS]) + int(fraction[1:-1][:_MS_DIGITS].ljust(_MS_DIGITS, "0"))


@lru_cache(maxsize=64)
def _second_ms(text: str) -> int:
    return timegm(datetime.strptime(text, "%Y-%m-%dT%H:%M:%S").timetuple()) * 1000  # noqa: DTZ007 - read as UTC


def book_update(book: Book, market: str, *, depth: int, time: str, sequence: int) -> Update:
    """Return the top `depth` levels per side; `time` and `sequence` are of the frame."""
    bids, asks = book.top(depth)
    exchange_ms = epoch_ms(time)
    data = {
        "symbol": market,
        "bids": bids,
        "asks": asks,
        "timestamp": exchange_ms,
        "datetime": time,
        "nonce": sequence,
    }
    return Update(orjson.dumps(data), exchange_ms)


def trades_update(trades: Sequence[Entry], market: str) -> Update:
    """Return the trades of one frame, oldest first; the venue sends the newest first."""
    told = [_trade(trade, market) for trade in reversed(trades)]
    return Update(orjson.dumps(told), max(trade["timestamp"] for trade in told))


def candles_update(candles: Sequence[Entry]) -> Update:
    """Return candles as `[{start_ms, open, high, low, close, volume}, ...]`, oldest first."""
    told = sorted(((int(candle["start"]) * 1000, candle) for candle in candles), key=itemgetter(0))
    rows = [{"start_ms": start_ms, **{name: number(one[name]) for name in _CANDLE_FIELDS}} for start_ms, one in told]
    return Update(orjson.dumps(rows), told[-1][0])


def ticker_update(ticker: Entry, market: str, *, time: str) -> Update:
    """Return one ticker; `time` is of the frame."""
    exchange_ms = epoch_ms(time)
    last, percentage = _not_zero(ticker.get("price")), _decimal(ticker.get("price_percent_chg_24_h"))
    opened, change, average = _since_opening(last, percentage or None)
    data = {
        "symbol": market,
        "timestamp": exchange_ms,
        "datetime": time,
        "high": _not_zero(ticker.get("high_24_h")),
        "low": _not_zero(ticker.get("low_24_h")),
        "bid": _not_zero(ticker.get("best_bid")),
        "bidVolume": _number(ticker.get("best_bid_quantity")),
        "ask": _not_zero(ticker.get("best_ask")),
        "askVolume": _number(ticker.get("best_ask_quantity")),
        "vwap": None,
        "open": opened,
        "close": last,
        "last": last,
        "previousClose": None,
        "change": change,
        "percentage": float(percentage) if percentage else None,
        "average": average,
        "baseVolume": _number(ticker.get("volume_24_h")),
        "quoteVolume": None,
        "indexPrice": None,
        "markPrice": None,
    }
    return Update(orjson.dumps(data), exchange_ms)


def _trade(trade: Entry, market: str) -> dict[str, Any]:
    price, size, time = trade["price"], trade["size"], trade["time"]
    side = trade["side"].lower()
    return {
        "id": trade["trade_id"],
        "order": None,
        "timestamp": epoch_ms(time),
        "datetime": time,
        "symbol": market,
        "type": None,
        "side": None if side == "unknown_order_side" else side,
        "takerOrMaker": None,
        "price": number(price),
        "amount": number(size),
        "cost": float(_EXACT.multiply(Decimal(price), Decimal(size))),
        "fee": {"cost": None, "currency": None},
        "fees": [],
    }


def _since_opening(last: float | None, percentage: Decimal | None) -> tuple[float | None, float | None, float | None]:
    """Return open, change and average of the day, as ccxt derives them from price and percentage."""
    if last is None or percentage is None:
        return None, None, None
    with localcontext(_EXACT):
        close = Decimal(repr(last))
        growth = 1 + (percentage / _HUNDRED).quantize(_QUOTIENT)
        if not growth:
            return None, None, None
        opened = (close / growth).quantize(_QUOTIENT)
        average = ((opened + close) / 2).quantize(_QUOTIENT)
        return float(opened) or None, float(close - opened), float(average)


def _decimal(digits: str | None) -> Decimal | None:
    if not digits:
        return None
    number(digits)
    return Decimal(digits)


def _number(digits: str | None) -> float | None:
    return number(digits) if digits else None


def _not_zero(digits: str | None) -> float | None:
    return _number(digits) or None

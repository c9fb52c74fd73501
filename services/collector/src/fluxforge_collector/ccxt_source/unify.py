"""Unified updates as record data: what ccxt resolves, as JSON text with the venue's time. Pure.

A call may wait for an acknowledgement before its data; what has not the shape of the channel's data is no update.
ccxt's books and caches are live objects, so an update is written out at once. `info`, the venue's own message, is left
out; nothing else is changed, filled in or rounded. JSON knows no NaN: orjson writes null for it.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple

import orjson

_LEVEL_SIZE: Final = 2
_TAGGED: Final = 3
_CANDLE_FIELDS: Final = ("start_ms", "open", "high", "low", "close", "volume")
_SNAPSHOT_MARK: Final = '"type":"snapshot"'


class Update(NamedTuple):
    """What becomes one record. `missed`: items of this update that ccxt no longer held."""

    data: bytes
    exchange_ms: int | None
    missed: int = 0


Encoder = Callable[[Any], Update | None]
"""Turns what ccxt resolved into an update; None where it holds nothing new."""


def encoder(channel: str, market: str, depth: int, *, is_alone: bool = True) -> Encoder:
    """Return the encoder of a feed; `depth` is the levels per side of an order book.

    Not `is_alone`: what is resolved may be another market's.
    """
    if channel == "orderbook":
        return lambda book: encode_book(book, depth)
    if channel in {"trades", "liquidations"}:
        return encode_items
    if channel == "ohlcv":
        return encode_rows
    if channel.startswith("ohlcv_"):
        return encode_candles
    if not is_alone:
        return lambda result: encode_single(result, market) if _may_be_of(result, market) else None
    return lambda result: encode_single(result, market)


def encode_book(book: Any, depth: int) -> Update | None:
    """Return the top `depth` levels per side as `[[price, size], ...]`."""
    if not isinstance(book, Mapping) or "bids" not in book:
        return None  # an acknowledgement that the call waits for first
    exchange_ms = book["timestamp"]
    return Update(
        orjson.dumps(
            {
                "symbol": book.get("symbol"),
                "bids": _levels(book["bids"], depth),
                "asks": _levels(book["asks"], depth),
                "timestamp": exchange_ms,
                "datetime": book.get("datetime"),
                "nonce": book.get("nonce"),
            }
        ),
        exchange_ms,
    )


def encode_items(cache: Any) -> Update | None:
    """Return the items that came into a cache of ccxt since it was asked last; all of a plain list."""
    if isinstance(cache, Mapping):
        return encode_single(cache, None)
    if not isinstance(cache, list):
        return None
    items, missed = (cache, 0) if type(cache) is list else _fresh(cache)
    if not items:
        return None
    bare = [without_info(item) for item in items]
    times = [item["timestamp"] for item in bare if item.get("timestamp") is not None]
    return Update(orjson.dumps(bare), max(times, default=None), missed)


def encode_rows(result: Any) -> Update | None:
    """Return the candles that changed since the cache was asked last, `[[ms, open, high, low, close, volume], ...]`."""
    rows = _changed(result)
    return Update(orjson.dumps(rows), rows[-1][0]) if rows else None


def encode_candles(result: Any) -> Update | None:
    """Return the same as objects, as candles are written that do not last a minute."""
    rows = _changed(result)
    candles = [dict(zip(_CANDLE_FIELDS, row, strict=False)) for row in rows]
    return Update(orjson.dumps(candles), rows[-1][0]) if rows else None


def encode_single(result: Any, market: str | None) -> Update | None:
    """Return one structure, such as a ticker; of several by market, or in a list, that of `market`."""
    if isinstance(result, Mapping):
        chosen = result if "symbol" in result else result.get(market)
    elif isinstance(result, list):
        chosen = next((item for item in reversed(list(result)) if item.get("symbol") == market), None)
    else:
        return None
    if chosen is None:
        return None
    return Update(orjson.dumps(without_info(chosen)), chosen.get("timestamp"))


def _may_be_of(result: Any, market: str) -> bool:
    return not isinstance(result, Mapping) or result.get("symbol") in {None, market}


def is_snapshot(frame: str | bytes) -> bool:
    """Return whether the venue marks the message a trade came in as a snapshot of what was before."""
    text = frame if isinstance(frame, str) else frame.decode(errors="replace")
    return _SNAPSHOT_MARK in text.replace(" ", "")


def last_price(channel: str, data: bytes) -> float | None:
    """Return what a record says of the price: mid of the touch, last trade, or last of a ticker."""
    if not data:
        return None
    body = orjson.loads(data)
    if channel == "orderbook":
        if not (body["bids"] and body["asks"]):
            return None
        return float((body["bids"][0][0] + body["asks"][0][0]) / 2)
    newest = body[-1] if isinstance(body, list) else body
    if not isinstance(newest, dict):
        return None
    price = next((newest[key] for key in ("last", "price", "markPrice", "bid") if newest.get(key) is not None), None)
    return None if price is None else float(price)


def _levels(side: Sequence[Sequence[float]], depth: int) -> Sequence[Sequence[float]]:
    top = side[:depth]
    # Books counted or indexed by order carry a third value per level.
    if top and len(top[0]) != _LEVEL_SIZE:
        return [level[:_LEVEL_SIZE] for level in top]
    return top


def _changed(result: Any) -> list[Any]:
    # Where one call brings several markets ccxt hands over (symbol, timeframe, cache), since rows bear no symbol.
    is_tagged = type(result) is list and len(result) == _TAGGED and isinstance(result[0], str)
    cache: Any = result[2] if is_tagged else result
    if type(cache) is list:
        return list(cache)
    if not hasattr(cache, "getLimit") or len(cache) == 0:
        return []
    count = cache.getLimit(None, None)
    return list(cache)[-count:] if count else []


def _fresh(cache: Any) -> tuple[list[Mapping[str, Any]], int]:
    held = len(cache)
    if held == 0:
        return [], 0
    market = cache[-1].get("symbol")
    # The count stands until the next append: where the cache was asked since, nothing is new.
    if cache._clear_updates_by_symbol.get(market):  # noqa: SLF001 - ccxt offers no other way to tell
        return [], 0
    count = cache.getLimit(market, None) or 0
    first = max(0, held - count)
    return [cache[index] for index in range(first, held)], max(0, count - held)


def without_info(item: Mapping[str, Any]) -> dict[str, Any]:
    """Return a structure of ccxt's less the venue's own message in it."""
    bare = dict(item)
    bare.pop("info", None)
    return bare

"""Unified updates as record data: what ccxt resolves, as JSON text with the venue's time. Pure.

ccxt's books and caches are live objects, so an update is written out at once. `info`, the venue's own message, is left
out; nothing else is changed, filled in or rounded. JSON knows no NaN: orjson writes null for it.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple

import orjson

_LEVEL_SIZE: Final = 2
_SNAPSHOT_MARK: Final = '"type":"snapshot"'


class Update(NamedTuple):
    """What becomes one record. `missed`: items of this update that ccxt no longer held."""

    data: bytes
    exchange_ms: int | None
    missed: int = 0


Encoder = Callable[[Any], Update | None]
"""Turns what ccxt resolved into an update; None where it holds nothing new."""


def encoder(channel: str, market: str, depth: int) -> Encoder:
    """Return the encoder of a feed; `depth` is the levels per side of an order book."""
    if channel == "orderbook":
        return lambda book: encode_book(book, depth)
    if channel in {"trades", "liquidations"}:
        return encode_items
    if channel == "ohlcv":
        return encode_rows
    return lambda result: encode_single(result, market)


def encode_book(book: Mapping[str, Any], depth: int) -> Update:
    """Return the top `depth` levels per side as `[[price, size], ...]`."""
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
    """Return the items that came into a cache of ccxt since it was asked last."""
    if isinstance(cache, Mapping):
        return encode_single(cache, None)
    items, missed = _fresh(cache)
    if not items:
        return None
    bare = [_without_info(item) for item in items]
    times = [item["timestamp"] for item in bare if item.get("timestamp") is not None]
    return Update(orjson.dumps(bare), max(times, default=None), missed)


def encode_rows(cache: Any) -> Update | None:
    """Return the candles that changed since the cache was asked last, `[[ms, open, high, low, close, volume], ...]`."""
    if len(cache) == 0:
        return None
    count = cache.getLimit(None, None)
    rows = list(cache)[-count:] if count else []
    return Update(orjson.dumps(rows), rows[-1][0]) if rows else None


def encode_single(result: Any, market: str | None) -> Update | None:
    """Return one structure, such as a ticker; of several by market, or in a list, that of `market`."""
    if isinstance(result, Mapping):
        chosen = result if "symbol" in result else result.get(market)
    else:
        chosen = next((item for item in reversed(list(result)) if item.get("symbol") == market), None)
    if chosen is None:
        return None
    return Update(orjson.dumps(_without_info(chosen)), chosen.get("timestamp"))


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


def _without_info(item: Mapping[str, Any]) -> dict[str, Any]:
    bare = dict(item)
    bare.pop("info", None)
    return bare

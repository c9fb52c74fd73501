"""Backfill: trades and candles of a hole that has closed, fetched by REST where the venue has them.

They enter the lane as records of their own kind, with the time at which they were fetched, and take nothing's place.
"""

import asyncio
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final

import orjson

from fluxforge.domain.backoff import Backoff
from fluxforge_collector.ccxt_source.missing import Missing, missing_candles, missing_trades
from fluxforge_collector.ccxt_source.unify import without_info
from fluxforge_collector.events import CollectorEvents
from fluxforge_collector.lane_feed import LaneFeed, Recovery
from fluxforge_collector.source import Sink

_BACKOFF: Final = Backoff(base_s=1.0, cap_s=30.0)
_TRIES: Final = 5
"""A venue's REST lags behind its stream by seconds."""
_PAGES_MAX: Final = 50
_PAGE: Final = 1000
_RECORD_ITEMS_MAX: Final = 500
WAITING_MAX: Final = 1000
"""Holes that wait. A venue that does not answer what fits keeps each of them up for half a minute."""
_NS_PER_MS: Final = 1_000_000
_MINUTE_MS: Final = 60_000
"""The length of candles of the channel `ohlcv`, and what ccxt fetches unless told otherwise."""
_METHODS: Final = MappingProxyType({"trades": "fetchTrades", "ohlcv": "fetchOHLCV"})
_BINANCE: Final = {"spot": "publicGetTrades", "linear": "fapiPublicGetTrades", "inverse": "dapiPublicGetTrades"}
"""By default ccxt fetches aggregated trades there, whose ids are not those of the stream."""


class Backfill:
    """The holes of one exchange's feeds that wait to be filled."""

    def __init__(self, exchange: Any, sink: Sink, events: CollectorEvents, chance: Callable[[], float]) -> None:
        self._exchange = exchange
        self._sink = sink
        self._events = events
        self._chance = chance
        self._closed: asyncio.Queue[Recovery] = asyncio.Queue(WAITING_MAX)

    def recovered(self, recovery: Recovery) -> None:
        """Take note of a hole's end, if something can be fetched for it.

        Where too many wait the oldest is left out: a venue keeps what is new.
        """
        method = _METHODS.get(recovery.feed.key.channel)
        if not (method and self._exchange.has.get(method)):
            return
        if self._closed.full():
            self._events.backfill_failed(self._closed.get_nowait().feed.key, "more holes wait than can be filled")
        self._closed.put_nowait(recovery)

    async def run(self) -> None:
        """Fill until cancelled, one hole after the other: the venue's REST limits are for all of them."""
        while True:
            recovery = await self._closed.get()
            await self._fill(recovery)

    async def _fill(self, recovery: Recovery) -> None:
        feed = recovery.feed
        found: Missing | None = None
        reason = "what was fetched does not join what was captured"
        for tries in range(1, _TRIES + 1):
            updates = None
            try:
                found = await self._fetch(recovery)
                updates = None if found is None else list(_updates(feed.key.channel, found.items))
            except Exception as error:  # noqa: BLE001 - a venue answers what it likes, and no feed may end by it
                reason = f"{type(error).__name__}: {error}"[:300]
            if not feed.captured:
                reason = "the feed is captured no more"
                break
            if found is not None and updates is not None:
                self._enter(feed, updates)
                self._events.backfilled(feed.key, items=len(found.items), is_whole=found.is_whole)
                return
            await asyncio.sleep(_BACKOFF.delay_s(tries, self._chance))
        self._events.backfill_failed(feed.key, reason)

    async def _fetch(self, recovery: Recovery) -> Missing | None:
        from_ms = recovery.from_ns // _NS_PER_MS
        before, first = recovery.before, recovery.first
        if recovery.feed.key.channel == "ohlcv":
            from_ms -= from_ms % _MINUTE_MS  # the candle that was open then went on in the hole
            rows = await self._candles(recovery, from_ms)
            return missing_candles(rows, before=before, first=first, from_ms=from_ms)
        fetched = await self._trades(recovery, from_ms)
        return missing_trades(fetched, before=before, first=first, from_ms=from_ms)

    async def _candles(self, recovery: Recovery, from_ms: int) -> Sequence[Sequence[float]]:
        """Return the candles since the last one before a hole, page by page, up to the first one behind it."""
        since = orjson.loads(recovery.before)[-1][0] if recovery.before else from_ms
        end = orjson.loads(recovery.first)[0][0]
        found: dict[float, Sequence[float]] = {}
        for _ in range(_PAGES_MAX):
            page = await self._exchange.fetch_ohlcv(recovery.feed.market, since=since, limit=_PAGE)
            fresh = {row[0]: row for row in page if row[0] not in found}
            found.update(fresh)
            if not fresh or max(fresh) >= end:
                break
            since = max(fresh)
        return list(found.values())

    async def _trades(self, recovery: Recovery, from_ms: int) -> Sequence[Mapping[str, Any]]:
        """Return the trades since the last one before a hole, page by page, up to the first one behind it."""
        market = recovery.feed.market
        times = [trade["timestamp"] for trade in orjson.loads(recovery.before)] if recovery.before else []
        since = min([from_ms, *times[-1:]])
        reached = {trade["id"] for trade in orjson.loads(recovery.first)}
        found: dict[Any, Mapping[str, Any]] = {}
        for _ in range(_PAGES_MAX):
            page = await self._exchange.fetch_trades(market, since, _PAGE, self._own_ids(market))
            fresh = {trade["id"]: trade for trade in page if trade["id"] not in found}
            found.update(fresh)
            if not fresh or not reached.isdisjoint(fresh):
                break
            since = max(trade["timestamp"] for trade in page)
        return list(found.values())

    def _own_ids(self, market: str) -> dict[str, str]:
        """Return what has ccxt fetch trades with the ids that the stream has."""
        if not self._exchange.id.startswith("binance"):
            return {}
        entry = self._exchange.markets[market]
        kind = next((kind for kind in _BINANCE if entry.get(kind)), None)
        return {"fetchTradesMethod": _BINANCE[kind]} if kind else {}

    def _enter(self, feed: LaneFeed, updates: Iterable[tuple[bytes, int]]) -> None:
        for data, exchange_ms in updates:
            self._sink.record(feed, data, exchange_ms=exchange_ms, at_ns=self._sink.now(), conn=0, backfill=True)


def _updates(channel: str, items: Sequence[Any]) -> Iterator[tuple[bytes, int]]:
    """Yield what was fetched as data of records, with the venue's time of each, ms UTC."""
    for start in range(0, len(items), _RECORD_ITEMS_MAX):
        some = items[start : start + _RECORD_ITEMS_MAX]
        if channel == "trades":
            some = [without_info(item) for item in some]
        yield orjson.dumps(some), max(item["timestamp"] for item in some) if channel == "trades" else some[-1][0]

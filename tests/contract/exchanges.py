"""Every exchange class of ccxt.pro, its watch calls driven through the tap without a network, as a table.

Markets are made up, connections are never dialled, and an update is what ccxt's handlers would resolve. So this shows
that the tap learns each call's hashes and tells the markets apart; not that a venue still speaks what ccxt expects.
`python -m tests.contract.exchanges > docs/exchanges.md` writes the page.
"""

import asyncio
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from unittest.mock import patch

import ccxt
import ccxt.pro
from ccxt.async_support.base.ws.cache import ArrayCache, ArrayCacheByTimestamp
from ccxt.async_support.base.ws.client import Client

from fluxforge.domain.record import Feed
from fluxforge_collector.ccxt_source.connection import Scope
from fluxforge_collector.ccxt_source.feeds import CHANNELS, Subscription, channel_of, grouped
from fluxforge_collector.ccxt_source.mixin import TapMixin
from fluxforge_collector.ccxt_source.settings import VenueSettings
from fluxforge_collector.ccxt_source.tap import SCOPE, Tap
from fluxforge_collector.ccxt_source.watch_calls import IndistinctHashesError
from tests.unit.fluxforge_collector.made import Desk, Line

_BASES = ("BTC", "ETH")
_TIMEFRAMES = ("1m", "15m", "1s", "1h")
_STEPS = 200
_HANDSHAKES = ("authenticated", "subscribe:")
_AT_MS = 1_765_288_800_000
_MANY, _EACH = "●", "○"
_HEAD = """# Exchanges: what can be captured of each

ccxt {version} has {exchanges} exchanges with websockets. Written by `python -m tests.contract.exchanges` and compared
on every test run: each watch call is made through the tap on made-up markets without a network, and what it waits for
is resolved. So this page tells what the collector can ask for and tell apart, not that a venue still speaks what ccxt
expects. Of {calls} calls that are offered {many} bring several markets, {each} one each; {none} could not be driven.

●: one call brings several markets. ○: a call for each market. Empty: ccxt has no such call. A length stands where
candles of a minute are refused. The columns are ccxt's methods without `watch`, as they are configured; where a method
has a form for several markets (`watchTradesForSymbols`), it is that form that is called.

"""
_KEYS = {
    "apiKey": "k",
    "secret": "c2VjcmV0",
    "password": "p",
    "uid": "1",
    "token": "t",
    "accountId": "1",
    "walletAddress": "0x" + "1" * 40,
    "privateKey": "0x" + "1" * 64,
}


@dataclass
class Driven:
    """What came of one configured method of one exchange. `mark` empty: `reason` says why nothing did."""

    mark: str = ""
    reason: str = ""
    faults: list[str] = field(default_factory=list)


def made_market(exchange: str, base: str, quote: str, kind: str) -> dict[str, Any]:
    """Return a market such as ccxt makes of a venue's listing."""
    contract = kind != "spot"
    id_ = f"{base}-{quote}-SWAP" if contract else f"{base}{quote}"
    if exchange == "nado":
        id_ = str(2 * _BASES.index(base) + contract + 1)  # numbers there
    return {
        "id": id_,
        "id2": id_,
        "lowercaseId": id_.lower(),
        "numericId": 1,
        "active": True,
        "type": kind,
        "symbol": f"{base}/{quote}:{quote}" if contract else f"{base}/{quote}",
        "settle": quote if contract else None,
        "base": base,
        "quote": quote,
        "baseId": base,
        "quoteId": quote,
        "settleId": quote if contract else None,
        "spot": not contract,
        "swap": contract,
        "margin": False,
        "future": False,
        "option": False,
        "contract": contract,
        "linear": contract or None,
        "inverse": False if contract else None,
        "contractSize": 1.0 if contract else None,
        "precision": {"amount": 1e-4, "price": 1e-2},
        "limits": {"amount": {}, "price": {}, "cost": {}, "leverage": {}},
        "info": {"wsname": f"{base}/{quote}", "id": id_},
    }


def update_of(channel: str, market: str, *, is_tagged: bool) -> Any:
    """Return what ccxt resolves for a channel."""
    if channel == "orderbook":
        return {"symbol": market, "bids": [[1.0, 1.0]], "asks": [[2.0, 1.0]], "timestamp": _AT_MS}
    if channel == "trades":
        trades = ArrayCache(10)
        trades.append({"symbol": market, "id": "1", "timestamp": _AT_MS})
        return trades
    if channel == "liquidations":
        return [{"symbol": market, "timestamp": _AT_MS, "price": 1.0}]
    if channel.startswith("ohlcv"):
        candles = ArrayCacheByTimestamp(10)
        candles.append([_AT_MS, 1.0, 2.0, 1.0, 2.0, 3.0])
        return [market, "1m", candles] if is_tagged else candles
    return {"symbol": market, "timestamp": _AT_MS, "last": 1.0}


@contextmanager
def undialled() -> Iterator[None]:
    """Have ccxt believe its connections to stand, and what it sends to be sent."""

    async def connect(client: Client, *_: Any) -> None:
        client.connected.resolve(client.url)

    async def send(*_: Any) -> None:
        return

    with patch.object(Client, "connect", connect), patch.object(Client, "send", send):
        yield


def tapped(name: str) -> Any:
    """Return an exchange with made-up markets and no way out."""

    async def fetch(url: str, *_: Any, **__: Any) -> Any:
        if "bullet" in url:  # kucoin's, which hands out the address of its websocket
            server = {"endpoint": "wss://ws-api.kucoin.com/endpoint", "pingInterval": 18000, "pingTimeout": 10000}
            return {"code": "200000", "data": {"token": "t", "instanceServers": [server]}}
        raise ccxt.ExchangeNotAvailable(f"no network: {url}")

    exchange = type(name, (TapMixin, getattr(ccxt.pro, name)), {})({"enableRateLimit": False, **_KEYS})
    exchange.fetch = fetch
    exchange.open()
    exchange.set_markets([made_market(name, base, "USDT", kind) for kind in ("spot", "swap") for base in _BASES])
    return exchange


async def drive(exchange: Any, method: str) -> Driven:
    """Drive one configured method over spot markets, else over contracts; of candles the first length it takes."""
    found = Driven()
    for timeframe in _TIMEFRAMES if method == "watchOHLCV" else _TIMEFRAMES[:1]:
        for suffix in ("", ":USDT"):
            tried = await _drive(exchange, method, [f"{base}/USDT{suffix}" for base in _BASES], timeframe)
            if tried.mark:
                tried.mark += "" if timeframe == _TIMEFRAMES[0] else f" {timeframe}"
                return tried
            found = found if found.reason else tried
    return found


async def _drive(exchange: Any, method: str, markets: list[str], timeframe: str) -> Driven:
    venue = VenueSettings(exchange.id, 5, {}, timeframe=timeframe)
    feeds = [Feed("ccxt", exchange.id, channel_of(method, timeframe), market) for market in markets]
    waiting = list(grouped(venue, {method: feeds}, has=exchange.has))
    driven = Driven(_MANY if len(waiting) == 1 else _EACH)
    desk = Desk(feeds=tuple(feeds))
    exchange.clients = {}
    exchange.tap = Tap(desk.writer, 5)
    calls: list[tuple[Subscription, Scope]] = []
    tasks: list[asyncio.Future[None]] = []
    try:
        while waiting:
            subscription = waiting.pop(0)
            scope = Scope({str(feed.market): desk.writer.feed(feed) for feed in subscription.feeds})
            tasks.append(asyncio.ensure_future(_call(exchange, subscription, scope)))
            try:
                await _learned(tasks[-1], scope)
            except IndistinctHashesError:
                driven.mark = _EACH
                waiting += subscription.split()
            else:
                calls.append((subscription, scope))
        driven.faults = [fault for call in calls for fault in _faults(desk, *call)]
    except Exception as error:  # noqa: BLE001 - ccxt raises what it likes
        return Driven(reason=f"{type(error).__name__}: {error}"[:120])
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for client in exchange.clients.values():
            for future in client.futures.values():
                future.cancel()
    return driven


async def _call(exchange: Any, subscription: Subscription, scope: Scope) -> None:
    SCOPE.set(scope)
    await getattr(exchange, subscription.method)(*subscription.arguments(scope.asked))


async def _learned(calling: asyncio.Future[None], scope: Scope) -> None:
    """Return once the tap knows what a call waits for."""
    for _ in range(_STEPS):
        for name in [name for name in scope.hashes if name.startswith(_HANDSHAKES)]:
            for connection in scope.connections:
                connection.client.futures[name].resolve({"success": True})  # and stays: later calls find it
            del scope.hashes[name]
        if scope.hashes or calling.done():
            break
        await asyncio.sleep(0)
    if calling.done():
        calling.result()
    missing = set(scope.asked) - set(scope.hashes.values())
    if missing:
        raise LookupError(f"the call waits for nothing of {', '.join(sorted(missing))}")


def _faults(desk: Desk, subscription: Subscription, scope: Scope) -> list[str]:
    """Resolve what a call waits for, and what nobody does; return what was wrong with the records."""
    channel = subscription.feeds[0].channel
    (connection,) = scope.connections
    faults = []
    for name, market in [*scope.hashes.items(), ("nobody:asked", scope.asked[0])]:
        before = len(_records(desk))
        connection.client.resolve(update_of(channel, market, is_tagged=subscription.takes_list), name)
        new = [(line.channel, line.symbol) for line in _records(desk)[before:]]
        key = scope.feeds[market].key
        if new != ([(key.channel, key.symbol)] if name in scope.hashes else []):
            faults.append(f"{subscription.method} {market} by {name}: {new}")
    return faults


def _records(desk: Desk) -> list[Line]:
    return [line for line in desk.lines() if line.channel != "control"]


async def drive_all() -> dict[str, dict[str, Driven]]:
    """Return what came of every method that every exchange offers."""
    found: dict[str, dict[str, Driven]] = {}
    with undialled():
        for name in sorted(ccxt.pro.exchanges):
            exchange = tapped(name)
            found[name] = {method: await drive(exchange, method) for method in CHANNELS if exchange.has.get(method)}
            exchange.clients = {}
            await exchange.close()
    return found


def page_of(found: dict[str, dict[str, Driven]]) -> str:
    """Return the page."""
    reasons = list(dict.fromkeys(one.reason for row in found.values() for one in row.values() if one.reason))
    marks = Counter(one.mark[:1] for row in found.values() for one in row.values())
    heads = [method.removeprefix("watch") for method in CHANNELS]
    lines = _HEAD.format(
        version=ccxt.__version__, exchanges=len(found), calls=sum(marks.values()), **_counts(marks)
    ).splitlines()
    lines += [f"| exchange | {' | '.join(heads)} |", f"|---|{'---|' * len(heads)}"]
    for name, row in found.items():
        cells = [_cell(row.get(method), reasons) for method in CHANNELS]
        lines.append(f"| `{name}` | {' | '.join(cells)} |")
    if reasons:
        lines += ["", "Not driven:", ""]
        lines += [f"{number}. {reason}" for number, reason in enumerate(reasons, 1)]
    return "\n".join(line.rstrip() for line in lines) + "\n"


def _counts(marks: Counter[str]) -> dict[str, int]:
    return {"many": marks[_MANY], "each": marks[_EACH], "none": marks[""]}


def _cell(driven: Driven | None, reasons: list[str]) -> str:
    if driven is None:
        return ""
    return driven.mark or f"({reasons.index(driven.reason) + 1})"


if __name__ == "__main__":
    sys.stdout.write(page_of(asyncio.run(drive_all())))

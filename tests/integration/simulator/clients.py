"""Real ccxt.pro clients pointed at the simulator, with a tap that sees every frame and every update."""

import asyncio
import hashlib
import re
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import ccxt.pro
import orjson
import pytest
from ccxt.async_support.base.ws.cache import ArrayCache
from ccxt.async_support.base.ws.order_book import OrderBook

from fluxforge_simulator import Simulator
from fluxforge_simulator.market.ladder import Side

SHARED_DATA = Path(__file__).resolve().parents[4] / "shared" / "data"
PINGS = (b'{"channel":"heartbeat"}', b'{"method":"pong"')
_URL = re.compile(r"^(https?|wss?)://(.*)$")


def recorded(*names: str) -> tuple[Path, ...]:
    """Paths of recordings; the test is skipped where they are absent."""
    paths = tuple(SHARED_DATA / name for name in names)
    for path in paths:
        if not path.exists():
            pytest.skip(f"the recording {path} is not part of this checkout")
    return paths


def rewritten(urls: Any, port: int) -> Any:
    """Point URLs at the simulator: scheme://HOST/path becomes ws|http://127.0.0.1:PORT/HOST/path."""
    if isinstance(urls, str):
        match = _URL.match(urls)
        return f"{'ws' if match[1].startswith('ws') else 'http'}://127.0.0.1:{port}/{match[2]}" if match else urls
    if isinstance(urls, dict):
        return {name: rewritten(value, port) for name, value in urls.items()}
    return urls


class Tap:
    """Mixin over a ccxt.pro exchange: raw frames by connection, updates by message hash."""

    def client(self, url: str) -> Any:
        is_known = url in (self.clients or {})
        client = super().client(url)
        if is_known:
            return client
        inner, resolve = client.handle_text_or_binary_message, client.resolve
        frames = self.frames.setdefault(url, [])

        def tapped(data: Any) -> None:
            frames.append(data.encode() if isinstance(data, str) else bytes(data))
            try:
                inner(data)
            except Exception as error:  # noqa: BLE001 - ccxt raises what it likes; the loop must live on
                self.errors.append(error)
                client.reject(error)

        def resolved(result: Any, message_hash: Any = None) -> Any:
            if isinstance(result, OrderBook):
                self.updates[message_hash] += 1
                self.crossed += bool(result["bids"] and result["asks"] and result["bids"][0][0] >= result["asks"][0][0])
            elif isinstance(result, ArrayCache) and len(result):
                self.updates[message_hash] += result.getLimit(result[-1]["symbol"], None) or 0
            elif isinstance(result, dict) and message_hash is not None:
                self.updates[message_hash] += 1
            return resolve(result, message_hash)

        client.handle_text_or_binary_message, client.resolve = tapped, resolved
        return client


@asynccontextmanager
async def client(exchange: str, port: int, *watches: tuple[Any, ...], **config: Any) -> AsyncIterator[Any]:
    """A tapped client that keeps watching; a watch is a method's name and its arguments."""
    settings = {"timeout": 60_000, "enableRateLimit": False, "newUpdates": True, **config}
    tapped = type(exchange, (Tap, getattr(ccxt.pro, exchange)), {})(settings)
    tapped.frames, tapped.updates, tapped.errors, tapped.crossed = {}, Counter(), [], 0
    tapped.urls["api"] = rewritten(tapped.urls["api"], port)
    pumps: list[asyncio.Future[None]] = []
    try:
        await tapped.load_markets()
        pumps = [asyncio.ensure_future(_pump(tapped, *watch)) for watch in watches]
        yield tapped
    finally:
        for pump in pumps:
            pump.cancel()
        await asyncio.gather(*pumps, return_exceptions=True)
        await tapped.close()


async def _pump(tapped: Any, method: str, *arguments: Any) -> None:
    watch: Callable[..., Awaitable[Any]] = getattr(tapped, method)
    while True:
        try:
            await watch(*arguments)
        except ccxt.pro.BaseError as error:
            tapped.errors.append(error)
            await asyncio.sleep(0.05)


async def until(condition: Callable[[], bool], timeout_s: float = 240.0) -> None:
    """Poll until a condition holds."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "it never came true"
        await asyncio.sleep(0.01)


def ledger_lines(path: Path) -> list[dict[str, Any]]:
    """Read a ledger and check that it is whole."""
    lines = [orjson.loads(line) for line in path.read_bytes().splitlines()]
    assert [line["n"] for line in lines] == list(range(1, len(lines) + 1))
    return lines


def told(lines: list[dict[str, Any]]) -> Counter[tuple[str, ...]]:
    """Hashes of the text frames of each connection, in order, by connection."""
    hashes: dict[int, list[str]] = {}
    for line in lines:
        if line["kind"] in {"data", "snapshot", "ack"}:
            hashes.setdefault(line["conn"], []).append(line["sha256"])
    return Counter(tuple(entry) for entry in hashes.values())


def heard(frames: dict[str, list[bytes]], *, ignored: tuple[bytes, ...] = ()) -> Counter[tuple[str, ...]]:
    """The same from the client's side, without pongs and heartbeats."""
    return Counter(
        tuple(hashlib.sha256(frame).hexdigest() for frame in entry if not frame.startswith(ignored))
        for entry in frames.values()
        if entry
    )


def book_is_the_market_s(tapped: Any, simulator: Simulator, symbol: str, levels: int) -> bool:
    """Whether a client holds what a made-up market is, to the last of so many levels; ask until it has heard all."""
    market = simulator.market(tapped.id, symbol)
    book = tapped.orderbooks.get(symbol, {})
    return all(
        [(float(price), float(size)) for price, size, *_ in book.get(name, [])[:levels]]
        == [
            (float(market.instrument.price(price)), float(market.instrument.quantity(lots)))
            for price, lots in market.ladders[side].levels(levels)
        ]
        for name, side in (("bids", Side.BID), ("asks", Side.ASK))
    )

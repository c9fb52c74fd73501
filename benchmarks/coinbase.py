"""Coinbase's frames, natively and through ccxt with the tap: CPU time of a whole book of 5 MB, and of its changes.

While a whole book is taken, nothing else is heard; so that is one uninterrupted figure, the least of several.
"""

import asyncio
import random
import sys
from collections.abc import Callable
from functools import partial
from time import process_time
from types import SimpleNamespace
from typing import Any, Final

import ccxt.pro
import orjson
from aiohttp import WSMsgType
from tests.unit.fluxforge_collector.made import Desk

from fluxforge.domain.record import Feed
from fluxforge_collector.ccxt_source.connection import Scope
from fluxforge_collector.ccxt_source.mixin import TapMixin
from fluxforge_collector.ccxt_source.tap import Tap
from fluxforge_collector.coinbase_source.conversation import Conversation
from fluxforge_collector.coinbase_source.plan import Group

LEVELS: Final = 46_000
CHANGES: Final = 2_000
LEVELS_CHANGED: Final = 5
RUNS: Final = 5
DEPTH: Final = 50
TIME: Final = "2026-08-09T21:05:48.483587501Z"
BOOK: Final = Feed("coinbase", "coinbase", "orderbook", "BTC/USD")
Take = Callable[[bytes], object]


def frame(number: int, kind: str, ticks: list[int]) -> bytes:
    """Return a frame of levels that stand so many cents from 65 000.00."""
    updates = [
        {
            "side": "bid" if tick < 0 else "offer",
            "event_time": "2026-08-09T21:05:48.170326Z",
            "price_level": f"{65_000 + tick / 100:.2f}",
            "new_quantity": f"{random.random():.8f}",
        }
        for tick in ticks
    ]
    event = {"type": kind, "product_id": "BTC-USD", "updates": updates}
    return orjson.dumps({"channel": "l2_data", "timestamp": TIME, "sequence_num": number, "events": [event]})


def natively() -> Take:
    """Return what takes a frame as the native source does."""
    desk = Desk(feeds=(BOOK,))
    group = Group({"level2": {"BTC-USD": BOOK}})
    conversation = Conversation(group, desk.writer, conn=1, depth=DEPTH, chance=random.random, is_signed=False)
    return lambda raw: conversation.take(raw, at_ns=desk.writer.now(), now_s=0.0)


def through_ccxt(opened: list[Any]) -> Take:
    """Return what takes a frame as ccxt and the tap do; the exchange is to be closed."""
    desk = Desk(feeds=(BOOK,))
    exchange = type("coinbase", (TapMixin, ccxt.pro.coinbase), {})({"enableRateLimit": False})
    product = {"product_id": "BTC-USD", "base_currency_id": "BTC", "quote_currency_id": "USD", "product_type": "SPOT"}
    opened.append(exchange)
    exchange.set_markets([exchange.parse_spot_market(product, {})])
    tap = exchange.tap = Tap(desk.writer, DEPTH)
    client = exchange.client("ws://127.0.0.1:1/advanced-trade-ws.coinbase.com")
    scope = Scope({"BTC/USD": desk.writer.feed(BOOK)})
    tap.learn(scope, ["level2::BTC/USD"], [])
    tap.carry(scope, client)
    return lambda raw: client.handle_message(SimpleNamespace(type=WSMsgType.TEXT, data=raw.decode()))


def cost(make: Callable[[], Take], frames: list[bytes]) -> tuple[float, float]:
    """Return CPU ms of the whole book and CPU us of each change, the least of several runs."""
    whole, changes = [], []
    for _ in range(RUNS):
        take = make()
        began = process_time()
        take(frames[0])
        whole.append(process_time() - began)
        began = process_time()
        for raw in frames[1:]:
            take(raw)
        changes.append((process_time() - began) / (len(frames) - 1))
    return min(whole) * 1e3, min(changes) * 1e6


async def main() -> None:
    """Print the table."""
    opened: list[Any] = []
    random.seed(1)
    ticks = [tick for tick in range(-LEVELS // 2, LEVELS // 2 + 1) if tick]
    near = [[random.choice((-1, 1)) * random.randint(1, 400) for _ in range(LEVELS_CHANGED)] for _ in range(CHANGES)]
    changes = [frame(number, "update", each) for number, each in enumerate(near, 1)]
    frames = [frame(0, "snapshot", ticks), *changes]
    rows = {
        "orjson.loads alone": cost(lambda: orjson.loads, frames),
        "native": cost(natively, frames),
        "ccxt with the tap": cost(partial(through_ccxt, opened), frames),
    }
    for exchange in opened:
        await exchange.close()
    sys.stdout.write(
        f"| {len(frames[0]) / 1e6:.1f} MB, {LEVELS} levels | whole book, ms | a change of it, us |\n|---|---|---|\n"
    )
    sys.stdout.writelines(f"| {name} | {whole:.0f} | {change:.0f} |\n" for name, (whole, change) in rows.items())


if __name__ == "__main__":
    asyncio.run(main())

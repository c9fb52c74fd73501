"""Load: depth updates of one width, as fast as the socket takes them or at a given rate.

The frames continue the book that the client asked for last: the markets of a load move by its frames alone. A book
asked for while frames are encoded ahead of time is already the one after the last of them.
"""

import asyncio
from collections.abc import Iterator
from typing import NamedTuple

from fluxforge.ports.clock import Clock
from fluxforge_simulator.frame import Channel, Feed, Frame, Kind
from fluxforge_simulator.market.market import Market
from fluxforge_simulator.market_stage import MarketStage
from fluxforge_simulator.options import LoadPlan
from fluxforge_simulator.venues.binance_messages import depth_tail, depth_update

_BURST_S = 0.001


class _Update(NamedTuple):
    """A depth update that lacks its event time."""

    symbol: str
    tail: bytes
    key: tuple[int, int]


async def run_load(plan: LoadPlan, stage: MarketStage, clock: Clock, started: asyncio.Event) -> None:
    """Wait for the subscriptions and books of a plan, set `started`, then send all its frames."""
    symbols = await _ready(plan, stage, clock)
    updates = _updates(plan, [stage.floor.market(symbol) for symbol in symbols])
    if plan.rate_hz is None:
        updates = iter(await asyncio.to_thread(list, updates))
    await asyncio.sleep(max(0.0, plan.settle_s - _quiet_s(symbols, stage, clock)))
    started.set()
    await _send(plan, updates, stage, clock)


async def _ready(plan: LoadPlan, stage: MarketStage, clock: Clock) -> list[str]:
    """Return the symbols, once enough books are subscribed and answered and no other was asked for in the meantime."""
    while True:
        symbols = sorted(
            symbol for symbol in stage.books_answered if stage.connections(Feed(Channel.ORDERBOOK, symbol))
        )
        if len(symbols) >= plan.symbols and _quiet_s(symbols, stage, clock) >= plan.settle_s:
            return symbols
        stage.changed.clear()
        try:
            async with asyncio.timeout(plan.settle_s / 2 + _BURST_S):
                await stage.changed.wait()
        except TimeoutError:
            continue


def _quiet_s(symbols: list[str], stage: MarketStage, clock: Clock) -> float:
    latest_ns = max(stage.books_answered[symbol] for symbol in symbols)
    return (clock.monotonic_ns() - latest_ns) / 1e9


def _updates(plan: LoadPlan, markets: list[Market]) -> Iterator[_Update]:
    for index in range(plan.frames):
        market = markets[index % len(markets)]
        step = market.churn(plan.levels)
        first, last = step.first_update_id, step.last_update_id
        tail = depth_tail(market, list(step.changes), first, last)
        yield _Update(market.instrument.symbol, tail, (first, last))


async def _send(plan: LoadPlan, updates: Iterator[_Update], stage: MarketStage, clock: Clock) -> None:
    began_ns = clock.monotonic_ns()
    for index, (symbol, tail, key) in enumerate(updates):
        if plan.rate_hz is not None:
            ahead_s = index / plan.rate_hz - (clock.monotonic_ns() - began_ns) / 1e9
            if ahead_s > 0:
                await asyncio.sleep(max(ahead_s, _BURST_S))
        payload = depth_update(tail, clock.wall_ns())
        frame = Frame(payload, Kind.DATA, Channel.ORDERBOOK, symbol, key)
        for connection in stage.connections(Feed(Channel.ORDERBOOK, symbol)):
            await connection.send(frame)

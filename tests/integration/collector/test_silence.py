"""A feed or an exchange falls silent on a living connection: it is noticed, named from its last record, and healed."""

import signal
from asyncio.subprocess import Process
from collections.abc import Callable
from typing import Any

import pytest

from fluxforge.domain.control import Control, FeedKey
from fluxforge.domain.instrument import symbol_id
from fluxforge_collector.watchdog import LOOK_S
from fluxforge_simulator import ConnectionFault, Fault
from fluxforge_simulator.options import SimulateOptions
from fluxforge_simulator.simulator import Simulator
from tests.integration.collector.rig import LIVELY, Rig, Running, all_channels, by_feed, events_of, markets
from tests.system import simulator
from tests.unit.fluxforge_collector.made import Line

pytestmark = pytest.mark.timeout(240)

# Lively markets, quickly judged: what is usual there is learned in seconds.
SOON = {"ingestion": {"stall_floor_seconds": 2.0}}
KNOWN = 64
"""Looks at which a feed was heard, twice as many as its silence needs to mean anything: some looks come late."""
S = 1_000_000_000


async def forget_the_book(venue: Simulator, running: Running, exchange: str, symbol: str) -> None:
    """Have the venue forget a book's subscription, once the collector knows how often it speaks."""
    feed = FeedKey("orderbook", symbol_id(symbol))
    await heard_of(running, lambda lines: _looks(by_feed(lines)[feed.channel, feed.symbol]) > KNOWN)
    fault = ConnectionFault(fault=Fault.FORGET, exchange=exchange, channel=feed.channel, symbol=symbol)
    assert venue.inject(fault) == 1


def _looks(lines: list[Line]) -> int:
    """Return how many of the watchdog's looks at least find something new."""
    return len({line.capture_ns // round(LOOK_S * S) for line in lines})


def closing(lines: list[Line], stalled: Line, feed: FeedKey) -> Control | None:
    return next(
        (
            line.control
            for line in lines
            if line.event in {"resynced", "recovered"}
            and line.control.hole == stalled.control.hole
            and line.control.scope == feed
        ),
        None,
    )


def healed(lines: list[Line]) -> bool:
    stalls = events_of(lines, "stalled")
    return bool(stalls) and all(closing(lines, line, feed) for line in stalls for feed in line.control.concerned())


def check_bounds(lines: list[Line], stalled: Line, feed: FeedKey) -> None:
    """The hole lasts from the last record before the silence to the first one after it."""
    control, end = stalled.control, closing(lines, stalled, feed)
    assert end is not None
    records = by_feed(lines)[feed.channel, feed.symbol]
    before = [line.capture_ns for line in records if line.capture_ns < stalled.capture_ns]
    after = [line.capture_ns for line in records if line.capture_ns > stalled.capture_ns]
    assert control.from_ns is not None
    assert end.to_ns is not None
    assert (end.from_ns, before[-1] <= control.from_ns < stalled.capture_ns) == (control.from_ns, True)
    assert stalled.capture_ns < end.to_ns <= after[0]
    assert after[0] - end.to_ns < 1_000_000


async def heard_of(running: Running, condition: Callable[[list[Line]], Any]) -> list[Line]:
    return await running.until(condition, deadline_s=120)


@pytest.mark.parametrize("exchange", ["kraken", "coinbase"])
async def test_a_forgotten_book_is_subscribed_anew_on_the_same_connection(rig: Rig, exchange: str) -> None:
    channels = all_channels(exchange, "BTC", "ETH")
    (symbol,) = markets(exchange, "BTC")
    book = FeedKey("orderbook", symbol.replace("/", "-"))
    async with Simulator(SimulateOptions(exchange=exchange, pace=LIVELY)) as venue:
        async with rig.collector(exchange, venue.port, channels, **SOON) as running:
            await forget_the_book(venue, running, exchange, symbol)
            await heard_of(running, healed)
            await running.stop()
        lines = await rig.lines(running.lane)
    (stalled,) = events_of(lines, "stalled")
    assert stalled.control.concerned() == (book,)
    assert stalled.control.detail is not None
    assert stalled.control.detail["remedy"] == "resubscribe"
    assert int(stalled.control.detail["around"] or 0) >= 3
    assert stalled.capture_ns - (stalled.control.from_ns or 0) < 30 * S
    check_bounds(lines, stalled, book)
    assert not events_of(lines, "disconnected")


async def test_a_forgotten_book_that_is_alone_on_its_connection_gets_a_new_one(rig: Rig) -> None:
    channels = all_channels("binance", "BTC")
    book = FeedKey("orderbook", "BTC-USDT")
    async with Simulator(SimulateOptions(exchange="binance", pace=LIVELY)) as venue:
        async with rig.collector("binance", venue.port, channels, **SOON) as running:
            await forget_the_book(venue, running, "binance", "BTC/USDT")
            await heard_of(running, healed)
            await running.stop()
        lines = await rig.lines(running.lane)
    (stalled,) = events_of(lines, "stalled")
    assert stalled.control.concerned() == (book,)
    check_bounds(lines, stalled, book)
    (lost,) = events_of(lines, "disconnected")
    assert lost.control.concerned() == (book,)
    assert lost.capture_ns > stalled.capture_ns


async def test_an_exchange_that_freezes_is_noticed_long_before_its_keepalive(rig: Rig) -> None:
    # ccxt itself would notice after 90 s here.
    channels = all_channels("coinbase", "BTC", "ETH")
    async with simulator("--exchange", "coinbase", "--speed", 4) as (port, venue):
        async with rig.collector("coinbase", port, channels, **SOON) as running:
            await heard_of(running, lambda lines: len(by_feed(lines)) == 6 and _lasted(lines, 20))
            await _frozen(venue, running, lambda lines: events_of(lines, "stalled"))
            await heard_of(running, healed)
            await running.stop()
        lines = await rig.lines(running.lane)
    stalled = next(line for line in events_of(lines, "stalled") if len(line.control.concerned()) > 1)
    assert len(stalled.control.concerned()) == 6
    assert stalled.capture_ns - (stalled.control.from_ns or 0) < 30 * S
    for feed in stalled.control.concerned():
        check_bounds(lines, stalled, feed)


async def test_a_lively_exchange_raises_no_alarm(rig: Rig) -> None:
    channels = all_channels("kraken", "BTC", "ETH")
    async with Simulator(SimulateOptions(exchange="kraken")) as venue:
        async with rig.collector("kraken", venue.port, channels, **SOON) as running:
            await heard_of(running, lambda lines: _lasted(lines, 25))
            await running.stop()
        lines = await rig.lines(running.lane)
    assert not events_of(lines, "stalled")


async def _frozen(venue: Process, running: Running, until: Callable[[list[Line]], Any]) -> None:
    """Stop a process in its tracks until something is stored of it."""
    venue.send_signal(signal.SIGSTOP)
    try:
        await heard_of(running, until)
    finally:
        venue.send_signal(signal.SIGCONT)


def _lasted(lines: list[Line], seconds: float) -> bool:
    """Whether so much was captured behind the first record of every feed."""
    firsts = [feed[0].capture_ns for feed in by_feed(lines).values()]
    return bool(firsts) and lines[-1].capture_ns - max(firsts) > seconds * S

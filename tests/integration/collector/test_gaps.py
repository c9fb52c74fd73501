"""Frames that never arrive: the gap is told before what follows it, and that market's book alone is fetched anew."""

import pytest

from fluxforge.domain.control import FeedKey
from fluxforge_simulator.connection_fault import ConnectionFault, Fault
from fluxforge_simulator.options import SimulateOptions
from fluxforge_simulator.simulator import Simulator
from tests.integration.collector.rig import LIVELY, Rig, all_channels, by_feed, events_of, markets
from tests.unit.fluxforge_collector.made import Line

pytestmark = pytest.mark.timeout(240)

VENUES = ("binance", "binanceusdm", "okx", "bybit", "coinbase", "kraken")
LOST = 3
FEEDS = 6


def gaps(lines: list[Line]) -> list[Line]:
    return [line for line in events_of(lines, "gap") if not line.control.repeat]


def lively(lines: list[Line]) -> bool:
    feeds = by_feed(lines)
    return len(feeds) == FEEDS and min(map(len, feeds.values())) > FEEDS


def healed(lines: list[Line]) -> bool:
    closed = {(line.control.hole, line.control.scope) for line in lines if line.event in {"resynced", "recovered"}}
    return bool(gaps(lines)) and all(
        (gap.control.hole, feed) in closed for gap in gaps(lines) for feed in gap.control.concerned()
    )


@pytest.mark.parametrize("exchange", VENUES)
async def test_lost_frames_of_a_book_are_told_and_its_book_comes_whole_again(rig: Rig, exchange: str) -> None:
    market, neighbour = markets(exchange, "BTC", "ETH")
    book, beside = (FeedKey("orderbook", symbol_of(name)) for name in (market, neighbour))
    async with Simulator(SimulateOptions(exchange=exchange, pace=LIVELY)) as venue:
        async with rig.collector(exchange, venue.port, all_channels(exchange, "BTC", "ETH")) as running:
            await running.until(lively, deadline_s=60)
            befallen = venue.inject(
                ConnectionFault(fault=Fault.DROP, exchange=exchange, channel="orderbook", symbol=market, count=LOST)
            )
            assert befallen == 1
            await running.until(healed, deadline_s=60)
            await running.stop()
        lines = await rig.lines(running.lane)
    found = gaps(lines)
    assert book in found[0].control.concerned()
    if exchange == "coinbase":
        assert sum(gap.control.count or 0 for gap in found) == LOST  # one counter for all that is on the connection
    else:
        assert all(book in gap.control.concerned() for gap in found)
        assert not any(beside in gap.control.concerned() for gap in found)
        assert not [line for line in events_of(lines, "subscribed") if _after(line, found) and beside in _of(line)]
    assert not events_of(lines, "disconnected")
    assert not events_of(lines, "rejected")


def symbol_of(market: str) -> str:
    return market.replace("/", "-").replace(":", "_")


def _after(line: Line, found: list[Line]) -> bool:
    return line.capture_ns > found[0].capture_ns


def _of(line: Line) -> tuple[FeedKey, ...]:
    return line.control.concerned()

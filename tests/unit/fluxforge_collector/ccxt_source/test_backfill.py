"""Backfill against a venue whose REST answers are put in by hand: what it says, what it enters, and that it goes on."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import ccxt
import orjson
import pytest
from structlog.testing import capture_logs

from fluxforge_collector.ccxt_source.backfill import WAITING_MAX, Backfill
from fluxforge_collector.lane_feed import LaneFeed, Recovery
from tests.unit.fluxforge_collector.made import BEGIN_NS, BOOK, TRADES, Desk, Line, events, until

BEGIN_MS = BEGIN_NS // 1_000_000
MINUTE_MS = 60_000
CANDLES = [[BEGIN_MS + minute * MINUTE_MS, 1.0, 2.0, 0.5, 1.5, float(minute)] for minute in range(1_300)]
OHLCV = type(TRADES)("ccxt", "binance", "ohlcv", "BTC/USDT")
Answer = Callable[[], Any]


def trades(*ids: int) -> list[dict[str, Any]]:
    return [{"id": str(id_), "timestamp": BEGIN_MS + id_, "price": 1.0, "info": {"raw": id_}} for id_ in ids]


class Venue:
    """What of a ccxt exchange is asked by REST; `trades` is the answer, or what fails in its place."""

    id = "kraken"

    def __init__(self) -> None:
        self.has = {"fetchTrades": True, "fetchOHLCV": True}
        self.markets: dict[str, Any] = {"BTC/USDT": {"spot": True}}
        self.trades: Answer = lambda: trades(1, 2, 3, 4)
        self.page = 300
        self.asked = 0

    async def fetch_trades(self, *_: Any) -> Any:
        self.asked += 1
        await asyncio.sleep(0)
        return self.trades()

    async def fetch_ohlcv(self, _: str, *, since: int, limit: int) -> Any:
        self.asked += 1
        await asyncio.sleep(0)
        begin = max(0, -(-(since - BEGIN_MS) // MINUTE_MS))
        return CANDLES[begin : begin + min(limit, self.page)]


class World:
    """A backfill that runs on a lane's writer."""

    def __init__(self) -> None:
        self.desk = Desk(feeds=(BOOK, OHLCV, TRADES))
        self.venue = Venue()
        self.backfill = Backfill(self.venue, self.desk.writer, events(), lambda: 0.0)

    def recover(self, feed: LaneFeed | None = None, *, before: int = 1, first: int = 4) -> None:
        around = [orjson.dumps(trades(one)) for one in (before, first)]
        self.backfill.recovered(Recovery(feed or self.desk.trades, BEGIN_NS, *around))

    def filled(self) -> list[Line]:
        return [line for line in self.desk.lines() if line.backfill]


@pytest.fixture
async def world() -> AsyncIterator[World]:
    made = World()
    running = asyncio.create_task(made.backfill.run())
    yield made
    assert not running.done()
    running.cancel()


def failing(error: Exception) -> Answer:
    def fail() -> Any:
        raise error

    return fail


async def test_what_a_hole_lacks_enters_as_backfilled(world: World) -> None:
    world.recover()
    await until(world.filled, deadline_s=10)
    (line,) = world.filled()
    assert [(trade["id"], "info" in trade) for trade in line.data] == [("2", False), ("3", False)]


@pytest.mark.parametrize(
    "answer",
    [
        failing(ccxt.BadSymbol("gone")),
        failing(KeyError("BTC/USDT")),
        lambda: [{"id": "4", "timestamp": None}, *trades(1, 2, 3)],
        lambda: [None],
        lambda: None,
    ],
    ids=["refused", "delisted", "without a time", "no trade", "nothing"],
)
async def test_an_odd_answer_is_told_and_the_next_hole_is_filled(world: World, answer: Answer) -> None:
    good, world.venue.trades = world.venue.trades, answer
    with capture_logs() as said:
        world.recover()
        await until(lambda: said, deadline_s=10)
    (failed,) = said
    assert (failed["event"], failed["channel"], failed["symbol"]) == ("feed.backfill_failed", "trades", "BTC-USDT")
    assert not world.filled()
    world.venue.trades = good
    world.recover()
    await until(world.filled, deadline_s=10)


async def test_nothing_of_a_feed_enters_once_it_is_captured_no_more(world: World) -> None:
    def removed_meanwhile() -> Any:
        if world.desk.trades in world.desk.writer.feeds:
            world.desk.writer.remove([world.desk.trades], "not wanted")
        return trades(1, 2, 3, 4)

    world.venue.trades = removed_meanwhile
    with capture_logs() as said:
        world.recover()
        await until(lambda: any(entry["event"] == "feed.backfill_failed" for entry in said), deadline_s=10)
    assert world.desk.lines()[-1].event == "stopped"
    world.desk.writer.add([TRADES], "wanted")
    world.venue.trades = lambda: trades(1, 2, 3, 4)
    world.recover()
    await until(world.filled, deadline_s=10)


async def test_a_book_is_not_fetched_again(world: World) -> None:
    world.recover(world.desk.writer.feed(BOOK))
    world.recover()
    await until(world.filled, deadline_s=10)
    assert {line.channel for line in world.filled()} == {"trades"}


async def test_candles_are_fetched_page_by_page_until_they_reach_the_end_of_the_hole(world: World) -> None:
    feed = world.desk.writer.feed(OHLCV)
    around = [orjson.dumps(CANDLES[minute : minute + 1]) for minute in (3, 1_203)]
    with capture_logs() as said:
        world.backfill.recovered(Recovery(feed, BEGIN_NS, *around))
        await until(lambda: said, deadline_s=10)
    assert [(entry["event"], entry["items"], entry["whole"]) for entry in said] == [("feed.backfilled", 1_200, True)]
    assert [row for line in world.filled() for row in line.data] == CANDLES[3:1_203]
    assert world.venue.asked < 8


async def test_the_candle_that_was_open_when_an_earlier_boot_ended_is_fetched_too(world: World) -> None:
    ended_ns = (CANDLES[3][0] + 40_000) * 1_000_000
    with capture_logs() as said:
        first = orjson.dumps(CANDLES[5:6])
        world.backfill.recovered(Recovery(world.desk.writer.feed(OHLCV), int(ended_ns), b"", first))
        await until(lambda: said, deadline_s=10)
    assert [(entry["event"], entry["items"], entry["whole"]) for entry in said] == [("feed.backfilled", 2, True)]


async def test_candles_that_the_venue_has_no_more_end_the_asking(world: World) -> None:
    around = [orjson.dumps([[BEGIN_MS + minute * MINUTE_MS, 1.0]]) for minute in (1_290, 1_400)]
    with capture_logs() as said:
        world.backfill.recovered(Recovery(world.desk.writer.feed(OHLCV), BEGIN_NS, *around))
        await until(lambda: said, deadline_s=10)
    assert [(entry["event"], entry["items"], entry["whole"]) for entry in said] == [("feed.backfilled", 10, False)]
    assert world.venue.asked == 2


async def test_of_more_holes_than_can_wait_the_oldest_are_left_out_and_told(world: World) -> None:
    with capture_logs() as said:
        for first in range(4, 4 + WAITING_MAX + 5):
            world.recover(before=first - 1, first=first)
        left_out = [entry for entry in said if entry["event"] == "feed.backfill_failed"]
    assert len(left_out) == 5
    assert {(entry["symbol"], entry["reason"]) for entry in left_out} == {
        ("BTC-USDT", "more holes wait than can be filled")
    }

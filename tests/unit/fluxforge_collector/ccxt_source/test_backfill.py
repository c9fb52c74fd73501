"""Backfill against a venue whose REST answers are put in by hand: what it says, what it enters, and that it goes on."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import ccxt
import orjson
import pytest
from structlog.testing import capture_logs

from fluxforge_collector.ccxt_source.backfill import Backfill
from fluxforge_collector.lane_feed import LaneFeed, Recovery
from tests.unit.fluxforge_collector.made import BEGIN_NS, BOOK, TRADES, Desk, Line, events, until

BEGIN_MS = BEGIN_NS // 1_000_000
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

    async def fetch_trades(self, *_: Any) -> Any:
        await asyncio.sleep(0)
        return self.trades()


class World:
    """A backfill that runs on a lane's writer."""

    def __init__(self) -> None:
        self.desk = Desk()
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

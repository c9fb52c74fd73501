"""The watchdog on a tapped exchange of ccxt's, with frames put in by hand and time passed by hand."""

import asyncio
from collections.abc import AsyncIterator, Collection, Iterator

import ccxt
import pytest

from fluxforge.domain.control import Control, Event
from fluxforge.domain.record import Feed
from fluxforge_collector.ccxt_source.connection import RenewalError, Scope
from fluxforge_collector.lane_feed import LaneFeed
from fluxforge_collector.silence.limits import NS_PER_S, SilenceLimits
from fluxforge_collector.watchdog import Watchdog
from tests.unit.fluxforge_collector.ccxt_source.test_tap import ETH, World
from tests.unit.fluxforge_collector.made import BOOK, Desk, until

GRACE_S = 12
"""What a new connection of two feeds is given."""


class Watched(World):
    """Two books on one connection, with ten seconds of silence allowed."""

    def __init__(self) -> None:
        super().__init__()
        self.scopes: list[Scope] = []
        self.dog = Watchdog(lambda: self.tap.standing, self.desk.writer, SilenceLimits(fixed_ns=10 * NS_PER_S))
        self.tap.opened(self.client)

    def subscribe(self) -> None:
        for feed in (BOOK, ETH):
            scope = self.scope(feed)
            scope.answered = True
            self.scopes.append(scope)
            self.watch(scope, [f"book:{feed.market}"])

    def subscribe_anew(self) -> None:
        for scope in self.scopes:
            for name in scope.hashes:
                self.client.future(name)

    def pass_s(self, seconds: int, *speaking: str) -> None:
        for _ in range(seconds):
            self.desk.clock.advance(NS_PER_S)
            for market in speaking:
                self.update(f"book:{market}")
            self.dog.look(1.0)

    def stalls(self) -> list[Control]:
        return [control for control in self.desk.controls if control.event is Event.STALLED]


@pytest.fixture
async def world() -> AsyncIterator[Watched]:
    made = Watched()
    made.subscribe()
    yield made
    for future in made.client.futures.values():
        future.cancel()
    await made.exchange.close()


async def test_a_silent_feed_is_named_from_its_last_record_and_its_watch_call_woken(world: Watched) -> None:
    world.pass_s(5, "BTC/USDT", "ETH/USDT")
    last_ns = world.desk.writer.feed(BOOK).last_ns
    waiting = world.client.futures["book:BTC/USDT"]
    world.pass_s(11, "ETH/USDT")
    (stalled,) = world.stalls()
    assert (stalled.scope, stalled.from_ns) == (world.desk.writer.feed(BOOK).key, last_ns)
    assert stalled.detail == {"silent_ms": 11_000, "limit_ms": 10_000, "around": 0, "remedy": "resubscribe"}
    assert stalled.reason == "feed: nothing for 11.0 s, allowed 10.0 s"
    error = waiting.exception()
    assert isinstance(error, RenewalError)
    assert error.markets == ("BTC/USDT",)
    assert not world.client.futures["book:ETH/USDT"].done()


async def test_the_hole_of_a_stall_ends_with_the_next_record(world: Watched) -> None:
    world.pass_s(5, "BTC/USDT", "ETH/USDT")
    world.pass_s(11, "ETH/USDT")
    world.pass_s(1, "BTC/USDT", "ETH/USDT")
    (stalled,) = world.stalls()
    (closing,) = [control for control in world.desk.controls if control.hole == stalled.hole and control.to_ns]
    assert (closing.event, closing.from_ns) == (Event.RESYNCED, stalled.from_ns)
    assert world.desk.writer.feed(BOOK).last_ns >= (closing.to_ns or 0) > (closing.from_ns or 0) + 11 * NS_PER_S


async def test_a_book_that_only_answers_its_remedy_is_unsound_again_from_that_answer_on(world: Watched) -> None:
    world.pass_s(5, "BTC/USDT", "ETH/USDT")
    world.pass_s(11, "ETH/USDT")
    world.pass_s(1, "BTC/USDT", "ETH/USDT")
    book = world.desk.writer.feed(BOOK)
    answered_ns = book.last_ns
    world.subscribe_anew()
    world.pass_s(12, "ETH/USDT")
    first, again = world.stalls()
    assert first.hole != again.hole
    assert (again.scope, again.from_ns, book.unsound) == (book.key, answered_ns, True)
    assert [stalled.detail and stalled.detail["remedy"] for stalled in (first, again)] == ["resubscribe", "reconnect"]


async def test_what_is_fetched_after_a_hole_is_no_speech_of_its_feed(world: Watched) -> None:
    world.pass_s(5, "BTC/USDT", "ETH/USDT")
    writer = world.desk.writer
    for _ in range(11):
        world.pass_s(1, "ETH/USDT")
        writer.record(writer.feed(BOOK), b"[]", exchange_ms=None, at_ns=writer.now(), conn=0, backfill=True)
    (stalled,) = world.stalls()
    assert stalled.scope == writer.feed(BOOK).key


async def test_a_silent_connection_is_replaced_and_all_its_feeds_are_named(world: Watched) -> None:
    world.pass_s(5, "BTC/USDT", "ETH/USDT")
    last_ns = world.desk.writer.feed(ETH).last_ns
    waiting = [world.client.futures[f"book:{market}"] for market in ("BTC/USDT", "ETH/USDT")]
    world.pass_s(11)
    (stalled,) = world.stalls()
    assert len(stalled.feeds) == 2
    assert stalled.from_ns == last_ns
    assert [type(future.exception()) for future in waiting] == [ccxt.RequestTimeout] * 2
    assert world.desk.controls[-1].event is Event.DISCONNECTED
    assert world.tap.standing == []


async def test_a_feed_that_never_spoke_is_stalled_from_when_it_was_noticed(world: Watched) -> None:
    world.pass_s(10 + GRACE_S + 3, "ETH/USDT")
    (stalled,) = world.stalls()
    assert stalled.scope == world.desk.writer.feed(BOOK).key
    assert [stalled.from_ns] == [line.capture_ns for line in world.desk.lines() if line.event == "stalled"]


async def test_time_in_which_the_process_itself_stood_still_is_no_silence(world: Watched) -> None:
    world.pass_s(5, "BTC/USDT", "ETH/USDT")
    world.dog.look(3_600.0)
    assert world.stalls() == []


async def test_a_step_of_the_wall_clock_is_no_silence(world: Watched) -> None:
    world.pass_s(5, "BTC/USDT", "ETH/USDT")
    world.desk.clock.step_wall(3_600 * NS_PER_S)
    world.pass_s(5)
    assert world.stalls() == []


async def test_a_feed_whose_connection_is_away_is_not_judged(world: Watched) -> None:
    world.pass_s(5, "BTC/USDT", "ETH/USDT")
    world.tap.lost(world.client, "closed")
    world.pass_s(60)
    assert world.stalls() == []


class Crowd:
    """A connection of many feeds, which says what was restarted."""

    name = "wss://venue"
    number = 1

    def __init__(self, carried: list[LaneFeed]) -> None:
        self.carried = carried
        self.restarted: set[LaneFeed] = set()

    def reconnect(self, _: str) -> None:
        self.restarted |= set(self.carried)

    def resubscribe(self, feeds: Collection[LaneFeed], _: str) -> None:
        self.restarted |= set(feeds)


def test_a_look_at_many_feeds_pauses_and_misses_none_of_them() -> None:
    feeds = tuple(Feed("ccxt", "binance", "trades", f"M{n}/USDT") for n in range(1_000))
    desk = Desk(feeds=feeds)
    crowd = Crowd([desk.writer.feed(feed) for feed in feeds])
    dog = Watchdog(lambda: [crowd], desk.writer, SilenceLimits(fixed_ns=10 * NS_PER_S))
    silent = set(crowd.carried[::100])
    for second in range(20):
        for feed in crowd.carried:
            feed.seq += second < 5 or feed not in silent
        pauses = len(list(dog.looking(1.0)))
        assert pauses > 3 or second == 0
    assert crowd.restarted == silent


async def test_it_looks_by_itself_until_cancelled(world: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    looks: list[float] = []

    def looking(passed_s: float) -> Iterator[None]:
        looks.append(passed_s)
        return iter([None, None])

    monkeypatch.setattr(world.dog, "looking", looking)
    looking = asyncio.create_task(world.dog.run())
    await until(lambda: len(looks) > 1)
    assert min(looks) > 0.2
    looking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await looking

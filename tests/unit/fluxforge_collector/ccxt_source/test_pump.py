"""A pump over the tap on ccxt's own client, with a watch call that is made by hand."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import ccxt
import pytest
from ccxt.async_support.base.ws.future import Future

from fluxforge.domain.control import Event
from fluxforge_collector.ccxt_source.feeds import Subscription
from fluxforge_collector.ccxt_source.pacing import UNLIMITED
from fluxforge_collector.ccxt_source.pump import Pump
from fluxforge_collector.ccxt_source.pumps import Pumps
from fluxforge_collector.ccxt_source.tap import SCOPE, SubscriptionRefusedError
from tests.unit.fluxforge_collector.ccxt_source.test_tap import ETH, World
from tests.unit.fluxforge_collector.made import BOOK, events, until


async def no_wait() -> None:
    return


class Venue(World):
    """A world whose exchange can be asked for lists of books; `calls` are the markets it was asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[list[str]] = []
        self.exchange.watchOrderBookForSymbols = self._watch

    async def _watch(self, markets: list[str]) -> Any:
        self.calls.append(markets)
        scope = SCOPE.get()
        assert scope is not None
        hashes = [f"book:{market}" for market in markets]
        self.tap.learn(scope, hashes, hashes, {"op": "subscribe", "args": hashes})
        self.tap.carry(scope, self.client)
        return await Future.race([self.client.future(name) for name in hashes])

    def pump(self, started: list[Subscription]) -> Pump:
        return Pump(
            exchange=self.exchange,
            tap=self.tap,
            sink=self.desk.writer,
            subscription=Subscription("watchOrderBookForSymbols", takes_list=True, feeds=(BOOK, ETH)),
            chance=lambda: 0.0,
            turn=no_wait,
            start=started.append,
        )


@pytest.fixture
async def venue() -> AsyncIterator[Venue]:
    made = Venue()
    yield made
    for future in made.client.futures.values():
        future.cancel()
    await made.exchange.close()


async def test_a_list_that_shrinks_before_it_is_answered_is_not_asked_for_again(venue: Venue) -> None:
    pump = venue.pump([])
    running = asyncio.ensure_future(pump.run())
    await until(lambda: venue.calls)
    pump.let_go([venue.desk.writer.feed(ETH)])
    venue.update("book:BTC/USDT")
    await until(lambda: any(one.event is Event.SUBSCRIBED for one in venue.desk.controls))
    for _ in range(5):
        await asyncio.sleep(0)
    assert venue.calls == [["BTC/USDT", "ETH/USDT"]]
    assert not running.done()
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def test_a_feed_that_was_taken_back_is_kept_when_its_list_is_split(venue: Venue) -> None:
    started: list[Subscription] = []
    pump = venue.pump(started)
    running = asyncio.ensure_future(pump.run())
    await until(lambda: venue.calls)
    pump.let_go([venue.desk.writer.feed(ETH)])
    pump.take_back(ETH)
    venue.client.reject(SubscriptionRefusedError("no such pair", ("BTC/USDT",)), "book:BTC/USDT")
    async with asyncio.timeout(10):
        await running
    assert [one.feeds for one in started] == [(BOOK,), (ETH,)]


async def test_what_is_let_go_asks_for_nothing_while_the_venue_is_told_of_another(venue: Venue) -> None:
    sent: list[Any] = []
    may_go = asyncio.Event()

    async def send(message: Any) -> None:
        sent.append(message)
        await may_go.wait()

    venue.client.send = send
    async with asyncio.TaskGroup() as tasks:
        pumps = Pumps(
            exchange=venue.exchange,
            tap=venue.tap,
            sink=venue.desk.writer,
            tasks=tasks,
            pace=UNLIMITED,
            chance=lambda: 0.0,
            events=events(),
        )
        for feed in (BOOK, ETH):
            pumps.start(Subscription("watchOrderBookForSymbols", takes_list=True, feeds=(feed,)))
        await until(lambda: len(venue.calls) == 2)
        dropping = tasks.create_task(pumps.drop([venue.desk.writer.feed(feed) for feed in (BOOK, ETH)]))
        await until(lambda: sent)
        venue.client.reject(ccxt.NetworkError("the connection is going"), "book:ETH/USDT")
        for _ in range(5):
            await asyncio.sleep(0)
        may_go.set()
        await dropping
    assert venue.calls == [["BTC/USDT"], ["ETH/USDT"]]
    assert [message["args"] for message in sent] == [["book:BTC/USDT"], ["book:ETH/USDT"]]

"""A pump over the tap on ccxt's own client, with a watch call that is made by hand."""

import asyncio
from typing import Any

from ccxt.async_support.base.ws.future import Future

from fluxforge.domain.control import Event
from fluxforge_collector.ccxt_source.feeds import Subscription
from fluxforge_collector.ccxt_source.pump import Pump
from fluxforge_collector.ccxt_source.tap import SCOPE
from tests.unit.fluxforge_collector.ccxt_source.test_tap import ETH, World
from tests.unit.fluxforge_collector.made import BOOK, until


async def no_wait() -> None:
    return


async def test_a_list_that_shrinks_before_it_is_answered_is_not_asked_for_again() -> None:
    world = World()
    calls: list[list[str]] = []

    async def watch(markets: list[str]) -> Any:
        calls.append(markets)
        scope = SCOPE.get()
        assert scope is not None
        world.watch(scope, [f"book:{market}" for market in markets])
        return await Future.race([world.client.future(f"book:{market}") for market in markets])

    world.exchange.watchOrderBookForSymbols = watch
    pump = Pump(
        exchange=world.exchange,
        tap=world.tap,
        sink=world.desk.writer,
        subscription=Subscription("watchOrderBookForSymbols", takes_list=True, feeds=(BOOK, ETH)),
        chance=lambda: 0.0,
        turn=no_wait,
        start=lambda _: None,
    )
    running = asyncio.ensure_future(pump.run())
    await until(lambda: calls)
    pump.let_go([world.desk.writer.feed(ETH)])
    world.update("book:BTC/USDT")
    await until(lambda: any(one.event is Event.SUBSCRIBED for one in world.desk.controls))
    for _ in range(5):
        await asyncio.sleep(0)
    assert calls == [["BTC/USDT", "ETH/USDT"]]
    assert not running.done()
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    for future in world.client.futures.values():
        future.cancel()
    await world.exchange.close()

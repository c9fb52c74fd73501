"""The pumps of a running source: started at the venue's pace, and ended or shrunk while the others go on."""

import asyncio
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, Final

from fluxforge.domain.record import Feed
from fluxforge_collector.ccxt_source.connection import Released
from fluxforge_collector.ccxt_source.feeds import Subscription
from fluxforge_collector.ccxt_source.pacing import Pace, Turns
from fluxforge_collector.ccxt_source.pump import Pump
from fluxforge_collector.ccxt_source.tap import Tap
from fluxforge_collector.events import CollectorEvents
from fluxforge_collector.lane_feed import LaneFeed
from fluxforge_collector.source import Sink

_SHARED: Final = frozenset({"ticker", "bidsasks", "mark_price", "funding_rate"})
"""Channels that several venues bring by one subscription: it is not given up while one of them is wanted."""


class Pumps:
    """The pumps of one exchange, running in `tasks`."""

    def __init__(
        self,
        *,
        exchange: Any,
        tap: Tap,
        sink: Sink,
        tasks: asyncio.TaskGroup,
        pace: Pace,
        chance: Callable[[], float],
        events: CollectorEvents,
    ) -> None:
        self._exchange = exchange
        self._tap = tap
        self._sink = sink
        self._tasks = tasks
        self._turns = Turns(pace)
        self._opened = 0
        self._chance = chance
        self._events = events
        self._running: dict[Pump, asyncio.Task[None]] = {}

    def start(self, subscription: Subscription) -> None:
        """Have a subscription kept."""
        pump = Pump(
            exchange=self._exchange,
            tap=self._tap,
            sink=self._sink,
            subscription=subscription,
            chance=self._chance,
            turn=self._turn,
            start=self.start,
        )
        task = self._running[pump] = self._tasks.create_task(pump.run())
        task.add_done_callback(lambda _: self._running.pop(pump))

    async def drop(self, feeds: Collection[LaneFeed]) -> None:
        """Have feeds kept no more, and tell the venue so; nothing of theirs comes from the first wait on."""
        let_go = {pump: pump.let_go(feeds) for pump in self._running}
        for pump, released in let_go.items():
            if released and not pump.feeds:
                self._running[pump].cancel()  # all before the first wait: emptied, one would ask for no markets
        for pump, released in let_go.items():
            ending = {market: one for market, one in released.items() if self._is_alone(market)}
            if ending:
                await self._end(pump, ending)

    def take_back(self, method: str, feeds: Iterable[Feed]) -> list[Feed]:
        """Give feeds to the pumps to which they come anyway; return the rest."""
        rest = []
        for feed in feeds:
            market = feed.market or ""
            pump = next((one for one in self._running if one.still_brings(method, market)), None)
            if pump is None:
                rest.append(feed)
            else:
                pump.take_back(feed)
        return rest

    def _is_alone(self, market: str) -> bool:
        kept = {feed.key.channel for pump in self._running for feed in pump.feeds if feed.market == market}
        return kept.isdisjoint(_SHARED)

    async def _end(self, pump: Pump, released: Mapping[str, Released]) -> None:
        await self._turn()
        try:
            await pump.end(released)
        except Exception as error:  # noqa: BLE001 - the connection is going, and what was let go with it
            self._events.unwatch_failed(list(released), error)

    async def _turn(self) -> None:
        if self._tap.opened_ever != self._opened:
            self._opened = self._tap.opened_ever
            self._turns.renew()
        wait_s = self._turns.wait_s(asyncio.get_running_loop().time())
        if wait_s:
            await asyncio.sleep(wait_s)

"""The source of Interactive Brokers: sessions with TWS or the Gateway, one after another for ever, into a lane."""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from itertools import count
from typing import Final, Self

from typing_extensions import override

from fluxforge.domain.control import Event
from fluxforge.domain.record import Feed
from fluxforge.runtime.settings.ibkr import IbkrSettings
from fluxforge_collector.events import CollectorEvents
from fluxforge_collector.ibkr_source.contracts import Subscription, plan
from fluxforge_collector.ibkr_source.inquiry import contracts_of
from fluxforge_collector.ibkr_source.link import BACKOFF, GatewayUnavailableError
from fluxforge_collector.ibkr_source.pace import Pace, Waits
from fluxforge_collector.ibkr_source.session import Session
from fluxforge_collector.silence.limits import SilenceLimits
from fluxforge_collector.source import Sink, Source
from fluxforge_collector.watchdog import Watchdog

_STEADY_S: Final = 60.0
"""A session that stood for so long fails for the first time when it fails."""


class IbkrSource(Source):
    """The contracts of one configuration, all on one session. TWS restarts every day, so sessions end."""

    def __init__(
        self,
        settings: IbkrSettings,
        subscriptions: Sequence[Subscription],
        *,
        silence: SilenceLimits,
        chance: Callable[[], float],
        events: CollectorEvents,
        waits: Waits,
    ) -> None:
        self._settings = settings
        self._subscriptions = subscriptions
        self._silence = silence
        self._chance = chance
        self._events = events
        self._waits = waits
        self._pace = Pace(waits.tick_by_tick_s)
        self._standing: list[Session] = []

    @classmethod
    async def prepare(
        cls,
        settings: IbkrSettings,
        *,
        silence: SilenceLimits,
        chance: Callable[[], float],
        events: CollectorEvents,
        waits: Waits | None = None,
    ) -> Self:
        """Ask TWS what every contract is and plan the subscriptions; TWS away is waited for.

        Raises:
            ConfigurationError: Contracts that TWS does not have or has several of, all of them named.
        """
        contracts = await contracts_of(settings, chance=chance, events=events)
        subscriptions = plan(settings.channels, contracts)
        return cls(settings, subscriptions, silence=silence, chance=chance, events=events, waits=waits or Waits())

    @property
    @override
    def feeds(self) -> Sequence[Feed]:
        return tuple(subscription.feed for subscription in self._subscriptions)

    @property
    @override
    def connections(self) -> int:
        return len(self._standing)

    @override
    async def run(self, sink: Sink) -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._hold(sink))
            tasks.create_task(Watchdog(lambda: self._standing, sink, self._silence).run())

    @override
    async def close(self) -> None:
        for session in self._standing:
            session.close()
        self._standing.clear()

    async def _hold(self, sink: Sink) -> None:
        """Have a session, one after another, for ever."""
        loop = asyncio.get_running_loop()
        numbers = count(1)
        failures = 0
        while True:
            session = self._new_session(sink, numbers)
            began_s = loop.time()
            try:
                await session.open()
            except GatewayUnavailableError as error:
                failures += 1
                delay_s = BACKOFF.delay_s(failures, self._chance)
                self._events.gateway_awaited(error, retry_s=delay_s)
                await asyncio.sleep(delay_s)
                continue
            self._standing.append(session)
            try:
                reason = await session.run()
            finally:
                await self.close()
            feeds = [sink.feed(feed) for feed in self.feeds]
            sink.note(Event.DISCONNECTED, feeds, reason=reason, conn=session.number)
            failures = 1 if loop.time() - began_s > _STEADY_S else failures + 1
            await asyncio.sleep(BACKOFF.delay_s(failures, self._chance))

    def _new_session(self, sink: Sink, numbers: Iterator[int]) -> Session:
        return Session(
            self._settings,
            self._subscriptions,
            sink=sink,
            events=self._events,
            chance=self._chance,
            pace=self._pace,
            waits=self._waits,
            numbers=numbers,
        )

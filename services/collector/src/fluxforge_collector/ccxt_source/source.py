"""The ccxt source: the feeds of one exchange shard, from checking what is configured to closing the sockets."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, Final, Self

from typing_extensions import override

from fluxforge.domain.record import Feed
from fluxforge_collector.ccxt_source.exchange import load_markets, open_exchange
from fluxforge_collector.ccxt_source.feeds import Subscription, left_out, plan
from fluxforge_collector.ccxt_source.pump import Pump
from fluxforge_collector.ccxt_source.tap import Tap
from fluxforge_collector.events import CollectorEvents
from fluxforge_collector.settings import CollectorSettings
from fluxforge_collector.source import Sink, Source

_CLOSE_S: Final = 3.0


class CcxtSource(Source):
    """One exchange, planned and not yet connected; made by `prepare`."""

    def __init__(
        self, exchange: Any, subscriptions: Sequence[Subscription], *, depth: int, chance: Callable[[], float]
    ) -> None:
        self._exchange = exchange
        self._subscriptions = subscriptions
        self._depth = depth
        self._chance = chance
        self._tap: Tap | None = None

    @classmethod
    async def prepare(
        cls, settings: CollectorSettings, *, chance: Callable[[], float], events: CollectorEvents
    ) -> Self:
        """Load the markets and plan the subscriptions of this shard.

        Raises:
            ConfigurationError: An exchange, channel or market that does not exist, named with the nearest known one.
        """
        venue = settings.venue
        exchange = open_exchange(venue)
        try:
            await load_markets(exchange, chance, events)
            refused = left_out(venue, exchange.markets)
            if refused:
                events.markets_left_out(refused)
            subscriptions = plan(
                venue, has=exchange.has, markets=exchange.markets, shard=settings.shard, shards=settings.shards
            )
        except BaseException:
            await exchange.close()
            raise
        return cls(exchange, subscriptions, depth=venue.depth, chance=chance)

    @property
    @override
    def feeds(self) -> Sequence[Feed]:
        return tuple(feed for subscription in self._subscriptions for feed in subscription.feeds)

    @property
    @override
    def connections(self) -> int:
        return self._tap.open_connections if self._tap else 0

    @override
    async def run(self, sink: Sink) -> None:
        tap = self._tap = self._exchange.tap = Tap(sink, self._depth)
        async with asyncio.TaskGroup() as pumps:

            def start(subscription: Subscription) -> None:
                pump = Pump(
                    exchange=self._exchange,
                    tap=tap,
                    sink=sink,
                    subscription=subscription,
                    chance=self._chance,
                    start=start,
                )
                pumps.create_task(pump.run())

            for subscription in self._subscriptions:
                start(subscription)

    @override
    async def close(self) -> None:
        if self._tap:
            self._tap.closing = True
        try:
            async with asyncio.timeout(_CLOSE_S):
                await self._exchange.close()
        except TimeoutError:
            return  # a venue that does not answer our close; the process ends soon

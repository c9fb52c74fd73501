"""The ccxt source: the feeds of one exchange shard, from checking what is configured to closing the sockets."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final, Self

import ccxt
from typing_extensions import override

from fluxforge.domain.errors import ConfigurationError, UsageError
from fluxforge.domain.record import Feed
from fluxforge.runtime.settings import Settings
from fluxforge.runtime.settings.lanes import CCXT
from fluxforge_collector.ccxt_source.backfill import Backfill
from fluxforge_collector.ccxt_source.exchange import (
    fetch_listing,
    install_listing,
    load_markets,
    narrow_markets,
    open_exchange,
)
from fluxforge_collector.ccxt_source.feeds import check_timeframe, grouped, left_out, listed, wanted_feeds
from fluxforge_collector.ccxt_source.pacing import UNLIMITED, pace_of
from fluxforge_collector.ccxt_source.pumps import Pumps
from fluxforge_collector.ccxt_source.settings import VenueSettings, venue_settings
from fluxforge_collector.ccxt_source.tap import Tap
from fluxforge_collector.ccxt_source.wire import Wire
from fluxforge_collector.ccxt_source.wire_port import WirePort
from fluxforge_collector.continuity.catalog import detector_of
from fluxforge_collector.events import CollectorEvents
from fluxforge_collector.settings import CollectorSettings
from fluxforge_collector.source import Sink, Source
from fluxforge_collector.watchdog import Watchdog
from fluxforge_collector.wire_records import wire_feed

_CLOSE_S: Final = 3.0
_RETRY_S: Final = 60.0
_LISTED: Final = "the venue lists it"
_UNLISTED: Final = "the venue lists it no more"
_CONFIGURED: Final = "the configuration asks for it"
_UNCONFIGURED: Final = "the configuration asks for it no more"


class CcxtSource(Source):
    """One exchange, planned and not yet connected; made by `prepare`."""

    def __init__(
        self,
        exchange: Any,
        venue: VenueSettings,
        settings: CollectorSettings,
        *,
        chance: Callable[[], float],
        events: CollectorEvents,
        wire: WirePort | None = None,
    ) -> None:
        self._exchange = exchange
        self._venue = venue
        self._settings = settings
        self._chance = chance
        self._wire = wire
        self._events = events
        self._pace = UNLIMITED if venue.via is not None else pace_of(venue.exchange)
        self._wanted = self._feeds_of(venue, exchange.markets)
        self._changing = asyncio.Lock()
        self._tap: Tap | None = None
        self._sink: Sink | None = None
        self._pumps: Pumps | None = None

    @classmethod
    async def prepare(
        cls, tree: Settings, settings: CollectorSettings, *, chance: Callable[[], float], events: CollectorEvents
    ) -> Self:
        """Load the markets and plan the subscriptions of this shard.

        Raises:
            ConfigurationError: An exchange, channel or market that does not exist, named with the nearest known one.
        """
        venue = venue_settings(tree, settings.lane.exchange)
        exchange = open_exchange(venue)
        wire = exchange.wire = Wire(venue, exchange) if settings.capture_wire else None
        try:
            await load_markets(exchange, chance, events)
            check_timeframe(venue, exchange.timeframes)
            return cls(exchange, venue, settings, chance=chance, events=events, wire=wire)
        except BaseException:
            await exchange.close()
            raise

    @property
    @override
    def feeds(self) -> Sequence[Feed]:
        wanted = (feed for feeds in self._wanted.values() for feed in feeds)
        return (*wanted, *((wire_feed(CCXT, self._exchange.id),) if self._wire else ()))

    @property
    @override
    def connections(self) -> int:
        return self._tap.open_connections if self._tap else 0

    @override
    async def run(self, sink: Sink) -> None:
        self._catch_up(sink)
        if self._wire:
            self._wire.begin(sink, sink.feed(wire_feed(CCXT, self._exchange.id)), self._wanted)
        tap = self._tap = self._exchange.tap = Tap(
            sink, self._venue.depth, names=self._names, detector=lambda: detector_of(self._exchange.id)
        )
        tap.wire = self._wire
        async with asyncio.TaskGroup() as tasks:
            self._pumps = Pumps(
                exchange=self._exchange,
                tap=tap,
                sink=sink,
                tasks=tasks,
                pace=self._pace,
                chance=self._chance,
                events=self._events,
            )
            self._start(self._pumps, self._wanted)
            self._sink = sink
            tasks.create_task(Watchdog(lambda: tap.standing, sink, self._settings.silence).run())
            if self._settings.backfills:
                backfill = Backfill(self._exchange, sink, self._events, self._chance)
                sink.on_recovered(backfill.recovered)
                tasks.create_task(backfill.run())
            if self._settings.refresh_s:
                tasks.create_task(self._refresh_for_ever(self._settings.refresh_s))

    def _catch_up(self, sink: Sink) -> None:
        """Have the lane follow what was reloaded since it was opened with the feeds that were wanted then."""
        wanted = {(feed.channel, feed.symbol): feed for feed in self.feeds}
        there = {feed.slot: feed for feed in sink.feeds}
        gone = [feed for slot, feed in there.items() if slot not in wanted]
        new = [feed for slot, feed in wanted.items() if slot not in there]
        if gone:
            sink.remove(gone, _UNCONFIGURED)
        if new:
            sink.add(new, _CONFIGURED)

    @override
    async def reload(self, tree: Settings) -> None:
        venue = replace(self._venue, channels=venue_settings(tree, self._venue.exchange).channels)
        check_timeframe(venue, self._exchange.timeframes)
        async with self._changing:
            narrow_markets(self._exchange, venue)
            try:
                listing = await fetch_listing(self._exchange)
                wanted = self._feeds_of(venue, _by_symbol(listing))
                await install_listing(self._exchange, listing)
                self._venue = venue
            except ccxt.BaseError as error:
                raise ConfigurationError(f"{venue.exchange}: markets cannot be loaded now: {error}") from error
            finally:
                narrow_markets(self._exchange, self._venue)
            await self._change(wanted, _CONFIGURED, _UNCONFIGURED)

    async def refresh(self) -> None:
        """Ask for the listings anew; capture what is new of what is wanted, and give up what is listed no more.

        Raises:
            ccxt.BaseError: The exchange does not answer, or nothing that ccxt can read.
            UsageError: Nothing of what is wanted is listed: believed to be the exchange's mistake.
        """
        async with self._changing:
            listing = await fetch_listing(self._exchange)
            markets = _by_symbol(listing)
            wanted = self._feeds_of(listed(self._venue, markets), markets)
            await install_listing(self._exchange, listing)
            await self._change(wanted, _LISTED, _UNLISTED)

    async def _refresh_for_ever(self, every_s: float) -> None:
        wait_s = every_s
        while True:
            await asyncio.sleep(wait_s)
            wait_s = every_s
            try:
                await self.refresh()
            except (ccxt.BaseError, UsageError) as error:
                wait_s = min(every_s, _RETRY_S)
                self._events.markets_load_failed(error, retry_s=wait_s)

    async def _change(self, wanted: Mapping[str, Sequence[Feed]], added: str, removed: str) -> None:
        """Go over to other feeds, one by one: what was wanted before and still is knows nothing of it."""
        before = [feed for feeds in self._wanted.values() for feed in feeds]
        after = {feed for feeds in wanted.values() for feed in feeds}
        gone = [feed for feed in before if feed not in after]
        new = {method: [feed for feed in feeds if feed not in before] for method, feeds in wanted.items()}
        self._wanted = {method: list(feeds) for method, feeds in wanted.items()}
        sink, pumps = self._sink, self._pumps
        if sink is not None and pumps is not None and gone:
            lane_feeds = [sink.feed(feed) for feed in gone]
            sink.remove(lane_feeds, removed)
            await pumps.drop(lane_feeds)
        entered = [feed for feeds in new.values() for feed in feeds]
        if sink is not None and pumps is not None and entered:
            sink.add(entered, added)
            self._start(pumps, {method: pumps.take_back(method, feeds) for method, feeds in new.items()})
        self._events.feeds_changed(added=len(entered), removed=len(gone))

    def _start(self, pumps: Pumps, feeds: Mapping[str, Sequence[Feed]]) -> None:
        for one in grouped(self._venue, feeds, has=self._exchange.has, markets_max=self._pace.markets_max):
            pumps.start(one)

    def _feeds_of(self, venue: VenueSettings, markets: Mapping[str, Mapping[str, Any]]) -> dict[str, list[Feed]]:
        refused = left_out(venue, markets)
        if refused:
            self._events.markets_left_out(refused)
        settings = self._settings
        return wanted_feeds(
            venue, has=self._exchange.has, markets=markets, shard=settings.shard, shards=settings.shards
        )

    def _names(self, market: str) -> Sequence[str]:
        listed_as = self._exchange.markets.get(market)
        if listed_as is None:
            return (market,)
        id_ = str(listed_as["id"])
        return id_, id_.upper(), market

    @override
    async def close(self) -> None:
        if self._tap:
            self._tap.closing = True
        try:
            async with asyncio.timeout(_CLOSE_S):
                await self._exchange.close()
        except TimeoutError:
            return  # a venue that does not answer our close; the process ends soon


def _by_symbol(listing: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {market["symbol"]: market for market in listing}

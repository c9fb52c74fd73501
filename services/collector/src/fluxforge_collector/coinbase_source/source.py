"""The Coinbase source: the feeds of one shard, from checking what is configured to closing the sockets."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from itertools import count
from typing import Final, Self

import aiohttp
from typing_extensions import override

from fluxforge.domain.backoff import Backoff
from fluxforge.domain.record import Feed
from fluxforge.runtime.settings import Settings
from fluxforge_collector.coinbase_source.connection import Connection, Dialling, retry_after_s
from fluxforge_collector.coinbase_source.pace import pace_of
from fluxforge_collector.coinbase_source.plan import Group, plan, unusable
from fluxforge_collector.coinbase_source.products import Product, ProductsUnavailableError, products_of
from fluxforge_collector.coinbase_source.settings import CoinbaseVenue, venue_settings
from fluxforge_collector.coinbase_source.signing import Signer, signer_of
from fluxforge_collector.events import CollectorEvents
from fluxforge_collector.settings import CollectorSettings
from fluxforge_collector.silence.limits import SilenceLimits
from fluxforge_collector.source import Sink, Source
from fluxforge_collector.via import lead_via
from fluxforge_collector.watchdog import Watchdog

SOCKET: Final = "wss://advanced-trade-ws.coinbase.com"
PRODUCTS: Final = "https://api.coinbase.com/api/v3/brokerage/market/products"
_REST_S: Final = 10.0
_LOAD_BACKOFF: Final = Backoff(base_s=0.5, cap_s=30.0)
_OK: Final = 200
_CLOSE_S: Final = 3.0


class CoinbaseSource(Source):
    """Coinbase, planned and not yet connected; made by `prepare`."""

    def __init__(
        self,
        session: aiohttp.ClientSession,
        groups: Sequence[Group],
        venue: CoinbaseVenue,
        *,
        shards: int,
        signer: Signer | None,
        silence: SilenceLimits,
        chance: Callable[[], float],
        events: CollectorEvents,
    ) -> None:
        self._session = session
        self._groups = groups
        self._venue = venue
        self._shards = shards
        self._signer = signer
        self._silence = silence
        self._chance = chance
        self._events = events
        self._connections: Sequence[Connection] = ()

    @classmethod
    async def prepare(
        cls, tree: Settings, settings: CollectorSettings, *, chance: Callable[[], float], events: CollectorEvents
    ) -> Self:
        """Load the products and plan the connections of this shard.

        Raises:
            ConfigurationError: A key that is none, or a market that Coinbase does not list, with the nearest known one.
        """
        venue = venue_settings(tree)
        signer = signer_of(venue.api_key, venue.api_secret)
        session = aiohttp.ClientSession()
        try:
            products = await _load(session, _address(PRODUCTS, venue), chance, events)
            if refused := unusable(venue.channels, products):
                events.markets_left_out(refused)
            groups = plan(
                venue.channels,
                products,
                shard=settings.shard,
                shards=settings.shards,
                products_per_connection=venue.products_per_connection,
            )
        except BaseException:
            await session.close()
            raise
        return cls(
            session,
            groups,
            venue,
            shards=settings.shards,
            signer=signer,
            silence=settings.silence,
            chance=chance,
            events=events,
        )

    @property
    @override
    def feeds(self) -> Sequence[Feed]:
        return tuple(feed for group in self._groups for feed in group.feeds)

    @property
    @override
    def connections(self) -> int:
        return len(self._standing())

    @override
    async def run(self, sink: Sink) -> None:
        dialling = Dialling(
            session=self._session,
            url=_address(SOCKET, self._venue),
            depth=self._venue.depth,
            signer=self._signer,
            pace=pace_of(self._shards),
            numbers=count(1),
            chance=self._chance,
            events=self._events,
        )
        self._connections = [
            Connection(f"{SOCKET}#{index}", group, sink, dialling) for index, group in enumerate(self._groups)
        ]
        async with asyncio.TaskGroup() as tasks:
            for connection in self._connections:
                tasks.create_task(connection.run())
            tasks.create_task(Watchdog(self._standing, sink, self._silence).run())

    def _standing(self) -> list[Connection]:
        return [connection for connection in self._connections if connection.number > 0]

    @override
    async def close(self) -> None:
        try:
            async with asyncio.timeout(_CLOSE_S):
                await self._session.close()
        except TimeoutError:
            return  # a venue that does not answer our close; the process ends soon


async def _load(
    session: aiohttp.ClientSession, url: str, chance: Callable[[], float], events: CollectorEvents
) -> Mapping[str, Product]:
    """Return the products; a venue that does not answer is asked until it does."""
    failures = 0
    while True:
        try:
            return products_of(await _reply(session, url))
        except (ProductsUnavailableError, aiohttp.ClientError, OSError) as error:
            failures += 1
            asked_s = error.retry_after_s if isinstance(error, ProductsUnavailableError) else 0.0
            delay_s = _LOAD_BACKOFF.delay_s(failures, chance, retry_after_s=asked_s)
            events.markets_load_failed(error, retry_s=delay_s)
            await asyncio.sleep(delay_s)


async def _reply(session: aiohttp.ClientSession, url: str) -> bytes:
    async with session.get(url, timeout=aiohttp.ClientTimeout(total=_REST_S)) as response:
        body = await response.read()
    if response.status != _OK:
        text = body[:80].decode(errors="replace")
        raise ProductsUnavailableError(
            f"status {response.status}: {text}", retry_after_s=retry_after_s(response.headers)
        )
    return body


def _address(url: str, venue: CoinbaseVenue) -> str:
    return url if venue.via is None else str(lead_via(url, venue.via))

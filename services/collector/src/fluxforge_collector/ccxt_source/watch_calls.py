"""Watch calls: which message hash is which feed, which connections carry a call, and how it ends, whole or in part."""

from collections.abc import Awaitable, Collection, Mapping, Sequence
from itertools import count
from typing import Any, Final, cast

import ccxt
from ccxt.async_support.base.ws.future import Future

from fluxforge_collector.ccxt_source.connection import Claim, Connection, Released, Scope
from fluxforge_collector.ccxt_source.messages import is_same, unsubscribing, without
from fluxforge_collector.ccxt_source.sequences import Names
from fluxforge_collector.ccxt_source.unify import encoder
from fluxforge_collector.lane_feed import LaneFeed

_RESYNC: Final = "resync"
"""What ccxt puts in the place of a subscription that it has yet to end before it can ask again."""
_REQUESTS_FROM: Final = 900_000_000
"""Numbers of our own messages begin beyond those that ccxt counts up to."""


class IndistinctHashesError(ccxt.ExchangeError):  # type: ignore[misc] # ccxt has no types
    """A watch call for several markets whose hashes do not tell them apart."""


class WatchCalls:
    """The watch calls of one exchange. `names`: what the venue calls a market."""

    def __init__(self, depth: int, names: Names) -> None:
        self._depth = depth
        self._names = names
        self._requests = count(_REQUESTS_FROM)
        self._claims: dict[str, tuple[Claim, ...]] = {}
        """By message hash; several where a venue brings all its markets by one."""
        self._connections: dict[Any, Connection] = {}

    def learn(self, scope: Scope, hashes: list[str], subscribe_hashes: list[str], message: Any = None) -> None:
        """Claim the hashes of a watch call for its feeds, and keep the message that subscribes them.

        Raises:
            IndistinctHashesError: Several markets, and it cannot be told which hash is whose. Nothing is claimed.
        """
        markets = list(scope.asked)
        if len(markets) == 1:
            pairs = [(message_hash, markets[0]) for message_hash in hashes]
        else:
            pairs = list(zip(hashes, markets, strict=False))
            if len(hashes) != len(markets) or any(market not in name for name, market in pairs):
                raise IndistinctHashesError(f"hashes {hashes[:3]!r} do not name the markets {markets[:3]!r}")
        owners: list[str | None] = [market for _, market in pairs]
        pairs = [(message_hash, market) for message_hash, market in pairs if market in scope.feeds]
        self._claim(scope, pairs)
        if message is not None:
            of = frozenset(scope.asked)
            scope.messages = [(others, sent) for others, sent in scope.messages if others != of] + [(of, message)]
        if len(subscribe_hashes) != len(owners):
            owners = [None] * len(subscribe_hashes)
        held_by = zip(subscribe_hashes, owners, strict=True)
        scope.subscribe_hashes.update(
            (name, market) for name, market in held_by if market is None or market in scope.feeds
        )

    def _claim(self, scope: Scope, pairs: Sequence[tuple[str, str]]) -> None:
        for message_hash, market in pairs:
            feed = scope.feeds[market]
            held = self._claims.get(message_hash, ())
            if not any(claim.feed is feed and claim.scope is scope for claim in held):
                own = Claim(
                    scope, feed, encoder(feed.key.channel, market, self._depth, is_alone=market in message_hash)
                )
                self._claims[message_hash] = (*(claim for claim in held if claim.feed is not feed), own)
        scope.hashes.update(pairs)

    def carry(self, scope: Scope, client: Any) -> None:
        """Remember which connection carries a watch call."""
        connection = self._connections.get(client)
        if connection is not None:
            connection.scopes.add(scope)
            connection.take(scope.feeds.values())
            scope.connections.add(connection)

    def forget(self, scope: Scope) -> None:
        """Make ccxt forget the subscriptions of feeds that bring nothing, so that they are made anew."""
        silent = {market for market, feed in scope.feeds.items() if feed in scope.silent}
        for connection in scope.connections:
            for name, market in scope.subscribe_hashes.items():
                if market is None or market in silent:
                    connection.client.subscriptions.pop(name, None)
            for name, market in scope.hashes.items():
                if market in silent:
                    connection.client.futures.pop(name, None)
                    connection.client.rejections.pop(name, None)

    async def unsubscribe(self, scope: Scope, markets: Collection[str]) -> bool:
        """Have the venue end the subscriptions of these markets, if what began them shows how, and nobody else's.

        Return whether that was so of all of them; if not, nothing was sent.
        """
        endings = [
            self._ending(scope, of, message, markets) for of, message in scope.messages if not of.isdisjoint(markets)
        ]
        if not scope.messages or None in endings:
            return False
        for connection in list(scope.connections):
            for ending in endings:
                try:
                    await connection.client.send(ending)
                except ConnectionError as error:
                    connection.client.on_error(ccxt.NetworkError(str(error)))  # all that it carries is asked for anew
        return True

    def _ending(
        self, scope: Scope, of: frozenset[str], message: Any, markets: Collection[str]
    ) -> dict[str, Any] | None:
        others = {name for market in of.difference(markets) for name in self._names(market)}
        request = next(self._requests)
        ending = unsubscribing(message, others, request) if others else None
        is_whole = of.isdisjoint(scope.feeds.keys() - set(markets))
        if ending is None and is_whole and not _is_shared(scope, message):
            ending = unsubscribing(message, (), request)
        return ending

    def missing(self, scope: Scope, client: Any, subscribe_hashes: list[str], *sent: Any) -> tuple[Any, ...]:
        """Return what subscribes several markets, less those that a connection has already."""
        has = {scope.subscribe_hashes.get(name) for name in subscribe_hashes if name in client.subscriptions}
        if None in has or len(has) == len(subscribe_hashes):
            return sent
        others = {name for market in has if market for name in self._names(market)}
        return tuple(without(part, others) for part in sent) if others else sent

    def release(self, scope: Scope, markets: Collection[str]) -> dict[str, Released]:
        """Let some feeds of a watch call go: what still comes of them makes no records."""
        released = {
            market: Released(
                [name for name, owner in scope.hashes.items() if owner == market],
                [name for name, owner in scope.subscribe_hashes.items() if owner == market],
            )
            for market in markets
        }
        for name in [name for one in released.values() for name in one.hashes]:
            self._claims[name] = tuple(claim for claim in self._claims[name] if claim.feed.market not in markets)
        feeds = [scope.feeds[market] for market in markets]
        scope.part(markets)
        for connection in scope.connections:
            connection.leave(feeds)
        if not scope.feeds:
            self.drop(scope)
        return released

    async def end(self, scope: Scope, released: Mapping[str, Released]) -> bool:
        """Have the venue and ccxt end what was let go; return false where nobody knows how to say that."""
        if not await self.unsubscribe(scope, released.keys()):
            return False
        for connection in scope.connections:
            for one in released.values():
                for name in one.subscribe_hashes:
                    connection.client.subscriptions.pop(name, None)
                for name in one.hashes:
                    connection.client.futures.pop(name, None)
        return True

    def reclaim(self, scope: Scope, market: str, feed: LaneFeed, released: Released) -> None:
        """Take a feed of a watch call in again that was let go."""
        scope.feeds[market] = feed
        scope.subscribe_hashes.update(dict.fromkeys(released.subscribe_hashes, market))
        self._claim(scope, [(name, market) for name in released.hashes])
        for connection in scope.connections:
            connection.take(scope.feeds.values())

    def trouble(self, scope: Scope) -> Awaitable[Any]:
        """Return what ends with an error of any feed of a watch call that stands, without making the call."""
        futures = [connection.client.future(name) for connection in scope.connections for name in scope.hashes]
        return cast("Awaitable[Any]", Future.race(futures))

    def drop(self, scope: Scope) -> None:
        """Have nothing more to do with a watch call; others were made in its place."""
        for connection in scope.connections:
            connection.scopes.discard(scope)

    def given_up(self, scope: Scope) -> list[LaneFeed]:
        """Return the feeds of a watch call whose subscriptions ccxt has forgotten; none where it cannot be told."""
        lost = {
            market
            for connection in scope.connections
            for name, market in scope.subscribe_hashes.items()
            if connection.client.subscriptions.get(name, _RESYNC) == _RESYNC
        }
        return [feed for market, feed in scope.feeds.items() if market in lost]

    def is_subscribed(self, scope: Scope) -> bool:
        """Return whether ccxt believes all subscriptions of a watch call to stand, on connections that do."""
        return bool(scope.connections) and all(
            name in connection.client.subscriptions
            for connection in scope.connections
            for name in scope.subscribe_hashes
        )


def _is_shared(scope: Scope, message: Any) -> bool:
    """Return whether a connection carries another watch call of the very same subscription."""
    beside = {other for connection in scope.connections for other in connection.scopes if other is not scope}
    return any(is_same(message, sent) for other in beside if other.feeds for _, sent in other.messages)

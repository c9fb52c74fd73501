"""The tap: hears every frame and every unified update of ccxt's connections, where `await watch_*()` shows only some.

A frame is stamped before anything else is done with it, and one that ccxt fails on is noted and does not end its
connection. Which message hash is which feed is learned from the watch calls, so aliases that nobody asked for make no
records. Once a subscription has answered, its updates are no longer handed to the watch call, which then waits for
nothing but errors.
"""

import asyncio
import hashlib
from contextvars import ContextVar
from typing import Any, Final

import ccxt

from fluxforge.domain.control import Event
from fluxforge_collector.ccxt_source.refusal import refusal_in
from fluxforge_collector.ccxt_source.unify import Encoder, encoder, is_snapshot
from fluxforge_collector.lane_writer import LaneFeed
from fluxforge_collector.source import Sink

_FRAME_BYTES_KEPT: Final = 4096
_REFUSED_WITHIN_NS: Final = 10_000_000_000
"""A refusal that names no market concerns those subscribed this recently; a silent market is not asked again for it."""


class SubscriptionRefusedError(ccxt.ExchangeError):  # type: ignore[misc] # ccxt has no types
    """The venue refused a subscription of these markets; its text says why."""

    def __init__(self, reason: str, markets: tuple[str, ...]) -> None:
        super().__init__(reason)
        self.markets = markets


class IndistinctHashesError(ccxt.ExchangeError):  # type: ignore[misc] # ccxt has no types
    """A watch call for several markets whose hashes do not tell them apart."""


class Scope:
    """One watch call: its feeds by market, and what the tap learned of it."""

    def __init__(self, feeds: dict[str, LaneFeed]) -> None:
        self.feeds = feeds
        self.answered = False
        """Whether an update came since the last call; from then on updates pass the call by."""
        self.asked_ns = 0
        """When the subscription was asked for, ns UTC."""
        self.silent: set[LaneFeed] = set()
        """The feeds that brought nothing since then."""
        self.hashes: dict[str, str] = {}
        """Message hashes, each with its market."""
        self.subscribe_hashes: dict[str, str | None] = {}
        """Hashes ccxt knows the subscriptions by, each with its market where it is of one alone."""
        self.connections: set[Connection] = set()


class Claim:
    """A message hash that is known to be a feed's."""

    __slots__ = ("encode", "feed", "is_trades", "scope")

    def __init__(self, scope: Scope, feed: LaneFeed, encode: Encoder) -> None:
        self.scope = scope
        self.feed = feed
        self.encode = encode
        self.is_trades = feed.key.channel == "trades"


class Connection:
    """One of ccxt's connections. `at_ns` and `frame` are of the frame being handled, 0 and None between frames."""

    __slots__ = ("at_ns", "client", "feeds", "frame", "has_update", "number", "scopes")

    def __init__(self, client: Any) -> None:
        self.client = client
        self.number = 0
        self.at_ns = 0
        self.frame: Any = None
        self.has_update = False
        self.feeds: dict[LaneFeed, None] = {}
        self.scopes: set[Scope] = set()


SCOPE: ContextVar[Scope | None] = ContextVar("scope", default=None)
"""The watch call that is being made: what is watched in its course belongs to it."""


class Tap:
    """Ties one ccxt exchange to a lane."""

    def __init__(self, sink: Sink, depth: int) -> None:
        self._sink = sink
        self._depth = depth
        self._claims: dict[str, Claim] = {}
        self._connections: dict[Any, Connection] = {}
        self._opened = 0
        self.closing = False
        """Whether connections are being closed on purpose: their end is then no event."""

    @property
    def open_connections(self) -> int:
        """Connections that stand now."""
        return sum(connection.number > 0 for connection in self._connections.values())

    def attach(self, client: Any) -> None:
        """Tap a connection that ccxt has just made, before it is dialled."""
        connection = self._connections[client] = Connection(client)
        self._tap_frames(connection)
        self._tap_updates(connection)
        self._watch_receiving(connection)

    def learn(self, scope: Scope, hashes: list[str], subscribe_hashes: list[str]) -> None:
        """Claim the hashes of a watch call for its feeds.

        Raises:
            IndistinctHashesError: Several markets, and it cannot be told which hash is whose. Nothing is claimed.
        """
        markets = list(scope.feeds)
        if len(markets) == 1:
            pairs = [(message_hash, markets[0]) for message_hash in hashes]
        else:
            pairs = list(zip(hashes, markets, strict=False))
            if len(hashes) != len(markets) or any(market not in name for name, market in pairs):
                raise IndistinctHashesError(f"hashes {hashes[:3]!r} do not name the markets {markets[:3]!r}")
        for message_hash, market in pairs:
            held = self._claims.get(message_hash)
            feed = scope.feeds[market]
            if held is None or held.scope is not scope:
                self._claims[message_hash] = Claim(scope, feed, encoder(feed.key.channel, market, self._depth))
        scope.hashes.update(pairs)
        owners: list[str | None] = [market for _, market in pairs]
        if len(subscribe_hashes) != len(owners):
            owners = [None] * len(subscribe_hashes)
        scope.subscribe_hashes.update(zip(subscribe_hashes, owners, strict=True))

    def carry(self, scope: Scope, client: Any) -> None:
        """Remember which connection carries a watch call."""
        connection = self._connections.get(client)
        if connection is not None:
            connection.scopes.add(scope)
            connection.feeds.update(dict.fromkeys(scope.feeds.values()))
            scope.connections.add(connection)

    def opened(self, client: Any) -> None:
        """Note that a connection stands."""
        connection = self._connections.get(client)
        if connection is None or connection.number:
            return
        self._opened += 1
        connection.number = self._opened
        self._sink.note(Event.CONNECTED, list(connection.feeds), reason=client.url, conn=connection.number)

    def lost(self, client: Any, reason: str) -> None:
        """Note that a connection that stood does so no more; its feeds are unsound until they recover."""
        connection = self._connections.pop(client, None)
        if connection is None:
            return
        for scope in connection.scopes:
            scope.connections.discard(connection)
            scope.answered = scope.answered and bool(scope.connections)
        if connection.number and not self.closing:
            self._sink.note(Event.DISCONNECTED, list(connection.feeds), reason=reason, conn=connection.number)

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

    def drop(self, scope: Scope) -> None:
        """Have nothing more to do with a watch call; others were made in its place."""
        for connection in scope.connections:
            connection.scopes.discard(scope)

    def is_subscribed(self, scope: Scope) -> bool:
        """Return whether ccxt believes all subscriptions of a watch call to stand, on connections that do."""
        return bool(scope.connections) and all(
            name in connection.client.subscriptions
            for connection in scope.connections
            for name in scope.subscribe_hashes
        )

    def _tap_frames(self, connection: Connection) -> None:
        handle = connection.client.handle_message
        now = self._sink.now

        def tapped(message: Any) -> None:
            connection.at_ns = now()
            connection.frame = message.data
            connection.has_update = False
            try:
                handle(message)
            except Exception as error:  # noqa: BLE001 - whatever ccxt fails on must not end its receive loop
                self._frame_failed(connection, error)
            if not connection.has_update:
                self._look_for_refusal(connection)
            connection.at_ns = 0
            connection.frame = None

        connection.client.handle_message = tapped

    def _tap_updates(self, connection: Connection) -> None:
        resolve = connection.client.resolve
        claims = self._claims
        sink = self._sink

        def tapped(result: Any, message_hash: str | None = None) -> Any:
            claim = claims.get(message_hash) if message_hash is not None else None
            if claim is None:
                return resolve(result, message_hash)
            connection.has_update = True
            scope = claim.scope
            if scope.silent:
                scope.silent.discard(claim.feed)
            update = claim.encode(result)
            if update is not None:
                sink.record(
                    claim.feed,
                    update.data,
                    exchange_ms=update.exchange_ms,
                    at_ns=connection.at_ns or sink.now(),
                    conn=connection.number,
                    snapshot=claim.is_trades and connection.frame is not None and is_snapshot(connection.frame),
                )
                if update.missed:
                    sink.note(Event.GAP, [claim.feed], reason="ccxt kept only the newest", count=update.missed)
            return result if scope.answered else resolve(result, message_hash)

        connection.client.resolve = tapped

    def _watch_receiving(self, connection: Connection) -> None:
        # An error here ends ccxt's receive loop, while the connection would go on looking alive.
        client = connection.client
        receive = client.receive

        async def watched() -> Any:
            try:
                return await receive()
            except Exception as error:
                asyncio.get_running_loop().call_soon(client.on_error, ccxt.NetworkError(f"receiving failed: {error}"))
                raise

        client.receive = watched

    def _frame_failed(self, connection: Connection, error: Exception) -> None:
        frame = connection.frame
        raw = frame.encode(errors="replace") if isinstance(frame, str) else frame if isinstance(frame, bytes) else b""
        self._sink.note(
            Event.REJECTED,
            reason=f"{type(error).__name__}: {error}"[:500],
            count=1,
            conn=connection.number,
            detail={
                "url": connection.client.url,
                "size_bytes": len(raw),
                "sha256": hashlib.sha256(raw).hexdigest(),
                "text": raw[:_FRAME_BYTES_KEPT].decode(errors="replace"),
            },
        )

    def _look_for_refusal(self, connection: Connection) -> None:
        frame = connection.frame
        waiting = [scope for scope in connection.scopes if scope.silent]
        reason = refusal_in(frame) if waiting and isinstance(frame, str) else None
        if reason is None:
            return
        named = {scope: _named(scope, frame) for scope in waiting}
        recent = {
            scope: tuple(scope.feeds) for scope in waiting if connection.at_ns - scope.asked_ns < _REFUSED_WITHIN_NS
        }
        for scope, markets in (named if any(named.values()) else recent).items():
            error = SubscriptionRefusedError(reason, markets)
            for name, market in scope.hashes.items():
                if market in markets and name in connection.client.futures:
                    connection.client.reject(error, name)


def _named(scope: Scope, frame: str) -> tuple[str, ...]:
    return tuple(market for market, feed in scope.feeds.items() if feed in scope.silent and market in frame)

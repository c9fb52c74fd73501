"""The tap: hears every frame and every unified update of ccxt's connections, where `await watch_*()` shows only some.

A frame is stamped before anything else is done with it, and one that ccxt fails on is noted and does not end its
connection. Which message hash is which feed is learned from the watch calls, so aliases that nobody asked for make no
records. Once a subscription has answered, its updates are no longer handed to the watch call, which then waits for
nothing but errors.
"""

import asyncio
from collections.abc import Callable, Sequence
from contextvars import ContextVar
from typing import Any, Final

import ccxt
from aiohttp import WSMsgType

from fluxforge.domain.control import Event
from fluxforge_collector.ccxt_source.connection import Connection, Scope
from fluxforge_collector.ccxt_source.refusal import refusal_in
from fluxforge_collector.ccxt_source.sequences import Names, Sequences
from fluxforge_collector.ccxt_source.unify import is_snapshot
from fluxforge_collector.ccxt_source.watch_calls import WatchCalls
from fluxforge_collector.ccxt_source.wire_port import WirePort
from fluxforge_collector.continuity.finding import Detector
from fluxforge_collector.rejected import reject
from fluxforge_collector.source import Sink

_FROM_PEER: Final = (
    *(WSMsgType.TEXT, WSMsgType.BINARY, WSMsgType.PONG),
    *(WSMsgType.PING, WSMsgType.CLOSE, WSMsgType.CONTINUATION),
)
"""What tells that a connection still stands; everything else that is handed out is aiohttp's own word. The usual first:
an enumeration's hash costs more than looking through these."""
_REFUSED_WITHIN_NS: Final = 10_000_000_000
"""A refusal that names no market concerns those subscribed this recently; a silent market is not asked again for it."""


class SubscriptionRefusedError(ccxt.ExchangeError):  # type: ignore[misc] # ccxt has no types
    """The venue refused a subscription of these markets; its text says why."""

    def __init__(self, reason: str, markets: tuple[str, ...]) -> None:
        super().__init__(reason)
        self.markets = markets


SCOPE: ContextVar[Scope | None] = ContextVar("scope", default=None)
"""The watch call that is being made: what is watched in its course belongs to it."""


def _itself(market: str) -> Sequence[str]:
    return (market,)


def _none() -> Detector | None:
    return None


class Tap(WatchCalls):
    """Ties one ccxt exchange to a lane."""

    def __init__(
        self, sink: Sink, depth: int, *, names: Names = _itself, detector: Callable[[], Detector | None] = _none
    ) -> None:
        """Tie a lane. `names`: what the venue calls a market; `detector`: makes one for each new connection."""
        super().__init__(depth, names)
        self._sink = sink
        self._detector = detector
        self._opened = 0
        self.wire: WirePort | None = None
        """Who hears the frames themselves of connections made from now on."""
        self.closing = False
        """Whether connections are being closed on purpose: their end is then no event."""

    @property
    def open_connections(self) -> int:
        """Connections that stand now."""
        return len(self.standing)

    @property
    def opened_ever(self) -> int:
        """Connections that ever stood."""
        return self._opened

    @property
    def standing(self) -> list[Connection]:
        """The connections that stand now, in the order in which they were made."""
        return [connection for connection in self._connections.values() if connection.number > 0]

    def attach(self, client: Any) -> None:
        """Tap a connection that ccxt has just made, before it is dialled."""
        connection = self._connections[client] = Connection(client)
        detector = self._detector()
        if detector:
            connection.sequences = Sequences(connection, detector, self._sink, self._names)
        if self.wire:
            self.wire.attach_frames(connection)
        self._tap_frames(connection)
        self._tap_updates(connection)
        if self.wire:
            self.wire.attach_updates(connection, self._claims)
        self._watch_receiving(connection)

    def opened(self, client: Any) -> None:
        """Note that a connection stands."""
        connection = self._connections.get(client)
        if connection is None or connection.number:
            return
        self._opened += 1
        connection.number = self._opened
        connection.heard_ns = self._sink.now()
        self._sink.note(Event.CONNECTED, list(connection.feeds), reason=client.url, conn=connection.number)

    def lost(self, client: Any, reason: str) -> None:
        """Note that a connection that stood does so no more; its feeds are unsound until they recover."""
        connection = self._connections.pop(client, None)
        if connection is None:
            return
        connection.is_lost = True
        for scope in connection.scopes:
            scope.connections.discard(connection)
            scope.answered = scope.answered and bool(scope.connections)
        if connection.sequences:
            connection.sequences.end()
        if connection.number and not self.closing:
            self._sink.note(
                Event.DISCONNECTED,
                list(connection.feeds),
                reason=reason,
                conn=connection.number,
                from_ns=max((connection.heard_ns, *(feed.last_ns for feed in connection.feeds))),
            )

    def fetched(self, market: str, reply: str) -> None:
        """Hear a book that ccxt fetched by REST, to join the updates of a connection to it."""
        for connection in self.standing:
            if connection.sequences:
                connection.sequences.take_rest(market, reply)

    def _tap_frames(self, connection: Connection) -> None:
        handle = connection.client.handle_message
        now = self._sink.now
        sequences = connection.sequences

        def tapped(message: Any) -> None:
            if connection.is_lost:
                return  # its hole is told; what ccxt had read before and hands out now must not end it
            connection.at_ns = now()
            if message.type in _FROM_PEER:
                connection.heard_ns = connection.at_ns
            connection.frame = message.data
            connection.has_update = False
            try:
                if sequences and isinstance(message.data, (str, bytes)):
                    sequences.take(message.data)
            except Exception as error:  # noqa: BLE001 - nor may what we look for in it keep it from ccxt
                self._frame_failed(connection, error)
            try:
                handle(message)
            except Exception as error:  # noqa: BLE001 - whatever ccxt fails on must not end its receive loop
                self._frame_failed(connection, error)
                if sequences:
                    sequences.failed()
            if not connection.has_update:
                self._look_for_refusal(connection)
            if sequences:
                sequences.renew(connection.at_ns)
            connection.at_ns = 0
            connection.frame = None

        connection.client.handle_message = tapped

    def _tap_updates(self, connection: Connection) -> None:
        resolve = connection.client.resolve
        claims = self._claims
        sink = self._sink

        def tapped(result: Any, message_hash: str | None = None) -> Any:
            held = () if message_hash is None or connection.is_lost else claims.get(message_hash, ())
            is_awaited = not held
            for claim in held:
                connection.has_update = True
                scope = claim.scope
                is_awaited = is_awaited or not scope.answered
                update = claim.encode(result)
                if update is None and len(held) > 1:
                    continue  # it is of another market
                if scope.silent:
                    scope.silent.discard(claim.feed)
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
            return resolve(result, message_hash) if is_awaited else result

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
        reject(self._sink, raw, error, conn=connection.number, where={"url": connection.client.url})

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

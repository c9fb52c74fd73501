"""The tapped exchange class: the few methods of ccxt's exchanges that the tap listens in on."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial
from typing import Any, Final

from fluxforge_collector.ccxt_source.connection import Scope
from fluxforge_collector.ccxt_source.tap import SCOPE, Tap
from fluxforge_collector.ccxt_source.wire import answered
from fluxforge_collector.ccxt_source.wire_port import WirePort

_ENDING: Final = "unsubscribe:"
_FETCHING: ContextVar[str | None] = ContextVar("fetching", default=None)
"""The market whose book is being fetched."""


@contextmanager
def _outside_any_scope() -> Iterator[None]:
    # Tasks that ccxt starts inside, such as the receive loop, inherit the context and must not claim hashes later.
    token = SCOPE.set(None)
    try:
        yield
    finally:
        SCOPE.reset(token)


def _scope_of(*message_hashes: str) -> Scope | None:
    """Return whose hashes these are; nobody's where ccxt only awaits the end of a subscription."""
    return None if any(name.startswith(_ENDING) for name in message_hashes) else SCOPE.get()


class TapMixin:
    """What a tapped exchange class does differently from ccxt's own; without a tap nothing, without a wire no REST."""

    tap: Tap | None = None
    listing: list[dict[str, Any]] | None = None
    """What `fetch_markets` returns without asking the venue; None: it asks."""
    wire: WirePort | None = None
    clients: dict[str, Any]
    _second = -1
    _text_to_second = ""

    def client(self, url: str) -> Any:
        """Return the connection of a URL, tapped from its beginning."""
        known = url in (self.clients or {})
        client = super().client(url)  # type: ignore[misc] # ccxt's, further along the classes
        if self.tap and not known:
            self.tap.attach(client)
        return client

    def watch(
        self, url: str, message_hash: str, message: Any = None, subscribe_hash: Any = None, subscription: Any = None
    ) -> Any:
        """Watch one hash; made in the course of a watch call, the hash is that call's."""
        scope = _scope_of(message_hash)
        if self.tap is None or scope is None:
            return super().watch(url, message_hash, message, subscribe_hash, subscription)  # type: ignore[misc] # ccxt's
        self.tap.learn(scope, [message_hash], [] if subscribe_hash is None else [subscribe_hash], message)
        with _outside_any_scope():
            future = super().watch(url, message_hash, message, subscribe_hash, subscription)  # type: ignore[misc] # ccxt's
        self.tap.carry(scope, self.clients[url])
        return future

    def watch_multiple(
        self,
        url: str,
        message_hashes: list[str],
        message: Any = None,
        subscribe_hashes: list[str] | None = None,
        subscription: Any = None,
    ) -> Any:
        """Watch several hashes; made in the course of a watch call, the hashes are that call's."""
        scope = _scope_of(*message_hashes)
        if self.tap is None or scope is None:
            return super().watch_multiple(url, message_hashes, message, subscribe_hashes, subscription)  # type: ignore[misc] # ccxt's
        self.tap.learn(scope, message_hashes, subscribe_hashes or [], message)
        if url in self.clients and subscribe_hashes:
            message, subscription = self.tap.missing(scope, self.clients[url], subscribe_hashes, message, subscription)
        with _outside_any_scope():
            future = super().watch_multiple(url, message_hashes, message, subscribe_hashes, subscription)  # type: ignore[misc] # ccxt's
        self.tap.carry(scope, self.clients[url])
        return future

    async def fetch_rest_order_book_safe(self, symbol: str, *more: Any, **options: Any) -> Any:
        """Fetch a book that updates are joined to; the tap hears the reply."""
        fetching = _FETCHING.set(symbol)
        try:
            return await super().fetch_rest_order_book_safe(symbol, *more, **options)  # type: ignore[misc] # ccxt's
        finally:
            _FETCHING.reset(fetching)

    async def fetch(self, url: str, method: str = "GET", headers: Any = None, body: Any = None) -> Any:
        """Make a REST request, which the wire hears."""
        if self.wire is None:
            return await super().fetch(url, method, headers, body)  # type: ignore[misc] # ccxt's
        request = partial(super().fetch, url, method, headers, body)  # type: ignore[misc] # ccxt's
        return await self.wire.fetch(request, method, url, body)

    def on_rest_response(
        self, code: int, reason: str, url: str, method: str, headers: Any, body: str, sent_headers: Any, sent_body: Any
    ) -> Any:
        """Hear what a REST request brought, before ccxt reads it."""
        answered(method, url, code, body)
        fetching = _FETCHING.get()
        if self.tap and fetching:
            self.tap.fetched(fetching, body)
        return super().on_rest_response(code, reason, url, method, headers, body, sent_headers, sent_body)  # type: ignore[misc] # ccxt's

    async def fetch_markets(self, params: Any = None) -> Any:
        """Return the venue's markets, or those that it was asked for before."""
        return self.listing if self.listing is not None else await super().fetch_markets(params or {})  # type: ignore[misc] # ccxt's

    def iso8601(self, timestamp: Any = None) -> Any:
        """Return ccxt's text of a time in ms; what precedes its ms is worked out once a second, not once an update."""
        if timestamp.__class__ is not int or timestamp < 0:
            return super().iso8601(timestamp)  # type: ignore[misc] # ccxt's
        second, ms = divmod(timestamp, 1000)
        if second != self._second:
            text = super().iso8601(second * 1000)  # type: ignore[misc] # ccxt's
            if text is None:
                return None
            self._second, self._text_to_second = second, text[:-4]
        return f"{self._text_to_second}{ms:03d}Z"

    def on_connected(self, client: Any, message: Any = None) -> None:
        """Hear that a connection stands."""
        if self.tap:
            self.tap.opened(client)
        super().on_connected(client, message)  # type: ignore[misc] # ccxt's

    def on_error(self, client: Any, error: Any) -> None:
        """Hear that a connection failed."""
        if self.tap:
            self.tap.lost(client, f"{type(error).__name__}: {error}")
        super().on_error(client, error)  # type: ignore[misc] # ccxt's

    def on_close(self, client: Any, error: Any) -> None:
        """Hear that a connection was closed."""
        if self.tap:
            self.tap.lost(client, f"closed with code {error}")
        super().on_close(client, error)  # type: ignore[misc] # ccxt's

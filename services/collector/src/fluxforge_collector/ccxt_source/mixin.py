"""The tapped exchange class: the few methods of ccxt's exchanges that the tap listens in on."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from fluxforge_collector.ccxt_source.tap import SCOPE, Tap


@contextmanager
def _outside_any_scope() -> Iterator[None]:
    # Tasks that ccxt starts inside, such as the receive loop, inherit the context and must not claim hashes later.
    token = SCOPE.set(None)
    try:
        yield
    finally:
        SCOPE.reset(token)


class TapMixin:
    """What a tapped exchange class does differently from ccxt's own. `tap` None: nothing."""

    tap: Tap | None = None
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
        scope = SCOPE.get()
        if self.tap is None or scope is None:
            return super().watch(url, message_hash, message, subscribe_hash, subscription)  # type: ignore[misc] # ccxt's
        self.tap.learn(scope, [message_hash], [] if subscribe_hash is None else [subscribe_hash])
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
        scope = SCOPE.get()
        if self.tap is None or scope is None:
            return super().watch_multiple(url, message_hashes, message, subscribe_hashes, subscription)  # type: ignore[misc] # ccxt's
        self.tap.learn(scope, message_hashes, subscribe_hashes or [])
        with _outside_any_scope():
            future = super().watch_multiple(url, message_hashes, message, subscribe_hashes, subscription)  # type: ignore[misc] # ccxt's
        self.tap.carry(scope, self.clients[url])
        return future

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

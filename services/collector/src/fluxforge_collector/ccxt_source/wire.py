"""The wire of one exchange: its frames and REST exchanges enter the lane, each before the records that came of it.

What a replay needs stands there too: how the client was set up, what it sent, and at what time an update was resolved
outside of any frame. Credentials are withheld.
"""

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import replace
from typing import Any, Final

import ccxt
import orjson
from aiohttp import WSMsgType

from fluxforge.domain.record import Feed
from fluxforge_collector.ccxt_source.connection import Connection
from fluxforge_collector.ccxt_source.settings import VenueSettings
from fluxforge_collector.lane_feed import LaneFeed
from fluxforge_collector.source import Sink
from fluxforge_collector.wire_records import Answer, Frame, Resolved, Setup, WireItem, data_of, received

FRAMES: Final = frozenset({WSMsgType.TEXT, WSMsgType.BINARY})
_WITHHELD: Final = "***"

_ANSWERS: ContextVar[list[Answer] | None] = ContextVar("answers", default=None)
"""Where the request that is being made leaves its answer."""


class Wire:
    """Enters what goes over the wire; what is answered before the lane can be written waits for `begin`."""

    def __init__(self, venue: VenueSettings, exchange: Any) -> None:
        self._venue = venue
        narrowed = {name: exchange.options[name] for name in ("fetchMarkets",) if name in exchange.options}
        self._options = {**(venue.options or {}), **narrowed}
        self._secrets = tuple(secret for secret in (venue.api_key, venue.api_secret) if secret)
        self._early: list[Answer] = []
        self._sink: Sink | None = None
        self._feed: LaneFeed

    def begin(self, sink: Sink, feed: LaneFeed, wanted: Mapping[str, Sequence[Feed]]) -> None:
        """Enter how the client was set up and what it was answered so far; from now on everything, as it comes."""
        self._sink, self._feed = sink, feed
        venue = self._venue
        channels = {method: tuple(str(feed.market) for feed in feeds) for method, feeds in wanted.items()}
        options = orjson.loads(self._bare(orjson.dumps(self._options).decode()))
        self._enter(Setup(ccxt.__version__, venue.exchange, venue.depth, venue.via, options, channels, venue.timeframe))
        for answer in self._early:
            self._enter(answer)
        self._early = []

    def attach_frames(self, connection: Connection) -> None:
        """Hear what a connection receives and sends, with the tap yet to be set on it: that stamps a frame first."""
        sink, feed, client = self._sink, self._feed, connection.client
        if sink is None:
            raise ValueError("a connection was made before the lane could be written")
        handle, send, record = client.handle_message, client.send, sink.record

        def heard(message: Any) -> None:
            if message.type in FRAMES:
                for data in received(message.data):
                    record(feed, data, exchange_ms=None, at_ns=connection.at_ns, conn=connection.number)
            handle(message)

        async def sent(message: Any) -> Any:
            text = message if isinstance(message, str) else orjson.dumps(message).decode()
            self._enter(Frame(self._bare(text), sent=True), conn=connection.number)
            return await send(message)

        client.handle_message, client.send = heard, sent

    def attach_updates(self, connection: Connection, claims: Collection[str]) -> None:
        """Hear updates before the tap, which was set on them: one outside of any frame gets a record of its time."""
        sink, client = self._sink, connection.client
        resolve = client.resolve

        def heard(result: Any, message_hash: str | None = None) -> Any:
            if connection.at_ns or message_hash is None or message_hash not in claims or sink is None:
                return resolve(result, message_hash)
            connection.at_ns = sink.now()
            try:
                self._enter(Resolved(message_hash), at_ns=connection.at_ns, conn=connection.number)
                return resolve(result, message_hash)
            finally:
                connection.at_ns = 0

        client.resolve = heard

    async def fetch(self, fetch: Callable[[], Awaitable[Any]], method: str, url: str, body: Any) -> Any:
        """Make a REST request and enter what came of it, before anybody makes something of that."""
        answers: list[Answer] = []
        token = _ANSWERS.set(answers)
        failure = "CancelledError"
        try:
            return await fetch()
        except Exception as error:
            failure = type(error).__name__
            raise
        finally:
            _ANSWERS.reset(token)
            told = answers[0] if answers else Answer(method, url, None, None, "", failure)
            answer = replace(told, url=self._bare(url), body=None if body is None else self._bare(str(body)))
            if self._sink is None:
                self._early.append(answer)
            else:
                self._enter(answer)

    def _enter(self, item: WireItem, *, at_ns: int | None = None, conn: int = 0) -> None:
        if self._sink is None:
            raise ValueError("the lane cannot be written yet")
        at_ns = self._sink.now() if at_ns is None else at_ns
        for data in data_of(item):
            self._sink.record(self._feed, data, exchange_ms=None, at_ns=at_ns, conn=conn)

    def _bare(self, text: str) -> str:
        for secret in self._secrets:
            text = text.replace(secret, _WITHHELD)
        return text


def answered(method: str, url: str, status: int, text: str) -> None:
    """Take note of a REST answer, if the request is one that is entered."""
    answers = _ANSWERS.get()
    if answers is not None:
        answers.append(Answer(method, url, None, status, text))

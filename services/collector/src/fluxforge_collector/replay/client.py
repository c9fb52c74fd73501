"""The client of a replay: ccxt's own with the tap in it, whose sockets and REST answers come from the tape.

Dials and requests wait until the tape comes to what answered them; frames are handed to a connection as its socket
would. Nothing here opens a socket.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from functools import partial
from types import SimpleNamespace
from typing import Any, Final

import ccxt
from aiohttp import WSMsgType

from fluxforge.domain.record import Feed
from fluxforge_collector.ccxt_source.connection import Connection
from fluxforge_collector.lane_feed import LaneFeed
from fluxforge_collector.replay.errors import ReplayDivergedError
from fluxforge_collector.replay.loop import ReplayLoop
from fluxforge_collector.replay.script import bare
from fluxforge_collector.source import Sink
from fluxforge_collector.wire_records import Answer

_NEVER_MS: Final = 10**12
_PATIENCE_S: Final = (0.0, 1.0, 60.0, 600.0)
"""How far time may be moved on until a client that backs off asks again."""


class _Socket:
    """What ccxt holds for a connected socket: it takes everything and brings nothing."""

    _conn = None

    def __init__(self) -> None:
        self.closed = False
        self._message: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

    async def receive(self) -> Any:
        return await self._message

    async def close(self) -> None:
        self.closed = True
        self._message.cancel()

    async def send_str(self, text: str) -> None: ...

    async def ping(self) -> None: ...


class _Wait:
    """Somebody who waits for the tape: for a connection (`method` is then empty), or for the answer to a request."""

    def __init__(self, method: str, url: str) -> None:
        self.key = (method, url)
        self.outcome: asyncio.Future[Any] = asyncio.get_running_loop().create_future()


class TapeEnds:
    """The outside ends of one exchange's client. Set on the tap in the place of the wire."""

    def __init__(self, exchange: Any, loop: ReplayLoop, resolved_ns: Callable[[str], int]) -> None:
        self._exchange = exchange
        self._loop = loop
        self._resolved_ns = resolved_ns
        self._waiting: list[_Wait] = []
        self._connections: list[Connection] = []
        self._sockets: list[_Socket] = []
        """Kept until the end: whoever still receives from one must not vanish while waiting."""

    def begin(self, sink: Sink, feed: LaneFeed, wanted: Mapping[str, Sequence[Feed]]) -> None:
        """Enter nothing: it stands on the tape."""

    def attach_frames(self, connection: Connection) -> None:
        """Have the connection dial here."""
        self._connections.append(connection)
        connection.client.create_connection = partial(self._dial, connection.client)
        connection.client.connectionTimeout = _NEVER_MS
        connection.client.keepAlive = None  # the tape holds no pongs, and says itself when a connection was lost

    def attach_updates(self, connection: Connection, claims: Collection[str]) -> None:
        """Give updates outside of any frame the time that the tape says."""
        resolve = connection.client.resolve

        def heard(result: Any, message_hash: str | None = None) -> Any:
            if connection.at_ns or message_hash is None or message_hash not in claims:
                return resolve(result, message_hash)
            connection.at_ns = self._resolved_ns(message_hash)
            try:
                return resolve(result, message_hash)
            finally:
                connection.at_ns = 0

        connection.client.resolve = heard

    async def fetch(self, fetch: Callable[[], Awaitable[Any]], method: str, url: str, body: Any) -> Any:  # noqa: ARG002 - the tape answers
        """Return what came of this request at capture, once the tape comes to it."""
        self._exchange.open()  # as ccxt's own does: it learns which loop it runs on
        wait = _Wait(method, url)
        self._waiting.append(wait)
        answer: Answer = await wait.outcome
        if answer.error is not None or answer.status is None:
            raise getattr(ccxt, answer.error or "", ccxt.NetworkError)(f"{method} {url}")
        exchange = self._exchange
        text = exchange.on_rest_response(answer.status, "", url, method, {}, answer.text, {}, body)
        found = exchange.parse_json(text)
        exchange.handle_errors(answer.status, "", url, method, {}, text, found, {}, body)
        exchange.handle_http_status_code(answer.status, "", url, method, text)
        return text if found is None else found

    async def _dial(self, client: Any, session: Any) -> _Socket:  # noqa: ARG002 - there is no network
        wait = _Wait("", client.url)
        self._waiting.append(wait)
        await wait.outcome
        self._sockets.append(_Socket())
        return self._sockets[-1]

    async def answer(self, answer: Answer) -> None:
        """Give a request its answer."""
        key = (answer.method, answer.url)
        await self._loop.settle()
        if self._connections and not any(_fits(wait.key, key) for wait in self._waiting):
            return  # it was fetched for a hole, which is not done here
        await self._settle_one(key, answer)

    async def connect(self, url: str) -> None:
        """Let a dial succeed."""
        await self._settle_one(("", url), None)

    def connection(self, number: int) -> Connection:
        """Return a connection that stands or stood.

        Raises:
            ReplayDivergedError: There was none of this number.
        """
        for connection in self._connections:
            if connection.number == number:
                return connection
        raise ReplayDivergedError(f"connection {number} of the recording was not made in the replay")

    async def _settle_one(self, key: tuple[str, str], outcome: Any) -> None:
        for patience_s in _PATIENCE_S:
            self._loop.advance_to(self._loop.time() + patience_s)
            await self._loop.settle()
            self._waiting = [wait for wait in self._waiting if not wait.outcome.done()]
            found = next((wait for wait in self._waiting if _fits(wait.key, key)), None)
            if found is not None:
                found.outcome.set_result(outcome)
                return
        what = f"{key[0] or 'a connection to'} {key[1]}"
        raise ReplayDivergedError(f"the recording has {what}, which the replay does not ask for")


def _fits(asked: tuple[str, str], recorded: tuple[str, str]) -> bool:
    """Return whether this was asked for; a dial's query may hold what is drawn by lot."""
    return asked == recorded or (asked[0] == recorded[0] == "" and bare(asked[1]) == bare(recorded[1]))


def hand_over(connection: Connection, payload: str | bytes) -> None:
    """Hand a frame to a connection as its socket would."""
    kind = WSMsgType.TEXT if isinstance(payload, str) else WSMsgType.BINARY
    connection.client.handle_message(SimpleNamespace(type=kind, data=payload, extra=None))

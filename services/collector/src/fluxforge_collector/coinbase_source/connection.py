"""Connections: a WebSocket to Coinbase per group of products, made anew for ever when it is lost."""

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from math import inf
from typing import Final

import aiohttp
import orjson

from fluxforge.domain.backoff import Backoff
from fluxforge.domain.control import Event
from fluxforge_collector.coinbase_source.conversation import ConnectionLostError, Conversation
from fluxforge_collector.coinbase_source.pace import Pace
from fluxforge_collector.coinbase_source.plan import Group
from fluxforge_collector.coinbase_source.requests import Request
from fluxforge_collector.coinbase_source.signing import Signer
from fluxforge_collector.events import CollectorEvents
from fluxforge_collector.lane_feed import LaneFeed
from fluxforge_collector.source import Sink

FRAME_BYTES_MAX: Final = 64 * 2**20
"""Whole books of 5 MB are usual; aiohttp would take 4 MiB."""
_COMPRESSION_BITS: Final = 15
_BACKOFF: Final = Backoff(base_s=0.5, cap_s=60.0)
_CONNECT_S: Final = 10.0
_STEADY_S: Final = 30.0
"""A connection that stood so long was no failure when it is lost: the next is tried within half a second."""
_RETRY_AFTER_S_MAX: Final = 300.0
"""Whatever a reply asks for, nothing is captured meanwhile."""
_SILENT_S: Final = 20.0
"""Heartbeats come every second, but not while a large frame is on its way."""
_ANSWER_S: Final = 30.0
_LOOK_S: Final = 0.1
_LOOK_S_MAX: Final = 1.0
"""No more than this is taken for silence between two looks; what is beyond, we were not there to hear."""
_CLOSE_S: Final = 2.0
_NS_PER_S: Final = 1_000_000_000
_Socket = aiohttp.ClientWebSocketResponse[bool]
_LOST: Final = (aiohttp.ClientError, ConnectionLostError, OSError)


@dataclass(frozen=True, slots=True)
class Dialling:
    """What all connections share. `numbers` gives each connection of the boot its own."""

    session: aiohttp.ClientSession
    url: str
    depth: int
    signer: Signer | None
    pace: Pace
    numbers: Iterator[int]
    chance: Callable[[], float]
    events: CollectorEvents

    @asynccontextmanager
    async def connected(self) -> AsyncIterator[_Socket]:
        """Connect, and close at the end.

        Raises:
            ConnectionLostError: The handshake takes too long.
        """
        async with AsyncExitStack() as stack:
            try:
                async with asyncio.timeout(_CONNECT_S):
                    socket = await stack.enter_async_context(
                        self.session.ws_connect(
                            self.url,
                            max_msg_size=FRAME_BYTES_MAX,
                            compress=_COMPRESSION_BITS,
                            decode_text=False,
                            timeout=aiohttp.ClientWSTimeout(ws_close=_CLOSE_S),
                        )
                    )
            except TimeoutError as error:
                raise ConnectionLostError(f"not connected within {_CONNECT_S:.0f} s") from error
            yield socket


class Connection:
    """The connection of one group. `number` is that of the one that stands, 0 while none does."""

    def __init__(self, name: str, group: Group, sink: Sink, dialling: Dialling) -> None:
        self.name = name
        self.number = 0
        self.carried = [sink.feed(feed) for feed in group.feeds]
        self._group = group
        self._sink = sink
        self._dialling = dialling
        self._conversation: Conversation | None = None
        self._silent_s = 0.0
        self._stands_since_s = inf
        self._given_up = ""

    async def run(self) -> None:
        """Hold a connection until cancelled, one after the other."""
        failures = 0
        loop = asyncio.get_running_loop()
        while True:
            self._stands_since_s = inf
            lost: BaseExceptionGroup[BaseException] | None = None
            try:
                await self._hold()
            except* _LOST as group:
                lost = group
            error = _first(lost)
            failures = 1 if loop.time() - self._stands_since_s > _STEADY_S else failures + 1
            asked_s = retry_after_s(error.headers) if isinstance(error, aiohttp.ClientResponseError) else 0.0
            retry_s = _BACKOFF.delay_s(failures, self._dialling.chance, retry_after_s=asked_s)
            self._dialling.events.connection_failed(error, retry_s=retry_s)
            await asyncio.sleep(retry_s)

    def reconnect(self, reason: str) -> None:
        """End it, so that another is made in its place."""
        self._given_up = reason

    def resubscribe(self, feeds: Collection[LaneFeed], reason: str) -> None:  # noqa: ARG002 - the stall is noted with it
        """Leave these of its feeds and subscribe them anew."""
        if self._conversation:
            self._conversation.resubscribe(feeds, asyncio.get_running_loop().time())

    async def _hold(self) -> None:
        """Connect and converse; every way out but being cancelled is an error."""
        pace = self._dialling.pace
        async with AsyncExitStack() as arrival:
            await arrival.enter_async_context(pace.arriving)
            await pace.connections.turn()
            async with self._dialling.connected() as socket:
                self._stands_since_s = asyncio.get_running_loop().time()
                await self._converse(socket, arrival)

    async def _converse(self, socket: _Socket, arrival: AsyncExitStack) -> None:
        """Converse; `arrival` ends with the first message."""
        dialling = self._dialling
        number = next(dialling.numbers)
        conversation = self._conversation = Conversation(
            self._group,
            self._sink,
            conn=number,
            depth=dialling.depth,
            chance=dialling.chance,
            is_signed=dialling.signer is not None,
        )
        self.number, self._silent_s, self._given_up = number, 0.0, ""
        self._sink.note(Event.CONNECTED, conversation.feeds, reason=dialling.url, conn=number)
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._speak(socket, conversation, arrival))
                tasks.create_task(self._listen(socket, conversation))
        except* _LOST as group:
            self._sink.note(Event.DISCONNECTED, conversation.feeds, reason=_reason(_first(group)), conn=number)
            raise
        finally:
            self.number = 0
            self._conversation = None

    async def _listen(self, socket: _Socket, conversation: Conversation) -> None:
        now, time_s = self._sink.now, asyncio.get_running_loop().time
        while True:
            message = await socket.receive()
            at_ns = now()
            if message.type in {aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.BINARY}:
                self._silent_s = 0.0
                conversation.take(message.data, at_ns=at_ns, now_s=time_s())
            elif isinstance(error := socket.exception(), Exception):
                raise ConnectionLostError(_reason(error)) from error
            else:
                raise ConnectionLostError(f"closed with code {socket.close_code}")

    async def _speak(self, socket: _Socket, conversation: Conversation, arrival: AsyncExitStack) -> None:
        time_s = asyncio.get_running_loop().time
        looked_s = time_s()
        is_first = True
        while True:
            now_s = time_s()
            self._silent_s += min(now_s - looked_s, _LOOK_S_MAX)
            looked_s = now_s
            if self._silent_s > _SILENT_S:
                raise ConnectionLostError(f"nothing for {_SILENT_S:.0f} s, where a heartbeat comes every second")
            if self._given_up:
                raise ConnectionLostError(self._given_up)
            if conversation.unanswered_s(now_s) > _ANSWER_S:
                raise ConnectionLostError(f"no answer to a request within {_ANSWER_S:.0f} s")
            if not conversation.is_due(now_s):
                await asyncio.sleep(_LOOK_S)
                continue
            await self._dialling.pace.messages.turn(is_urgent=is_first)
            if request := conversation.next_request(time_s()):
                await socket.send_str(self._message(request))
                is_first = False
                await arrival.aclose()

    def _message(self, request: Request) -> str:
        signer = self._dialling.signer
        message = {"type": request.type, "channel": request.channel}
        products = {"product_ids": list(request.products)} if request.products else {}
        signed = {"jwt": signer.token(self._sink.now() // _NS_PER_S)} if signer else {}
        return orjson.dumps({**message, **products, **signed}).decode()


def _first(lost: BaseExceptionGroup[BaseException] | None) -> Exception:
    for error in lost.exceptions if lost else ():
        if isinstance(error, BaseExceptionGroup):
            return _first(error)
        if isinstance(error, Exception):
            return error
    return ConnectionLostError("the conversation ended")


def _reason(error: Exception) -> str:
    return str(error) if isinstance(error, ConnectionLostError) else f"{type(error).__name__}: {error}"[:500]


def retry_after_s(headers: Mapping[str, str] | None) -> float:
    """Return what `Retry-After` of a reply asks for, s, at most 300; 0.0 where it does not, or by a date."""
    text = headers.get("Retry-After", "") if headers else ""
    return min(float(text), _RETRY_AFTER_S_MAX) if text.isdecimal() else 0.0

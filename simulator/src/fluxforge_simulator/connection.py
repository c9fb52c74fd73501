"""Connections: one client's socket, the frames waiting for it, and the pings on it.

Frames leave in the order in which they were offered and are entered in the ledger as they leave. Whoever awaits `send`
waits while `_SEND_WAITING_MAX` frames pile up; a client that lets more than `_WAITING_MAX` pile up is cut off, as at a
venue. Between the two there is always room for answers.
"""

import asyncio
from collections.abc import Callable, Iterable

from aiohttp import WSMsgType, web

from fluxforge.ports.clock import Clock
from fluxforge_simulator.connection_fault import ConnectionFault
from fluxforge_simulator.frame import Feed, Frame, Kind
from fluxforge_simulator.ledger import Ledger
from fluxforge_simulator.tampering import Tampering

_SEND_WAITING_MAX = 10_000
_WAITING_MAX = 20_000


class Connection:
    """One client's socket. `number` counts the connections of a run from 1."""

    def __init__(
        self,
        number: int,
        exchange: str,
        socket: web.WebSocketResponse,
        ledger: Ledger,
        clock: Clock,
        abort: Callable[[], None],
    ) -> None:
        self.number = number
        self.exchange = exchange
        self.closed = asyncio.Event()
        self.tampering = Tampering()
        self.subscribed: set[Feed] = set()
        """What is subscribed on it: whoever leads its conversation keeps that here, and forgets what is taken away."""
        self._carried: set[Feed] = set()
        self._socket = socket
        self._ledger = ledger
        self._clock = clock
        self._abort = abort
        self._waiting: asyncio.Queue[Frame] = asyncio.Queue(_WAITING_MAX)
        self._room = asyncio.Event()
        self._room.set()
        self._pongs: dict[bytes, asyncio.Event] = {}

    def offer(self, frames: Iterable[Frame]) -> None:
        """Queue frames without waiting; a client that has no room left is cut off."""
        try:
            for frame in frames:
                self._waiting.put_nowait(frame)
        except asyncio.QueueFull:
            self.abort()

    async def send(self, frame: Frame) -> None:
        """Queue a frame, waiting for room. On a closed connection the frame is forgotten."""
        if self._waiting.qsize() >= _SEND_WAITING_MAX:
            self._room.clear()
        while not self._room.is_set() and not self.closed.is_set():
            await self._first(self._room)
        if not self.closed.is_set():
            self.offer((frame,))

    def carries(self, fault: ConnectionFault) -> bool:
        """Tell whether a fault is about a feed that was sent here, or about no feed."""
        is_any = fault.channel is None and fault.symbol is None
        return is_any or any(fault.names(feed.channel, feed.symbol) for feed in self._carried)

    def forget(self, fault: ConnectionFault) -> None:
        """Forget the subscriptions that a fault is about."""
        self.subscribed.difference_update([feed for feed in self.subscribed if fault.names(feed.channel, feed.symbol)])

    def abort(self) -> None:
        """Reset the connection."""
        self.closed.set()
        self._abort()

    async def close(self, code: int) -> None:
        """Close the connection in order; what is still queued is forgotten."""
        self.closed.set()
        await self._socket.close(code=code, message=b"closed on purpose")

    async def _first(self, event: asyncio.Event) -> None:
        """Await an event, but no longer than the connection lasts."""
        waits = {asyncio.ensure_future(one.wait()) for one in (event, self.closed)}
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()

    async def ping(self) -> None:
        """Send a ping behind everything queued and return when it has been answered or the connection has closed."""
        data = b"end-%d" % len(self._pongs)
        answered = self._pongs[data] = asyncio.Event()
        await self.send(Frame(data, Kind.PING))
        await self._first(answered)

    async def write(self) -> None:
        """Send what is queued until the connection closes."""
        while not self.closed.is_set():
            frame = await self._waiting.get()
            if self._waiting.qsize() < _SEND_WAITING_MAX // 2:
                self._room.set()
            try:
                for passed in self.tampering.passed(frame):
                    await self._write(passed)
            except ConnectionError:
                self.closed.set()

    async def _write(self, frame: Frame) -> None:
        if self.closed.is_set():
            return
        if frame.channel is not None and frame.symbol is not None and frame.kind in {Kind.DATA, Kind.SNAPSHOT}:
            self._carried.add(Feed(frame.channel, frame.symbol))
        self._enter(frame)
        if frame.kind is Kind.DROPPED:
            return
        if frame.payload in self._pongs:
            await self._socket.ping(frame.payload)
        else:
            await self._socket.send_frame(frame.payload, WSMsgType.BINARY if frame.is_binary else WSMsgType.TEXT)

    def _enter(self, frame: Frame) -> None:
        self._ledger.enter(frame, conn=self.number, exchange=self.exchange, sent_ns=self._clock.wall_ns())

    async def answer_ping(self, data: bytes) -> None:
        """Answer a client's protocol ping at once."""
        if self.tampering.is_frozen:
            return
        self._enter(Frame(data, Kind.PING))
        await self._socket.pong(data)

    def take_pong(self, data: bytes) -> None:
        """Take note of the answer to a ping."""
        if data in self._pongs:
            self._pongs[data].set()

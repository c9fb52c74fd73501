"""A simulated client connection: what the JetStream adapters stand on, over a network that delays, loses and breaks.

Each direction keeps its order, as TCP does, but for answers of the server's API, which come when they come. A break
loses what is under way: of what was sent any first part still arrives, even after the client is connected again.
"""

import asyncio
import random
from collections import deque
from collections.abc import Callable, Mapping
from contextvars import Context, copy_context
from dataclasses import dataclass
from types import SimpleNamespace

from fluxforge.adapters.jetstream.connection import REQUEST_S, NoRespondersError
from fluxforge.domain.errors import BusUnavailableError, FatalError
from tests.sim.jetstream import Server
from tests.sim.loop import PROCESS, KilledError, Process, SimLoop

_LATENCY_S = 0.001
_LAG_S = 9.0


@dataclass(slots=True)
class Weather:
    """How the network behaves: chances per message. `late` ones take seconds; `reorder` breaks the acks' order."""

    lost: float = 0.0
    late: float = 0.0
    reorder: bool = False


@dataclass(slots=True)
class Received:
    """A message as nats-py hands it to a callback."""

    subject: str
    reply: str
    headers: dict[str, str] | None
    data: bytes


@dataclass(slots=True)
class _UnderWay:
    deliver: Callable[[], None]
    is_lost: bool = False


class Wire:
    """One direction of one connection, in order."""

    def __init__(self, loop: SimLoop, context: Context) -> None:
        self._loop = loop
        self._context = context
        self._queue: deque[_UnderWay] = deque()
        self._last_s = 0.0

    def put(self, deliver: Callable[[], None], delay_s: float) -> None:
        self._last_s = at_s = max(self._last_s, self._loop.now_s + delay_s)
        self._queue.append(_UnderWay(deliver))
        self._loop.call_at(at_s, self._arrive, context=self._context)

    def put_out_of_order(self, deliver: Callable[[], None], delay_s: float) -> None:
        self._loop.call_later(delay_s, deliver, context=self._context)

    def cut(self, kept: int) -> None:
        """Lose all but the first `kept` of what is under way; what follows does not wait for them."""
        for message in list(self._queue)[kept:]:
            message.is_lost = True
        self._last_s = 0.0

    def __len__(self) -> int:
        return len(self._queue)

    def _arrive(self) -> None:
        message = self._queue.popleft()
        if not message.is_lost:
            message.deliver()


class Reply:
    """Where the server sends what belongs to one life of a connection."""

    def __init__(self, connection: "SimConnection", *, is_api: bool) -> None:
        self._connection = connection
        self._life = connection.life
        self._is_api = is_api

    @property
    def is_open(self) -> bool:
        return self._connection.life == self._life and self._connection.is_linked

    def __call__(self, subject: str, reply: str, headers: dict[str, str] | None, data: bytes) -> None:
        if self.is_open:
            self._connection.bring(self._life, subject, reply, headers, data, is_api=self._is_api)


class SimConnection:
    """One process' connection to the server, with what `Connection` offers the adapters."""

    def __init__(self, server: Server, loop: SimLoop, chance: random.Random, weather: Weather) -> None:
        self.client = SimpleNamespace(max_payload=8_388_608, connected_url=None)
        self.server_id = "simulated"
        self.life = 0
        self.is_linked = True
        self.process: Process | None = PROCESS.get()
        self._server = server
        self._loop = loop
        self._chance = chance
        self._weather = weather
        self._own = copy_context()
        self._neutral = copy_context()
        self._neutral.run(PROCESS.set, None)
        self._out = Wire(loop, self._neutral)
        self._in = Wire(loop, self._own)
        self._listeners: dict[Callable[[], None], None] = {}
        self._subscriptions: dict[str, Callable[[Received], None]] = {}
        self._waiting: dict[str, asyncio.Future[Received]] = {}
        self._failure: FatalError | None = None
        self._failed = asyncio.Event()
        self._names = 0

    # What the network does

    def drop(self) -> None:
        """Break the connection; the client notices at once."""
        if not self.is_linked:
            return
        self._unlink()
        self._loop.call_soon(self._on_loss, context=self._own)

    def link(self) -> None:
        """Connect again."""
        if self.is_linked or (self.process is not None and self.process.is_dead):
            return
        self.life += 1
        self.is_linked = True
        self._loop.call_soon(self._tell, context=self._own)

    def die(self) -> None:
        """End with the process."""
        self._unlink()
        self.life += 1

    def bring(
        self, life: int, subject: str, reply: str, headers: dict[str, str] | None, data: bytes, *, is_api: bool
    ) -> None:
        """Bring a message of the server to the client."""
        if self._chance.random() < self._weather.lost:
            return
        target, _, original = subject.partition("\0")

        def deliver() -> None:
            if self.life == life and self.is_linked:
                self._hand_out(target, Received(original or target, reply, headers, data))

        put = self._in.put_out_of_order if is_api or self._weather.reorder else self._in.put
        put(deliver, self._delay_s())

    def _unlink(self) -> None:
        self.is_linked = False
        self._out.cut(self._chance.randint(0, len(self._out)))
        self._in.cut(0)

    def _on_loss(self) -> None:
        for waiting in tuple(self._waiting.values()):
            if not waiting.done():
                waiting.set_exception(BusUnavailableError("request", "the connection broke"))
        self._tell()

    def _delay_s(self) -> float:
        if self._weather.late and self._chance.random() < self._weather.late:
            return self._chance.random() * _LAG_S
        return self._chance.random() * _LATENCY_S

    def _transmit(self, subject: str, reply: str, headers: Mapping[str, str] | None, data: bytes) -> None:
        if self._chance.random() < self._weather.lost:
            return
        is_api = subject.startswith("$JS.")
        answer = Reply(self, is_api=is_api)
        taken = dict(headers or {})

        def arrive() -> None:
            if not self._server.is_up:
                return
            if is_api:  # the server's API works beside what it stores
                self._loop.call_later(self._delay_s() / 2, handle, context=self._neutral)
            else:
                handle()

        def handle() -> None:
            if self._server.is_up:
                self._loop.note(self.process, f"-> {subject} {taken.get('Nats-Msg-Id', '')} {reply}")
                self._server.handle(subject, reply, taken, data, answer)

        self._out.put(arrive, self._delay_s())

    def _hand_out(self, subject: str, message: Received) -> None:
        waiting = self._waiting.get(subject)
        if waiting is not None:
            if not waiting.done():
                waiting.set_result(message)
            return
        for pattern, callback in tuple(self._subscriptions.items()):
            wild = pattern.rstrip("*.")
            if subject == pattern or (pattern.endswith("*") and subject.startswith(f"{wild}.")):
                callback(message)

    def _tell(self) -> None:
        for listener in tuple(self._listeners):
            listener()

    def _refuse_the_dead(self) -> None:
        if self.process is not None and self.process.is_dead:
            raise KilledError

    # What the adapters use

    @property
    def is_connected(self) -> bool:
        self._refuse_the_dead()
        return self.is_linked

    def listen(self, listener: Callable[[], None]) -> Callable[[], object]:
        self._listeners[listener] = None
        return lambda: self._listeners.pop(listener, None)

    def fail(self, error: FatalError) -> None:
        self._failure = self._failure or error
        self._failed.set()
        self._tell()

    def raise_if_failed(self) -> None:
        self._refuse_the_dead()
        if self._failure is not None:
            raise self._failure

    async def failed(self) -> None:
        await self._failed.wait()
        self.raise_if_failed()

    async def request(
        self, subject: str, payload: bytes, *, operation: str, headers: Mapping[str, str] | None = None
    ) -> Received:
        self.raise_if_failed()
        if not self.is_linked:
            raise BusUnavailableError(operation, "not connected")
        inbox = self.new_inbox()
        waiting = self._waiting[inbox] = self._loop.create_future()
        self._transmit(subject, inbox, headers, payload)
        try:
            async with asyncio.timeout(REQUEST_S):
                answer = await waiting
        except TimeoutError as error:
            raise BusUnavailableError(operation, "no answer") from error
        finally:
            self._waiting.pop(inbox, None)
        if not answer.data and answer.headers and answer.headers.get("Status") == "503":
            raise NoRespondersError(operation)
        return answer

    async def send(self, subject: str, payload: bytes, reply: str = "", headers: dict[str, str] | None = None) -> bool:
        self.raise_if_failed()
        if not self.is_linked:
            return False
        self._transmit(subject, reply, headers, payload)
        if self._chance.random() < 0.1:
            await asyncio.sleep(0)
        return True

    async def announce(self, _subject: str, _payload: bytes) -> None:
        self.raise_if_failed()

    async def subscribe(self, subject: str, callback: Callable[[Received], None]) -> str:
        self._refuse_the_dead()
        self._subscriptions[subject] = callback
        return subject

    async def unsubscribe(self, subscription: str) -> None:
        self._refuse_the_dead()
        self._subscriptions.pop(subscription, None)

    def new_inbox(self) -> str:
        self._names += 1
        return f"_INBOX.{self.process}.{self._names}"

    async def close(self) -> None:
        self._refuse_the_dead()
        self._unlink()

"""The work queue of ETL workers: the durable consumer `etl` on SEGMENTS, one delivery at a time.

Kept: a delivery that arrives after its `claim` gave up is handed to the next one, or given back at `close`; it never
waits out its acknowledgement deadline in a forgotten buffer.
"""

import asyncio
from collections import deque
from typing import Final

import orjson
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from typing_extensions import override

from fluxforge.adapters.jetstream.api import JSON, NS_PER_S, Api, ApiError, ErrCode
from fluxforge.adapters.jetstream.connection import Connection, until
from fluxforge.domain.errors import BusUnavailableError, ConfigurationError, FatalError
from fluxforge.ports.bus import Announcement, Backlog, Claim, WorkQueue

STREAM: Final = "SEGMENTS"
CONSUMER: Final = "etl"
_REQUEST_S_MIN: Final = 0.1
_RETRY_S: Final = 0.5
_KEEP_S: Final = 10.0  # well below the consumer's acknowledgement deadline
_EXPIRED: Final = "408"
_ACK_TOKENS: Final = 9


class JetStreamClaim(Claim):
    """One delivery; each verb is confirmed by the server."""

    def __init__(self, connection: Connection, message: Msg) -> None:
        self._connection = connection
        self._message = message

    @property
    @override
    def subject(self) -> str:
        return self._message.subject

    @property
    @override
    def payload(self) -> bytes:
        return self._message.data

    @property
    @override
    def num_delivered(self) -> int:
        tokens = self._message.reply.split(".")
        return int(tokens[4 if len(tokens) == _ACK_TOKENS else 6])

    @override
    async def ack(self) -> None:
        await self._say(b"+ACK")

    @override
    async def nak(self, delay_s: float) -> None:
        await self._say(b"-NAK " + orjson.dumps({"delay": int(delay_s * NS_PER_S)}))

    @override
    async def term(self) -> None:
        await self._say(b"+TERM")

    @override
    async def in_progress(self) -> None:
        await self._say(b"+WPI")

    async def _say(self, verb: bytes) -> None:
        operation = f"{verb[:4].decode()} {self.subject}"
        await self._connection.request(self._message.reply, verb, operation=operation)


class JetStreamWorkQueue(WorkQueue):
    """Claims from the durable consumer `etl`. Made by `Bus.work`."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self._connection = api.connection
        self._arrived: deque[tuple[float, Msg]] = deque()
        self._asked_until_s = 0.0
        self._is_suspect = False
        self._inbox = self._connection.new_inbox()
        self._subscription: Subscription | None = None
        self._news = asyncio.Event()
        self._unlisten = self._connection.listen(self._on_connection)

    async def start(self) -> None:
        """Make sure that the consumer stands, and listen for deliveries."""
        await self.backlog()
        self._subscription = await self._connection.subscribe(f"{self._inbox}.*", self._on_message)

    @override
    async def claim(self, *, wait_s: float) -> Claim | None:
        loop = asyncio.get_running_loop()
        deadline_s = loop.time() + wait_s
        while (message := self._next()) is None:
            self._connection.raise_if_failed()
            self._news.clear()
            if self._is_suspect:
                await self.backlog()
                self._is_suspect = False
            if self._connection.is_connected and self._asked_until_s <= loop.time():
                await self._ask(max(deadline_s - loop.time(), _REQUEST_S_MIN))
            wake_s = min(deadline_s, max(self._asked_until_s, loop.time() + _RETRY_S))
            if not await until(wake_s - loop.time(), self._news.wait()) and loop.time() >= deadline_s:
                return None
        return JetStreamClaim(self._connection, message)

    @override
    async def backlog(self) -> Backlog:
        # The consumer first: what is delivered or published between the two answers is then counted, never missed.
        consumer = await self._call(f"CONSUMER.INFO.{STREAM}.{CONSUMER}")
        stream = await self._call(f"STREAM.INFO.{STREAM}")
        num_pending = _num_undelivered(stream["state"], consumer["delivered"]["stream_seq"])
        num_ack_pending = consumer["num_ack_pending"]
        oldest = None
        if num_pending or num_ack_pending:
            query = {"seq": consumer["ack_floor"]["stream_seq"] + 1, "next_by_subj": ">"}
            oldest = await self._api.message(STREAM, query)
        return Backlog(num_pending, num_ack_pending, oldest.stored_ns if oldest else None)

    @override
    async def announcement(self, subject: str) -> Announcement:
        # Messages are settled in any order: above the floor there may be settled ones, below it no others.
        message = await self._api.message(STREAM, {"last_by_subj": subject})
        consumer = await self._call(f"CONSUMER.INFO.{STREAM}.{CONSUMER}")
        seq = message.seq if message else 0
        return Announcement(seq, is_due=seq > consumer["ack_floor"]["stream_seq"])

    @override
    async def close(self) -> None:
        self._unlisten()
        if self._subscription is not None:
            await self._connection.unsubscribe(self._subscription)
        while self._arrived:
            try:
                await JetStreamClaim(self._connection, self._arrived.popleft()[1]).nak(0)
            except (BusUnavailableError, FatalError):
                continue  # its deadline gives it back

    async def _call(self, verb: str) -> JSON:
        try:
            return await self._api.call(verb)
        except ApiError as error:
            if error.err_code in (ErrCode.CONSUMER_NOT_FOUND, ErrCode.STREAM_NOT_FOUND):
                raise ConfigurationError(
                    f"the bus has no consumer {CONSUMER} on {STREAM}: run `fluxforge provision`"
                ) from error
            raise

    def _next(self) -> Msg | None:
        now_s = asyncio.get_running_loop().time()
        while self._arrived:
            arrived_s, message = self._arrived.popleft()
            if arrived_s + _KEEP_S > now_s:
                return message
        return None  # what lay too long is on its way to somebody else

    async def _ask(self, expires_s: float) -> None:
        request = orjson.dumps({"batch": 1, "expires": int(expires_s * NS_PER_S)})
        subject = f"$JS.API.CONSUMER.MSG.NEXT.{STREAM}.{CONSUMER}"
        if await self._connection.send(subject, request, f"{self._inbox}.1"):
            self._asked_until_s = asyncio.get_running_loop().time() + expires_s

    def _on_message(self, message: Msg) -> None:
        if message.reply:
            self._asked_until_s = 0.0
            self._arrived.append((asyncio.get_running_loop().time(), message))
            self._news.set()
        elif (message.headers or {}).get("Status") != _EXPIRED:
            self._is_suspect = True  # the consumer may be gone
            self._asked_until_s = asyncio.get_running_loop().time() + _RETRY_S
            self._news.set()

    def _on_connection(self) -> None:
        self._asked_until_s = 0.0
        self._news.set()


def _num_undelivered(stream: JSON, delivered_seq: int) -> int:
    """Return how many messages stand behind the last one delivered.

    Not the consumer's own `num_pending`: it is counted after the event's publisher was answered, so that a drain which
    looks at once could see nothing left. The stream keeps what is acknowledged and loses messages at its beginning
    alone (age, size, purge), delivered or not: what is left behind `delivered_seq` is an unbroken run to `last_seq`.
    """
    return int(max(0, min(stream["last_seq"] - delivered_seq, stream["messages"])))

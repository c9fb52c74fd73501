"""The reader of a lane: its stream in order from a sequence on, by an ack-less pull consumer with requests always open.

Kept: what `fetch` returns is the unbroken continuation of what it returned before. Consumers are cheap and never
trusted: one that jumps, vanishes or falls silent is replaced by one that starts at the right sequence.
"""

import asyncio
import contextlib
import random
from collections import deque
from collections.abc import Sequence
from typing import Final

import orjson
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from typing_extensions import override

from fluxforge.adapters.jetstream.api import NS_PER_S, Api, ApiError, ErrCode
from fluxforge.adapters.jetstream.connection import until
from fluxforge.domain.backoff import Backoff
from fluxforge.domain.block import MSG_ID, Block
from fluxforge.domain.errors import BusUnavailableError, FatalError, LaneBrokenError, RecordError, SequenceGoneError
from fluxforge.domain.lane import Lane
from fluxforge.ports.lanes import LaneReader, StoredBlock

_REQUEST_BLOCKS: Final = 64
_REQUEST_S: Final = 30
_INACTIVE_S: Final = 300
_CHECK_S: Final = 1.0
_RETRY: Final = Backoff(base_s=0.1, cap_s=2.0)
_ACK_TOKENS: Final = 9  # $JS.ACK.<stream>.<consumer>.<delivered>.<stream seq>...; later forms put two tokens before
_PENDING: Final = "Nats-Pending-Messages"


class JetStreamReader(LaneReader):
    """Reads one epoch's stream. Made by `Bus.reader`; what waits in memory is bounded by a request's bytes."""

    def __init__(self, api: Api, lane: Lane, epoch: int, *, from_seq: int) -> None:
        self._api = api
        self._connection = api.connection
        self._lane = lane
        self._stream = lane.stream(epoch)
        self._subject = lane.subject(epoch)
        self._next_seq = from_seq  # the next to hand out
        self._arrived: deque[Msg] = deque()  # contiguous from there
        self._arrived_bytes = 0
        self._request_bytes = self._connection.client.max_payload * 9 // 8
        self._credit = 0  # messages the server may still send on open requests
        self._requests = 0
        self._consumer: str | None = None
        self._subscription: Subscription | None = None
        self._inbox = ""
        self._is_broken = False
        self._has_jumped = False
        self._created: str | None = None
        self._failures = 0
        self._checked_s = 0.0
        self._newest: Msg | None = None
        self._promised_seq = 0  # what the stream held when it was last looked at
        self._news = asyncio.Event()
        self._unlisten = self._connection.listen(self._on_connection)

    @override
    async def fetch(self, *, blocks_max: int, wait_s: float) -> Sequence[StoredBlock]:
        loop = asyncio.get_running_loop()
        deadline_s = loop.time() + wait_s
        while not self._arrived:
            self._connection.raise_if_failed()
            self._news.clear()
            if self._connection.is_connected:
                await self._stand_ready()  # takes what it takes: cut short it would leave consumers behind
            if not self._arrived and not await until(deadline_s - loop.time(), self._news.wait()):
                break
        blocks = [self._hand_out() for _ in range(min(blocks_max, len(self._arrived)))]
        if not blocks:
            await self._look_whether_silent()
        elif not self._is_broken:
            await self._ask()
        return blocks

    @override
    async def close(self) -> None:
        self._unlisten()
        await self._drop_consumer()

    async def _stand_ready(self) -> None:
        try:
            if self._consumer is None or self._is_broken:
                await self._begin()
            await self._ask()
        except BusUnavailableError:
            self._is_broken = True
            self._news.set()

    async def _ask(self) -> None:
        """Keep a request open ahead of what is read, so that the server never waits for us."""
        if self._credit > _REQUEST_BLOCKS // 2 or self._arrived_bytes > self._request_bytes:
            return
        request = {"batch": _REQUEST_BLOCKS, "max_bytes": self._request_bytes, "expires": _REQUEST_S * NS_PER_S}
        self._requests += 1
        subject = f"$JS.API.CONSUMER.MSG.NEXT.{self._stream}.{self._consumer}"
        if await self._connection.send(subject, orjson.dumps(request), f"{self._inbox}.{self._requests}"):
            self._credit += _REQUEST_BLOCKS

    async def _begin(self) -> None:
        """Create a consumer behind what has arrived, on a stream that can continue it."""
        if self._failures:
            await asyncio.sleep(_RETRY.delay_s(self._failures, random.random))
        self._failures += 1
        await self._drop_consumer()
        start_seq = self._next_seq + len(self._arrived)
        await self._check_stream(start_seq)
        self._inbox = self._connection.new_inbox()
        self._subscription = await self._connection.subscribe(f"{self._inbox}.*", self._on_message)
        config = {
            "deliver_policy": "by_start_sequence",
            "opt_start_seq": start_seq,
            "ack_policy": "none",
            "inactive_threshold": _INACTIVE_S * NS_PER_S,
            "mem_storage": True,
            "num_replicas": 1,
        }
        try:
            created = await self._api.call(
                f"CONSUMER.CREATE.{self._stream}", {"stream_name": self._stream, "config": config}
            )
        except ApiError as error:
            if error.err_code == ErrCode.STREAM_NOT_FOUND:
                raise self._broken("is gone") from error
            raise
        self._consumer = created["name"]
        self._is_broken = self._has_jumped = False

    async def _check_stream(self, start_seq: int) -> None:
        """Refuse a stream that cannot continue what was read."""
        info = await self._api.stream_info(self._stream)
        self._checked_s = asyncio.get_running_loop().time()
        if info is None:
            raise self._broken("is gone")
        if self._created not in (None, info["created"]):
            raise self._broken(f"was created anew at {info['created']}, it was from {self._created}")
        self._created = info["created"]
        first_seq, last_seq = info["state"]["first_seq"], info["state"]["last_seq"]
        if last_seq < start_seq - 1:
            raise self._broken(f"ends at sequence {last_seq}, {start_seq - 1} was read from it")
        await self._check_newest(start_seq - 1)
        is_missing = start_seq <= last_seq and (start_seq < first_seq or self._has_jumped)
        if is_missing and await self._api.message(self._stream, {"seq": start_seq}) is None:
            following = {"seq": start_seq, "next_by_subj": self._subject}
            standing = await self._api.message(self._stream, following)
            found = f"holds no sequence {start_seq} any more; it goes from {first_seq} to {last_seq}"
            raise self._gone(found, start_seq, standing.seq - 1 if standing else last_seq)

    async def _check_newest(self, seq: int) -> None:
        """Refuse a stream that lost what came last and holds something else there: sequences, even ids, come again."""
        standing = await self._api.message(self._stream, {"seq": seq}) if self._newest else None
        if standing is None or self._newest is None:
            return
        came = self._newest.headers or {}
        if (standing.headers.get(MSG_ID), standing.payload) != (came.get(MSG_ID), self._newest.data):
            raise self._broken(f"holds another block at {seq} than was read there")

    async def _look_whether_silent(self) -> None:
        """After a wait for nothing, make sure that there is nothing: a consumer can fall silent for ever."""
        now_s = asyncio.get_running_loop().time()
        if not self._connection.is_connected or self._checked_s + _CHECK_S > now_s:
            return
        self._checked_s = now_s
        if self._promised_seq >= self._next_seq:
            self._is_broken = True
        try:
            info = await self._api.stream_info(self._stream)
        except BusUnavailableError:
            return  # nothing was learned; the next wait looks again
        if info is None or info["state"]["last_seq"] < self._next_seq - 1 or info["created"] != self._created:
            self._is_broken = True
        else:
            self._promised_seq = info["state"]["last_seq"]

    async def _drop_consumer(self) -> None:
        self._credit = 0
        if self._subscription is not None:
            await self._connection.unsubscribe(self._subscription)
            self._subscription = None
        if self._consumer is not None:
            consumer, self._consumer = self._consumer, None
            with contextlib.suppress(BusUnavailableError, FatalError):  # gone, or removed by the server in time
                await self._api.call(f"CONSUMER.DELETE.{self._stream}.{consumer}")

    def _hand_out(self) -> StoredBlock:
        message = self._arrived[0]
        try:
            block = Block.from_message(message.headers or {}, message.data)
        except RecordError as error:
            found = f"holds something else than a block at {self._next_seq}: {error}"
            raise self._gone(found, self._next_seq, self._next_seq) from error
        self._arrived.popleft()
        self._arrived_bytes -= len(message.data)
        stored = StoredBlock(self._next_seq, block)
        self._next_seq += 1
        return stored

    def _on_message(self, message: Msg) -> None:
        self._credit -= 1
        if not message.reply:
            self._on_status(message.headers or {})
        elif _stream_seq(message.reply) == self._next_seq + len(self._arrived):
            self._failures = 0
            self._arrived.append(message)
            self._newest = message
            self._arrived_bytes += len(message.data)
        else:
            self._is_broken = self._has_jumped = True
        self._news.set()

    def _on_status(self, headers: dict[str, str]) -> None:
        """Take back what an ended request did not bring; any end but its time or its bytes ends the consumer."""
        left = headers.get(_PENDING)
        self._credit += 1 - int(left or 0)
        if left is None or self._credit < 0:
            self._is_broken = True

    def _on_connection(self) -> None:
        self._is_broken = True  # the server may be another, or have forgotten the consumer and its requests
        self._news.set()

    def _gone(self, found: str, first: int, last: int) -> SequenceGoneError:
        return SequenceGoneError(str(self._lane), f"stream {self._stream} {found}", first, last)

    def _broken(self, found: str) -> LaneBrokenError:
        return LaneBrokenError(str(self._lane), f"stream {self._stream} {found}")


def _stream_seq(reply: str) -> int:
    tokens = reply.split(".")
    return int(tokens[5 if len(tokens) == _ACK_TOKENS else 7])

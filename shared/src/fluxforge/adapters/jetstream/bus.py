"""The bus: one connection and the ports it fills."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Final, Protocol

from nats.aio.msg import Msg
from typing_extensions import override

from fluxforge.adapters.jetstream.api import Api
from fluxforge.adapters.jetstream.connection import Connection
from fluxforge.adapters.jetstream.durability import check_durability
from fluxforge.adapters.jetstream.events import JetStreamEvents
from fluxforge.adapters.jetstream.lane_reader import JetStreamReader
from fluxforge.adapters.jetstream.lane_states import JetStreamLaneStates
from fluxforge.adapters.jetstream.lane_streams import JetStreamLaneStreams
from fluxforge.adapters.jetstream.leases import JetStreamLeases
from fluxforge.adapters.jetstream.options import BusOptions
from fluxforge.adapters.jetstream.provision import verify
from fluxforge.adapters.jetstream.publisher import JetStreamPublisher
from fluxforge.adapters.jetstream.work_queue import JetStreamWorkQueue
from fluxforge.adapters.lane_window import Window
from fluxforge.domain.block import Block, BlockId
from fluxforge.domain.errors import LaneMovedError
from fluxforge.domain.lane import Lane
from fluxforge.ports.bus import Bus, Events, WorkQueue
from fluxforge.ports.lanes import LanePublisher, LaneReader, LaneStates, LaneStreams, Leases

_STATUS: Final = "status.>"
_COMMITS: Final = "parts.committed.>"


class Changed(Protocol):
    """Is told whether the connection stands, whenever that may have changed."""

    def __call__(self, *, connected: bool) -> None:
        """Take note."""
        ...


async def connect(options: BusOptions, *, name: str, changed: Changed | None = None) -> "JetStreamBus":
    """Connect to a bus that is provisioned and syncs what it acknowledges; `name` shows in the server's monitoring.

    `changed` is told once the bus is there, and whenever it goes or returns, until we close.

    Raises:
        BusUnavailableError: No server answered.
        ConfigurationError: It refuses the credentials or the payload size, or is not provisioned.
        BusNotDurableError: It is known not to sync every write.
    """
    connection = await Connection.open(options, name)
    try:
        await check_durability(connection, options)
        await verify(Api(connection))
    except BaseException:
        await connection.close()
        raise
    if changed is not None:
        tell = changed
        connection.listen(lambda: None if connection.is_closing else tell(connected=connection.is_connected))
        tell(connected=True)
    return JetStreamBus(connection, options)


class JetStreamBus(Bus):
    """The bus on one connection. Made by `connect`."""

    def __init__(self, connection: Connection, options: BusOptions) -> None:
        self._connection = connection
        self._api = Api(connection)
        self._states = JetStreamLaneStates(self._api)
        self._leases = JetStreamLeases(self._api)
        self._streams = JetStreamLaneStreams(self._api, options)
        self._events = JetStreamEvents(self._api)

    @property
    @override
    def states(self) -> LaneStates:
        return self._states

    @property
    @override
    def leases(self) -> Leases:
        return self._leases

    @property
    @override
    def streams(self) -> LaneStreams:
        return self._streams

    @property
    @override
    def events(self) -> Events:
        return self._events

    @property
    @override
    def connected(self) -> bool:
        return self._connection.is_connected

    @override
    def reader(self, lane: Lane, epoch: int, *, from_seq: int) -> LaneReader:
        return JetStreamReader(self._api, lane, epoch, from_seq=from_seq)

    @override
    async def publisher(
        self,
        lane: Lane,
        epoch: int,
        *,
        after: BlockId | None,
        window_blocks: int,
        on_stored: Callable[[Block], None] | None = None,
    ) -> LanePublisher:
        info = await self._streams.info(lane, epoch)
        if info is None or info.sealed:
            found = "is sealed" if info else "does not exist"
            raise LaneMovedError(str(lane), f"stream {lane.stream(epoch)} {found}")
        last = await self._streams.last(lane, epoch)
        last_id, last_seq = (last.block.id, last.stream_seq) if last else (None, info.last_seq)
        window = Window(lane, last_id if after is None else after, last_seq, on_stored=on_stored)
        window.reconcile(last_seq, last_id)
        publisher = JetStreamPublisher(self._api, lane, epoch, window=window, window_blocks=window_blocks)
        await publisher.start()
        return publisher

    @override
    async def work(self) -> WorkQueue:
        queue = JetStreamWorkQueue(self._api)
        await queue.start()
        return queue

    @override
    async def statuses(self, *, wait_s: float) -> Mapping[str, bytes]:
        return await self._heard(_STATUS, wait_s)

    @override
    async def commits(self, *, wait_s: float) -> Mapping[str, bytes]:
        return await self._heard(_COMMITS, wait_s)

    async def _heard(self, subject: str, wait_s: float) -> Mapping[str, bytes]:
        heard: dict[str, bytes] = {}

        def hear(message: Msg) -> None:
            heard[message.subject] = message.data

        subscription = await self._connection.subscribe(subject, hear)
        try:
            await asyncio.sleep(wait_s)
        finally:
            await self._connection.unsubscribe(subscription)
        return heard

    @override
    async def failed(self) -> None:
        await self._connection.failed()

    @override
    async def close(self) -> None:
        await self._connection.close()

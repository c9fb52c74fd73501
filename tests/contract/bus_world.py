"""The worlds of the bus contract: JetStream on a real server, and memory. Both can be taken away and brought back."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Protocol

from fluxforge.adapters.jetstream import BusOptions, connect
from fluxforge.adapters.jetstream.provision import provision
from fluxforge.adapters.memory.bus import MemoryBus
from fluxforge.adapters.memory.server import MemoryServer
from fluxforge.domain.block import Block, BlockId, FeedRange
from fluxforge.domain.lane import Lane
from fluxforge.ports.bus import Bus
from fluxforge.ports.lanes import LanePublisher, LaneReader, StoredBlock
from tests.servers import running_nats

LANE = Lane("ccxt", "binance", "0of1")
LANE_MAX_BYTES = 1_000_000
LEASE_TTL_S = 60  # no test takes so long that a lease ends by itself, unless it wants to


class BusWorld(Protocol):
    async def bus(self) -> Bus: ...

    async def go_away(self) -> None: ...

    async def come_back(self) -> None: ...


class MemoryWorld:
    def __init__(self, lease_ttl_s: int) -> None:
        self._server = MemoryServer(lane_max_bytes=LANE_MAX_BYTES, lease_ttl_s=lease_ttl_s)

    async def bus(self) -> Bus:
        return MemoryBus(self._server)

    async def go_away(self) -> None:
        self._server.go_away()

    async def come_back(self) -> None:
        self._server.come_back()


class JetStreamWorld:
    def __init__(self, server, options: BusOptions) -> None:
        self._server = server
        self._options = options
        self.opened: list[Bus] = []

    async def bus(self) -> Bus:
        self.opened.append(await connect(self._options, name="contract"))
        return self.opened[-1]

    async def go_away(self) -> None:
        os.kill(self._server.pid, signal.SIGKILL)
        await eventually(lambda: not any(bus.connected for bus in self.opened))

    async def come_back(self) -> None:
        await self._server.start()


@asynccontextmanager
async def jetstream_world(tmp_path: Path, lease_ttl_s: int) -> AsyncIterator[JetStreamWorld]:
    async with running_nats(tmp_path) as server:
        options = BusOptions(
            servers=(server.url,),
            lane_max_bytes=LANE_MAX_BYTES,
            lease_ttl_s=lease_ttl_s,
            monitor_port=int(server.monitor_url.rpartition(":")[2]),
        )
        await provision(options)
        world = JetStreamWorld(server, options)
        try:
            yield world
        finally:
            for bus in world.opened:
                await bus.close()


async def eventually(condition: Callable[[], bool], *, deadline_s: float = 60.0) -> None:
    """Return once the condition holds; fail when it does not in time."""
    async with asyncio.timeout(deadline_s):
        while not condition():  # noqa: ASYNC110 - what it waits for has no event
            await asyncio.sleep(0.01)


def block(n: int, *, after: int | None = -1, boot: str = "b00t", payload: bytes = b'{"v":1}\n') -> Block:
    """The n-th block of a boot, behind the one before unless told otherwise."""
    before = n - 1 if after == -1 else after
    return Block(
        id=BlockId(boot, n),
        after=BlockId(boot, before) if before else None,
        first_capture_ns=n * 1000,
        last_capture_ns=n * 1000 + 999,
        feeds=(FeedRange("orderbook", "BTC-USDT", n, n, 1), FeedRange("control", None, n, n, 1)),
        payload=payload,
    )


async def publish_all(publisher: LanePublisher, blocks: list[Block], *, settle_s: float = 60.0) -> None:
    for each in blocks:
        await publisher.publish(each)
    assert await publisher.settle(timeout_s=settle_s)


async def read_up_to(reader: LaneReader, last_seq: int, *, deadline_s: float = 60.0) -> list[StoredBlock]:
    """Fetch until a sequence has come; the order is the reader's."""
    got: list[StoredBlock] = []
    async with asyncio.timeout(deadline_s):
        while not got or got[-1].stream_seq < last_seq:
            got += await reader.fetch(blocks_max=16, wait_s=0.5)
    return got

"""A lane to be sealed again and again: each time a new bus with the same blocks, and a new data directory."""

import asyncio
import contextlib
import os
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import yaml

from fluxforge.adapters.embedded_nats import EmbeddedNats
from fluxforge.adapters.jetstream import BusOptions, JetStreamBus, connect
from fluxforge.adapters.jetstream.provision import provision
from fluxforge.adapters.local_store import LocalStore
from fluxforge.domain.block import Block
from fluxforge.domain.lane_state import LaneState
from fluxforge.domain.segment import Manifest
from tests.faults.disk.strace import PATIENCE_S, Point, Traced
from tests.servers import running_nats
from tests.traffic import LANE, Traffic, audit

_STREAMS = (LANE.stream(1), "KV_lanes", "KV_leases", "SEGMENTS", "PARTS", "DEAD")
_BY_SIZE = 6
"""Blocks of the segment that is sealed for its size; those behind it are sealed by the drain."""
_AGED_S = 7_200


class Sealing:
    """One bus, one lane on it, and the segmenter's runs over it."""

    def __init__(self, bus: JetStreamBus, server: EmbeddedNats) -> None:
        self._bus = bus
        self._server = server
        self._data = Path()
        self.blocks: Sequence[Block] = ()

    @property
    def config(self) -> Path:
        """The configuration of the present data directory; it stands beside it, on a disk that does not fail."""
        return self._server_folder / "config.yaml"

    async def renew(self, data: Path) -> None:
        """Forget everything; put the lane's blocks on the bus and `data` into the configuration."""
        self._data = data
        for stream in _STREAMS:
            await self._delete(stream)
        await provision(self._options)
        traffic = Traffic()
        blocks = [traffic.block(6, padding=30_000) for _ in range(_BY_SIZE + 2)]
        await self._bus.states.create(LANE)
        await self._bus.streams.create(LANE, 1)
        await traffic.publish(self._bus, blocks)
        self.blocks = blocks
        store = {"backend": "local", "base_dir": str(data)}
        tree = {
            "storage": {"scratch_dir": str(data), "ingestion_storage": store},
            "nats": {"servers": [self._server.url], "lane_max_bytes": "64MB"},
            "ingestion": {"segment_max_mb": 1},
            "telemetry": {"port": 0, "log_format": "json"},
        }
        self.config.write_text(yaml.safe_dump(tree))

    async def run(self, traced: Traced, point: Point | None = None) -> int:
        """Run a segmenter until everything is sealed and it was asked to end, or until it ends by itself."""
        await self.expire_lease()
        before = (await self.state()).owner
        await traced.start("seal", self.config, point=point)
        async with asyncio.timeout(PATIENCE_S):
            while (status := await traced.poll()) is None:
                state = await self.state()
                if state.owner != before and state.sealed_seq >= _BY_SIZE:
                    await traced.end_input()
                    return await traced.ended()
                await asyncio.sleep(0.01)
        return status

    async def recover(self, traced: Traced, point: Point | None = None) -> float:
        """Run a segmenter to a good end; return how long that took, s."""
        began = time.monotonic()
        assert await self.run(traced, point) == 0, traced.log.read_text()[-4000:]
        return time.monotonic() - began

    async def expire_lease(self) -> None:
        """Let a killed holder's lease end now."""
        await self._delete("KV_leases")
        await provision(self._options)

    async def state(self) -> LaneState:
        """Return the lane's state."""
        found = await self._bus.states.get(LANE)
        return found.state if found else LaneState()

    async def judge(self) -> list[Manifest]:
        """Assert that all blocks stand in storage once, and nothing else anywhere; return the manifests."""
        found = audit(self._data, self.blocks)
        state = await self.state()
        assert (state.sealing, state.sealed_seq) == (None, len(self.blocks))
        standing = {path.name for path in (self._data / "raw" / "ready").rglob("*") if path.is_file()}
        assert standing == {name for m in found for name in (m.file, f"{m.name}.manifest.json")}
        assert [path for path in (self._data / "raw" / "active").rglob("*") if path.is_file()] == []
        nothing_half_written(self._data)
        return found

    @property
    def _options(self) -> BusOptions:
        return BusOptions(servers=(self._server.url,), lane_max_bytes=64_000_000)

    @property
    def _server_folder(self) -> Path:
        return self._server._dir

    async def _delete(self, stream: str) -> None:
        with contextlib.suppress(Exception):  # it is not there
            await self._bus._api.call(f"STREAM.DELETE.{stream}")


def nothing_half_written(data: Path) -> None:
    """Assert that what killed writers left half-written goes at a start, once it is old enough to be theirs."""
    temps = list((data / ".tmp").iterdir()) if (data / ".tmp").is_dir() else []
    for path in temps:
        then = path.stat().st_mtime - _AGED_S
        os.utime(path, (then, then))
    LocalStore(data).probe()
    assert list((data / ".tmp").iterdir()) == []


@asynccontextmanager
async def sealing(folder: Path) -> AsyncIterator[Sealing]:
    """Run a bus below `folder`."""
    async with running_nats(folder) as server:
        options = BusOptions(servers=(server.url,), lane_max_bytes=64_000_000)
        await provision(options)
        bus = await connect(options, name="test")
        try:
            yield Sealing(bus, server)
        finally:
            await bus.close()

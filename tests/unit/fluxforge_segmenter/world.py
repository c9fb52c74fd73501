"""A small world for one lane's segmenter: a bus in memory, a store on a temporary directory, and crashes on demand."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry
from typing_extensions import override

from fluxforge.adapters.local_store import LocalStore
from fluxforge.adapters.memory.bus import MemoryBus, MemoryEvents
from fluxforge.adapters.memory.clock import ManualClock
from fluxforge.adapters.memory.lanes import MemoryLaneStates, MemoryLaneStreams
from fluxforge.adapters.memory.server import MemoryServer
from fluxforge.domain.block import Block
from fluxforge.domain.lane import Lane
from fluxforge.domain.lane_state import LaneState
from fluxforge.domain.layout import Layout
from fluxforge.domain.segment import SealPolicy
from fluxforge.runtime.patience import Patience
from fluxforge_segmenter.compression import Compression
from fluxforge_segmenter.events import SegmenterEvents
from fluxforge_segmenter.hold import LaneHold
from fluxforge_segmenter.lane_task import LaneTask, Rhythm
from fluxforge_segmenter.placing import Shelf
from fluxforge_segmenter.seal import LaneTools
from fluxforge_segmenter.workspace import Workspace, newest_owner
from tests.traffic import BEGIN_NS, LANE

HOUR_NS = 3_600_000_000_000
LEASE_TTL_S = 10


class Crash(Exception):  # noqa: N818 - not an error: the process is gone
    """The process ends here."""


@dataclass
class Points:
    """Counts the moments before and after everything that outlives the process; crashes at one of them."""

    crash_at: int | None = None
    passed: list[str] = field(default_factory=list)

    def reach(self, name: str) -> None:
        self.passed.append(name)
        if len(self.passed) == self.crash_at:
            raise Crash(name)


class CrashingStore(LocalStore):
    """A store whose process may die before or after each write."""

    __slots__ = ("points",)

    def __init__(self, base_dir: Path, points: Points) -> None:
        super().__init__(base_dir, sync=False)
        self.points = points

    @override
    def create(self, key: str, body: bytes) -> None:
        self.points.reach(f"before create {key}")
        super().create(key, body)
        self.points.reach(f"after create {key}")

    @override
    def adopt(self, key: str, path: Path) -> None:
        self.points.reach(f"before adopt {key}")
        super().adopt(key, path)
        self.points.reach(f"after adopt {key}")

    @override
    def delete(self, key: str) -> None:
        self.points.reach(f"before delete {key}")
        super().delete(key)
        self.points.reach(f"after delete {key}")


class _States(MemoryLaneStates):
    points: Points

    @override
    async def update(self, lane: Lane, state: LaneState, revision: int) -> int:
        what = f"state sealing={state.sealing.name if state.sealing else None} sealed={state.sealed_seq}"
        self.points.reach(f"before {what}")
        new = await super().update(lane, state, revision)
        self.points.reach(f"after {what}")
        return new

    @override
    async def delete(self, lane: Lane, *, revision: int) -> None:
        self.points.reach("before key deleted")
        await super().delete(lane, revision=revision)
        self.points.reach("after key deleted")


class _Streams(MemoryLaneStreams):
    points: Points

    @override
    async def create(self, lane: Lane, epoch: int, *, seed: Block | None = None) -> None:
        self.points.reach(f"before stream {epoch}")
        await super().create(lane, epoch, seed=seed)
        self.points.reach(f"after stream {epoch}")

    @override
    async def end(self, lane: Lane, epoch: int) -> None:
        self.points.reach(f"before end {epoch}")
        await super().end(lane, epoch)
        self.points.reach(f"after end {epoch}")

    @override
    async def delete(self, lane: Lane, epoch: int) -> None:
        self.points.reach(f"before delete {epoch}")
        await super().delete(lane, epoch)
        self.points.reach(f"after delete {epoch}")

    @override
    async def purge(self, lane: Lane, epoch: int, *, below_seq: int) -> None:
        self.points.reach(f"before purge {below_seq}")
        await super().purge(lane, epoch, below_seq=below_seq)
        self.points.reach(f"after purge {below_seq}")


class _Events(MemoryEvents):
    points: Points

    @override
    async def publish(self, subject: str, payload: bytes, *, message_id: str) -> None:
        self.points.reach(f"before {subject}")
        await super().publish(subject, payload, message_id=message_id)
        self.points.reach(f"after {subject}")


class CrashingBus(MemoryBus):
    """A bus whose client may die before or after each write."""

    def __init__(self, server: MemoryServer, points: Points) -> None:
        super().__init__(server)
        self._states, self._streams, self._events = _States(server), _Streams(server), _Events(server)
        for part in (self._states, self._streams, self._events):
            part.points = points


class World:
    """What outlives segmenters. Each `segmenter` is a new process on it."""

    def __init__(self, folder: Path) -> None:
        self.clock = ManualClock(wall_ns=BEGIN_NS + HOUR_NS, monotonic_ns=1)
        self.server = MemoryServer(clock=self.clock, lease_ttl_s=LEASE_TTL_S)
        self.data = folder / "data"
        self.bus = MemoryBus(self.server)
        self.registry = CollectorRegistry()
        self.layout = Layout()

    @property
    def store(self) -> LocalStore:
        return LocalStore(self.data, sync=False)

    async def put(self, blocks: list[Block]) -> None:
        """Store blocks in the lane's stream, made if it is not there; as a collector does."""
        await self.bus.states.create(LANE)
        await self.bus.streams.create(LANE, 1)
        stream = self.server.streams[LANE.stream(1)]
        assert all(stream.append(block) for block in blocks)
        self.server.tell()

    async def state(self) -> LaneState:
        found = await self.bus.states.get(LANE)
        assert found is not None
        return found.state

    async def tools(self, points: Points | None = None, *, grace_ns: int = HOUR_NS) -> LaneTools:
        """Take the lane with a new process; a dead holder's lease is over by then."""
        self.clock.advance(LEASE_TTL_S * 2_000_000_000)
        points = points or Points()
        self.registry = CollectorRegistry()
        events = SegmenterEvents(self.registry)
        patience = Patience(events)
        bus = CrashingBus(self.server, points)
        root = self.data / self.layout.active_prefix(LANE)
        hold = await LaneHold.take(
            bus,
            LANE,
            holder="test",
            above=newest_owner(root),
            patience=patience,
            events=events,
            is_wanted=lambda: True,
        )
        assert hold is not None
        shelf = Shelf(CrashingStore(self.data, points), self.layout, LANE)
        return LaneTools(bus, hold, shelf, patience, events, self.clock, grace_ns)

    def workspace(self, tools: LaneTools, compression: Compression = Compression.NONE) -> Workspace:
        return Workspace(
            self.data / self.layout.active_prefix(LANE), tools.hold.owner, compression, lambda _fd, _path: None
        )

    async def segmenter(
        self, points: Points | None = None, *, size_bytes_max: int = 10**9, **options: Any
    ) -> "Segmenting":
        tools = await self.tools(points, grace_ns=options.pop("grace_ns", HOUR_NS))
        work = await tools.bus.work()
        segmenting = Segmenting(tools)
        segmenting.task = LaneTask(
            tools,
            self.workspace(tools, **options),
            Rhythm(SealPolicy(size_bytes_max=size_bytes_max, age_ns_max=300_000_000_000), 5_000_000_000),
            lambda: segmenting.is_draining,
            work.backlog,
        )
        return segmenting

    async def drain(self, points: Points | None = None, **options: Any) -> "Segmenting":
        """Run a segmenter until everything in the stream is sealed, or it dies."""
        segmenting = await self.segmenter(points, **options)
        segmenting.is_draining = True
        async with asyncio.timeout(60):
            await segmenting.task.run()
        return segmenting

    def metric(self, name: str, **labels: str) -> float:
        value = self.registry.get_sample_value(f"fluxforge_segmenter_{name}", {"lane": str(LANE), **labels})
        return value or 0.0

    def announced(self) -> Mapping[str, int]:
        """How often each subject was stored."""
        subjects = [subject for subject, _ in self.server.events]
        return {subject: subjects.count(subject) for subject in subjects}


@dataclass
class Segmenting:
    """One process at work on the lane."""

    tools: LaneTools
    is_draining: bool = False
    task: LaneTask = field(init=False)

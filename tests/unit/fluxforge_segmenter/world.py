"""A small world for one lane's segmenter: a bus in memory, a store on a temporary directory, and crashes on demand."""

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeVar

import pytest
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
from fluxforge_segmenter.open_segment import Sync
from fluxforge_segmenter.placing import Shelf
from fluxforge_segmenter.seal import LaneTools
from fluxforge_segmenter.workspace import Workspace, newest_owner
from tests.traffic import BEGIN_NS, LANE, content, manifests

T = TypeVar("T")
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

    async def meet(self, name: str) -> None:
        """Reach a point on the event loop."""
        self.reach(name)


class Sleep(Points):
    """Falls asleep at one of the moments, as a stopped process does, until it is woken."""

    def __init__(self, sleep_at: int) -> None:
        super().__init__()
        self._sleep_at = sleep_at
        self._asleep = asyncio.Event()
        self._awake = threading.Event()
        self._loop = asyncio.get_running_loop()

    @override
    def reach(self, name: str) -> None:
        self.passed.append(name)
        if len(self.passed) == self._sleep_at:
            self._loop.call_soon_threadsafe(self._asleep.set)
            assert self._awake.wait(60)

    @override
    async def meet(self, name: str) -> None:
        await asyncio.to_thread(self.reach, name)

    async def slept(self) -> None:
        """Wait until it sleeps."""
        await asyncio.wait_for(self._asleep.wait(), 60)

    def wake(self) -> None:
        """Let it go on."""
        self._awake.set()


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
        await self.points.meet(f"before {what}")
        new = await super().update(lane, state, revision)
        await self.points.meet(f"after {what}")
        return new

    @override
    async def delete(self, lane: Lane, *, revision: int) -> None:
        await self.points.meet("before key deleted")
        await super().delete(lane, revision=revision)
        await self.points.meet("after key deleted")


class _Streams(MemoryLaneStreams):
    points: Points

    @override
    async def create(self, lane: Lane, epoch: int, *, seed: Block | None = None) -> None:
        await self.points.meet(f"before stream {epoch}")
        await super().create(lane, epoch, seed=seed)
        await self.points.meet(f"after stream {epoch}")

    @override
    async def end(self, lane: Lane, epoch: int) -> None:
        await self.points.meet(f"before end {epoch}")
        await super().end(lane, epoch)
        await self.points.meet(f"after end {epoch}")

    @override
    async def delete(self, lane: Lane, epoch: int) -> None:
        await self.points.meet(f"before delete {epoch}")
        await super().delete(lane, epoch)
        await self.points.meet(f"after delete {epoch}")

    @override
    async def purge(self, lane: Lane, epoch: int, *, below_seq: int) -> None:
        await self.points.meet(f"before purge {below_seq}")
        await super().purge(lane, epoch, below_seq=below_seq)
        await self.points.meet(f"after purge {below_seq}")


class _Events(MemoryEvents):
    points: Points

    @override
    async def publish(self, subject: str, payload: bytes, *, message_id: str) -> None:
        await self.points.meet(f"before {subject}")
        await super().publish(subject, payload, message_id=message_id)
        await self.points.meet(f"after {subject}")


class CrashingBus(MemoryBus):
    """A bus whose client may die before or after each write."""

    def __init__(self, server: MemoryServer, points: Points) -> None:
        super().__init__(server)
        self.points = points
        self._states, self._streams, self._events = _States(server), _Streams(server), _Events(server)
        for part in (self._states, self._streams, self._events):
            part.points = points


@dataclass(frozen=True, slots=True)
class CrashingWorkspace(Workspace):
    """A workspace whose process may die before it sweeps."""

    points: Points

    @override
    def sweep(self) -> None:
        self.points.reach("before sweep")
        # Not super(): a dataclass with slots is another class than the one this method was written in.
        Workspace.sweep(self)


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

    async def put(self, blocks: list[Block], *, epoch: int = 1) -> None:
        """Store blocks in the lane's stream, made if it is not there; as a collector does."""
        await self.bus.states.create(LANE)
        await self.bus.streams.create(LANE, epoch)
        stream = self.server.streams[LANE.stream(epoch)]
        assert all(stream.append(block) for block in blocks)
        self.server.tell()

    def cut(self, last_seq: int, *, epoch: int = 1) -> None:
        """Let the stream lose everything behind a sequence, as a power cut does to one that does not sync."""
        stream = self.server.streams[LANE.stream(epoch)]
        stream.blocks = {seq: block for seq, block in stream.blocks.items() if seq <= last_seq}
        stream.last_seq = last_seq
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

    def workspace(
        self,
        tools: LaneTools,
        compression: Compression = Compression.NONE,
        sync: Sync = lambda _fd, _path: None,
    ) -> Workspace:
        points = tools.bus.points if isinstance(tools.bus, CrashingBus) else Points()
        root = self.data / self.layout.active_prefix(LANE)
        return CrashingWorkspace(root, tools.hold.owner, compression, sync, points)

    async def segmenter(
        self, points: Points | None = None, *, size_bytes_max: int = 10**9, **options: Any
    ) -> "Segmenting":
        tools = await self.tools(points, grace_ns=options.pop("grace_ns", HOUR_NS))
        segmenting = Segmenting(tools)
        segmenting.task = LaneTask(
            tools,
            self.workspace(tools, **options),
            Rhythm(SealPolicy(size_bytes_max=size_bytes_max, age_ns_max=300_000_000_000), 5_000_000_000, wait_s=0.02),
            lambda: segmenting.is_draining,
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

    @asynccontextmanager
    async def running(self) -> AsyncIterator["asyncio.Task[None]"]:
        """Run the lane's task; drain it at the end."""
        run = asyncio.ensure_future(self.task.run())
        try:
            yield run
        finally:
            self.is_draining = True
            await asyncio.wait_for(run, 60)

    async def until(self, condition: Callable[[], object]) -> None:
        """Wait for a condition of the task."""
        async with asyncio.timeout(60):
            while not condition():  # noqa: ASYNC110 - a plain condition of the task under test
                await asyncio.sleep(0.005)


async def every_crash(
    folder: Path, prepare: Callable[[World], Awaitable[T]], check: Callable[[World, T], Awaitable[None]]
) -> list[str]:
    """Let a drain die at each of its points and start again, and check each time; return the points."""
    points = Points()
    for crash_at in range(10_000):  # 0: no crash, which tells the points
        world = World(folder / str(crash_at))
        prepared = await prepare(world)
        if crash_at:
            if crash_at > len(points.passed):
                return points.passed
            with pytest.raises(Crash):
                await world.drain(Points(crash_at))
            await world.drain()
        else:
            await world.drain(points)
        try:
            await check(world, prepared)
        except Exception as error:
            error.add_note(f"crashed at {points.passed[crash_at - 1]}" if crash_at else "without a crash")
            raise
    raise AssertionError("a drain without end")


def lines(world: World) -> bytes:
    """Return everything that is sealed, in order; the manifests must chain."""
    found = manifests(world.data)
    for before, after in pairwise(found):
        assert after.previous is not None
        assert (after.previous.name, after.previous.last_capture_ns) == (before.name, before.last_capture_ns)
    return b"".join(content(world.data, manifest) for manifest in found)


def payload(blocks: Sequence[Block]) -> bytes:
    """Return the lines of blocks."""
    return b"".join(block.payload for block in blocks)

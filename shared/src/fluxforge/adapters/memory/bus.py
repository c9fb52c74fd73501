"""The bus in memory: the contract of the bus port without a server, for tests and simulation."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Final

from typing_extensions import override

from fluxforge.adapters.lane_window import Window
from fluxforge.adapters.memory.lanes import (
    MemoryLaneStates,
    MemoryLaneStreams,
    MemoryLeases,
    MemoryReader,
)
from fluxforge.adapters.memory.publisher import MemoryPublisher
from fluxforge.adapters.memory.server import ACK_WAIT_NS, Changes, MemoryServer, MemoryWork
from fluxforge.domain.block import Block, BlockId
from fluxforge.domain.errors import BusUnavailableError, FatalError, LaneMovedError
from fluxforge.domain.lane import Lane
from fluxforge.ports.bus import Announcement, Backlog, Bus, Claim, Events, WorkQueue
from fluxforge.ports.lanes import LanePublisher, LaneReader, LaneStates, LaneStreams, Leases

_EVENT_SUBJECTS: Final = ("segments.sealed.", "parts.committed.", "dead.")
_SLICE_S: Final = 0.01  # a manual clock wakes nobody


class MemoryClaim(Claim):
    """One delivery of work."""

    def __init__(self, server: MemoryServer, work: MemoryWork) -> None:
        self._server = server
        self._work = work
        self._num_delivered = work.num_delivered

    @property
    @override
    def subject(self) -> str:
        return self._work.subject

    @property
    @override
    def payload(self) -> bytes:
        return self._work.payload

    @property
    @override
    def num_delivered(self) -> int:
        return self._num_delivered

    @override
    async def ack(self) -> None:
        self._server.require(f"ack {self.subject}")
        if self._work in self._server.work:
            self._server.work.remove(self._work)

    @override
    async def nak(self, delay_s: float) -> None:
        self._server.require(f"nak {self.subject}")
        self._hold(int(delay_s * 1e9))

    @override
    async def term(self) -> None:
        await self.ack()

    @override
    async def in_progress(self) -> None:
        self._server.require(f"in_progress {self.subject}")
        self._hold(ACK_WAIT_NS)

    def _hold(self, ns: int) -> None:
        if self._work.num_delivered == self._num_delivered:  # else it is somebody else's by now
            self._work.due_ns = self._server.clock.monotonic_ns() + ns
            self._server.tell()


class MemoryWorkQueue(WorkQueue):
    """Claims in the order the events were stored; what is held too long is delivered again."""

    def __init__(self, server: MemoryServer) -> None:
        self._server = server
        self._changes = Changes(server)

    @override
    async def claim(self, *, wait_s: float) -> Claim | None:
        loop = asyncio.get_running_loop()
        deadline_s = loop.time() + wait_s
        while True:
            work = self._server.next_work() if self._server.is_available else None
            if work is not None:
                return MemoryClaim(self._server, work)
            if loop.time() >= deadline_s:
                return None
            await self._changes.wait(min(_SLICE_S, deadline_s - loop.time()))

    @override
    async def backlog(self) -> Backlog:
        self._server.require("backlog")
        held = sum(1 for work in self._server.work if work.num_delivered)
        oldest_ns = min((work.stored_ns for work in self._server.work), default=None)
        return Backlog(num_pending=len(self._server.work) - held, num_ack_pending=held, oldest_ns=oldest_ns)

    @override
    async def announcement(self, subject: str) -> Announcement:
        self._server.require("announcement")
        newest = max((seq for seq, event in enumerate(self._server.events, start=1) if event[0] == subject), default=0)
        return Announcement(newest, is_due=any(work.subject == subject for work in self._server.work))

    @override
    async def close(self) -> None:
        self._changes.stop()


class MemoryEvents(Events):
    """Stores events with the server and hands announcements to whoever listens."""

    def __init__(self, server: MemoryServer) -> None:
        self._server = server

    @override
    async def publish(self, subject: str, payload: bytes, *, message_id: str) -> None:
        self._server.require(f"publish to {subject}")
        if not subject.startswith(_EVENT_SUBJECTS):
            raise BusUnavailableError(f"publish to {subject}", "nobody serves this subject")
        self._server.store_event(subject, payload, message_id)

    @override
    async def announce(self, subject: str, payload: bytes) -> None:
        if self._server.is_available:
            self._server.announce(subject, payload)


class MemoryBus(Bus):
    """One connection to a memory server. `MemoryBus()` alone brings its own; `fail` ends it like a lost connection."""

    def __init__(self, server: MemoryServer | None = None) -> None:
        self.server = server or MemoryServer()
        self._states = MemoryLaneStates(self.server)
        self._leases = MemoryLeases(self.server)
        self._streams = MemoryLaneStreams(self.server)
        self._events = MemoryEvents(self.server)
        self._failure: FatalError | None = None
        self._failed = asyncio.Event()

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
        return self.server.is_available

    @override
    def reader(self, lane: Lane, epoch: int, *, from_seq: int) -> LaneReader:
        return MemoryReader(self.server, lane, epoch, from_seq=from_seq)

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
        last_id = last.block.id if last else None
        window = Window(lane, last_id if after is None else after, info.last_seq, on_stored=on_stored)
        window.reconcile(info.last_seq, last_id)
        return MemoryPublisher(self.server, lane, epoch, window=window, window_blocks=window_blocks)

    @override
    async def work(self) -> WorkQueue:
        return MemoryWorkQueue(self.server)

    @override
    async def statuses(self, *, wait_s: float) -> Mapping[str, bytes]:
        return await self._heard("status.", wait_s)

    @override
    async def commits(self, *, wait_s: float) -> Mapping[str, bytes]:
        return await self._heard("parts.committed.", wait_s)

    async def _heard(self, prefix: str, wait_s: float) -> Mapping[str, bytes]:
        heard: dict[str, bytes] = {}

        def hear(subject: str, payload: bytes) -> None:
            if subject.startswith(prefix):
                heard[subject] = payload

        with self.server.hearing(hear):
            await asyncio.sleep(wait_s)
        return heard

    def fail(self, error: FatalError) -> None:
        """Make `failed` raise."""
        self._failure = error
        self._failed.set()

    @override
    async def failed(self) -> None:
        await self._failed.wait()
        if self._failure is not None:
            raise self._failure

    @override
    async def close(self) -> None:
        """Nothing is held; the server stays."""

"""The memory bus's server: what outlives a connection - lanes, streams, leases, work - and can be taken away.

Kept: the semantics of the real one that our code stands on. A full stream refuses, a sealed one too; the last message
survives a purge; work that is held too long is delivered again.
"""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

from fluxforge.adapters.system_clock import SystemClock
from fluxforge.domain.block import Block
from fluxforge.domain.errors import BusUnavailableError
from fluxforge.ports.clock import Clock

ACK_WAIT_NS: Final = 30_000_000_000


@dataclass(slots=True, eq=False)
class MemoryStream:
    """One epoch's stream of a lane."""

    size_bytes_max: int
    blocks: dict[int, Block] = field(default_factory=dict)
    last_seq: int = 0
    is_sealed: bool = False

    @property
    def first_seq(self) -> int:
        """The oldest sequence held; of a stream that holds none, the next one."""
        return next(iter(self.blocks), self.last_seq + 1 if self.last_seq else 0)

    @property
    def size_bytes(self) -> int:
        """What the stream's blocks take."""
        return sum(block_size_bytes(block) for block in self.blocks.values())

    def append(self, block: Block) -> bool:
        """Store a block; return False where there is no room for it."""
        if self.size_bytes + block_size_bytes(block) > self.size_bytes_max:
            return False
        self.last_seq += 1
        self.blocks[self.last_seq] = block
        return True

    def purge(self, below_seq: int) -> None:
        """Remove what stands below, never the last."""
        for seq in [seq for seq in self.blocks if seq < min(below_seq, self.last_seq)]:
            del self.blocks[seq]


@dataclass(slots=True)
class MemoryWork:
    """One piece of work; not delivered before `due_ns` (monotonic)."""

    subject: str
    payload: bytes
    num_delivered: int = 0
    due_ns: int = 0
    stored_ns: int = 0


class MemoryServer:
    """What several `MemoryBus` connections share. Away: calls fail, windows and reads wait."""

    def __init__(
        self, *, clock: Clock | None = None, lane_max_bytes: int = 4 * 10**9, lease_ttl_s: float = 10.0
    ) -> None:
        self.clock = clock or SystemClock()
        self.lane_max_bytes = lane_max_bytes
        self.lease_ttl_ns = int(lease_ttl_s * 1e9)
        self.is_available = True
        self.states: dict[str, tuple[bytes, int]] = {}
        self.leases: dict[str, tuple[str, int, int]] = {}  # holder, revision, expiry
        self.streams: dict[str, MemoryStream] = {}
        self.events: list[tuple[str, bytes]] = []  # every event stored, in order
        self.work: list[MemoryWork] = []
        self._event_ids: set[str] = set()
        self._revision = 0
        self._listeners: dict[Callable[[], None], None] = {}  # an ordered set
        self._hearers: list[Callable[[str, bytes], None]] = []

    def next_revision(self) -> int:
        """Return a revision that no key had before."""
        self._revision += 1
        return self._revision

    def require(self, operation: str) -> None:
        """Raise BusUnavailableError while the server is away."""
        if not self.is_available:
            raise BusUnavailableError(operation, "the memory bus is away")

    def go_away(self) -> None:
        """Stop answering; what is stored stays."""
        self.is_available = False
        self.tell()

    def come_back(self) -> None:
        """Answer again."""
        self.is_available = True
        self.tell()

    def listen(self, listener: Callable[[], None]) -> Callable[[], object]:
        """Call `listener` whenever something changed; return what ends that."""
        self._listeners[listener] = None
        return lambda: self._listeners.pop(listener, None)

    def tell(self) -> None:
        """Tell every listener that something changed."""
        for listener in tuple(self._listeners):
            listener()

    @contextmanager
    def hearing(self, hearer: Callable[[str, bytes], None]) -> Iterator[None]:
        """Call `hearer` with every announcement while the context lasts."""
        self._hearers.append(hearer)
        try:
            yield
        finally:
            self._hearers.remove(hearer)

    def announce(self, subject: str, payload: bytes) -> None:
        """Hand an announcement to whoever listens."""
        for hearer in tuple(self._hearers):
            hearer(subject, payload)

    def store_event(self, subject: str, payload: bytes, message_id: str) -> None:
        """Store an event once per id; sealed segments become work."""
        if message_id in self._event_ids:
            return
        self._event_ids.add(message_id)
        self.events.append((subject, payload))
        if subject.startswith("segments.sealed."):
            self.work.append(MemoryWork(subject, payload, stored_ns=self.clock.wall_ns()))
        self.announce(subject, payload)
        self.tell()

    def next_work(self) -> MemoryWork | None:
        """Deliver the oldest work that is due and hold it for the acknowledgement's time, or return None."""
        now_ns = self.clock.monotonic_ns()
        for work in self.work:
            if work.due_ns <= now_ns:
                work.num_delivered += 1
                work.due_ns = now_ns + ACK_WAIT_NS
                return work
        return None


class Changes:
    """Lets a coroutine wait for the server's next change."""

    def __init__(self, server: MemoryServer) -> None:
        self._event = asyncio.Event()
        self.stop = server.listen(self._event.set)

    async def wait(self, timeout_s: float) -> bool:
        """Wait for a change since the last wait; return whether there was one in time."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._event.wait()
        except TimeoutError:
            return False
        self._event.clear()
        return True


def block_size_bytes(block: Block) -> int:
    """Return what a block takes in a stream: payload, headers and a little."""
    return len(block.payload) + sum(len(name) + len(value) + 4 for name, value in block.headers().items()) + 64

"""The bus port: one connection with the lane ports, events and work, as the services need them; JetStream fills it.

Unless said otherwise every coroutine may raise `BusUnavailableError` (outcome unknown) and is safe to repeat.
Connection loss heals underneath; a connection that is closed for good, a dead read loop or a permission violation
raises `FatalError` from whatever waits.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from fluxforge.domain.block import Block, BlockId
from fluxforge.domain.lane import Lane
from fluxforge.ports.lanes import LanePublisher, LaneReader, LaneStates, LaneStreams, Leases


class Claim(Protocol):
    """One delivery of work, held until a verb is said."""

    @property
    def subject(self) -> str:
        """The subject of the message."""
        ...

    @property
    def payload(self) -> bytes:
        """The message's payload."""
        ...

    @property
    def num_delivered(self) -> int:
        """How often this message was delivered, from 1."""
        ...

    async def ack(self) -> None:
        """Done: confirmed by the server when this returns."""
        ...

    async def nak(self, delay_s: float) -> None:
        """Deliver again after a delay."""
        ...

    async def term(self) -> None:
        """Never deliver again."""
        ...

    async def in_progress(self) -> None:
        """Still at it: restarts the acknowledgement deadline."""
        ...


@dataclass(frozen=True, slots=True)
class Backlog:
    """What a work queue has left: not yet delivered, and delivered but not acknowledged.

    `oldest_ns`: when the oldest of them was announced, ns UTC by the bus' clock; None where nothing is left.
    """

    num_pending: int
    num_ack_pending: int
    oldest_ns: int | None = None


@dataclass(frozen=True, slots=True)
class Announcement:
    """The newest message on a subject of the work queue. `seq` 0: there is none. `is_due`: it is yet to be settled."""

    seq: int
    is_due: bool


class WorkQueue(Protocol):
    """The durable consumer `etl` on the stream SEGMENTS."""

    async def claim(self, *, wait_s: float) -> Claim | None:
        """Return the next piece of work, or None after `wait_s`."""
        ...

    async def backlog(self) -> Backlog:
        """Return what is left to do."""
        ...

    async def announcement(self, subject: str) -> Announcement:
        """Return what became of the newest message on a subject; one not settled yet is never said not to be due."""
        ...

    async def close(self) -> None:
        """Give the subscription back; what is claimed is delivered again later."""
        ...


class Events(Protocol):
    """The streams SEGMENTS, PARTS and DEAD, and the unstored subjects `status.>` and `live.>`."""

    async def publish(self, subject: str, payload: bytes, *, message_id: str) -> None:
        """Store an event; one with the same id within the dedupe window is stored once. Returns when stored."""
        ...

    async def announce(self, subject: str, payload: bytes) -> None:
        """Publish without storing; nobody listening is no error, and a bus that is away loses it."""
        ...


class Bus(Protocol):
    """One connection to the bus, and all that is reached through it."""

    @property
    def states(self) -> LaneStates:
        """The lane states."""
        ...

    @property
    def leases(self) -> Leases:
        """The leases."""
        ...

    @property
    def streams(self) -> LaneStreams:
        """The lanes' streams."""
        ...

    @property
    def events(self) -> Events:
        """Events and announcements."""
        ...

    @property
    def connected(self) -> bool:
        """Whether the connection stands now."""
        ...

    def reader(self, lane: Lane, epoch: int, *, from_seq: int) -> LaneReader:
        """Return a reader that starts at `from_seq`; nothing is sent before its first fetch."""
        ...

    async def publisher(
        self,
        lane: Lane,
        epoch: int,
        *,
        after: BlockId | None,
        window_blocks: int,
        on_stored: Callable[[Block], None] | None = None,
    ) -> LanePublisher:
        """Return a publisher that goes on behind the stream's last message.

        `after` is the id the caller knows as the lane's last block; None: whatever the last message is. `on_stored` is
        told of each block once it is known to be stored.

        Raises:
            LaneMovedError: There is no such stream, or it is sealed.
            BlocksLostError: The stream lost `after`.
            FencedError: The stream's last block is not `after` but somebody else's.
        """
        ...

    async def work(self) -> WorkQueue:
        """Return the work queue of ETL workers."""
        ...

    async def statuses(self, *, wait_s: float) -> Mapping[str, bytes]:
        """Listen on `status.>` for `wait_s`; return the newest payload of each subject heard."""
        ...

    async def commits(self, *, wait_s: float) -> Mapping[str, bytes]:
        """Listen on `parts.committed.>` for `wait_s`, as for a hint; return the payload of each subject heard."""
        ...

    async def failed(self) -> None:
        """Return never; raise FatalError once the connection cannot be used any more."""
        ...

    async def close(self) -> None:
        """Close the connection within 5 s."""
        ...

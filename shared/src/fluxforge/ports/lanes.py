"""The lane ports: a lane's state, lease, streams, and what reads and writes them; JetStream fills them.

Unless said otherwise every coroutine may raise `BusUnavailableError` (outcome unknown) and is safe to repeat.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from fluxforge.domain.block import Block, BlockId
from fluxforge.domain.lane import Lane
from fluxforge.domain.lane_state import LaneState


@dataclass(frozen=True, slots=True)
class StoredBlock:
    """A block as it stands in its lane's stream; `stream_seq` from 1 within the epoch."""

    stream_seq: int
    block: Block


@dataclass(frozen=True, slots=True)
class StreamInfo:
    """What a lane's stream holds. `last_seq` counts purged messages too; an empty new stream has 0."""

    first_seq: int
    last_seq: int
    size_bytes: int
    size_bytes_max: int
    sealed: bool


@dataclass(frozen=True, slots=True)
class VersionedState:
    """A lane state with the revision a compare-and-set needs."""

    state: LaneState
    revision: int


class LaneStates(Protocol):
    """The key-value bucket `lanes`."""

    async def lanes(self) -> Sequence[Lane]:
        """Return every lane that has a key, sorted."""
        ...

    async def get(self, lane: Lane) -> VersionedState | None:
        """Return a lane's state, or None where it has no key."""
        ...

    async def create(self, lane: Lane) -> None:
        """Create the lane's key with an empty state; a key that stands is left as it is."""
        ...

    async def update(self, lane: Lane, state: LaneState, revision: int) -> int:
        """Replace the state at `revision`; return the new revision.

        An unknown outcome is settled by reading again: the own value counts as success.

        Raises:
            StateConflictError: Another value stands there; nothing was written.
        """
        ...

    async def delete(self, lane: Lane, *, revision: int) -> None:
        """Remove the lane's key, if it stands at `revision`; one that is gone is fine.

        Raises:
            StateConflictError: Another value stands there; it was left.
        """
        ...


class Leases(Protocol):
    """The key-value bucket `leases`, whose keys expire: hints that keep standbys quiet, never a fence."""

    async def acquire(self, key: str, holder: str) -> int | None:
        """Take the lease; return its revision, or None while somebody else holds it."""
        ...

    async def renew(self, key: str, holder: str, revision: int) -> int:
        """Prolong the lease; return its new revision.

        Raises:
            StateConflictError: It expired or somebody else holds it.
        """
        ...

    async def release(self, key: str, revision: int) -> None:
        """Give the lease back; one that is already lost is no error."""
        ...


class LaneStreams(Protocol):
    """The streams of lanes: the segmenter creates, purges, ends and deletes them, both sides look at them."""

    async def create(self, lane: Lane, epoch: int, *, seed: Block | None = None) -> None:
        """Create the epoch's stream (file storage, limits, discard new, explicit size); one that stands is fine.

        A seed becomes its first block; a stream that begins with this seed is fine too.

        Raises:
            LaneBrokenError: The stream begins with something else, or has ended without the seed.
        """
        ...

    async def end(self, lane: Lane, epoch: int) -> None:
        """Let the stream refuse blocks for ever; it stays readable. One that has ended or is gone is fine."""
        ...

    async def delete(self, lane: Lane, epoch: int) -> None:
        """Remove the stream and give its storage back; one that is gone is fine."""
        ...

    async def epochs(self, lane: Lane) -> Sequence[int]:
        """Return the epochs of which the lane has a stream, ascending."""
        ...

    async def lanes(self) -> Sequence[Lane]:
        """Return every lane that has a stream of any epoch, sorted."""
        ...

    async def info(self, lane: Lane, epoch: int) -> StreamInfo | None:
        """Return what the stream holds, or None where there is no such stream."""
        ...

    async def get(self, lane: Lane, epoch: int, stream_seq: int) -> StoredBlock | None:
        """Return one stored block, read from the stream's leader, or None where it is gone."""
        ...

    async def last(self, lane: Lane, epoch: int) -> StoredBlock | None:
        """Return the last block of the stream, read from the stream's leader, or None where it holds none."""
        ...

    async def purge(self, lane: Lane, epoch: int, *, below_seq: int) -> None:
        """Remove every message below `below_seq`; the last message of a stream is never removed."""
        ...


class LaneReader(Protocol):
    """Reads a lane's stream in order from a sequence on, without acks."""

    async def fetch(self, *, blocks_max: int, wait_s: float) -> Sequence[StoredBlock]:
        """Return the next blocks in order, each exactly the successor of the one before; empty after `wait_s`.

        Consumers that were deleted, jumped or went silent are created again at the right sequence underneath.

        Raises:
            SequenceGoneError: What would be next is truly gone, or no block; a reader behind it goes on.
            LaneBrokenError: The stream is gone, another one, or ends before what was read.
        """
        ...

    async def close(self) -> None:
        """Give the consumer back."""
        ...


class LanePublisher(Protocol):
    """A window of unacknowledged blocks into one lane, go-back-N under the expected last sequence.

    Neither lost, late or refused acks nor a forgotten dedupe window put a block in twice or out of order.
    """

    @property
    def unacked(self) -> Sequence[Block]:
        """The blocks in the window, oldest first."""
        ...

    @property
    def acked(self) -> BlockId | None:
        """The last block known to be stored."""
        ...

    async def publish(self, block: Block) -> None:
        """Put a block into the window and send it; waits while the window is full.

        A stream that has no room is no failure: the window waits until something is purged.

        Raises:
            BlockTooLargeError: The bus would refuse its size; it did not enter the window.
            FencedError: Another writer holds the lane; the window keeps what was not stored.
            LaneMovedError: The stream is gone, sealed, of an old epoch or short of what is sealed; the window keeps
                what is not known to be stored. A publisher of the lane's new stream goes on with it.
            BlocksLostError: The stream ends before what it had acknowledged; the window keeps what comes after.
        """
        ...

    async def failed(self) -> None:
        """Return never; raise what ended the publisher, as `publish` would, also where nobody publishes."""
        ...

    async def settle(self, *, timeout_s: float) -> bool:
        """Wait until everything in the window is stored; return whether it is."""
        ...

    async def close(self) -> None:
        """Stop; what is unacknowledged stays in `unacked`."""
        ...

"""The window: blocks on their way into a stream, each at the sequence it must get; decides what a last message means.

Kept: a block's sequence never changes while it is in the window, so a late acknowledgement of any attempt means the
same thing. It sends nothing and knows no connection.
"""

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from fluxforge.domain.block import Block, BlockId
from fluxforge.domain.errors import BlocksLostError, FencedError, LaneMovedError
from fluxforge.domain.lane import Lane
from fluxforge.domain.lane_state import LaneState


@dataclass(frozen=True, slots=True)
class Entry:
    """A block, the sequence it must get, and its headers, built once for all attempts."""

    seq: int
    block: Block
    headers: dict[str, str]


class Window:
    """The unacknowledged blocks of a lane, oldest first, behind the last acknowledged one."""

    def __init__(
        self, lane: Lane, acked: BlockId | None, acked_seq: int, *, on_stored: Callable[[Block], None] | None = None
    ) -> None:
        """Begin behind the stream's last message: its id (None where none is known) and sequence.

        `on_stored` is told of each block that is known to be stored.
        """
        self._lane = lane
        self._on_stored = on_stored
        self._entries: deque[Entry] = deque()
        self.acked = acked
        self.acked_seq = acked_seq

    def __len__(self) -> int:
        """Return the number of unacknowledged blocks."""
        return len(self._entries)

    def __iter__(self) -> Iterator[Entry]:
        """Yield the unacknowledged entries, oldest first."""
        return iter(self._entries)

    @property
    def newest(self) -> BlockId | None:
        """The id of the block that the next one must follow."""
        return self._entries[-1].block.id if self._entries else self.acked

    @property
    def newest_seq(self) -> int:
        """The sequence of the newest block, stored or not."""
        return self.acked_seq + len(self._entries)

    def push(self, block: Block, headers: dict[str, str]) -> Entry:
        """Append a block, with its headers, behind the newest."""
        newest = self.newest
        assert newest is None or block.after == newest, f"{block.id} follows {block.after}, the lane ends with {newest}"
        entry = Entry(self.newest_seq + 1, block, headers)
        self._entries.append(entry)
        return entry

    def from_seq(self, seq: int) -> Iterator[Entry]:
        """Yield the entries from a sequence on."""
        for index in range(max(0, seq - self.acked_seq - 1), len(self._entries)):
            yield self._entries[index]

    def before(self, entry: Entry) -> BlockId | None:
        """Return the id of the block before an entry, None where it is not known."""
        index = entry.seq - self.acked_seq - 1
        return self._entries[index - 1].block.id if index > 0 else self.acked

    def store(self, seq: int) -> None:
        """Drop every entry up to a sequence: they are stored."""
        while self._entries and self._entries[0].seq <= seq:
            entry = self._entries.popleft()
            self.acked, self.acked_seq = entry.block.id, entry.seq
            if self._on_stored is not None:
                self._on_stored(entry.block)

    def reconcile(self, last_seq: int, last: BlockId | None) -> None:
        """Drop what is stored, by the stream's last message (id and sequence); what remains may be sent again.

        Raises:
            BlocksLostError: The stream ends before what it had acknowledged.
            FencedError: The stream ends with a block of somebody else.
        """
        if self._id_at(last_seq) == last:
            self.store(last_seq)
            return
        found = f"{last or 'no block'} at sequence {last_seq}"
        expected = f"{self.acked or 'no block'} at {self.acked_seq}"
        if last is None or is_behind(last, self.acked) or last_seq < self.acked_seq:
            raise BlocksLostError(str(self._lane), f"the bus lost acknowledged blocks: {expected}, now {found}")
        raise FencedError(str(self._lane), f"expected {expected} or a block of ours behind it, was {found}")

    def _id_at(self, seq: int) -> BlockId | str | None:
        index = seq - self.acked_seq - 1
        if index == -1:
            return self.acked
        return self._entries[index].block.id if 0 <= index < len(self._entries) else "none of ours"


def is_behind(last: BlockId | None, known: BlockId | None) -> bool:
    """Return whether a stream that ends with `last` lost the stored block `known` of the same boot."""
    return known is not None and last is not None and last.boot == known.boot and last.n < known.n


def raise_if_moved(lane: Lane, epoch: int, state: LaneState, last_seq: int) -> None:
    """Refuse to go on in a stream that the lane has left or that is shorter than what is sealed of it.

    `state` was read before `last_seq`, which only grows in a stream that lost nothing.

    Raises:
        LaneMovedError: The stream takes no more blocks of this lane.
    """
    found = None
    if state.epoch > epoch:
        found = f"is of an epoch before the lane's, {state.epoch}"
    elif state.epoch == epoch and last_seq < state.sealed_seq:
        found = f"ends at sequence {last_seq}, it is sealed up to {state.sealed_seq}"
    if found:
        raise LaneMovedError(str(lane), f"stream {lane.stream(epoch)} {found}")

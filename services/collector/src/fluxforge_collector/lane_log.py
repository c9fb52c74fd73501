"""The lane's log: which blocks the bus acknowledged to this process and how far each feed had come with each.

When the bus loses what it acknowledged, the log says exactly what that was. Bounded: the oldest blocks are forgotten
first, and a loss that reaches beyond them is known by its end and its time alone. Does no I/O.
"""

from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Final

from fluxforge.domain.block import Block, BlockId
from fluxforge.domain.record import CONTROL_CHANNEL
from fluxforge.ports.lanes import StoredBlock
from fluxforge_collector.blocks import FeedSlot

LOG_BYTES_MAX: Final = 16 * 2**20
_ENTRY_BYTES: Final = 250
_RANGE_BYTES: Final = 150
_CONTROL: Final[FeedSlot] = (CONTROL_CHANNEL, None)


@dataclass(frozen=True, slots=True)
class LostSeqs:
    """Seqs of one feed of our boot, inclusive, that are gone; `first_seq` None where nobody knows any more."""

    slot: FeedSlot
    first_seq: int | None
    last_seq: int

    @property
    def count(self) -> int | None:
        """How many, where that is known."""
        return None if self.first_seq is None else self.last_seq - self.first_seq + 1

    def holds(self, slot: FeedSlot, seq: int) -> bool:
        """Return whether a seq of a feed is known to be lost."""
        return slot == self.slot and self.first_seq is not None and self.first_seq <= seq <= self.last_seq


@dataclass(frozen=True, slots=True)
class Loss:
    """Acknowledged blocks that are gone: those behind `after`, up to `last`; times are capture times, ns UTC.

    `seqs` names what is lost of our own boot; `is_exact` says whether that is all of it. `last_seqs`: how far the feeds
    had come with it.
    """

    after: BlockId | None
    from_ns: int
    last: BlockId
    to_ns: int
    seqs: tuple[LostSeqs, ...]
    last_seqs: Mapping[FeedSlot, int]
    is_exact: bool


@dataclass(frozen=True, slots=True)
class Logged:
    """One acknowledged block: how far the feeds in it had come. `told`: seqs of control records that name a loss."""

    id: BlockId
    last_capture_ns: int
    last_seqs: Mapping[FeedSlot, int]
    told: tuple[int, int] | None = None

    @classmethod
    def of(cls, block: Block) -> "Logged":
        """Return the entry of a block as it was captured."""
        return cls(
            block.id, block.last_capture_ns, {(feed.channel, feed.symbol): feed.last_seq for feed in block.feeds}
        )

    @classmethod
    def in_place_of(cls, loss: Loss, block: Block) -> "Logged":
        """Return the entry of the block that names a loss: the feeds had come as far as what is lost."""
        (told,) = block.feeds
        return cls(block.id, block.last_capture_ns, loss.last_seqs, (told.first_seq, told.last_seq))


class LaneLog:
    """The acknowledged blocks of one lane, from the one on that stood there when it was joined (None: it was empty)."""

    def __init__(
        self, boot: str, joined: BlockId | None, joined_ns: int, *, size_bytes_max: int = LOG_BYTES_MAX
    ) -> None:
        self.boot = boot
        self._floor = joined
        self._before: dict[FeedSlot, int] = {}
        """How far the feeds of our boot had come at the floor."""
        self._told_before: list[tuple[int, int]] = []
        self._entries: deque[Logged] = deque()
        self._size_bytes = 0
        self._size_bytes_max = size_bytes_max
        self.last_ns = joined_ns
        """Capture time at the end of the last acknowledged block."""

    @property
    def last(self) -> BlockId | None:
        """The last acknowledged block."""
        return self._entries[-1].id if self._entries else self._floor

    def add(self, entry: Logged) -> None:
        """Take note of an acknowledged block."""
        self._entries.append(entry)
        self.last_ns = entry.last_capture_ns
        self._size_bytes += _size_bytes(entry)
        while self._size_bytes > self._size_bytes_max and len(self._entries) > 1:
            oldest = self._entries.popleft()
            self._size_bytes -= _size_bytes(oldest)
            self._floor = oldest.id
            if oldest.id.boot == self.boot:
                self._before.update(oldest.last_seqs)
            if oldest.told:
                self._told_before.append(oldest.told)

    def loss_behind(self, stored: StoredBlock | None) -> Loss | None:
        """Return what is lost when the lane ends with `stored`; None where that block is somebody else's."""
        last = self.last
        assert last is not None, "a lane that acknowledged nothing lost nothing"
        found = stored.block.id if stored else None
        from_ns = stored.block.last_capture_ns if stored else 0
        kept = self._kept(found)
        if kept is not None:
            lost = list(islice(self._entries, kept, None))
            ours = [entry for entry in lost if entry.id.boot == self.boot]
            seqs = self._lost_seqs(kept, ours)
            return Loss(found, from_ns, last, self.last_ns, seqs, _come(ours), bool(ours) and len(ours) == len(lost))
        if stored is None or is_seed(stored.block) or (stored.block.id.boot == last.boot and stored.block.id < last):
            come = _come(entry for entry in self._entries if entry.id.boot == self.boot)
            unknown = tuple(LostSeqs(slot, None, last_seq) for slot, last_seq in come.items())
            return Loss(found, from_ns, last, self.last_ns, unknown, come, is_exact=False)
        return None

    def cut(self, stored: StoredBlock | None) -> None:
        """Forget what is lost behind `stored`: the lane ends there."""
        found = stored.block.id if stored else None
        kept = self._kept(found)
        if kept is None:
            self._before = self._come_at(len(self._entries))
            self._floor, kept = found, 0
        while len(self._entries) > kept:
            self._size_bytes -= _size_bytes(self._entries.pop())
        if stored:
            self.last_ns = stored.block.last_capture_ns

    def _kept(self, found: BlockId | None) -> int | None:
        """Return how many entries stand when the lane ends with `found`; None where it is not remembered."""
        for behind, entry in enumerate(reversed(self._entries)):
            if entry.id == found:
                return len(self._entries) - behind
        return 0 if found == self._floor else None

    def _come_at(self, count: int) -> dict[FeedSlot, int]:
        ours = (entry for entry in islice(self._entries, count) if entry.id.boot == self.boot)
        return {**self._before, **_come(ours)}

    def _lost_seqs(self, kept: int, lost: Sequence[Logged]) -> tuple[LostSeqs, ...]:
        """Return what is lost of our feeds behind the first `kept` entries.

        What told of an earlier loss bears control seqs of its own time, out of order: it is lost, or not, by itself.
        """
        come = self._come_at(kept)
        ranges = [(slot, come.get(slot, 0) + 1, last_seq) for slot, last_seq in _come(lost).items()]
        standing = [*self._told_before, *(entry.told for entry in islice(self._entries, kept) if entry.told)]
        named = [LostSeqs(slot, *part) for slot, *whole in ranges for part in _without(slot, whole, standing)]
        told = [LostSeqs(_CONTROL, *entry.told) for entry in lost if entry.told]
        covered = {slot: last_seq for slot, _, last_seq in ranges}
        return (*named, *(each for each in told if each.last_seq > covered.get(_CONTROL, 0)))


def is_seed(block: Block) -> bool:
    """Return whether a block only opens an epoch: it bears the id of the lane's last known block."""
    return not block.feeds and not block.payload


def _come(entries: Iterable[Logged]) -> dict[FeedSlot, int]:
    come: dict[FeedSlot, int] = {}
    for entry in entries:
        come.update(entry.last_seqs)
    return come


def _without(slot: FeedSlot, whole: Sequence[int], standing: Sequence[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """Yield what is left of an inclusive range of control seqs without those that stand; any other range is whole."""
    first, last = whole
    if slot == _CONTROL:
        for begin, end in sorted(standing):
            if first <= begin <= last:
                if first < begin:
                    yield first, begin - 1
                first = end + 1
    if first <= last:
        yield first, last


def _size_bytes(entry: Logged) -> int:
    return _ENTRY_BYTES + _RANGE_BYTES * len(entry.last_seqs)

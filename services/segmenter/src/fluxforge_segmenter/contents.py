"""The contents of an open segment, kept from block headers alone: no record is parsed on the way to storage.

Keeps the chain: a block enters only behind the block it names as its predecessor, or behind a hole that is named.
Does no I/O.
"""

from dataclasses import dataclass
from typing import Self

from fluxforge.domain.block import Block, BlockId
from fluxforge.domain.control import Control, Event
from fluxforge.domain.errors import LaneBrokenError, RecordError
from fluxforge.domain.lane import Lane
from fluxforge.domain.record import CONTROL_CHANNEL, read_data, read_envelope
from fluxforge.domain.segment import FeedLast, FeedSeqs, Manifest, PreviousSegment, SegmentName
from fluxforge.ports.lanes import StoredBlock


class ChainBrokenError(LaneBrokenError):
    """A block that does not follow the one before it; it was not taken in."""

    def __init__(self, lane: str, found: str, stream_seq: int) -> None:
        super().__init__(lane, found)
        self.stream_seq = stream_seq


@dataclass(frozen=True, slots=True)
class Tail:
    """What a lane's sealed segments hand on to the next one.

    `last_block` is None before the lane's first block, or where nobody knows it any more. `is_known` false: what stood
    last is lost, and the next block is believed whatever it names. `final`: a `lane_closed` stands at the end.
    """

    previous: PreviousSegment | None = None
    last_seqs: tuple[FeedLast, ...] = ()
    last_block: BlockId | None = None
    is_known: bool = True
    final: bool = False

    @classmethod
    def of(cls, manifest: Manifest) -> Self:
        """Return what stands behind a sealed segment."""
        ends_in_hole = bool(manifest.holes) and manifest.holes[-1][1] == manifest.last
        return cls(
            previous=PreviousSegment(manifest.name, manifest.epoch, manifest.last_capture_ns),
            last_seqs=manifest.last_seqs,
            last_block=BlockId.parse(manifest.last_block) if manifest.last_block else None,
            is_known=manifest.last_block is not None and not ends_in_hole,
            final=manifest.final,
        )

    @property
    def last_capture_ns(self) -> int:
        """Capture time up to which the lane is sealed; 0 before its first segment."""
        return self.previous.last_capture_ns if self.previous else 0


@dataclass(frozen=True, slots=True)
class Digest:
    """Size and SHA-256 (hex) of the uncompressed NDJSON."""

    size_bytes: int
    sha256: str


@dataclass(slots=True)
class _Seqs:
    ranges: list[list[int]]
    count: int


class Contents:
    """What an open segment holds, block by block, in stream order. `last`: how far the stream was taken in."""

    __slots__ = (
        "_feeds",
        "_hole_ns",
        "_holes",
        "_last",
        "_last_seqs",
        "_skipped",
        "_tail",
        "epoch",
        "first",
        "first_capture_ns",
        "last",
        "records",
        "size_bytes",
    )

    def __init__(self, lane_tail: Tail, *, epoch: int, first: int) -> None:
        self.epoch = epoch
        self.first = first
        self.last = first - 1
        self.records = 0
        self.size_bytes = 0
        self.first_capture_ns: int | None = None
        self._tail = lane_tail
        self._last: Block | None = None
        self._feeds: dict[tuple[str, str | None, str], _Seqs] = {}
        self._last_seqs = {(last.channel, last.symbol): (last.boot, last.seq) for last in lane_tail.last_seqs}
        self._holes: list[tuple[int, int]] = []
        self._hole_ns: list[tuple[int, int]] = []
        self._skipped: tuple[int, int] | None = None  # a hole behind which nothing stands yet

    @property
    def last_capture_ns(self) -> int:
        """Capture time up to which the lane was taken in."""
        return self._last.last_capture_ns if self._last else self._tail.last_capture_ns

    @property
    def ends_in_hole(self) -> bool:
        """Whether nothing stands behind the last hole yet; a manifest leaves it to the next segment, unless settled."""
        return self._skipped is not None

    @property
    def has_news(self) -> bool:
        """Whether there are records to seal, or a hole that the lane must know of."""
        return bool(self.records or self._holes)

    @property
    def sealable_last(self) -> int:
        """The last sequence that a manifest made now would name."""
        return self._skipped[0] - 1 if self._skipped else self.last

    def check(self, lane: Lane, stored: StoredBlock) -> None:
        """Refuse a block that is not the successor of the last one.

        Raises:
            ChainBrokenError: It skips a stream sequence or names another predecessor.
        """
        if stored.stream_seq != self.last + 1:
            found = f"expected stream sequence {self.last + 1}, was {stored.stream_seq}"
            raise ChainBrokenError(str(lane), found, stored.stream_seq)
        if self._skipped or (self._last is None and not self._tail.is_known):
            return
        expected = self._last.id if self._last else self._tail.last_block
        if stored.block.after != expected:
            found = (
                f"block {stored.block.id} at stream sequence {stored.stream_seq}: "
                f"expected it to follow {expected}, was {stored.block.after}"
            )
            raise ChainBrokenError(str(lane), found, stored.stream_seq)

    def skip(self, first: int, last: int) -> None:
        """Go on behind a range of the stream that is gone."""
        self._skipped = (self._skipped[0] if self._skipped else first, last)
        self.last = last

    def bridge(self, stored: StoredBlock) -> None:
        """Name the hole of no width before a block that does not follow; the block itself is still to be added."""
        self._skipped = (stored.stream_seq, stored.stream_seq - 1)

    def settle(self) -> None:
        """Let the hole at the end belong to this segment: nothing is known of what comes behind it."""
        self._close_hole(0)

    def add(self, stored: StoredBlock) -> None:
        """Take in a checked block."""
        block = stored.block
        self._close_hole(block.first_capture_ns)
        self._last = block
        self.last = stored.stream_seq
        if not block.feeds:
            return
        if self.first_capture_ns is None:
            self.first_capture_ns = block.first_capture_ns
        boot = block.id.boot
        for feed in block.feeds:
            self.records += feed.count
            self._last_seqs[feed.channel, feed.symbol] = (boot, feed.last_seq)
            seqs = self._feeds.get((feed.channel, feed.symbol, boot))
            if seqs is None:
                self._feeds[feed.channel, feed.symbol, boot] = _Seqs([[feed.first_seq, feed.last_seq]], feed.count)
                continue
            seqs.count += feed.count
            if seqs.ranges[-1][1] + 1 == feed.first_seq:
                seqs.ranges[-1][1] = feed.last_seq
            else:
                seqs.ranges.append([feed.first_seq, feed.last_seq])
        self.size_bytes += len(block.payload)

    def manifest(
        self, lane: Lane, name: SegmentName, digest: Digest, *, suffix: str, created_ns: int, software: str
    ) -> Manifest:
        """Return the manifest of what was taken in; `suffix` is that of the object, `.ndjson` or `.ndjson.zst`."""
        last_block = self._last.id if self._last else self._tail.last_block
        return Manifest(
            name=str(name),
            file=f"{name}{suffix}",
            source=lane.source,
            exchange=lane.exchange,
            shard=lane.shard,
            epoch=self.epoch,
            first=self.first,
            last=self.sealable_last,
            records=self.records,
            size_bytes=digest.size_bytes,
            sha256=digest.sha256,
            first_capture_ns=self.last_capture_ns if self.first_capture_ns is None else self.first_capture_ns,
            last_capture_ns=self.last_capture_ns,
            feeds=tuple(
                FeedSeqs(channel, symbol, boot, tuple((first, end) for first, end in seqs.ranges), seqs.count)
                for (channel, symbol, boot), seqs in self._feeds.items()
            ),
            last_seqs=tuple(
                FeedLast(channel, symbol, boot, seq) for (channel, symbol), (boot, seq) in self._last_seqs.items()
            ),
            holes=tuple(self._holes),
            hole_ns=tuple(self._hole_ns),
            last_block=str(last_block) if last_block else None,
            previous=self._tail.previous,
            final=self._last is not None and closes_lane(self._last),
            created_ns=created_ns,
            software=software,
        )

    def _close_hole(self, to_ns: int) -> None:
        if self._skipped is not None:
            self._holes.append(self._skipped)
            self._hole_ns.append((self.last_capture_ns, to_ns))
            self._skipped = None


def closes_lane(block: Block) -> bool:
    """Return whether the block's last record is a `lane_closed`; the one line that is read, and only of such blocks."""
    if not any(feed.channel == CONTROL_CHANNEL for feed in block.feeds):
        return False
    line = block.payload[block.payload.rfind(b"\n", 0, -1) + 1 :]
    try:
        if read_envelope(line).channel != CONTROL_CHANNEL:
            return False
        return Control.from_json(read_data(line)).event is Event.LANE_CLOSED
    except RecordError:
        return False  # whoever reads the records judges them; a line that cannot be read closes nothing

"""The lane's writer: gives every update its seq and capture time, and sets control records among them in order.

Everything here runs on the receive path: it never waits, does no I/O, and enters, drops and names in one total order.
A record that got a seq is in a block, or its seq stands in a `dropped` or `rejected` control record.
"""

import hashlib
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final

from fluxforge.domain.block import Block, FeedRange
from fluxforge.domain.control import UNSOUND_EVENTS, After, Control, Event
from fluxforge.domain.lane import Lane
from fluxforge.domain.record import CONTROL_CHANNEL, Feed, RecordWriter
from fluxforge.ports.clock import Clock
from fluxforge_collector.blocks import BlockBuffer, FeedSlot
from fluxforge_collector.bus_loss import controls_of, feeds_concerned, lost_between
from fluxforge_collector.drops import REASON, Drops
from fluxforge_collector.holes import Holes
from fluxforge_collector.lane_feed import LaneFeed, Recovery
from fluxforge_collector.lane_log import Loss
from fluxforge_collector.stamp import Stamper

_CONTROL_SLOT: Final[FeedSlot] = (CONTROL_CHANNEL, None)
_NAMED_MAX: Final = 4096


class LaneWriter:
    """Enters what a source brings into the blocks of one lane, for one boot."""

    def __init__(
        self,
        *,
        lane: Lane,
        boot: str,
        feeds: Sequence[Feed],
        buffer: BlockBuffer,
        clock: Clock,
        last_ns: int,
        record_bytes_max: int,
        on_control: Callable[[Control], None],
    ) -> None:
        self._boot = boot
        self._buffer = buffer
        self._record_bytes_max = record_bytes_max
        self._on_control = on_control
        self._stamper = Stamper(clock, last_ns, self._clock_stepped)
        self._holes = Holes(boot)
        self._drops = Drops()
        self._named: deque[tuple[int, Control]] = deque(maxlen=_NAMED_MAX)
        """The latest control records that name seqs, with their own: told again if the bus loses them."""
        self._on_recovered: Callable[[Recovery], None] | None = None
        self._missed_ns: dict[LaneFeed, int] = {}
        """How far an earlier boot had come with each feed that this one began with, until it recovers."""
        self._lost_controls = 0
        self._control = RecordWriter(Feed(lane.source, lane.exchange, CONTROL_CHANNEL, None), boot).line
        self._by_feed = {feed: LaneFeed(feed, boot) for feed in feeds}
        self._by_key = {feed.key: feed for feed in self._by_feed.values()}
        self.feeds = tuple(self._by_feed.values())
        """Those that are captured now."""
        self.control_seq = 0
        self.now = self._stamper.read

    @property
    def captured(self) -> int:
        """Records that were given a seq, control records among them."""
        return self.control_seq + sum(feed.seq for feed in self._by_key.values())

    @property
    def dropped(self) -> int:
        """Records that were given a seq and dropped, or lost by the bus after it had acknowledged them."""
        return self._lost_controls + sum(feed.dropped for feed in self._by_key.values())

    @property
    def is_busy(self) -> bool:
        """Whether half of the memory for records is taken."""
        return self._buffer.is_half_full

    def feed(self, feed: Feed) -> LaneFeed:
        """Return the lane's handle of an announced feed."""
        return self._by_feed[feed]

    def spent_ns(self, feed: LaneFeed, at_ns: int) -> int:
        """Return how long a feed was in any hole until now, ns UTC."""
        return self._holes.spent_ns(feed.key, at_ns)

    def on_recovered(self, told: Callable[[Recovery], None]) -> None:
        """Have every recovery told that something may be missing before, ahead of the record that ends it."""
        self._on_recovered = told

    def hold(self, feed: LaneFeed) -> None:
        """Let no record end the holes of a feed until it is released."""
        feed.held = True

    def release(self, feed: LaneFeed) -> None:
        """Let the next record of a feed end its holes."""
        feed.held = False

    def add(self, feeds: Sequence[Feed], why: str) -> list[LaneFeed]:
        """Take feeds in, or in again, and enter `started`: they are unsound until their first records.

        A feed that was here before goes on counting where it left off.
        """
        entered = [self._by_feed.setdefault(feed, LaneFeed(feed, self._boot)) for feed in feeds]
        for feed in entered:
            feed.begin()
            self._by_key[feed.key] = feed
        self.feeds = (*self.feeds, *entered)
        self.note(Event.STARTED, entered, reason=why)
        return entered

    def remove(self, feeds: Sequence[LaneFeed], why: str) -> None:
        """Let feeds go and enter `stopped` of them alone; none of theirs may follow before they are added again."""
        self._report_drops(self.now())
        gone = set(feeds)
        self.feeds = tuple(feed for feed in self.feeds if feed not in gone)
        for feed in gone:
            feed.captured = False
            self._missed_ns.pop(feed, None)
        keys = tuple(feed.key for feed in feeds)
        at_ns = self._enter(self.now())
        hole = self._open(Event.STOPPED, feeds, reason=why, from_ns=at_ns, at_ns=at_ns)
        for key in keys:
            self._holes.leave(key, at_ns=at_ns)  # nothing more is told of it, as of feeds whose collector has ended
        self._write(Control(Event.STOPPED, hole=hole, feeds=keys, reason=why, from_ns=at_ns), at_ns)

    def follow_clock(self) -> None:
        """Follow slewing of the wall clock; called now and then, off the receive path."""
        self._stamper.follow()

    def record(
        self,
        feed: LaneFeed,
        data: bytes,
        *,
        exchange_ms: int | None,
        at_ns: int,
        conn: int,
        snapshot: bool = False,
        backfill: bool = False,
    ) -> None:
        """Enter one update of a feed, or drop it and remember that where there is no room.

        What is fetched after a hole (`backfill`) ends no hole, and is not the feed's newest.
        """
        feed.seq = seq = feed.seq + 1
        if backfill:
            feed.backfilled += 1
        if self._buffer.refusing:
            self._drops.note(feed, at_ns)
            return
        if self._drops:
            self._report_drops(at_ns)
        if feed.unsound and not (feed.held or backfill):
            self._recover(feed, at_ns, data)
        capture_ns = self._enter(at_ns)
        line = feed.line(
            conn=conn,
            seq=seq,
            capture_ns=capture_ns,
            exchange_ms=exchange_ms,
            data=data,
            snapshot=snapshot,
            backfill=backfill,
        )
        if len(line) > self._record_bytes_max:
            self._reject(feed, line)
            return
        self._buffer.append(feed.slot, seq, line, capture_ns)
        if backfill:
            return
        feed.last_data = data
        feed.last_ms = exchange_ms
        feed.last_ns = capture_ns

    def note(
        self,
        event: Event,
        feeds: Sequence[LaneFeed] = (),
        *,
        reason: str | None = None,
        count: int | None = None,
        detail: dict[str, str | int | None] | None = None,
        conn: int = 0,
        from_ns: int | None = None,
    ) -> None:
        """Enter a control record; events that make feeds unsound open a hole of them, from `from_ns` or now."""
        keys = tuple(feed.key for feed in feeds)
        at_ns = self._enter(self.now())
        from_ns = at_ns if from_ns is None else from_ns
        hole = None
        if event in UNSOUND_EVENTS and event is not Event.STOPPED and keys:
            hole = self._open(event, feeds, reason=reason, from_ns=from_ns, at_ns=at_ns)
        self._write(
            Control(
                event,
                hole=hole,
                scope=keys[0] if len(keys) == 1 else None,
                feeds=keys if len(keys) > 1 else (),
                reason=reason,
                from_ns=from_ns,
                count=count,
                detail=detail,
            ),
            at_ns,
            conn,
        )

    def start(self, after: After | None) -> None:
        """Enter `started`: every feed is unsound until its first record."""
        at_ns = self._enter(self.now())
        hole = self._open(Event.STARTED, self.feeds, reason=None, from_ns=at_ns, at_ns=at_ns)
        self._missed_ns = dict.fromkeys(self.feeds, after.capture_ns) if after else {}
        keys = tuple(feed.key for feed in self.feeds)
        self._write(Control(Event.STARTED, hole=hole, feeds=keys, from_ns=at_ns, after=after), at_ns)

    def stop(self, reason: str) -> None:
        """Name what is still dropped, then enter `stopped`; nothing may follow in this boot."""
        self._report_drops(self.now())
        self.note(Event.STOPPED, self.feeds, reason=reason)

    def name_lost(self, loss: Loss) -> Block:
        """Return the block that stands for acknowledged ones that the bus lost, and names what is gone.

        It takes the id and the end of the last of them, so that what follows in the lane need not know. The feeds
        concerned are unsound until their next records.
        """
        keys = feeds_concerned(loss, list(self._by_key))
        feeds = [self._by_key[key] for key in keys]
        hole = self._open(Event.DROPPED, feeds, reason="bus_lost", from_ns=loss.from_ns, at_ns=self._stamper.last_ns)
        for feed in set(feeds).difference(self.feeds):
            self._holes.leave(feed.key, at_ns=loss.to_ns)
        controls = controls_of(loss, keys, hole, self._named)
        first_seq, first_ns = self.control_seq + 1, loss.to_ns - len(controls) + 1
        lines = [self._line(control, first_ns + position) for position, control in enumerate(controls)]
        for lost in loss.seqs:
            self._count_lost(lost.slot, lost.count or 0)
        told = FeedRange(*_CONTROL_SLOT, first_seq, self.control_seq, len(lines))
        return Block(loss.last, loss.after, first_ns, loss.to_ns, (told,), b"".join(lines))

    def name_lost_before(self, from_ns: int | None, to_ns: int) -> None:
        """Enter that the bus lost blocks of an earlier boot, captured behind `from_ns` and before `to_ns`."""
        self._write(lost_between(from_ns, to_ns, [feed.key for feed in self.feeds]), self._enter(self.now()))

    def _count_lost(self, slot: FeedSlot, count: int) -> None:
        if slot == _CONTROL_SLOT:
            self._lost_controls += count
            return
        for feed in self._by_key.values():
            if feed.slot == slot:
                feed.dropped += count

    def _enter(self, at_ns: int) -> int:
        capture_ns = self._stamper.rise(at_ns)
        if capture_ns >= self._holes.due_ns:
            for control in self._holes.repeats(capture_ns):
                self._write(control, capture_ns)
                capture_ns = self._stamper.rise(capture_ns)
        return capture_ns

    def _write(self, control: Control, capture_ns: int, conn: int = 0) -> None:
        line = self._line(control, capture_ns, conn)
        self._buffer.append(_CONTROL_SLOT, self.control_seq, line, capture_ns)

    def _line(self, control: Control, capture_ns: int, conn: int = 0) -> bytes:
        self.control_seq += 1
        markets = {key.symbol: self._by_key[key].market for key in control.concerned()}
        data = replace(control, markets={symbol: name for symbol, name in markets.items() if name != symbol}).to_json()
        self._on_control(control)
        if control.event in (Event.DROPPED, Event.REJECTED):
            self._named.append((self.control_seq, control))
        return self._control(conn=conn, seq=self.control_seq, capture_ns=capture_ns, exchange_ms=None, data=data)

    def _open(self, event: Event, feeds: Sequence[LaneFeed], *, reason: str | None, from_ns: int, at_ns: int) -> str:
        for feed in feeds:
            feed.unsound = True
        keys = [feed.key for feed in feeds]
        return self._holes.open(event, keys, reason=reason, from_ns=from_ns, at_ns=at_ns)

    def _recover(self, feed: LaneFeed, at_ns: int, first: bytes) -> None:
        feed.unsound = False
        if not self._holes.is_open(feed.key):
            return
        capture_ns = self._enter(at_ns)
        closing = self._holes.close(feed.key, at_ns=capture_ns)
        for position, control in enumerate(closing):
            self._write(control, self._stamper.rise(capture_ns) if position else capture_ns)
        missed_ns = self._missed_ns.pop(feed, None)
        if self._on_recovered and (feed.last_data or missed_ns is not None):
            from_ns = min(control.from_ns or capture_ns for control in closing) if missed_ns is None else missed_ns
            self._on_recovered(Recovery(feed, from_ns, feed.last_data, first))

    def _report_drops(self, now_ns: int) -> None:
        drops, self._drops = self._drops, Drops()
        for feed, lost in drops.items():
            at_ns = self._enter(now_ns)
            hole = self._open(Event.DROPPED, [feed], reason=REASON, from_ns=lost.from_ns, at_ns=at_ns)
            self._write(lost.control(feed, hole), at_ns)

    def _reject(self, feed: LaneFeed, line: bytes) -> None:
        feed.dropped += 1
        self.note(
            Event.REJECTED,
            [feed],
            reason=f"record of {len(line)} bytes, expected at most {self._record_bytes_max}",
            count=1,
            detail={"seq": feed.seq, "size_bytes": len(line), "sha256": hashlib.sha256(line).hexdigest()},
        )

    def _clock_stepped(self, step_ns: int) -> None:
        # The stamp of this record is read anew by `now`, whose anchor has already moved: this cannot recur.
        self.note(Event.CLOCK_STEP, reason="forward" if step_ns > 0 else "backward", detail={"step_ns": step_ns})

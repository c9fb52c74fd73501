"""Publish: the records of segments as a source of a lane of their own, in their order and at their pace.

`data`, `exchange_ms`, `conn`, `snapshot` and the order of records are as recorded. The lane is a new one all the same,
with its own boot, seqs and capture times, so that whatever reads it can rely on what holds of every lane.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import orjson
from typing_extensions import override

from fluxforge.domain.control import Control, Event, FeedKey
from fluxforge.domain.errors import InputFileError, RecordError, UsageError
from fluxforge.domain.record import CONTROL_CHANNEL, Feed
from fluxforge_collector.lane_feed import LaneFeed
from fluxforge_collector.replay.segments import Recorded, Segments
from fluxforge_collector.source import Sink, Source

_TOLD: Final = frozenset(
    {Event.CONNECTED, Event.SUBSCRIBED, Event.DISCONNECTED, Event.GAP, Event.STALLED, Event.REJECTED}
)
"""What a source says of itself; the rest is told by whoever writes the lane."""
Slot = tuple[str, str | None]
"""(channel, symbol) of a feed."""
_NS: Final = 1_000_000_000
_BUSY_S: Final = 0.005
_RECORDS_PER_TURN: Final = 100


def feeds_of(segments: Segments, source: str) -> Mapping[Slot, Feed]:
    """Return the feeds of segments under another source's name.

    Raises:
        InputFileError: See `Segments.records`.
        UsageError: The source is the one that was recorded, or there is nothing but control records.
    """
    if source == segments.source:
        raise UsageError(f"--source {source}: the segments are of that source; choose another name")
    feeds: dict[Slot, Feed] = {}
    for record in segments.records():
        envelope = record.envelope
        if envelope.channel != CONTROL_CHANNEL:
            feed = Feed(source, envelope.exchange, envelope.channel, envelope.market)
            feeds.setdefault((envelope.channel, envelope.symbol), feed)
    if not feeds:
        raise UsageError("replay: the segments hold nothing but control records")
    return feeds


class ReplaySource(Source):
    """Brings the records of segments once. `speed`: a multiple of the recorded pace, 0 as fast as they are stored."""

    def __init__(
        self, segments: Segments, feeds: Mapping[Slot, Feed], *, speed: float, ended: Callable[[], None]
    ) -> None:
        self._segments = segments
        self._feeds = feeds
        self._speed = speed
        self._ended = ended
        self._boots: dict[Slot, str] = {}
        self.published = 0

    @property
    @override
    def feeds(self) -> Sequence[Feed]:
        return tuple(self._feeds.values())

    @property
    @override
    def connections(self) -> int:
        return 0

    @override
    async def run(self, sink: Sink) -> None:
        loop = asyncio.get_running_loop()
        began_s, first_ns = loop.time(), 0
        feeds = {key: sink.feed(feed) for key, feed in self._feeds.items()}
        for number, record in enumerate(self._segments.records()):
            first_ns = first_ns or record.envelope.capture_ns
            wait_s = 0.0
            if self._speed:
                due_s = (record.envelope.capture_ns - first_ns) / _NS / self._speed
                wait_s = began_s + due_s - loop.time()
            if wait_s > 0 or number % _RECORDS_PER_TURN == 0:
                await asyncio.sleep(max(0.0, wait_s))
            while sink.is_busy:  # noqa: ASYNC110 - it becomes less by being stored
                await asyncio.sleep(_BUSY_S)
            self._follow(sink, feeds, record)
            _enter(sink, feeds, record)
            self.published += 1
        self._ended()

    def _follow(self, sink: Sink, feeds: Mapping[Slot, LaneFeed], record: Recorded) -> None:
        """Say of which feeds another process went on with the capture; ingested files stand side by side in a lane."""
        boot = record.envelope.boot
        slots = [slot for slot in _slots(record) if slot in feeds]
        changed = [feeds[slot] for slot in slots if self._boots.get(slot, boot) != boot]
        self._boots.update(dict.fromkeys(slots, boot))
        if changed:
            sink.note(Event.GAP, changed, reason="another process went on with the capture")

    @override
    async def close(self) -> None:
        """Leave nothing open: there is nothing."""


def _enter(sink: Sink, feeds: Mapping[Slot, LaneFeed], record: Recorded) -> None:
    envelope = record.envelope
    if envelope.channel != CONTROL_CHANNEL:
        sink.record(
            feeds[envelope.channel, envelope.symbol],
            record.data,
            exchange_ms=envelope.exchange_ms,
            at_ns=sink.now(),
            conn=envelope.conn,
            snapshot=envelope.snapshot,
            backfill=envelope.source_kind is not None,
        )
        return
    control = _control(record)
    concerned = [feeds[key] for key in map(_slot, control.concerned()) if key in feeds]
    if control.repeat or (control.concerned() and not concerned):
        return
    if control.event in _TOLD:
        sink.note(
            control.event,
            concerned,
            reason=control.reason,
            count=control.count,
            detail=control.detail,
            conn=envelope.conn,
        )
    elif control.event is Event.DROPPED and concerned:
        sink.note(Event.GAP, concerned, reason=f"dropped at capture: {control.reason}", count=control.count)


def _slots(record: Recorded) -> list[Slot]:
    """Return the feeds that a record is of, or tells of."""
    envelope = record.envelope
    if envelope.channel != CONTROL_CHANNEL:
        return [(envelope.channel, envelope.symbol)]
    return [_slot(key) for key in _control(record).concerned()]


def _control(record: Recorded) -> Control:
    try:
        return Control.from_json(record.data)
    except (RecordError, orjson.JSONDecodeError) as error:
        raise InputFileError(record.place, str(error)) from error


def _slot(key: FeedKey) -> Slot:
    return key.channel, key.symbol

"""Coverage: what happened to each feed, one row per affected feed; what is not here was captured whole. Pure.

Rows come from the lane's control records and from the ETL itself: `crash` (a collector ended without saying so),
`crossed` and `empty` (updates that are no valid book), `lost` (messages that were gone before they were sealed). What
names no feed speaks of the lane: feed `*`. A row's market comes from its own record alone, so that it does not depend
on what else a segment holds.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import pyarrow as pa

from fluxforge.domain.control import CRASH, LOST, Control, Event, FeedKey
from fluxforge.domain.record import CONTROL_CHANNEL
from fluxforge.domain.segment import Manifest
from fluxforge_etl_worker.books import Invalid
from fluxforge_etl_worker.columns import BookColumns, ControlRow
from fluxforge_etl_worker.holes import holes_of
from fluxforge_etl_worker.schemas import COVERAGE
from fluxforge_etl_worker.tables import constant, integers, names, numbers, strings, timestamps

WHOLE_LANE: Final = FeedKey("*", "*")
COLLECTOR: Final = "collector"
ETL: Final = "etl"
_CONTROL_FEED: Final = FeedKey(CONTROL_CHANNEL, "*")
_SEQ_FIELDS: Final = {Event.DROPPED: ("first_seq", "last_seq"), Event.REJECTED: ("seq", "seq")}
_INT64: Final = 2**63


@dataclass(frozen=True, slots=True)
class CoverageRow:
    """One event of one feed. Times ns UTC; `to_ns` None: open.

    `first_seq`, `last_seq`: which records of the feed and boot took a seq and stand nowhere; None where none did.
    """

    feed: FeedKey
    market: str
    hole: str | None
    event: str
    from_ns: int
    to_ns: int | None
    reason: str | None
    detector: str
    count: int | None
    boot: str
    seq: int
    first_seq: int | None = None
    last_seq: int | None = None

    @property
    def ends_boot(self) -> bool:
        """Whether it is the last word of a collector that ended in order; see `Control.ends_boot`."""
        return self.event == Event.STOPPED and self.hole is None


def control_rows(rows: Iterable[ControlRow]) -> list[CoverageRow]:
    """Return the rows of control records."""
    return [
        CoverageRow(
            feed=feed,
            market=row.control.market(feed.symbol),
            hole=row.control.hole,
            event=row.control.event.value,
            from_ns=row.capture_ns if row.control.from_ns is None else row.control.from_ns,
            to_ns=row.control.to_ns,
            reason=row.control.reason,
            detector=COLLECTOR,
            count=row.control.count,
            boot=row.boot,
            seq=row.seq,
            **_missing_seqs(row.control),
        )
        for row in rows
        for feed in row.control.concerned() or (_unnamed(row.control),)
    ]


def _unnamed(control: Control) -> FeedKey:
    """Return whom a record speaks of that names no feed: control records that were lost, else the whole lane."""
    is_of_control = control.event is Event.DROPPED and (control.detail or {}).get("channel") == CONTROL_CHANNEL
    return _CONTROL_FEED if is_of_control else WHOLE_LANE


def _missing_seqs(control: Control) -> dict[str, int | None]:
    """Return the seqs that a record says were given to records that are not in the lane."""
    if control.detail is None or control.event not in _SEQ_FIELDS:
        return {}
    first, last = (_seq(control.detail.get(name)) for name in _SEQ_FIELDS[control.event])
    return {"first_seq": first, "last_seq": last}


def _seq(value: object) -> int | None:
    return value if type(value) is int and 0 <= value < _INT64 else None


def crash_rows(rows: Sequence[ControlRow], stopped_before: Iterable[str]) -> list[CoverageRow]:
    """Return a hole per feed from where a collector ended without a `stopped` to the `started` that follows.

    `stopped_before` are the boots known to have stopped in order before these records.
    """
    stopped = set(stopped_before)
    found: list[CoverageRow] = []
    for row in rows:
        if row.control.ends_boot:
            stopped.add(row.boot)
        after = row.control.after
        if row.control.event is not Event.STARTED or after is None or after.boot in stopped:
            continue
        found += [
            CoverageRow(
                feed=feed,
                market=row.control.market(feed.symbol),
                hole=f"{row.boot}:{row.seq}",
                event=CRASH,
                from_ns=after.capture_ns,
                to_ns=row.capture_ns,
                reason=f"boot {after.boot} ended without a stopped record",
                detector=ETL,
                count=None,
                boot=row.boot,
                seq=row.seq,
            )
            for feed in row.control.concerned() or (WHOLE_LANE,)
        ]
    return found


def lost_rows(manifest: Manifest) -> list[CoverageRow]:
    """Return a row per feed known in the lane for each hole in its stream; `count` is the messages that are gone.

    The records around it tell when it was. `boot` names the stream, `seq` the first message.
    """
    stream = manifest.lane.stream(manifest.epoch)
    feeds = [FeedKey(last.channel, last.symbol) for last in manifest.last_seqs if last.symbol is not None]
    return [
        CoverageRow(
            feed=feed,
            market=feed.symbol,
            hole=f"{stream}:{first}",
            event=LOST,
            # Of a lane that begins with a hole nobody knows since when it was captured.
            from_ns=hole.from_ns or manifest.first_capture_ns or manifest.created_ns,
            to_ns=hole.to_ns,
            reason=_reason(first, last),
            detector=ETL,
            count=last - first + 1,
            boot=stream,
            seq=first,
        )
        for (first, last), hole in zip(manifest.holes, holes_of(manifest), strict=True)
        for feed in sorted(feeds, key=lambda feed: (feed.channel, feed.symbol)) or (WHOLE_LANE,)
    ]


def dropped_rows(manifest: Manifest, reason: str) -> list[CoverageRow]:
    """Return a row per feed, boot and range of seqs of a segment that a person gave up, after those of its holes.

    `seq` is the first of the range; no stream has a boot's name, so that they are told apart from lost messages. Where
    the manifest knows of no record, one row speaks of the lane.
    """
    whole = CoverageRow(
        feed=WHOLE_LANE,
        market=WHOLE_LANE.symbol,
        hole=None,
        event=LOST,
        from_ns=manifest.first_capture_ns,
        to_ns=manifest.last_capture_ns,
        reason=reason,
        detector=ETL,
        count=manifest.records,
        boot=manifest.name,
        seq=manifest.first,
    )
    held = [
        replace(
            whole,
            feed=FeedKey(feed.channel, feed.symbol or "*"),
            market=feed.symbol or "*",
            count=last - first + 1,
            boot=feed.boot,
            seq=first,
            first_seq=first,
            last_seq=last,
        )
        for feed in manifest.feeds
        for first, last in feed.ranges
    ]
    return lost_rows(manifest) + (held or [whole])


def _reason(first: int, last: int) -> str:
    if last < first:
        return f"message {first} of the stream does not follow the one before it"
    return f"messages {first} to {last} of the stream were gone before they were sealed"


def invalid_rows(books: BookColumns, invalid: Invalid) -> list[CoverageRow]:
    """Return a row per update that is no valid book."""
    feed, market = FeedKey("orderbook", books.instrument.symbol), books.instrument.market
    keys = books.keys.take(invalid.rows)
    return [
        CoverageRow(feed, market, None, event, at, at, reason, ETL, 1, boot, seq)
        for event, reason, at, boot, seq in zip(
            invalid.events, invalid.reasons, keys.capture_ns.tolist(), keys.boot, keys.seq.tolist(), strict=True
        )
    ]


def coverage_table(exchange: str, rows: Sequence[CoverageRow]) -> pa.Table:
    """Return the rows as a table."""
    from_ns = np.array([row.from_ns for row in rows], dtype=np.int64)
    columns = [
        constant(exchange, len(rows)),
        names([row.feed.symbol for row in rows]),
        strings([row.market for row in rows]),
        timestamps(from_ns),
        strings([row.feed.channel for row in rows]),
        strings([row.hole for row in rows]),
        strings([row.event for row in rows]),
        numbers(from_ns),
        integers([row.to_ns for row in rows]),
        strings([row.reason for row in rows]),
        strings([row.detector for row in rows]),
        integers([row.count for row in rows]),
        strings([row.boot for row in rows]),
        integers([row.seq for row in rows]),
        integers([row.first_seq for row in rows]),
        integers([row.last_seq for row in rows]),
    ]
    return pa.Table.from_arrays(columns, schema=COVERAGE)

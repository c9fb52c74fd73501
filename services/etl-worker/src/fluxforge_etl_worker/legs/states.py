"""States: when each leg captured a feed whole, told by its coverage rows, and when neither did. Pure.

A hole of one leg is none of both while the other is sound.
"""

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from fluxforge.domain.control import CRASH, HOLE_WORDS, LOST, SOUND_WORDS, Control, Event, FeedKey
from fluxforge_etl_worker.columns import I64, Bools, ControlRow
from fluxforge_etl_worker.coverage import ETL, CoverageRow
from fluxforge_etl_worker.history import CONTROL_REACH_NS
from fluxforge_etl_worker.soundness import BookState

_BOOKS: Final = "orderbook"
_BEST_FIRST: Final = (BookState.SYNCED, BookState.STALE, BookState.SUSPECT)


@dataclass(frozen=True, slots=True)
class Change:
    """From `at_ns` on a feed is in a state, because of what a row says."""

    at_ns: int
    state: BookState
    row: CoverageRow


@dataclass(frozen=True, slots=True)
class Timeline:
    """The states of one feed: `before` until the first change, then as each change says."""

    before: BookState
    changes: tuple[Change, ...] = ()

    def at(self, time_ns: int) -> BookState:
        """Return the state at a time."""
        found = bisect_right(self.changes, time_ns, key=lambda change: change.at_ns)
        return self.changes[found - 1].state if found else self.before

    def is_sound_before(self, time_ns: I64) -> Bools:
        """Return whether the state just before each time is sound: a record stands behind what is said of it."""
        sound = np.array([state is BookState.SYNCED for state in (self.before, *self._states())], dtype=np.bool_)
        begins = np.array([change.at_ns for change in self.changes], dtype=np.int64)
        result: Bools = sound[np.searchsorted(begins, time_ns, side="left")]
        return result

    def _states(self) -> Iterator[BookState]:
        return (change.state for change in self.changes)


def leg_timeline(rows: Iterable[CoverageRow], *, has_records: bool) -> Timeline:
    """Return the states of one leg's feed from the coverage rows that speak of it.

    Before it is first told of, a leg does not capture a feed. One of which nothing is told at all does where it has
    records: such a lane had no collector of ours.
    """
    told = list(_told(rows))
    if not told:
        return Timeline(BookState.SYNCED if has_records else BookState.SUSPECT)
    changes: list[Change] = []
    standing: list[CoverageRow] = []
    for at_ns, closes, row in sorted(told, key=lambda one: (one[0], not one[1])):
        if closes:
            standing = [other for other in standing if not _ends(row, other)]
        else:
            standing.append(row)
        state = _state(standing)
        if (changes[-1].state if changes else BookState.SUSPECT) is not state:
            changes.append(Change(at_ns, state, row))
    return Timeline(BookState.SUSPECT, tuple(changes))


def _told(rows: Iterable[CoverageRow]) -> Iterator[tuple[int, bool, CoverageRow]]:
    """Yield when a row opens or closes (true) a hole. A lost stretch ends by itself where no row speaks after it."""
    listed = [row for row in rows if row.event in HOLE_WORDS | SOUND_WORDS]
    times = sorted(row.from_ns if row.event in HOLE_WORDS else _end(row) for row in listed)
    for row in listed:
        if row.event in SOUND_WORDS:
            yield _end(row), True, row
            continue
        yield row.from_ns, False, row
        if row.event == LOST and row.to_ns is not None:
            end_ns = row.to_ns + CONTROL_REACH_NS
            if bisect_right(times, row.from_ns) == bisect_right(times, end_ns):
                yield end_ns, True, row


def _end(row: CoverageRow) -> int:
    return row.from_ns if row.to_ns is None else row.to_ns


def _ends(closing: CoverageRow, hole: CoverageRow) -> bool:
    """Return whether a row ends a hole: its own, and those that nobody is left to close."""
    is_its_own = closing.hole is None or hole.hole is None or closing.hole == hole.hole
    return is_its_own or closing.boot != hole.boot or hole.event in {CRASH, LOST}


def _state(standing: Sequence[CoverageRow]) -> BookState:
    if any(row.event == Event.STALLED for row in standing):
        return BookState.STALE
    return BookState.SUSPECT if standing else BookState.SYNCED


def merged_timeline(a: Timeline, b: Timeline) -> Timeline:
    """Return the states of a feed that two legs capture: at any time the better one."""
    before = _better(a.before, b.before)
    changes: list[Change] = []
    state = before
    for change in sorted((*a.changes, *b.changes), key=lambda one: one.at_ns):
        now = _better(a.at(change.at_ns), b.at(change.at_ns))
        if now is not state:
            changes.append(replace(change, state=now))
            state = now
    return Timeline(before, tuple(changes))


def _better(one: BookState, other: BookState) -> BookState:
    return min(one, other, key=_BEST_FIRST.index)


def hole_rows(
    feed: FeedKey, timeline: Timeline, after_ns: int, until_ns: int, *, first_ns: int = 0
) -> list[CoverageRow]:
    """Return the coverage rows of what neither leg captured: one where a hole begins and changes, one where it ends.

    They bear boot and seq of the row of the leg that was the last to fall in, or the first to come out. A hole that is
    open at `until_ns` ends in a later hour, under the same name. After `first_ns` the first hour begins: one more row
    tells in which state a feed enters it, and no hole begins before.
    """
    rows = []
    before: CoverageRow | None = None
    hole, from_ns = None, 0
    state = timeline.before
    for change in timeline.changes:
        row = change.row
        if state is BookState.SYNCED:
            hole, from_ns = row.hole or f"{row.boot}:{row.event}:{row.seq}", change.at_ns
        if hole is None:  # both legs begin with it
            hole, from_ns = row.hole, min(row.from_ns, change.at_ns)
        begin_ns = max(from_ns, first_ns + 1)
        if after_ns < change.at_ns <= until_ns:
            rows.append(_hole_row(feed, change, hole, begin_ns))
        elif change.at_ns <= after_ns == first_ns:
            before = _hole_row(feed, replace(change, at_ns=first_ns + 1), hole, first_ns + 1)
        state = change.state
    return [before, *rows] if before else rows


def _hole_row(feed: FeedKey, change: Change, hole: str | None, from_ns: int) -> CoverageRow:
    is_end = change.state is BookState.SYNCED
    event = change.row.event
    if event not in (SOUND_WORDS if is_end else HOLE_WORDS):
        event = (_closing(feed) if is_end else _opening(change.state)).value
    return replace(
        change.row,
        feed=feed,
        hole=hole,
        event=event,
        from_ns=from_ns if is_end else change.at_ns,
        to_ns=change.at_ns if is_end else None,
        detector=ETL,
        count=None,
        first_seq=None,
        last_seq=None,
    )


def controls(
    feed: FeedKey, timeline: Timeline, legs: Sequence[Timeline], after_ns: int, until_ns: int
) -> list[ControlRow]:
    """Return the control records that a lane would hold of a feed in these states, captured in `(after_ns, until_ns]`.

    A state that is not sound is told again as often as a collector does. Each time a leg recovers is told, too: there
    the feed showed that it lives.
    """
    rows: list[ControlRow] = []
    inside = [change for change in timeline.changes if after_ns < change.at_ns <= until_ns]
    state = timeline.at(after_ns)
    begins = [after_ns + 1, *(change.at_ns for change in inside)]
    ends = [*begins[1:], until_ns + 1]
    for begin_ns, end_ns, now in zip(begins, ends, [state, *(change.state for change in inside)], strict=True):
        if state is not BookState.SYNCED and now is not state:  # what stood there ends: no feed is stale and suspect
            rows.append(_control(begin_ns, feed, _closing(feed)))
        if now is not BookState.SYNCED:
            rows += [_control(at_ns, feed, _opening(now)) for at_ns in range(begin_ns, end_ns, CONTROL_REACH_NS)]
        state = now
    for leg in legs:
        shown = [change.at_ns for change in leg.changes if change.state is BookState.SYNCED]
        rows += [
            _control(at_ns, feed, _closing(feed))
            for at_ns in shown
            if after_ns < at_ns <= until_ns and timeline.at(at_ns) is BookState.SYNCED
        ]
    return sorted(rows, key=lambda row: row.capture_ns)


def _opening(state: BookState) -> Event:
    return Event.STALLED if state is BookState.STALE else Event.GAP


def _closing(feed: FeedKey) -> Event:
    return Event.RESYNCED if feed.channel == _BOOKS else Event.RECOVERED


def _control(at_ns: int, feed: FeedKey, event: Event) -> ControlRow:
    return ControlRow(at_ns, "", 0, Control(event, scope=feed))

"""Soundness: when a feed of the lane cannot be trusted, told by the lane's control records. Pure.

A feed is unsound from the capture_ns of a record that says so until its `resynced` (books) or `recovered` (any other).
Where records are gone every feed is, and until it has shown itself: what they said of it may still stand. What was
told before no longer counts there: how far back it is known depends on where the lane was cut.
A lane without control records counts as sound from its first record on.
"""

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import numpy as np

from fluxforge.domain.control import SOUND_EVENTS, UNSOUND_EVENTS, Control, Event, FeedKey
from fluxforge_etl_worker.columns import I64, Bools, ControlRow, Objects, objects
from fluxforge_etl_worker.holes import Hole

_FOR_EVER: Final = int(np.iinfo(np.int64).max)
_EVENTS: Final = UNSOUND_EVENTS | SOUND_EVENTS
_Change = tuple[int, int, Event | None]  # when, from when on for bars, what; None: nothing is known any more


class BookState(StrEnum):
    """What is known of a book feed at an instant."""

    SYNCED = "synced"
    STALE = "stale"
    SUSPECT = "suspect"


@dataclass(frozen=True, slots=True)
class FeedSoundness:
    """One feed's unsound stretches `[begin, end)`, `reach` its begin for bars, and its state from `since` on."""

    begin: I64
    reach: I64
    end: I64
    since: I64
    states: Objects

    def states_at(self, time_ns: I64) -> Objects:
        """Return the state at each time: of the last change at or before it."""
        result: Objects = self.states[np.searchsorted(self.since, time_ns, side="right")]
        return result

    def is_unsound_between(self, after_ns: I64, until_ns: I64) -> Bools:
        """Return whether an unsound stretch touches `(after, until]`."""
        return _touches(self.begin, self.end, after_ns + 1, until_ns + 1)

    def is_unsound_in_bar(self, start_ns: I64, end_ns: I64) -> Bools:
        """Return whether an unsound stretch touches the bar `[start, end)`; a start reaches back to what it follows."""
        return _touches(self.reach, self.end, start_ns, end_ns)


@dataclass(frozen=True, slots=True)
class BlindSpot:
    """`[begin, end)`: nothing is known of any feed there, but from what its control records tell before the end."""

    begin_ns: int
    end_ns: int

    def covers(self, time_ns: int) -> bool:
        """Return whether a time lies in it."""
        return self.begin_ns <= time_ns < self.end_ns


def blind_spots(blind_ns: int | None, holes: Iterable[Hole], reach_ns: int) -> list[BlindSpot]:
    """Return where a lane is not known: up to `blind_ns`, and in its holes and `reach_ns` beyond.

    A feed that is unsound is told of again at the latest `reach_ns` after it was told of last.
    """
    unknown = [BlindSpot(0, blind_ns + 1)] if blind_ns is not None else []
    ends = ((hole.from_ns + 1, _FOR_EVER if hole.to_ns is None else hole.to_ns + reach_ns + 1) for hole in holes)
    return unknown + [BlindSpot(begin_ns, end_ns) for begin_ns, end_ns in ends]


def soundness_of(feed: FeedKey, rows: Iterable[ControlRow], blind: Sequence[BlindSpot] = ()) -> FeedSoundness:
    """Return the soundness of one feed from the lane's control records in order, and from where these are not known."""
    happened = [row for row in rows if row.control.event in _EVENTS and concerns(row.control, feed)]
    times = [row.capture_ns for row in happened]
    changes: list[_Change] = []
    for spot in blind:
        changes.append((spot.begin_ns, spot.begin_ns, None))
        is_silent = bisect_left(times, spot.begin_ns) == bisect_left(times, spot.end_ns)
        if is_silent and not any(other.covers(spot.end_ns) for other in blind):
            changes.append((spot.end_ns, spot.end_ns, Event.RECOVERED))
    changes += [(row.capture_ns, _reach(row), row.control.event) for row in happened]
    # Sorting keeps the order of equals: a record at the edge of a blind spot says what holds from there on.
    return _folded(sorted(changes, key=lambda change: change[0]))


def _folded(changes: Iterable[_Change]) -> FeedSoundness:
    begin: list[int] = []
    reach: list[int] = []
    end: list[int] = []
    since: list[int] = []
    states: list[str] = [BookState.SYNCED]
    standing: set[Event] = set()
    for at_ns, reach_ns, event in changes:
        if event is None or event in UNSOUND_EVENTS:
            if not standing:
                begin.append(at_ns)
                reach.append(reach_ns)
            standing = {Event.GAP} if event is None else standing | {event}
        elif standing:
            end.append(at_ns)
            standing.clear()
        since.append(at_ns)
        states.append(_state(standing))
    end += [_FOR_EVER] * (len(begin) - len(end))
    return FeedSoundness(
        _times(begin), _times(reach), _times(end), _times(since), objects([str(state) for state in states])
    )


def concerns(control: Control, feed: FeedKey) -> bool:
    """Return whether a control record speaks of a feed; one that names no feed speaks of the whole lane.

    So does the `started` of one collector after another, whatever it names: the one before delivers nothing any more.
    """
    feeds = control.concerned()
    return not feeds or feed in feeds or (control.event is Event.STARTED and control.after is not None)


def _reach(row: ControlRow) -> int:
    after = row.control.after
    return min(row.capture_ns, after.capture_ns) if after else row.capture_ns


def _state(standing: set[Event]) -> BookState:
    if Event.STALLED in standing:
        return BookState.STALE
    return BookState.SUSPECT if standing else BookState.SYNCED


def _touches(begin: I64, end: I64, first: I64, stop: I64) -> Bools:
    """Return whether any `[begin, end)` and `[first, stop)` share an instant; the stretches stand in order."""
    if len(begin) == 0:
        return np.zeros(len(first), dtype=np.bool_)
    # Stretches follow one another, so the last one that begins before `stop` is the last that can touch.
    last = np.searchsorted(begin, stop, side="left") - 1
    result: Bools = (last >= 0) & (np.maximum.accumulate(end)[np.maximum(last, 0)] > first)
    return result


def _times(values: Sequence[int]) -> I64:
    return np.array(values, dtype=np.int64)

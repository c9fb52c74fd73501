"""Feeds: the time in which each was observed, cut into what was captured whole and what was not. Pure.

A feed is observed from its first word or row to the last that is known of its lane: a collector that lives and says
nothing of a quiet feed vouches for it. A time between two collectors, in which none ran, is a hole like any other.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby, pairwise
from typing import Final, NamedTuple

from fluxforge.dataset.holes import FeedName, Hole, Told
from fluxforge.domain.control import CRASH, LOST, Event
from fluxforge.domain.lane import DATASET_SUFFIXES, Leg

_RANKS: Final = {
    name: rank
    for rank, name in enumerate(
        (
            LOST,
            Event.DROPPED.value,
            CRASH,
            Event.LANE_CLOSED.value,
            Event.STOPPED.value,
            Event.DISCONNECTED.value,
            Event.GAP.value,
            Event.STALLED.value,
            Event.STARTED.value,
        )
    )
}
"""Of holes that overlap the first one here names the time."""


@dataclass(frozen=True, slots=True)
class Seen:
    """Rows of a feed. Times ns UTC; `resent`: trades that came before. The times may be of more than the rows.

    `lags_ms`: how many rows were captured so many ms after the exchange's own time, which not every row has.
    """

    rows: int
    first_ns: int
    last_ns: int
    resent: int = 0
    lags_ms: Mapping[int, int] = field(default_factory=dict)

    def __add__(self, other: "Seen") -> "Seen":
        """Return the rows of both."""
        return Seen(
            self.rows + other.rows,
            min(self.first_ns, other.first_ns),
            max(self.last_ns, other.last_ns),
            self.resent + other.resent,
            Counter(self.lags_ms) + Counter(other.lags_ms),
        )


class Piece(NamedTuple):
    """A time between two, ns UTC, in which a feed was whole (`event` None) or not, by what made it so."""

    from_ns: int
    to_ns: int
    event: str | None


@dataclass(frozen=True, slots=True)
class FeedCoverage:
    """One feed, observed from `from_ns` to `to_ns`, ns UTC. `pieces` are that time, in order and without overlap.

    `events`: how many holes were opened by each event, holes inside others among them. `is_verifiable`: a loss that no
    hole names would have shown. `lags_ms`: p1, p50 and p99 of capture time less exchange time; None without any.
    """

    feed: FeedName
    from_ns: int
    to_ns: int
    pieces: tuple[Piece, ...]
    events: Mapping[str, int]
    is_verifiable: bool
    rows: int = 0
    resent: int = 0
    lags_ms: tuple[int, int, int] | None = None

    @property
    def observed_ns(self) -> int:
        """How long the feed was observed."""
        return self.to_ns - self.from_ns

    @property
    def covered_ns(self) -> int:
        """How long it was in no hole."""
        return sum(piece.to_ns - piece.from_ns for piece in self.pieces if piece.event is None)

    @property
    def verified_ns(self) -> int:
        """How long it was in no hole and a loss would have shown."""
        return self.covered_ns if self.is_verifiable else 0

    @property
    def unverifiable_ns(self) -> int:
        """How long it was in no hole, and nobody could have told if something was missing."""
        return self.covered_ns - self.verified_ns

    def holes(self) -> list[tuple[int, int]]:
        """Return the times in which it was in any hole, in order."""
        return [
            (those[0].from_ns, those[-1].to_ns)
            for is_hole, group in groupby(self.pieces, key=lambda piece: piece.event is not None)
            if is_hole
            for those in [list(group)]
        ]

    def longest(self) -> tuple[int, int] | None:
        """Return the longest of these, the first of equals; None: there is none."""
        return max(self.holes(), key=lambda hole: hole[1] - hole[0], default=None)


Rows = Mapping[FeedName, Mapping[str, Seen]]
"""The rows of each feed, by boot."""


def accounts(
    told: Mapping[FeedName, Told],
    rows: Rows,
    is_verifiable: Callable[[str, str], bool],
    *,
    start_ns: int | None = None,
    end_ns: int | None = None,
) -> list[FeedCoverage]:
    """Return the coverage of every feed that was observed between two times, in order.

    `is_verifiable` is asked of exchange and channel. Words and rows of all feeds of a lane belong together: they tell
    until when it lived.
    """
    lanes = _lane_ends(told, rows)
    found = []
    for feed in sorted({*told, *rows}):
        words, seen = told.get(feed), rows.get(feed, {})
        first_ns, last_ns = _span(feed, words, seen, lanes)
        from_ns = first_ns if start_ns is None else max(first_ns, start_ns)
        to_ns = last_ns if end_ns is None else min(last_ns, end_ns)
        if from_ns > to_ns or (from_ns == to_ns and not any(one.rows for one in seen.values())):
            continue
        # What another recorder left has no control records: nobody looked for losses.
        can_tell = words is not None and is_verifiable(feed.exchange, feed.channel)
        found.append(_account(feed, words, seen, from_ns, to_ns, can_tell=can_tell))
    return found


def _account(
    feed: FeedName, words: Told | None, seen: Mapping[str, Seen], from_ns: int, to_ns: int, *, can_tell: bool
) -> FeedCoverage:
    holes = [
        Hole(max(hole.from_ns, from_ns), to_ns if hole.to_ns is None else min(hole.to_ns, to_ns), hole.event)
        for hole in (words.holes() if words else ())
        if hole.from_ns < to_ns and (hole.to_ns is None or hole.to_ns > from_ns)
    ]
    together = None
    for one in seen.values():
        together = one if together is None else together + one
    return FeedCoverage(
        feed=feed,
        from_ns=from_ns,
        to_ns=to_ns,
        pieces=tuple(pieces(holes, from_ns, to_ns)),
        events=Counter(hole.event for hole in holes),
        is_verifiable=can_tell,
        rows=together.rows if together else 0,
        resent=together.resent if together else 0,
        lags_ms=_percentiles(together.lags_ms) if together and together.lags_ms else None,
    )


def pieces(holes: Iterable[Hole], from_ns: int, to_ns: int) -> Iterator[Piece]:
    """Yield what the time between two is made of, in order; `holes` have ends and lie in it.

    Where holes overlap, the gravest names the time. Pieces that touch differ.
    """
    changes: dict[int, list[tuple[str, int]]] = {from_ns: [], to_ns: []}
    for hole in holes:
        if hole.to_ns is not None and hole.from_ns < hole.to_ns:
            changes.setdefault(hole.from_ns, []).append((hole.event, 1))
            changes.setdefault(hole.to_ns, []).append((hole.event, -1))
    open_holes: Counter[str] = Counter()
    last: Piece | None = None
    for at, next_ns in pairwise(sorted(changes)):
        for event, change in changes[at]:
            open_holes[event] += change
        event_now = min((event for event, count in open_holes.items() if count), key=_RANKS.__getitem__, default=None)
        if last is not None and last.event == event_now:
            last = last._replace(to_ns=next_ns)
        else:
            if last is not None:
                yield last
            last = Piece(at, next_ns, event_now)
    if last is not None:
        yield last


def _lane_ends(told: Mapping[FeedName, Told], rows: Rows) -> dict[tuple[str, str, str | None], int]:
    """Return the last that is known of each boot, by source, exchange and boot; see `_lane`."""
    ends: dict[tuple[str, str, str | None], int] = {}
    known = [
        *((feed, boot, seen.last_ns) for feed, boots in rows.items() for boot, seen in boots.items()),
        *((feed, words.boot, words.last_ns) for feed, words in told.items()),
    ]
    for feed, boot, last_ns in known:
        if boot is not None:
            lane = _lane(feed, boot)
            ends[lane] = max(ends.get(lane, last_ns), last_ns)
    return ends


def _lane(feed: FeedName, boot: str) -> tuple[str, str, str | None]:
    """Return whose life vouches for a feed: its collector's, or, where legs were merged, that of either leg's."""
    is_merged = feed.source.endswith(DATASET_SUFFIXES[Leg.MERGED])
    return feed.source, feed.exchange, None if is_merged else boot


def _span(
    feed: FeedName, words: Told | None, seen: Mapping[str, Seen], lanes: Mapping[tuple[str, str, str | None], int]
) -> tuple[int, int]:
    firsts, lasts = [one.first_ns for one in seen.values()], [one.last_ns for one in seen.values()]
    if words is not None:
        firsts.append(words.since_ns)
        lasts.append(words.last_ns)
        if words.boot is not None:
            lasts.append(lanes[_lane(feed, words.boot)])
    return min(firsts), max(lasts)


def _percentiles(counts: Mapping[int, int]) -> tuple[int, int, int]:
    """Return p1, p50 and p99 of values that occurred so often, each one that occurred."""
    values = sorted(counts)
    total = sum(counts.values())
    found: list[int] = []
    below = 0
    wanted: Sequence[float] = (0.01, 0.5, 0.99)
    for value in values:
        below += counts[value]
        while len(found) < len(wanted) and below >= wanted[len(found)] * total:
            found.append(value)
    return found[0], found[1], found[2]

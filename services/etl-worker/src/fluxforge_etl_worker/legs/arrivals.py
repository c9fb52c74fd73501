"""Arrivals: the rows of one feed as two legs captured them, and which of them are the same update. Pure.

Every update is kept once: the row that arrived first. Where the venue names its updates (trade ids) the name decides.
Where it does not, rows of the two legs that say the same are paired in the order of both, so that of two equal rows of
one leg both are kept. States come in an order that means something, and pairs of them do not cross.
"""

from collections import deque
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

import numpy as np

from fluxforge_etl_worker.columns import I64, Bools

UNTIMED_REACH_NS: Final = 5_000_000_000
"""Rows without the venue's time that say the same are one update only if no more lies between their arrivals."""
_MS: Final = 1e6


class Identity(IntEnum):
    """What is known of a row's update: its name; else what it says, with the venue's time or without."""

    NAMED = 0
    TIMED = 1
    UNTIMED = 2


@dataclass(frozen=True, slots=True)
class Arrivals:
    """n rows of one feed in order of (capture_ns, leg, their leg's own order). `leg`: 0 is A, 1 is B.

    `says`: the update's name, or what it says. `rank`: of rows of one update a lower one wins, whenever it came.
    """

    capture_ns: I64
    leg: I64
    kind: I64
    says: Sequence[Hashable]
    rank: I64


@dataclass(frozen=True, slots=True)
class Matched:
    """Which row won, row by row, and which winners were overtaken.

    An update is overtaken if its leg had a later one that the other leg had brought already: it came too late to be
    the state of anything.
    """

    winner: I64
    overtaken: Bools

    @property
    def won(self) -> Bools:
        """Whether a row is the one that is kept of its update."""
        result: Bools = self.winner == np.arange(len(self.winner))
        return result


def matched(rows: Arrivals, *, are_states: bool) -> Matched:
    """Return which rows are kept. `are_states`: a later row takes the place of an earlier one, as books do."""
    first = _first_of_update(rows, may_cross=not are_states)
    order = np.lexsort((np.arange(len(first)), rows.rank, first))
    begins = np.flatnonzero(np.diff(first[order], prepend=-1) != 0)
    best = np.zeros(len(first), dtype=np.int64)
    best[first[order][begins]] = order[begins]
    winner = best[first] if len(first) else first
    overtaken = _overtaken(rows, winner) if are_states else np.zeros(len(winner), dtype=np.bool_)
    return Matched(winner, overtaken)


def _first_of_update(rows: Arrivals, *, may_cross: bool) -> I64:
    """Return for each row the first row of its update."""
    first = np.arange(len(rows.says))
    named: dict[Hashable, int] = {}
    waiting: tuple[dict[Hashable, deque[int]], ...] = ({}, {})
    paired = [-1, -1]  # the last row of each leg that found its like
    times, legs, kinds = rows.capture_ns.tolist(), rows.leg.tolist(), rows.kind.tolist()
    for row, says in enumerate(rows.says):
        if kinds[row] == Identity.NAMED:
            first[row] = named.setdefault(says, row)
            continue
        leg, other = legs[row], 1 - legs[row]
        since_ns = times[row] - UNTIMED_REACH_NS if kinds[row] == Identity.UNTIMED else 0
        candidates = waiting[other].get(says)
        while candidates:
            like = candidates.popleft()
            if (may_cross or like > paired[other]) and times[like] >= since_ns:
                first[row] = paired[other] = like
                paired[leg] = row
                break
        else:
            waiting[leg].setdefault(says, deque()).append(row)
    return first


def _overtaken(rows: Arrivals, winner: I64) -> Bools:
    result = np.zeros(len(winner), dtype=np.bool_)
    for leg in (0, 1):
        own = np.flatnonzero(rows.leg == leg)
        came = rows.capture_ns[winner[own]]
        earliest_after = np.minimum.accumulate(came[::-1])[::-1]
        late = np.flatnonzero(earliest_after[1:] < came[:-1])
        result[winner[own[late]]] = True
    return result


@dataclass(frozen=True, slots=True)
class LegLead:
    """How one leg did: updates it had `first`, updates it `only` had, and by how much it was first, ms."""

    first: int
    only: int
    lead_median_ms: float | None
    lead_p99_ms: float | None


@dataclass(frozen=True, slots=True)
class FeedLeads:
    """How the legs did in one feed. `rows`: kept; `ties`: updates of both at one instant; `overtaken`: see Matched."""

    channel: str
    symbol: str
    rows: int
    ties: int
    overtaken: int
    a: LegLead
    b: LegLead


def leads(channel: str, symbol: str, rows: Arrivals, found: Matched, chosen: Bools) -> FeedLeads:
    """Return how the legs did in the updates whose winners are `chosen`."""
    never = np.iinfo(np.int64).max
    came = []
    for leg in (0, 1):
        times = np.full(len(found.winner), never)
        own = (rows.leg == leg) & (rows.rank == rows.rank[found.winner])  # what was fetched later came to no race
        np.minimum.at(times, found.winner[own], rows.capture_ns[own])
        came.append(times[chosen])
    a, b = came
    both = (a != never) & (b != never)
    return FeedLeads(
        channel,
        symbol,
        rows=int(chosen.sum()),
        ties=int((both & (a == b)).sum()),
        overtaken=int((found.overtaken & chosen).sum()),
        a=_lead((b - a)[both], int(((a != never) & ~both).sum())),
        b=_lead((a - b)[both], int(((b != never) & ~both).sum())),
    )


def _lead(ahead_ns: I64, only: int) -> LegLead:
    ahead = ahead_ns[ahead_ns > 0] / _MS
    if not len(ahead):
        return LegLead(0, only, None, None)
    return LegLead(len(ahead), only, float(np.median(ahead)), float(np.percentile(ahead, 99)))

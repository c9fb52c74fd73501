"""History: what must be known of a lane before a stretch of it. Pure.

A stretch (a piece of a segment, or a whole one) emits what lies in `(until_ns, its own watermark]`, sees its own
records and this, and leaves the history of the next. A segment's tail sidecar is a history made durable.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, Self

import numpy as np

from fluxforge.domain.control import Event
from fluxforge.domain.segment import Manifest
from fluxforge_etl_worker.columns import F64, I64, BookColumns, Bools, ControlRow, Instrument, Objects, TradeColumns
from fluxforge_etl_worker.features.streams import TradeFlow, Updates
from fluxforge_etl_worker.holes import Hole, closed, holes_of

CONTROL_REACH_NS: Final = 30_000_000_000
"""How much further back control records are kept than data: an open hole is repeated at least this often, so that at
the beginning of the data the state of every feed is known."""


@dataclass(frozen=True, slots=True)
class Lookback:
    """How far before a row what makes it can lie. `longest_ns`: the longest window, bar or interval.

    Books reach back further by the tolerance within which updates know each other, and a trade is resent if its id
    occurred within that time before it. So for a trade in the longest window ids reach back both spans.
    """

    longest_ns: int
    tolerance_ns: int

    @property
    def books_ns(self) -> int:
        """How far back books are looked at, and from a trade its id."""
        return self.longest_ns + self.tolerance_ns

    @property
    def reach_ns(self) -> int:
        """How far back trades and control records are kept."""
        return self.books_ns + max(self.longest_ns, CONTROL_REACH_NS)


@dataclass(frozen=True, slots=True)
class PastTrades:
    """n trades of an instrument. `live`: neither backfilled nor of a snapshot; `counts`: live, and not resent by id."""

    capture_ns: I64
    trade_id: Objects
    price: F64
    amount: F64
    bought: Bools
    sold: Bools
    live: Bools
    counts: Bools

    @classmethod
    def of(cls, trades: TradeColumns, resent: Bools) -> Self:
        """Return the trades of a stretch."""
        live = np.array([kind is None for kind in trades.source_kind], dtype=np.bool_) & ~trades.snapshot
        return cls(
            trades.keys.capture_ns,
            trades.trade_id,
            trades.price,
            trades.amount,
            trades.side == "buy",
            trades.side == "sell",
            live,
            live & ~resent,
        )

    @classmethod
    def joined(cls, parts: Sequence[Self]) -> Self:
        """Return the trades of several stretches, one after the other."""
        if len(parts) == 1:
            return parts[0]
        none = np.empty(0, dtype=np.bool_)
        return cls(
            np.concatenate([np.empty(0, dtype=np.int64), *(part.capture_ns for part in parts)]),
            np.concatenate([np.empty(0, dtype=np.object_), *(part.trade_id for part in parts)]),
            np.concatenate([np.empty(0), *(part.price for part in parts)]),
            np.concatenate([np.empty(0), *(part.amount for part in parts)]),
            np.concatenate([none, *(part.bought for part in parts)]),
            np.concatenate([none, *(part.sold for part in parts)]),
            np.concatenate([none, *(part.live for part in parts)]),
            np.concatenate([none, *(part.counts for part in parts)]),
        )

    def after(self, time_ns: int) -> "PastTrades":
        """Return the trades captured after a time."""
        return self.rows(slice(int(np.searchsorted(self.capture_ns, time_ns, side="right")), None))

    def rows(self, rows: slice) -> "PastTrades":
        """Return some of the trades."""
        return PastTrades(
            self.capture_ns[rows],
            self.trade_id[rows],
            self.price[rows],
            self.amount[rows],
            self.bought[rows],
            self.sold[rows],
            self.live[rows],
            self.counts[rows],
        )

    @property
    def flow(self) -> TradeFlow:
        """The trades that count."""
        rows = self.counts
        return TradeFlow(self.capture_ns[rows], self.price[rows], self.amount[rows], self.bought[rows], self.sold[rows])


@dataclass(frozen=True, slots=True)
class Past:
    """One instrument before a stretch. `last`: the last whole valid book, one row; None where none is near enough."""

    instrument: Instrument
    updates: Updates = field(default_factory=lambda: Updates.joined([]))
    trades: PastTrades = field(default_factory=lambda: PastTrades.joined([]))
    last: BookColumns | None = None

    def after(self, time_ns: int, trades_ns: int) -> "Past":
        """Return the books captured after `time_ns` and the trades after `trades_ns`."""
        last = self.last if self.last and self.last.keys.capture_ns[0] > time_ns else None
        return Past(self.instrument, self.updates.after(time_ns), self.trades.after(trades_ns), last)


@dataclass(frozen=True, slots=True)
class History:
    """A lane up to `until_ns`, as far back as windows reach. Times ns UTC.

    `until_ns` None: the lane begins with the stretch. `lane_first_ns`: the lane's first capture, where that is near
    enough to be known. `blind_ns`: up to here nothing is known of any feed; `holes`: where else nothing is.
    `trades_since`: for each symbol whose trades feed has had a record, when the first one came; 0 where that is longer
    ago than what is kept.
    """

    until_ns: int | None
    lane_first_ns: int | None = None
    blind_ns: int | None = None
    instruments: Mapping[Instrument, Past] = field(default_factory=dict)
    controls: tuple[ControlRow, ...] = ()
    trades_since: Mapping[str, int] = field(default_factory=dict)
    holes: tuple[Hole, ...] = ()

    @classmethod
    def of_lane_start(cls, first_capture_ns: int) -> Self:
        """Return the history of a lane that begins here: nothing came before."""
        return cls(until_ns=None, lane_first_ns=first_capture_ns)

    def entering(self, manifest: Manifest) -> "History":
        """Return the history with what the manifest of the segment that follows says of the lane's holes."""
        before = closed(self.holes, manifest.first_capture_ns) if manifest.records else self.holes
        return replace(self, holes=before + holes_of(manifest))

    def pruned(self, lookback: Lookback) -> "History":
        """Return the history without what no later row reaches; `until_ns` must be known."""
        assert self.until_ns is not None
        begin_ns, reach_ns = self.until_ns - lookback.books_ns, self.until_ns - lookback.reach_ns
        first_ns, blind_ns = self.lane_first_ns, self.blind_ns
        return replace(
            self,
            lane_first_ns=first_ns if first_ns is not None and first_ns > reach_ns else None,
            blind_ns=blind_ns if blind_ns is not None and blind_ns > reach_ns else None,
            instruments=_kept({key: past.after(begin_ns, reach_ns) for key, past in self.instruments.items()}),
            controls=tuple(row for row in self.controls if row.capture_ns > reach_ns),
            holes=tuple(hole for hole in self.holes if hole.ends_after(reach_ns)),
        )

    def bars_after_ns(self) -> int | None:
        """Return the lane's first capture where another lane held its instruments before: bars begin after it."""
        if self.lane_first_ns is None:
            return None
        first = next((row.control for row in self.controls if row.control.event is Event.STARTED), None)
        return self.lane_first_ns if first and first.follows else None


def _kept(instruments: Mapping[Instrument, Past]) -> dict[Instrument, Past]:
    """Return the instruments of which anything is left."""
    return {
        key: past for key, past in instruments.items() if past.last or len(past.updates) or len(past.trades.capture_ns)
    }

"""One instrument's order books in a stretch: what is kept of each slice, and the feature rows and bars they become."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pyarrow as pa

from fluxforge_etl_worker.bars import BarTrades, Window, bars_table
from fluxforge_etl_worker.books import valid
from fluxforge_etl_worker.columns import F64, I64, BookColumns, Bools, Instrument, Side
from fluxforge_etl_worker.coverage import CoverageRow, invalid_rows
from fluxforge_etl_worker.features.stream_rows import StreamRows
from fluxforge_etl_worker.features.streams import TOP_LEVELS, TradeFlow, Updates
from fluxforge_etl_worker.hf import Candidates, candidates, hf_table, joined, taken
from fluxforge_etl_worker.history import Past
from fluxforge_etl_worker.settings import EtlOptions
from fluxforge_etl_worker.soundness import FeedSoundness


@dataclass(slots=True)
class BookStretch:
    """The valid updates of one instrument in the stretch at hand: their top levels, and the books that may be rows.

    `cells`: number of levels held.
    """

    instrument: Instrument
    hf_interval_ns: int
    updates: list[Updates] = field(default_factory=list)
    held: list[Candidates] = field(default_factory=list)
    cells: int = 0

    def add(self, books: BookColumns) -> list[CoverageRow]:
        """Take in a slice; return the updates that are no valid book."""
        is_valid, invalid = valid(books)
        rows = np.flatnonzero(is_valid).astype(np.int64)
        if len(rows):
            self.updates.append(top_levels(books, rows))
            found = candidates(books, rows, self.hf_interval_ns)
            self.held.append(found)
            self.cells += len(found.bids.px) + len(found.asks.px)
        return invalid_rows(books, invalid)

    def candidates(self, past: Past) -> Candidates | None:
        """Return the newest update of each interval, that of the history included; None where there is none."""
        parts = list(self.held)
        if past.last is not None:
            parts.insert(0, candidates(past.last, np.zeros(1, dtype=np.int64), self.hf_interval_ns))
        return joined(parts, self.hf_interval_ns) if parts else None

    def grown(self, past: Past) -> Past:
        """Return the instrument after the stretch."""
        if not self.held:
            return past
        newest = taken(self.held[-1], np.array([len(self.held[-1]) - 1], dtype=np.int64))
        last = BookColumns(past.instrument, newest.keys, newest.bids, newest.asks)
        return replace(past, updates=Updates.joined([past.updates, *self.updates]), last=last)


@dataclass(frozen=True, slots=True)
class TradesView:
    """What is known of an instrument's trades feed. `flow` None: nothing ever came.

    `known(q)`: whether the feed had shown itself by each time; `known_in(begin, end)`: by the end of each bar.
    """

    flow: TradeFlow | None
    soundness: FeedSoundness
    known: Callable[[I64], Bools]
    known_in: Callable[[I64, I64], Bools]


@dataclass(frozen=True, slots=True)
class InstrumentRows:
    """Everything from which one instrument's rows of a stretch are made, and which of them are emitted.

    `found`: the newest update of each interval, that of the history included; `updates`: all of both.
    """

    instrument: Instrument
    found: Candidates
    updates: Updates
    book: FeedSoundness
    trades: TradesView
    window: Window
    options: EtlOptions

    def tables(self) -> tuple[pa.Table | None, Sequence[pa.Table]]:
        """Return the feature rows, and the bars of every duration."""
        known = known_before(self.updates, self.book, self.options.tolerance_ns)
        return self._features(known), self._bars(known)

    def _features(self, known: Bools) -> pa.Table | None:
        emitted = self.found.boundary_ns <= self.window.until_ns
        if self.window.after_ns is not None:
            emitted &= self.found.boundary_ns > self.window.after_ns
        if not emitted.any():
            return None
        rows = taken(self.found, np.flatnonzero(emitted).astype(np.int64))
        stream = StreamRows(
            at_ns=rows.boundary_ns,
            updates=self.updates,
            known=known,
            book=self.book,
            trades=self.trades.flow,
            trades_feed=self.trades.soundness,
            trades_known=self.trades.known,
            tolerance_ns=self.options.tolerance_ns,
        )
        return hf_table(self.instrument, rows, stream, self.options)

    def _bars(self, known: Bools) -> Sequence[pa.Table]:
        trades = BarTrades(self.trades.flow, self.trades.known_in) if self.trades.flow is not None else None
        return [
            bars_table(
                self.instrument,
                self.updates,
                known,
                trades,
                self.book,
                duration_s=duration_s,
                tolerance_ns=self.options.tolerance_ns,
                window=self.window,
            )
            for duration_s in self.options.bar_durations_s
        ]


def known_before(updates: Updates, soundness: FeedSoundness, tolerance_ns: int) -> Bools:
    """Return for each update whether the one before it is known: near enough, with no hole between."""
    result = np.zeros(len(updates), dtype=np.bool_)
    before, now = updates.capture_ns[:-1], updates.capture_ns[1:]
    result[1:] = (now - before <= tolerance_ns) & ~soundness.is_unsound_between(before, now)
    return result


def top_levels(books: BookColumns, rows: I64) -> Updates:
    """Return the first levels of these valid updates."""
    bid_px, bid_sz = _top(books.bids, rows)
    ask_px, ask_sz = _top(books.asks, rows)
    return Updates(books.keys.capture_ns[rows], bid_px, bid_sz, ask_px, ask_sz)


def _top(side: Side, rows: I64) -> tuple[F64, F64]:
    first, counts = side.offsets[rows], side.counts[rows]
    levels = np.arange(TOP_LEVELS)
    if counts.min() >= TOP_LEVELS:
        cells = first[:, None] + levels
        return side.px[cells], side.sz[cells]
    exists = levels < counts[:, None]
    cells = np.where(exists, first[:, None] + levels, first[:, None])
    return np.where(exists, side.px[cells], np.nan), np.where(exists, side.sz[cells], 0.0)

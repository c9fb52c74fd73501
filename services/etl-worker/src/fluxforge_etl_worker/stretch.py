"""A stretch of a lane: the records between two watermarks, and the rows they become together with their history. Pure.

A segment is worked through in one stretch or several: memory is bounded, and a cut inside a segment is the same as one
between segments. What does not look back (books, ticker, other channels) is none of its business.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Final

import numpy as np
import pyarrow as pa

from fluxforge.domain.control import Event, FeedKey
from fluxforge_etl_worker.bars import Window
from fluxforge_etl_worker.columns import I64, Bools, ControlRow, Instrument, SliceColumns, TradeColumns
from fluxforge_etl_worker.coverage import CoverageRow, crash_rows
from fluxforge_etl_worker.history import CONTROL_REACH_NS, History, Past, PastTrades
from fluxforge_etl_worker.orderbook import BookStretch, InstrumentRows, TradesView
from fluxforge_etl_worker.resent import SeenTrades
from fluxforge_etl_worker.settings import EtlOptions
from fluxforge_etl_worker.soundness import FeedSoundness, blind_spots, concerns, soundness_of
from fluxforge_etl_worker.trades import trades_table

_CELLS_MAX: Final = 2_000_000  # levels of the books held, 16 bytes each
_TRADES_MAX: Final = 100_000
_UPDATES_MAX: Final = 500_000  # updates whose top levels are held, 168 bytes each


@dataclass(slots=True)
class Stretch:
    """What was read since the last watermark; grows by slices."""

    hf_interval_ns: int
    books: dict[Instrument, BookStretch] = field(default_factory=dict)
    trades: dict[Instrument, list[TradeColumns]] = field(default_factory=dict)
    controls: list[ControlRow] = field(default_factory=list)
    coverage: list[CoverageRow] = field(default_factory=list)
    trades_held: int = 0

    def add(self, columns: SliceColumns) -> None:
        """Take in a slice."""
        self.controls += columns.controls
        for trades in columns.trades:
            self.trades.setdefault(trades.instrument, []).append(trades)
            self.trades_held += len(trades.keys)
        for books in columns.books:
            self.coverage += self.books_of(books.instrument).add(books)

    @property
    def is_full(self) -> bool:
        """Whether it should be settled before more is read."""
        cells = sum(books.cells for books in self.books.values())
        trades = sum(len(part.keys) for parts in self.trades.values() for part in parts)
        updates = sum(len(part) for books in self.books.values() for part in books.updates)
        return cells > _CELLS_MAX or trades > _TRADES_MAX or updates > _UPDATES_MAX

    def books_of(self, instrument: Instrument) -> BookStretch:
        """Return the books of an instrument; there may be none."""
        if instrument not in self.books:
            self.books[instrument] = BookStretch(instrument, self.hf_interval_ns)
        return self.books[instrument]


@dataclass(slots=True)
class Settled:
    """What a stretch became. `resent` counts the trades that were marked so."""

    trades: list[pa.Table] = field(default_factory=list)
    hf: list[pa.Table] = field(default_factory=list)
    bars: list[pa.Table] = field(default_factory=list)
    coverage: list[CoverageRow] = field(default_factory=list)
    resent: int = 0


@dataclass(slots=True)
class LaneWork:
    """Settles the stretches of one segment, one after the other; `history` is what came before the next of them."""

    options: EtlOptions
    history: History
    is_rescue: bool
    _seen: dict[Instrument, SeenTrades] = field(default_factory=dict)

    def settle(self, stretch: Stretch, until_ns: int, *, final: bool) -> Settled:
        """Return the rows in `(history.until_ns, until_ns]`, and go on to what follows."""
        before = self.history
        settled = Settled(coverage=stretch.coverage + self._crashes(before, stretch.controls))
        marked = {
            key: self._marked(before, TradeColumns.joined(parts), settled) for key, parts in stretch.trades.items()
        }
        now = grown(before, stretch, marked)
        if not self.is_rescue:
            window = Window(before.until_ns, until_ns, final=final, bars_after_ns=now.bars_after_ns())
            for instrument, past in now.instruments.items():
                self._rows(before.instruments.get(instrument, Past(instrument)), past, stretch, now, window, settled)
        self.history = replace(now, until_ns=until_ns).pruned(self.options.lookback)
        return settled

    def _marked(self, before: History, trades: TradeColumns, settled: Settled) -> PastTrades:
        """Mark the trades of an instrument."""
        key = trades.instrument
        if key not in self._seen:
            past = before.instruments.get(key, Past(key)).trades
            self._seen[key] = SeenTrades(self.options.lookback.books_ns, past.trade_id, past.capture_ns)
        resent = self._seen[key].mark(trades)
        settled.resent += int(resent.sum())
        settled.trades.append(trades_table(trades, resent))
        return PastTrades.of(trades, resent)

    def _rows(self, past: Past, after: Past, stretch: Stretch, now: History, window: Window, settled: Settled) -> None:
        """Make the feature rows and bars of an instrument."""
        found = stretch.books_of(past.instrument).candidates(past)
        if found is None or not len(after.updates):
            return
        book = _soundness(FeedKey("orderbook", past.instrument.symbol), now)
        trades = self._trades_view(after, now)
        rows = InstrumentRows(past.instrument, found, after.updates, book, trades, window, self.options)
        hf, bars = rows.tables()
        if hf is not None:
            settled.hf.append(hf)
        settled.bars += bars

    def _trades_view(self, past: Past, now: History) -> TradesView:
        """Return what is known of the instrument's trades feed."""
        feed = FeedKey("trades", past.instrument.symbol)
        soundness = _soundness(feed, now)
        since_ns = now.trades_since.get(feed.symbol)
        recovered = np.array(
            [
                row.capture_ns
                for row in now.controls
                if row.control.event is Event.RECOVERED and concerns(row.control, feed)
            ],
            dtype=np.int64,
        )
        if (since_ns is None and not len(recovered)) or "trades" in self.options.disabled:
            return TradesView(None, soundness, _never, lambda begin, _: _never(begin))
        shown = partial(_shown, since_ns, recovered)
        tolerance_ns = self.options.tolerance_ns
        return TradesView(
            past.trades.flow,
            soundness,
            known=lambda at: shown(at - tolerance_ns, at),
            known_in=lambda begin, end: shown(begin - tolerance_ns, end - 1),
        )

    def _crashes(self, before: History, controls: Sequence[ControlRow]) -> list[CoverageRow]:
        """Return the holes of collectors that ended without saying so, where what stood before them is known."""
        stopped = [row.boot for row in before.controls if row.control.ends_boot]
        own = [
            row
            for row in controls
            if row.control.event is not Event.STARTED
            or row.control.after is None
            or self._reaches(before, row.control.after.capture_ns)
        ]
        return crash_rows(own, stopped)

    def _reaches(self, before: History, time_ns: int) -> bool:
        """Return whether the lane's records at a time are known."""
        if before.blind_ns is not None and time_ns <= before.blind_ns - CONTROL_REACH_NS:
            return False
        return before.lane_first_ns is None or time_ns >= before.lane_first_ns


def grown(before: History, stretch: Stretch, trades: Mapping[Instrument, PastTrades]) -> History:
    """Return the history with a stretch added and nothing pruned; `trades` are those of the stretch."""
    since = dict(before.trades_since)
    pasts = {}
    for instrument in sorted({*before.instruments, *stretch.books, *trades}):
        past = before.instruments.get(instrument, Past(instrument))
        past = stretch.books_of(instrument).grown(past)
        own = trades.get(instrument)
        if own is not None and len(own.capture_ns):
            first_ns = int(own.capture_ns[0])
            since[instrument.symbol] = min(first_ns, since.get(instrument.symbol, first_ns))
            past = replace(past, trades=PastTrades.joined([past.trades, own]))
        pasts[instrument] = past
    controls = (*before.controls, *stretch.controls)
    return replace(before, instruments=pasts, controls=controls, trades_since=since)


def _soundness(feed: FeedKey, now: History) -> FeedSoundness:
    return soundness_of(feed, now.controls, blind_spots(now.blind_ns, now.holes, CONTROL_REACH_NS))


def _shown(since_ns: int | None, recovered: I64, after_ns: I64, until_ns: I64) -> Bools:
    """Return whether a feed had a record by `until_ns`, or a `recovered` in `(after_ns, until_ns]`."""
    found = np.searchsorted(recovered, after_ns, side="right") < np.searchsorted(recovered, until_ns, side="right")
    result: Bools = found if since_ns is None else found | (until_ns >= since_ns)
    return result


def _never(at: I64) -> Bools:
    return np.zeros(len(at), dtype=np.bool_)

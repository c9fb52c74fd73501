"""One instrument's order books over a segment: what of each slice is written at once, and what waits for the end."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import pyarrow as pa

from fluxforge_etl_worker.bars import TradeFlow, Window, bars_table
from fluxforge_etl_worker.books import valid
from fluxforge_etl_worker.columns import I64, BookColumns, Instrument
from fluxforge_etl_worker.coverage import CoverageRow, invalid_rows
from fluxforge_etl_worker.features.flow import Touches
from fluxforge_etl_worker.hf import Candidates, candidates, hf_table, joined, taken
from fluxforge_etl_worker.settings import EtlOptions
from fluxforge_etl_worker.soundness import FeedSoundness

_ROWS_HELD: Final = 2_048


@dataclass(slots=True)
class InstrumentBooks:
    """Grows by slices. `window` says which feature rows are this segment's."""

    instrument: Instrument
    options: EtlOptions
    window: Window
    soundness: Callable[[], FeedSoundness]
    _touches: list[Touches] = field(default_factory=list)
    _held: list[Candidates] = field(default_factory=list)

    def add(self, books: BookColumns) -> list[CoverageRow]:
        """Take in a slice; return the updates that are no valid book."""
        is_valid, invalid = valid(books)
        rows = np.flatnonzero(is_valid).astype(np.int64)
        if len(rows):
            bid, ask = books.bids.offsets[rows], books.asks.offsets[rows]
            self._touches.append(
                Touches(
                    books.keys.capture_ns[rows],
                    books.bids.px[bid],
                    books.bids.sz[bid],
                    books.asks.px[ask],
                    books.asks.sz[ask],
                )
            )
            self._held.append(candidates(books, rows, self.options.hf_interval_ns))
        return invalid_rows(books, invalid)

    def feature_rows(self, *, last: bool) -> pa.Table | None:
        """Return the feature rows that are certain, when there are many or nothing follows."""
        if not self._held or (not last and sum(map(len, self._held)) < _ROWS_HELD):
            return None
        found = joined(self._held, self.options.hf_interval_ns)
        end = len(found) if last else len(found) - 1  # a later update may take the newest row's place
        self._held = [] if last else [taken(found, np.array([end], dtype=np.int64))]
        kept = taken(found, self._emitted(found, end))
        options = self.options
        return hf_table(self.instrument, kept, self.soundness(), options.features, options.levels_max)

    def bars(self, trades: TradeFlow | None, window: Window) -> list[pa.Table]:
        """Return the bars of every duration; called once, at the end."""
        if not self._touches:
            return []
        touches = Touches.joined(self._touches)
        soundness = self.soundness()
        return [
            bars_table(
                self.instrument,
                touches,
                trades,
                soundness,
                duration_s=duration_s,
                tolerance_ns=self.options.tolerance_ns,
                window=window,
            )
            for duration_s in self.options.bar_durations_s
        ]

    def _emitted(self, found: Candidates, end: int) -> I64:
        """Return the rows whose whole interval this segment has seen."""
        at = found.boundary_ns[:end]
        mine = at <= self.window.until_ns
        if self.window.after_ns is not None:
            mine &= at - max(self.options.hf_interval_ns, 1) >= self.window.after_ns
        return np.flatnonzero(mine).astype(np.int64)

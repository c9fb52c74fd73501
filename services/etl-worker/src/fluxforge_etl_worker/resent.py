"""Resent trades: those the venue sent again, after a reconnect or as a snapshot, told by their ids. Pure.

The answer does not depend on how a feed is cut into stretches. Ids out of reach are forgotten, so memory follows the
trades of one lookback. Trades are not dropped here: a resent one stays in its dataset, marked.
"""

from collections.abc import Iterable
from typing import Final

import numpy as np

from fluxforge_etl_worker.columns import I64, Bools, Objects, TradeColumns

_FORGET_AT: Final = 4_096


class SeenTrades:
    """The trade ids one feed showed within `lookback_ns`, and when it showed each last.

    A trade is resent if its record is marked as a snapshot, or if its id stands at an earlier (capture_ns, idx) of the
    feed, later than `capture_ns - lookback_ns`. Any earlier trade counts, be it resent or backfilled itself. A trade
    without an id is never resent by id.
    """

    def __init__(self, lookback_ns: int, ids: Objects | None = None, capture_ns: I64 | None = None) -> None:
        """Begin after earlier trades of the feed, oldest first: their ids (None where there is none) and times."""
        self._lookback_ns = lookback_ns
        self._last: dict[str | None, int] = {}
        self._forget_at = _FORGET_AT
        if ids is not None and capture_ns is not None:
            self._last.update(zip(ids.tolist(), capture_ns.tolist(), strict=True))
            self._last.pop(None, None)

    @property
    def size(self) -> int:
        """Number of ids remembered."""
        return len(self._last)

    def mark(self, trades: TradeColumns) -> Bools:
        """Return which of the feed's next trades were sent before, and remember them.

        Rows stand in order of (capture_ns, idx), none before those of the call before.
        """
        if not len(trades.keys):
            return np.zeros(0, dtype=np.bool_)
        ids, times = trades.trade_id.tolist(), trades.keys.capture_ns.tolist()
        shown = dict(zip(ids, times, strict=True))  # of an id that stands here twice the last time
        has_no_id = shown.pop(None, None) is not None
        resent = trades.snapshot.copy()
        if has_no_id or len(shown) < len(ids) or not self._last.keys().isdisjoint(shown):
            resent |= self.repeated(ids, times)
        else:
            self._last.update(shown)
        self._forget(times[-1])
        return resent

    def repeated(self, ids: Iterable[str | None], times: Iterable[int]) -> Bools:
        """Return which of the feed's next ids stood there before, and remember them."""
        last, lookback_ns = self._last, self._lookback_ns
        marks = []
        for trade_id, time_ns in zip(ids, times, strict=True):
            before = last.get(trade_id)
            marks.append(before is not None and before > time_ns - lookback_ns)
            if trade_id is not None:
                last[trade_id] = time_ns
        return np.array(marks, dtype=np.bool_)

    def _forget(self, now_ns: int) -> None:
        """Forget what no later trade can repeat; rarely, so that each id is looked at a bounded number of times."""
        if len(self._last) < self._forget_at:
            return
        horizon_ns = now_ns - self._lookback_ns
        self._last = {trade_id: time_ns for trade_id, time_ns in self._last.items() if time_ns > horizon_ns}
        self._forget_at = max(_FORGET_AT, 2 * len(self._last))

"""Bars: what one instrument did in each span of `duration` seconds, from every valid update and its trades. Pure.

A bar `[start, start + duration)` exists when a valid update lies in it. It is emitted by the stretch in whose range
it ends, from that stretch and the history before it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
import pyarrow as pa

from fluxforge_etl_worker.columns import F64, I64, Bools, Instrument
from fluxforge_etl_worker.features.flow import order_flow_imbalance
from fluxforge_etl_worker.features.returns import log_returns
from fluxforge_etl_worker.features.streams import TradeFlow, Updates
from fluxforge_etl_worker.schemas import BARS
from fluxforge_etl_worker.soundness import FeedSoundness
from fluxforge_etl_worker.tables import flags, floats, instrument_columns, numbers, timestamps

_NS: Final = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Window:
    """Which rows are emitted: those whose time (a bar's end) lies in `(after_ns, until_ns]`; `after_ns` None: any.

    With `final` the bars still open at `until_ns` are emitted too, as incomplete. Bars that start at or before
    `bars_after_ns` are left out: they were another lane's as well.
    """

    after_ns: int | None
    until_ns: int
    final: bool = False
    bars_after_ns: int | None = None


@dataclass(frozen=True, slots=True)
class BarTrades:
    """The trades that count, and whether the feed they come from had shown itself by the end of bars `[begin, end)`."""

    flow: TradeFlow
    known_in: Callable[[I64, I64], Bools]


def bars_table(
    instrument: Instrument,
    updates: Updates,
    known: Bools,
    trades: BarTrades | None,
    soundness: FeedSoundness,
    *,
    duration_s: int,
    tolerance_ns: int,
    window: Window,
) -> pa.Table:
    """Return the bars of one duration; `known` tells of which updates the one before is known.

    `trades` None: they are not captured, and their columns are null.
    """
    width = duration_s * _NS
    if window.after_ns is not None:  # bars that ended before need no work; what stood before them opens the first one
        begin = np.searchsorted(updates.capture_ns, window.after_ns - width + 1) - 1
        rows = slice(max(int(begin), 0), None)
        updates, known = updates.rows(rows), known[rows]
    start = updates.capture_ns // width * width
    first = np.flatnonzero(np.diff(start, prepend=-1) != 0)
    last = np.r_[first[1:], len(start)] - 1
    begins = start[first]
    ends = begins + width
    is_open = ends > window.until_ns
    kept = np.ones(len(begins), dtype=np.bool_) if window.after_ns is None else ends > window.after_ns
    if window.bars_after_ns is not None:
        kept &= begins > window.bars_after_ns
    if not window.final:
        kept &= ~is_open
    opened = _opened(updates, first, begins, tolerance_ns)
    complete = opened & ~soundness.is_unsound_in_bar(begins, ends) & ~is_open
    columns = [
        *instrument_columns(instrument, len(begins)),
        timestamps(begins),
        numbers(np.full(len(begins), duration_s, dtype=np.int32)),
        *map(floats, _price_columns(updates, known, first, last, ends)),
        numbers(last - first + 1),
        *_trade_columns(trades, begins, width),
        flags(complete),
    ]
    return pa.Table.from_arrays(columns, schema=BARS).filter(flags(kept))


def _opened(updates: Updates, first: I64, begins: I64, tolerance_ns: int) -> Bools:
    """Return whether an update lies in `(start - tolerance, start]`."""
    before = updates.capture_ns[np.maximum(first - 1, 0)]
    inherited = (first > 0) & (before > begins - tolerance_ns)
    result: Bools = inherited | (updates.capture_ns[first] == begins)
    return result


def _price_columns(updates: Updates, known: Bools, first: I64, last: I64, ends: I64) -> list[F64]:
    """Return open to realized_variance of each bar; `first`, `last` are its first and last update."""
    if len(first) == 0:
        return [np.empty(0)] * 12
    mid, spread = updates.mid, updates.spread
    count = last - first + 1
    bid_size, ask_size = updates.bid_sz[:, 0], updates.ask_sz[:, 0]
    imbalance = (bid_size - ask_size) / (bid_size + ask_size)
    # Each mid stands until the next update of its bar, the last one until the bar ends.
    until = np.r_[updates.capture_ns[1:], ends[-1]]
    until[last] = ends
    stood = (until - updates.capture_ns).astype(np.float64)
    return [
        mid[first],
        np.maximum.reduceat(mid, first),
        np.minimum.reduceat(mid, first),
        mid[last],
        np.add.reduceat(spread, first) / count,
        np.add.reduceat(spread / mid, first) / count,
        np.add.reduceat(imbalance, first) / count,
        np.minimum.reduceat(spread, first),
        np.maximum.reduceat(spread, first),
        np.add.reduceat(mid * stood, first) / np.add.reduceat(stood, first),
        _sum_of_known(order_flow_imbalance(updates, known), first),
        _sum_of_known(log_returns(updates, known) ** 2, first),
    ]


def _sum_of_known(values: F64, first: I64) -> F64:
    """Return the sum of each bar's terms that are not null; null where all are."""
    is_known = ~np.isnan(values)
    sums = np.add.reduceat(np.where(is_known, values, 0.0), first)
    return np.where(np.logical_or.reduceat(is_known, first), sums, np.nan)


def _trade_columns(trades: BarTrades | None, begins: I64, width: int) -> list[pa.Array]:
    """Return buy_volume, sell_volume, trade_count and vwap of each bar."""
    n = len(begins)
    if trades is None or n == 0:
        return [
            pa.nulls(n, pa.float64()),
            pa.nulls(n, pa.float64()),
            pa.nulls(n, pa.int64()),
            pa.nulls(n, pa.float64()),
        ]
    flow = trades.flow
    bar = np.searchsorted(begins, flow.capture_ns, side="right") - 1
    inside = bar >= 0
    inside[inside] = flow.capture_ns[inside] < begins[bar[inside]] + width
    bar, price, amount = bar[inside], flow.price[inside], flow.amount[inside]

    def summed(values: F64) -> F64:
        return np.bincount(bar, weights=values, minlength=n).astype(np.float64)

    known = trades.known_in(begins, begins + width)
    with np.errstate(all="ignore"):
        vwap = summed(price * amount) / summed(amount)
    return [
        floats(np.where(known, summed(np.where(flow.bought[inside], amount, 0.0)), np.nan)),
        floats(np.where(known, summed(np.where(flow.sold[inside], amount, 0.0)), np.nan)),
        numbers(np.bincount(bar, minlength=n).astype(np.int64), known),
        floats(vwap),
    ]

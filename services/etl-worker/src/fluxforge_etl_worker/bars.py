"""Bars: what one instrument did in each span of `duration` seconds, from every valid update and its trades. Pure.

A bar `[start, start + duration)` exists when a valid update lies in it. It is built from whole spans only: which of
them are emitted is decided by the span's watermarks, not here.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Self

import numpy as np
import pyarrow as pa

from fluxforge_etl_worker.columns import F64, I64, Bools, Instrument, TradeColumns
from fluxforge_etl_worker.features.flow import Touches, log_returns, order_flow_imbalance
from fluxforge_etl_worker.schemas import BARS
from fluxforge_etl_worker.soundness import FeedSoundness
from fluxforge_etl_worker.tables import flags, floats, instrument_columns, numbers, timestamps

_NS: Final = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Window:
    """Which bars are emitted: those that start after `after_ns` (None: any) and end at or before `until_ns`.

    With `final` the bars still open at `until_ns` are emitted too, as incomplete.
    """

    after_ns: int | None
    until_ns: int
    final: bool = False


@dataclass(frozen=True, slots=True)
class TradeFlow:
    """The trades of one instrument that count: capture time, price, amount, and whether the taker bought or sold."""

    capture_ns: I64
    price: F64
    amount: F64
    bought: Bools
    sold: Bools

    @classmethod
    def joined(cls, parts: Sequence[Self]) -> Self:
        """Return the trades of several stretches, one after the other."""
        return cls(
            np.concatenate([np.empty(0, dtype=np.int64), *(part.capture_ns for part in parts)]),
            np.concatenate([np.empty(0), *(part.price for part in parts)]),
            np.concatenate([np.empty(0), *(part.amount for part in parts)]),
            np.concatenate([np.empty(0, dtype=np.bool_), *(part.bought for part in parts)]),
            np.concatenate([np.empty(0, dtype=np.bool_), *(part.sold for part in parts)]),
        )


def trade_flow(trades: TradeColumns) -> TradeFlow:
    """Return the trades without backfilled ones, which take no part in bars."""
    live = np.flatnonzero(trades.source_kind == None)  # noqa: E711 - elementwise
    side = trades.side[live]
    return TradeFlow(
        trades.keys.capture_ns[live], trades.price[live], trades.amount[live], side == "buy", side == "sell"
    )


def known_before(touches: Touches, soundness: FeedSoundness, tolerance_ns: int) -> Bools:
    """Return for each update whether the one before it is known: near enough, with no hole between."""
    result = np.zeros(len(touches), dtype=np.bool_)
    before, now = touches.capture_ns[:-1], touches.capture_ns[1:]
    result[1:] = (now - before <= tolerance_ns) & ~soundness.is_unsound_between(before, now)
    return result


def bars_table(
    instrument: Instrument,
    touches: Touches,
    trades: TradeFlow | None,
    soundness: FeedSoundness,
    *,
    duration_s: int,
    tolerance_ns: int,
    window: Window,
) -> pa.Table:
    """Return the bars of one duration; `trades` None: they are not captured, and their columns are null."""
    width = duration_s * _NS
    start = touches.capture_ns // width * width
    first = np.flatnonzero(np.diff(start, prepend=-1) != 0)
    last = np.r_[first[1:], len(start)] - 1
    begins = start[first]
    open_bar = begins + width > window.until_ns
    kept = (begins > window.after_ns) if window.after_ns is not None else np.ones(len(begins), dtype=np.bool_)
    if not window.final:
        kept &= ~open_bar
    complete = (
        _opened(touches, first, begins, tolerance_ns) & ~soundness.is_unsound_in_bar(begins, begins + width) & ~open_bar
    )
    known = known_before(touches, soundness, tolerance_ns)
    columns = [
        *instrument_columns(instrument, len(begins)),
        timestamps(begins),
        numbers(np.full(len(begins), duration_s, dtype=np.int32)),
        *map(floats, _price_columns(touches, known, first, last, begins + width)),
        numbers(last - first + 1),
        *_trade_columns(trades, begins, width),
        flags(complete),
    ]
    return pa.Table.from_arrays(columns, schema=BARS).filter(flags(kept))


def _opened(touches: Touches, first: I64, begins: I64, tolerance_ns: int) -> Bools:
    """Return whether an update lies in `(start - tolerance, start]`."""
    before = touches.capture_ns[np.maximum(first - 1, 0)]
    inherited = (first > 0) & (before > begins - tolerance_ns)
    result: Bools = inherited | (touches.capture_ns[first] == begins)
    return result


def _price_columns(touches: Touches, known: Bools, first: I64, last: I64, ends: I64) -> list[F64]:
    """Return open to realized_variance of each bar; `first`, `last` are its first and last update."""
    if len(first) == 0:
        return [np.empty(0)] * 12
    mid, spread = touches.mid, touches.ask - touches.bid
    count = last - first + 1
    imbalance = (touches.bid_size - touches.ask_size) / (touches.bid_size + touches.ask_size)
    # Each mid stands until the next update of its bar, the last one until the bar ends.
    until = np.r_[touches.capture_ns[1:], ends[-1]]
    until[last] = ends
    stood = (until - touches.capture_ns).astype(np.float64)
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
        _sum_of_known(order_flow_imbalance(touches, known), first),
        _sum_of_known(log_returns(touches, known) ** 2, first),
    ]


def _sum_of_known(values: F64, first: I64) -> F64:
    """Return the sum of each bar's terms that are not null; null where all are."""
    is_known = ~np.isnan(values)
    sums = np.add.reduceat(np.where(is_known, values, 0.0), first)
    return np.where(np.logical_or.reduceat(is_known, first), sums, np.nan)


def _trade_columns(trades: TradeFlow | None, begins: I64, width: int) -> list[pa.Array]:
    """Return buy_volume, sell_volume, trade_count and vwap of each bar."""
    n = len(begins)
    if trades is None:
        return [
            pa.nulls(n, pa.float64()),
            pa.nulls(n, pa.float64()),
            pa.nulls(n, pa.int64()),
            pa.nulls(n, pa.float64()),
        ]
    bar = np.searchsorted(begins, trades.capture_ns, side="right") - 1
    inside = bar >= 0
    inside[inside] = trades.capture_ns[inside] < begins[bar[inside]] + width
    bar, price, amount = bar[inside], trades.price[inside], trades.amount[inside]

    def summed(values: F64) -> F64:
        return np.bincount(bar, weights=values, minlength=n).astype(np.float64)

    with np.errstate(all="ignore"):
        vwap = summed(price * amount) / summed(amount)
    return [
        floats(summed(np.where(trades.bought[inside], amount, 0.0))),
        floats(summed(np.where(trades.sold[inside], amount, 0.0))),
        numbers(np.bincount(bar, minlength=n).astype(np.int64)),
        floats(vwap),
    ]

"""Trading: what was bought and sold in a window, and what it moved. Pure; NaN is null.

Trades are those that count, of one instrument in capture order; sides are the taker's, a trade without one counts but
has no volume here. Windows in which the book or the trades were not observed are left to the caller.
"""

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np

from fluxforge_etl_worker.columns import F64, I64
from fluxforge_etl_worker.features.streams import TradeFlow, Updates
from fluxforge_etl_worker.features.windows import NS_PER_S, Sums, Timeline, Windows

_ROWS_MAX: Final = 1_024  # rows worked on together: their arrays stay in the processor's cache
_ROUNDING: Final = 1e-14


def buy_volume(trades: TradeFlow, timeline: Timeline, windows: Sequence[Windows]) -> dict[int, F64]:
    """Return the sum of amounts bought in the window, by horizon, each of shape (m,), base currency; 0 without any."""
    sums = Sums.of(timeline, np.where(trades.bought, trades.amount, 0.0))
    return {window.horizon_s: sums.over(window) for window in windows}


def sell_volume(trades: TradeFlow, timeline: Timeline, windows: Sequence[Windows]) -> dict[int, F64]:
    """Return the sum of amounts sold in the window, by horizon, each of shape (m,), base currency; 0 without any."""
    sums = Sums.of(timeline, np.where(trades.sold, trades.amount, 0.0))
    return {window.horizon_s: sums.over(window) for window in windows}


def trade_flow_imbalance(buys: Mapping[int, F64], sells: Mapping[int, F64]) -> dict[int, F64]:
    """Return `(buy - sell) / (buy + sell)` of the window's volumes, by horizon, unit 1; null where both are 0."""
    with np.errstate(all="ignore"):
        return {horizon: (buys[horizon] - sells[horizon]) / (buys[horizon] + sells[horizon]) for horizon in buys}


def trade_count(windows: Sequence[Windows]) -> dict[int, F64]:
    """Return the number of trades in the window, by horizon, each of shape (m,); `windows` on the trades' timeline."""
    return {window.horizon_s: window.counts.astype(np.float64) for window in windows}


def trade_kyle_lambda(
    updates: Updates,
    trades: TradeFlow,
    end_ns: I64,
    volumes: Mapping[int, F64],
    *,
    tolerance_ns: int,
) -> dict[int, F64]:
    """Return the least-squares slope of mid change on signed volume over the window's seconds, quote/base.

    By horizon h, each of shape (m,): a regression with intercept over the h sub-intervals `(t - j - 1 s, t - j s]`;
    signed volume = bought - sold in it, mid change = mid as of its end - as of its start. As of: the last update not
    older than the tolerance. Null where an as-of is missing, and where every signed volume is the same, up to what
    rounding leaves of the window's `volumes` (its amounts bought and sold, by horizon).
    Source: after Kyle (1985), Econometrica 53(6); the estimator on trades is ours.
    """
    if not volumes:
        return {}
    signed = trades.amount * (trades.bought.astype(np.float64) - trades.sold)
    sums = Sums.of(Timeline.of(trades.capture_ns), signed)
    mid = np.append(updates.mid, np.nan)  # what stands where no update is near enough: the last, index -1
    result = {horizon: np.full(len(end_ns), np.nan) for horizon in volumes}
    order = _order(end_ns)
    for begin in range(0, len(order), _ROWS_MAX):
        rows = order[begin : begin + _ROWS_MAX]
        times, at = _grid(end_ns[rows], max(volumes))
        mids = mid[_as_of(updates.capture_ns, times, tolerance_ns)][at]
        seconds = _second_sums(sums, times)[at[:, 1:]]
        for horizon, volume in volumes.items():
            result[horizon][rows] = _slope(mids[:, -horizon - 1 :], seconds[:, -horizon:], volume[rows])
    return result


def _order(end_ns: I64) -> I64:
    """Return the rows so that those a whole number of seconds apart follow one another, if there are many such."""
    phase = end_ns % NS_PER_S
    if len(np.unique(phase)) > len(end_ns) // 2:
        return np.arange(len(end_ns))
    return np.lexsort((end_ns, phase))


def _grid(end_ns: I64, horizon_s: int) -> tuple[I64, I64]:
    """Return the times `t - h, .., t - 1 s, t` of all rows, shared ones once, and where each row's are, (m, h + 1)."""
    gap = np.diff(end_ns, prepend=end_ns[0] - (horizon_s + 1) * NS_PER_S)
    is_shared = (gap % NS_PER_S == 0) & (gap >= 0)
    fresh = np.where(is_shared, np.minimum(gap // NS_PER_S, horizon_s + 1), horizon_s + 1)
    last = np.cumsum(fresh) - 1
    times = np.repeat(end_ns, fresh) - (np.repeat(last, fresh) - np.arange(last[-1] + 1)) * NS_PER_S
    return times, last[:, None] + np.arange(-horizon_s, 1)


def _as_of(capture_ns: I64, time_ns: I64, tolerance_ns: int) -> I64:
    """Return the last update in `(time - tolerance, time]`, -1 where there is none."""
    low, high = np.searchsorted(capture_ns, [time_ns.min() - tolerance_ns, time_ns.max()], side="right")
    nearby = capture_ns[low:high]
    if not len(nearby):
        return np.full(len(time_ns), -1)
    at = np.searchsorted(nearby, time_ns, side="right") - 1
    return np.where((at >= 0) & (nearby[at] > time_ns - tolerance_ns), low + at, -1)


def _second_sums(sums: Sums, end_ns: I64) -> F64:
    """Return the sum over the second that ends at each time, in any order of times."""
    timeline = sums.timeline
    windows = timeline.windows(end_ns, 1)
    whole = np.where(windows.cell_stop > windows.cell_first, sums.totals[windows.cell_first], 0.0)
    return sums.from_border(windows.first, windows.start_ns) + whole + sums.to_border(windows.stop, end_ns)


def _slope(mids: F64, signed: F64, volume: F64) -> F64:
    """Return the slope of each row's mid changes on its signed volumes."""
    off_mean = signed - signed.mean(axis=1)[:, None]
    with np.errstate(all="ignore"):
        slope = (off_mean * np.diff(mids, axis=1)).sum(axis=1) / (off_mean * off_mean).sum(axis=1)
    varies = signed.max(axis=1) - signed.min(axis=1) > _ROUNDING * volume
    return np.where(varies, slope, np.nan)

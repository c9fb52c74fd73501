"""Flow: what changes at the best levels from one valid update to the next, of one instrument in capture order. Pure.

NaN is null. Windows that were not observed are left to the caller.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np

from fluxforge_etl_worker.columns import F64, Bools
from fluxforge_etl_worker.features.streams import TOP_LEVELS, Updates
from fluxforge_etl_worker.features.windows import Sums, Timeline, Windows

MLOFI_DECAY: Final = -0.5


def order_flow_imbalance(updates: Updates, known: Bools) -> F64:
    """Return `e_n` of the touch per update, shape (n,), base currency; null for the first and where not `known`.

    `1[pb_n >= pb_(n-1)] qb_n - 1[pb_n <= pb_(n-1)] qb_(n-1) - 1[pa_n <= pa_(n-1)] qa_n + 1[pa_n >= pa_(n-1)] qa_(n-1)`;
    positive when buyers press. `known`: whether the update before is known.
    Source: Cont, Kukanov, Stoikov (2014), Journal of Financial Econometrics 12(1), equation 1.
    """
    result = np.full(len(updates), np.nan)
    result[1:] = _level_flow(updates, 0)
    return np.where(known, result, np.nan)


def multi_level_order_flow_imbalance(updates: Updates, known: Bools) -> F64:
    """Return the sum over levels i < 5 of `exp(-i / 2) e_n^i` per update, shape (n,), base currency.

    `e_n^i` is the rule of `order_flow_imbalance` at level i; a level at which either of the two books lacks a bid or an
    ask is left out. Null for the first and where not `known`.
    Source: Xu, Gould, Howison (2018), Market Microstructure and Liquidity 4(3), multi-level OFI; the decay is ours.
    """
    result = np.full(len(updates), np.nan)
    result[1:] = _level_flow(updates, 0)
    for level in range(1, TOP_LEVELS):
        exists = ~(np.isnan(updates.bid_px[:, level]) | np.isnan(updates.ask_px[:, level]))
        term = np.exp(MLOFI_DECAY * level) * _level_flow(updates, level)
        result[1:] += np.where(exists[1:] & exists[:-1], term, 0.0)
    return np.where(known, result, np.nan)


def ofi_sum(updates: Updates, known: Bools, timeline: Timeline, windows: Sequence[Windows]) -> dict[int, F64]:
    """Return the sum of `e_n` over the updates of the window, by horizon, each of shape (m,), base currency.

    Terms that are null are left out; 0 where there are none.
    Source: Cont, Kukanov, Stoikov (2014), Journal of Financial Econometrics 12(1), equation 2.
    """
    sums = Sums.of(timeline, order_flow_imbalance(updates, known))
    return {window.horizon_s: sums.over(window) for window in windows}


def mlofi_sum(updates: Updates, known: Bools, timeline: Timeline, windows: Sequence[Windows]) -> dict[int, F64]:
    """Return the sum of the multi-level `e_n` over the updates of the window, by horizon, each (m,), base currency.

    Terms that are null are left out; 0 where there are none.
    Source: as `multi_level_order_flow_imbalance`.
    """
    sums = Sums.of(timeline, multi_level_order_flow_imbalance(updates, known))
    return {window.horizon_s: sums.over(window) for window in windows}


def _level_flow(updates: Updates, level: int) -> F64:
    """Return `e_n^i` of every update but the first."""
    bid, ask = np.ascontiguousarray(updates.bid_px[:, level]), np.ascontiguousarray(updates.ask_px[:, level])
    bid_size, ask_size = np.ascontiguousarray(updates.bid_sz[:, level]), np.ascontiguousarray(updates.ask_sz[:, level])
    result: F64 = (
        np.where(bid[1:] >= bid[:-1], bid_size[1:], 0.0)
        - np.where(bid[1:] <= bid[:-1], bid_size[:-1], 0.0)
        - np.where(ask[1:] <= ask[:-1], ask_size[1:], 0.0)
        + np.where(ask[1:] >= ask[:-1], ask_size[:-1], 0.0)
    )
    return result

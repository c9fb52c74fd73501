"""Returns: how the mid price of one instrument moves, from update to update and over windows. Pure; unit 1.

Updates are valid and in capture order; NaN is null. Windows that were not observed are left to the caller.
"""

from collections.abc import Sequence

import numpy as np

from fluxforge_etl_worker.columns import F64, Bools
from fluxforge_etl_worker.features.streams import Updates
from fluxforge_etl_worker.features.windows import Sums, Timeline, Windows


def log_returns(updates: Updates, known: Bools) -> F64:
    """Return `r_n = ln(mid_n / mid_(n-1))` per update, shape (n,); null for the first and where not `known`.

    `known`: whether the update before is known. Unit 1.
    """
    result = np.full(len(updates), np.nan)
    mid = updates.mid
    with np.errstate(all="ignore"):
        result[1:] = np.log(mid[1:] / mid[:-1])
    return np.where(known, result, np.nan)


def log_return(updates: Updates, windows: Sequence[Windows]) -> dict[int, F64]:
    """Return `ln(mid_t / mid as of t - h)` by horizon, each of shape (m,), unit 1.

    As of t - h: the last update at or before it, however old. Null where there is none.
    """
    mid = updates.mid
    with np.errstate(all="ignore"):
        return {
            window.horizon_s: np.where(window.first > 0, np.log(mid[window.stop - 1] / mid[window.first - 1]), np.nan)
            for window in windows
        }


def realized_volatility(
    updates: Updates, known: Bools, timeline: Timeline, windows: Sequence[Windows]
) -> dict[int, F64]:
    """Return `sqrt(sum of r_n^2)` over the updates of the window, by horizon, each of shape (m,), unit 1.

    Not annualised. Terms that are null are left out; 0 where there are none.
    Source: Andersen, Bollerslev, Diebold, Labys (2003), Econometrica 71(2).
    """
    squares = Sums.of(timeline, log_returns(updates, known) ** 2)
    return {window.horizon_s: np.sqrt(squares.over(window)) for window in windows}

"""Regime: how wide the spread is against its own mean of the last minute. Pure.

Windows that were not observed are left to the caller. Source: ours.
"""

from typing import Final

import numpy as np

from fluxforge_etl_worker.columns import F64, Objects
from fluxforge_etl_worker.features.ranks import count_above
from fluxforge_etl_worker.features.streams import Updates
from fluxforge_etl_worker.features.windows import Sums, Timeline, Windows

REGIME_WINDOW_S: Final = 60
TIGHT_BELOW: Final = 0.8
WIDE_ABOVE: Final = 1.25


def relative_spreads(updates: Updates) -> F64:
    """Return `(ask - bid) / mid` per update, shape (n,), unit 1; never null."""
    result: F64 = updates.spread / updates.mid
    return result


def mean_relative_spread(updates: Updates, timeline: Timeline, window: Windows) -> F64:
    """Return the mean relative spread of the updates of each window, shape (m,), unit 1; null where there are none."""
    with np.errstate(all="ignore"):
        result: F64 = Sums.of(timeline, relative_spreads(updates)).over(window) / window.counts
    return np.where(window.counts > 0, result, np.nan)


def spread_regime(updates: Updates, window: Windows, mean: F64) -> Objects:
    """Return the regime of the update that stands at the end of each window, shape (m,): a string, or None for null.

    `tight` when its relative spread is below 0.8 `mean`, `wide` when it is above 1.25 `mean`, else `normal`.
    Null where `mean` is.
    """
    own = relative_spreads(updates)[window.stop - 1]
    words = np.array(["normal", "tight", "wide", None], dtype=np.object_)
    code = np.where(own < TIGHT_BELOW * mean, 1, np.where(own > WIDE_ABOVE * mean, 2, 0))
    result: Objects = words[np.where(np.isnan(mean), 3, code)]
    return result


def wide_share(updates: Updates, window: Windows, mean: F64) -> F64:
    """Return the share of each window's updates whose relative spread is above 1.25 `mean`, shape (m,), unit 1.

    Null where `mean` is.
    """
    wide = count_above(relative_spreads(updates), window.first, window.stop, WIDE_ABOVE * mean)
    with np.errstate(all="ignore"):
        return np.where(np.isnan(mean), np.nan, wide / window.counts)

"""Depth: how much size stands how far from the mid. Sizes base currency, distances basis points of the mid.

Every function takes n valid books and returns one array of length n per column; NaN is null.
"""

from typing import Final

import numpy as np

from fluxforge_etl_worker.columns import F64, I64
from fluxforge_etl_worker.features.ladder import Ladders, level_sum

BANDS_BPS: Final = ((0, 5), (5, 10), (10, 25))
_BPS: Final = 1e4
_DECAY: Final = -100.0


def bands(books: Ladders) -> dict[str, F64]:
    """Return the size within each band of distance, per side and of both, and the bands' imbalance.

    A level belongs to band lo..hi when `lo <= d_i < hi`, `d_i = abs(p_i - mid) / mid x 1e4`. Depths are 0 where the
    band is empty; `band_imbalance = (bid - ask) / (bid + ask)` is null there.
    """
    sides = {}
    for name, side in (("bid", books.bids), ("ask", books.asks)):
        distance = side.distance * _BPS
        # Beyond the last level that lies in a band in any row there is nothing to add.
        near = np.flatnonzero(distance.min(axis=0) < BANDS_BPS[-1][1])
        reach = slice(int(near[-1]) + 1 if len(near) else 1)
        distance, size = distance[:, reach], side.sz[:, reach]
        for low, high in BANDS_BPS:
            sides[name, low] = level_sum(np.where((distance >= low) & (distance < high), size, 0.0))
    columns = {f"{name}_depth_{low}_{high}bps": sides[name, low] for name in ("bid", "ask") for low, high in BANDS_BPS}
    for low, high in BANDS_BPS:
        columns[f"depth_{low}_{high}bps"] = sides["bid", low] + sides["ask", low]
    for low, high in BANDS_BPS:
        both = columns[f"depth_{low}_{high}bps"]
        columns[f"band_imbalance_{low}_{high}bps"] = (sides["bid", low] - sides["ask", low]) / both
    return columns


def half_depth(books: Ladders) -> dict[str, F64 | I64]:
    """Return how far half of a side's size reaches: distance (bps) and number of levels.

    Of the first level at which the size summed from the touch outwards is at least half of the side's total; the
    number of levels includes it. Never null.
    """
    columns: dict[str, F64 | I64] = {}
    row = np.arange(len(books))
    for name, side in (("bid", books.bids), ("ask", books.asks)):
        level = np.count_nonzero(side.cumulative < 0.5 * side.total[:, None], axis=1)
        columns[f"{name}_50pct_depth"] = side.distance[row, level] * _BPS
        columns[f"{name}_50pct_levels"] = level + 1
    return columns


def smart_depth(books: Ladders) -> dict[str, F64]:
    """Return the size of the captured book, each level weighted by `exp(-100 abs(p_i - mid) / mid)`.

    `smart_depth` = bid + ask, `smart_depth_imbalance` = (bid - ask) / (bid + ask). Null only where every weight
    vanishes.
    """
    bid, ask = (level_sum(side.sz * np.exp(_DECAY * side.distance)) for side in (books.bids, books.asks))
    both = bid + ask
    return {
        "bid_smart_depth": bid,
        "ask_smart_depth": ask,
        "smart_depth": both,
        "smart_depth_imbalance": (bid - ask) / both,
    }


def level_counts(books: Ladders) -> dict[str, I64]:
    """Return the number of levels of each side in the captured book."""
    return {"bid_levels": books.bids.counts, "ask_levels": books.asks.counts}

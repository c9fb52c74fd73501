"""Impact: how far a trade of a given size would move the price, read off a standing book.

Every function takes n valid books and returns one array of length n per column; NaN is null.
"""

from typing import Final

import numpy as np

from fluxforge_etl_worker.columns import F64
from fluxforge_etl_worker.features.ladder import Ladder, Ladders, level_sum

_LEVELS: Final = 10


def amihud(relative_spread: F64, depth: F64) -> F64:
    """Return `relative_spread / depth`, depth of the innermost band, 1/base; null where the band is empty.

    Source: after Amihud (2002), Journal of Financial Markets 5(1): illiquidity as return per volume.
    """
    result: F64 = relative_spread / depth
    return result


def kyle_lambda(books: Ladders) -> dict[str, F64]:
    """Return the slope through the origin of price move on cumulative size, quote/base, both sides pooled.

    `sum(Q_i D_i) / sum(Q_i^2)` over the first ten levels of each side: Q_i the size up to level i,
    `D_i = abs(p_i - mid)`. Source: after Kyle (1985), Econometrica 53(6), equation 2.2.
    """
    moves = squares = np.zeros(len(books))
    for side in (books.bids, books.asks):
        size = side.cumulative[:, :_LEVELS] * _exists(side)
        moves = moves + level_sum(size * np.abs(side.px[:, :_LEVELS] - books.mid[:, None]))
        squares = squares + level_sum(size * size)
    return {"kyle_lambda": moves / squares}


def _exists(side: Ladder) -> F64:
    width = min(_LEVELS, side.sz.shape[1])
    result: F64 = (np.arange(width) < side.counts[:, None]).astype(np.float64)
    return result

"""Touch: what the best prices and the first levels of a book tell. Prices quote, sizes base currency.

Every function takes n valid books and returns one array of length n per column; NaN is null.
"""

from typing import Final

import numpy as np

from fluxforge_etl_worker.columns import F64
from fluxforge_etl_worker.features.ladder import Ladder, Ladders, level_sum

IMBALANCE_LEVELS: Final = (1, 5, 10)


def prices(books: Ladders) -> dict[str, F64]:
    """Return best prices, mid, spread and microprice.

    `mid_price = (pb_0 + pa_0) / 2`, `spread = pa_0 - pb_0`, `relative_spread = spread / mid_price`,
    `microprice = (pb_0 qa_0 + pa_0 qb_0) / (qb_0 + qa_0)`: the mid weighted by the sizes at the touch,
    `microprice_offset = (microprice - mid_price) / mid_price`. Never null.
    """
    bid, ask = books.bids.px[:, 0], books.asks.px[:, 0]
    bid_size, ask_size = books.bids.sz[:, 0], books.asks.sz[:, 0]
    spread = ask - bid
    microprice = (bid * ask_size + ask * bid_size) / (bid_size + ask_size)
    return {
        "best_bid": bid,
        "best_ask": ask,
        "mid_price": books.mid,
        "spread": spread,
        "relative_spread": spread / books.mid,
        "microprice": microprice,
        "microprice_offset": (microprice - books.mid) / books.mid,
    }


def levels(books: Ladders, levels_max: int) -> dict[str, F64]:
    """Return price and size of each of the first `levels_max` levels; null where a book lacks the level."""
    sides = (("bid", books.bids), ("ask", books.asks))
    sizes = {f"{name}_size_L{i}": _level(side, side.sz, i) for name, side in sides for i in range(levels_max)}
    return sizes | {f"{name}_price_L{i}": _level(side, side.px, i) for name, side in sides for i in range(levels_max)}


def imbalances(books: Ladders) -> dict[str, F64]:
    """Return `(B_k - A_k) / (B_k + A_k)`, B_k, A_k the sizes of the first k levels of a side, as many as exist.

    In [-1, 1]; positive when the bids are larger. Never null.
    """
    return {f"imbalance_L{k}": _imbalance(books, k) for k in IMBALANCE_LEVELS}


def _imbalance(books: Ladders, k: int) -> F64:
    bid, ask = level_sum(books.bids.sz[:, :k]), level_sum(books.asks.sz[:, :k])
    result: F64 = (bid - ask) / (bid + ask)
    return result


def _level(side: Ladder, values: F64, level: int) -> F64:
    if level >= values.shape[1]:
        return np.full(len(values), np.nan)
    return np.where(side.counts > level, values[:, level], np.nan)

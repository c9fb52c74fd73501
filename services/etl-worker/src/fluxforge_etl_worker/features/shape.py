"""Shape: how the size of a book is spread over its levels.

Every function takes n valid books and returns one array of length n per column; NaN is null.
"""

from typing import Final

from fluxforge_etl_worker.columns import F64
from fluxforge_etl_worker.features.ladder import Ladder, Ladders, level_sum

_VWAP_LEVELS: Final = 5


def concentrations(books: Ladders) -> dict[str, F64]:
    """Return `sum of (q_i / Q)^2` over a side's levels, Q its total, and the same over both sides pooled.

    In (0, 1]; 1 where one level holds everything. Never null.
    Source: the Herfindahl-Hirschman index; Hirschman (1964), The American Economic Review 54(5).
    """
    bid, ask = _squared_shares(books.bids), _squared_shares(books.asks)
    both = books.bids.total + books.asks.total
    pooled = bid * (books.bids.total / both) ** 2 + ask * (books.asks.total / both) ** 2
    return {"bid_concentration": bid, "ask_concentration": ask, "concentration": pooled}


def level_vwaps(books: Ladders) -> dict[str, F64]:
    """Return `sum(p_i q_i) / sum(q_i)` of the first five levels of each side, as many as exist, and ask - bid.

    Prices, quote currency. Never null.
    """
    bid, ask = _vwap(books.bids), _vwap(books.asks)
    return {"vwap_bid_5": bid, "vwap_ask_5": ask, "vwap_spread": ask - bid}


def _squared_shares(side: Ladder) -> F64:
    share = side.sz / side.total[:, None]
    share *= share
    return level_sum(share)


def _vwap(side: Ladder) -> F64:
    px, sz = side.px[:, :_VWAP_LEVELS], side.sz[:, :_VWAP_LEVELS]
    result: F64 = level_sum(px * sz) / level_sum(sz)
    return result

"""Streams: what rolling windows and bars are computed over: one instrument's valid updates and its trades that count.

Rows stand in capture order; times are ns UTC.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Self

import numpy as np

from fluxforge_etl_worker.columns import F64, I64, Bools

TOP_LEVELS: Final = 5


@dataclass(frozen=True, slots=True)
class Updates:
    """n valid updates: capture time, and prices and sizes of the first five levels of each side, shape (n, 5).

    Where a book has fewer levels the price is NaN and the size 0; level 0 always exists.
    """

    capture_ns: I64
    bid_px: F64
    bid_sz: F64
    ask_px: F64
    ask_sz: F64

    @classmethod
    def joined(cls, parts: Sequence[Self]) -> Self:
        """Return the updates of several stretches, one after the other."""
        if len(parts) == 1:
            return parts[0]
        none = np.empty((0, TOP_LEVELS))
        return cls(
            np.concatenate([np.empty(0, dtype=np.int64), *(part.capture_ns for part in parts)]),
            np.concatenate([none, *(part.bid_px for part in parts)]),
            np.concatenate([none, *(part.bid_sz for part in parts)]),
            np.concatenate([none, *(part.ask_px for part in parts)]),
            np.concatenate([none, *(part.ask_sz for part in parts)]),
        )

    def __len__(self) -> int:
        """Return the number of updates."""
        return len(self.capture_ns)

    def after(self, time_ns: int) -> "Updates":
        """Return the updates captured after a time."""
        return self.rows(slice(int(np.searchsorted(self.capture_ns, time_ns, side="right")), None))

    def rows(self, rows: slice) -> "Updates":
        """Return some of the updates."""
        return Updates(
            self.capture_ns[rows], self.bid_px[rows], self.bid_sz[rows], self.ask_px[rows], self.ask_sz[rows]
        )

    @property
    def mid(self) -> F64:
        """`(bid + ask) / 2` of the touch."""
        result: F64 = (self.bid_px[:, 0] + self.ask_px[:, 0]) / 2
        return result

    @property
    def spread(self) -> F64:
        """`ask - bid` of the touch."""
        result: F64 = self.ask_px[:, 0] - self.bid_px[:, 0]
        return result


@dataclass(frozen=True, slots=True)
class TradeFlow:
    """Trades that count (neither resent nor backfilled): time, price, amount, and whether the taker bought or sold."""

    capture_ns: I64
    price: F64
    amount: F64
    bought: Bools
    sold: Bools

    def __len__(self) -> int:
        """Return the number of trades."""
        return len(self.capture_ns)

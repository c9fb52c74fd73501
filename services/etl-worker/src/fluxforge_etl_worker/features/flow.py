"""Flow: what changes at the touch from one valid update to the next, of one instrument in capture order. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np

from fluxforge_etl_worker.columns import F64, I64, Bools


@dataclass(frozen=True, slots=True)
class Touches:
    """The touch of n valid updates: capture time, best prices and their sizes."""

    capture_ns: I64
    bid: F64
    bid_size: F64
    ask: F64
    ask_size: F64

    @classmethod
    def joined(cls, parts: Sequence[Self]) -> Self:
        """Return the updates of several stretches, one after the other."""
        return cls(
            np.concatenate([part.capture_ns for part in parts]),
            np.concatenate([part.bid for part in parts]),
            np.concatenate([part.bid_size for part in parts]),
            np.concatenate([part.ask for part in parts]),
            np.concatenate([part.ask_size for part in parts]),
        )

    def __len__(self) -> int:
        """Return the number of updates."""
        return len(self.capture_ns)

    @property
    def mid(self) -> F64:
        """`(bid + ask) / 2`."""
        return (self.bid + self.ask) / 2


def order_flow_imbalance(touches: Touches, known: Bools) -> F64:
    """Return `e_n` per update, base currency; null for the first and where the update before is not `known`.

    `1[pb_n >= pb_(n-1)] qb_n - 1[pb_n <= pb_(n-1)] qb_(n-1) - 1[pa_n <= pa_(n-1)] qa_n + 1[pa_n >= pa_(n-1)] qa_(n-1)`
    Source: Cont, Kukanov, Stoikov (2014), Journal of Financial Econometrics 12(1), equation 1.
    """
    result = np.full(len(touches), np.nan)
    bid, ask, bid_size, ask_size = touches.bid, touches.ask, touches.bid_size, touches.ask_size
    result[1:] = (
        np.where(bid[1:] >= bid[:-1], bid_size[1:], 0.0)
        - np.where(bid[1:] <= bid[:-1], bid_size[:-1], 0.0)
        - np.where(ask[1:] <= ask[:-1], ask_size[1:], 0.0)
        + np.where(ask[1:] >= ask[:-1], ask_size[:-1], 0.0)
    )
    return np.where(known, result, np.nan)


def log_returns(touches: Touches, known: Bools) -> F64:
    """Return `r_n = ln(mid_n / mid_(n-1))`; null for the first and where the update before is not `known`."""
    result = np.full(len(touches), np.nan)
    mid = touches.mid
    with np.errstate(all="ignore"):
        result[1:] = np.log(mid[1:] / mid[:-1])
    return np.where(known, result, np.nan)

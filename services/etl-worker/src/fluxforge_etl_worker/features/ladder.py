"""Ladders: the books of n updates as dense arrays, the form every structural feature is computed on.

Row i is one valid book, column j its level j, the touch first. Where a row has fewer levels than the widest, the size
is 0 and the price that of its last level: sums over sizes need no mask. Rows are laid out in blocks of bounded size.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np

from fluxforge_etl_worker.columns import F64, I64, Side

_CELLS_MAX: Final = 131_072  # a block's arrays stay in the processor's cache
_ROWS_MAX: Final = 4_096


@dataclass(frozen=True, slots=True)
class Ladder:
    """One side: `px`, `sz` of shape (n, widest), the number of levels of each row, and how far each level stands.

    `distance = abs(p_i - mid) / mid`; `cumulative`: the size up to each level, summed from the touch outwards.
    """

    px: F64
    sz: F64
    counts: I64
    distance: F64
    cumulative: F64

    @property
    def total(self) -> F64:
        """Size of the whole side."""
        return self.cumulative[:, -1]


@dataclass(frozen=True, slots=True)
class Ladders:
    """Both sides of n valid books, and their mid prices."""

    bids: Ladder
    asks: Ladder
    mid: F64

    def __len__(self) -> int:
        """Return the number of books."""
        return len(self.mid)


def ladders(bids: Side, asks: Side, rows: I64) -> Iterator[Ladders]:
    """Yield the books of these rows in order, in blocks; every one of them must have a level on both sides."""
    widest = max(1, int(bids.counts[rows].max(initial=1)), int(asks.counts[rows].max(initial=1)))
    step = max(1, min(_ROWS_MAX, _CELLS_MAX // widest))
    for start in range(0, len(rows), step):
        block = rows[start : start + step]
        mid = (bids.px[bids.offsets[block]] + asks.px[asks.offsets[block]]) / 2
        yield Ladders(_ladder(bids, block, mid), _ladder(asks, block, mid), mid)


def level_sum(values: F64) -> F64:
    """Return the sum over the levels of each row, added from the touch outwards.

    Where the levels of a row lie side by side numpy adds them in pairs, which would follow the widest row of the block:
    so they are laid out level by level (as ladders are), and a single row, which is always side by side, is cumulated.
    """
    result: F64 = np.asfortranarray(values).sum(axis=1) if len(values) > 1 else np.cumsum(values, axis=1)[:, -1]
    return result


def _ladder(side: Side, rows: I64, mid: F64) -> Ladder:
    px, sz, counts = _dense(side, rows)
    # Level by level in memory, as `level_sum` needs it.
    px, sz = np.asfortranarray(px), np.asfortranarray(sz)
    distance = px - mid[:, None]
    np.abs(distance, out=distance)
    distance /= mid[:, None]
    return Ladder(px, sz, counts, distance, np.cumsum(sz, axis=1, out=np.empty_like(sz)))


def _dense(side: Side, rows: I64) -> tuple[F64, F64, I64]:
    first, counts = side.offsets[rows], side.counts[rows]
    widest = int(counts.max())
    level = np.arange(widest)
    if counts.min() == widest and first[-1] - first[0] == widest * (len(rows) - 1):  # even and without a gap
        cells = slice(int(first[0]), int(first[-1]) + widest)
        shape = (len(rows), widest)
        return side.px[cells].reshape(shape), side.sz[cells].reshape(shape), counts
    at = first[:, None] + np.minimum(level, counts[:, None] - 1)
    return side.px[at], np.where(level < counts[:, None], side.sz[at], 0.0), counts

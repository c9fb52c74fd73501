"""A book of rows: what inserts, updates and deletes by position add up to. Pure.

The venue says neither where its first image ends nor where a change does: one that shifts rows is several messages.
So a book is told at the end of what one read of the socket brought, and only while its rows are in order.
"""

from itertools import pairwise
from typing import Final, NamedTuple

Level = tuple[float, float]
"""(price, size) as records have them."""
INSERT: Final = 0
UPDATE: Final = 1
DELETE: Final = 2
UNSETTLED_READS_MAX: Final = 20
"""Reads in a row after which rows that are out of order are no change under way any more."""


class RowsBrokenError(Exception):
    """Rows were missed: the book is not the venue's any more and must be asked for anew."""


class _Row(NamedTuple):
    price: float
    size: float
    maker: str


class Book:
    """One contract's book. `rows_max` per side are kept; what is pushed beyond is forgotten."""

    def __init__(self, rows_max: int) -> None:
        self._rows_max = rows_max
        self._bids: list[_Row] = []
        self._asks: list[_Row] = []
        self._is_filling = True
        self._unsettled = 0

    def clear(self) -> None:
        """Begin anew: what follows is a first image."""
        self._bids.clear()
        self._asks.clear()
        self._is_filling = True
        self._unsettled = 0

    def take(self, operation: int, position: int, row: tuple[float, float, str], *, is_bid: bool) -> None:
        """Apply one message; `row` is (price, size, market maker or exchange, empty where rows are whole levels).

        Raises:
            RowsBrokenError: A row in between is missing, or the operation is none.
        """
        side = self._bids if is_bid else self._asks
        if not (operation == INSERT and position == len(side)):
            self._is_filling = False  # the first image only appends
        if operation == DELETE:
            del side[position : position + 1]  # a row beyond our last one is not there already
        elif operation == INSERT and position <= len(side):
            side.insert(position, _Row(*row))
            del side[self._rows_max :]
        elif operation == UPDATE and position < len(side):
            side[position] = _Row(*row)
        elif operation == UPDATE and position == len(side):
            side.append(_Row(*row))
        else:
            raise RowsBrokenError(f"operation {operation} at row {position} of {len(side)}")

    def settled(self) -> tuple[list[Level], list[Level]] | None:
        """Return bids and asks, best first, at the end of a read; None where they are no book yet.

        Raises:
            RowsBrokenError: They have been out of order for too long.
        """
        if self._is_filling and not (self._bids and self._asks):
            return None
        self._is_filling = False
        if _is_ordered(self._bids, -1) and _is_ordered(self._asks, 1):
            self._unsettled = 0
            return _levels(self._bids), _levels(self._asks)
        self._unsettled += 1
        if self._unsettled >= UNSETTLED_READS_MAX:
            raise RowsBrokenError(f"rows out of order for {self._unsettled} reads")
        return None


def _is_ordered(rows: list[_Row], sign: int) -> bool:
    """Return whether prices never get better, and no maker has two rows of one price."""
    for before, after in pairwise(rows):
        if sign * after.price < sign * before.price:
            return False
    return len({(row.price, row.maker) for row in rows}) == len(rows)


def _levels(rows: list[_Row]) -> list[Level]:
    """Return rows of one price as one level."""
    sizes: dict[float, float] = {}
    for row in rows:
        sizes[row.price] = sizes.get(row.price, 0.0) + row.size
    return list(sizes.items())

"""Ladders: one side of a book, ordered from the touch outwards.

No level ever has the quantity 0. Prices are ticks, quantities lots.
"""

from bisect import bisect_left
from enum import Enum


class Side(Enum):
    """A side of the book; the value is the sign that makes prices rise outwards."""

    BID = -1
    ASK = 1

    @property
    def opposite(self) -> "Side":
        """The other side."""
        return Side.ASK if self is Side.BID else Side.BID


class Ladder:
    """The levels of one side."""

    __slots__ = ("_keys", "_quantities", "_sign")

    def __init__(self, side: Side) -> None:
        self._sign = side.value
        self._keys: list[int] = []
        self._quantities: dict[int, int] = {}

    def __len__(self) -> int:
        """Return the number of levels."""
        return len(self._keys)

    def __contains__(self, price: int) -> bool:
        """Tell whether there is a level at a price."""
        return price in self._quantities

    @property
    def best(self) -> int:
        """The price of the touch."""
        return self._keys[0] * self._sign

    @property
    def worst(self) -> int:
        """The price of the outermost level."""
        return self._keys[-1] * self._sign

    def price_at(self, index: int) -> int:
        """Return the price of a level; 0 is the touch."""
        return self._keys[index] * self._sign

    def quantity(self, price: int) -> int:
        """Return the lots at a price, 0 where there is no level."""
        return self._quantities.get(price, 0)

    def put(self, price: int, quantity: int) -> None:
        """Set a level; a quantity of 0 removes it."""
        key = price * self._sign
        if quantity == 0:
            if self._quantities.pop(price, 0):
                del self._keys[bisect_left(self._keys, key)]
            return
        if price not in self._quantities:
            self._keys.insert(bisect_left(self._keys, key), key)
        self._quantities[price] = quantity

    def levels(self, depth: int | None = None) -> list[tuple[int, int]]:
        """Return the first `depth` levels as (price, quantity), the touch first."""
        sign, quantities = self._sign, self._quantities
        return [(key * sign, quantities[key * sign]) for key in self._keys[:depth]]

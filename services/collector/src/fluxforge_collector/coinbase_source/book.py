"""Books: every level that Coinbase sends of one product, of which the top is told. Pure.

Both sides keep their best level last, where most changes are: a list moves what stands behind a change.
"""

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from math import isfinite
from typing import Final

_BID: Final = "bid"
_ASK: Final = "offer"


class _Ladder:
    """One side. `sign` is -1 where the lowest price is the best."""

    __slots__ = ("_keys", "_sign", "_sizes")

    def __init__(self, sign: int, levels: Mapping[float, float]) -> None:
        self._sign = sign
        self._keys = sorted(sign * price for price, size in levels.items() if size)
        self._sizes = [levels[sign * key] for key in self._keys]

    def put(self, price: float, size: float) -> None:
        key = self._sign * price
        at = bisect_left(self._keys, key)
        is_there = at < len(self._keys) and self._keys[at] == key
        if not size:
            if is_there:
                del self._keys[at], self._sizes[at]
        elif is_there:
            self._sizes[at] = size
        else:
            self._keys.insert(at, key)
            self._sizes.insert(at, size)

    def top(self, depth: int) -> list[tuple[float, float]]:
        sign = self._sign
        last = -depth - 1
        return [(sign * key, size) for key, size in zip(self._keys[:last:-1], self._sizes[:last:-1], strict=True)]


class Book:
    """The levels of one product, from a whole book on."""

    __slots__ = ("_sides",)

    def __init__(self, updates: Sequence[Mapping[str, str]]) -> None:
        """Take a whole book, as the venue's `updates`.

        Raises:
            KeyError: A level without its fields, or of a side that is none.
            ValueError: A price or size that is no number.
        """
        levels: dict[str, dict[float, float]] = {_BID: {}, _ASK: {}}
        for update in updates:  # tens of thousands of them, while nothing else is heard
            levels[update["side"]][float(update["price_level"])] = float(update["new_quantity"])
        for side in levels.values():
            if not (all(map(isfinite, side)) and all(map(isfinite, side.values()))):
                raise ValueError("a price or size that is no number")
        self._sides = {_BID: _Ladder(1, levels[_BID]), _ASK: _Ladder(-1, levels[_ASK])}

    def apply(self, updates: Sequence[Mapping[str, str]]) -> None:
        """Set levels to new sizes; size zero takes one away. After an error the book is good for nothing.

        Raises:
            KeyError: A level without its fields, or of a side that is none.
            ValueError: A price or size that is no number.
        """
        for update in updates:
            self._sides[update["side"]].put(number(update["price_level"]), number(update["new_quantity"]))

    def top(self, depth: int) -> tuple[list[tuple[float, float]], list[tuple[float, float]]]:
        """Return the best bids and asks as (price, size), best first."""
        return self._sides[_BID].top(depth), self._sides[_ASK].top(depth)


def number(digits: str) -> float:
    """Return the double nearest to a decimal.

    Raises:
        ValueError: No number, or none that JSON can write.
    """
    value = float(digits)
    if not isfinite(value):
        raise ValueError(f"expected a number, was {digits!r:.40}")
    return value

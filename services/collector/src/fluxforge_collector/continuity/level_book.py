"""Level books: price levels in the very digits that were sent, for checksums that are made of digits. Pure."""

import zlib
from bisect import bisect_left, insort
from collections.abc import Iterable
from decimal import Decimal, InvalidOperation
from typing import Final

_INT32: Final = 1 << 31
_KRAKEN_LEVELS: Final = 10
_COLON_LEVELS: Final = 25
_MAGNITUDE_MAX: Final = 40
"""Powers of ten, either way; written out, what lies beyond may fill the memory."""


class LevelError(ValueError):
    """A level that is no pair of decimal numbers."""


class _Side:
    """One side; `sign` is -1 where the highest price comes first."""

    __slots__ = ("_keys", "_levels", "_sign")

    def __init__(self, sign: int) -> None:
        self._sign = sign
        self._keys: list[Decimal] = []
        self._levels: dict[Decimal, tuple[str, str]] = {}

    def put(self, price: str, size: str) -> None:
        key, is_gone = _number(price) * self._sign, not _number(size)
        if is_gone:
            if self._levels.pop(key, None) is not None:
                del self._keys[bisect_left(self._keys, key)]
            return
        if key not in self._levels:
            insort(self._keys, key)
        self._levels[key] = (price, size)

    def keep(self, depth: int) -> None:
        for key in self._keys[depth:]:
            del self._levels[key]
        del self._keys[depth:]

    def top(self, count: int) -> list[tuple[str, str]]:
        return [self._levels[key] for key in self._keys[:count]]


class LevelBook:
    """The levels of one feed, as texts. `depth`: levels per side that the venue keeps, None for all it sends."""

    __slots__ = ("_asks", "_bids", "depth")

    def __init__(self, depth: int | None = None) -> None:
        self.depth = depth
        self._bids, self._asks = _Side(-1), _Side(1)

    def apply(self, bids: Iterable[tuple[str, str]], asks: Iterable[tuple[str, str]]) -> None:
        """Set levels to new sizes; size zero takes one away.

        Raises:
            LevelError: No pair of decimal numbers; the book is then good for nothing.
        """
        for side, levels in ((self._bids, bids), (self._asks, asks)):
            for price, size in levels:
                side.put(price, size)
            if self.depth is not None:
                side.keep(self.depth)

    def kraken_checksum(self) -> int:
        """Return Kraken's CRC-32: ten asks, then ten bids, best first, digits without point and leading zeros."""
        levels = self._asks.top(_KRAKEN_LEVELS) + self._bids.top(_KRAKEN_LEVELS)
        return zlib.crc32("".join(_digits(price) + _digits(size) for price, size in levels).encode())

    def colon_checksum(self) -> int:
        """Return OKX's and Bitget's signed CRC-32: 25 levels, bid and ask in turn, `price:size` joined by colons."""
        bids, asks = self._bids.top(_COLON_LEVELS), self._asks.top(_COLON_LEVELS)
        parts: list[str] = []
        for index in range(max(len(bids), len(asks))):
            parts += [value for side in (bids, asks) for level in side[index : index + 1] for value in level]
        checksum = zlib.crc32(":".join(parts).encode())
        return checksum - 2 * _INT32 if checksum >= _INT32 else checksum


def _digits(number: str) -> str:
    if "e" in number or "E" in number:
        number = format(Decimal(number), "f")
    return number.replace(".", "").lstrip("0")


def _number(text: str) -> Decimal:
    try:
        number = Decimal(text)
    except (InvalidOperation, TypeError, ValueError) as error:
        raise LevelError(f"expected a decimal number, was {text!r:.40}") from error
    if not number.is_finite() or abs(number.adjusted()) > _MAGNITUDE_MAX:
        raise LevelError(f"expected a finite number below 10^{_MAGNITUDE_MAX}, was {text!r:.40}")
    return number

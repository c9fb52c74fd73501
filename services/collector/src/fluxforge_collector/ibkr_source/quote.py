"""A quote: what the ticks of one contract add up to, in ccxt's names. Pure.

Live and delayed ticks have numbers of their own and mean the same; which they are, the data says.
Source: Interactive Brokers, TWS API, "Available Tick Types".
"""

from typing import Final

_PRICES: Final = dict.fromkeys((1, 66), "bid") | dict.fromkeys((2, 67), "ask") | dict.fromkeys((4, 68), "last")
_LEVELS: Final = (
    dict.fromkeys((6, 72), "high")
    | dict.fromkeys((7, 73), "low")
    | dict.fromkeys((9, 75), "previousClose")
    | dict.fromkeys((14, 76), "open")
    | {37: "markPrice"}
)
_SIZES: Final = (
    dict.fromkeys((0, 69), "bidVolume")
    | dict.fromkeys((3, 70), "askVolume")
    | dict.fromkeys((5, 71), "lastVolume")
    | dict.fromkeys((8, 74), "baseVolume")
)
_SIDES: Final = {"bidVolume": "bid", "askVolume": "ask"}
_NO_PRICE: Final = -1.0
_LIVE_TYPES: Final = frozenset({1, 2})


class Quote:
    """The newest of every field of one contract. `fields`: by ccxt's names, None where the venue has none."""

    def __init__(self) -> None:
        self.fields: dict[str, float | bool | None] = {}

    def price(self, tick_type: int, price: float, size: float) -> bool:
        """Take a price and the size that came with it; return whether this kind of tick is told."""
        if tick_type in _LEVELS:
            self.fields[_LEVELS[tick_type]] = None if price == _NO_PRICE else price
            return True
        name = _PRICES.get(tick_type)
        if name is None:
            return False
        # No size is no quote; an index has a last price without one.
        is_none = size == 0 and (name != "last" or price == _NO_PRICE)
        self.fields[name] = None if is_none else price
        self.fields[f"{name}Volume"] = None if is_none else size
        return True

    def size(self, tick_type: int, size: float) -> bool:
        """Take a size; return whether this kind of tick is told."""
        name = _SIZES.get(tick_type)
        if name is None:
            return False
        self.fields[name] = size
        if size == 0 and name in _SIDES:
            self.fields[name] = self.fields[_SIDES[name]] = None
        return True

    def market_data_type(self, number: int) -> None:
        """Take what kind of data follows: 1 live, 2 frozen, 3 delayed, 4 delayed and frozen."""
        if number not in _LIVE_TYPES:
            self.fields["delayed"] = True
        else:
            self.fields.pop("delayed", None)

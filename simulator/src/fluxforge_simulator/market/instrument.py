"""Instruments: what is traded, in which steps of price and quantity.

Prices and quantities are whole numbers of ticks and lots everywhere in the market; only the venues write decimals.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Instrument:
    """One pair. A tick is `10 ** -price_decimals`, a lot `10 ** -quantity_decimals`.

    `settle` is what a perpetual contract is settled in; None is spot.
    """

    base: str
    quote: str
    start_price: float
    price_decimals: int
    quantity_decimals: int
    settle: str | None = None

    @property
    def symbol(self) -> str:
        """The unified symbol."""
        pair = f"{self.base}/{self.quote}"
        return pair if self.settle is None else f"{pair}:{self.settle}"

    def price(self, ticks: int) -> str:
        """Write a price with all its decimals."""
        return fixed(ticks, self.price_decimals)

    def quantity(self, lots: int) -> str:
        """Write a quantity with all its decimals."""
        return fixed(lots, self.quantity_decimals)


def fixed(units: int, decimals: int) -> str:
    """Write `units * 10 ** -decimals` exactly; `units` is not negative."""
    if decimals == 0:
        return str(units)
    whole, part = divmod(units, 10**decimals)
    return f"{whole}.{part:0{decimals}d}"


def plain(text: str) -> str:
    """Write a decimal without trailing zeros."""
    return text.rstrip("0").rstrip(".") if "." in text else text

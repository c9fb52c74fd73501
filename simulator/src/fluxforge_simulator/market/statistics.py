"""Day statistics: what a ticker says about the last 24 hours.

They begin as if the market had been trading for a day, and from then on only grow: the window does not slide.
"""

from dataclasses import dataclass


@dataclass(slots=True)
class DayStatistics:
    """Open, high and low in ticks; volume in lots; turnover in ticks times lots."""

    open: int
    high: int
    low: int
    volume: int
    turnover: int
    trade_count: int

    @classmethod
    def begin(cls, last: int, volume: int, change: float) -> "DayStatistics":
        """Invent the day that ended at `last`, after a move of `change` (0.01 is a rise of one percent)."""
        opened = max(1, round(last / (1.0 + change)))
        high, low = round(max(last, opened) * 1.004), max(1, round(min(last, opened) * 0.996))
        return cls(opened, high, low, volume, volume * (opened + last) // 2, 250_000)

    def take(self, price: int, quantity: int) -> None:
        """Add one trade."""
        self.high = max(self.high, price)
        self.low = min(self.low, price)
        self.volume += quantity
        self.turnover += price * quantity
        self.trade_count += 1

    @property
    def vwap(self) -> float:
        """The volume-weighted mean price, in ticks."""
        return self.turnover / self.volume

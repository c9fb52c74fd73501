"""Candles of Coinbase: five minutes of one product's trades, as one connection was told them."""

from collections.abc import Iterable

from fluxforge_simulator.market.instrument import Instrument
from fluxforge_simulator.market.market import Trade

_WIDTH_S = 300
_NS_PER_S = 1_000_000_000


class Candle:
    """The candle that grows now. It begins at the last price, with no volume."""

    def __init__(self, price: int, now_ns: int) -> None:
        self.has_changed = False
        self._start_s = self._volume = 0
        self._open = self._close = self._high = self._low = price
        self._begin(price, now_ns)

    def take(self, trades: Iterable[Trade], now_ns: int) -> None:
        """Let trades into it, or into the one after it where its time is over."""
        for trade in trades:
            if now_ns // _NS_PER_S >= self._start_s + _WIDTH_S:
                self._begin(trade.price, now_ns)
            self._close = trade.price
            self._high, self._low = max(self._high, trade.price), min(self._low, trade.price)
            self._volume += trade.quantity
            self.has_changed = True

    def entry(self, instrument: Instrument, product: str) -> dict[str, str]:
        """Describe it; from now on it has not changed."""
        self.has_changed = False
        prices = {"high": self._high, "low": self._low, "open": self._open, "close": self._close}
        return {
            "start": str(self._start_s),
            **{name: instrument.price(price) for name, price in prices.items()},
            "volume": instrument.quantity(self._volume),
            "product_id": product,
        }

    def _begin(self, price: int, now_ns: int) -> None:
        self._start_s = now_ns // _NS_PER_S // _WIDTH_S * _WIDTH_S
        self._open = self._close = self._high = self._low = price
        self._volume = 0

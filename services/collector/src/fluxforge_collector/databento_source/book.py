"""An order book kept order by order, and read as price levels. Pure.

Prices and sizes come as the whole numbers of the venue's binary records, prices in units of which `unit` make one.
"""

from bisect import bisect_left, insort
from dataclasses import dataclass, field
from typing import NamedTuple

Level = tuple[float, float]
"""(price, size) as records have them."""


class UnknownOrderError(Exception):
    """A cancel of an order that is not in the book: orders were missed, the book is not the venue's any more."""

    def __init__(self, order_id: int) -> None:
        super().__init__(f"order {order_id} is not in the book")


class _Order(NamedTuple):
    is_bid: bool
    price: int
    size: int


@dataclass(slots=True)
class _Side:
    """One side's levels by price, the best first. `sign` -1: the highest price is.

    Levels are kept as they are told: a book is told far more often than a level changes.
    """

    unit: int
    sign: int
    sizes: dict[int, int] = field(default_factory=dict)
    ranks: list[int] = field(default_factory=list)
    levels: dict[int, Level] = field(default_factory=dict)

    def change(self, price: int, by_size: int) -> None:
        """Grow or shrink a level; without any size it goes."""
        rank = self.sign * price
        size = self.sizes.get(rank, 0) + by_size
        if size > 0:
            if rank not in self.sizes:
                insort(self.ranks, rank)
            self.sizes[rank] = size
            self.levels[rank] = (price / self.unit, float(size))
            return
        del self.sizes[rank], self.levels[rank]
        del self.ranks[bisect_left(self.ranks, rank)]

    def best(self, depth: int) -> list[Level]:
        levels = self.levels
        return [levels[rank] for rank in self.ranks[:depth]]


class OrderBook:
    """The resting orders of one instrument on one venue."""

    __slots__ = ("_asks", "_bids", "_orders", "_unit")

    def __init__(self, unit: int = 1) -> None:
        self._unit = unit
        self.clear()

    def __len__(self) -> int:
        """Return the number of resting orders."""
        return len(self._orders)

    def clear(self) -> None:
        """Forget every order."""
        self._orders: dict[int, _Order] = {}
        self._bids, self._asks = _Side(self._unit, -1), _Side(self._unit, 1)

    def add(self, order_id: int, price: int, size: int, *, is_bid: bool) -> None:
        """Enter an order; one of the same id is replaced."""
        self._remove(order_id)
        if size > 0:
            self._orders[order_id] = _Order(is_bid, price, size)
            self._side(is_bid).change(price, size)

    def cancel(self, order_id: int, size: int) -> None:
        """Take a size off an order; with nothing left it goes.

        Raises:
            UnknownOrderError: There is no such order.
        """
        order = self._orders.get(order_id)
        if order is None:
            raise UnknownOrderError(order_id)
        if size >= order.size:
            self._remove(order_id)
            return
        self._orders[order_id] = order._replace(size=order.size - size)
        self._side(order.is_bid).change(order.price, -size)

    def replace_side(self, price: int | None, size: int, *, is_bid: bool) -> None:
        """Make one level the whole side, or none: of venues that publish nothing but their best."""
        self._orders = {key: order for key, order in self._orders.items() if order.is_bid is not is_bid}
        side = _Side(self._unit, -1 if is_bid else 1)
        if price is not None and size > 0:
            side.change(price, size)
        if is_bid:
            self._bids = side
        else:
            self._asks = side

    def bids(self, depth: int) -> list[Level]:
        """Return the `depth` highest bids."""
        return self._bids.best(depth)

    def asks(self, depth: int) -> list[Level]:
        """Return the `depth` lowest asks."""
        return self._asks.best(depth)

    def _side(self, is_bid: bool) -> _Side:  # noqa: FBT001 - which of two
        return self._bids if is_bid else self._asks

    def _remove(self, order_id: int) -> None:
        order = self._orders.pop(order_id, None)
        if order is not None:
            self._side(order.is_bid).change(order.price, -order.size)

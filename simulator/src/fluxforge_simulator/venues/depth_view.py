"""Depth views: the book that one client holds, the market's cut at a depth."""

from fluxforge_simulator.market.ladder import Side
from fluxforge_simulator.market.market import Market

Levels = list[tuple[int, int]]


class DepthView:
    """One client's book. Levels are (ticks, lots), the touch first.

    A level pushed out of the depth is told as gone, unless the client cuts its book itself.
    """

    def __init__(self, market: Market, depth: int, *, is_cut_by_client: bool = False) -> None:
        self.market = market
        self.top: dict[Side, Levels] = {}
        self._depth = depth
        self._is_cut_by_client = is_cut_by_client
        self._shown: dict[Side, dict[int, int]] = {}

    def show(self) -> dict[Side, Levels]:
        """Return the whole book, which is what the client holds from now on."""
        self.top = {side: ladder.levels(self._depth) for side, ladder in self.market.ladders.items()}
        self._shown = {side: dict(levels) for side, levels in self.top.items()}
        return self.top

    def changes(self) -> dict[Side, Levels] | None:
        """Return what the client must change, a quantity of 0 for what is gone; None where nothing is different."""
        before, top = self._shown, self.show()
        named: dict[Side, Levels] = {}
        for side, ladder in self.market.ladders.items():
            kept = ladder if self._is_cut_by_client else self._shown[side]
            gone = [(price, 0) for price in before[side] if price not in kept]
            named[side] = gone + [(price, lots) for price, lots in top[side] if before[side].get(price) != lots]
        return named if any(named.values()) else None

"""A made-up book as TWS tells it: rows inserted, updated and deleted by position, a few rows a side."""

import random

from fluxforge_collector.ibkr_source.book import DELETE, INSERT, UPDATE

Row = tuple[int, int, float, float, bool]
"""Position, operation, price, size, whether it is a bid."""


class Ladders:
    """Both sides; the venue keeps more rows than it tells, and tells the next one when one goes."""

    def __init__(self, *, seed: int, rows_max: int) -> None:
        self._chance = random.Random(seed)
        self._rows_max = rows_max
        self._levels: dict[bool, dict[int, int]] = {True: {}, False: {}}

    def sides(self) -> tuple[list[list[float]], list[list[float]]]:
        """Return bids and asks as they are to be seen now."""
        return self._told(is_bid=True), self._told(is_bid=False)

    def change(self) -> list[Row]:
        """Change one level, and return the rows that say so."""
        is_bid = self._chance.random() < 0.5
        levels = self._levels[is_bid]
        before = self._told(is_bid=is_bid)
        price = 100 - self._chance.randrange(12) if is_bid else 101 + self._chance.randrange(12)
        if price in levels and len(levels) > 1 and self._chance.random() < 0.5:
            del levels[price]
        else:
            levels[price] = self._chance.randrange(1, 50)
        return self._rows(before, self._told(is_bid=is_bid), is_bid=is_bid)

    def _told(self, *, is_bid: bool) -> list[list[float]]:
        best_first = sorted(self._levels[is_bid].items(), reverse=is_bid)
        return [[float(price), float(size)] for price, size in best_first[: self._rows_max]]

    def _rows(self, before: list[list[float]], after: list[list[float]], *, is_bid: bool) -> list[Row]:
        prices, kept = [price for price, _ in before], {price for price, _ in after}
        rows: list[Row] = []
        new = [price for price, _ in after if price not in prices]
        gone = [price for price in prices if price not in kept]
        pushed_out = len(before) == self._rows_max and bool(new) and gone == [before[-1][0]] and new[0] != after[-1][0]
        if gone and not pushed_out:
            rows.append((prices.index(gone[0]), DELETE, 0.0, 0.0, is_bid))
        for position, (price, size) in enumerate(after):
            if price in new:
                rows.append((position, INSERT, price, size, is_bid))
            elif [price, size] not in before:
                rows.append((position, UPDATE, price, size, is_bid))
        if pushed_out and self._chance.random() < 0.5:
            rows.append((self._rows_max, DELETE, 0.0, 0.0, is_bid))  # TWS may say so or not
        return rows

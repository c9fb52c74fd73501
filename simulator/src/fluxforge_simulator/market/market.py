"""Markets: one seeded book with the trades that move it.

The same seed gives the same sequence of updates and trades, whatever the clock says and whoever listens. The book is
never crossed, has `levels` levels on each side after every step, and each trade prints at the touch that the step
before left behind. Time is not known here: the caller says when to step.
"""

import math
import random
from collections import deque
from collections.abc import Iterator
from typing import NamedTuple

from fluxforge_simulator.market.instrument import Instrument
from fluxforge_simulator.market.ladder import Ladder, Side
from fluxforge_simulator.market.statistics import DayStatistics

_TRADES_KEPT = 1000
_GAP_BPS = 0.3
_FAIR_STEP_BPS = 0.25
_LEAN_BPS = 1.5
_EXCESS_MAX = 0.3
_LEVEL_VALUE_MEDIAN = 4000.0
_QUOTES_PER_STEP = (3, 10)
_RESIZED_SHARE = 0.7
_CANCELLED_SHARE = 0.15
_WHOLE_LEVEL_SHARE = 0.4
_LAST_PRINT_SHARE = 0.6
_PRINTS_MAX = 3
_QUOTED_DEPTH = 12
_VACANCY_TRIES = 4
_SPREAD_MAX = 2
_CHURN_PER_DRIFT = 25
_CHURN_DRIFTS_FROM = 4


class Trade(NamedTuple):
    """One print. `taker` is the side that took: a BID taker bought. `at_ns`: when, UTC; 0 without a clock."""

    trade_id: int
    price: int
    quantity: int
    taker: Side
    at_ns: int = 0


class Change(NamedTuple):
    """The new quantity of one level; 0 means that it is gone."""

    side: Side
    price: int
    quantity: int


class Step(NamedTuple):
    """What one step did: trades first, then the levels that differ from the step before, each once.

    The update ids of a market are contiguous over its steps.
    """

    market: "Market"
    trades: tuple[Trade, ...]
    changes: tuple[Change, ...]
    first_update_id: int
    last_update_id: int
    is_touch_moved: bool


class Market:
    """A book and its trades. `trade_share` is the share of steps that begin with trades."""

    def __init__(self, instrument: Instrument, *, seed: str, levels: int = 1000, trade_share: float = 0.3) -> None:
        self.instrument = instrument
        self.levels = levels
        self.ladders = {Side.BID: Ladder(Side.BID), Side.ASK: Ladder(Side.ASK)}
        self.update_id = 0
        self.trade_id = 0
        self.recent: deque[Trade] = deque(maxlen=_TRADES_KEPT)
        self._at_ns = 0
        self._trade_share = trade_share
        self._random = random.Random(seed)  # noqa: S311 - a market, not a secret
        self._churns = 0
        self._changes: dict[tuple[Side, int], int] = {}
        start = max(round(instrument.start_price * 10**instrument.price_decimals), 2 * levels)
        self._gap_mean = max(start * _GAP_BPS / 10_000, 0.3)
        self._fair = float(start)
        self._build(start)
        self.statistics = DayStatistics.begin(start, self._volume_start(), self._random.uniform(-0.02, 0.02))
        self.update_id = self._random.randrange(10**9, 10**10)
        self.trade_id = self._random.randrange(10**8, 10**9)
        self._print(Side.BID, self.ladders[Side.ASK].best, self._size())

    @property
    def touch(self) -> tuple[int, int, int, int]:
        """Best bid, its quantity, best ask, its quantity."""
        bids, asks = self.ladders[Side.BID], self.ladders[Side.ASK]
        return bids.best, bids.quantity(bids.best), asks.best, asks.quantity(asks.best)

    @property
    def last_price(self) -> int:
        """The price of the newest trade; there always is one."""
        return self.recent[-1].price

    def step(self, at_ns: int = 0) -> Step:
        """Trade, quote, and close the spread again; what is traded is traded at `at_ns`."""
        self._at_ns = at_ns
        first, touch = self._begin()
        self._move_fair()
        trades = self._trade() if self._random.random() < self._trade_share else ()
        for _ in range(self._random.randint(*_QUOTES_PER_STEP)):
            self._quote()
        self._close_spread()
        self._restore_depth()
        return self._end(first, touch, trades)

    def churn(self, changes: int) -> Step:
        """Change `changes` levels next to the touch, half on each side, and nothing else: a frame of known width.

        Now and then the touch moves by a level. No trade prints.
        """
        first, touch = self._begin()
        self._churns += 1
        gone = self._drifting() if self._churns % _CHURN_PER_DRIFT == 0 and changes >= _CHURN_DRIFTS_FROM else None
        for side, count in ((Side.BID, changes // 2), (Side.ASK, changes - changes // 2)):
            resized = count - 1 if gone is side.opposite else count
            for price, _ in self.ladders[side].levels(resized):
                self._set(side, price, self._size())
        if gone is not None:
            self._set(gone, self.ladders[gone].best, 0)
            self._set(gone.opposite, self.ladders[gone].best - gone.value, self._size())
        return self._end(first, touch, ())

    def _begin(self) -> tuple[int, tuple[int, int, int, int]]:
        self._changes = {}
        return self.update_id + 1, self.touch

    def _end(self, first: int, touch: tuple[int, int, int, int], trades: tuple[Trade, ...]) -> Step:
        if not self._changes:
            best = self.ladders[Side.BID].best
            self._set(Side.BID, best, self.ladders[Side.BID].quantity(best) + 1)
        changes = tuple(Change(side, price, quantity) for (side, price), quantity in self._changes.items())
        return Step(self, trades, changes, first, self.update_id, touch != self.touch)

    def _move_fair(self) -> None:
        self._fair *= 1.0 + self._random.gauss(0.0, _FAIR_STEP_BPS) / 10_000

    def _is_upward(self) -> bool:
        """Draw a direction: the further the touch has come from the fair price, the surer it goes back."""
        middle = (self.ladders[Side.BID].best + self.ladders[Side.ASK].best) / 2
        lean = (self._fair / middle - 1.0) * 10_000 / _LEAN_BPS
        return self._random.random() < 0.5 + 0.5 * math.tanh(lean)

    def _set(self, side: Side, price: int, quantity: int) -> None:
        self.ladders[side].put(price, quantity)
        self._changes[side, price] = quantity
        self.update_id += 1

    def _size(self) -> int:
        value = self._random.lognormvariate(math.log(_LEVEL_VALUE_MEDIAN), 1.1)
        return self._lots(value)

    def _volume_start(self) -> int:
        value = self._random.uniform(2e8, 2e9)
        return self._lots(value)

    def _lots(self, value: float) -> int:
        lots_per_value: float = 10**self.instrument.quantity_decimals / self.instrument.start_price
        return max(1, round(value * lots_per_value))

    def _gaps(self) -> Iterator[int]:
        index = 0
        while True:
            index += 1
            yield 1 + int(self._random.expovariate(1.0 / (self._gap_mean * (1 + index / 400))))

    def _build(self, start: int) -> None:
        for side in (Side.BID, Side.ASK):
            price = start if side is Side.BID else start + 1
            for _, gap in zip(range(self.levels), self._gaps(), strict=False):
                if price < 1:
                    break
                self.ladders[side].put(price, self._size())
                price += side.value * gap

    def _print(self, taker: Side, price: int, quantity: int) -> Trade:
        self.trade_id += 1
        trade = Trade(self.trade_id, price, quantity, taker, self._at_ns)
        self.recent.append(trade)
        self.statistics.take(price, quantity)
        return trade

    def _trade(self) -> tuple[Trade, ...]:
        """Let one taker hit the touch; it takes at most the level, so that every print is at the touch."""
        taker = Side.BID if self._is_upward() else Side.ASK
        side = taker.opposite
        ladder = self.ladders[side]
        price = ladder.best
        available = ladder.quantity(price)
        taken = available if self._random.random() < _WHOLE_LEVEL_SHARE else self._random.randint(1, available)
        prints: list[Trade] = []
        left = taken
        while left:
            is_last = len(prints) == _PRINTS_MAX - 1 or self._random.random() < _LAST_PRINT_SHARE
            part = left if is_last else self._random.randint(1, left)
            prints.append(self._print(taker, price, part))
            left -= part
        self._set(side, price, available - taken)
        return tuple(prints)

    def _quote(self) -> None:
        side = self._random.choice((Side.BID, Side.ASK))
        ladder = self.ladders[side]
        price, draw = ladder.price_at(self._index(ladder)), self._random.random()
        if draw < _RESIZED_SHARE:
            self._set(side, price, self._size())
        elif draw < _RESIZED_SHARE + _CANCELLED_SHARE:
            self._set(side, price, 0)
        else:
            self._set(side, self._vacancy(side), self._size())

    def _vacancy(self, side: Side) -> int:
        """Find a price for a new level: a gap near the touch where there is one, behind the last level where not."""
        ladder = self.ladders[side]
        gap = next(self._gaps())
        for _ in range(_VACANCY_TRIES):
            index = self._index(ladder)
            price, beyond = ladder.price_at(index), ladder.price_at(index + 1)
            room = abs(beyond - price) - 1
            if room >= gap + gap // 2:
                return price + side.value * gap
        return ladder.worst + side.value * gap

    def _index(self, ladder: Ladder) -> int:
        """Draw a level: the nearer to the touch, the likelier; never the last."""
        return min(int(self._random.expovariate(1 / _QUOTED_DEPTH)), len(ladder) - 2)

    def _close_spread(self) -> None:
        bids, asks = self.ladders[Side.BID], self.ladders[Side.ASK]
        while asks.best - bids.best > _SPREAD_MAX:
            step = self._random.choice((1, 1, 1, 1, _SPREAD_MAX))
            if self._is_upward():
                self._improve(Side.BID, asks.best - step)
            else:
                self._improve(Side.ASK, bids.best + step)

    def _improve(self, side: Side, price: int) -> None:
        """Put a new touch: a quote that moves, unless it comes from afar, lest levels crowd behind the touch."""
        old = self.ladders[side].best
        if abs(price - old) < self._gap_mean:
            self._set(side, old, 0)
        self._set(side, price, self._size())

    def _restore_depth(self) -> None:
        for side, ladder in self.ladders.items():
            while len(ladder) > self.levels:
                self._set(side, ladder.worst, 0)
            while len(ladder) < self.levels:
                self._set(side, self._vacancy(side), self._size())

    def _drifting(self) -> Side:
        """Return the side whose touch goes next: towards the fair price, unless that side runs out of levels."""
        self._move_fair()
        excess = (len(self.ladders[Side.ASK]) - len(self.ladders[Side.BID])) / self.levels
        is_upward = excess > 0 if abs(excess) > _EXCESS_MAX else self._is_upward()
        return Side.ASK if is_upward else Side.BID

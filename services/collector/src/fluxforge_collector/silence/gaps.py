"""Gaps: what a feed's pauses usually are, in bounded memory, the older ones slowly forgotten. Pure.

A histogram over a geometric grid, each gap entered with a weight that grows with what has passed meanwhile, which is
the same as all older ones fading. A mean is kept beside it: of a few gaps it says more about the tail than their tail.
"""

from math import log
from typing import Final

from fluxforge_collector.silence.limits import NS_PER_S

HALF_LIFE_NS: Final = 1_800 * NS_PER_S
"""After this long a gap counts half: a night is learned while it falls."""
_HALF_LIFE_GAPS: Final = 128
"""But no sooner than after so many gaps: a feed that speaks every ten minutes would forget all it knows."""
_QUANTILE: Final = 0.99
_POISSON_TAIL: Final = -log(1 - _QUANTILE)
"""The quantile of a Poisson feed's gaps over their mean. No tail lighter than that is believed."""
_REMEMBERED: Final = 1 / 16
"""The longest gap is that of the last four half-lives."""
_RATIO: Final = 1.25
_LOG_RATIO: Final = log(_RATIO)
_BUCKETS: Final = 160
_EXPONENT_MAX: Final = 64.0
_LOOK_EVERY: Final = 16


class Gaps:
    """The gaps of one feed, or counts in their place: positive numbers of any one unit; `known` counts them all."""

    __slots__ = ("_buckets", "_exponent", "_longest", "_looked", "_sum", "_tail", "_unit", "_weight", "known")

    def __init__(self, unit: float) -> None:
        """Make an empty one; what is shorter than `unit` is as good as `unit`."""
        self._unit = unit
        self._buckets = [0.0] * _BUCKETS
        self._exponent = 0.0
        self._sum = 0.0
        self._weight = 0.0
        self._tail = 0.0
        self._longest = 0.0
        self._looked = -_LOOK_EVERY
        self.known = 0

    def add(self, gap: float, passed_ns: int) -> None:
        """Learn one gap, at the end of `passed_ns` in which the older ones grew older."""
        self._exponent += min(passed_ns / HALF_LIFE_NS, 1 / _HALF_LIFE_GAPS)
        if self._exponent > _EXPONENT_MAX:
            self._rescale()
        weight = 2.0**self._exponent
        self._buckets[self._bucket(gap)] += weight
        self._sum += weight * gap
        self._weight += weight
        self.known += 1
        self._longest = max(self._longest, gap)

    @property
    def usual(self) -> float:
        """What 99 of 100 gaps do not exceed, as of the last few gaps; 0 while none is known."""
        self._look()
        return self._tail

    @property
    def longest(self) -> float:
        """The longest gap that is not forgotten yet, to within the grid; 0 while none is known."""
        self._look()
        return self._longest

    def _look(self) -> None:
        """Work out anew what the histogram says, unless that was done a few gaps ago."""
        if self.known - self._looked < min(_LOOK_EVERY, 1 + self._looked // _LOOK_EVERY) or not self._weight:
            return
        self._looked = self.known
        least = _REMEMBERED * 2.0**self._exponent
        top = next((place for place in range(_BUCKETS - 1, -1, -1) if self._buckets[place] >= least), 0)
        self._longest = self._edge(top)
        self._tail = max(self._quantile(top), _POISSON_TAIL * self._sum / self._weight)

    def _quantile(self, top: int) -> float:
        above = sum(self._buckets[top + 1 :])
        allowed = (1 - _QUANTILE) * self._weight
        for place in range(top, -1, -1):
            above += self._buckets[place]
            if above > allowed:
                return self._edge(place)
        return self._unit

    def _bucket(self, gap: float) -> int:
        if gap <= self._unit:
            return 0
        return min(_BUCKETS - 1, 1 + int(log(gap / self._unit) / _LOG_RATIO))

    def _edge(self, place: int) -> float:
        return float(self._unit * _RATIO**place)

    def _rescale(self) -> None:
        scale = 2.0**-self._exponent
        self._buckets = [weight * scale for weight in self._buckets]
        self._sum *= scale
        self._weight *= scale
        self._exponent = 0.0

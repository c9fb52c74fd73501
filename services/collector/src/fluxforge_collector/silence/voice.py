"""Voice: when something that speaks was last heard, how long it may be silent, and what was done about it. Pure.

A feed is one voice; all feeds of a connection together are another.
"""

from typing import Final

from fluxforge_collector.silence.gaps import Gaps
from fluxforge_collector.silence.limits import NS_PER_S, SilenceLimits

ALONE: Final = 6
"""Times the usual gap that silence alone must last. Poisson arrivals exceed it once in 1e11 gaps."""
SUPPORTED: Final = 4
"""The same where other channels of the symbol speak on, more than they ever did within such a gap: once in 1e7."""
_LONGEST_ALONE: Final = 2.0
_LONGEST_SUPPORTED: Final = 1.25
_KNOWN_MIN: Final = 30
_AROUND_MIN: Final = 3
_RETRY_NS_MIN: Final = 10 * NS_PER_S
_DOUBLINGS_MAX: Final = 16
_ANSWER_NS_MAX: Final = 30 * NS_PER_S
"""So long a remedy may take to be answered: by a whole book, the latest trades, whatever a new subscription brings."""


class Voice:
    """One voice. Times are ns of one clock that never falls.

    `tries` counts remedies since it last spoke of itself: what answers a remedy shows no stream behind it. `count` is
    how many records it ever brought.
    """

    __slots__ = (
        "_acted_ns",
        "_answered",
        "_around",
        "_counted",
        "_gaps",
        "_grace_ns",
        "_since_ns",
        "count",
        "last_ns",
        "tries",
    )

    def __init__(self, at_ns: int) -> None:
        self._gaps = Gaps(NS_PER_S / 100)
        self._around = Gaps(1)
        self._since_ns = at_ns
        self._grace_ns = 0
        self._acted_ns = 0
        self._answered = False
        self._counted = 0
        self.count = 0
        self.last_ns: int | None = None
        self.tries = 0

    def heard(self, at_ns: int, counted: int, limits: SilenceLimits) -> None:
        """Take note that it speaks; `counted` is what the symbol's other channels have ever brought until now."""
        is_answer = self.tries > 0 and not self._answered and self._tried_ns(at_ns) <= _ANSWER_NS_MAX + self._grace_ns
        if self.last_ns is not None and not is_answer:
            self._learn(at_ns, counted, limits)
        self.last_ns = self._since_ns = at_ns
        self._counted = counted
        self._grace_ns = 0
        self._answered = is_answer
        if not is_answer:
            self.tries = 0

    def restart(self, at_ns: int, grace_ns: int) -> None:
        """Count its silence anew, and allow for so much more of it: what carried it was replaced."""
        self._since_ns = at_ns
        self._grace_ns = grace_ns

    def act(self, at_ns: int) -> None:
        """Take note that a remedy was begun."""
        self.tries += 1
        self._acted_ns = at_ns
        self._answered = False

    def silent_ns(self, at_ns: int) -> int:
        """Return how long nothing was heard, or since when it is listened to."""
        return at_ns - (self._since_ns if self.last_ns is None else self.last_ns)

    def is_within_floor(self, at_ns: int, limits: SilenceLimits) -> bool:
        """Return whether no limit can be exceeded yet: nearly always, and told without working one out."""
        return limits.fixed_ns is None and not self.tries and at_ns - self._since_ns <= limits.floor_ns

    def around(self, counted: int) -> int:
        """Return how many records of other channels came since it was heard last."""
        return counted - self._counted

    def is_supported(self, counted: int) -> bool:
        """Return whether the symbol's other channels bring more than they would within a gap of its own."""
        return self.around(counted) >= max(_AROUND_MIN, SUPPORTED * self._around.usual)

    def limit_ns(self, limits: SilenceLimits, *, supported: bool) -> int | None:
        """Return the silence that is allowed; None: any, it is quiet by nature or not known well enough."""
        if limits.fixed_ns is not None:
            return limits.fixed_ns
        gaps = self._gaps
        if gaps.known < _KNOWN_MIN:
            return None
        if supported:
            least = max(SUPPORTED * gaps.usual, _LONGEST_SUPPORTED * gaps.longest)
        else:
            least = max(ALONE * gaps.usual, _LONGEST_ALONE * gaps.longest)
        if least > limits.ceiling_ns:
            return None
        return max(limits.floor_ns, int(least))

    def is_over(self, at_ns: int, limit_ns: int, limits: SilenceLimits) -> bool:
        """Return whether it is time for a remedy: the first one, or a further one ever later."""
        if not self.tries:
            return at_ns - self._since_ns > limit_ns + self._grace_ns
        wait_ns = max(limit_ns, _RETRY_NS_MIN) << min(self.tries - 1, _DOUBLINGS_MAX)
        return self._tried_ns(at_ns) > min(wait_ns, limits.ceiling_ns) + self._grace_ns

    def _tried_ns(self, at_ns: int) -> int:
        """Return since when the last remedy could be heard to work: it was begun, its connection stood, it answered."""
        return at_ns - max(self._acted_ns, self._since_ns)

    def _learn(self, at_ns: int, counted: int, limits: SilenceLimits) -> None:
        gap_ns = at_ns - self._since_ns
        if self.tries:
            # What spoke soon after the remedy was healed by it, and its silence was no gap. What did not would have
            # spoken anyway: that is learned, but no single silence makes a limit more than two and a half times as
            # long, which is twice on a grid of quarters.
            limit_ns = self.limit_ns(limits, supported=False)
            if limit_ns is None or self._tried_ns(at_ns) <= self._gaps.usual:
                return
            self._gaps.add(min(gap_ns, limit_ns), gap_ns)
        elif self._since_ns == self.last_ns:
            self._gaps.add(gap_ns, gap_ns)
            self._around.add(self.around(counted), gap_ns)

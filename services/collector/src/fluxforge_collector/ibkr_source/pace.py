"""Pace: the waits that TWS asks for, and how soon a contract may be asked for ticks again. Pure.

Messages are counted by ib_async's client; the rule about ticks it does not know.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Waits:
    """How long things are waited for, in seconds.

    `tick_by_tick_s` lie between two tick-by-tick requests for a contract: the 15 s of TWS, which counts from where
    they arrive, and 1 s for the one to be late and the other not. A session of which nothing came for `keepalive_s` is
    asked for the time, and is dead when that brings nothing for `answer_s`.
    """

    tick_by_tick_s: float = 16.0
    keepalive_s: float = 30.0
    answer_s: float = 10.0


class Pace:
    """The last requests, by contract. Times are of any clock that only rises, in seconds."""

    def __init__(self, interval_s: float) -> None:
        self._interval_s = interval_s
        self._last_s: dict[int, float] = {}

    def ask(self, con_id: int, now_s: float) -> float:
        """Return 0 and count a request as made now, or how long it has to wait."""
        last_s = self._last_s.get(con_id)
        if last_s is not None and now_s < last_s + self._interval_s:
            return last_s + self._interval_s - now_s
        self._last_s[con_id] = now_s
        return 0.0


class Keepalive:
    """Whether a session lives, by what it brings. Times are of any clock that only rises, in seconds."""

    def __init__(self, waits: Waits, now_s: float) -> None:
        self._waits = waits
        self._reads = 0
        self._heard_s = now_s
        self._asked_s: float | None = None

    def is_due(self, reads: int, now_s: float) -> bool:
        """Return whether a sign of life must be asked for now; `reads` of the socket came so far."""
        if reads != self._reads:
            self._reads, self._heard_s, self._asked_s = reads, now_s, None
        if self._asked_s is not None or now_s < self._heard_s + self._waits.keepalive_s:
            return False
        self._asked_s = now_s
        return True

    def is_dead(self, now_s: float) -> bool:
        """Return whether what was asked for did not come."""
        return self._asked_s is not None and now_s >= self._asked_s + self._waits.answer_s

    def next_s(self) -> float:
        """Return when there is something to decide, unless something comes before."""
        if self._asked_s is not None:
            return self._asked_s + self._waits.answer_s
        return self._heard_s + self._waits.keepalive_s

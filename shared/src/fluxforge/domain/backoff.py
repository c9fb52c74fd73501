"""Retry delays: exponential, capped, with full jitter from a passed-in source of chance."""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Backoff:
    """Delays of consecutive failures, in seconds."""

    base_s: float = 0.5
    cap_s: float = 60.0

    def delay_s(self, failures: int, chance: Callable[[], float], *, retry_after_s: float = 0.0) -> float:
        """Return the delay before the next try: uniform in (0, min(cap, base 2^(failures-1))], never below Retry-After.

        Source: Brooker (2015), "Exponential Backoff And Jitter", full jitter.
        """
        exponent = min(max(failures, 1) - 1, 32)
        return max(retry_after_s, min(self.cap_s, self.base_s * 2.0**exponent) * chance())

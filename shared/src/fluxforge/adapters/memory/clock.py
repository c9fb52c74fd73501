"""A clock that stands still until it is told: time in tests and simulation."""

from typing_extensions import override

from fluxforge.ports.clock import Clock


class ManualClock(Clock):
    """Two clocks moved by hand."""

    __slots__ = ("_monotonic_ns", "_wall_ns")

    def __init__(self, wall_ns: int = 0, monotonic_ns: int = 0) -> None:
        self._wall_ns = wall_ns
        self._monotonic_ns = monotonic_ns

    @override
    def wall_ns(self) -> int:
        return self._wall_ns

    @override
    def monotonic_ns(self) -> int:
        return self._monotonic_ns

    def advance(self, ns: int) -> None:
        """Let time pass: both clocks move, forward only."""
        if ns < 0:
            raise ValueError(f"time passes forward: expected ns >= 0, was {ns}")
        self._wall_ns += ns
        self._monotonic_ns += ns

    def step_wall(self, ns: int) -> None:
        """Set the wall clock forward or back, as an operator or NTP does; monotonic time does not notice."""
        self._wall_ns += ns

"""The clock port: two clocks that are never mixed."""

from typing import Protocol


class Clock(Protocol):
    """Wall time stamps what happened; monotonic time measures how long it took."""

    def wall_ns(self) -> int:
        """Return ns since the epoch, UTC; may step either way."""
        ...

    def monotonic_ns(self) -> int:
        """Return ns of a clock that never steps; its zero means nothing."""
        ...

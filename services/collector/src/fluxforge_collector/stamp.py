"""Stamps: the capture times of a lane, strictly rising, from a wall clock that may step.

The wall clock is watched against the monotonic one: a step of either direction is reported once and taken as the new
anchor. After a backward step stamps hold at +1 ns until the wall clock has caught up. Nothing is ever stamped twice.
"""

from collections.abc import Callable
from typing import Final

from fluxforge.ports.clock import Clock

STEP_NS_MIN: Final = 50_000_000
"""What the two clocks may differ by before it counts as a step; slewing stays far below."""

BEHIND_NS_MAX: Final = 60_000_000_000
"""How far behind a lane's last message a collector may still start."""


class Stamper:
    """The clock of one lane. `last_ns` is the capture time given last, at first that of the lane's last message."""

    __slots__ = ("_clock", "_offset_ns", "_on_step", "last_ns")

    def __init__(self, clock: Clock, last_ns: int, on_step: Callable[[int], None]) -> None:
        self._clock = clock
        self._on_step = on_step
        self._offset_ns = clock.wall_ns() - clock.monotonic_ns()
        self.last_ns = last_ns

    def read(self) -> int:
        """Return the wall time now, ns UTC; a step since the last call is reported first."""
        clock = self._clock
        monotonic_ns = clock.monotonic_ns()
        wall_ns = clock.wall_ns()
        step_ns = wall_ns - monotonic_ns - self._offset_ns
        if -STEP_NS_MIN < step_ns < STEP_NS_MIN:
            return wall_ns
        # Being scheduled away between the two readings looks like a step forward; a third reading tells.
        if step_ns > 0 and wall_ns - clock.monotonic_ns() - self._offset_ns < STEP_NS_MIN:
            return wall_ns
        self._offset_ns = wall_ns - monotonic_ns
        self._on_step(step_ns)
        return wall_ns

    def follow(self) -> None:
        """Follow slewing: take the clocks' present difference as normal, unless it is a step."""
        offset_ns = self._clock.wall_ns() - self._clock.monotonic_ns()
        if abs(offset_ns - self._offset_ns) < STEP_NS_MIN:
            self._offset_ns = offset_ns

    def rise(self, at_ns: int) -> int:
        """Return the capture time of what enters the lane now and was stamped `at_ns`."""
        last_ns = self.last_ns
        self.last_ns = last_ns = at_ns if at_ns > last_ns else last_ns + 1
        return last_ns

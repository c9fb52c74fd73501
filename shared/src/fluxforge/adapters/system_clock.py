"""The system's clocks, as they are: wall time may step, monotonic time never does."""

import time

from typing_extensions import override

from fluxforge.ports.clock import Clock


class SystemClock(Clock):
    """The two clocks of this machine."""

    __slots__ = ()

    @override
    def wall_ns(self) -> int:
        return time.time_ns()  # noqa: TID251 - this adapter is the Clock everybody else takes

    @override
    def monotonic_ns(self) -> int:
        return time.monotonic_ns()

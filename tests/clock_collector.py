"""A collector whose clocks are set off, and may run faster: recordings are captured as if it were their own time."""

import sys
import time
from pathlib import Path

from fluxforge.domain.lane import Lane
from fluxforge.runtime import logs
from fluxforge.runtime.lifecycle import Shutdown, run
from fluxforge.runtime.settings import load
from fluxforge_collector.main import collect


class OffsetClock:
    """The system's clocks, the wall clock begun at another time, both running `speed` times as fast."""

    def __init__(self, start_ns: int, speed: int) -> None:
        self._start_ns = start_ns
        self._speed = speed
        self._began_ns = time.monotonic_ns()

    def wall_ns(self) -> int:
        return self._start_ns + (time.monotonic_ns() - self._began_ns) * self._speed

    def monotonic_ns(self) -> int:
        return time.monotonic_ns() * self._speed


def main(config: str, exchange: str, start_ns: str, speed: str = "1") -> int:
    settings = load(Path(config))
    logs.configure("collector", level="INFO", log_format="json")

    # Begun here, when everything is imported: how long that takes does not move the recording in time.
    clock = OffsetClock(int(start_ns), int(speed))

    async def body(shutdown: Shutdown) -> None:
        await collect(settings, Lane("ccxt", exchange, "0of1"), clock, shutdown)

    return run("collector", body, parent_pipe=True)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))

"""A collector whose wall clock is set off: recordings are captured as if it were their own time."""

import sys
import time
from pathlib import Path

from fluxforge.runtime import logs
from fluxforge.runtime.lifecycle import Shutdown, run
from fluxforge.runtime.settings import load
from fluxforge_collector.main import collect


class OffsetClock:
    """The system's clocks, the wall clock moved by a fixed number of ns."""

    def __init__(self, offset_ns: int) -> None:
        self._offset_ns = offset_ns

    def wall_ns(self) -> int:
        return time.time_ns() + self._offset_ns

    def monotonic_ns(self) -> int:
        return time.monotonic_ns()


def main(config: str, exchange: str, start_ns: str) -> int:
    settings = load(Path(config))
    logs.configure("collector", level="INFO", log_format="json")

    # Measured here, when everything is imported: how long that takes does not move the recording in time.
    clock = OffsetClock(int(start_ns) - time.time_ns())

    async def body(shutdown: Shutdown) -> None:
        await collect(settings, exchange, "0of1", clock, shutdown)

    return run("collector", body)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))

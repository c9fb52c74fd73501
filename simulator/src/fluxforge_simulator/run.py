"""One run of the simulator as a command: what stands on stdout and stderr, and with which code it ends."""

import asyncio
import signal
import sys
from collections import Counter

import orjson
import uvloop

from fluxforge_simulator.errors import OptionError
from fluxforge_simulator.frame import Kind
from fluxforge_simulator.ledger import Ledger
from fluxforge_simulator.options import SimulateOptions
from fluxforge_simulator.simulator import Simulator

_EXIT_USAGE = 2


def simulate(options: SimulateOptions) -> int:
    """Run until SIGTERM or SIGINT, or with `once` until everything has been played; return the exit code.

    The first line on stdout is `{"port": N}`. It blocks and runs an event loop of its own: 0 after a clean end, 2
    where an option cannot be used, with one line on stderr that says why.
    """
    try:
        return uvloop.run(_run(options))
    except OptionError as error:
        sys.stderr.write(f"simulate: {error}\n")
        return _EXIT_USAGE


async def _run(options: SimulateOptions) -> int:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    try:
        async with Simulator(options) as simulator:
            sys.stdout.write(orjson.dumps({"port": simulator.port}).decode().replace(":", ": ") + "\n")
            sys.stdout.flush()
            await _first(stop, simulator.finished if options.once else None)
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)
    if options.recordings:
        sys.stderr.write(_summary(simulator.ledger) + "\n")
    return 0


def _summary(ledger: Ledger) -> str:
    kinds: Counter[str] = Counter()
    for (kind, _, _), count in ledger.counts.items():
        kinds[kind] += count
    return f"simulate: played {kinds[Kind.DATA] + kinds[Kind.SNAPSHOT]} frames, skipped {kinds[Kind.SKIPPED]}"


async def _first(stop: asyncio.Event, finished: asyncio.Event | None) -> None:
    waits = {asyncio.ensure_future(event.wait()) for event in (stop, finished) if event is not None}
    try:
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()

"""`python -m fluxforge_simulator`: the options of one run as arguments."""

import argparse
import os
import signal
import sys
import threading
from pathlib import Path
from typing import NoReturn

from typing_extensions import override

from fluxforge_simulator.options import SimulateOptions
from fluxforge_simulator.run import simulate
from fluxforge_simulator.venues.catalog import VENUES


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one line."""

    @override
    def error(self, message: str) -> NoReturn:
        self.exit(2, f"simulate: {message}\n")


def _speed(text: str) -> float | None:
    if text == "max":
        return None
    try:
        return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r}: expected a number above 0, or max") from None


def _end_with_parent() -> None:
    while os.read(sys.stdin.fileno(), 4096):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


def main(arguments: list[str], prog: str = "fluxforge_simulator") -> int:
    """Read the arguments and run; return the exit code, or raise SystemExit where they cannot be read."""
    defaults = SimulateOptions()
    parser = _Parser(
        prog=prog,
        description=f"An exchange on loopback: made-up markets of {', '.join(sorted(VENUES))}, "
        'or recordings of real ones. The first line printed is {"port": N}; '
        "point an exchange at it with `via: 127.0.0.1:N`.",
    )
    parser.add_argument("--recording", type=Path, action="append", default=[], help="play this file; may be repeated")
    parser.add_argument("--exchange", help="market mode: this venue alone; recordings: whose they are")
    parser.add_argument("--markets", type=Path, help="the market list that a recording lacks, as the venue answers it")
    parser.add_argument("--speed", type=_speed, default=defaults.speed, help="multiple of the pace, or max")
    parser.add_argument("--host", default=defaults.host, help="where to listen; 0.0.0.0 in a container")
    parser.add_argument("--port", type=int, default=defaults.port, help="0 takes a free one")
    parser.add_argument("--ledger", type=Path, help="write what was sent to this NDJSON file")
    parser.add_argument("--once", action="store_true", help="end when the recording has been played and heard")
    parser.add_argument("--settle", type=float, default=defaults.settle_s, help="seconds after the last subscription")
    parser.add_argument("--wait-for", type=int, help="begin as soon as this many feeds are subscribed")
    parser.add_argument("--seed", type=int, default=defaults.seed, help="of the made-up markets")
    parser.add_argument("--hostile-symbols", action="store_true", help="list names that try to escape, too")
    parser.add_argument("--parent-pipe", action="store_true", help="end when stdin closes")
    given = parser.parse_args(arguments)
    if given.parent_pipe:
        threading.Thread(target=_end_with_parent, daemon=True, name="parent-pipe").start()
    return simulate(
        SimulateOptions(
            recordings=tuple(given.recording),
            exchange=given.exchange,
            markets=given.markets,
            speed=given.speed,
            host=given.host,
            port=given.port,
            ledger=given.ledger,
            once=given.once,
            settle_s=given.settle,
            wait_for=given.wait_for,
            seed=given.seed,
            hostile_symbols=given.hostile_symbols,
        )
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

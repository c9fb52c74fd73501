"""Options: what one run of the simulator is asked to do."""

from dataclasses import dataclass, field
from math import isfinite
from pathlib import Path

from fluxforge_simulator.errors import OptionError

_PORT_MAX = 65_535
MALFORMED_PAYLOAD = b'{"e":"depthUpdate","E":17'


@dataclass(frozen=True, slots=True)
class Pace:
    """How lively markets are at speed 1: depth updates per second of a symbol, and what share of them follow trades."""

    steps_per_s: float = 10.0
    trade_share: float = 0.3


@dataclass(frozen=True, slots=True)
class LoadPlan:
    """A load instead of a believable market: depth updates of one width, on Binance or Binance US.

    It begins once `symbols` depth feeds are subscribed, the REST books asked for after that have been answered, and
    `settle_s` have passed. The frames are encoded before, all but their event time, and go round the symbols in turn.
    `rate_hz` is the total of all symbols; None sends as fast as the socket takes them.
    """

    frames: int
    rate_hz: float | None = None
    levels: int = 20
    symbols: int = 1
    settle_s: float = 0.5


@dataclass(frozen=True, slots=True)
class MalformedFrame:
    """A frame to send into the first connection that subscribes to a feed, `after_s` later."""

    exchange: str
    channel: str
    symbol: str
    after_s: float
    payload: bytes = MALFORMED_PAYLOAD


@dataclass(frozen=True, slots=True)
class Faults:
    """What goes wrong on purpose. Subscriptions to `refused` unified symbols get the venue's own error."""

    refused: frozenset[str] = frozenset()
    malformed: tuple[MalformedFrame, ...] = ()


@dataclass(frozen=True, slots=True)
class SimulateOptions:
    """One run. Without recordings the markets are made up from `seed`.

    `exchange` restricts market mode to one venue and tells whose recording it is where the file does not say.
    `hostile_symbols` lists markets beside the usual ones whose names try to get out of wherever they are written.
    `speed` is a multiple of the recorded pace, or of the markets'; None (recordings alone) means without waiting.
    `pace`, `load` and `faults` have no command-line options: they are for tests and benchmarks.
    """

    recordings: tuple[Path, ...] = ()
    exchange: str | None = None
    markets: Path | None = None
    speed: float | None = 1.0
    host: str = "127.0.0.1"
    port: int = 0
    ledger: Path | None = None
    once: bool = False
    settle_s: float = 1.0
    wait_for: int | None = None
    seed: int = 1
    pace: Pace = field(default_factory=Pace)
    load: LoadPlan | None = None
    faults: Faults = field(default_factory=Faults)
    hostile_symbols: bool = False


def check(options: SimulateOptions) -> None:
    """Refuse values that make no sense, alone or together.

    Raises:
        OptionError: the first of them.
    """
    if options.speed is not None and not (isfinite(options.speed) and options.speed > 0):
        raise OptionError("--speed", str(options.speed), "a number above 0, or max", "not above 0")
    if not 0 <= options.port <= _PORT_MAX:
        raise OptionError("--port", str(options.port), f"0 to {_PORT_MAX}", "outside of it")
    if not (isfinite(options.settle_s) and options.settle_s >= 0):
        raise OptionError("--settle", str(options.settle_s), "seconds, 0 or more", "not that")
    if options.wait_for is not None and options.wait_for < 1:
        raise OptionError("--wait-for", str(options.wait_for), "a number of feeds, 1 or more", "less")
    if options.once and not options.recordings and options.load is None:
        raise OptionError("--once", "", "a --recording, which has an end", "a made-up market, which has none")
    if options.hostile_symbols and options.recordings:
        raise OptionError("--hostile-symbols", "", "a made-up market", "a recording, which lists what it lists")
    if options.speed is None and not options.recordings:
        raise OptionError("--speed", "max", "a --recording, which has an end", "a made-up market, which has none")
    if options.markets is not None and not options.recordings:
        raise OptionError("--markets", str(options.markets), "a --recording to list markets for", "no recording")

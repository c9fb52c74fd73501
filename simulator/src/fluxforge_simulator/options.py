"""Options: what one run of the simulator is asked to do."""

from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Pace:
    """How lively the markets are: depth updates per second of a symbol, and the share of them that follow trades."""

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
    payload: bytes = b'{"e":"depthUpdate","E":17'


@dataclass(frozen=True, slots=True)
class Faults:
    """What goes wrong on purpose. Subscriptions to `refused` unified symbols get the venue's own error."""

    refused: frozenset[str] = frozenset()
    malformed: tuple[MalformedFrame, ...] = ()


@dataclass(frozen=True, slots=True)
class SimulateOptions:
    """One run. Without recordings the markets are made up from `seed`.

    `exchange` restricts market mode to one venue and tells whose recording it is where the file does not say. `speed`
    is a multiple of the recorded pace, None means without waiting. `pace`, `load` and `faults` have no command-line
    options: they are for tests and benchmarks.
    """

    recordings: tuple[Path, ...] = ()
    exchange: str | None = None
    markets: Path | None = None
    speed: float | None = 1.0
    port: int = 0
    ledger: Path | None = None
    once: bool = False
    settle_s: float = 1.0
    wait_for: int | None = None
    seed: int = 1
    pace: Pace = field(default_factory=Pace)
    load: LoadPlan | None = None
    faults: Faults = field(default_factory=Faults)

"""Pacing: how many subscriptions a venue takes in what time, and how many markets in one of them. Pure.

ccxt spaces what one connection sends by its limit for REST requests, and forgets that where it dials anew. So every
watch call of a shard that subscribes waits for its turn, after a reconnect too. The figures are the venues' own where
they were found written down, less a fifth of them for what ccxt sends beside. Those of Bitget, KuCoin and Upbit, and
Bybit's per second, are customary and unproven; any other venue gets a cautious guess.
"""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

_HOUR_S: Final = 3600.0
MARKETS_MAX: Final = 50
"""Markets in one subscription at most; several venues refuse more."""


@dataclass(frozen=True, slots=True)
class Window:
    """So many subscriptions within any so many seconds."""

    count: int
    span_s: float


@dataclass(frozen=True, slots=True)
class Pace:
    """What one venue takes: subscriptions within each of these windows, and markets in one subscription."""

    windows: tuple[Window, ...]
    markets_max: int = MARKETS_MAX


UNLIMITED: Final = Pace(())
"""For what stands in for a venue."""
_CAUTIOUS: Final = Pace((Window(4, 1.0),))
_BINANCE: Final = Pace((Window(4, 1.0),))  # 5 messages a second, then the connection is closed
_BINANCE_FUTURES: Final = Pace((Window(8, 1.0),))  # 10 messages a second
_OKX: Final = Pace((Window(2, 1.0), Window(384, _HOUR_S)))  # 480 an hour; 3 connections a second
_COINBASE: Final = Pace((Window(6, 1.0),))  # 8 unauthenticated messages a second
_BYBIT: Final = Pace((Window(8, 1.0),), markets_max=10)  # 10 topics in a request for spot markets
_KRAKEN: Final = Pace((Window(1, 1.0),))  # no figure, an error when it is too much; ccxt itself sends one a second
_BITGET: Final = Pace((Window(8, 1.0), Window(192, _HOUR_S)))  # 10 messages a second, 240 subscriptions an hour
_KUCOIN: Final = Pace((Window(80, 10.0),))  # 100 messages in 10 s
PACES: Final[Mapping[str, Pace]] = {
    **dict.fromkeys(("binance", "binanceus"), _BINANCE),
    **dict.fromkeys(("binanceusdm", "binancecoinm"), _BINANCE_FUTURES),
    **dict.fromkeys(("okx", "okxus", "myokx"), _OKX),
    **dict.fromkeys(("coinbase", "coinbaseexchange"), _COINBASE),
    **dict.fromkeys(("bybit", "bybiteu", "bybitid"), _BYBIT),
    **dict.fromkeys(("kucoin", "kucoinfutures"), _KUCOIN),
    "kraken": _KRAKEN,
    "bitget": _BITGET,
    "deribit": Pace((Window(16, 1.0),)),  # 20 requests a second
    "upbit": Pace((Window(4, 1.0), Window(80, 60.0))),  # 5 messages a second, 100 a minute
}


def pace_of(exchange: str) -> Pace:
    """Return the pace of a venue by ccxt's id."""
    return PACES.get(exchange, _CAUTIOUS)


class Turns:
    """Gives out turns at a pace, in the order in which they are asked for. Times: s of a clock that never falls."""

    def __init__(self, pace: Pace) -> None:
        self._windows = pace.windows
        self._given: deque[float] = deque(maxlen=max((window.count for window in pace.windows), default=0))

    def renew(self) -> None:
        """Begin the long windows anew: venues count them per connection, and another one was made."""
        kept = min((window.count for window in self._windows), default=0)
        while len(self._given) > kept:
            self._given.popleft()

    def wait_s(self, now_s: float) -> float:
        """Take the next turn; return how long it is until then, s."""
        at_s = max(now_s, self._given[-1]) if self._given else now_s
        for window in self._windows:
            if len(self._given) >= window.count:
                at_s = max(at_s, self._given[-window.count] + window.span_s)
        self._given.append(at_s)
        return at_s - now_s

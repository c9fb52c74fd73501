"""Frames: what the simulator sends, and what each of them is to the ledger.

A frame is complete when it is built: nothing is added to its payload on the way to the socket.
"""

from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """What a line of the ledger stands for."""

    DATA = "data"
    SNAPSHOT = "snapshot"
    ACK = "ack"
    PING = "ping"
    REST = "rest"
    SKIPPED = "skipped"
    DROPPED = "dropped"


class Channel(StrEnum):
    """The channels whose frames are named in the ledger; a venue's other channels keep their own names."""

    ORDERBOOK = "orderbook"
    TRADES = "trades"
    TICKER = "ticker"
    BIDSASKS = "bidsasks"


@dataclass(frozen=True, slots=True, order=True)
class Feed:
    """One channel of one symbol, as a client subscribes to it.

    `symbol` is the unified one (`BTC/USDT`), or the venue's own id where the unified one is not known.
    """

    channel: str
    symbol: str


@dataclass(frozen=True, slots=True)
class Frame:
    """One message to a client. `key` holds the venue's update or trade ids, `fault` what befell it, if anything did."""

    payload: bytes
    kind: Kind
    channel: str | None = None
    symbol: str | None = None
    key: tuple[int | str, ...] = ()
    is_binary: bool = False
    fault: str | None = None


@dataclass(frozen=True, slots=True)
class Reply:
    """The answer to one REST request."""

    body: bytes
    status: int = 200
    channel: str | None = None
    symbol: str | None = None
    key: tuple[int | str, ...] = ()


@dataclass(frozen=True, slots=True)
class Request:
    """One REST request: the venue's host, the path without it, and the query."""

    method: str
    host: str
    path: str
    query: dict[str, str]

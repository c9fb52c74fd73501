"""Databento's binary encoding (DBN), as far as trades and bars of fixed width go."""

import struct
from collections.abc import Iterator
from dataclasses import dataclass

import zstandard

from tests.recorded.recordings import recording

_HEADER = struct.Struct("<BBHIQ")  # length in words of four bytes, type, publisher, instrument, time of the event
_TRADE = struct.Struct("<qIccBBQiI")  # price, size, action, side, flags, depth, time of receipt, delta, sequence
_BAR = struct.Struct("<qqqqQ")
_TRADE_TYPE, _MINUTE_BAR_TYPE = 0x00, 0x21
_PRICE = 1e9


@dataclass(frozen=True)
class DbnTrade:
    """A trade of one instrument; `side` is that of the taker, None where the venue tells none."""

    instrument: int
    recv_ns: int
    price: float
    size: int
    side: str | None


@dataclass(frozen=True)
class DbnBar:
    """An official bar of a minute."""

    instrument: int
    start_ns: int
    open: float
    high: float
    low: float
    close: float
    volume: int


def dbn_trades(name: str) -> list[DbnTrade]:
    found = []
    for kind, instrument, _, body in _records(name):
        assert kind == _TRADE_TYPE
        price, size, action, side, _, _, recv_ns, _, _ = _TRADE.unpack(body)
        assert action == b"T"
        taker = {b"A": "sell", b"B": "buy", b"N": None}[side]
        found.append(DbnTrade(instrument, recv_ns, price / _PRICE, size, taker))
    return found


def dbn_bars(name: str) -> list[DbnBar]:
    found = []
    for kind, instrument, event_ns, body in _records(name):
        assert kind == _MINUTE_BAR_TYPE
        *prices, volume = _BAR.unpack(body)
        found.append(DbnBar(instrument, event_ns, *(price / _PRICE for price in prices), volume))
    return found


def _records(name: str) -> Iterator[tuple[int, int, int, bytes]]:
    with zstandard.ZstdDecompressor().stream_reader(recording(name).open("rb")) as reader:
        body = reader.read()
    assert body[:3] == b"DBN"
    at = 8 + struct.unpack_from("<I", body, 4)[0]
    while at < len(body):
        words, kind, _, instrument, event_ns = _HEADER.unpack_from(body, at)
        yield kind, instrument, event_ns, body[at + _HEADER.size : at + 4 * words]
        at += 4 * words

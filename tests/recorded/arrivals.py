"""Arrivals: when each feed of a recording was heard, and on which connection, whatever the exchange."""

import base64
import gzip
import zlib
from collections.abc import Iterator
from typing import Any, NamedTuple

import orjson
import zstandard

from fluxforge.domain.control import FeedKey
from tests.recorded.recordings import recording

_CONTROL = "control"


class Arrival(NamedTuple):
    """One frame of a feed, `at_ns` ns UTC on a clock that is kept from falling."""

    at_ns: int
    conn: str
    feed: FeedKey


def arrivals(*names: str) -> list[Arrival]:
    """Return the arrivals of several files as of one recording, answers and heartbeats left out."""
    found: list[Arrival] = []
    numbers: dict[int, tuple[str, str]] = {}
    for name in names:
        for at_ns, conn, frame in _frames(name):
            feed = _feed(frame, numbers)
            if feed is not None and _CONTROL not in feed:
                last_ns = found[-1].at_ns if found else 0
                found.append(Arrival(max(at_ns, last_ns), conn, FeedKey(*feed)))
    return found


def _frames(name: str) -> Iterator[tuple[int, str, Any]]:
    if name.endswith(".csv.gz"):
        return _tabular(name)
    return _combined(name) if name.endswith(".gz") else _captured(name)


def _tabular(name: str) -> Iterator[tuple[int, str, Any]]:
    """Yield the rows of a table as the frames they were made of; the first of them stands for all of a time."""
    last = ""
    with gzip.open(recording(name), "rt") as lines:
        for line in lines:
            at, stream, _ = line.split(",", 2)
            if at != last and at.isdigit():
                yield int(at.ljust(19, "0")), "table", {"stream": stream}
            last = at


def _combined(name: str) -> Iterator[tuple[int, str, Any]]:
    with gzip.open(recording(name)) as lines:
        for line in lines:
            at, _, text = line.partition(b" ")
            yield int(at), "combined", orjson.loads(text)


def _captured(name: str) -> Iterator[tuple[int, str, Any]]:
    with zstandard.ZstdDecompressor().stream_reader(recording(name).open("rb")) as reader:
        for line in reader.read().splitlines():
            entry = orjson.loads(line)
            if entry["t"] == "recv":
                text = entry["data"] if "data" in entry else _unpacked(base64.b64decode(entry["b64"]))
                yield round(entry["ts"] * 1e9), entry["conn"], orjson.loads(text)


def _unpacked(raw: bytes) -> bytes:
    return gzip.decompress(raw) if raw[:2] == b"\x1f\x8b" else raw if raw[:1] in b"{[" else zlib.decompress(raw, -15)


def _feed(frame: Any, numbers: dict[int, tuple[str, str]]) -> tuple[str, str] | None:
    """Return (channel, symbol) of a frame that carries data, by where the exchanges put them."""
    if isinstance(frame, list):
        return _listed(frame, numbers)
    if frame.get("event") == "subscribed":
        numbers[frame["chanId"]] = (frame["channel"], frame["symbol"])
        return None
    return _enveloped(frame) or _plain(frame)


def _listed(frame: list[Any], numbers: dict[int, tuple[str, str]]) -> tuple[str, str] | None:
    if isinstance(frame[-1], str):
        return str(frame[-2]), str(frame[-1])  # Kraken v1
    return None if frame[1] == "hb" else numbers.get(frame[0])  # Bitfinex


def _enveloped(frame: dict[str, Any]) -> tuple[str, str] | None:
    if "stream" in frame:  # Binance
        symbol, _, channel = frame["stream"].partition("@")
        return channel, symbol
    if "data" in frame and "arg" in frame:  # OKX, Bitget
        return frame["arg"]["channel"], frame["arg"]["instId"]
    if "topic" in frame and "data" in frame:  # KuCoin, Bybit
        channel, _, symbol = frame["topic"].rpartition(":" if ":" in frame["topic"] else ".")
        return channel, symbol
    if "events" in frame:  # Coinbase
        event = frame["events"][0]
        inner = next((event[name] for name in ("trades", "tickers", "candles") if event.get(name)), [event])[0]
        return frame["channel"], inner.get("product_id", _CONTROL)
    return None


def _plain(frame: dict[str, Any]) -> tuple[str, str] | None:
    if frame.get("type") in {"l2_updates", "trade"} and "symbol" in frame:  # Gemini
        return frame["type"], frame["symbol"]
    if frame.get("method") == "subscription":  # Deribit
        channel, symbol = frame["params"]["channel"].split(".")[:2]
        return channel, symbol
    if frame.get("event") == "update":  # Gate
        found = frame["result"]
        return frame["channel"], found.get("s") or found.get("currency_pair") or found.get("n", "")
    if "ch" in frame:  # HTX
        _, symbol, channel = frame["ch"].split(".", 2)
        return channel, symbol
    if "cd" in frame:  # Upbit
        return frame["ty"], frame["cd"]
    return None

"""The true collector on a source that numbers what it brings: cheap to start, and every record is like no other.

Every record of a feed carries its own seq as its content: a trade's id, a ticker's `last`, a book's best bid, or `n`.
What was made up to the end of a life stands in a mapped file, which outlives a SIGKILL: (seq, stamp) of each feed.

The exchange's `options` tell the rest: `rate_hz` records per second of all feeds together (0: none), `bulk` feeds of
records padded to `bulk_bytes` or to each of `bulk_sizes` in turn, `produced` the directory of those files.
"""

import asyncio
import mmap
import struct
import sys
import time
import types
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from typing import Any

import orjson

from fluxforge.domain.control import Event
from fluxforge.domain.record import Feed
from fluxforge.runtime.settings import Settings
from fluxforge_collector.ccxt_source.settings import venue_settings
from fluxforge_collector.settings import CollectorSettings

CHANNELS = {"watchTrades": "trades", "watchTicker": "ticker", "watchOrderBook": "orderbook"}
BULK = "bulk"
_TICK_S = 0.01
_SLOT = struct.Struct("<QQ")
_BURST_S = 1.0


@dataclass(frozen=True, slots=True)
class Produced:
    """How far a feed's source had come when its process ended."""

    seq: int
    at_ns: int


def produced(directory: Path) -> dict[tuple[str, str, str], Produced]:
    """Return (boot, channel, symbol) -> how far it had come, of every life that subscribed."""
    found = {}
    for path in directory.glob("*.feeds"):
        body = path.with_suffix(".seqs").read_bytes()
        for position, (channel, symbol) in enumerate(orjson.loads(path.read_bytes())):
            seq, at_ns = _SLOT.unpack_from(body, position * _SLOT.size)
            found[path.stem, channel, symbol] = Produced(seq, at_ns)
    return found


class NumberedSource:
    """A source of numbered records at a steady rate; what a busy machine delays comes as a burst."""

    def __init__(self, feeds: Sequence[Feed], options: Mapping[str, Any]) -> None:
        self.feeds = tuple(feeds)
        self.connections = 0
        self._options = options
        self._is_open = True

    @classmethod
    async def prepare(cls, tree: Settings, settings: CollectorSettings, **_rest: object) -> "NumberedSource":
        venue = venue_settings(tree, settings.lane.exchange)
        options = venue.options
        feeds = [
            Feed(settings.lane.source, venue.exchange, CHANNELS[method], market)
            for method, wanted in venue.channels.items()
            for market in wanted.names
        ]
        bulk = [Feed(settings.lane.source, venue.exchange, BULK, f"X{i}/USD") for i in range(options.get("bulk", 0))]
        return cls([*feeds, *bulk], options)

    async def run(self, sink: Any) -> None:
        """Bring records until cancelled."""
        rate_hz = self._options["rate_hz"]
        self.connections = 1
        handles = [sink.feed(feed) for feed in self.feeds]
        sink.note(Event.CONNECTED, handles, conn=1)
        sink.note(Event.SUBSCRIBED, handles, conn=1)
        turns = self._turns(sink, handles)
        due, last = 0.0, time.monotonic()
        while self._is_open:
            await asyncio.sleep(_TICK_S)
            now = time.monotonic()
            due += min(now - last, _BURST_S) * rate_hz
            last = now
            while due >= 1 and self._is_open:
                next(turns)
                due -= 1

    async def close(self) -> None:
        """Bring nothing more."""
        self._is_open = False
        self.connections = 0

    def _turns(self, sink: Any, handles: Sequence[Any]) -> Iterator[None]:
        directory = Path(self._options["produced"])
        directory.mkdir(parents=True, exist_ok=True)
        line = handles[0].line(conn=0, seq=0, capture_ns=0, exchange_ms=None, data=b"0")
        boot = orjson.loads(line)["boot"]
        seqs = directory / f"{boot}.seqs"
        seqs.write_bytes(bytes(_SLOT.size * len(handles)))
        (directory / f"{boot}.feeds").write_bytes(orjson.dumps([[h.key.channel, h.key.symbol] for h in handles]))
        with seqs.open("r+b") as file:
            mapped = mmap.mmap(file.fileno(), 0)
        sizes = self._options.get("bulk_sizes") or [self._options["bulk_bytes"]]
        paddings = cycle(["x" * size for size in sizes])
        for position, handle in cycle(enumerate(handles)):
            at_ns = sink.now()
            seq = handle.seq + 1
            data = _DATA[handle.key.channel](seq, next(paddings) if handle.key.channel == BULK else "")
            sink.record(handle, data, exchange_ms=at_ns // 1_000_000, at_ns=at_ns, conn=1)
            _SLOT.pack_into(mapped, position * _SLOT.size, handle.seq, at_ns)
            yield


def _trades(seq: int, _padding: str) -> bytes:
    # Two trades of one update: the second's id is told apart by its sign.
    return b'[{"id":"%d","price":%d,"amount":1,"side":"buy"},{"id":"-%d","price":%d,"amount":1,"side":"sell"}]' % (
        seq,
        seq,
        seq,
        seq,
    )


def _ticker(seq: int, _padding: str) -> bytes:
    return b'{"last":%d,"bid":%d,"ask":%d}' % (seq, seq, seq + 1)


def _book(seq: int, _padding: str) -> bytes:
    return b'{"bids":[[%d,1],[%d,1]],"asks":[[%d,1],[%d,1]],"nonce":%d}' % (seq + 1, seq, seq + 2, seq + 3, seq)


def _bulk(seq: int, padding: str) -> bytes:
    return b'{"n":%d,"x":"%b"}' % (seq, padding.encode())


_DATA: dict[str, Callable[[int, str], bytes]] = {
    "trades": _trades,
    "ticker": _ticker,
    "orderbook": _book,
    BULK: _bulk,
}


def main() -> int:
    """Run the collector's own main with this source in place of ccxt's, which takes a second to import."""
    stand_in = types.ModuleType("fluxforge_collector.ccxt_source.source")
    stand_in.CcxtSource = NumberedSource  # type: ignore[attr-defined] - a module made here
    sys.modules[stand_in.__name__] = stand_in
    from fluxforge_collector.main import main as collector  # noqa: PLC0415 - after the source was replaced

    return collector()


if __name__ == "__main__":
    sys.exit(main())

"""Lines: the updates of several files as the lines of one lane, in the order of their times. Pure.

Each file is a boot of its own, as if a collector had captured it: its feeds begin with `started` and end with
`stopped`, so that what no file holds is no time that was captured.
"""

import heapq
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from operator import itemgetter
from typing import Final

from fluxforge.domain.control import Control, Event, FeedKey
from fluxforge.domain.instrument import check_distinct_symbols, encode_component, symbol_id
from fluxforge.domain.lane import Lane
from fluxforge.domain.record import CONTROL_CHANNEL, Feed, RecordWriter
from fluxforge_collector.databento_source.translate import Doubt, Told, Update
from fluxforge_collector.holes import Holes

_CONN: Final = 1
_LEAD_NS: Final = 2  # `started` and the recovery from it stand before a feed's first record, which keeps its time


@dataclass(frozen=True, slots=True)
class Boot:
    """One file as the lane knows it. `told` is what its records tell, in their order."""

    name: str
    label: str
    told: Iterable[Told]


class _Writer:
    """Writes the records of one boot."""

    def __init__(self, lane: Lane, boot: str) -> None:
        self._lane = lane
        self._boot = boot
        self._control = RecordWriter(Feed(lane.source, lane.exchange, CONTROL_CHANNEL, None), boot)
        self._control_seq = 0
        self._keys: dict[tuple[str, str], FeedKey] = {}
        self._records: dict[FeedKey, RecordWriter] = {}
        self._seqs: dict[FeedKey, int] = {}
        self.markets: dict[FeedKey, str] = {}
        self.holes = Holes(boot)

    def key(self, channel: str, market: str) -> FeedKey:
        """Return the key of a feed, which is known from now on.

        Raises:
            NameRefusedError: The market's name cannot be stored.
            ConfigurationError: Another market has the same id.
        """
        key = self._keys.get((channel, market))
        if key is not None:
            return key
        symbol = symbol_id(market)
        encode_component(symbol)
        key = self._keys[channel, market] = FeedKey(channel, symbol)
        check_distinct_symbols(self._lane.exchange, (self.markets.setdefault(key, market), market))
        self._records[key] = RecordWriter(Feed(self._lane.source, self._lane.exchange, channel, market), self._boot)
        self._seqs[key] = 0
        return key

    def record(self, key: FeedKey, update: Update, capture_ns: int) -> bytes:
        self._seqs[key] += 1
        return self._records[key].line(
            conn=_CONN,
            seq=self._seqs[key],
            capture_ns=capture_ns,
            exchange_ms=update.exchange_ms,
            data=update.data,
        )

    def control(self, control: Control, capture_ns: int) -> bytes:
        self._control_seq += 1
        names = {key.symbol: self.markets[key] for key in control.concerned()}
        markets = {symbol: market for symbol, market in names.items() if market != symbol}
        data = replace(control, markets=markets).to_json()
        return self._control.line(conn=0, seq=self._control_seq, capture_ns=capture_ns, exchange_ms=None, data=data)


class LaneLines:
    """The lines of a lane. `last_ns` is the capture time given last, ns UTC; capture times rise strictly."""

    def __init__(self, lane: Lane) -> None:
        self._lane = lane
        self._sound: set[FeedKey] = set()
        self.last_ns = 0

    def of(self, boots: Sequence[Boot]) -> Iterator[bytes]:
        """Yield the lines of several boots, merged by time."""
        writers = [_Writer(self._lane, boot.name) for boot in boots]
        streams = [_timed(boot.told, index) for index, boot in enumerate(boots)]
        for at_ns, index, told in heapq.merge(*streams, key=itemgetter(0)):
            writer, label = writers[index], boots[index].label
            if told is None:
                yield from self._stop(writer, label, at_ns)
                continue
            key = writer.key(told.channel, told.market)
            if isinstance(told, Doubt):
                yield from self._doubt(writer, key, told, at_ns)
            else:
                if key not in self._sound:
                    yield from self._begin(writers, writer, key, label, at_ns)
                yield from self._repeats(writers, at_ns)
                yield writer.record(key, told, self._rise(at_ns))

    def _begin(
        self, writers: Iterable[_Writer], writer: _Writer, key: FeedKey, label: str, at_ns: int
    ) -> Iterator[bytes]:
        """Yield that a feed begins, if nothing tells why it is not sound, and that it is; in every boot that doubts."""
        sound_ns = max(at_ns, self.last_ns + 1)
        if not writer.holes.is_open(key):
            yield from self._unsound(writer, Event.STARTED, key, label, at_ns - _LEAD_NS, None)
            sound_ns = self.last_ns  # a file lacks nothing before its first record: a hole without length
        for each in writers:
            for control in each.holes.close(key, at_ns=sound_ns):
                yield each.control(control, self._rise(at_ns - 1))
        self._sound.add(key)

    def _doubt(self, writer: _Writer, key: FeedKey, doubt: Doubt, at_ns: int) -> Iterator[bytes]:
        self._sound.discard(key)
        yield from self._unsound(writer, Event.GAP, key, doubt.reason, at_ns, doubt.records)

    def _unsound(
        self, writer: _Writer, event: Event, key: FeedKey, reason: str, at_ns: int, count: int | None
    ) -> Iterator[bytes]:
        capture_ns = self._rise(at_ns)
        hole = writer.holes.open(event, (key,), reason=reason, from_ns=capture_ns, at_ns=capture_ns)
        told = Control(event, hole=hole, scope=key, reason=reason, from_ns=capture_ns, count=count)
        yield writer.control(told, capture_ns)

    def _stop(self, writer: _Writer, label: str, at_ns: int) -> Iterator[bytes]:
        keys = tuple(writer.markets)
        if keys:
            self._sound.difference_update(keys)
            capture_ns = self._rise(at_ns)
            yield writer.control(Control(Event.STOPPED, feeds=keys, reason=label, from_ns=capture_ns), capture_ns)
        writer.holes = Holes("")  # nothing is repeated of what has ended

    def _repeats(self, writers: Iterable[_Writer], at_ns: int) -> Iterator[bytes]:
        """Yield again what still stands, so that no record is long after the last that tells of it."""
        for writer in writers:
            if writer.holes.due_ns <= max(at_ns, self.last_ns + 1):
                for control in writer.holes.repeats(max(at_ns, self.last_ns + 1)):
                    yield writer.control(control, self._rise(at_ns))

    def _rise(self, at_ns: int) -> int:
        self.last_ns = max(at_ns, self.last_ns + 1)
        return self.last_ns


def _timed(told: Iterable[Told], index: int) -> Iterator[tuple[int, int, Told | None]]:
    """Yield each with a time that never falls, and None at the end."""
    last_ns = 0
    for item in told:
        last_ns = max(last_ns, item.at_ns)
        yield last_ns, index, item
    yield last_ns, index, None

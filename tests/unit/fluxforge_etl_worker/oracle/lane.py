"""A lane as the oracle reads it: its records, and what they say of each feed."""

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

Record = dict[str, Any]
Level = tuple[float, float]
Feed = tuple[str, str]
Stretch = tuple[int, int]
T = TypeVar("T")
NS = 1_000_000_000
EVER = 2**63
BLIND = "blind"
UNSOUND = {"gap", "stalled", "disconnected", "dropped", "started", "stopped", "lane_closed", BLIND}
SOUND = {"resynced", "recovered"}


@dataclass(frozen=True, slots=True)
class Options:
    """What of the settings the rows depend on."""

    interval_ns: int = NS
    durations_s: tuple[int, ...] = (1, 5, 30, 60)
    horizons_s: tuple[int, ...] = (1, 5, 30, 60)
    tolerance_ns: int = 60 * NS
    levels_max: int = 10

    @property
    def lookback_ns(self) -> int:
        longest = max(*(s * NS for s in self.horizons_s + self.durations_s), self.interval_ns, 60 * NS)
        return longest + self.tolerance_ns


@dataclass(slots=True)
class Update:
    """A book update without its empty levels; `e`, `mlofi`, `r` are what it adds to the one before, null where None.

    `e_terms`, `mlofi_terms` are the sums of the absolute values of their terms.
    """

    at: int
    bids: list[Level]
    asks: list[Level]
    record: Record
    e: float | None = None
    mlofi: float | None = None
    r: float | None = None
    e_terms: float = 0.0
    mlofi_terms: float = 0.0

    @property
    def fault(self) -> str | None:
        if not (self.bids and self.asks):
            return "empty"
        positive = all(price > 0 for price, _ in self.bids + self.asks)
        return None if positive and self.bids[0][0] < self.asks[0][0] else "crossed"

    @property
    def mid(self) -> float:
        return (self.bids[0][0] + self.asks[0][0]) / 2

    @property
    def spread(self) -> float:
        return self.asks[0][0] - self.bids[0][0]

    @property
    def relative_spread(self) -> float:
        return self.spread / self.mid


@dataclass(frozen=True, slots=True)
class Trade:
    """A trade that counts."""

    at: int
    side: str | None
    price: float
    amount: float


@dataclass
class Lane:
    """The records of a lane in order, its watermark, whether it is closed, and its holes.

    A hole `(a, b)` lost what was between the records at `a` and `b`, so that up to 30 s after `b` only a record that
    speaks of a feed tells how it stands.
    """

    records: Sequence[Record]
    upper_ns: int
    final: bool = False
    options: Options = field(default_factory=Options)
    holes: Sequence[Stretch] = ()
    _by_channel: dict[str, list[Record]] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        for record in self.records:
            self._by_channel.setdefault(record["channel"], []).append(record)

    def of(self, channel: str) -> list[Record]:
        return self._by_channel.get(channel, [])

    @property
    def symbols(self) -> list[str]:
        return sorted({record["symbol"] for record in self.of("orderbook")})

    def concerning(self, feed: Feed) -> list[Record]:
        """Return the control records that speak of a feed; one that names none, or follows another boot, of all."""
        return [
            record
            for record in self.of("control")
            if feed in (named := named_feeds(record)) or not named or _replaces(record)
        ]

    def changes(self, feed: Feed) -> list[tuple[int, str]]:
        """Return what made a feed unsound or sound, and when; a hole as `blind` and its end."""
        told = [(record["capture_ns"], record["data"]["event"]) for record in self.concerning(feed)]
        told = [(at, event) for at, event in told if event in UNSOUND | SOUND]
        blind = [(before + 1, after + 30 * NS + 1) for before, after in self.holes]
        found: list[tuple[int, str]] = []
        for begin, end in blind:
            found.append((begin, BLIND))
            silent = all(not begin <= at < end for at, _ in told)
            if silent and all(not other <= end < last for other, last in blind):
                found.append((end, "recovered"))
        return sorted(found + told, key=lambda change: change[0])

    def stretches(self, feed: Feed) -> list[Stretch]:
        """Return the stretches `[begin, end)` in which a feed is unsound."""
        found: list[Stretch] = []
        begin: int | None = None
        for at, event in self.changes(feed):
            if event in UNSOUND and begin is None:
                begin = at
            elif event in SOUND and begin is not None:
                found.append((begin, at))
                begin = None
        return [*found, (begin, EVER)] if begin is not None else found

    def stretches_for_bars(self, feed: Feed) -> list[Stretch]:
        """Return the same, and what lies between a `started` and the last message before it."""
        started = [
            (record["data"]["after"]["capture_ns"], record["capture_ns"])
            for record in self.concerning(feed)
            if record["data"]["event"] == "started" and record["data"].get("after")
        ]
        return self.stretches(feed) + started

    def state_at(self, feed: Feed, at: int) -> str:
        standing: set[str] = set()
        for when, event in self.changes(feed):
            if when > at:
                break
            if event == BLIND:  # what was told before counts no more
                standing = {BLIND}
            elif event in UNSOUND:
                standing.add(event)
            else:
                standing.clear()
        return "stale" if "stalled" in standing else "suspect" if standing else "synced"

    def updates(self, symbol: str) -> list[Update]:
        """Return every update of an instrument's book."""
        return [
            Update(record["capture_ns"], _levels(record["data"]["bids"]), _levels(record["data"]["asks"]), record)
            for record in self.of("orderbook")
            if record["symbol"] == symbol
        ]


def _replaces(record: Record) -> bool:
    return record["data"]["event"] == "started" and record["data"].get("after") is not None


def named_feeds(record: Record) -> list[Feed]:
    scope = record["data"]["scope"]
    named = [(scope["channel"], scope["symbol"])] if scope else record["data"]["feeds"]
    return [(channel, symbol) for channel, symbol in named]


def touches(stretches: Sequence[Stretch], first: int, stop: int) -> bool:
    """Return whether one of them shares an instant with `[first, stop)`."""
    return any(begin < stop and end > first for begin, end in stretches)


def between(times: Sequence[int], items: Sequence[T], after: int, until: int) -> Sequence[T]:
    """Return the items whose time lies in `(after, until]`."""
    return items[bisect_right(times, after) : bisect_right(times, until)]


def from_to(times: Sequence[int], items: Sequence[T], first: int, stop: int) -> Sequence[T]:
    """Return the items whose time lies in `[first, stop)`."""
    return items[bisect_left(times, first) : bisect_left(times, stop)]


def _levels(pairs: Sequence[Sequence[float]]) -> list[Level]:
    return [(float(price), float(size)) for price, size in pairs if size != 0]

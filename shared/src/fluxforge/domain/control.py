"""Control records: what happened to a feed or a lane, in the lane and in order with what they describe."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final, Self

import orjson

from fluxforge.domain.errors import NameRefusedError, RecordError
from fluxforge.domain.instrument import encode_component

_INT64: Final = 2**63


class Event(StrEnum):
    """What a control record reports."""

    STARTED = "started"
    STOPPED = "stopped"
    CONNECTED = "connected"
    DISCONNECTED = "disconnected"
    SUBSCRIBED = "subscribed"
    GAP = "gap"
    RESYNCED = "resynced"
    STALLED = "stalled"
    RECOVERED = "recovered"
    DROPPED = "dropped"
    SPOOLED = "spooled"
    CLOCK_STEP = "clock_step"
    REJECTED = "rejected"
    LANE_CLOSED = "lane_closed"


UNSOUND_EVENTS = frozenset(
    {
        Event.GAP,
        Event.STALLED,
        Event.DISCONNECTED,
        Event.DROPPED,
        Event.STARTED,
        Event.STOPPED,
        Event.LANE_CLOSED,
    }
)
"""From the capture_ns of one of these a feed is unsound, until `resynced` (books) or `recovered` (any other)."""

SOUND_EVENTS = frozenset({Event.RESYNCED, Event.RECOVERED})

CRASH: Final = "crash"
LOST: Final = "lost"
"""What the ETL finds out: a collector that ended without saying so, messages that were gone before they were sealed."""

HOLE_WORDS: Final = frozenset({*(event.value for event in UNSOUND_EVENTS), CRASH, LOST})
SOUND_WORDS: Final = frozenset(event.value for event in SOUND_EVENTS)
"""The events of `coverage` that open a hole, and those that close one."""


@dataclass(frozen=True, slots=True)
class FeedKey:
    """(channel, symbol) of a feed, within the lane's exchange; `symbol` is the id."""

    channel: str
    symbol: str


@dataclass(frozen=True, slots=True)
class After:
    """Where a lane stood when a collector started: its last message."""

    boot: str
    block: int
    capture_ns: int


@dataclass(frozen=True, slots=True)
class Control:
    """`data` of a control record.

    `hole` is `<boot>:<n>`, the same in all records of one hole; `scope` the one feed concerned, else `feeds`.
    Times ns UTC; `to_ns` None while a hole is open. `count` is the number of records or frames concerned, or None.
    `markets` names the market of a symbol it speaks of, where it is not the symbol itself. A `stopped` with a `hole`
    is of its feeds alone: the collector goes on.
    """

    event: Event
    hole: str | None = None
    scope: FeedKey | None = None
    feeds: tuple[FeedKey, ...] = ()
    reason: str | None = None
    from_ns: int | None = None
    to_ns: int | None = None
    count: int | None = None
    repeat: bool = False
    after: After | None = None
    follows: tuple[str, ...] = ()
    detail: dict[str, str | int | None] | None = None
    markets: Mapping[str, str] | None = None

    def concerned(self) -> tuple[FeedKey, ...]:
        """Return the feeds this record speaks of."""
        return (self.scope,) if self.scope else self.feeds

    @property
    def ends_boot(self) -> bool:
        """Whether it is the last word of a collector that ended in order."""
        return self.event is Event.STOPPED and self.hole is None

    def market(self, symbol: str) -> str:
        """Return the market of a symbol this record speaks of."""
        return symbol if self.markets is None else self.markets.get(symbol, symbol)

    def to_json(self) -> bytes:
        """Return the JSON text of `data`; what comes after `repeat` stands only where it says something."""
        body: dict[str, object] = {
            "event": self.event.value,
            "hole": self.hole,
            "scope": {"channel": self.scope.channel, "symbol": self.scope.symbol} if self.scope else None,
            "feeds": [[feed.channel, feed.symbol] for feed in self.feeds],
            "reason": self.reason,
            "from_ns": self.from_ns,
            "to_ns": self.to_ns,
            "count": self.count,
            "repeat": self.repeat,
        }
        if self.after:
            body["after"] = {"boot": self.after.boot, "block": self.after.block, "capture_ns": self.after.capture_ns}
        if self.follows:
            body["follows"] = list(self.follows)
        if self.detail:
            body["detail"] = self.detail
        if self.markets:
            body["markets"] = dict(self.markets)
        return orjson.dumps(body)

    @classmethod
    def from_json(cls, text: bytes) -> Self:
        """Return the control record of its `data`.

        Raises:
            RecordError: Not a control record of this version; `reason` names the field.
        """
        try:
            raw = orjson.loads(text)
            scope, after = raw["scope"], raw.get("after")
            return cls(
                event=Event(raw["event"]),
                hole=_text(raw, "hole"),
                scope=_feed(scope["channel"], scope["symbol"]) if scope else None,
                feeds=tuple(_feed(channel, symbol) for channel, symbol in raw["feeds"]),
                reason=_text(raw, "reason"),
                from_ns=_whole(raw, "from_ns"),
                to_ns=_whole(raw, "to_ns"),
                count=_whole(raw, "count"),
                repeat=bool(raw["repeat"]),
                after=_after(after) if after else None,
                follows=tuple(raw.get("follows", ())),
                detail=_detail(raw.get("detail")),
                markets=_markets(raw.get("markets")),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise RecordError(f"control record: {error!r}") from error


def _feed(channel: object, symbol: object) -> FeedKey:
    if not isinstance(channel, str) or not isinstance(symbol, str):
        raise RecordError(f"control record: feed: expected two names, was {[channel, symbol]!r:.60}")
    try:
        encode_component(symbol)
    except NameRefusedError as error:
        raise RecordError(f"control record: feed: {error}") from None
    return FeedKey(channel, symbol)


def _after(raw: Mapping[str, Any]) -> After:
    boot, block, capture_ns = _text(raw, "boot"), _whole(raw, "block"), _whole(raw, "capture_ns")
    if boot is None or block is None or capture_ns is None:
        raise RecordError(f"control record: after: expected boot, block and capture_ns, was {raw!r:.80}")
    return After(boot, block, capture_ns)


def _detail(raw: object) -> dict[str, str | int | None] | None:
    if raw is None or isinstance(raw, dict):
        return raw
    raise RecordError(f"control record: detail: expected an object or null, was {raw!r:.60}")


def _text(raw: Mapping[str, Any], name: str) -> str | None:
    value = raw[name]
    if value is None or isinstance(value, str):
        return value
    raise RecordError(f"control record: {name}: expected a string or null, was {value!r:.40}")


def _whole(raw: Mapping[str, Any], name: str) -> int | None:
    value = raw[name]
    if value is None or (type(value) is int and -_INT64 <= value < _INT64):
        return value
    raise RecordError(f"control record: {name}: expected a whole number or null, was {value!r:.40}")


def _markets(raw: object) -> dict[str, str] | None:
    if raw is None:
        return None
    if isinstance(raw, dict) and all(isinstance(market, str) for market in raw.values()):
        return raw
    raise RecordError(f"control record: markets: expected a market for each symbol, was {raw!r:.60}")

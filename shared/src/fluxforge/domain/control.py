"""Control records: what happened to a feed or a lane, in the lane and in order with what they describe."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Self

import orjson

from fluxforge.domain.errors import RecordError


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

    def concerned(self) -> tuple[FeedKey, ...]:
        """Return the feeds this record speaks of."""
        return (self.scope,) if self.scope else self.feeds

    def to_json(self) -> bytes:
        """Return the JSON text of `data`; `after`, `follows` and `detail` stand only where they say something."""
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
        return orjson.dumps(body)

    @classmethod
    def from_json(cls, text: bytes) -> Self:
        """Return the control record of its `data`.

        Raises:
            RecordError: Not a control record of this version; `reason` names the field.
        """
        try:
            raw = orjson.loads(text)
            scope = raw["scope"]
            after = raw.get("after")
            return cls(
                event=Event(raw["event"]),
                hole=raw["hole"],
                scope=FeedKey(scope["channel"], scope["symbol"]) if scope else None,
                feeds=tuple(FeedKey(channel, symbol) for channel, symbol in raw["feeds"]),
                reason=raw["reason"],
                from_ns=raw["from_ns"],
                to_ns=raw["to_ns"],
                count=raw["count"],
                repeat=bool(raw["repeat"]),
                after=After(after["boot"], after["block"], after["capture_ns"]) if after else None,
                follows=tuple(raw.get("follows", ())),
                detail=raw.get("detail"),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise RecordError(f"control record: {error!r}") from error

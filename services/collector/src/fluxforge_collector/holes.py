"""Holes: the stretches in which feeds are unsound, from what opened them to the first sound record. Pure.

One hole may concern many feeds, a feed may stand in many holes; each feed leaves each of its holes by a record of its
own. While a hole is open it is told again often enough that any look back of half a minute meets it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from fluxforge.domain.control import Control, Event, FeedKey

REPEAT_NS: Final = 30_000_000_000
NEVER_NS: Final = 1 << 62
_BOOK_CHANNEL: Final = "orderbook"


@dataclass(slots=True)
class _Hole:
    """An open hole and the feeds still in it."""

    id: str
    event: Event
    reason: str | None
    from_ns: int
    feeds: list[FeedKey]
    told_ns: int


class Holes:
    """The open holes of one boot. Times are capture times, ns UTC, and never fall."""

    __slots__ = ("_boot", "_count", "_ended_ns", "_open", "_since_ns", "due_ns")

    def __init__(self, boot: str) -> None:
        self._boot = boot
        self._count = 0
        self._open: dict[str, _Hole] = {}
        self._since_ns: dict[FeedKey, int] = {}
        self._ended_ns: dict[FeedKey, int] = {}
        """How long each feed was in holes that it left."""
        self.due_ns = NEVER_NS
        """From this capture time on no record may enter before the repeats."""

    def open(self, event: Event, feeds: Sequence[FeedKey], *, reason: str | None, from_ns: int, at_ns: int) -> str:
        """Open a hole of these feeds, told at `at_ns`; return its id."""
        self._count += 1
        hole = _Hole(f"{self._boot}:{self._count}", event, reason, from_ns, list(feeds), at_ns)
        self._open[hole.id] = hole
        for feed in feeds:
            self._since_ns[feed] = min(from_ns, self._since_ns.get(feed, from_ns))
        self._set_due()
        return hole.id

    def close(self, feed: FeedKey, *, at_ns: int) -> list[Control]:
        """Take a feed out of all its holes; return the records that say so, oldest hole first."""
        event = Event.RESYNCED if feed.channel == _BOOK_CHANNEL else Event.RECOVERED
        self._settle(feed, at_ns)
        closing = []
        for hole in list(self._open.values()):
            if feed not in hole.feeds:
                continue
            hole.feeds.remove(feed)
            if not hole.feeds:
                del self._open[hole.id]
            closing.append(
                Control(event, hole=hole.id, scope=feed, reason=hole.reason, from_ns=hole.from_ns, to_ns=at_ns)
            )
        self._set_due()
        return closing

    def leave(self, feed: FeedKey, *, at_ns: int) -> None:
        """Take a feed out of all its holes without a word: it is not captured any more."""
        self._settle(feed, at_ns)
        for hole in list(self._open.values()):
            if feed in hole.feeds:
                hole.feeds.remove(feed)
            if not hole.feeds:
                del self._open[hole.id]
        self._set_due()

    def repeats(self, at_ns: int) -> list[Control]:
        """Return the repeats due at `at_ns` and count them as told."""
        due = [hole for hole in self._open.values() if hole.told_ns + REPEAT_NS <= at_ns]
        for hole in due:
            hole.told_ns = at_ns
        self._set_due()
        return [
            Control(
                hole.event,
                hole=hole.id,
                feeds=tuple(hole.feeds),
                reason=hole.reason,
                from_ns=hole.from_ns,
                repeat=True,
            )
            for hole in due
        ]

    def spent_ns(self, feed: FeedKey, at_ns: int) -> int:
        """Return how long a feed was in any hole until now, holes inside others counted once."""
        since_ns = self._since_ns.get(feed)
        open_ns = 0 if since_ns is None else max(0, at_ns - since_ns)
        return self._ended_ns.get(feed, 0) + open_ns

    def is_open(self, feed: FeedKey) -> bool:
        """Return whether a feed stands in any hole."""
        return any(feed in hole.feeds for hole in self._open.values())

    def _settle(self, feed: FeedKey, at_ns: int) -> None:
        self._ended_ns[feed] = self.spent_ns(feed, at_ns)
        self._since_ns.pop(feed, None)

    def _set_due(self) -> None:
        self.due_ns = min((hole.told_ns + REPEAT_NS for hole in self._open.values()), default=NEVER_NS)

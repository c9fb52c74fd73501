"""Lane feeds: what a lane keeps of each of its feeds, and what it tells of them."""

from typing import NamedTuple

from fluxforge.domain.control import FeedKey
from fluxforge.domain.errors import ConfigurationError
from fluxforge.domain.record import Feed, RecordWriter
from fluxforge_collector.blocks import FeedSlot


class LaneFeed:
    """One feed as its lane counts it. `last_data`, `last_ms` and `last_ns` are of its newest record.

    `captured`: it is wanted; nothing of it may enter otherwise. `held`: its source knows it to be broken, so no record
    ends its holes before it is released. `backfilled`: how many of its seqs are of what was fetched after a hole.
    """

    __slots__ = (
        "backfilled",
        "captured",
        "dropped",
        "held",
        "key",
        "last_data",
        "last_ms",
        "last_ns",
        "line",
        "market",
        "seq",
        "slot",
        "unsound",
    )

    def __init__(self, feed: Feed, boot: str) -> None:
        if feed.market is None or feed.symbol is None:
            raise ConfigurationError(f"feed {feed.channel!r} of {feed.exchange}: expected a market, was none")
        self.market = feed.market
        self.key = FeedKey(feed.channel, feed.symbol)
        self.slot: FeedSlot = (feed.channel, feed.symbol)
        self.line = RecordWriter(feed, boot).line
        self.seq = 0
        self.backfilled = 0
        self.dropped = 0
        self.captured = True
        self.unsound = True
        self.held = False
        self.last_data = b""
        self.last_ms: int | None = None
        self.last_ns = 0

    def begin(self) -> None:
        """Be captured from now on: its newest record from before, if there is any, is no neighbour of its next one."""
        self.captured = True
        self.last_data = b""
        self.last_ms = None
        self.last_ns = 0


class Recovery(NamedTuple):
    """The end of a feed's holes: since when it was unsound, ns UTC, and the data of the records around it.

    `before` is empty where this boot has none.
    """

    feed: LaneFeed
    from_ns: int
    before: bytes
    first: bytes

"""The source port: what brings market data in, and the lane as a source sees it.

A source knows its venue and nothing of blocks, the bus or the spool; the lane knows nothing of venues.
"""

from collections.abc import Callable, Collection, Sequence
from typing import Protocol

from fluxforge.domain.control import Event
from fluxforge.domain.errors import ConfigurationError
from fluxforge.domain.record import Feed
from fluxforge.runtime.settings import Settings
from fluxforge_collector.lane_feed import LaneFeed, Recovery


class Sink(Protocol):
    """Where a source puts what it captured. No call waits."""

    @property
    def feeds(self) -> Collection[LaneFeed]:
        """Those that the lane was opened with, or that were added, and not removed."""
        ...

    def feed(self, feed: Feed) -> LaneFeed:
        """Return the lane's handle of a feed that the source announced."""
        ...

    def add(self, feeds: Sequence[Feed], why: str) -> Sequence[LaneFeed]:
        """Take feeds into the lane that are new or were removed; they are unsound until their first records."""
        ...

    def remove(self, feeds: Sequence[LaneFeed], why: str) -> None:
        """Let feeds go; nothing of theirs may follow before they are added again."""
        ...

    def now(self) -> int:
        """Return the time to stamp a frame with that has just come in, ns UTC."""
        ...

    def record(
        self,
        feed: LaneFeed,
        data: bytes,
        *,
        exchange_ms: int | None,
        at_ns: int,
        conn: int,
        snapshot: bool = False,
        backfill: bool = False,
    ) -> None:
        """Enter one update of a feed; `data` is JSON text, `at_ns` the stamp of the frame it came in.

        `backfill` is for what was fetched after a hole: it ends none.
        """
        ...

    def note(
        self,
        event: Event,
        feeds: Sequence[LaneFeed] = (),
        *,
        reason: str | None = None,
        count: int | None = None,
        detail: dict[str, str | int | None] | None = None,
        conn: int = 0,
        from_ns: int | None = None,
    ) -> None:
        """Enter a control record about these feeds; events that make a feed unsound open a hole.

        `from_ns`, ns UTC, is for what began before it was noticed.
        """
        ...

    @property
    def is_busy(self) -> bool:
        """Whether much waits to be stored: a source that can wait should, before memory is full."""
        ...

    def on_recovered(self, told: Callable[[Recovery], None]) -> None:
        """Have every recovery told, before the record that ends it is entered.

        Left out is the first one of a feed that was added, and that of any feed in a new lane: nothing is before them.
        """
        ...

    def hold(self, feed: LaneFeed) -> None:
        """Let no record end the holes of a feed that is known to be broken, until it is released."""
        ...

    def release(self, feed: LaneFeed) -> None:
        """Let the next record of a feed end its holes."""
        ...


class Source(Protocol):
    """A venue's feeds."""

    @property
    def feeds(self) -> Sequence[Feed]:
        """Every feed it will bring, known before anything is subscribed."""
        ...

    @property
    def connections(self) -> int:
        """Connections that stand now."""
        ...

    async def reload(self, tree: Settings) -> None:  # noqa: ARG002 - for sources that can
        """Capture what a changed configuration asks for from now on, and leave alone what it asked for before.

        Raises:
            ConfigurationError: It cannot be had, or this source takes no changes while it runs; nothing was changed.
        """
        raise ConfigurationError("this source takes a changed configuration at its next start only")

    async def run(self, sink: Sink) -> None:
        """Bring the feeds until cancelled; failures of single feeds heal inside and are noted in the lane."""
        ...

    async def close(self) -> None:
        """Close every connection; nothing enters the lane after this."""
        ...

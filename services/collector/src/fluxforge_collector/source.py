"""The source port: what brings market data in, and the lane as a source sees it.

A source knows its venue and nothing of blocks, the bus or the spool; the lane knows nothing of venues.
"""

from collections.abc import Sequence
from typing import Protocol

from fluxforge.domain.control import Event
from fluxforge.domain.record import Feed
from fluxforge_collector.lane_writer import LaneFeed


class Sink(Protocol):
    """Where a source puts what it captured. No call waits."""

    def feed(self, feed: Feed) -> LaneFeed:
        """Return the lane's handle of a feed that the source announced."""
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
    ) -> None:
        """Enter one update of a feed; `data` is JSON text, `at_ns` the stamp of the frame it came in."""
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
    ) -> None:
        """Enter a control record about these feeds; events that make a feed unsound open a hole."""
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

    async def run(self, sink: Sink) -> None:
        """Bring the feeds until cancelled; failures of single feeds heal inside and are noted in the lane."""
        ...

    async def close(self) -> None:
        """Close every connection; nothing enters the lane after this."""
        ...

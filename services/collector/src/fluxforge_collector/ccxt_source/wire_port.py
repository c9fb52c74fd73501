"""The wire port: where whatever goes over the wire of one exchange is heard, or comes from."""

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from typing import Any, Protocol

from fluxforge.domain.record import Feed
from fluxforge_collector.ccxt_source.connection import Connection
from fluxforge_collector.lane_feed import LaneFeed
from fluxforge_collector.source import Sink


class WirePort(Protocol):
    """Whoever hears what goes over the wire: it enters the lane, or comes from a recording."""

    def begin(self, sink: Sink, feed: LaneFeed, wanted: Mapping[str, Sequence[Feed]]) -> None:
        """Take note that the lane can be written and what will be subscribed, by method."""
        ...

    def attach_frames(self, connection: Connection) -> None:
        """Be set on a connection before the tap: its frames come here stamped."""
        ...

    def attach_updates(self, connection: Connection, claims: Collection[str]) -> None:
        """Be set on a connection behind the tap: its updates come here first."""
        ...

    async def fetch(self, fetch: Callable[[], Awaitable[Any]], method: str, url: str, body: Any) -> Any:
        """Return what comes of a REST request, `fetch`."""
        ...

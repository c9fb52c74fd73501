"""The sink of a replay: unified records as lines, with the capture times they got at capture."""

from collections import deque
from collections.abc import Callable, Collection, Sequence
from typing import Any

from typing_extensions import override

from fluxforge.domain.control import Control, Event
from fluxforge.domain.record import Feed
from fluxforge_collector.lane_feed import LaneFeed, Recovery
from fluxforge_collector.replay.tape import Backfilled, Step
from fluxforge_collector.source import Sink


class ReplaySink(Sink):
    """Gives records the capture times they got behind the item of the wire that is at hand."""

    def __init__(self, boot: str, write: Callable[[bytes], object]) -> None:
        self._boot = boot
        self._write = write
        self._feeds: dict[Feed, LaneFeed] = {}
        self._told: deque[Step] = deque()
        self._last_ns = 0
        self.written = 0

    @property
    @override
    def feeds(self) -> Collection[LaneFeed]:
        """The feeds it was asked for."""
        return self._feeds.values()

    def begin(self, at_ns: int, controls: Sequence[Step]) -> None:
        """Go on to an item of the wire; control records behind it took capture times, too."""
        while self._told:
            self._pass()
        self._last_ns = at_ns
        self._told = deque(controls)

    @override
    def feed(self, feed: Feed) -> LaneFeed:
        return self._feeds.setdefault(feed, LaneFeed(feed, self._boot))

    @override
    def add(self, feeds: Sequence[Feed], why: str) -> Sequence[LaneFeed]:
        return [self.feed(feed) for feed in feeds]

    @override
    def remove(self, feeds: Sequence[LaneFeed], why: str) -> None:
        return

    @override
    def now(self) -> int:
        return self._last_ns

    @override
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
        while self._told and self._told[0].at_ns <= self._last_ns + 1:
            self._pass()
        self._last_ns += 1
        feed.seq += 1
        self.written += 1
        self._write(
            feed.line(
                conn=conn,
                seq=feed.seq,
                capture_ns=self._last_ns,
                exchange_ms=exchange_ms,
                data=data,
                snapshot=snapshot,
            )
        )

    @property
    @override
    def is_busy(self) -> bool:
        return False

    @override
    def hold(self, feed: LaneFeed) -> None:
        return  # holes are not told here

    @override
    def release(self, feed: LaneFeed) -> None:
        return

    @override
    def note(self, event: Event, feeds: Sequence[LaneFeed] = (), *, reason: str | None = None, **_: Any) -> None:
        told = self._told[0].item if self._told else None
        if not isinstance(told, Control) or (told.event, told.reason) != (event, reason):
            return
        if {feed.key for feed in feeds} == set(told.concerned()):
            self._pass()

    @override
    def on_recovered(self, told: Callable[[Recovery], None]) -> None:
        return  # nothing is fetched here

    def _pass(self) -> None:
        """Leave a recorded time to the record that has it."""
        told = self._told.popleft()
        self._last_ns = told.at_ns
        if isinstance(told.item, Backfilled):
            for feed in self.feeds:
                feed.seq += feed.key == told.item.feed

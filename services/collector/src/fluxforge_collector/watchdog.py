"""The watchdog: looks at which feeds were heard, has their silence judged, and restarts what is stalled.

It looks at counts that the lane keeps anyway, so it costs a record nothing. Its time is the event loop's: a stepped
wall clock is no silence, and neither is a stretch in which this process itself did not run.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Final, Protocol

from fluxforge.domain.control import Event, FeedKey
from fluxforge_collector.lane_feed import LaneFeed
from fluxforge_collector.silence.judge import Judge
from fluxforge_collector.silence.limits import NS_PER_S, Finding, Link, Remedy, SilenceLimits, Verdict
from fluxforge_collector.source import Sink

LOOK_S: Final = 0.25
_LOOK_S_MAX: Final = 1.0
"""No more than this is taken for silence between two looks; what is beyond, we were not there to hear."""
_FEEDS_AT_ONCE: Final = 200
_NS_PER_MS: Final = 1_000_000


class Carrier(Protocol):
    """A connection that stands, and how to restart it or what it carries. Neither call waits."""

    @property
    def name(self) -> str:
        """What outlives the connection: one in its place has the same."""
        ...

    @property
    def number(self) -> int:
        """What does not outlive it."""
        ...

    @property
    def carried(self) -> Sequence[LaneFeed]:
        """The feeds it carries."""
        ...

    def reconnect(self, reason: str) -> None:
        """End it, so that another is made in its place."""
        ...

    def resubscribe(self, feeds: Collection[LaneFeed], reason: str) -> None:
        """Have these of its feeds subscribed anew."""
        ...


class Watchdog:
    """Watches what the connections of one source carry; `carriers` returns those that stand now."""

    def __init__(self, carriers: Callable[[], Iterable[Carrier]], sink: Sink, limits: SilenceLimits) -> None:
        self._carriers = carriers
        self._sink = sink
        self._judge = Judge(limits)
        self._spoken: dict[LaneFeed, int] = {}
        self._carried: set[LaneFeed] = set()
        self._at_ns = 0

    async def run(self) -> None:
        """Look until cancelled."""
        loop = asyncio.get_running_loop()
        looked_s = loop.time()
        while True:
            await asyncio.sleep(LOOK_S)
            now_s = loop.time()
            for _ in self.looking(now_s - looked_s):
                await asyncio.sleep(0)  # frames that wait are stamped first
            looked_s = now_s

    def look(self, passed_s: float) -> None:
        """Take note of what was heard in the last `passed_s`, and restart what was silent for too long."""
        deque(self.looking(passed_s), maxlen=0)

    def looking(self, passed_s: float) -> Iterator[None]:
        """Look likewise, with a pause after so many feeds as are soon done."""
        self._at_ns += round(min(passed_s, _LOOK_S_MAX) * NS_PER_S)
        known = list(self._carried)
        for start in range(0, len(known), _FEEDS_AT_ONCE):
            self._hear(known[start : start + _FEEDS_AT_ONCE])
            yield
        self._restart_stalled()

    def _hear(self, feeds: Iterable[LaneFeed]) -> None:
        for feed in feeds:
            spoken = feed.seq - feed.backfilled
            news = spoken - self._spoken.get(feed, 0)
            if news:
                self._judge.heard(feed.key, self._at_ns, news)
                self._spoken[feed] = spoken

    def _restart_stalled(self) -> None:
        carriers = {carrier.name: carrier for carrier in self._carriers()}
        carried = {name: {feed.key: feed for feed in carrier.carried} for name, carrier in carriers.items()}
        listened = {feed for feeds in carried.values() for feed in feeds.values()}
        joined = listened - self._carried
        for feed in joined:
            self._judge.joined(feed.key, self._at_ns)
        self._hear(joined)
        self._carried = listened
        links = [Link(name, carrier.number, tuple(carried[name])) for name, carrier in carriers.items()]
        for finding in self._judge.findings(links, self._at_ns):
            self._act(finding, carriers[finding.link.name], carried[finding.link.name])

    def _act(self, finding: Finding, carrier: Carrier, carried: Mapping[FeedKey, LaneFeed]) -> None:
        reason = _reason(finding)
        # A record that only answered a remedy has ended the hole of the silence that goes on.
        news = [carried[key] for key in finding.feeds if key in finding.news or not carried[key].unsound]
        if news:
            self._sink.note(
                Event.STALLED,
                news,
                reason=reason,
                detail={
                    "silent_ms": finding.silent_ns // _NS_PER_MS,
                    "limit_ms": finding.limit_ns // _NS_PER_MS,
                    "around": finding.around,
                    "remedy": finding.remedy.value,
                },
                conn=carrier.number,
                from_ns=max(feed.last_ns for feed in news) or None,
            )
        if finding.remedy is Remedy.RECONNECT:
            carrier.reconnect(reason)
        else:
            carrier.resubscribe({carried[key] for key in finding.feeds}, reason)


def _reason(finding: Finding) -> str:
    what = "connection" if finding.verdict is Verdict.CONNECTION_STALLED else "feed"
    return f"{what}: nothing for {finding.silent_ns / NS_PER_S:.1f} s, allowed {finding.limit_ns / NS_PER_S:.1f} s"

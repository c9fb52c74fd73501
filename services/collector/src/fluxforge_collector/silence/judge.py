"""The judge: which silences are stalls, of what, and the smallest thing to restart. Pure.

Evidence is taken from around a feed: a market that is quiet is quiet in all its channels, a connection that is dead
brings nothing of any feed. So a feed alone is given long, one whose symbol's other channels speak on less, and a
connection is judged by all its feeds together, which are heard more often than any of them.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Final

from fluxforge.domain.control import FeedKey
from fluxforge_collector.silence.limits import NS_PER_S, Finding, Link, Remedy, SilenceLimits, Verdict
from fluxforge_collector.silence.voice import Voice

_GRACE_NS: Final = 10 * NS_PER_S
_GRACE_PER_FEED_NS: Final = NS_PER_S
"""Subscriptions of a new connection go out one by one; the slowest venue takes one a second."""
_RECONNECT_AT: Final = 1
"""A feed is resubscribed so often before its connection is replaced for it."""


class Judge:
    """What is known of the feeds of one collector. Times are ns of one clock that never falls."""

    def __init__(self, limits: SilenceLimits) -> None:
        self._limits = limits
        self._voices: dict[FeedKey, Voice] = {}
        self._channels: dict[str, list[Voice]] = defaultdict(list)
        self._pools: dict[str, Voice] = {}
        self._numbers: dict[str, int] = {}
        self._symbols: dict[str, int] = defaultdict(int)

    def heard(self, feed: FeedKey, at_ns: int, count: int = 1) -> None:
        """Take note of records of a feed, the last of them at `at_ns`."""
        voice = self._voice(feed, at_ns)
        voice.count += count
        self._symbols[feed.symbol] += count
        voice.heard(at_ns, self._around(feed, voice), self._limits)

    def joined(self, feed: FeedKey, at_ns: int) -> None:
        """Count a feed's silence anew: nobody listened to it until now."""
        self._voice(feed, at_ns).restart(at_ns, _GRACE_NS)

    def verdict(self, feed: FeedKey, at_ns: int) -> Verdict:
        """Return what the silence of one feed means by itself."""
        voice = self._voice(feed, at_ns)
        limit_ns = self._limit_ns(feed, voice, at_ns)
        if voice.tries or (limit_ns is not None and voice.is_over(at_ns, limit_ns, self._limits)):
            return Verdict.FEED_STALLED
        return Verdict.QUIET if limit_ns is None else Verdict.HEALTHY

    def limit_ns(self, feed: FeedKey) -> int | None:
        """Return how long a feed may be silent while nothing else is known, ns; None: any time."""
        voice = self._voices.get(feed)
        return None if voice is None else voice.limit_ns(self._limits, supported=False)

    def findings(self, links: Sequence[Link], at_ns: int) -> list[Finding]:
        """Return what is stalled on the connections that stand, and is to be restarted now; each is told once a try."""
        found = []
        for link in links:
            if self._numbers.get(link.name) != link.number:
                self._begin(link, at_ns)
                continue
            stalled = self._connection(link, at_ns)
            found += [stalled] if stalled else list(self._feeds(link, at_ns))
        return found

    def _begin(self, link: Link, at_ns: int) -> None:
        self._numbers[link.name] = link.number
        grace_ns = _GRACE_NS + _GRACE_PER_FEED_NS * len(link.feeds)
        for feed in link.feeds:
            self._voice(feed, at_ns).restart(at_ns, grace_ns)
        self._pools.setdefault(link.name, Voice(at_ns)).restart(at_ns, grace_ns)

    def _connection(self, link: Link, at_ns: int) -> Finding | None:
        """Return the finding that all feeds of a connection are silent, if they are several."""
        pool = self._pools[link.name]
        newest_ns = max((self._voice(feed, at_ns).last_ns or 0 for feed in link.feeds), default=0)
        if newest_ns > (pool.last_ns or 0):
            pool.heard(newest_ns, 0, self._limits)
        if len(link.feeds) == 1 or pool.is_within_floor(at_ns, self._limits):
            return None
        limit_ns = pool.limit_ns(self._limits, supported=False)
        if limit_ns is None or not pool.is_over(at_ns, limit_ns, self._limits):
            return None
        return self._act(Verdict.CONNECTION_STALLED, Remedy.RECONNECT, link, link.feeds, pool, limit_ns, at_ns)

    def _feeds(self, link: Link, at_ns: int) -> Iterator[Finding]:
        for feed in link.feeds:
            voice = self._voice(feed, at_ns)
            if voice.is_within_floor(at_ns, self._limits):
                continue
            limit_ns = self._limit_ns(feed, voice, at_ns)
            if limit_ns is None or not voice.is_over(at_ns, limit_ns, self._limits):
                continue
            pool = self._pools[link.name]
            if 2 * pool.silent_ns(at_ns) >= voice.silent_ns(at_ns):
                # Nothing of the others came of late either, or there are none: a new connection heals more.
                yield self._act(Verdict.CONNECTION_STALLED, Remedy.RECONNECT, link, link.feeds, pool, limit_ns, at_ns)
                return
            remedy = self._remedy(feed, voice, at_ns)
            yield self._act(Verdict.FEED_STALLED, remedy, link, (feed,), voice, limit_ns, at_ns)

    def _remedy(self, feed: FeedKey, voice: Voice, at_ns: int) -> Remedy:
        """Return the smallest remedy left. A market that stands still must not cost its neighbours their connection."""
        alone = len(self._channels[feed.symbol]) == 1
        if voice.tries == _RECONNECT_AT and (alone or self._is_supported(feed, voice, at_ns)):
            return Remedy.RECONNECT
        return Remedy.RESUBSCRIBE

    def _act(
        self,
        verdict: Verdict,
        remedy: Remedy,
        link: Link,
        feeds: tuple[FeedKey, ...],
        voice: Voice,
        limit_ns: int,
        at_ns: int,
    ) -> Finding:
        voices = {feed: self._voice(feed, at_ns) for feed in feeds}
        news = tuple(feed for feed, each in voices.items() if not each.tries)
        own = voices[feeds[0]]
        around = own.around(self._around(feeds[0], own)) if len(feeds) == 1 else 0
        for one in {voice, *voices.values()}:
            one.act(at_ns)
        return Finding(verdict, remedy, link, feeds, news, voice.silent_ns(at_ns), limit_ns, around)

    def _limit_ns(self, feed: FeedKey, voice: Voice, at_ns: int) -> int | None:
        return voice.limit_ns(self._limits, supported=self._is_supported(feed, voice, at_ns))

    def _is_supported(self, feed: FeedKey, voice: Voice, at_ns: int) -> bool:
        """Return whether the symbol's other channels go on. What fell silent with the feed says nothing of it alone."""
        if not voice.is_supported(self._around(feed, voice)):
            return False
        least_ns = at_ns - voice.silent_ns(at_ns) // 2
        return any((other.last_ns or 0) >= least_ns for other in self._channels[feed.symbol] if other is not voice)

    def _around(self, feed: FeedKey, voice: Voice) -> int:
        return self._symbols[feed.symbol] - voice.count

    def _voice(self, feed: FeedKey, at_ns: int) -> Voice:
        voice = self._voices.get(feed)
        if voice is None:
            voice = self._voices[feed] = Voice(at_ns)
            self._channels[feed.symbol].append(voice)
        return voice

"""Sequences: one connection's frames, followed by the venue's own counters and checksums.

A book that breaks is held unsound until the venue's numbers say that it is whole again, whatever ccxt makes of it
meanwhile, and its market alone is subscribed anew. Where that does not help, the connection is replaced. A frame that
ccxt fails on breaks what it brings, too: the numbers go on from it, while ccxt's book lacks it.
"""

from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Final, Protocol

from fluxforge.domain.control import Event
from fluxforge_collector.continuity.finding import BOOK, Detector, Finding, Step, Verdict
from fluxforge_collector.lane_feed import LaneFeed
from fluxforge_collector.source import Sink
from fluxforge_collector.watchdog import Carrier

PATIENCE_NS: Final = 15_000_000_000
"""How long a book may stay broken after it was subscribed anew; slow venues answer a subscription within seconds."""
_UNAPPLIED: Final = Step(Verdict.GAP, is_sound=False, reason="ccxt failed on a frame")

Names = Callable[[str], Sequence[str]]
"""What a venue calls a market in its frames, its id first."""


class Renewable(Carrier, Protocol):
    """A connection that knows which of its feeds are about to be subscribed anew."""

    def renew(self, feeds: Collection[LaneFeed], reason: str) -> set[LaneFeed]:
        """Have these of its feeds subscribed anew; return those that are being so, by this or already."""
        ...


class Sequences:
    """The feeds of one connection, as its detector sees them."""

    def __init__(self, connection: Renewable, detector: Detector, sink: Sink, names: Names) -> None:
        self._connection = connection
        self._detector = detector
        self._sink = sink
        self._names = names
        self._feeds: dict[tuple[str, str], LaneFeed] = {}
        self._broken: dict[LaneFeed, int] = {}
        """Books that are held, each with since when, ns UTC."""
        self._unasked: set[LaneFeed] = set()
        """Those of them that were not asked for since they broke last."""
        self._unapplied: set[LaneFeed] = set()
        """Those of them whose numbers are in order, while ccxt's book lacks a frame."""
        self._more: dict[LaneFeed, tuple[int, Step]] = {}
        """What was missing of broken books since they broke: how many, and where last."""
        self._found: tuple[Finding, ...] = ()
        """What the newest frame said."""
        self._heard_ns = 0

    def cover(self, feeds: Iterable[LaneFeed]) -> None:
        """Take note of feeds that the connection carries from now on."""
        for feed in feeds:
            self._feeds.update({(feed.key.channel, name): feed for name in self._names(feed.market)})

    def leave(self, feeds: Collection[LaneFeed]) -> None:
        """Have nothing more to do with feeds that are not captured any more."""
        self._feeds = {name: feed for name, feed in self._feeds.items() if feed not in feeds}
        for feed in feeds:
            self._more.pop(feed, None)  # nothing may be told of it any more
            self._heal(feed)

    def take(self, frame: str | bytes) -> None:
        """Say what is missing before a frame, and hold what it breaks; called before the frame is handled."""
        self._found = ()
        self._found = self._detector.take(frame)
        for finding in self._found:
            if self._broken or finding.step.verdict is not Verdict.SOUND:  # else nothing follows: nearly always
                self._follow(finding)

    def failed(self) -> None:
        """Break the feeds that the newest frame brought something of: ccxt failed on it."""
        brought = (self._feeds.get((one.channel, one.symbol)) for one in self._found if one.channel and one.symbol)
        for feed in dict.fromkeys(feed for feed in brought if feed is not None):
            self._break((feed,), _UNAPPLIED)
            if feed.key.channel == BOOK:
                self._unapplied.add(feed)

    def take_rest(self, market: str, reply: str) -> None:
        """Likewise of a book fetched by REST, if it is one of the connection's."""
        name = self._names(market)[0]
        feed = self._feeds.get((BOOK, name))
        if feed is not None and feed.market == market:  # a swap may bear the id of its spot market
            for finding in self._detector.take_rest(name, reply):
                self._follow(finding)

    def renew(self, now_ns: int) -> None:
        """Have what is broken subscribed anew; called when the frame is handled, since ccxt may have begun to.

        A pump that is just about something else is asked again with the next frame.
        """
        self._heard_ns = now_ns
        if not self._broken:
            return
        if self._unasked:
            reason = "broken: the venue's own numbers show a gap"
            self._unasked -= self._connection.renew(self._unasked, reason)
        late = [feed for feed, since_ns in self._broken.items() if now_ns - since_ns > PATIENCE_NS]
        if late:
            self._broken.update(dict.fromkeys(late, now_ns))
            # What ccxt fails on may come by another connection just the same, at its neighbours' cost.
            self._unasked |= self._unapplied.intersection(late)
            mute = [feed for feed in late if feed not in self._unapplied]
            if mute:
                self._connection.reconnect(f"{len(mute)} books did not become whole by being subscribed anew")

    def end(self) -> None:
        """Hold nothing any more: the connection is gone, and its feeds are unsound by that."""
        for feed in list(self._broken):
            self._heal(feed)

    def _follow(self, finding: Finding) -> None:
        step = finding.step
        if finding.channel is None or finding.symbol is None:
            if step.verdict is Verdict.GAP:
                self._break(self._connection.carried, step)
            return
        feed = self._feeds.get((finding.channel, finding.symbol))
        if feed is None:
            return  # what ccxt subscribes to beside what was asked for
        if step.verdict is Verdict.GAP or self._is_spoilt(feed, step):
            self._break((feed,), step)
        elif step.is_sound and (feed not in self._unapplied or step.verdict is Verdict.RESYNCED):
            self._heal(feed)

    def _heal(self, feed: LaneFeed) -> None:
        if self._broken.pop(feed, None) is None:
            return
        self._unasked.discard(feed)
        self._unapplied.discard(feed)
        if feed in self._more:
            count, step = self._more.pop(feed)
            self._tell((feed,), step._replace(missing=count, reason="missing while the book was broken"))
        self._sink.release(feed)

    def _is_spoilt(self, feed: LaneFeed, step: Step) -> bool:
        """Return whether a book that was whole is so no more because something came out of order."""
        is_late = step.verdict in {Verdict.DUPLICATE, Verdict.OUT_OF_ORDER}
        return is_late and not step.is_sound and feed.key.channel == BOOK and feed not in self._broken

    def _break(self, feeds: Sequence[LaneFeed], step: Step) -> None:
        if not feeds:
            return
        books = [feed for feed in feeds if feed.key.channel == BOOK]
        # A hole for each frame of a venue that numbers otherwise would be too many: one that is open is not told again.
        whole = [feed for feed in feeds if feed not in self._broken and (feed in books or not feed.unsound)]
        if whole or not books:
            self._tell(whole or feeds, step)
        elif step.missing:
            count, _ = self._more.get(books[0], (0, step))
            self._more[books[0]] = (count + step.missing, step)
        for book in books:
            self._sink.hold(book)
            self._broken.setdefault(book, self._sink.now())
        self._unasked.update(books)

    def _tell(self, feeds: Sequence[LaneFeed], step: Step) -> None:
        self._sink.note(
            Event.GAP,
            feeds,
            reason=step.reason or step.verdict.value,
            count=step.missing,
            detail={"expected": step.expected, "got": step.got},
            conn=self._connection.number,
            # Of one feed, what is missing came behind its newest record; of a connection, behind its newest frame.
            from_ns=(feeds[0].last_ns if len(feeds) == 1 else self._heard_ns) or None,
        )

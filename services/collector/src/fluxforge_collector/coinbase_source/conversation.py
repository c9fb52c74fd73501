"""The conversation: what one connection is asked and what it tells, from its first frame to its last. Does no I/O.

Every frame that says where it belongs is entered or noted. A number that is missing makes all feeds of the connection
suspect: books are told again from the next whole one on, which is asked for, everything else with its next frame.
"""

import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import partial
from math import inf
from typing import Any, Final, NamedTuple, TypeVar

from fluxforge.domain.backoff import Backoff
from fluxforge.domain.control import Event
from fluxforge_collector.coinbase_source.book import Book
from fluxforge_collector.coinbase_source.plan import Group
from fluxforge_collector.coinbase_source.requests import HEARTBEATS, Request, Requests
from fluxforge_collector.coinbase_source.unify import (
    Update,
    book_update,
    candles_update,
    ticker_update,
    trades_update,
)
from fluxforge_collector.continuity.connection_counter import ConnectionCounter
from fluxforge_collector.continuity.finding import Step, Verdict
from fluxforge_collector.continuity.parse import parsed, parts, text, whole
from fluxforge_collector.lane_feed import LaneFeed
from fluxforge_collector.rejected import reject
from fluxforge_collector.source import Sink

_BOOK_S: Final = 30.0
"""A book that is not there so long after it was asked for is asked for anew."""
_CALM_S: Final = 60.0
"""A connection that lost nothing for so long may ask for its books at once again."""
_ANEW_BACKOFF: Final = Backoff(base_s=1.0, cap_s=30.0)
_BOOKS: Final = "level2"
_CREDENTIALS: Final = re.compile(r"auth|jwt|api.?key", re.IGNORECASE)
_BAD_FRAME: Final = (KeyError, TypeError, ValueError, AttributeError, ArithmeticError)
"""What comes of a message whose fields are not what they should be."""
_Item = TypeVar("_Item")


class ConnectionLostError(Exception):
    """A connection that is good for nothing any more, and why; another one is made."""


class Frame(NamedTuple):
    """A message, as it came and parsed, with its stamp in ns UTC and the time of the requests."""

    body: dict[str, Any]
    raw: bytes
    at_ns: int
    now_s: float


class Conversation:
    """One connection's feeds. `now_s` is always of one clock that never falls."""

    def __init__(
        self, group: Group, sink: Sink, *, conn: int, depth: int, chance: Callable[[], float], is_signed: bool
    ) -> None:
        self._sink = sink
        self._conn = conn
        self._depth = depth
        self._chance = chance
        self._is_signed = is_signed
        self._feeds: dict[str, dict[str, LaneFeed]] = {
            channel: {product: sink.feed(feed) for product, feed in products.items()}
            for channel, products in group.channels.items()
        }
        asked = [Request("subscribe", channel, tuple(products)) for channel, products in self._feeds.items()]
        self._requests = Requests([Request("subscribe", HEARTBEATS), *asked], chance)
        self._counter = ConnectionCounter()
        self._books: dict[str, Book] = {}
        self._anew_s: dict[str, float] = {}
        """Books that were asked for and are not whole, each with the time at which to ask for it anew."""
        self._losses = 0
        self._lost_s = -inf
        self._readers: Mapping[str, Callable[[Frame], None]] = {
            "l2_data": self._read_books,
            "market_trades": self._read_trades,
            "ticker": self._read_tickers,
            "candles": self._read_candles,
        }
        self._heard_ns = 0

    @property
    def feeds(self) -> list[LaneFeed]:
        """Every feed of the connection."""
        return [feed for products in self._feeds.values() for feed in products.values()]

    def is_due(self, now_s: float) -> bool:
        """Return whether something is to be sent now."""
        if self._requests.asked is not None:
            return False
        return self._requests.is_due(now_s) or any(anew_s <= now_s for anew_s in self._anew_s.values())

    def next_request(self, now_s: float) -> Request | None:
        """Return what is to be sent now, if anything is."""
        due = [product for product, anew_s in self._anew_s.items() if anew_s <= now_s]
        if due:
            self._requests.renew(_BOOKS, due, now_s)
            self._anew_s.update(dict.fromkeys(due, now_s + _BOOK_S))
        request = self._requests.take(now_s)
        if request is not None and request.channel == _BOOKS:
            self._anew_s.update(dict.fromkeys(request.products, now_s + _BOOK_S))
            if request.type == "unsubscribe":
                self._leave_out(request.products, "asked for anew")
        return request

    def unanswered_s(self, now_s: float) -> float:
        """Return how long the last message has gone without an answer, s."""
        return self._requests.waited_s(now_s)

    def take(self, raw: bytes, *, at_ns: int, now_s: float) -> None:
        """Take a frame; `at_ns` is its stamp, ns UTC.

        Raises:
            ConnectionLostError: The venue refuses the credentials.
        """
        body = parsed(raw)
        if body is None:
            self._reject(raw, "no JSON object")
        elif text(body, "type") == "error":
            self._refusal(body, now_s)
        else:
            self._follow(Frame(body, raw, at_ns, now_s))
        self._heard_ns = at_ns

    def resubscribe(self, feeds: Collection[LaneFeed], now_s: float) -> None:
        """Leave feeds and subscribe them anew, a book from its next whole one on."""
        for channel, listed in self._feeds.items():
            products = [product for product, feed in listed.items() if feed in feeds]
            if channel == _BOOKS:
                self._leave_out(products, "asked for anew")
                self._anew_s.update(dict.fromkeys(products, now_s))
            elif products:
                self._requests.renew(channel, products, now_s)

    def _follow(self, frame: Frame) -> None:
        step = self._counter.take(whole(frame.body, "sequence_num"))
        if step.verdict is Verdict.GAP:
            self._lost(step, frame.now_s)
        elif step.verdict in {Verdict.DUPLICATE, Verdict.OUT_OF_ORDER}:
            self._reject(frame.raw, f"{step.verdict.value}: sequence_num {step.got}, expected {step.expected}")
            return
        channel = text(frame.body, "channel")
        if channel == "subscriptions":
            self._granted()
        elif channel in self._readers:
            try:
                self._readers[channel](frame)
            except _BAD_FRAME as error:
                self._reject(frame.raw, error)

    def _lost(self, step: Step, now_s: float) -> None:
        self._sink.note(
            Event.GAP,
            self.feeds,
            reason=step.reason or step.verdict.value,
            count=step.missing,
            detail={"expected": step.expected, "got": step.got},
            conn=self._conn,
            from_ns=self._heard_ns or None,
        )
        self._books.clear()
        self._want_anew(self._feeds.get(_BOOKS, ()), now_s)

    def _want_anew(self, products: Iterable[str], now_s: float) -> None:
        """Have books asked for anew: at once, but later and later where that does not last."""
        self._losses = self._losses + 1 if now_s - self._lost_s < _CALM_S else 0
        self._lost_s = now_s
        delay_s = _ANEW_BACKOFF.delay_s(self._losses, self._chance) if self._losses else 0.0
        self._anew_s.update(dict.fromkeys(products, now_s + delay_s))

    def _read_books(self, frame: Frame) -> None:
        feeds = self._feeds.get(_BOOKS, {})
        events = [(text(event, "product_id"), event) for event in parts(frame.body, "events")]
        broken: list[str] = []
        try:
            read = partial(self._read_book, frame, broken)
            self._each(read, [(feeds[product], event) for product, event in events if product in feeds])
        finally:
            if broken:
                self._want_anew(broken, frame.now_s)

    def _read_book(self, frame: Frame, broken: list[str], feed: LaneFeed, event: Mapping[str, Any]) -> None:
        time, sequence = text(frame.body, "timestamp"), whole(frame.body, "sequence_num") or 0
        product = text(event, "product_id")
        book = self._books.pop(product, None)
        try:
            if text(event, "type") == "snapshot":
                book = Book(event["updates"])
            elif book is None:
                return  # changes of a book that is not whole; its hole is open until it is
            else:
                book.apply(event["updates"])
            update = book_update(book, feed.market, depth=self._depth, time=time, sequence=sequence)
        except _BAD_FRAME:
            broken.append(product)
            raise
        self._books[product] = book
        self._anew_s.pop(product, None)
        self._enter(feed, update, frame)

    def _read_trades(self, frame: Frame) -> None:
        is_snapshot = any(text(event, "type") == "snapshot" for event in parts(frame.body, "events"))

        def read(feed: LaneFeed, trades: Sequence[Mapping[str, Any]]) -> None:
            self._enter(feed, trades_update(trades, feed.market), frame, is_snapshot=is_snapshot)

        self._each(read, self._sorted(frame, "market_trades", "trades"))

    def _read_tickers(self, frame: Frame) -> None:
        time = text(frame.body, "timestamp")

        def read(feed: LaneFeed, ticker: Mapping[str, Any]) -> None:
            self._enter(feed, ticker_update(ticker, feed.market, time=time), frame)

        listed = self._sorted(frame, "ticker", "tickers")
        self._each(read, [(feed, ticker) for feed, tickers in listed for ticker in tickers])

    def _read_candles(self, frame: Frame) -> None:
        def read(feed: LaneFeed, candles: Sequence[Mapping[str, Any]]) -> None:
            self._enter(feed, candles_update(candles), frame)

        self._each(read, self._sorted(frame, "candles", "candles"))

    def _each(self, read: Callable[[LaneFeed, _Item], None], items: Iterable[tuple[LaneFeed, _Item]]) -> None:
        """Read every item of a frame, and only then raise the error of the first that cannot be read."""
        errors: list[Exception] = []
        for feed, item in items:
            try:
                read(feed, item)
            except _BAD_FRAME as error:
                self._sink.note(Event.GAP, [feed], reason=f"{type(error).__name__}: {error}"[:500], conn=self._conn)
                errors.append(error)
        if errors:
            raise errors[0]

    def _sorted(self, frame: Frame, channel: str, listed: str) -> list[tuple[LaneFeed, list[dict[str, Any]]]]:
        """Return what a frame lists, by feed; what nobody asked for is left out."""
        feeds = self._feeds.get(channel, {})
        found: dict[str, list[dict[str, Any]]] = {}
        for event in parts(frame.body, "events"):
            for item in parts(event, listed):
                found.setdefault(text(item, "product_id"), []).append(item)
        return [(feeds[product], items) for product, items in found.items() if product in feeds]

    def _enter(self, feed: LaneFeed, update: Update, frame: Frame, *, is_snapshot: bool = False) -> None:
        self._sink.record(
            feed,
            update.data,
            exchange_ms=update.exchange_ms,
            at_ns=frame.at_ns,
            conn=self._conn,
            snapshot=is_snapshot,
        )

    def _leave_out(self, products: Sequence[str], reason: str) -> None:
        feeds = [self._feeds[_BOOKS][product] for product in products if self._books.pop(product, None)]
        if feeds:
            self._sink.note(Event.GAP, feeds, reason=reason, conn=self._conn)

    def _granted(self) -> None:
        request = self._requests.granted()
        if request is None:
            return
        if request.type == "subscribe" and request.products:
            self._sink.note(Event.SUBSCRIBED, self._feeds_of(request), conn=self._conn)
        elif request.type == "unsubscribe" and request.channel == _BOOKS:
            # A whole book that was on its way when we left it, of which nothing follows.
            self._leave_out(request.products, "asked for anew")

    def _refusal(self, body: Mapping[str, Any], now_s: float) -> None:
        reason = ": ".join(part for part in (text(body, "message"), text(body, "reason")) if part) or "no reason given"
        if self._is_signed and _CREDENTIALS.search(reason):
            raise ConnectionLostError(f"coinbase.api_key and api_secret are refused: {reason}")
        asked = self._requests.asked
        refused = self._requests.refused(reason, now_s)
        if refused is not None:
            told = f"{refused.type} of {refused.channel} refused: {reason}"
            self._sink.note(Event.REJECTED, self._feeds_of(refused), reason=told, conn=self._conn)
        elif asked is None:
            self._sink.note(Event.REJECTED, reason=f"error: {reason}", conn=self._conn)

    def _feeds_of(self, request: Request) -> list[LaneFeed]:
        return [self._feeds[request.channel][product] for product in request.products]

    def _reject(self, raw: bytes, why: str | Exception) -> None:
        reject(self._sink, raw, why, conn=self._conn)

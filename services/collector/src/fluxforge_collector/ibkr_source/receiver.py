"""The receiver: hears the callbacks of one session and enters each into the lane, where ib_async would keep the newest.

A read of the socket is stamped before anything in it is decoded; all its messages bear that stamp.
"""

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final, Protocol

from fluxforge_collector.ibkr_source.book import Book, RowsBrokenError
from fluxforge_collector.ibkr_source.contracts import Subscription
from fluxforge_collector.ibkr_source.quote import Quote
from fluxforge_collector.ibkr_source.unify import (
    Bar,
    Print,
    bar_data,
    book_data,
    ticker_data,
    touch_data,
    trade_data,
)
from fluxforge_collector.ibkr_source.unread import concerned
from fluxforge_collector.lane_feed import LaneFeed
from fluxforge_collector.rejected import reject
from fluxforge_collector.source import Sink

_MS: Final = 1_000
_LAST_TIME: Final = frozenset({45, 88})
"""Ticks that bear the time of the last trade, as whole seconds in text: live, delayed."""
_HALTED: Final = frozenset({49, 90})
_REASON_CHARS_KEPT: Final = 500


class Request:
    """One request that was made, and what came of it."""

    __slots__ = ("book", "feed", "is_answered", "market", "quote", "subscription")

    def __init__(self, subscription: Subscription, feed: LaneFeed, rows_max: int) -> None:
        self.subscription = subscription
        self.feed = feed
        self.market = feed.market
        self.is_answered = False
        self.quote = Quote()
        self.book = Book(rows_max)


class Director(Protocol):
    """Who made the requests and decides what follows from what is said of them."""

    def told(self, request: Request | None, code: int, text: str) -> None:
        """Take a code; `request` is None where it concerns the session."""
        ...

    def broken(self, request: Request, reason: str) -> None:
        """Take that a book cannot be kept any longer."""
        ...

    def answered(self, request: Request) -> None:
        """Take that the first data of a request came."""
        ...

    def torn(self, requests: Sequence[Request], reason: str) -> None:
        """Take that a message which may have been of any of these could not be read."""
        ...

    def failed(self, error: Exception) -> None:
        """Take an error of our own: no message is to blame for it."""
        ...


class Receiver:
    """Hears one session. `requests` by number: what comes for others was asked for no longer."""

    def __init__(self, sink: Sink, director: Director) -> None:
        self._sink = sink
        self._director = director
        self._at_ns = 0
        self._changed: dict[Request, None] = {}
        self._failure: Exception | None = None
        self.conn = 0
        """The connection's number in the lane."""
        self.reads = 0
        """Reads of the socket so far: the sign of its life."""
        self.requests: dict[int, Request] = {}

    # The names below are those of ib_async's wrapper, which its client and decoder call.
    # ruff: noqa: N802

    def tcpDataArrived(self) -> None:
        """Stamp a read."""
        self._at_ns = self._sink.now()
        self.reads += 1

    def tcpDataProcessed(self) -> None:
        """Tell the books that a read changed."""
        if not self._changed:
            return
        changed, self._changed = self._changed, {}
        for request in changed:
            try:
                levels = request.book.settled()
            except RowsBrokenError as error:
                self._break(request, error)
                continue
            if levels is not None:
                self._enter(request, book_data(request.market, *levels), None)

    def priceSizeTick(self, number: int, tick_type: int, price: float, size: float) -> None:
        """Take a price and its size."""
        request = self.requests.get(number)
        if request is not None and request.quote.price(tick_type, price, size):
            self._enter_quote(request)

    def tickSize(self, number: int, tick_type: int, size: float) -> None:
        """Take a size alone."""
        request = self.requests.get(number)
        if request is not None and request.quote.size(tick_type, size):
            self._enter_quote(request)

    def tickString(self, number: int, tick_type: int, value: str) -> None:
        """Take the time of the last trade."""
        request = self.requests.get(number)
        if request is not None and tick_type in _LAST_TIME:
            request.quote.fields["lastTradeTimestamp"] = int(value) * _MS
            self._enter_quote(request)

    def tickGeneric(self, number: int, tick_type: int, value: float) -> None:
        """Take whether trading is halted."""
        request = self.requests.get(number)
        if request is not None and tick_type in _HALTED:
            request.quote.fields["halted"] = value > 0
            self._enter_quote(request)

    def tickOptionComputation(self, *_computed: Any) -> None:
        """Pass over what the venue computed: no trade, no quote."""

    def marketDataType(self, number: int, market_data_type: int) -> None:
        """Take whether what follows is live."""
        request = self.requests.get(number)
        if request is not None:
            request.quote.market_data_type(market_data_type)

    def tickByTickAllLast(
        self, number: int, _kind: int, at_s: int, price: float, size: float, attributes: Any, exchange: str, codes: str
    ) -> None:
        """Take a trade."""
        request = self.requests.get(number)
        if request is not None:
            trade = Print(at_s, price, size, exchange, codes, attributes.pastLimit, attributes.unreported)
            self._enter(request, trade_data(request.market, trade), at_s * _MS)

    def tickByTickBidAsk(
        self, number: int, at_s: int, bid: float, ask: float, bid_size: float, ask_size: float, _attributes: Any
    ) -> None:
        """Take a change of the touch."""
        request = self.requests.get(number)
        if request is not None:
            data = touch_data(request.market, at_s, (bid, bid_size), (ask, ask_size))
            self._enter(request, data, at_s * _MS)

    def updateMktDepth(self, number: int, position: int, operation: int, side: int, price: float, size: float) -> None:
        """Take a row of a book of whole levels."""
        self.updateMktDepthL2(number, position, "", operation, side, price, size)

    def updateMktDepthL2(
        self,
        number: int,
        position: int,
        maker: str,
        operation: int,
        side: int,
        price: float,
        size: float,
        _is_smart: bool = False,  # noqa: FBT001, FBT002 - as ib_async calls it
    ) -> None:
        """Take a row of a book of market makers or exchanges; side 1 is the bid."""
        request = self.requests.get(number)
        if request is None:
            return
        try:
            request.book.take(operation, position, (price, size, maker), is_bid=side == 1)
        except RowsBrokenError as error:
            self._changed.pop(request, None)
            self._break(request, error)
        else:
            self._changed[request] = None

    def realtimeBar(self, number: int, *bar: Any) -> None:
        """Take a bar: start, open, high, low, close, volume, average price, trades."""
        request = self.requests.get(number)
        if request is not None:
            made = Bar(*bar)
            self._enter(request, bar_data(made), made.start_s * _MS)

    def rerouteMktDataReq(self, number: int, con_id: int, exchange: str) -> None:
        """Take that the data of a contract for difference is that of another contract."""
        self._rerouted(number, con_id, exchange)

    def rerouteMktDepthReq(self, number: int, con_id: int, exchange: str) -> None:
        """Take the same of depth."""
        self._rerouted(number, con_id, exchange)

    def error(self, number: int, code: int, text: str, _advanced: str) -> None:
        """Take a code."""
        with self._ours():
            self._director.told(self.requests.get(number), code, text)

    def undecoded(self, error: BaseException, fields: Sequence[str]) -> None:
        """Note a message that could not be read, and have it told whose it may have been."""
        if error is self._failure:
            return  # ours: the message was read
        reason = f"{type(error).__name__}: {error}"[:_REASON_CHARS_KEPT]
        requests = [self.requests[number] for number in concerned(fields, self.requests)]
        with self._ours():
            feeds = [request.feed for request in requests]
            reject(self._sink, "\0".join(fields).encode(), error, conn=self.conn, feeds=feeds)
            self._director.torn(requests, f"a message could not be read: {reason}")

    def clear_book(self, request: Request) -> None:
        """Empty a book whose rows are void."""
        request.book.clear()
        self._changed.pop(request, None)

    def forget(self, number: int | None) -> Request | None:
        """Hear no more of a request, nor tell what the read under way changed of its book; return it, if any."""
        request = None if number is None else self.requests.pop(number, None)
        if request is not None:
            self._changed.pop(request, None)
        return request

    def forget_all(self) -> None:
        """Hear nothing any more."""
        self.requests.clear()
        self._changed.clear()

    def pass_over_changes(self, feeds: Collection[LaneFeed]) -> None:
        """Leave what the read under way changed so far of these books to the read that changes them next."""
        self._changed = {request: None for request in self._changed if request.feed not in feeds}

    def _rerouted(self, number: int, con_id: int, exchange: str) -> None:
        request = self.requests.get(number)
        if request is not None:
            text = f"its market data is that of con_id {con_id} on {exchange}; configure that one"
            with self._ours():
                self._director.told(request, 0, text)

    def _break(self, request: Request, error: RowsBrokenError) -> None:
        with self._ours():
            self._director.broken(request, str(error))

    def _enter_quote(self, request: Request) -> None:
        self._enter(request, ticker_data(request.market, request.quote.fields), None)

    def _enter(self, request: Request, data: bytes, exchange_ms: int | None) -> None:
        with self._ours():
            if not request.is_answered:
                request.is_answered = True
                self._director.answered(request)
            self._sink.record(request.feed, data, exchange_ms=exchange_ms, at_ns=self._at_ns, conn=self.conn)

    @contextmanager
    def _ours(self) -> Iterator[None]:
        """Tell of what fails within: ib_async takes all that its callbacks raise for the fault of a message."""
        try:
            yield
        except Exception as error:
            self._failure = error
            self._director.failed(error)
            raise

"""Translation: the DBN records of one file or stream, one after another, as updates of feeds. Pure.

A book is told when an event ends (the flag LAST): between the records of one event it is nobody's book. A book kept
order by order is told once it began with a clear; where orders were missed it is doubted, and not told until the next.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from databento_dbn import (
    F_LAST,
    F_MAYBE_BAD_BOOK,
    F_SNAPSHOT,
    F_TOB,
    UNDEF_PRICE,
    InstrumentDefMsg,
    MBOMsg,
    MBP1Msg,
    MBP10Msg,
    OHLCVMsg,
    TradeMsg,
)

from fluxforge.domain.errors import RecordError
from fluxforge.runtime.settings.databento import BOOK_SCHEMAS
from fluxforge_collector.databento_source.book import Level, OrderBook, UnknownOrderError
from fluxforge_collector.databento_source.markets import LiveMarkets, Markets
from fluxforge_collector.databento_source.unify import (
    PRICE_UNIT,
    book_data,
    candle_data,
    definition_data,
    levels_of,
    ms_of,
    trade_data,
)

BOOKS: Final = "orderbook"
TRADES: Final = "trades"
_S: Final = 1_000_000_000
_CANDLES: Final = {
    "ohlcv-1s": ("ohlcv_1s", _S),
    "ohlcv-1m": ("ohlcv", 60 * _S),
    "ohlcv-1h": ("ohlcv_1h", 3_600 * _S),
    "ohlcv-1d": ("ohlcv_1d", 86_400 * _S),
}
"""Schema -> channel and length, ns. Candles of a minute stand in ccxt's channel, whose rows do not say how long."""

DEFINITIONS: Final = "definition"


def channel_of(schema: str) -> str:
    """Return the channel of a schema's own records; trades among those of a book schema go to `trades`."""
    if schema in BOOK_SCHEMAS:
        return BOOKS
    return _CANDLES[schema][0] if schema in _CANDLES else schema


def length_ns_of(schema: str) -> int:
    """Return how long after its event a record of a schema is known, ns: of candles, whose event is their begin."""
    return _CANDLES[schema][1] if schema in _CANDLES else 0


class Update(NamedTuple):
    """What becomes one record. `at_ns`: when Databento received it, ns UTC; a candle is known when it ends."""

    at_ns: int
    channel: str
    market: str
    exchange_ms: int | None
    data: bytes


class Doubt(NamedTuple):
    """From here on a feed is not whole, until its next update. `records`: how many of DBN's are concerned."""

    at_ns: int
    channel: str
    market: str
    reason: str
    records: int


Told = Update | Doubt


@dataclass(slots=True)
class _Book:
    """One instrument's book: whether it is the venue's, and what came since it was told last."""

    publisher_id: int
    is_whole: bool
    is_doubted: bool = False
    pending: int = 0
    left_out: int = 0
    last_ns: int = 0
    market: str = ""
    orders: OrderBook = field(default_factory=lambda: OrderBook(PRICE_UNIT))


class Translator:
    """Translates the records of one file or subscription, of one schema.

    `depth`: levels per side told of books kept order by order. `with_trades`: whether the trades among the records of
    a book schema are told too.
    """

    def __init__(self, schema: str, markets: Markets | LiveMarkets, *, depth: int, with_trades: bool) -> None:
        if schema not in SCHEMAS:
            raise RecordError(f"schema {schema!r}: expected one of {', '.join(SCHEMAS)}")
        self._schema = schema
        self._markets = markets
        self._depth = depth
        self._with_trades = with_trades
        self._books: dict[int, _Book] = {}
        self._trade_ids: dict[tuple[int, int], tuple[int, int]] = {}
        self._first_publishers: dict[int, int] = {}
        self._take: Callable[[Any], Iterator[Told]] = getattr(self, SCHEMAS[schema])

    def take(self, record: object) -> Iterator[Told]:
        """Yield what a record tells.

        Raises:
            RecordError: A record of another schema, or a book of which a second venue tells.
        """
        return self._take(record)

    def is_whole(self, instrument_id: int) -> bool:
        """Return whether an instrument's book is the venue's, as far as its orders tell."""
        return self._books[instrument_id].is_whole

    def end(self) -> Iterator[Told]:
        """Yield what could not be told: of a book that was doubted, and of an event that never ended."""
        for book in self._books.values():
            if book.left_out:
                yield Doubt(book.last_ns, BOOKS, book.market, "no book could be told of these", book.left_out)
            if book.pending:
                reason = "the records end within an event"
                yield Doubt(book.last_ns, BOOKS, book.market, reason, book.pending)

    def _trade(self, record: TradeMsg | MBOMsg | MBP1Msg | MBP10Msg) -> Iterator[Told]:
        if record.price == UNDEF_PRICE:
            raise RecordError("a trade without a price")
        market = self._markets.name(record.instrument_id, record.ts_recv)
        trade_id = self._trade_id(record)
        data = trade_data(market, trade_id, str(record.side), record.price, record.size, record.ts_event)
        yield Update(record.ts_recv, TRADES, market, ms_of(record.ts_event), data)

    def _trade_id(self, record: TradeMsg | MBOMsg | MBP1Msg | MBP10Msg) -> str | None:
        """Return the venue's sequence, which several trades of one message share: these are counted.

        Another venue's sequences of the same instrument are its own: all but the first one's have its number.
        """
        sequence, publisher = record.sequence, record.publisher_id
        if not sequence:
            return None
        stream = publisher, record.instrument_id
        before, count = self._trade_ids.get(stream, (0, 0))
        count = count + 1 if before == sequence else 0
        self._trade_ids[stream] = sequence, count
        first = self._first_publishers.setdefault(record.instrument_id, publisher)
        venue = "" if publisher == first else f"@{publisher}"
        return f"{sequence}.{count}{venue}" if count else f"{sequence}{venue}"

    def _take_trade(self, record: object) -> Iterator[Told]:
        return self._trade(_of(record, TradeMsg))

    def _take_levels(self, record: object) -> Iterator[Told]:
        taken = _of(record, MBP10Msg if self._schema == "mbp-10" else MBP1Msg)
        if str(taken.action) == "T" and self._with_trades:
            yield from self._trade(taken)
        book = self._book(taken, is_whole=True)
        if taken.flags & F_MAYBE_BAD_BOOK:
            yield from _doubted(book, taken, "the publisher doubts its book")
        if taken.flags & F_LAST and taken.flags & F_MAYBE_BAD_BOOK:
            book.left_out += book.pending
            book.pending = 0
        elif taken.flags & F_LAST:
            levels = taken.levels
            bids = levels_of((level.bid_px, level.bid_sz) for level in levels)
            yield self._told(book, taken, bids, levels_of((level.ask_px, level.ask_sz) for level in levels))

    def _take_order(self, record: object) -> Iterator[Told]:
        taken = _of(record, MBOMsg)
        action = str(taken.action)
        if action == "T" and self._with_trades:
            yield from self._trade(taken)
        book = self._book(taken, is_whole=False)
        if taken.flags & F_MAYBE_BAD_BOOK and book.is_whole and action != "R":
            book.is_whole = False
            yield from _doubted(book, taken, "the publisher doubts its book")
        if action == "R":
            book.is_whole = True
            book.orders.clear()
        elif action in {"A", "C", "M"} and not book.is_whole:
            book.left_out += 1
            yield from _doubted(book, taken, "orders of a book whose begin is not known")
        elif action in {"A", "C", "M"}:
            try:
                _apply(book.orders, taken, action)
            except UnknownOrderError as error:
                book.is_whole = False
                book.left_out += 1
                yield from _doubted(book, taken, str(error))
        if not taken.flags & F_LAST:
            return
        if book.is_whole:
            yield self._told(book, taken, book.orders.bids(self._depth), book.orders.asks(self._depth))
        book.pending = 0

    def _take_candle(self, record: object) -> Iterator[Told]:
        taken = _of(record, OHLCVMsg)
        channel, length_ns = _CANDLES[self._schema]
        market = self._markets.name(taken.instrument_id, taken.ts_event)
        data = candle_data(taken, as_list=channel == "ohlcv")
        yield Update(taken.ts_event + length_ns, channel, market, ms_of(taken.ts_event), data)

    def _take_definition(self, record: object) -> Iterator[Told]:
        taken = _of(record, InstrumentDefMsg)
        market = taken.raw_symbol or self._markets.name(taken.instrument_id, taken.ts_recv)
        yield Update(taken.ts_recv, DEFINITIONS, market, ms_of(taken.ts_event), definition_data(taken))

    def _book(self, record: MBOMsg | MBP1Msg | MBP10Msg, *, is_whole: bool) -> _Book:
        """Return the book that a record is of, with the record among those that wait for the end of their event."""
        book = self._books.get(record.instrument_id)
        if book is None:
            book = self._books[record.instrument_id] = _Book(record.publisher_id, is_whole)
        if book.publisher_id != record.publisher_id:
            which = f"publishers {book.publisher_id} and {record.publisher_id}"
            raise RecordError(f"instrument {record.instrument_id}: books of {which} in one file; ask for one of them")
        book.market = self._markets.name(record.instrument_id, record.ts_recv)
        book.last_ns = record.ts_recv
        book.pending += 1
        return book

    def _told(
        self,
        book: _Book,
        record: MBOMsg | MBP1Msg | MBP10Msg,
        bids: list[Level],
        asks: list[Level],
    ) -> Update:
        book.pending = 0
        book.is_doubted = False
        # The event time of a snapshot is that of its last order, which may have stood for days.
        ms = None if record.flags & F_SNAPSHOT else ms_of(record.ts_event)
        return Update(record.ts_recv, BOOKS, book.market, ms, book_data(book.market, bids, asks, ms, record.sequence))


def _of(record: object, kind: type[Any]) -> Any:
    if type(record) is not kind:
        raise RecordError(f"a record of another schema: {type(record).__name__}, expected {kind.__name__}")
    return record


def _doubted(book: _Book, record: MBOMsg | MBP1Msg | MBP10Msg, reason: str) -> Iterator[Doubt]:
    """Yield the doubt once, until the book is told again."""
    if not book.is_doubted:
        book.is_doubted = True
        yield Doubt(record.ts_recv, BOOKS, book.market, reason, 1)


def _apply(orders: OrderBook, record: MBOMsg, action: str) -> None:
    is_bid = str(record.side) == "B"
    if record.flags & F_TOB:
        orders.replace_side(None if record.price == UNDEF_PRICE else record.price, record.size, is_bid=is_bid)
    elif action == "C":
        orders.cancel(record.order_id, record.size)
    else:
        orders.add(record.order_id, record.price, record.size, is_bid=is_bid)


SCHEMAS: Final = {
    TRADES: "_take_trade",
    "mbp-1": "_take_levels",
    "mbp-10": "_take_levels",
    "mbo": "_take_order",
    **dict.fromkeys(_CANDLES, "_take_candle"),
    DEFINITIONS: "_take_definition",
}
"""The schemas that are translated, and by what."""

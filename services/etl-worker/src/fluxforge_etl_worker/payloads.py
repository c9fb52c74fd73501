"""Payloads: the `data` of a record, parsed by channel with pysimdjson.

Every text is parsed alone, so that one bad record spoils nothing; whatever is not what the channel promises raises
RecordError. `Array.as_buffer` flattens any nesting and tells no shape. A book's shape is therefore proved level by
level, once for each skeleton: the text without numbers. Texts of one skeleton nest alike, but for a bare number where
a list was empty, and that shows in the buffer's size.
"""

from collections.abc import Iterable
from typing import Any, Final, NamedTuple

import simdjson

from fluxforge.domain.errors import RecordError
from fluxforge_etl_worker.schemas import STRUCTURES, TICKER_FIELDS
from fluxforge_etl_worker.structures import structure_row
from fluxforge_etl_worker.values import check_writable, kind_of, milliseconds_of, number_of, text_of

_UNREADABLE: Final = (ValueError, TypeError, KeyError, AttributeError, RuntimeError)
_NUMBERS_AND_SPACE: Final = b"0123456789.eE+- \t\r\n"
_PAIR_BYTES: Final = 16
_NO_SHAPE: Final = (-1, -1)
_SHAPES_MAX: Final = 512
_MS_MAX: Final = 2**53
_DEPTH_MAX: Final = 200  # what nests less can be written as JSON again
_SIDES: Final = frozenset({"buy", "sell", None})


Book = tuple[bytes, bytes, tuple[int, int]]
"""Bids and asks as buffers of doubles: price, size, price, size, ...; and the number of bytes of each."""


class Trade(NamedTuple):
    """One trade of a record, as ccxt unifies it; `cost` NaN where absent."""

    trade_id: str | None
    side: str | None
    price: float
    amount: float
    cost: float
    taker_or_maker: str | None
    exchange_ms: int | None


class PayloadParser:
    """Parses payloads one after another; holds the simdjson parser, which a failed parse may not give back."""

    __slots__ = ("_parser", "_shapes")

    def __init__(self) -> None:
        self._parser = simdjson.Parser()
        self._shapes: dict[bytes, tuple[int, int]] = {}

    def book(self, text: bytes) -> Book:
        """Return the bids and the asks.

        Raises:
            RecordError: Not `{"bids": [[price, size], ...], "asks": [[price, size], ...]}`.
        """
        # Many books parsed as one text are no quicker: most of the time goes into their digits.
        skeleton = text.translate(None, _NUMBERS_AND_SPACE)
        try:
            document: dict[str, simdjson.Array] = self._parser.parse(text)  # type: ignore[assignment] # or it raises below
            bids, asks = document["bids"].as_buffer(of_type="d"), document["asks"].as_buffer(of_type="d")
            shape = self._shapes.get(skeleton) or self._new_shape(skeleton, document["bids"], document["asks"])
        except _UNREADABLE as error:
            self._replace_parser()
            raise RecordError(f"book: {_text(error)}") from None
        if 0 in shape and (memoryview(bids).nbytes, memoryview(asks).nbytes) != shape:
            shape = _NO_SHAPE
        if shape is _NO_SHAPE:
            raise RecordError("book: expected bids and asks as lists of [price, size]")
        return bids, asks, shape

    def trades(self, text: bytes) -> list[Trade]:
        """Return the trades of a record.

        Raises:
            RecordError: Not a list of trades with a price and an amount each.
        """
        found = self._parsed(text, "trades")
        if not isinstance(found, list):
            raise RecordError(f"trades: expected a list, was {kind_of(found)}")
        return [_trade(item) for item in found]

    def ticker(self, text: bytes) -> list[float]:
        """Return the values of a ticker in the order of TICKER_FIELDS, NaN where the venue gives none.

        Raises:
            RecordError: Not an object, or a field is neither number nor null.
        """
        found = self._parsed(text, "ticker")
        if not isinstance(found, dict):
            raise RecordError(f"ticker: expected an object, was {kind_of(found)}")
        return [number_of(found.get(name), name, optional=True) for name in TICKER_FIELDS.values()]

    def generic(self, text: bytes, channel: str) -> list[dict[str, Any]]:
        """Return the rows of any other channel: one object, or a list of them.

        Raises:
            RecordError: The text is not JSON, or not of the structure that ccxt fixes for the channel.
        """
        found = self._parsed(text, channel)
        if text.count(b"[") + text.count(b"{") > _DEPTH_MAX:
            check_writable(found, channel)
        items: Iterable[Any] = found if isinstance(found, list) else [found]
        if channel in STRUCTURES:
            return [structure_row(channel, item) for item in items]
        return [item if isinstance(item, dict) else {"value": item} for item in items]

    def _parsed(self, text: bytes, what: str) -> Any:
        try:
            return self._parser.parse(text, recursive=True)
        except _UNREADABLE as error:
            self._replace_parser()
            raise RecordError(f"{what}: {_text(error)}") from None

    def _new_shape(self, skeleton: bytes, bids: simdjson.Array, asks: simdjson.Array) -> tuple[int, int]:
        """Return the bytes of both buffers if both are lists of pairs; whatever has this skeleton is then the same."""
        if not (_holds_only_pairs(bids) and _holds_only_pairs(asks)):
            return _NO_SHAPE
        if len(self._shapes) >= _SHAPES_MAX:
            self._shapes.clear()
        shape = self._shapes[skeleton] = _PAIR_BYTES * len(bids), _PAIR_BYTES * len(asks)
        return shape

    def _replace_parser(self) -> None:
        # While a document lives - the frame of a traceback is enough - its parser refuses the next, good line.
        self._parser = simdjson.Parser()


def _trade(item: object) -> Trade:
    if not isinstance(item, dict):
        raise RecordError(f"trades: expected objects, was {kind_of(item)}")
    side = item.get("side")
    if side not in _SIDES:
        raise RecordError(f"trades: side: expected buy or sell, was {side!r}")
    trade_id, price, amount, cost = item.get("id"), item.get("price"), item.get("amount"), item.get("cost")
    taker_or_maker, exchange_ms = item.get("takerOrMaker"), item.get("timestamp")
    # The usual types are told apart here, which spares a call for each field.
    return Trade(
        trade_id if type(trade_id) is str else _trade_id(trade_id),
        side,
        price if type(price) is float else number_of(price, "price"),
        amount if type(amount) is float else number_of(amount, "amount"),
        cost if type(cost) is float else number_of(cost, "cost", optional=True),
        None if taker_or_maker is None else text_of(taker_or_maker, "takerOrMaker"),
        exchange_ms
        if type(exchange_ms) is int and 0 <= exchange_ms < _MS_MAX
        else milliseconds_of(exchange_ms, "timestamp"),
    )


def _trade_id(value: object) -> str | None:
    return str(value) if type(value) is int else text_of(value, "id")


def _text(error: Exception) -> str:
    return f"not JSON of this channel: {str(error) or type(error).__name__}"


def _holds_only_pairs(levels: simdjson.Array) -> bool:
    return all(isinstance(level, simdjson.Array) and len(level) == 2 for level in levels)  # noqa: PLR2004 - a pair

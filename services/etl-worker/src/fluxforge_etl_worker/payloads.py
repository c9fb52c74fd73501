"""Payloads: the `data` of a record, parsed by channel with pysimdjson.

Every text is parsed alone, so that one bad record spoils nothing; whatever is not what the channel promises raises
RecordError. `Array.as_buffer` flattens any nesting and tells no shape, so the shape of a book is proved from its
skeleton: the text without digits, in which a list of pairs can have only one form.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

import simdjson

from fluxforge.domain.errors import RecordError
from fluxforge_etl_worker.schemas import TICKER_FIELDS

_UNREADABLE: Final = (ValueError, TypeError, KeyError, AttributeError, RuntimeError)
_NUMBERS_AND_SPACE: Final = b"0123456789.eE+- \t\r\n"
_PAIR_BYTES: Final = 16
_BIDS: Final = b'"bids":'
_ASKS: Final = b'"asks":'
_SIDES: Final = frozenset({"buy", "sell", None})
_OHLCV: Final = ("timestamp", "open", "high", "low", "close", "volume")


@dataclass(frozen=True, slots=True)
class Trade:
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

    __slots__ = ("_parser",)

    def __init__(self) -> None:
        self._parser = simdjson.Parser()

    def book(self, text: bytes) -> tuple[bytes, bytes]:
        """Return the bids and the asks as buffers of doubles: price, size, price, size, ...

        Raises:
            RecordError: Not `{"bids": [[price, size], ...], "asks": [[price, size], ...]}`.
        """
        skeleton = text.translate(None, _NUMBERS_AND_SPACE)
        try:
            document = self._parser.parse(text)
            bids = _pairs(document["bids"], skeleton, _BIDS)  # type: ignore[index, call-overload, arg-type] - the except names what this may be
            asks = _pairs(document["asks"], skeleton, _ASKS)  # type: ignore[index, call-overload, arg-type] - the same
        except _UNREADABLE as error:
            self._replace_parser()
            raise RecordError(f"book: {_text(error)}") from None
        except RecordError:
            self._replace_parser()
            raise
        return bids, asks

    def trades(self, text: bytes) -> list[Trade]:
        """Return the trades of a record.

        Raises:
            RecordError: Not a list of trades with a price and an amount each.
        """
        found = self._parsed(text, "trades")
        if not isinstance(found, list):
            raise RecordError(f"trades: expected a list, was {_kind(found)}")
        return [_trade(item) for item in found]

    def ticker(self, text: bytes) -> list[float]:
        """Return the values of a ticker in the order of TICKER_FIELDS, NaN where the venue gives none.

        Raises:
            RecordError: Not an object, or a field is neither number nor null.
        """
        found = self._parsed(text, "ticker")
        if not isinstance(found, dict):
            raise RecordError(f"ticker: expected an object, was {_kind(found)}")
        return [_number(found.get(name), name, optional=True) for name in TICKER_FIELDS.values()]

    def generic(self, text: bytes, channel: str) -> list[dict[str, Any]]:
        """Return the rows of any other channel: one object, or a list of them; a candle is named by its fields.

        Raises:
            RecordError: The text is not JSON.
        """
        found = self._parsed(text, channel)
        items: Iterable[Any] = found if isinstance(found, list) else [found]
        return [_row(item, channel) for item in items]

    def _parsed(self, text: bytes, what: str) -> Any:
        try:
            return self._parser.parse(text, recursive=True)
        except _UNREADABLE as error:
            self._replace_parser()
            raise RecordError(f"{what}: {_text(error)}") from None

    def _replace_parser(self) -> None:
        # While a document lives - the frame of a traceback is enough - its parser refuses the next, good line.
        self._parser = simdjson.Parser()


def _pairs(levels: "simdjson.Array", skeleton: bytes, key: bytes) -> bytes:
    buffer = levels.as_buffer(of_type="d")
    count = len(levels)
    if memoryview(buffer).nbytes != _PAIR_BYTES * count or not (
        _is_list_of_pairs(skeleton, key, count) or _holds_only_pairs(levels)
    ):
        raise RecordError(f"book: {key[1:-2].decode()}: expected a list of [price, size]")
    return buffer


def _is_list_of_pairs(skeleton: bytes, key: bytes, count: int) -> bool:
    """Return whether the skeleton proves it; an escape or a second such key proves nothing."""
    at = skeleton.find(key)
    return (
        at >= 0
        and skeleton.startswith(_list_of_pairs(count), at + len(key))
        and skeleton.find(key, at + 1) < 0
        and b"\\" not in skeleton
    )


@lru_cache(maxsize=1024)
def _list_of_pairs(count: int) -> bytes:
    return b"[" + b",".join([b"[,]"] * count) + b"]"


def _holds_only_pairs(levels: "simdjson.Array") -> bool:
    return all(isinstance(level, simdjson.Array) and len(level) == 2 for level in levels)  # noqa: PLR2004 - a pair


def _trade(item: object) -> Trade:
    if not isinstance(item, dict):
        raise RecordError(f"trades: expected objects, was {_kind(item)}")
    side = item.get("side")
    if side not in _SIDES:
        raise RecordError(f"trades: side: expected buy or sell, was {side!r}")
    return Trade(
        trade_id=_trade_id(item.get("id")),
        side=side,
        price=_number(item.get("price"), "price"),
        amount=_number(item.get("amount"), "amount"),
        cost=_number(item.get("cost"), "cost", optional=True),
        taker_or_maker=_string(item.get("takerOrMaker"), "takerOrMaker"),
        exchange_ms=_milliseconds(item.get("timestamp")),
    )


def _trade_id(value: object) -> str | None:
    return str(value) if type(value) is int else _string(value, "id")


def _string(value: object, name: str) -> str | None:
    if value is None or isinstance(value, str):
        return value
    raise RecordError(f"{name}: expected a string, was {_kind(value)}")


def _number(value: object, name: str, *, optional: bool = False) -> float:
    if type(value) is float or type(value) is int:
        return float(value)
    if value is None and optional:
        return math.nan
    raise RecordError(f"{name}: expected a number, was {_kind(value)}")


def _milliseconds(value: object) -> int | None:
    if value is None:
        return None
    if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 2**62 and value == int(value):
        return int(value)
    raise RecordError(f"timestamp: expected whole milliseconds, was {value!r:.40}")


def _row(item: object, channel: str) -> dict[str, Any]:
    if isinstance(item, Mapping):
        return dict(item)
    if channel == "ohlcv" and isinstance(item, list) and len(item) == len(_OHLCV):
        return dict(zip(_OHLCV, item, strict=True))
    return {"value": item}


def _kind(value: object) -> str:
    return "null" if value is None else type(value).__name__


def _text(error: Exception) -> str:
    return f"not JSON of this channel: {str(error) or type(error).__name__}"

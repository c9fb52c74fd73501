"""Kraken v2: books by their CRC-32, made of the digits as sent. Pure.

Frames bear no number. The checksum covers ten levels a side: a loss below them shows only when such a level comes up.
"""

import json  # noqa: TID251 - orjson turns digits into floats, and the checksum is made of the digits
from collections.abc import Mapping
from typing import Any, Final

from fluxforge_collector.continuity.checked_book import CheckedBook
from fluxforge_collector.continuity.finding import BOOK, Finding, Step
from fluxforge_collector.continuity.level_book import LevelBook
from fluxforge_collector.continuity.parse import mentions, number, part, parts, text

_BOOK_CHANNEL: Final = "book"
_BOOK_MARK: Final = '"book"'
_DEPTHS: Final = (10, 25, 100, 500, 1000)
"""What can be subscribed to; the first is what one gets without asking."""


class KrakenDetector:
    """Follows one connection to Kraken v2."""

    def __init__(self) -> None:
        self._books: dict[str, CheckedBook] = {}
        self._depths: dict[str, int] = {}

    def take(self, frame: str | bytes) -> tuple[Finding, ...]:
        """Return what a frame says; acknowledgements tell the depth of the books to come."""
        if not mentions(frame, _BOOK_MARK):
            return ()
        try:
            body = json.loads(frame, parse_float=str, parse_int=str, parse_constant=str)
        except (ValueError, RecursionError):
            return ()
        if not isinstance(body, dict):
            return ()
        if text(body, "method") == "subscribe":
            self._learn_depth(part(body, "result"))
        kind = text(body, "type")
        if text(body, "channel") != _BOOK_CHANNEL or kind not in {"snapshot", "update"}:
            return ()
        found = ((text(data, "symbol"), self._step(kind, data)) for data in parts(body, "data"))
        return tuple(Finding(BOOK, symbol, step) for symbol, step in found if step is not None)

    def take_rest(self, symbol: str, reply: str | bytes) -> tuple[Finding, ...]:  # noqa: ARG002 - its books come in band
        """Return nothing."""
        return ()

    def _learn_depth(self, result: Mapping[str, Any]) -> None:
        depth = number(text(result, "depth"))
        if text(result, "channel") == _BOOK_CHANNEL and depth is not None:
            self._depths[text(result, "symbol")] = depth

    def _step(self, kind: str, data: Mapping[str, Any]) -> Step | None:
        symbol = text(data, "symbol")
        book = self._books.get(symbol)
        if book is None:
            book = self._books[symbol] = CheckedBook(LevelBook.kraken_checksum)
        try:
            bids, asks = ([(level["price"], level["qty"]) for level in data.get(side, ())] for side in ("bids", "asks"))
        except (KeyError, TypeError):
            return book.unplaced("an update whose levels cannot be read")
        sent = number(text(data, "checksum"))
        if kind == "update":
            return book.update(bids, asks, sent)
        return book.snapshot(bids, asks, sent, depth=self._depth(symbol, max(len(bids), len(asks))))

    def _depth(self, symbol: str, levels: int) -> int:
        known = self._depths.get(symbol, _DEPTHS[0])
        return next((depth for depth in _DEPTHS if depth >= max(known, levels)), max(known, levels))

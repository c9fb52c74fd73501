"""OKX v5 and Bitget: books by links (seqId, prevSeqId) where frames bear them, by checksum where they do not. Pure.

A whole book has `prevSeqId` -1. When nothing changed for a while, `seqId` equals `prevSeqId`; after maintenance it may
fall below it. Neither is a gap: what counts is that `prevSeqId` is the `seqId` before.
"""

from collections.abc import Mapping
from typing import Any, Final

from fluxforge_collector.continuity.chain import LinkChain
from fluxforge_collector.continuity.checked_book import CheckedBook
from fluxforge_collector.continuity.finding import BOOK, Finding, Step
from fluxforge_collector.continuity.level_book import LevelBook
from fluxforge_collector.continuity.parse import mentions, parsed, part, parts, text, whole

_LINKED: Final = frozenset({"books", "books-l2-tbt", "books50-l2-tbt"})
"""Channels of changes; all others send whole books, of which each stands for itself."""
_BOOKS_MARK: Final = '"books'
_WHOLE: Final = -1


class OkxDetector:
    """Follows one connection to OKX, or to Bitget, which sends the same frames without links."""

    def __init__(self) -> None:
        self._links: dict[tuple[str, str], LinkChain] = {}
        self._books: dict[tuple[str, str], CheckedBook] = {}

    def take(self, frame: str | bytes) -> tuple[Finding, ...]:
        """Return what a frame says."""
        body = (mentions(frame, _BOOKS_MARK) and parsed(frame)) or {}
        arg, action = part(body, "arg"), text(body, "action")
        channel, symbol = text(arg, "channel"), text(arg, "instId")
        if channel not in _LINKED or not symbol or action not in {"snapshot", "update"}:
            return ()
        key = (f"{text(arg, 'instType')}{channel}", symbol)
        steps = [self._step(key, action, data) for data in parts(body, "data")]
        return tuple(Finding(BOOK, symbol, step) for step in steps if step is not None)

    def take_rest(self, symbol: str, reply: str | bytes) -> tuple[Finding, ...]:  # noqa: ARG002 - its books come in band
        """Return nothing."""
        return ()

    def _step(self, key: tuple[str, str], action: str, data: Mapping[str, Any]) -> Step | None:
        if key in self._links or "seqId" in data or "prevSeqId" in data:
            return self._link(key, action, data)
        return self._check(key, action, data)

    def _link(self, key: tuple[str, str], action: str, data: Mapping[str, Any]) -> Step:
        chain = self._links.get(key)
        if chain is None:
            chain = self._links[key] = LinkChain(in_band=True)
        previous, this = whole(data, "prevSeqId"), whole(data, "seqId")
        if this is None:
            return chain.unplaced("an update without seqId")
        if action == "snapshot" or previous == _WHOLE:
            return chain.restart(this)
        if previous is None:
            return chain.unplaced("an update without prevSeqId")
        return chain.update(previous, this)

    def _check(self, key: tuple[str, str], action: str, data: Mapping[str, Any]) -> Step | None:
        book = self._books.get(key)
        if book is None:
            book = self._books[key] = CheckedBook(LevelBook.colon_checksum)
        try:
            bids, asks = ([(level[0], level[1]) for level in data[side]] for side in ("bids", "asks"))
        except (KeyError, TypeError, IndexError):
            return book.unplaced("an update whose levels cannot be read")
        sent = whole(data, "checksum") or None  # 0 stands where a venue has given its checksums up
        return book.snapshot(bids, asks, sent) if action == "snapshot" else book.update(bids, asks, sent)

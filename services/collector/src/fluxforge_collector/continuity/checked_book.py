"""Checked books: whole books kept beside ccxt's, compared with the checksum the venue sends. Pure.

A mismatch shows that something is missing or was applied wrongly, not what. A loss below the levels that the checksum
covers shows only when such a level comes up.
"""

from collections.abc import Callable, Iterable

from fluxforge_collector.continuity.finding import Step, Verdict
from fluxforge_collector.continuity.level_book import LevelBook, LevelError

Levels = Iterable[tuple[str, str]]
"""(price, size) in the digits that were sent."""


class CheckedBook:
    """One feed's book and whether it is the venue's."""

    __slots__ = ("_book", "_checksum", "_is_sound", "_is_whole")

    def __init__(self, checksum: Callable[[LevelBook], int]) -> None:
        self._checksum = checksum
        self._book = LevelBook()
        self._is_whole = False
        self._is_sound = False

    def snapshot(self, bids: Levels, asks: Levels, sent: int | None, *, depth: int | None = None) -> Step:
        """Take a whole book; one without a checksum begins a feed of which nothing is known yet."""
        self._book = LevelBook(depth)
        self._is_whole = True
        self._is_sound = True
        step = self._take(bids, asks, sent)
        return step._replace(verdict=Verdict.RESYNCED) if step.is_sound else step

    def update(self, bids: Levels, asks: Levels, sent: int | None) -> Step | None:
        """Take changes; None where the venue sent no checksum to go by."""
        if not self._is_whole:
            return Step(Verdict.GAP, is_sound=False, got=sent, reason="an update before the first whole book")
        if not self._is_sound:
            return Step(Verdict.SUSPECT, is_sound=False, got=sent)
        step = self._take(bids, asks, sent)
        return None if sent is None and step.is_sound else step

    def unplaced(self, reason: str) -> Step:
        """Take an update that cannot be applied."""
        self._is_sound = False
        return Step(Verdict.GAP, is_sound=False, reason=reason)

    def _take(self, bids: Levels, asks: Levels, sent: int | None) -> Step:
        try:
            self._book.apply(bids, asks)
        except LevelError as error:
            return self.unplaced(str(error))
        if sent is None:
            return Step(Verdict.SOUND, is_sound=True)
        ours = self._checksum(self._book)
        self._is_sound = ours == sent
        if self._is_sound:
            return Step(Verdict.SOUND, is_sound=True, got=sent)
        return Step(Verdict.GAP, is_sound=False, expected=ours, got=sent, reason="checksum")

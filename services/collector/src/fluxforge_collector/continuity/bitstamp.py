"""Bitstamp: changes of a book by their microtimestamp, which shows order alone. Pure.

Nothing tells what is missing, so nothing is ever called sound here.
"""

from fluxforge_collector.continuity.finding import BOOK, Finding, Step, Verdict
from fluxforge_collector.continuity.parse import parsed, part, text, whole


class BitstampDetector:
    """Follows one connection to Bitstamp."""

    def __init__(self) -> None:
        self._last_us: dict[str, int] = {}

    def take(self, frame: str | bytes) -> tuple[Finding, ...]:
        """Return a finding where a change is older than one before it."""
        body = parsed(frame) or {}
        kind, _, symbol = text(body, "channel").rpartition("_")
        at_us = whole(part(body, "data"), "microtimestamp")
        if kind != "diff_order_book" or text(body, "event") != "data" or at_us is None:
            return ()
        last_us = self._last_us.get(symbol, at_us)
        self._last_us[symbol] = max(last_us, at_us)
        if at_us >= last_us:
            return ()
        return (Finding(BOOK, symbol, Step(Verdict.OUT_OF_ORDER, is_sound=False, expected=last_us, got=at_us)),)

    def take_rest(self, symbol: str, reply: str | bytes) -> tuple[Finding, ...]:  # noqa: ARG002 - it bears no id
        """Return nothing."""
        return ()

"""KuCoin and Gate: books whose updates carry the ids they cover, joined to a whole book. Pure."""

from collections import defaultdict
from typing import Final

from fluxforge_collector.continuity.chain import RangeChain
from fluxforge_collector.continuity.finding import BOOK, Finding
from fluxforge_collector.continuity.parse import parsed, part, text, whole

_GATE_BOOKS: Final = ("order_book_update", "obu")


class KucoinDetector:
    """Follows one connection to KuCoin spot; the whole book is fetched."""

    def __init__(self) -> None:
        self._books: defaultdict[str, RangeChain] = defaultdict(RangeChain)

    def take(self, frame: str | bytes) -> tuple[Finding, ...]:
        """Return what a frame says."""
        body = parsed(frame) or {}
        if text(body, "subject") != "trade.l2update":
            return ()
        data = part(body, "data")
        symbol = text(data, "symbol")
        if not symbol:
            return ()
        first, last = whole(data, "sequenceStart"), whole(data, "sequenceEnd")
        chain = self._books[symbol]
        if first is None or last is None:
            return (Finding(BOOK, symbol, chain.unplaced("an update without sequenceStart or sequenceEnd")),)
        return (Finding(BOOK, symbol, chain.update(first, last)),)

    def take_rest(self, symbol: str, reply: str | bytes) -> tuple[Finding, ...]:
        """Return what a fetched book says."""
        last = whole(part(parsed(reply) or {}, "data"), "sequence")
        return () if last is None else (Finding(BOOK, symbol, self._books[symbol].snapshot(last)),)


class GateDetector:
    """Follows one connection to Gate; the whole book is fetched, or comes as an update marked `full`."""

    def __init__(self) -> None:
        self._books: defaultdict[str, RangeChain] = defaultdict(RangeChain)

    def take(self, frame: str | bytes) -> tuple[Finding, ...]:
        """Return what a frame says."""
        body = parsed(frame) or {}
        if text(body, "event") != "update" or text(body, "channel").rpartition(".")[2] not in _GATE_BOOKS:
            return ()
        result = part(body, "result")
        symbol = _gate_symbol(text(result, "s"))
        if not symbol:
            return ()
        first, last = whole(result, "U"), whole(result, "u")
        chain = self._books[symbol]
        if last is None or (first is None and not result.get("full")):
            return (Finding(BOOK, symbol, chain.unplaced("an update without U or u")),)
        if result.get("full") or first is None:
            return (Finding(BOOK, symbol, chain.restart(last)),)
        return (Finding(BOOK, symbol, chain.update(first, last)),)

    def take_rest(self, symbol: str, reply: str | bytes) -> tuple[Finding, ...]:
        """Return what a fetched book says."""
        last = whole(parsed(reply) or {}, "id")
        return () if last is None else (Finding(BOOK, symbol, self._books[symbol].snapshot(last)),)


def _gate_symbol(name: str) -> str:
    """Return the market of `BTC_USDT` or of `ob.BTC_USDT.400`."""
    pieces = name.split(".")
    return pieces[1] if len(pieces) > 1 else name

"""Binance: depth by U and u (spot) or pu (futures), trades by their ids. Pure.

Spot updates carry the ids they cover, futures updates the one before them. Either joins a book fetched by REST.
"""

import re
from collections import defaultdict
from collections.abc import Mapping
from typing import Any, Final

from fluxforge_collector.continuity.chain import ItemChain, LinkChain, RangeChain
from fluxforge_collector.continuity.finding import BOOK, TRADES, Finding, Step
from fluxforge_collector.continuity.parse import parsed, part, text, whole

_DEPTH: Final = re.compile(
    r'\{"e":"depthUpdate","E":\d+,(?:"T":\d+,)?"s":"(\w+)","U":(\d{1,18}),"u":(\d{1,18}),(?:"pu":(\d{1,18}),)?"b":\['
)
"""How depth updates begin: their levels, which are nearly all of them, need not be read for their numbers."""
_TRADE_IDS: Final = {"trade": "t", "aggTrade": "a"}


class BinanceDetector:
    """Follows one connection to Binance, spot or futures."""

    def __init__(self) -> None:
        self._books: dict[str, RangeChain | LinkChain] = {}
        self._snapshots: dict[str, int] = {}
        self._trades: defaultdict[tuple[str, str], ItemChain] = defaultdict(ItemChain)

    def take(self, frame: str | bytes) -> tuple[Finding, ...]:
        """Return what a frame says, alone or wrapped as of a combined stream."""
        begins = _DEPTH.match(frame) if isinstance(frame, str) else None
        if begins:
            symbol, first, last, previous = begins.groups()
            ids = {"U": int(first), "u": int(last), **({"pu": int(previous)} if previous else {})}
            return (Finding(BOOK, symbol, self._depth(symbol, ids)),)
        body = parsed(frame)
        if body is None:
            return ()
        body = part(body, "data") if "stream" in body else body
        symbol, event = text(body, "s"), text(body, "e")
        if not symbol:
            return ()
        if event == "depthUpdate":
            return (Finding(BOOK, symbol, self._depth(symbol, body)),)
        if event in _TRADE_IDS:
            return self._trade(symbol, event, body)
        return ()

    def take_rest(self, symbol: str, reply: str | bytes) -> tuple[Finding, ...]:
        """Return what a fetched book says."""
        last = whole(parsed(reply) or {}, "lastUpdateId")
        if last is None:
            return ()
        chain = self._books.get(symbol)
        if chain is None:
            self._snapshots[symbol] = last  # which kind of chain it joins shows with the first update
            return ()
        return (Finding(BOOK, symbol, chain.snapshot(last)),)

    def _depth(self, symbol: str, body: Mapping[str, Any]) -> Step:
        first, last, previous = whole(body, "U"), whole(body, "u"), whole(body, "pu")
        chain = self._books.get(symbol)
        if chain is None:
            chain = self._books[symbol] = LinkChain(in_band=False) if "pu" in body else RangeChain()
            if symbol in self._snapshots:
                chain.snapshot(self._snapshots.pop(symbol))
        if isinstance(chain, LinkChain):
            if previous is None or last is None:
                return chain.unplaced("an update without pu or u")
            return chain.update(previous, last)
        if first is None or last is None:
            return chain.unplaced("an update without U or u")
        return chain.update(first, last)

    def _trade(self, symbol: str, event: str, body: Mapping[str, Any]) -> tuple[Finding, ...]:
        trade = whole(body, _TRADE_IDS[event])
        if trade is None:
            return ()
        return tuple(Finding(TRADES, symbol, step) for step in self._trades[event, symbol].take(trade))

"""Bybit v5: books by `u`, which rises by one from update to update of a topic. Pure.

`u` 1 is a whole book after a restart of the service, whatever its type says. Of level 1 every frame is a whole book,
told again with the same `u` when nothing has changed: one that is missing is a loss, yet the book is right at once.
It is what ccxt asks for best bids and asks by, beside the deeper book of the same market, and is told as theirs.
"""

from collections import defaultdict
from typing import Final

from fluxforge_collector.continuity.chain import RangeChain
from fluxforge_collector.continuity.finding import BOOK, Finding, Step, Verdict
from fluxforge_collector.continuity.parse import mentions, parsed, part, text, whole

_TOPIC: Final = "orderbook."
_RESTARTED: Final = 1
_LEVEL_1: Final = "1"
_TOUCH: Final = "bidsasks"


class BybitDetector:
    """Follows one connection to Bybit v5."""

    def __init__(self) -> None:
        self._books: defaultdict[str, RangeChain] = defaultdict(RangeChain)

    def take(self, frame: str | bytes) -> tuple[Finding, ...]:
        """Return what a frame says."""
        body = (mentions(frame, _TOPIC) and parsed(frame)) or {}
        topic = text(body, "topic")
        if not topic.startswith(_TOPIC):
            return ()
        depth, _, symbol = topic.removeprefix(_TOPIC).partition(".")
        channel = _TOUCH if depth == _LEVEL_1 else BOOK
        chain = self._books[topic]
        update = whole(part(body, "data"), "u")
        if update is None:
            return (Finding(channel, symbol, chain.unplaced("an update without u")),)
        if text(body, "type") == "snapshot" or update == _RESTARTED:
            steps = _touch(chain, update) if channel == _TOUCH else (chain.restart(update),)
        elif chain.is_begun:
            steps = (chain.update(update, update),)
        else:
            chain.update(update, update)
            steps = (chain.unplaced("an update before the first whole book")._replace(got=update),)
        return tuple(Finding(channel, symbol, step) for step in steps)

    def take_rest(self, symbol: str, reply: str | bytes) -> tuple[Finding, ...]:  # noqa: ARG002 - its books come in band
        """Return nothing."""
        return ()


def _touch(chain: RangeChain, update: int) -> tuple[Step, ...]:
    if not chain.is_begun or update == _RESTARTED:
        return (chain.restart(update),)
    step = chain.update(update, update)
    if step.verdict is Verdict.DUPLICATE and step.expected == update + 1:
        return (Step(Verdict.SOUND, is_sound=True),)
    if step.verdict in {Verdict.SOUND, Verdict.SUSPECT}:
        return (step,) if step.is_sound else (chain.restart(update),)
    if step.verdict is Verdict.GAP:
        return (step, chain.restart(update))
    return (step,)

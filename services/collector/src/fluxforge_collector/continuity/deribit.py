"""Deribit: books by links (change_id, prev_change_id), begun by a whole book on the connection. Pure."""

from fluxforge_collector.continuity.chain import LinkChain
from fluxforge_collector.continuity.finding import BOOK, Finding, Step
from fluxforge_collector.continuity.parse import parsed, part, text, whole


class DeribitDetector:
    """Follows one connection to Deribit."""

    def __init__(self) -> None:
        self._books: dict[str, LinkChain] = {}

    def take(self, frame: str | bytes) -> tuple[Finding, ...]:
        """Return what a frame says; books cut to a depth have no type, and each stands for itself."""
        params = part(parsed(frame) or {}, "params")
        channel, data = text(params, "channel"), part(params, "data")
        kind, symbol = text(data, "type"), text(data, "instrument_name")
        if not channel.startswith("book.") or kind not in {"snapshot", "change"} or not symbol:
            return ()
        chain = self._books.get(channel)
        if chain is None:
            chain = self._books[channel] = LinkChain(in_band=True)
        previous, this = whole(data, "prev_change_id"), whole(data, "change_id")
        return (Finding(BOOK, symbol, _step(chain, kind, previous, this)),)

    def take_rest(self, symbol: str, reply: str | bytes) -> tuple[Finding, ...]:  # noqa: ARG002 - its books come in band
        """Return nothing."""
        return ()


def _step(chain: LinkChain, kind: str, previous: int | None, this: int | None) -> Step:
    if this is None:
        return chain.unplaced("an update without change_id")
    if kind == "snapshot":
        return chain.restart(this)
    if previous is None:
        return chain.unplaced("an update without prev_change_id")
    return chain.update(previous, this)

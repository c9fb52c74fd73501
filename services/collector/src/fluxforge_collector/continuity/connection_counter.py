"""Coinbase and Gemini: one counter for everything a connection carries, control frames included. Pure.

A number that is missing concerns every feed of the connection: nobody can tell whose frame it was. A feed is sound
again with its next whole book or, where it is no book, with its next frame.
"""

from typing import Any, Final

from fluxforge_collector.continuity.chain import RangeChain
from fluxforge_collector.continuity.finding import BOOK, TRADES, Finding, Step, Verdict
from fluxforge_collector.continuity.parse import parsed, parts, text, whole

_COINBASE_CHANNELS: Final = {
    "l2_data": (BOOK, None),
    "market_trades": (TRADES, "trades"),
    "ticker": ("ticker", "tickers"),
    "ticker_batch": ("ticker", "tickers"),
    "candles": ("ohlcv_5m", "candles"),
}
"""Our word for a channel, and the list in its events that names the products; None: the event does itself."""
_FEED_STEPS: Final = {True: Step(Verdict.SOUND, is_sound=True), False: Step(Verdict.SUSPECT, is_sound=False)}


def _chain() -> RangeChain:
    """Return the chain of a connection whose first frame has number 0."""
    chain = RangeChain()
    chain.restart(-1)
    return chain


class ConnectionCounter:
    """The numbers of one connection's frames, from 0. What a loss breaks are the feeds, and each heals by itself."""

    __slots__ = ("_chain",)

    def __init__(self) -> None:
        self._chain = _chain()

    def take(self, number: int | None) -> Step:
        """Return what the number of a frame says of the connection; None: it bears none."""
        step = (
            self._chain.unplaced("a frame without its number") if number is None else self._chain.update(number, number)
        )
        self._chain.heal()
        return step


class CoinbaseDetector:
    """Follows one connection to Coinbase Advanced Trade."""

    def __init__(self) -> None:
        self._counter = ConnectionCounter()
        self._is_sound: dict[tuple[str, str], bool] = {}

    def take(self, frame: str | bytes) -> tuple[Finding, ...]:
        """Return what a frame says: of the connection if a number is missing, then of each feed in it."""
        body = parsed(frame)
        if body is None or not text(body, "channel"):
            return ()
        step = self._counter.take(whole(body, "sequence_num"))
        found = []
        if step.verdict is Verdict.GAP:
            self._is_sound = dict.fromkeys(self._is_sound, False)
            found.append(Finding(None, None, step))
        is_late = step.verdict in {Verdict.DUPLICATE, Verdict.OUT_OF_ORDER}
        for channel, symbol, is_whole in _coinbase_feeds(body):
            feed = (channel, symbol)
            if is_late:
                # The newest frame twice changes nothing; an older one sets levels back to what they were.
                self._is_sound[feed] = self._is_sound.get(feed, False) and (step.is_sound or channel != BOOK)
                found.append(Finding(channel, symbol, step._replace(is_sound=self._is_sound[feed])))
            else:
                found.append(Finding(channel, symbol, self._follow(feed, is_whole=is_whole)))
        return tuple(found)

    def take_rest(self, symbol: str, reply: str | bytes) -> tuple[Finding, ...]:  # noqa: ARG002 - its books come in band
        """Return nothing."""
        return ()

    def _follow(self, feed: tuple[str, str], *, is_whole: bool) -> Step:
        was_sound = self._is_sound.get(feed, False)
        if is_whole or (not was_sound and feed[0] != BOOK):
            self._is_sound[feed] = True
            return Step(Verdict.RESYNCED, is_sound=True)
        self._is_sound[feed] = was_sound
        return _FEED_STEPS[was_sound]


class GeminiDetector:
    """Follows one connection to Gemini: `socket_sequence` of its first version; the second has no numbers.

    Its books come whole at the beginning alone, so a connection that lost a frame stays suspect to its end.
    """

    def __init__(self) -> None:
        self._chain = _chain()

    def take(self, frame: str | bytes) -> tuple[Finding, ...]:
        """Return what a frame says of the whole connection; nothing where it bears no number."""
        body = parsed(frame) or {}
        number = whole(body, "socket_sequence")
        return () if number is None else (Finding(None, None, self._chain.update(number, number)),)

    def take_rest(self, symbol: str, reply: str | bytes) -> tuple[Finding, ...]:  # noqa: ARG002 - its books come in band
        """Return nothing."""
        return ()


def _coinbase_feeds(body: dict[str, Any]) -> list[tuple[str, str, bool]]:
    channel, listed = _COINBASE_CHANNELS.get(text(body, "channel"), (None, None))
    if channel is None:
        return []
    feeds: dict[tuple[str, str], bool] = {}
    for event in parts(body, "events"):
        is_whole = channel == BOOK and text(event, "type") == "snapshot"
        for item in [event] if listed is None else parts(event, listed):
            symbol = text(item, "product_id")
            if symbol:
                feeds[channel, symbol] = feeds.get((channel, symbol), False) or is_whole
    return [(channel, symbol, is_whole) for (channel, symbol), is_whole in feeds.items()]

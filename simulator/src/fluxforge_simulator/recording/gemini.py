"""Gemini recordings: v2 market data, where one l2 subscription brings a symbol's book and trades."""

import orjson

from fluxforge_simulator.frame import Channel, Kind
from fluxforge_simulator.recording.dialect import Heard, Key, Parcel, Topic
from fluxforge_simulator.recording.in_band import InBandDialect
from fluxforge_simulator.recording.reader import Recording


class GeminiDialect(InBandDialect):
    """Gemini. Its subscriptions are not acknowledged: the book is the answer."""

    domains = ("gemini.com",)

    def __init__(self, recording: Recording, markets: bytes | None) -> None:
        super().__init__(recording, markets)
        self._symbols = dict(
            _named(orjson.loads(body)) for url, body in recording.replies if "/v1/symbols/details/" in url
        )

    def hear(self, text: str) -> Heard:
        """Understand subscribe and unsubscribe."""
        message = orjson.loads(text)
        markets = [market for entry in message["subscriptions"] for market in entry["symbols"]]
        if message["type"] == "unsubscribe":
            return Heard(unsubscribed=tuple(f"l2:{market}" for market in markets))
        return Heard(subscribed=tuple(Topic(f"l2:{market}", "l2", self._symbol(market)) for market in markets))

    def _symbol(self, market: str) -> str:
        return self._symbols.get(market, market)

    def classify(self, payload: bytes) -> Parcel | None:
        """Name a frame; book updates bear no id, so their key is empty but for the trades of the first."""
        message = orjson.loads(payload)
        if message["type"] not in {"l2_updates", "trade"}:
            return None
        market = message["symbol"]
        is_trade, is_snapshot = message["type"] == "trade", "trades" in message
        trades = [message] if is_trade else message.get("trades", [])
        key: Key = tuple(trade.get("event_id", trade.get("tid", 0)) for trade in trades)
        channel = Channel.TRADES if is_trade else Channel.ORDERBOOK
        kind = Kind.SNAPSHOT if is_snapshot else Kind.DATA
        return Parcel(f"l2:{market}", channel, self._symbol(market), kind, key)


def _named(details: dict[str, str]) -> tuple[str, str]:
    base, quote = details["base_currency"], details["quote_currency"]
    is_swap = details.get("product_type") == "swap"
    return details["symbol"], f"{base}/{quote}:{quote}" if is_swap else f"{base}/{quote}"

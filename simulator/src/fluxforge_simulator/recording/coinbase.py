"""Coinbase recordings: frames of one connection, numbered anew for what each client is told.

`sequence_num` counts over everything that a connection is told, so frames that nobody subscribed leave no hole in it.
"""

import re

import orjson

from fluxforge_simulator.frame import Channel, Kind, Reply, Request
from fluxforge_simulator.recording.dialect import Book, Heard, Key, Parcel, RestIndex, Topic
from fluxforge_simulator.recording.reader import Recording

_CHANNELS = {
    "level2": Channel.ORDERBOOK,
    "market_trades": Channel.TRADES,
    "ticker": Channel.TICKER,
    "ticker_batch": Channel.TICKER,
}
_SEQUENCE = re.compile(rb'"sequence_num":\d+')


class CoinbaseDialect:
    """Coinbase Advanced Trade."""

    domains = ("coinbase.com",)

    def __init__(self, recording: Recording, markets: bytes | None) -> None:
        self.books: dict[str, Book] = {}
        self._index = RestIndex(recording.replies)
        self._markets = markets

    def greet(self) -> tuple[bytes, ...]:
        """Return nothing: this venue waits to be spoken to."""
        return ()

    def hear(self, text: str) -> Heard:
        """Understand subscribe and unsubscribe."""
        message = orjson.loads(text)
        channel = message["channel"]
        topics = tuple(_topic(channel, product) for product in message.get("product_ids", []))
        products = [] if message["type"] == "unsubscribe" else message.get("product_ids", [])
        answer = {
            "channel": "subscriptions",
            "client_id": "",
            "timestamp": "1970-01-01T00:00:00Z",
            "sequence_num": 0,
            "events": [{"subscriptions": {channel: products} if products else {}}],
        }
        if message["type"] == "unsubscribe":
            return Heard((orjson.dumps(answer),), unsubscribed=tuple(topic.text for topic in topics))
        return Heard((orjson.dumps(answer),), subscribed=topics or (_topic(channel, ""),))

    def classify(self, payload: bytes) -> Parcel | None:
        """Name a frame by its channel and its first event's product."""
        message = orjson.loads(payload)
        channel = {"l2_data": "level2"}.get(message["channel"], message["channel"])
        if channel == "subscriptions":
            return None
        event = message["events"][0]
        entries = event.get("trades") or event.get("tickers") or event.get("candles") or [{}]
        topic = _topic(channel, event.get("product_id") or entries[0].get("product_id", ""))
        kind = Kind.SNAPSHOT if event.get("type") == "snapshot" else Kind.DATA
        ids = tuple(int(trade["trade_id"]) for event in message["events"] for trade in event.get("trades", ()))
        return Parcel(topic.text, topic.channel, topic.symbol, kind, (message["sequence_num"], *ids))

    def fit(self, payload: bytes, key: Key, topic: Topic | None, sent: int) -> tuple[bytes, Key]:  # noqa: ARG002 - products have one name
        """Number the frame."""
        return _SEQUENCE.sub(b'"sequence_num":%d' % sent, payload, count=1), (sent, *key[1:])

    def awaits_book(self, topic: str) -> str | None:  # noqa: ARG002 - books are in-band
        """Return None: books are in-band."""
        return None

    def precedes_book(self, parcel: Parcel, update_id: int) -> bool:  # noqa: ARG002 - books are in-band
        """Return False: books are in-band."""
        return False

    def book_symbol(self, request: Request) -> str | None:  # noqa: ARG002 - books are in-band
        """Return None: books are in-band."""
        return None

    def rest(self, request: Request, port: int) -> Reply | None:  # noqa: ARG002 - no socket is named by REST here
        """Answer products from the recording or the market list; other product types and currencies are empty."""
        if request.path.endswith("/market/products"):
            is_spot = request.query.get("product_type", "SPOT") == "SPOT"
            body = self._markets or self._index.find(Request(request.method, request.host, request.path, {}))
            return Reply(body if body is not None and is_spot else b'{"products":[]}')
        body = self._index.find(request)
        return Reply(body if body is not None else b'{"data":[]}')


def _topic(channel: str, product: str) -> Topic:
    symbol = product.replace("-", "/", 1)
    return Topic(f"{channel}:{product}", _CHANNELS.get(channel, channel), symbol, product)

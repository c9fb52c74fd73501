"""KuCoin recordings: classic topics; the socket's address comes from a REST call, and names this server.

Its clients ask for the REST book when the first updates have come, and merge those into it.
"""

import orjson
from typing_extensions import override

from fluxforge_simulator.frame import Channel, Kind, Reply, Request
from fluxforge_simulator.recording.dialect import Book, Heard, Parcel, Topic, query_of
from fluxforge_simulator.recording.in_band import InBandDialect
from fluxforge_simulator.recording.reader import Recording

_CHANNELS = {
    "/market/level2": Channel.ORDERBOOK,
    "/market/match": Channel.TRADES,
    "/market/ticker": Channel.TICKER,
    "/market/snapshot": Channel.TICKER,
}
_RENAMED = {"BCHSV": "BSV"}
_BULLET = {"token": "simulated", "instanceServers": []}
_PING_MS = 18_000


class KucoinDialect(InBandDialect):
    """KuCoin, spot."""

    domains = ("kucoin.com",)

    def __init__(self, recording: Recording, markets: bytes | None) -> None:
        super().__init__(recording, markets)
        for url, body in recording.replies:
            if "/market/orderbook/level2" in url:
                update_id = int(orjson.loads(body)["data"]["sequence"])
                self.books.setdefault(_unified(query_of(url)["symbol"]), Book(body, update_id))
        self._list = markets or next((body for url, body in recording.replies if url.endswith("/symbols")), None)

    @override
    def greet(self) -> tuple[bytes, ...]:
        """Welcome the client."""
        return (b'{"id":"simulated","type":"welcome"}',)

    def hear(self, text: str) -> Heard:
        """Understand subscribe, unsubscribe and ping."""
        message = orjson.loads(text)
        if message["type"] == "ping":
            return Heard((orjson.dumps({"id": message["id"], "type": "pong"}),), is_ping=True)
        answer = orjson.dumps({"id": message["id"], "type": "ack"})
        name, _, markets = message["topic"].partition(":")
        topics = tuple(_topic(name, market) for market in markets.split(","))
        if message["type"] == "unsubscribe":
            return Heard((answer,), unsubscribed=tuple(topic.text for topic in topics))
        return Heard((answer,), subscribed=topics)

    def classify(self, payload: bytes) -> Parcel | None:
        """Name a frame by its topic."""
        message = orjson.loads(payload)
        if message["type"] != "message":
            return None
        name, _, market = message["topic"].partition(":")
        topic, data = _topic(name, market), message["data"]
        names = {"/market/level2": ("sequenceStart", "sequenceEnd"), "/market/match": ("tradeId",)}
        key = tuple(data[field] for field in names.get(name, ()))
        return Parcel(topic.text, topic.channel, topic.symbol, Kind.DATA, key)

    @override
    def book_symbol(self, request: Request) -> str | None:
        """The order book is `level2`, of any depth and version."""
        if "/market/orderbook/level2" not in request.path:
            return None
        return _unified(request.query.get("symbol", "-"))

    @override
    def rest(self, request: Request, port: int) -> Reply | None:
        """Answer the socket's address and the market list; what else was not recorded is empty."""
        if request.path.endswith("/bullet-public"):
            server = {
                "endpoint": f"ws://127.0.0.1:{port}/ws-api-spot.kucoin.com/",
                "encrypt": False,
                "protocol": "websocket",
                "pingInterval": _PING_MS,
                "pingTimeout": 10_000,
            }
            return Reply(orjson.dumps({"code": "200000", "data": _BULLET | {"instanceServers": [server]}}))
        if request.path.endswith("/symbols") and self._list is not None:
            return Reply(self._list)
        body = self._index.find(request)
        return Reply(body if body is not None else b'{"code":"200000","data":[]}')


def _topic(name: str, market: str) -> Topic:
    return Topic(f"{name}:{market}", _CHANNELS.get(name, name), _unified(market))


def _unified(market: str) -> str:
    base, _, quote = market.partition("-")
    return f"{_RENAMED.get(base, base)}/{quote}"

"""OKX recordings: v5 public channels, each frame named by its `arg`."""

import orjson
from typing_extensions import override

from fluxforge_simulator.frame import Channel, Kind, Reply, Request
from fluxforge_simulator.recording.dialect import Heard, Key, Parcel, Topic
from fluxforge_simulator.recording.in_band import InBandDialect

_CHANNELS = {"books": Channel.ORDERBOOK, "trades": Channel.TRADES, "tickers": Channel.TICKER}


class OkxDialect(InBandDialect):
    """OKX, public."""

    domains = ("okx.com",)

    def hear(self, text: str) -> Heard:
        """Understand subscribe, unsubscribe and the text ping."""
        if text == "ping":
            return Heard((b"pong",), is_ping=True)
        message = orjson.loads(text)
        args = message["args"]
        answers = tuple(orjson.dumps({"event": message["op"], "arg": arg, "connId": "a4d3ae55"}) for arg in args)
        topics = tuple(_topic(arg) for arg in args)
        if message["op"] == "unsubscribe":
            return Heard(answers, unsubscribed=tuple(topic.text for topic in topics))
        return Heard(answers, subscribed=topics)

    def classify(self, payload: bytes) -> Parcel | None:
        """Name a frame by its arg; a book's key is its sequence number, or its time where it has none."""
        message = orjson.loads(payload)
        if "data" not in message:
            return None
        topic = _topic(message["arg"])
        kind = Kind.SNAPSHOT if message.get("action") == "snapshot" else Kind.DATA
        return Parcel(topic.text, topic.channel, topic.symbol, kind, _key(message["arg"]["channel"], message["data"]))

    @override
    def rest(self, request: Request, port: int) -> Reply | None:
        """Answer what was recorded; instrument lists that were not are empty."""
        if request.path.endswith("/public/instruments"):
            body = self._index.find(request)
            return Reply(body or b'{"code":"0","data":[],"msg":""}')
        return super().rest(request, port)


def _key(channel: str, data: list[dict[str, str]]) -> Key:
    if channel == "trades":
        return tuple(int(trade["tradeId"]) for trade in data)
    return tuple(int(entry.get("seqId", entry["ts"])) for entry in data)


def _topic(arg: dict[str, str]) -> Topic:
    channel, market = arg["channel"], arg.get("instId", "")
    return Topic(f"{channel}:{market}", _CHANNELS.get(channel, channel), _unified(market))


def _unified(market: str) -> str:
    base, quote, *rest = market.split("-")
    if not rest:
        return f"{base}/{quote}"
    settle = base if quote == "USD" else quote
    return f"{base}/{quote}:{settle}" + ("" if rest[0] == "SWAP" else f"-{rest[0]}")

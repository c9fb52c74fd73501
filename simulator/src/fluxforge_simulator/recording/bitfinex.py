"""Bitfinex recordings: frames that know their subscription by a channel number alone.

A subscription is acknowledged as it was in the recording, so that the client learns the recorded number.
"""

import orjson
from typing_extensions import override

from fluxforge_simulator.frame import Channel, Kind, Reply, Request
from fluxforge_simulator.recording.dialect import Heard, Parcel, Topic
from fluxforge_simulator.recording.in_band import InBandDialect
from fluxforge_simulator.recording.reader import Recording

_CHANNELS = {"book": Channel.ORDERBOOK, "trades": Channel.TRADES, "ticker": Channel.TICKER}
_RENAMED = {"UST": "USDT", "IOT": "IOTA", "MNA": "MANA", "DSH": "DASH"}
_INFO = b'{"event":"info","version":2,"serverId":"00000000-0000-4000-8000-000000000000","platform":{"status":1}}'
_UNKNOWN_CHANNEL = 10300
_PRINTS = ("te", "tu")


class BitfinexDialect(InBandDialect):
    """Bitfinex v2, public."""

    domains = ("bitfinex.com",)

    def __init__(self, recording: Recording, markets: bytes | None) -> None:
        super().__init__(recording, markets)
        self._acks: dict[tuple[str, str], bytes] = {}
        self._topics: dict[int, Topic] = {}
        for frame in recording.frames:
            if b'"event":"subscribed"' in frame.payload:
                message = orjson.loads(frame.payload)
                channel, market = message["channel"], message["symbol"]
                self._acks[channel, market] = frame.payload
                self._topics[message["chanId"]] = _topic(channel, market)
        self._pairs = sorted({market.removeprefix("t") for _, market in self._acks})

    @override
    def greet(self) -> tuple[bytes, ...]:
        """Say which version this is."""
        return (_INFO,)

    def hear(self, text: str) -> Heard:
        """Understand subscribe, conf and ping; what was not recorded is refused as the venue does."""
        message = orjson.loads(text)
        event = message["event"]
        if event == "ping":
            return Heard((orjson.dumps({"event": "pong", "ts": 0, "cid": message.get("cid", 0)}),), is_ping=True)
        if event == "conf":
            return Heard((orjson.dumps({"event": "conf", "status": "OK", "flags": message["flags"]}),))
        if event == "unsubscribe":
            number = int(message["chanId"])
            answer = orjson.dumps({"event": "unsubscribed", "status": "OK", "chanId": number})
            return Heard((answer,), unsubscribed=(self._topics[number].text,))
        channel, market = message["channel"], message["symbol"]
        ack = self._acks.get((channel, market))
        if ack is None:
            error = {"event": "error", "msg": "symbol: invalid", "code": _UNKNOWN_CHANNEL, "channel": channel}
            return Heard((orjson.dumps(error | {"symbol": market}),))
        return Heard((ack,), subscribed=(_topic(channel, market),))

    def classify(self, payload: bytes) -> Parcel | None:
        """Name a frame by its channel number; its key is the trade's id, or its number on the connection."""
        message = orjson.loads(payload)
        if not isinstance(message, list) or message[1] == "hb":
            return None
        topic = self._topics[message[0]]
        is_print = message[1] in _PRINTS
        is_snapshot = isinstance(message[1], list) and bool(message[1]) and isinstance(message[1][0], list)
        key = (message[2][0],) if is_print else (message[-1],)
        if is_snapshot and topic.channel == Channel.TRADES:
            key = tuple(trade[0] for trade in message[1])
        return Parcel(topic.text, topic.channel, topic.symbol, Kind.SNAPSHOT if is_snapshot else Kind.DATA, key)

    @override
    def rest(self, request: Request, port: int) -> Reply | None:
        """Answer the configuration lists: the recorded pairs, and nothing of everything else."""
        if "/conf/" not in request.path:
            return super().rest(request, port)
        labels = request.path.rpartition("/")[2].split(",")
        limits = [None, None, None, "0.00001", "100000", None, None, None, 0.2, 0.1, None, None]
        pairs = [[pair, limits] for pair in self._pairs]
        return Reply(orjson.dumps([pairs if label == "pub:info:pair" else [] for label in labels]))


def _topic(channel: str, market: str) -> Topic:
    return Topic(f"{channel}:{market}", _CHANNELS.get(channel, channel), _unified(market))


def _unified(market: str) -> str:
    pair = market.removeprefix("t")
    base, quote = pair.split(":") if ":" in pair else (pair[:-3], pair[-3:])
    return f"{_RENAMED.get(base, base)}/{_RENAMED.get(quote, quote)}"

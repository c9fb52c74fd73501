"""Binance recordings, spot and futures: combined-stream frames, and REST books by symbol.

Streams recorded at another speed are renamed to the one subscribed. What exchangeInfo lacks is made from the streams'
own symbols.
"""

import orjson

from fluxforge_simulator.frame import Channel, Kind, Reply, Request
from fluxforge_simulator.recording.dialect import Book, Heard, Key, Parcel, RestIndex, Topic, query_of
from fluxforge_simulator.recording.reader import Recording

_CHANNELS = {
    "depth": Channel.ORDERBOOK,
    "trade": Channel.TRADES,
    "aggTrade": Channel.TRADES,
    "bookTicker": Channel.BIDSASKS,
    "miniTicker": Channel.TICKER,
    "ticker": Channel.TICKER,
    "24hrTicker": Channel.TICKER,
}
_QUOTES = ("USDT", "USDC", "FDUSD", "BUSD", "TUSD", "USD", "BTC", "ETH", "BNB", "EUR", "GBP", "AUD", "BRL", "TRY")
_KEYS = {"depth": ("U", "u"), "trade": ("t",), "aggTrade": ("a",), "bookTicker": ("u",)}
_PATHS = {"binanceusdm": "/fapi/", "binancecoinm": "/dapi/"}
_PERPETUAL_DELIVERY_MS = 4_133_404_800_000


class BinanceDialect:
    """Binance in all its families; the recording tells which one it is."""

    def __init__(self, recording: Recording, markets: bytes | None) -> None:
        self.domains = {
            "binanceus": ("binance.us",),
            "binanceusdm": ("fapi.binance.com", "fstream.binance.com"),
            "binancecoinm": ("dapi.binance.com", "dstream.binance.com"),
        }.get(recording.exchange, ("binance.com",))
        self._path = _PATHS.get(recording.exchange, "/api/")
        self._index = RestIndex(recording.replies)
        ids = sorted({_stream_of(frame.payload).partition("@")[0].upper() for frame in recording.frames})
        self._info = markets or _recorded_info(recording) or _made_up_info(ids, recording.exchange)
        entries = {entry["symbol"]: entry for entry in orjson.loads(self._info)["symbols"]}
        self._symbols = {market: _unified(entries.get(market), market) for market in {*ids, *entries}}
        self.books: dict[str, Book] = {}
        for url, body in recording.replies:
            market = ids[0] if url == "depth" else query_of(url).get("symbol")
            if market is not None and b'"lastUpdateId"' in body[:64]:
                self.books.setdefault(self._symbols.get(market, market), Book(body, orjson.loads(body)["lastUpdateId"]))

    def greet(self) -> tuple[bytes, ...]:
        """Return nothing: this venue waits to be spoken to."""
        return ()

    def hear(self, text: str) -> Heard:
        """Understand SUBSCRIBE and UNSUBSCRIBE."""
        message = orjson.loads(text)
        answer = orjson.dumps({"result": None, "id": message["id"]})
        topics = tuple(self._topic(stream) for stream in message.get("params", []))
        if message["method"] == "UNSUBSCRIBE":
            return Heard((answer,), unsubscribed=tuple(topic.text for topic in topics))
        return Heard((answer,), subscribed=topics)

    def _topic(self, stream: str) -> Topic:
        market, name = stream.split("@")[:2]
        symbol = self._symbols.get(market.upper(), market.upper())
        return Topic(f"{name}@{symbol}", _CHANNELS.get(name, name), symbol, stream)

    def classify(self, payload: bytes) -> Parcel | None:
        """Name a combined-stream frame."""
        message = orjson.loads(payload)
        if "stream" not in message:
            return None
        topic = self._topic(message["stream"])
        name, data = topic.text.partition("@")[0], message["data"]
        key = tuple(data[field] for field in _KEYS.get(name, ()))
        return Parcel(topic.text, topic.channel, topic.symbol, Kind.DATA, key)

    def fit(self, payload: bytes, key: Key, topic: Topic | None, sent: int) -> tuple[bytes, Key]:  # noqa: ARG002 - no numbers here
        """Rename the stream to the one subscribed."""
        if topic is not None and (recorded := _stream_of(payload)) != topic.detail:
            payload = payload.replace(recorded.encode(), topic.detail.encode(), 1)
        return payload, key

    def awaits_book(self, topic: str) -> str | None:
        """Depth streams start from the REST book."""
        name, _, symbol = topic.partition("@")
        return symbol if name == "depth" else None

    def precedes_book(self, parcel: Parcel, update_id: int) -> bool:
        """Spot books take updates that end behind them, futures books also one that ends at them."""
        last = parcel.key[1]
        assert isinstance(last, int)
        return last <= update_id if self._path == "/api/" else last < update_id

    def book_symbol(self, request: Request) -> str | None:
        """The order book is `depth`, in every version of the API."""
        if not (request.path.startswith(self._path) and request.path.endswith("/depth")):
            return None
        market = request.query.get("symbol", "")
        return self._symbols.get(market, market)

    def rest(self, request: Request, port: int) -> Reply | None:  # noqa: ARG002 - no socket is named by REST here
        """Answer exchangeInfo; other families' lists are empty."""
        if request.path.endswith("/exchangeInfo"):
            return Reply(self._info if request.path.startswith(self._path) else b'{"symbols":[]}')
        if request.path.endswith("/depth"):
            return Reply(orjson.dumps({"code": -1121, "msg": "Invalid symbol."}), status=400)
        body = self._index.find(request)
        return None if body is None else Reply(body)


def _recorded_info(recording: Recording) -> bytes | None:
    return next((body for url, body in recording.replies if url.endswith("/exchangeInfo")), None)


def _made_up_info(ids: list[str], exchange: str) -> bytes:
    return orjson.dumps({"timezone": "UTC", "symbols": [_info_entry(market, exchange) for market in ids]})


def _stream_of(payload: bytes) -> str:
    start = payload.index(b'"stream":"') + 10
    return payload[start : payload.index(b'"', start)].decode()


def _pair(market: str) -> tuple[str, str]:
    quote = next((quote for quote in _QUOTES if market.endswith(quote)), market[-3:])
    return market[: -len(quote)], quote


def _unified(entry: dict[str, str] | None, market: str) -> str:
    base, quote = (entry["baseAsset"], entry["quoteAsset"]) if entry else _pair(market.partition("_")[0])
    contract = entry.get("contractType") if entry else None
    if contract is None:
        return f"{base}/{quote}"
    settle = entry["marginAsset"] if entry else quote
    suffix = "" if contract == "PERPETUAL" else "-" + market.partition("_")[2]
    return f"{base}/{quote}:{settle}{suffix}"


def _info_entry(market: str, exchange: str) -> dict[str, object]:
    pair = market.partition("_")[0]
    base, quote = _pair(pair)
    entry: dict[str, object] = {
        "symbol": market,
        "status": "TRADING",
        "baseAsset": base,
        "quoteAsset": quote,
        "baseAssetPrecision": 8,
        "quotePrecision": 8,
        "isSpotTradingAllowed": exchange in {"binance", "binanceus"},
        "filters": [],
        "permissions": ["SPOT"],
    }
    if exchange in _PATHS:
        entry |= {
            "pair": pair,
            "contractType": "PERPETUAL",
            "contractStatus": "TRADING",
            "contractSize": 1,
            "deliveryDate": _PERPETUAL_DELIVERY_MS,
            "marginAsset": base if exchange == "binancecoinm" else quote,
            "pricePrecision": 8,
            "quantityPrecision": 8,
        }
    return entry

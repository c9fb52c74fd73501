"""OKX v5: books of 400 levels whose updates are linked by `seqId` and `prevSeqId`, and still bear a checksum.

A book that has been still for a second is told again without levels, `seqId` and `prevSeqId` the same. The checksum is
the CRC32 of the 25 best levels, the strings as they are sent.
"""

import zlib
from dataclasses import dataclass
from typing import Any

import orjson

from fluxforge_simulator.frame import Channel, Feed, Frame, Kind, Reply, Request
from fluxforge_simulator.market.instrument import Instrument, plain
from fluxforge_simulator.market.ladder import Side
from fluxforge_simulator.market.market import Market, Step, Trade
from fluxforge_simulator.venues.depth_view import DepthView, Levels
from fluxforge_simulator.venues.venue import Floor, Refusal

_DEPTH = 400
_CHECKSUM_LEVELS = 25
_INT32 = 1 << 31
_STILL_NS = 1_000_000_000
_NO_SEQUENCE = -1
_CONNECTION_ID = "a4d3ae55"
_CHANNELS = {"books": Channel.ORDERBOOK, "trades": Channel.TRADES, "tickers": Channel.TICKER}
Body = dict[str, object]


def inst_id(instrument: Instrument) -> str:
    """Return the venue's name of an instrument."""
    return f"{instrument.base}-{instrument.quote}"


def _levels(instrument: Instrument, levels: Levels) -> list[tuple[str, str, str, str]]:
    """Write price, size, a field that is always 0, and the number of orders, which nobody knows here."""
    return [
        (plain(instrument.price(price)), plain(instrument.quantity(lots)), "0", "1" if lots else "0")
        for price, lots in levels
    ]


def checksum(instrument: Instrument, bids: Levels, asks: Levels) -> int:
    """Return the signed CRC32 of the 25 best levels: bid and ask in turn, `price:size` joined by colons.

    Source: OKX, "Checksum" of the order book channel.
    """
    parts: list[str] = []
    for index in range(_CHECKSUM_LEVELS):
        for side in (bids, asks):
            parts += [text for level in _levels(instrument, side[index : index + 1]) for text in level[:2]]
    crc = zlib.crc32(":".join(parts).encode())
    return crc - 2 * _INT32 if crc >= _INT32 else crc


def push(channel: str, instrument: Instrument, data: Body, **more: str) -> bytes:
    """Encode one push; `more` stands beside the argument."""
    return orjson.dumps({"arg": {"channel": channel, "instId": inst_id(instrument)}, **more, "data": [data]})


def trade_data(instrument: Instrument, trade: Trade, now_ns: int) -> Body:
    """Describe one trade; `side` is the taker's."""
    return {
        "instId": inst_id(instrument),
        "tradeId": str(trade.trade_id),
        "px": plain(instrument.price(trade.price)),
        "sz": plain(instrument.quantity(trade.quantity)),
        "side": "buy" if trade.taker is Side.BID else "sell",
        "ts": str(now_ns // 1_000_000),
        "count": "1",
    }


def ticker_data(market: Market, now_ns: int) -> Body:
    """Describe the last price, the touch and the day."""
    instrument, day, last = market.instrument, market.statistics, market.recent[-1]
    bid, bid_lots, ask, ask_lots = market.touch
    turnover = day.turnover / 10 ** (instrument.price_decimals + instrument.quantity_decimals)
    return {
        "instType": "SPOT",
        "instId": inst_id(instrument),
        "last": plain(instrument.price(market.last_price)),
        "lastSz": plain(instrument.quantity(last.quantity)),
        "askPx": plain(instrument.price(ask)),
        "askSz": plain(instrument.quantity(ask_lots)),
        "bidPx": plain(instrument.price(bid)),
        "bidSz": plain(instrument.quantity(bid_lots)),
        "open24h": plain(instrument.price(day.open)),
        "high24h": plain(instrument.price(day.high)),
        "low24h": plain(instrument.price(day.low)),
        "volCcy24h": f"{turnover:.4f}",
        "vol24h": plain(instrument.quantity(day.volume)),
        "ts": str(now_ns // 1_000_000),
    }


class _BookView:
    """The book that one client holds, in frames."""

    def __init__(self, market: Market) -> None:
        self._view = DepthView(market, _DEPTH)
        self._sequence = _NO_SEQUENCE
        self._told_ns = 0

    def snapshot(self, now_ns: int) -> Frame:
        before, self._sequence = _NO_SEQUENCE, self._view.market.update_id
        return self._frame("snapshot", self._view.show(), before, now_ns)

    def update(self, now_ns: int) -> Frame | None:
        changes = self._view.changes()
        if changes is None:
            return None
        before, self._sequence = self._sequence, self._view.market.update_id
        return self._frame("update", changes, before, now_ns)

    def beat(self, now_ns: int) -> list[Frame]:
        """Say that nothing has changed, if nothing was said for a while."""
        if now_ns - self._told_ns < _STILL_NS:
            return []
        return [self._frame("update", {Side.BID: [], Side.ASK: []}, self._sequence, now_ns)]

    def _frame(self, action: str, levels: dict[Side, Levels], before: int, now_ns: int) -> Frame:
        self._told_ns = now_ns
        instrument, top = self._view.market.instrument, self._view.top
        data: Body = {
            "asks": _levels(instrument, levels[Side.ASK]),
            "bids": _levels(instrument, levels[Side.BID]),
            "ts": str(now_ns // 1_000_000),
            "checksum": checksum(instrument, top[Side.BID], top[Side.ASK]),
            "seqId": self._sequence,
            "prevSeqId": before,
        }
        kind = Kind.SNAPSHOT if action == "snapshot" else Kind.DATA
        payload = push("books", instrument, data, action=action)
        return Frame(payload, kind, Channel.ORDERBOOK, instrument.symbol, (before, self._sequence))


class OkxDialogue:
    """One connection's subscriptions. A book frame's key is `prevSeqId` and `seqId`."""

    def __init__(self, floor: Floor, refused: frozenset[str]) -> None:
        self.feeds: set[Feed] = set()
        self._floor = floor
        self._refused = refused
        self._symbols = {inst_id(entry): symbol for symbol, entry in floor.instruments.items()}
        self._views: dict[str, _BookView] = {}

    def greet(self, now_ns: int) -> list[Frame]:  # noqa: ARG002 - this venue waits to be spoken to
        """Return nothing."""
        return []

    def hear(self, text: str, now_ns: int) -> list[Frame]:
        """Answer ping, subscribe and unsubscribe; each argument is answered by itself."""
        if text == "ping":
            return [Frame(b"pong", Kind.PING)]
        message = orjson.loads(text)
        is_wanted = message["op"] == "subscribe"
        return [frame for arg in message["args"] for frame in self._answer(arg, now_ns, is_wanted=is_wanted)]

    def refuse(self, text: str, why: Refusal) -> list[Frame]:
        """Answer subscribe with an error, for each argument where it is unknown."""
        message = {} if text == "ping" else orjson.loads(text)
        if message.get("op") != "subscribe":
            return []
        return [_error(arg, why) for arg in message["args"][: None if why is Refusal.UNKNOWN else 1]]

    def _answer(self, arg: dict[str, Any], now_ns: int, *, is_wanted: bool) -> list[Frame]:
        channel, symbol = _CHANNELS.get(arg["channel"]), self._symbols.get(arg["instId"])
        if channel is None or symbol is None or symbol in self._refused:
            return [_error(arg, Refusal.UNKNOWN)]
        event = "subscribe" if is_wanted else "unsubscribe"
        ack = orjson.dumps({"event": event, "arg": arg, "connId": _CONNECTION_ID})
        frames = [Frame(ack, Kind.ACK, channel, symbol)]
        if is_wanted:
            return frames + self._begin(channel, symbol, now_ns)
        self.feeds.discard(Feed(channel, symbol))
        return frames

    def _begin(self, channel: Channel, symbol: str, now_ns: int) -> list[Frame]:
        self.feeds.add(Feed(channel, symbol))
        market = self._floor.market(symbol)
        if channel is Channel.ORDERBOOK:
            view = self._views[symbol] = _BookView(market)
            return [view.snapshot(now_ns)]
        return [_ticker(market, now_ns)] if channel is Channel.TICKER else []

    def snapshot_answered(self, symbol: str, now_ns: int) -> None:
        """Books are in-band here: nothing to do."""

    def tell(self, step: Step, now_ns: int) -> list[Frame]:
        """Encode each trade, the ticker and the book update."""
        market, symbol = step.market, step.market.instrument.symbol
        frames: list[Frame] = []
        if Feed(Channel.TRADES, symbol) in self.feeds:
            for trade in step.trades:
                payload = push("trades", market.instrument, trade_data(market.instrument, trade, now_ns))
                frames.append(Frame(payload, Kind.DATA, Channel.TRADES, symbol, (trade.trade_id,)))
        if Feed(Channel.TICKER, symbol) in self.feeds and (step.trades or step.is_touch_moved):
            frames.append(_ticker(market, now_ns))
        if Feed(Channel.ORDERBOOK, symbol) in self.feeds:
            update = self._views[symbol].update(now_ns)
            if update is not None:
                frames.append(update)
        return frames

    def beat(self, now_ns: int) -> list[Frame]:
        """Tell still books again."""
        books = [feed.symbol for feed in sorted(self.feeds) if feed.channel == Channel.ORDERBOOK]
        return [frame for symbol in books for frame in self._views[symbol].beat(now_ns)]


def _ticker(market: Market, now_ns: int) -> Frame:
    payload = push("tickers", market.instrument, ticker_data(market, now_ns))
    return Frame(payload, Kind.DATA, Channel.TICKER, market.instrument.symbol)


def _error(arg: dict[str, Any], why: Refusal) -> Frame:
    code, text = "60014", "Requests too frequent"
    if why is Refusal.UNKNOWN:
        code, text = "60018", f"Wrong URL or channel:{arg['channel']},instId:{arg['instId']} doesn't exist."
    body = {"event": "error", "code": code, "msg": text, "connId": _CONNECTION_ID}
    return Frame(orjson.dumps(body), Kind.ACK, _CHANNELS.get(arg["channel"]))


@dataclass(frozen=True, slots=True)
class OkxVenue:
    """OKX spot."""

    exchange: str
    domains: tuple[str, ...]
    instruments: tuple[Instrument, ...]

    @property
    def strange(self) -> bytes:
        """A frame that nobody expects."""
        return b'{"arg":{"channel":"books"},"action":"update","news":true,"data":[{"asks":[["?"]]}]}'

    def rest(self, request: Request, floor: Floor, now_ns: int) -> Reply | None:  # noqa: ARG002 - its lists do not move
        """Answer public/instruments and public/time; only spot lists something."""
        resource = request.path.rsplit("/", 1)[-1]
        if resource == "time":
            return Reply(orjson.dumps({"code": "0", "msg": "", "data": [{"ts": str(now_ns // 1_000_000)}]}))
        if resource != "instruments":
            return None
        is_spot = request.query.get("instType") == "SPOT"
        data = [_instrument(entry) for entry in self.instruments] if is_spot else []
        return Reply(orjson.dumps({"code": "0", "msg": "", "data": data}))

    def dialogue(self, floor: Floor, refused: frozenset[str]) -> OkxDialogue:
        """Begin a conversation."""
        return OkxDialogue(floor, refused)


def _instrument(entry: Instrument) -> Body:
    lot = f"{10.0**-entry.quantity_decimals:.{entry.quantity_decimals}f}"
    return {
        "instType": "SPOT",
        "instId": inst_id(entry),
        "baseCcy": entry.base,
        "quoteCcy": entry.quote,
        "settleCcy": "",
        "uly": "",
        "tickSz": f"{10.0**-entry.price_decimals:.{entry.price_decimals}f}",
        "lotSz": lot,
        "minSz": lot,
        "maxMktSz": "1000000",
        "maxLmtSz": "999999999999",
        "ctVal": "",
        "ctMult": "",
        "expTime": "",
        "lever": "10",
        "listTime": "1548133413000",
        "state": "live",
    }


OKX = OkxVenue(
    "okx",
    ("okx.com",),
    (
        Instrument("BTC", "USDT", 65_000.0, 1, 8),
        Instrument("ETH", "USDT", 3_200.0, 2, 6),
        Instrument("SOL", "USDT", 150.0, 2, 6),
        Instrument("XRP", "USDT", 0.62, 4, 6),
        Instrument("DOGE", "USDT", 0.145, 5, 6),
    ),
)
